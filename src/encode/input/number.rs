//! Input of booleans, integers, OIDs and floats.

use super::{invalid_syntax, is_space, trim, value_out_of_range};
use crate::error::{Error, Result, SqlState};

/// `boolean`: any prefix of true, false, yes, no, and on, off, 1, 0, in any case.
pub fn boolean(text: &str) -> Result<bool> {
    boolean_bytes(text.as_bytes())
}

/// [`boolean`] of bytes.
pub fn boolean_bytes(text: &[u8]) -> Result<bool> {
    match text {
        b"t" | b"true" | b"1" => return Ok(true),
        b"f" | b"false" | b"0" => return Ok(false),
        _ => {}
    }
    let word = trim(text).to_ascii_lowercase();
    let starts = |whole: &str, shortest: usize| word.len() >= shortest && whole.as_bytes().starts_with(&word);
    if starts("true", 1) || starts("yes", 1) || starts("on", 2) || word == b"1" {
        Ok(true)
    } else if starts("false", 1) || starts("no", 1) || starts("off", 2) || word == b"0" {
        Ok(false)
    } else {
        Err(invalid_syntax("boolean", text))
    }
}

/// Sign and digits without overflow, or why not.
enum Digits {
    Value(i64),
    OutOfRange,
    Malformed,
}

/// An optional sign and digits, nothing else; white space around them is allowed.
#[inline]
fn signed(text: &[u8]) -> Digits {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        [first, ..] if is_space(*first) => return signed_trimmed(text),
        _ => (false, text),
    };
    if digits.is_empty() {
        return Digits::Malformed;
    }
    // Accumulating downwards reaches i64::MIN without a special case.
    let mut value: i64 = 0;
    for (at, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return if is_space(*byte) && at > 0 { signed_trimmed(text) } else { Digits::Malformed };
        }
        let next = if at < 18 {
            Some(value * 10 - i64::from(digit))
        } else {
            value.checked_mul(10).and_then(|tens| tens.checked_sub(i64::from(digit)))
        };
        match next {
            Some(next) => value = next,
            // PostgreSQL stops at the overflow too, whatever follows.
            None => return Digits::OutOfRange,
        }
    }
    if negative {
        return Digits::Value(value);
    }
    value.checked_neg().map_or(Digits::OutOfRange, Digits::Value)
}

#[cold]
fn signed_trimmed(text: &[u8]) -> Digits {
    let trimmed = trim(text);
    if trimmed.len() < text.len() { signed(trimmed) } else { Digits::Malformed }
}

#[inline]
fn integer<T: TryFrom<i64>>(text: &[u8], type_name: &str) -> Result<T> {
    match signed(text) {
        Digits::Value(value) => T::try_from(value).map_err(|_| value_out_of_range(type_name, text)),
        Digits::OutOfRange => Err(value_out_of_range(type_name, text)),
        Digits::Malformed => Err(invalid_syntax(type_name, text)),
    }
}

/// `smallint`.
pub fn int2(text: &str) -> Result<i16> {
    int2_bytes(text.as_bytes())
}

/// [`int2`] of bytes.
pub fn int2_bytes(text: &[u8]) -> Result<i16> {
    integer(text, "smallint")
}

/// `integer`.
pub fn int4(text: &str) -> Result<i32> {
    int4_bytes(text.as_bytes())
}

/// [`int4`] of bytes.
#[inline]
pub fn int4_bytes(text: &[u8]) -> Result<i32> {
    integer(text, "integer")
}

/// `bigint`.
pub fn int8(text: &str) -> Result<i64> {
    int8_bytes(text.as_bytes())
}

/// [`int8`] of bytes.
#[inline]
pub fn int8_bytes(text: &[u8]) -> Result<i64> {
    integer(text, "bigint")
}

/// `oid`; a negative number is taken modulo 2^32 as PostgreSQL does.
pub fn oid(text: &str) -> Result<u32> {
    oid_bytes(text.as_bytes())
}

/// [`oid`] of bytes.
pub fn oid_bytes(text: &[u8]) -> Result<u32> {
    match signed(text) {
        Digits::Value(value @ 0..=0xffff_ffff) => Ok(value as u32),
        Digits::Value(value @ -0x8000_0000..=-1) => Ok(value as i32 as u32),
        Digits::Value(_) | Digits::OutOfRange => Err(value_out_of_range("oid", text)),
        Digits::Malformed => Err(invalid_syntax("oid", text)),
    }
}

/// `double precision`.
pub fn float8(text: &str) -> Result<f64> {
    float8_bytes(text.as_bytes())
}

/// [`float8`] of bytes.
pub fn float8_bytes(text: &[u8]) -> Result<f64> {
    let number = trim(text);
    match plain_float(number).and_then(|plain| plain.parse::<f64>().ok()) {
        Some(value) if value.is_infinite() || (value == 0.0 && has_nonzero_digit(number)) => {
            Err(float_out_of_range("double precision", number))
        }
        Some(value) => Ok(value),
        None => special_float(number).ok_or_else(|| invalid_syntax("double precision", text)),
    }
}

/// `real`.
pub fn float4(text: &str) -> Result<f32> {
    float4_bytes(text.as_bytes())
}

/// [`float4`] of bytes.
pub fn float4_bytes(text: &[u8]) -> Result<f32> {
    let number = trim(text);
    match plain_float(number).and_then(|plain| plain.parse::<f32>().ok()) {
        Some(value) if value.is_infinite() || (value == 0.0 && has_nonzero_digit(number)) => {
            Err(float_out_of_range("real", number))
        }
        Some(value) => Ok(value),
        None => special_float(number).map(|value| value as f32).ok_or_else(|| invalid_syntax("real", text)),
    }
}

/// `double precision` of its binary format. NaN gets the one form that is equal to itself where bits are compared.
pub fn float8_of(bytes: [u8; 8]) -> f64 {
    let value = f64::from_be_bytes(bytes);
    if value.is_nan() { f64::NAN } else { value }
}

/// `real` of its binary format, as [`float8_of`].
pub fn float4_of(bytes: [u8; 4]) -> f32 {
    let value = f32::from_be_bytes(bytes);
    if value.is_nan() { f32::NAN } else { value }
}

/// The text when it is written with digits, so that `nan` and `inf` are not the library's to judge.
fn plain_float(number: &[u8]) -> Option<&str> {
    let digits = number.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    if digits { std::str::from_utf8(number).ok() } else { None }
}

/// Whether the mantissa is not zero: then a result of zero is an underflow.
fn has_nonzero_digit(number: &[u8]) -> bool {
    number.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'))
}

fn special_float(number: &[u8]) -> Option<f64> {
    match number.to_ascii_lowercase().as_slice() {
        b"nan" => Some(f64::NAN),
        b"infinity" | b"+infinity" | b"inf" | b"+inf" => Some(f64::INFINITY),
        b"-infinity" | b"-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

#[cold]
fn float_out_of_range(type_name: &str, number: &[u8]) -> Error {
    Error::new(
        SqlState::NumericValueOutOfRange,
        format!("\"{}\" is out of range for type {type_name}", String::from_utf8_lossy(number)),
    )
}
