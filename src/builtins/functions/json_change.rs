//! Changes of jsonb documents: `jsonb_set`, `jsonb_insert`, `#-`, `jsonb_pretty`, `…_strip_nulls`.

use arrow::array::{Array, ArrayRef};

use super::Function;
use super::build::scalar;
use super::json_operators::{keys_at, push_items};
use super::json_text::{self, Kind, items, members};
use super::kernel::{Call, some};
use crate::encode::input;
use crate::error::{Error, Result, SqlState};

/// What happens at the end of a path.
#[derive(Clone, Copy)]
enum Change<'v> {
    Delete,
    Set { value: &'v str, create: bool },
    Insert { value: &'v str, after: bool },
}

/// The document with the change made; paths that lead nowhere change nothing.
fn changed(document: &str, path: &[&str], level: usize, change: Change, out: &mut String) -> Result<()> {
    match json_text::kind(document) {
        Kind::Object => changed_object(document, path, level, change, out),
        Kind::Array => changed_array(document, path, level, change, out),
        _ => {
            out.push_str(document);
            Ok(())
        }
    }
}

fn changed_object(document: &str, path: &[&str], level: usize, change: Change, out: &mut String) -> Result<()> {
    let key = path.get(level).copied().unwrap_or_default();
    let last = level + 1 >= path.len();
    let mut found = false;
    let mut first = true;
    out.push('{');
    let mut member = |out: &mut String, key: &str| {
        if !std::mem::take(&mut first) {
            out.push_str(", ");
        }
        out.extend(["\"", key, "\": "]);
    };
    for (raw, value) in members(document) {
        let here = json_text::is_key(raw, key);
        found |= here;
        match change {
            Change::Delete if here && last => {}
            Change::Insert { .. } if here && last => {
                return Err(Error::new(SqlState::InvalidParameterValue, "cannot replace existing key")
                    .with_hint("Try using the function jsonb_set to replace key value."));
            }
            Change::Set { value: new, .. } if here && last => {
                member(out, raw);
                out.push_str(new);
            }
            _ => {
                member(out, raw);
                if here { changed(value, path, level + 1, change, out)? } else { out.push_str(value) }
            }
        }
    }
    if let (false, true, Change::Set { value, create: true } | Change::Insert { value, .. }) = (found, last, change) {
        let mut quoted = String::new();
        json_text::push_string(&mut quoted, key);
        member(out, quoted.get(1..quoted.len() - 1).unwrap_or_default());
        out.push_str(value);
    }
    out.push('}');
    Ok(())
}

fn changed_array(document: &str, path: &[&str], level: usize, change: Change, out: &mut String) -> Result<()> {
    let key = path.get(level).copied().unwrap_or_default();
    let last = level + 1 >= path.len();
    if level == 0
        && items(document).next().is_none()
        && matches!(change, Change::Delete | Change::Set { create: false, .. })
    {
        // Nothing can change, and the path is not read.
        out.push_str("[]");
        return Ok(());
    }
    let index: i64 = key.trim().parse().map_err(|_| {
        let message = format!("path element at position {} is not an integer: \"{key}\"", level + 1);
        Error::new(SqlState::InvalidTextRepresentation, message)
    })?;
    let length = items(document).count() as i64;
    let index = if index < 0 { length + index } else { index };
    let mut parts: Vec<std::borrow::Cow<str>> = Vec::new();
    let outside = !(0..length).contains(&index);
    if let (true, true, Change::Set { value, create: true } | Change::Insert { value, .. }) = (outside, last, change) {
        let mut all: Vec<&str> = items(document).collect();
        let at = if index < 0 { 0 } else { all.len() };
        all.insert(at, value);
        push_items(out, all.into_iter());
        return Ok(());
    }
    for (at, item) in items(document).enumerate() {
        if at as i64 != index {
            parts.push(item.into());
            continue;
        }
        match change {
            _ if !last => {
                let mut inner = String::new();
                changed(item, path, level + 1, change, &mut inner)?;
                parts.push(inner.into());
            }
            Change::Delete => {}
            Change::Set { value, .. } => parts.push(value.into()),
            Change::Insert { value, after: false } => parts.extend([value.into(), item.into()]),
            Change::Insert { value, after: true } => parts.extend([item.into(), value.into()]),
        }
    }
    push_items(out, parts.iter().map(|part| part.as_ref()));
    Ok(())
}

/// Applies the change of each row to the first argument, at the path of the second.
fn change_rows<'v>(call: &Call, verb: &str, change: impl Fn(usize) -> Result<Option<Change<'v>>>) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.texts(|row, out| {
        let (document, keys) = (some!(documents.get(row)), some!(keys_at(call, 1, row)?));
        let change = some!(change(row)?);
        if let Some(at) = (0..keys.len()).find(|at| keys.is_null(*at)) {
            let message = format!("path element at position {} is null", at + 1);
            return Err(Error::new(SqlState::NullValueNotAllowed, message));
        }
        if json_text::kind(document).is_scalar() {
            return Err(Error::new(SqlState::InvalidParameterValue, format!("cannot {verb} path in scalar")));
        }
        let path: Vec<&str> = keys.iter().flatten().collect();
        if path.is_empty() {
            out.push_str(document);
            return Ok(Some(()));
        }
        let mut text = String::with_capacity(document.len() + 16);
        changed(document, &path, 0, change, &mut text)?;
        out.push_str(&input::jsonb(&text)?);
        Ok(Some(()))
    })
}

