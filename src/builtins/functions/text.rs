//! Functions of text and bytea that make another text of it or measure it. Lengths count characters.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array};
use arrow::datatypes::{Int32Type, Int64Type};

use super::Function;
use super::build::scalar;
use super::kernel::{Call, some};
use super::substrings::offset;
use crate::error::{Error, Result, SqlState};

/// Longest text that a function makes (PostgreSQL's limit of a value).
pub(super) const BYTES_MAX: usize = 1 << 30;

fn too_long() -> Error {
    Error::new(SqlState::ProgramLimitExceeded, "requested length too large")
}

/// `||`
pub fn concatenate(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.text(0)?, call.text(1)?);
    call.texts(|row, out| {
        let (left, right) = (some!(left.get(row)), some!(right.get(row)));
        out.push_str(left);
        out.push_str(right);
        Ok(Some(()))
    })
}

pub fn concatenate_bytes(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.bytes(0)?, call.bytes(1)?);
    call.byte_strings(|row, out| {
        let (left, right) = (some!(left.get(row)), some!(right.get(row)));
        out.extend_from_slice(left);
        out.extend_from_slice(right);
        Ok(Some(()))
    })
}

fn measured(call: &Call, measure: impl Fn(&str) -> usize) -> Result<ArrayRef> {
    // Where they stand: a measure is cheaper than a copy.
    if let Some(texts) = call.raw(0)?.as_string_view_opt().filter(|_| !call.is_constant(0)) {
        if texts.null_count() == 0 {
            let measures = (0..texts.len()).map(|row| measure(texts.value(row)) as i32);
            return Ok(Arc::new(Int32Array::from_iter_values(measures)));
        }
        return call.values::<Int32Type>(|row| Ok(texts.is_valid(row).then(|| measure(texts.value(row)) as i32)));
    }
    let texts = call.text(0)?;
    call.values::<Int32Type>(|row| Ok(texts.get(row).map(|text| measure(text) as i32)))
}

pub(super) fn characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

fn length(call: &Call) -> Result<ArrayRef> {
    measured(call, characters)
}
fn octets(call: &Call) -> Result<ArrayRef> {
    measured(call, str::len)
}
fn bits(call: &Call) -> Result<ArrayRef> {
    measured(call, |text| text.len() * 8)
}
fn byte_length(call: &Call) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.values::<Int32Type>(|row| Ok(bytes.get(row).map(|bytes| bytes.len() as i32)))
}

/// Writes each text changed.
pub(super) fn mapped(call: &Call, write: impl Fn(&str, &mut String)) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row, out| {
        write(some!(texts.get(row)), out);
        Ok(Some(()))
    })
}

fn lower(call: &Call) -> Result<ArrayRef> {
    mapped(call, |text, out| {
        if text.is_ascii() {
            out.push_str(text);
            out.make_ascii_lowercase();
        } else {
            out.extend(text.chars().flat_map(char::to_lowercase));
        }
    })
}
fn upper(call: &Call) -> Result<ArrayRef> {
    mapped(call, |text, out| {
        if text.is_ascii() {
            out.push_str(text);
            out.make_ascii_uppercase();
        } else {
            out.extend(text.chars().flat_map(char::to_uppercase));
        }
    })
}
fn initcap(call: &Call) -> Result<ArrayRef> {
    mapped(call, |text, out| {
        let mut inside = false;
        for c in text.chars() {
            if inside {
                out.extend(c.to_lowercase())
            } else {
                out.extend(c.to_uppercase())
            }
            inside = c.is_alphanumeric();
        }
    })
}
fn reverse(call: &Call) -> Result<ArrayRef> {
    mapped(call, |text, out| out.extend(text.chars().rev()))
}
/// Which ends a trim works on.
#[derive(Clone, Copy)]
enum Ends {
    Both,
    Left,
    Right,
}

fn trimmed(call: &Call, ends: Ends) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let sets = if call.len() > 1 { Some(call.text(1)?) } else { None };
    call.slices(|row| {
        let text = some!(texts.get(row));
        let set = match &sets {
            Some(sets) => some!(sets.get(row)),
            None => " ",
        };
        let in_set = |c: char| set.contains(c);
        Ok(Some(match ends {
            Ends::Both => text.trim_matches(in_set),
            Ends::Left => text.trim_start_matches(in_set),
            Ends::Right => text.trim_end_matches(in_set),
        }))
    })
}

fn btrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, Ends::Both)
}
fn ltrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, Ends::Left)
}
fn rtrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, Ends::Right)
}

