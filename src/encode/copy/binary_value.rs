//! Values of PostgreSQL's binary format (`…recv` functions) as the Arrow carriers' natives.

use super::split::int2 as int2_at;
use crate::encode::input;
use crate::error::{Error, Result, SqlState};

/// 2000-01-01, PostgreSQL's epoch, in days and microseconds since 1970.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

#[cold]
fn bad(message: &str) -> Error {
    Error::new(SqlState::InvalidBinaryRepresentation, message)
}

/// PostgreSQL's words for too few bytes differ from those for too many.
#[inline]
fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    match bytes.try_into() {
        Ok(array) => Ok(array),
        Err(_) if bytes.len() < N => Err(Error::new(SqlState::ProtocolViolation, "insufficient data left in message")),
        Err(_) => Err(bad("incorrect binary data format")),
    }
}

pub(super) fn boolean(bytes: &[u8]) -> Result<bool> {
    Ok(exactly::<1>(bytes)? != [0])
}
pub(super) fn int2(bytes: &[u8]) -> Result<i16> {
    exactly(bytes).map(i16::from_be_bytes)
}
pub(super) fn int4(bytes: &[u8]) -> Result<i32> {
    exactly(bytes).map(i32::from_be_bytes)
}
pub(super) fn int8(bytes: &[u8]) -> Result<i64> {
    exactly(bytes).map(i64::from_be_bytes)
}
pub(super) fn oid(bytes: &[u8]) -> Result<i64> {
    exactly(bytes).map(u32::from_be_bytes).map(i64::from)
}
pub(super) fn float4(bytes: &[u8]) -> Result<f32> {
    exactly(bytes).map(input::float4_of)
}
pub(super) fn float8(bytes: &[u8]) -> Result<f64> {
    exactly(bytes).map(input::float8_of)
}

/// Days since 1970; the infinities stay what they are.
pub(super) fn date(bytes: &[u8]) -> Result<i32> {
    match int4(bytes)? {
        infinite @ (i32::MIN | i32::MAX) => Ok(infinite),
        days => {
            days.checked_add(EPOCH_DAYS).ok_or_else(|| Error::new(SqlState::DatetimeFieldOverflow, "date out of range"))
        }
    }
}

pub(super) fn time(bytes: &[u8]) -> Result<i64> {
    match int8(bytes)? {
        micros @ 0..=86_400_000_000 => Ok(micros),
        _ => Err(Error::new(SqlState::DatetimeFieldOverflow, "time out of range")),
    }
}

/// Microseconds since 1970; the infinities stay what they are.
pub(super) fn timestamp(bytes: &[u8]) -> Result<i64> {
    match int8(bytes)? {
        infinite @ (i64::MIN | i64::MAX) => Ok(infinite),
        micros => micros
            .checked_add(EPOCH_MICROS)
            .ok_or_else(|| Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range")),
    }
}

pub(super) fn uuid(bytes: &[u8]) -> Result<String> {
    Ok(uuid::Uuid::from_bytes(exactly(bytes)?).hyphenated().to_string())
}

/// The text behind `jsonb`'s version byte.
pub(super) fn jsonb(bytes: &[u8]) -> Result<&[u8]> {
    match bytes {
        [1, text @ ..] => Ok(text),
        [version, ..] => Err(Error::new(
            SqlState::InvalidBinaryRepresentation,
            format!("unsupported jsonb version number {version}"),
        )),
        [] => Err(Error::new(SqlState::ProtocolViolation, "insufficient data left in message")),
    }
}

/// `numeric`: groups of four decimal digits, as an unscaled value of this precision and scale, rounded as PostgreSQL does.
pub(super) fn numeric(bytes: &[u8], precision: u8, scale: i8) -> Result<i128> {
    let (Some(groups), Some(weight), Some(sign), Some(_)) =
        (int2_at(bytes, 0), int2_at(bytes, 2), int2_at(bytes, 4), int2_at(bytes, 6))
    else {
        return Err(Error::new(SqlState::ProtocolViolation, "insufficient data left in message"));
    };
    let digits = bytes.get(8..).unwrap_or_default();
    if usize::try_from(groups).map(|groups| groups * 2) != Ok(digits.len()) {
        return Err(bad("incorrect binary data format"));
    }
    let negative = match sign as u16 {
        0 => false,
        0x4000 => true,
        0xc000 => return not_finite("NaN"),
        0xd000 => return not_finite("Infinity"),
        0xf000 => return not_finite("-Infinity"),
        _ => return Err(bad("invalid sign in external \"numeric\" value")),
    };
    // Through its text: exact at any scale, and the rounding and range rules stand in one place.
    let text = numeric_text(digits, i32::from(weight), negative)?;
    input::numeric(&text, precision, scale)
}

fn not_finite(value: &str) -> Result<i128> {
    Err(Error::new(SqlState::FeatureNotSupported, format!("{value} in a numeric column is not supported")))
}

fn numeric_text(digits: &[u8], weight: i32, negative: bool) -> Result<String> {
    let mut text = String::with_capacity(digits.len() * 2 + 4);
    text.push_str(if negative { "-0" } else { "0" });
    // Group i is worth 10000^(weight - i): the exponent of the last digit places the point for all.
    for group in digits.chunks_exact(2) {
        let group = int2_at(group, 0).unwrap_or_default();
        if !(0..10_000).contains(&group) {
            return Err(bad("invalid digit in external \"numeric\" value"));
        }
        text.push_str(&format!("{group:04}"));
    }
    let exponent = (weight - (digits.len() as i32 / 2) + 1) * 4;
    text.push_str(&format!("e{exponent}"));
    Ok(text)
}

/// Appends a field: its length, then what `write` appends.
pub(super) fn push_sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out)?;
    let length = (out.len() - start - 4) as i32;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}
