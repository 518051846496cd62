//! Input of character types and their length rules.

use std::borrow::Cow;

use crate::error::{Error, Result, SqlState};

/// Longest `name` in bytes (NAMEDATALEN - 1).
const NAME_BYTES_MAX: usize = 63;

/// `varchar(n)` on input and assignment: characters beyond `length_max` may only be spaces, which are cut.
pub fn varchar(text: &str, length_max: Option<usize>) -> Result<&str> {
    fit_varchar(text, length_max, false)
}

/// [`varchar`]; an explicit cast cuts whatever is too long.
pub fn fit_varchar(text: &str, length_max: Option<usize>, explicit: bool) -> Result<&str> {
    match length_max {
        Some(length) if text.len() > length => cut(text, length, explicit, "character varying"),
        _ => Ok(text),
    }
}

/// `char(n)` on input and assignment: padded with spaces to `length` characters.
pub fn bpchar(text: &str, length: Option<usize>) -> Result<Cow<'_, str>> {
    fit_bpchar(text, length, false)
}

/// [`bpchar`]; an explicit cast cuts whatever is too long.
pub fn fit_bpchar(text: &str, length: Option<usize>, explicit: bool) -> Result<Cow<'_, str>> {
    let Some(length) = length else { return Ok(Cow::Borrowed(text)) };
    let text = cut(text, length, explicit, "character")?;
    let missing = length.saturating_sub(text.chars().count());
    if missing == 0 {
        return Ok(Cow::Borrowed(text));
    }
    let mut padded = String::with_capacity(text.len() + missing);
    padded.push_str(text);
    padded.extend(std::iter::repeat_n(' ', missing));
    Ok(Cow::Owned(padded))
}

fn cut<'a>(text: &'a str, length: usize, explicit: bool, type_name: &str) -> Result<&'a str> {
    let Some((end, _)) = text.char_indices().nth(length) else { return Ok(text) };
    let (kept, rest) = text.split_at(end);
    if explicit || rest.bytes().all(|byte| byte == b' ') {
        return Ok(kept);
    }
    Err(Error::new(SqlState::StringDataRightTruncation, format!("value too long for type {type_name}({length})")))
}

/// `name`: cut to 63 bytes at a character's end.
pub fn name(text: &str) -> &str {
    text.get(..text.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or(text)
}

/// `"char"`: one byte, or `\ooo` for a byte that is not ASCII; empty is the NUL byte. The carrier holds the text.
pub fn char_type(text: &str) -> Cow<'_, str> {
    match text.as_bytes() {
        [b'\\', b'0'..=b'3', b'0'..=b'7', b'0'..=b'7'] => Cow::Borrowed(text),
        [byte @ 0x80..=0xff, ..] => Cow::Owned(format!("\\{byte:03o}")),
        _ => Cow::Borrowed(text.get(..1).unwrap_or(text)),
    }
}