fn replace(call: &Call) -> Result<ArrayRef> {
    let (texts, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    call.texts(|row, out| {
        let (text, from, to) = (some!(texts.get(row)), some!(from.get(row)), some!(to.get(row)));
        if from.is_empty() {
            out.push_str(text);
            return Ok(Some(()));
        }
        let mut end = 0;
        for (at, found) in text.match_indices(from) {
            out.push_str(text.get(end..at).unwrap_or_default());
            out.push_str(to);
            end = at + found.len();
        }
        out.push_str(text.get(end..).unwrap_or_default());
        Ok(Some(()))
    })
}

fn translate(call: &Call) -> Result<ArrayRef> {
    let (texts, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    call.texts(|row, out| {
        let (text, from, to) = (some!(texts.get(row)), some!(from.get(row)), some!(to.get(row)));
        for c in text.chars() {
            match from.chars().position(|wanted| wanted == c) {
                None => out.push(c),
                Some(at) => out.extend(to.chars().nth(at)),
            }
        }
        Ok(Some(()))
    })
}

fn repeat(call: &Call) -> Result<ArrayRef> {
    let (texts, counts) = (call.text(0)?, call.int(1)?);
    call.texts(|row, out| {
        let (text, count) = (some!(texts.get(row)), some!(counts.get(row)));
        let count = usize::try_from(count).unwrap_or(0);
        if text.len().checked_mul(count).is_none_or(|bytes| bytes > BYTES_MAX) {
            return Err(too_long());
        }
        let (start, bytes) = (out.len(), text.len() * count);
        if bytes > 0 {
            out.push_str(text);
        }
        while out.len() - start < bytes {
            let there = out.len() - start;
            out.extend_from_within(start..start + there.min(bytes - there));
        }
        Ok(Some(()))
    })
}

fn padded(call: &Call, on_the_left: bool) -> Result<ArrayRef> {
    let (texts, lengths) = (call.text(0)?, call.int(1)?);
    let fills = if call.len() > 2 { Some(call.text(2)?) } else { None };
    call.texts(|row, out| {
        let (text, length) = (some!(texts.get(row)), some!(lengths.get(row)).max(0));
        let fill = match &fills {
            Some(fills) => some!(fills.get(row)),
            None => " ",
        };
        if length as usize > BYTES_MAX {
            return Err(too_long());
        }
        let missing = (length - characters(text) as i64).max(0) as usize;
        let kept = text.get(..offset(text, length)).unwrap_or(text);
        if !on_the_left {
            out.push_str(kept);
        }
        if !fill.is_empty() {
            out.extend(fill.chars().cycle().take(missing));
        }
        if on_the_left {
            out.push_str(kept);
        }
        Ok(Some(()))
    })
}

fn lpad(call: &Call) -> Result<ArrayRef> {
    padded(call, true)
}
fn rpad(call: &Call) -> Result<ArrayRef> {
    padded(call, false)
}

fn ascii(call: &Call) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.values::<Int32Type>(|row| Ok(Some(some!(texts.get(row)).chars().next().map_or(0, |c| c as i32))))
}

fn chr(call: &Call) -> Result<ArrayRef> {
    let codes = call.int(0)?;
    call.texts(|row, out| {
        let code = some!(codes.get(row));
        let too_large = || {
            let message = format!("requested character too large for encoding: {code}");
            Error::new(SqlState::ProgramLimitExceeded, message)
        };
        if code == 0 {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "null character not permitted"));
        }
        if code < 0 {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "character number must be positive"));
        }
        out.push(u32::try_from(code).ok().and_then(char::from_u32).ok_or_else(too_large)?);
        Ok(Some(()))
    })
}

fn to_hex(call: &Call) -> Result<ArrayRef> {
    use std::fmt::Write;
    let narrow = matches!(call.raw(0)?.data_type(), arrow::datatypes::DataType::Int32);
    let values = call.int(0)?;
    call.texts(|row, out| {
        let value = some!(values.get(row));
        let _ = if narrow { write!(out, "{:x}", value as i32) } else { write!(out, "{value:x}") };
        Ok(Some(()))
    })
}

