//! Operators of json and jsonb, over their text.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};

use super::json_text::{self, Kind, items, members};
use super::kernel::{Call, some};
use crate::encode::types::oid;
use crate::error::{Error, Result, SqlState};

/// Whether the operator's left operand is jsonb; the kernel's identity holds the operands' types.
fn of_jsonb(call: &Call) -> bool {
    call.oid / 65_537 == oid::JSONB
}

/// A value found in each row, as JSON or as text.
fn found<'t>(call: &Call, as_text: bool, mut find: impl FnMut(usize) -> Result<Option<&'t str>>) -> Result<ArrayRef> {
    if !as_text {
        return call.slices(find);
    }
    call.texts(|row, out| {
        out.push_str(&some!(json_text::plain(some!(find(row)?))));
        Ok(Some(()))
    })
}

fn fields(call: &Call, as_text: bool) -> Result<ArrayRef> {
    let (documents, keys) = (call.text(0)?, call.text(1)?);
    found(call, as_text, |row| Ok(json_text::field(some!(documents.get(row)), some!(keys.get(row)))))
}

pub fn field(call: &Call) -> Result<ArrayRef> {
    fields(call, false)
}
pub fn field_text(call: &Call) -> Result<ArrayRef> {
    fields(call, true)
}

fn indexed(call: &Call, as_text: bool) -> Result<ArrayRef> {
    let (documents, indexes) = (call.text(0)?, call.int(1)?);
    let jsonb = of_jsonb(call);
    found(call, as_text, |row| {
        let (document, index) = (some!(documents.get(row)), some!(indexes.get(row)));
        if jsonb && json_text::kind(document).is_scalar() {
            // A scalar of jsonb is stored as an array of itself.
            return Ok(matches!(index, 0 | -1).then_some(document));
        }
        Ok(json_text::item(document, index))
    })
}

pub fn item(call: &Call) -> Result<ArrayRef> {
    indexed(call, false)
}
pub fn item_text(call: &Call) -> Result<ArrayRef> {
    indexed(call, true)
}

/// The texts of a `text[]` argument in a row.
pub(super) fn keys_at(call: &Call, index: usize, row: usize) -> Result<Option<StringArray>> {
    let array = super::arrays::flat_items(call.raw(index)?)?;
    let lists = array.as_list_opt::<i32>().ok_or_else(|| Error::internal("an array was expected"))?;
    let at = call.row_of(index, row);
    if lists.is_null(at) {
        return Ok(None);
    }
    let texts = crate::encode::cast(&lists.value(at), &arrow::datatypes::DataType::Utf8)?;
    Ok(texts.as_string_opt::<i32>().cloned())
}

fn paths(call: &Call, as_text: bool) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    found(call, as_text, |row| {
        let (document, keys) = (some!(documents.get(row)), some!(keys_at(call, 1, row)?));
        if keys.null_count() > 0 {
            return Ok(None);
        }
        Ok(json_text::walk(document, keys.iter().flatten()))
    })
}

pub fn path(call: &Call) -> Result<ArrayRef> {
    paths(call, false)
}
pub fn path_text(call: &Call) -> Result<ArrayRef> {
    paths(call, true)
}

fn containing(call: &Call, document: usize, part: usize) -> Result<ArrayRef> {
    let (documents, parts) = (call.text(document)?, call.text(part)?);
    call.booleans(|row| {
        let (document, part) = (some!(documents.get(row)), some!(parts.get(row)));
        Ok(Some(json_text::contains(document, part, true)))
    })
}

pub fn contains(call: &Call) -> Result<ArrayRef> {
    containing(call, 0, 1)
}
pub fn contained(call: &Call) -> Result<ArrayRef> {
    containing(call, 1, 0)
}

fn is_string(value: &str, text: &str) -> bool {
    json_text::kind(value) == Kind::String && json_text::plain(value).is_some_and(|plain| plain == text)
}

fn has_key(document: &str, key: &str) -> bool {
    match json_text::kind(document) {
        Kind::Object => json_text::field(document, key).is_some(),
        Kind::Array => items(document).any(|item| is_string(item, key)),
        _ => is_string(document, key),
    }
}

