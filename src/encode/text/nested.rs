//! Quoting of values inside arrays and records.

use crate::encode::input::is_space;

/// Rewrites the text that stands from `start` on as an array's item: quoted when it could be misread.
pub(crate) fn push_array_item(out: &mut Vec<u8>, start: usize) {
    let text = out.get(start..).unwrap_or_default();
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',') || is_space(*byte);
    if text.is_empty() || text.eq_ignore_ascii_case(b"null") || text.iter().any(special) {
        quote(out, start, |byte| if matches!(byte, b'"' | b'\\') { Some(b'\\') } else { None });
    }
}

/// Rewrites the text that stands from `start` on as a record's field.
pub(crate) fn push_record_item(out: &mut Vec<u8>, start: usize) {
    let text = out.get(start..).unwrap_or_default();
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'(' | b')' | b',') || is_space(*byte);
    if text.is_empty() || text.iter().any(special) {
        quote(out, start, |byte| if matches!(byte, b'"' | b'\\') { Some(byte) } else { None });
    }
}

/// Puts double quotes round the text from `start` on, and what `escape` says before each byte.
fn quote(out: &mut Vec<u8>, start: usize, escape: impl Fn(u8) -> Option<u8>) {
    let text = out.split_off(start);
    out.reserve(text.len() + 2);
    out.push(b'"');
    for byte in text {
        out.extend(escape(byte));
        out.push(byte);
    }
    out.push(b'"');
}
