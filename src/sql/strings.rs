//! String constants and delimited identifiers in all their spellings.

use super::scan::{Fault, Scanned, continued, is_name_start, truncated};
use super::token::Kind;
use crate::error::SqlState;

/// The text from after the opening quote at `open` to its closing one, doubled quotes undone, continuations joined.
fn quoted(source: &str, start: usize, open: usize, quote: u8, message: &'static str) -> Result<(String, usize), Fault> {
    let mut value = String::new();
    let mut from = open + 1;
    loop {
        let rest = source.get(from..).unwrap_or_default();
        let Some(found) = rest.bytes().position(|byte| byte == quote) else {
            return Err(Fault::syntax(message, start, source.len()));
        };
        value.push_str(rest.get(..found).unwrap_or_default());
        let after = from + found + 1;
        if source.as_bytes().get(after) == Some(&quote) {
            value.push(char::from(quote));
            from = after + 1;
        } else if let Some(next) = (quote == b'\'').then(|| continued(source, after)).flatten() {
            from = next + 1;
        } else {
            return Ok((value, after));
        }
    }
}

const OPEN_STRING: &str = "unterminated quoted string";
const OPEN_NAME: &str = "unterminated quoted identifier";

/// `'…'` whose quote stands at `open`.
pub(crate) fn plain(source: &str, start: usize, open: usize) -> Scanned {
    let (value, end) = quoted(source, start, open, b'\'', OPEN_STRING)?;
    Ok((Kind::Text, value, end))
}

/// `"…"` whose quote stands at `open`.
pub(crate) fn quoted_name(source: &str, start: usize, open: usize) -> Scanned {
    let (value, end) = quoted(source, start, open, b'"', OPEN_NAME)?;
    if value.is_empty() {
        return Err(Fault::syntax("zero-length delimited identifier", start, end));
    }
    Ok((Kind::Quoted, truncated(value), end))
}

/// `$tag$…$tag$`, or a lone dollar.
pub(crate) fn dollar(source: &str, start: usize) -> Scanned {
    let rest = source.get(start + 1..).unwrap_or_default();
    let tag_end = rest.bytes().position(|byte| !(is_name_start(byte) || byte.is_ascii_digit()));
    let Some(tag_end) = tag_end.filter(|end| rest.as_bytes().get(*end) == Some(&b'$')) else {
        return Ok((Kind::Operator, "$".to_owned(), start + 1));
    };
    let tag = source.get(start..start + tag_end + 2).unwrap_or_default();
    let body_start = start + tag.len();
    let body = source.get(body_start..).unwrap_or_default();
    match body.find(tag) {
        Some(found) => {
            Ok((Kind::Text, body.get(..found).unwrap_or_default().to_owned(), body_start + found + tag.len()))
        }
        None => Err(Fault::syntax("unterminated dollar-quoted string", start, source.len())),
    }
}

/// `E'…'`.
pub(crate) fn escaped(source: &str, start: usize) -> Scanned {
    let mut value: Vec<u8> = Vec::new();
    let bytes = source.as_bytes();
    let mut at = start + 2;
    let mut high: Option<u32> = None;
    loop {
        let Some(byte) = bytes.get(at).copied() else {
            return Err(Fault::syntax(OPEN_STRING, start, source.len()));
        };
        if high.is_some() && !(byte == b'\\' && matches!(bytes.get(at + 1), Some(b'u' | b'U'))) {
            return Err(surrogate(at));
        }
        match byte {
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => {
                value.push(b'\'');
                at += 2;
            }
            b'\'' => match continued(source, at + 1) {
                Some(next) => at = next + 1,
                None => {
                    at += 1;
                    break;
                }
            },
            b'\\' => at = escape(source, start, at, &mut value, &mut high)?,
            _ => {
                value.push(byte);
                at += 1;
            }
        }
    }
    match String::from_utf8(value) {
        Ok(value) if !value.contains('\0') => Ok((Kind::Text, value, at)),
        _ => Err(Fault {
            state: SqlState::CharacterNotInRepertoire,
            message: "invalid byte sequence for encoding \"UTF8\"",
            quotes: false,
            start,
            end: at,
        }),
    }
}

fn surrogate(at: usize) -> Fault {
    Fault::syntax("invalid Unicode surrogate pair", at, at + 1)
}

fn unicode_escape_fault(at: usize) -> Fault {
    Fault { state: SqlState::InvalidEscapeSequence, message: "invalid Unicode escape", quotes: false, start: at, end: at }
}

