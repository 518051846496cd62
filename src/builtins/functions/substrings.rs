//! Parts of texts and byte strings: by position, by delimiter, by what they hold. Positions count characters from 1.

use arrow::array::ArrayRef;
use arrow::datatypes::Int32Type;

use super::Function;
use super::build::scalar;
use super::kernel::{Call, some};
use super::text::characters;
use crate::error::{Error, Result, SqlState};

/// `^@`, `starts_with`
pub fn starts_with(call: &Call) -> Result<ArrayRef> {
    let (texts, prefixes) = (call.text(0)?, call.text(1)?);
    call.booleans(|row| Ok(Some(some!(texts.get(row)).starts_with(some!(prefixes.get(row))))))
}

/// Byte offset of a character position (from 0); the text's end when it has fewer.
pub(super) fn offset(text: &str, characters: i64) -> usize {
    let wanted = usize::try_from(characters).unwrap_or(0);
    if text.is_ascii() {
        return wanted.min(text.len());
    }
    text.char_indices().nth(wanted).map_or(text.len(), |(at, _)| at)
}

fn left(call: &Call) -> Result<ArrayRef> {
    let (texts, counts) = (call.text(0)?, call.int(1)?);
    call.slices(|row| {
        let (text, count) = (some!(texts.get(row)), some!(counts.get(row)));
        let kept = if count >= 0 { count } else { (characters(text) as i64 + count).max(0) };
        Ok(text.get(..offset(text, kept)))
    })
}
fn right(call: &Call) -> Result<ArrayRef> {
    let (texts, counts) = (call.text(0)?, call.int(1)?);
    call.slices(|row| {
        let (text, count) = (some!(texts.get(row)), some!(counts.get(row)));
        let skipped = if count >= 0 { (characters(text) as i64 - count).max(0) } else { -count };
        Ok(text.get(offset(text, skipped)..))
    })
}

/// `substring(text, start[, length])`: positions count from 1 and may lie outside.
fn substring(call: &Call) -> Result<ArrayRef> {
    let (texts, starts) = (call.text(0)?, call.int(1)?);
    let lengths = if call.len() > 2 { Some(call.int(2)?) } else { None };
    call.slices(|row| {
        let (text, start) = (some!(texts.get(row)), some!(starts.get(row)));
        let end = match &lengths {
            None => i64::MAX,
            Some(lengths) => {
                let length = some!(lengths.get(row));
                if length < 0 {
                    return Err(negative_length());
                }
                start.saturating_add(length)
            }
        };
        let from = offset(text, (start - 1).max(0));
        let to = if end == i64::MAX { text.len() } else { offset(text, (end - 1).max(0)) };
        Ok(text.get(from..to.max(from)))
    })
}

fn negative_length() -> Error {
    Error::new(SqlState::SubstringError, "negative substring length not allowed")
}

fn substring_bytes(call: &Call) -> Result<ArrayRef> {
    let (values, starts) = (call.bytes(0)?, call.int(1)?);
    let lengths = if call.len() > 2 { Some(call.int(2)?) } else { None };
    call.byte_strings(|row, out| {
        let (bytes, start) = (some!(values.get(row)), some!(starts.get(row)));
        let end = match &lengths {
            None => i64::MAX,
            Some(lengths) => {
                let length = some!(lengths.get(row));
                if length < 0 {
                    return Err(negative_length());
                }
                start.saturating_add(length)
            }
        };
        let clamp = |at: i64| usize::try_from(at.max(1) - 1).unwrap_or(usize::MAX).min(bytes.len());
        let (from, to) = (clamp(start), clamp(end));
        out.extend_from_slice(bytes.get(from..to.max(from)).unwrap_or_default());
        Ok(Some(()))
    })
}

