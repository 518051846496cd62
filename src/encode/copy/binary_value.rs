//! Values of PostgreSQL's binary format (`…recv` functions) as the Arrow carriers' natives.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::scalar::ScalarValue;

use super::split::{int2 as int2_at, int4 as int4_at};
use crate::encode::input::{self, InputContext};
use crate::encode::types::{arrow_type, element_of, oid, PgType};
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
        Err(_) if bytes.len() < N => {
            Err(Error::new(SqlState::ProtocolViolation, "insufficient data left in message"))
        }
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
    exactly(bytes).map(f32::from_be_bytes)
}
pub(super) fn float8(bytes: &[u8]) -> Result<f64> {
    exactly(bytes).map(f64::from_be_bytes)
}

/// Days since 1970; the infinities stay what they are.
pub(super) fn date(bytes: &[u8]) -> Result<i32> {
    match int4(bytes)? {
        infinite @ (i32::MIN | i32::MAX) => Ok(infinite),
        days => days
            .checked_add(EPOCH_DAYS)
            .ok_or_else(|| Error::new(SqlState::DatetimeFieldOverflow, "date out of range")),
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
        [version, ..] => Err(Error::internal(format!("unsupported jsonb version number {version}"))),
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

/// A value of a type that has no vector of its own: intervals and arrays. Errors: 0A000 for other types.
pub(super) fn scalar(bytes: &[u8], ty: PgType, context: &InputContext) -> Result<ScalarValue> {
    if ty.oid == oid::INTERVAL {
        return interval(bytes);
    }
    match element_of(ty.oid) {
        Some(element) => array(bytes, PgType { oid: element, typmod: ty.typmod }, context),
        None => Err(Error::unsupported(format!("binary COPY of type {}", ty.oid))),
    }
}

fn interval(bytes: &[u8]) -> Result<ScalarValue> {
    let bytes: [u8; 16] = exactly(bytes)?;
    let word = i128::from_be_bytes(bytes);
    let (micros, days, months) = ((word >> 64) as i64, (word >> 32) as i32, word as i32);
    let nanos = micros
        .checked_mul(1000)
        .ok_or_else(|| Error::new(SqlState::DatetimeFieldOverflow, "interval out of range"))?;
    Ok(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanos))))
}

/// Dimensions, a flag for NULLs and the element type; then a length and index base for each dimension; then the elements.
fn array(bytes: &[u8], element: PgType, context: &InputContext) -> Result<ScalarValue> {
    let short = || Error::new(SqlState::ProtocolViolation, "insufficient data left in message");
    let dimensions = int4_at(bytes, 0).ok_or_else(short)?;
    let sent = int4_at(bytes, 8).ok_or_else(short)?;
    if sent as u32 != element.oid {
        return Err(Error::new(SqlState::DatatypeMismatch, "wrong element type"));
    }
    let length = match dimensions {
        0 => 0,
        1 => int4_at(bytes, 12).ok_or_else(short)?,
        _ => return Err(Error::unsupported("binary COPY of an array with more than one dimension")),
    };
    let mut at = if dimensions == 0 { 12 } else { 20 };
    let mut builder = super::ColumnBuilder::new(element, 0);
    for _ in 0..length {
        let size = int4_at(bytes, at).ok_or_else(short)?;
        at += 4;
        let value = match usize::try_from(size) {
            Ok(size) => Some(bytes.get(at..).and_then(|rest| rest.get(..size)).ok_or_else(short)?),
            Err(_) => None,
        };
        at += value.map_or(0, <[u8]>::len);
        builder.append_binary(value, context)?;
    }
    if at != bytes.len() {
        return Err(bad("incorrect binary data format"));
    }
    let values = builder.finish()?;
    let field = arrow::datatypes::Field::new_list_field(arrow_type(element), true);
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([values.len()]);
    let list = arrow::array::ListArray::try_new(field.into(), offsets, values, None)?;
    Ok(ScalarValue::List(std::sync::Arc::new(list)))
}

/// Appends a field: its length, then what `write` appends.
pub(super) fn push_sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - start - 4) as i32;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// Days since 1970 to `date`.
pub(super) fn push_date(out: &mut Vec<u8>, day: i32) {
    let day = if matches!(day, i32::MIN | i32::MAX) { day } else { day.wrapping_sub(EPOCH_DAYS) };
    out.extend(day.to_be_bytes());
}

/// Microseconds since 1970 to `timestamp` or `timestamptz`.
pub(super) fn push_timestamp(out: &mut Vec<u8>, micros: i64) {
    let micros = if matches!(micros, i64::MIN | i64::MAX) { micros } else { micros.wrapping_sub(EPOCH_MICROS) };
    out.extend(micros.to_be_bytes());
}

/// An unscaled value to `numeric`: groups of four digits, those at both ends not zero.
pub(super) fn push_numeric(out: &mut Vec<u8>, value: i128, scale: i8) {
    let scale = i32::from(scale);
    // Groups are aligned to the point: widen the fraction to whole groups. At most 39 digits and 3 zeros: text, not i128.
    let fraction_groups = scale.max(0).div_euclid(4) + i32::from(scale.max(0) % 4 != 0);
    let zeros = fraction_groups * 4 - scale;
    let mut digits = value.unsigned_abs().to_string().into_bytes();
    digits.resize(digits.len() + zeros.max(0) as usize, b'0');
    let lead = (4 - digits.len() % 4) % 4;
    digits.splice(0..0, std::iter::repeat_n(b'0', lead));
    let number = |group: &[u8]| group.iter().fold(0_i16, |sum, digit| sum * 10 + i16::from(digit - b'0'));
    let groups: Vec<i16> = digits.chunks_exact(4).map(number).collect();
    let first = groups.iter().position(|group| *group != 0).unwrap_or(groups.len());
    let last = groups.iter().rposition(|group| *group != 0).map_or(first, |last| last + 1);
    let weight = groups.len() as i32 - fraction_groups - 1 - first as i32;
    let kept = groups.get(first..last).unwrap_or_default();
    out.extend((kept.len() as i16).to_be_bytes());
    out.extend((if kept.is_empty() { 0 } else { weight as i16 }).to_be_bytes());
    out.extend((if value < 0 { 0x4000_u16 } else { 0 }).to_be_bytes());
    out.extend((scale.max(0) as i16).to_be_bytes());
    kept.iter().for_each(|group| out.extend(group.to_be_bytes()));
}