fn set(call: &Call) -> Result<ArrayRef> {
    let values = call.text(2)?;
    let creates = if call.len() > 3 { Some(call.boolean(3)?) } else { None };
    change_rows(call, "set", |row| {
        let create = match &creates {
            Some(creates) => some!(creates.get(row)),
            None => true,
        };
        Ok(Some(Change::Set { value: some!(values.get(row)), create }))
    })
}

fn insert(call: &Call) -> Result<ArrayRef> {
    let values = call.text(2)?;
    let afters = if call.len() > 3 { Some(call.boolean(3)?) } else { None };
    change_rows(call, "set", |row| {
        let after = match &afters {
            Some(afters) => some!(afters.get(row)),
            None => false,
        };
        Ok(Some(Change::Insert { value: some!(values.get(row)), after }))
    })
}

/// `#-`
pub fn delete_path(call: &Call) -> Result<ArrayRef> {
    change_rows(call, "delete", |_| Ok(Some(Change::Delete)))
}

fn push_pretty(value: &str, depth: usize, out: &mut String) {
    let indent = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    };
    let (open, close) = match json_text::kind(value) {
        Kind::Object => ('{', '}'),
        Kind::Array => ('[', ']'),
        _ => return out.push_str(value),
    };
    out.push(open);
    for (at, (key, item)) in members(value).enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        indent(out, depth + 1);
        out.extend(["\"", key, "\": "]);
        push_pretty(item, depth + 1, out);
    }
    for (at, item) in items(value).enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        indent(out, depth + 1);
        push_pretty(item, depth + 1, out);
    }
    indent(out, depth);
    out.push(close);
}

fn pretty(call: &Call) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.texts(|row, out| {
        push_pretty(some!(documents.get(row)), 0, out);
        Ok(Some(()))
    })
}

/// Without members that are null; no spaces.
fn push_stripped(value: &str, out: &mut String) {
    match json_text::kind(value) {
        Kind::Object => {
            out.push('{');
            let kept = members(value).filter(|(_, item)| json_text::kind(item) != Kind::Null);
            for (at, (key, item)) in kept.enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.extend(["\"", key, "\":"]);
                push_stripped(item, out);
            }
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            for (at, item) in items(value).enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                push_stripped(item, out);
            }
            out.push(']');
        }
        _ => out.push_str(value.trim()),
    }
}

fn strip_nulls(call: &Call) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.texts(|row, out| {
        push_stripped(some!(documents.get(row)), out);
        Ok(Some(()))
    })
}

fn strip_nulls_binary(call: &Call) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.texts(|row, out| {
        let mut text = String::new();
        push_stripped(some!(documents.get(row)), &mut text);
        out.push_str(&input::jsonb(&text)?);
        Ok(Some(()))
    })
}

pub(super) fn functions() -> Vec<Function> {
    let mut functions = vec![
        scalar(3306, "jsonb_pretty(jsonb) text", pretty),
        scalar(3261, "json_strip_nulls(json) json", strip_nulls),
        scalar(3262, "jsonb_strip_nulls(jsonb) jsonb", strip_nulls_binary),
    ];
    for mut function in [
        scalar(3305, "jsonb_set(jsonb, _text, jsonb, bool) jsonb", set),
        scalar(3579, "jsonb_insert(jsonb, _text, jsonb, bool) jsonb", insert),
    ] {
        function.defaults = 1;
        functions.push(function);
    }
    functions
}