/// The texts of the arguments, each cast to text already; NULL counts for nothing.
fn concat(call: &Call) -> Result<ArrayRef> {
    let columns = (0..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.texts(|row, out| {
        for column in &columns {
            out.push_str(column.get(row).unwrap_or_default());
        }
        Ok(Some(()))
    })
}

fn concat_ws(call: &Call) -> Result<ArrayRef> {
    let separators = call.text(0)?;
    let columns = (1..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.texts(|row, out| {
        let separator = some!(separators.get(row));
        let mut first = true;
        for text in columns.iter().filter_map(|column| column.get(row)) {
            if !first {
                out.push_str(separator);
            }
            out.push_str(text);
            first = false;
        }
        Ok(Some(()))
    })
}

fn like_escape(call: &Call) -> Result<ArrayRef> {
    let (patterns, escapes) = (call.text(0)?, call.text(1)?);
    call.texts(|row, out| {
        let (pattern, escape) = (some!(patterns.get(row)), some!(escapes.get(row)));
        let mut letters = escape.chars();
        let (escape, more) = (letters.next(), letters.next());
        if more.is_some() {
            return Err(Error::new(SqlState::InvalidEscapeSequence, "invalid escape string")
                .with_hint("Escape string must be empty or one character."));
        }
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            if Some(c) == escape {
                out.push('\\');
                out.extend(rest.next());
            } else {
                if c == '\\' {
                    out.push('\\');
                }
                out.push(c);
            }
        }
        Ok(Some(()))
    })
}

/// LIKE with a pattern that ends in an escape: no text matches it, and one that gets there is an error.
pub fn like_end(call: &Call) -> Result<ArrayRef> {
    let reached = call.boolean(0)?;
    let negated = call.oid == 1;
    call.booleans(|row| match reached.get(row) {
        Some(true) => {
            let message = "LIKE pattern must not end with escape character";
            Err(Error::new(SqlState::InvalidEscapeSequence, message))
        }
        Some(false) => Ok(Some(negated)),
        None => Ok(None),
    })
}

fn counted(call: &Call, null: bool) -> Result<ArrayRef> {
    let columns = (0..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.values::<Int32Type>(|row| {
        Ok(Some(columns.iter().filter(|column| column.get(row).is_none() == null).count() as i32))
    })
}
fn nulls(call: &Call) -> Result<ArrayRef> {
    counted(call, true)
}
fn values_present(call: &Call) -> Result<ArrayRef> {
    counted(call, false)
}

fn bit_count(call: &Call) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.values::<Int64Type>(|row| {
        Ok(bytes.get(row).map(|bytes| bytes.iter().map(|byte| i64::from(byte.count_ones())).sum()))
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(1317, "length(text) int4", length),
        scalar(2010, "length(bytea) int4", byte_length),
        scalar(1381, "char_length(text) int4", length),
        scalar(1369, "character_length(text) int4", length),
        scalar(1374, "octet_length(text) int4", octets),
        scalar(720, "octet_length(bytea) int4", byte_length),
        scalar(1811, "bit_length(text) int4", bits),
        scalar(6163, "bit_count(bytea) int8", bit_count),
        scalar(870, "lower(text) text", lower),
        scalar(871, "upper(text) text", upper),
        scalar(872, "initcap(text) text", initcap),
        scalar(3062, "reverse(text) text", reverse),
        scalar(885, "btrim(text) text", btrim),
        scalar(884, "btrim(text, text) text", btrim),
        scalar(881, "ltrim(text) text", ltrim),
        scalar(875, "ltrim(text, text) text", ltrim),
        scalar(882, "rtrim(text) text", rtrim),
        scalar(876, "rtrim(text, text) text", rtrim),
        scalar(879, "lpad(text, int4) text", lpad),
        scalar(873, "lpad(text, int4, text) text", lpad),
        scalar(880, "rpad(text, int4) text", rpad),
        scalar(874, "rpad(text, int4, text) text", rpad),
        scalar(1622, "repeat(text, int4) text", repeat),
        scalar(2087, "replace(text, text, text) text", replace),
        scalar(878, "translate(text, text, text) text", translate),
        scalar(438, "num_nulls(variadic any) int4", nulls).not_strict(),
        scalar(440, "num_nonnulls(variadic any) int4", values_present).not_strict(),
        scalar(1620, "ascii(text) int4", ascii),
        scalar(1621, "chr(int4) text", chr),
        scalar(2089, "to_hex(int4) text", to_hex),
        scalar(2090, "to_hex(int8) text", to_hex),
        scalar(3058, "concat(variadic any) text", concat).not_strict(),
        scalar(3059, "concat_ws(text, variadic any) text", concat_ws).not_strict(),
        scalar(1637, "like_escape(text, text) text", like_escape),
    ]
}