/// One backslash escape; answers the byte after it.
fn escape(source: &str, start: usize, at: usize, value: &mut Vec<u8>, high: &mut Option<u32>) -> Result<usize, Fault> {
    let bytes = source.as_bytes();
    let Some(letter) = bytes.get(at + 1).copied() else {
        return Err(Fault::syntax(OPEN_STRING, start, source.len()));
    };
    let digits_of = |from: usize, most: usize, radix: u32| {
        let text = source.get(from..).unwrap_or_default();
        text.bytes().take(most).take_while(|byte| char::from(*byte).is_digit(radix)).count()
    };
    match letter {
        b'b' => value.push(8),
        b'f' => value.push(12),
        b'n' => value.push(b'\n'),
        b'r' => value.push(b'\r'),
        b't' => value.push(b'\t'),
        b'u' | b'U' => {
            let length = if letter == b'u' { 4 } else { 8 };
            if digits_of(at + 2, length, 16) < length {
                return Err(unicode_escape_fault(at));
            }
            push_code(hex(source, at + 2, length), at, value, high)?;
            return Ok(at + 2 + length);
        }
        b'x' if digits_of(at + 2, 2, 16) > 0 => {
            let length = digits_of(at + 2, 2, 16);
            value.push(hex(source, at + 2, length) as u8);
            return Ok(at + 2 + length);
        }
        b'0'..=b'7' => {
            let length = digits_of(at + 1, 3, 8);
            let text = source.get(at + 1..at + 1 + length).unwrap_or_default();
            value.push((u32::from_str_radix(text, 8).unwrap_or_default() & 0xff) as u8);
            return Ok(at + 1 + length);
        }
        other => value.push(other),
    }
    Ok(at + 2)
}

fn hex(source: &str, from: usize, length: usize) -> u32 {
    source.get(from..from + length).and_then(|text| u32::from_str_radix(text, 16).ok()).unwrap_or_default()
}

/// Appends a code point; the two halves of a surrogate pair make one.
fn push_code(code: u32, at: usize, value: &mut Vec<u8>, high: &mut Option<u32>) -> Result<(), Fault> {
    let code = match (high.take(), code) {
        (None, 0xd800..=0xdbff) => {
            *high = Some(code);
            return Ok(());
        }
        (Some(first), 0xdc00..=0xdfff) => 0x10000 + ((first - 0xd800) << 10) + (code - 0xdc00),
        (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(surrogate(at)),
        (None, code) => code,
    };
    let character = char::from_u32(code).filter(|character| *character != '\0').ok_or(unicode_escape_fault(at))?;
    value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

/// `U&'…'` with an optional UESCAPE.
pub(crate) fn unicode_string(source: &str, start: usize) -> Scanned {
    let (raw, end) = quoted(source, start, start + 2, b'\'', OPEN_STRING)?;
    let (value, end) = unicode(source, &raw, start, end)?;
    Ok((Kind::Text, value, end))
}

/// `U&"…"` with an optional UESCAPE.
pub(crate) fn unicode_name(source: &str, start: usize) -> Scanned {
    let (raw, end) = quoted(source, start, start + 2, b'"', OPEN_NAME)?;
    if raw.is_empty() {
        return Err(Fault::syntax("zero-length delimited identifier", start, end));
    }
    let (value, end) = unicode(source, &raw, start, end)?;
    Ok((Kind::Quoted, truncated(value), end))
}

/// Reads `UESCAPE 'c'` after the string.
fn escape_clause(source: &str, end: usize) -> Result<(char, usize), Fault> {
    let rest = source.get(end..).unwrap_or_default();
    let trimmed = rest.trim_start();
    if !trimmed.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("uescape")) {
        return Ok(('\\', end));
    }
    let after = trimmed.get(7..).unwrap_or_default().trim_start();
    let open = source.len() - after.len();
    let mut characters = after.chars();
    let fault = || Fault::syntax("invalid Unicode escape character", open, source.len().min(open + 3));
    match (characters.next(), characters.next(), characters.next()) {
        (Some('\''), Some(escape), Some('\''))
            if !escape.is_ascii_hexdigit() && !matches!(escape, '+' | '\'' | '"') && !escape.is_whitespace() =>
        {
            Ok((escape, open + 2 + escape.len_utf8()))
        }
        _ => Err(fault()),
    }
}

fn unicode(source: &str, raw: &str, start: usize, end: usize) -> Result<(String, usize), Fault> {
    let (escape, end) = escape_clause(source, end)?;
    let mut value = Vec::with_capacity(raw.len());
    let mut high = None;
    let mut rest = raw;
    while let Some(character) = rest.chars().next() {
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
        if character != escape {
            if high.is_some() {
                return Err(surrogate(start));
            }
            value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        if let Some(after) = rest.strip_prefix(escape) {
            value.extend_from_slice(escape.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after;
            continue;
        }
        let (skip, length) = if rest.starts_with('+') { (1, 6) } else { (0, 4) };
        let digits = rest.get(skip..skip + length).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|text| u32::from_str_radix(text, 16).ok()).ok_or(unicode_escape_fault(start))?;
        push_code(code, start, &mut value, &mut high)?;
        rest = rest.get(skip + length..).unwrap_or_default();
    }
    if high.is_some() {
        return Err(surrogate(start));
    }
    Ok((String::from_utf8(value).unwrap_or_default(), end))
}
