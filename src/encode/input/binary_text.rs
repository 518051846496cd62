//! Input of `bytea` and `uuid`.

use super::invalid_syntax;
use crate::error::{Error, Result, SqlState};

/// `bytea`: `\x` and hexadecimal digits, or the escape format.
pub fn bytea(text: &str) -> Result<Vec<u8>> {
    match text.as_bytes() {
        [b'\\', b'x', digits @ ..] => hexadecimal(digits),
        bytes => escaped(bytes),
    }
}

/// Pairs of digits; white space between pairs is skipped.
fn hexadecimal(digits: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    let mut rest = digits.iter();
    while let Some(first) = rest.next() {
        if matches!(first, b' ' | b'\n' | b'\t' | b'\r') {
            continue;
        }
        let high = hexadecimal_digit(*first)?;
        let Some(second) = rest.next() else {
            return Err(Error::new(SqlState::InvalidParameterValue, "invalid hexadecimal data: odd number of digits"));
        };
        bytes.push(high << 4 | hexadecimal_digit(*second)?);
    }
    Ok(bytes)
}

fn hexadecimal_digit(digit: u8) -> Result<u8> {
    hex_value(digit).ok_or_else(|| {
        let shown = if digit.is_ascii() { char::from(digit).to_string() } else { "\u{fffd}".to_owned() };
        Error::new(SqlState::InvalidParameterValue, format!("invalid hexadecimal digit: \"{shown}\""))
    })
}

pub(crate) const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// `\\` is a backslash, `\ooo` a byte in octal.
fn escaped(text: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        match rest {
            [] => return Ok(bytes),
            [b'\\', b'\\', tail @ ..] => {
                bytes.push(b'\\');
                rest = tail;
            }
            [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', tail @ ..] => {
                bytes.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                rest = tail;
            }
            [b'\\', ..] => {
                return Err(Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type bytea"));
            }
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

/// `uuid` in any form that PostgreSQL takes, in its canonical one.
pub fn uuid(text: &str) -> Result<String> {
    let bytes = uuid_bytes(text.as_bytes())?;
    let mut canonical = Vec::with_capacity(36);
    crate::encode::text::push_uuid(&mut canonical, &bytes);
    String::from_utf8(canonical).map_err(|_| invalid_syntax("uuid", text.as_bytes()))
}

/// The sixteen bytes of a uuid: digits in braces or not, a hyphen allowed after any group of four digits.
pub fn uuid_bytes(text: &[u8]) -> Result<[u8; 16]> {
    read_uuid(text).ok_or_else(|| invalid_syntax("uuid", text))
}

fn read_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        _ => text,
    };
    let mut bytes = [0_u8; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let [high, low, tail @ ..] = rest else { return None };
        *byte = hex_value(*high)? << 4 | hex_value(*low)?;
        rest = match tail {
            [b'-', tail @ ..] if at % 2 == 1 && at < 15 => tail,
            _ => tail,
        };
    }
    rest.is_empty().then_some(bytes)
}