fn position(call: &Call) -> Result<ArrayRef> {
    let (texts, wanted) = (call.text(0)?, call.text(1)?);
    call.values::<Int32Type>(|row| {
        let (text, wanted) = (some!(texts.get(row)), some!(wanted.get(row)));
        Ok(Some(text.find(wanted).map_or(0, |at| characters(text.get(..at).unwrap_or_default()) as i32 + 1)))
    })
}

fn overlay(call: &Call) -> Result<ArrayRef> {
    let (texts, replacements, starts) = (call.text(0)?, call.text(1)?, call.int(2)?);
    let counts = if call.len() > 3 { Some(call.int(3)?) } else { None };
    call.texts(|row, out| {
        let (text, replacement) = (some!(texts.get(row)), some!(replacements.get(row)));
        let start = some!(starts.get(row));
        let count = match &counts {
            Some(counts) => some!(counts.get(row)),
            None => characters(replacement) as i64,
        };
        if start <= 0 {
            return Err(negative_length());
        }
        out.push_str(text.get(..offset(text, start - 1)).unwrap_or_default());
        out.push_str(replacement);
        out.push_str(text.get(offset(text, (start - 1 + count).max(0))..).unwrap_or_default());
        Ok(Some(()))
    })
}

fn split_part(call: &Call) -> Result<ArrayRef> {
    let (texts, delimiters, fields) = (call.text(0)?, call.text(1)?, call.int(2)?);
    call.slices(|row| {
        let (text, delimiter, field) = (some!(texts.get(row)), some!(delimiters.get(row)), some!(fields.get(row)));
        if field == 0 {
            return Err(Error::new(SqlState::InvalidParameterValue, "field position must not be zero"));
        }
        let index = field.unsigned_abs() as usize - 1;
        if delimiter.is_empty() {
            return Ok(Some(if index == 0 { text } else { "" }));
        }
        let part = if field > 0 { text.split(delimiter).nth(index) } else { text.rsplit(delimiter).nth(index) };
        Ok(Some(part.unwrap_or("")))
    })
}

fn string_to_array(call: &Call) -> Result<ArrayRef> {
    let (texts, delimiters) = (call.text(0)?, call.text(1)?);
    let nulls = if call.len() > 2 { Some(call.text(2)?) } else { None };
    call.text_lists(|row, items| {
        let text = some!(texts.get(row));
        let null = nulls.as_ref().and_then(|nulls| nulls.get(row));
        let mut push = |item: &str| {
            if Some(item) == null { items.append_null() } else { items.append_value(item) }
        };
        match delimiters.get(row) {
            _ if text.is_empty() => {}
            None => text.chars().for_each(|c| push(c.encode_utf8(&mut [0; 4]))),
            Some("") => push(text),
            Some(delimiter) => text.split(delimiter).for_each(push),
        }
        Ok(Some(()))
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(3060, "left(text, int4) text", left),
        scalar(3061, "right(text, int4) text", right),
        scalar(2088, "split_part(text, text, int4) text", split_part),
        scalar(868, "strpos(text, text) int4", position),
        scalar(849, "position(text, text) int4", position),
        scalar(937, "substring(text, int4) text", substring),
        scalar(936, "substring(text, int4, int4) text", substring),
        scalar(883, "substr(text, int4) text", substring),
        scalar(877, "substr(text, int4, int4) text", substring),
        scalar(2086, "substr(bytea, int4) bytea", substring_bytes),
        scalar(2085, "substr(bytea, int4, int4) bytea", substring_bytes),
        scalar(2013, "substring(bytea, int4) bytea", substring_bytes),
        scalar(2012, "substring(bytea, int4, int4) bytea", substring_bytes),
        scalar(1405, "overlay(text, text, int4) text", overlay),
        scalar(1404, "overlay(text, text, int4, int4) text", overlay),
        scalar(3696, "starts_with(text, text) bool", starts_with),
        scalar(394, "string_to_array(text, text) _text", string_to_array).not_strict(),
        scalar(376, "string_to_array(text, text, text) _text", string_to_array).not_strict(),
    ]
}