pub fn exists(call: &Call) -> Result<ArrayRef> {
    let (documents, keys) = (call.text(0)?, call.text(1)?);
    call.booleans(|row| Ok(Some(has_key(some!(documents.get(row)), some!(keys.get(row))))))
}

fn exist(call: &Call, all: bool) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.booleans(|row| {
        let (document, keys) = (some!(documents.get(row)), some!(keys_at(call, 1, row)?));
        let mut present = keys.iter().flatten().map(|key| has_key(document, key));
        Ok(Some(if all { present.all(|found| found) } else { present.any(|found| found) }))
    })
}

pub fn exists_any(call: &Call) -> Result<ArrayRef> {
    exist(call, false)
}
pub fn exists_all(call: &Call) -> Result<ArrayRef> {
    exist(call, true)
}

/// What stands between a container's brackets.
fn inside(value: &str) -> &str {
    value.get(1..value.len().saturating_sub(1)).unwrap_or_default().trim()
}

/// Objects are merged, everything else is an array of its own items.
pub fn concatenate(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.text(0)?, call.text(1)?);
    call.texts(|row, out| {
        let (left, right) = (some!(left.get(row)), some!(right.get(row)));
        let objects = json_text::kind(left) == Kind::Object && json_text::kind(right) == Kind::Object;
        let part = |value| if objects || json_text::kind(value) == Kind::Array { inside(value) } else { value };
        let (left, right) = (part(left), part(right));
        let comma = if left.is_empty() || right.is_empty() { "" } else { ", " };
        if objects {
            // Of equal keys jsonb keeps the last.
            out.push_str(&crate::encode::input::jsonb(&format!("{{{left}{comma}{right}}}"))?);
        } else {
            out.extend(["[", left, comma, right, "]"]);
        }
        Ok(Some(()))
    })
}

fn delete_keys(document: &str, drop: impl Fn(&str) -> bool, out: &mut String) -> Result<()> {
    match json_text::kind(document) {
        Kind::Object => {
            out.push('{');
            let mut first = true;
            for (key, value) in members(document).filter(|(key, _)| !drop(&json_text::unescape(key))) {
                if !std::mem::take(&mut first) {
                    out.push_str(", ");
                }
                out.extend(["\"", key, "\": ", value]);
            }
            out.push('}');
        }
        Kind::Array => {
            let keep = |item: &&str| {
                json_text::kind(item) != Kind::String || !json_text::plain(item).is_some_and(|text| drop(&text))
            };
            push_items(out, items(document).filter(keep));
        }
        _ => return Err(Error::new(SqlState::InvalidParameterValue, "cannot delete from scalar")),
    }
    Ok(())
}

/// An array of these items.
pub(super) fn push_items<'t>(out: &mut String, items: impl Iterator<Item = &'t str>) {
    out.push('[');
    for (at, item) in items.enumerate() {
        out.push_str(if at > 0 { ", " } else { "" });
        out.push_str(item);
    }
    out.push(']');
}

pub fn without_key(call: &Call) -> Result<ArrayRef> {
    let (documents, keys) = (call.text(0)?, call.text(1)?);
    call.texts(|row, out| {
        let (document, key) = (some!(documents.get(row)), some!(keys.get(row)));
        delete_keys(document, |name| name == key, out).map(Some)
    })
}

pub fn without_keys(call: &Call) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.texts(|row, out| {
        let (document, keys) = (some!(documents.get(row)), some!(keys_at(call, 1, row)?));
        delete_keys(document, |name| keys.iter().flatten().any(|key| key == name), out).map(Some)
    })
}

pub fn without_item(call: &Call) -> Result<ArrayRef> {
    let (documents, indexes) = (call.text(0)?, call.int(1)?);
    call.texts(|row, out| {
        let (document, index) = (some!(documents.get(row)), some!(indexes.get(row)));
        let refused = match json_text::kind(document) {
            Kind::Array => None,
            Kind::Object => Some("cannot delete from object using integer index"),
            _ => Some("cannot delete from scalar"),
        };
        if let Some(message) = refused {
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        let length = items(document).count() as i64;
        let drop = if index < 0 { length + index } else { index };
        push_items(out, items(document).enumerate().filter(|(at, _)| *at as i64 != drop).map(|(_, item)| item));
        Ok(Some(()))
    })
}
