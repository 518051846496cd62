//! Bind's parameters to values: text through the input functions, binary as PostgreSQL's receive functions read it.
//!
//! [`receive`] is also how COPY reads its binary format.

use datafusion::common::ScalarValue;

use super::calendar::{
    DATE_DAY_MAX, DATE_INFINITY, DATE_MINUS_INFINITY, DAY_MIN, MICROS_PER_DAY, PG_EPOCH_DAYS, PG_EPOCH_MICROS,
    TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, round_micros,
};
use super::input::{self, InputContext, IntervalValue, at_timestamp_precision};
use super::types::{Format, PgType, arrow_type, element_of, format_type, oid};
use crate::error::{Error, Result, SqlState};

/// The value of parameter `number` (from 1) of the type `ty`, in the carrier of `types`; NULL for `None`, without
/// digits where it is a plain numeric.
///
/// Errors: what the type's input function says; 22P03 for binary data that is not of the type, 08P01 when it is too short,
/// 22021 for text that is not UTF-8, 22003 for a numeric that 38 digits do not hold, or that is not finite.
pub fn decode_parameter(
    bytes: Option<&[u8]>,
    format: Format,
    ty: PgType,
    context: &InputContext,
    number: usize,
) -> Result<ScalarValue> {
    let Some(bytes) = bytes else { return input::null_value(ty) };
    match format {
        Format::Text => input::parse_scalar(input::utf8(bytes)?, ty, context),
        Format::Binary => receive(bytes, ty).map_err(|error| in_parameter(error, number)),
    }
}

/// What [`receive`] says of data that is too long.
const INCORRECT: &str = "incorrect binary data format";

fn in_parameter(error: Error, number: usize) -> Error {
    if error.message() == INCORRECT {
        Error::new(SqlState::InvalidBinaryRepresentation, format!("{INCORRECT} in bind parameter {number}"))
    } else {
        error
    }
}

/// A value in its type's binary format; all bytes must be used.
pub fn receive(bytes: &[u8], ty: PgType) -> Result<ScalarValue> {
    let mut message = Message { rest: bytes };
    let value = receive_from(&mut message, ty)?;
    if message.rest.is_empty() { Ok(value) } else { Err(incorrect()) }
}

#[cold]
fn incorrect() -> Error {
    Error::new(SqlState::InvalidBinaryRepresentation, INCORRECT)
}

#[cold]
fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidBinaryRepresentation, message)
}

#[cold]
fn out_of_range(what: &str) -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, format!("{what} out of range"))
}

/// What is left of a value's bytes.
struct Message<'a> {
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| Error::new(SqlState::ProtocolViolation, "insufficient data left in message"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

fn receive_from(message: &mut Message<'_>, ty: PgType) -> Result<ScalarValue> {
    if let Some(element) = element_of(ty.oid) {
        let first = if matches!(ty.oid, oid::INT2VECTOR | oid::OIDVECTOR) { 0 } else { 1 };
        return receive_array(message, PgType { oid: element, typmod: ty.typmod }, first);
    }
    Ok(match ty.oid {
        oid::BOOL => ScalarValue::Boolean(Some(message.array::<1>()? != [0])),
        oid::INT2 => ScalarValue::Int16(Some(message.i16()?)),
        oid::INT4 => ScalarValue::Int32(Some(message.i32()?)),
        oid::INT8 => ScalarValue::Int64(Some(message.i64()?)),
        oid::FLOAT4 => ScalarValue::Float32(Some(input::float4_of(message.array()?))),
        oid::FLOAT8 => ScalarValue::Float64(Some(input::float8_of(message.array()?))),
        oid::NUMERIC => receive_numeric(message, ty)?,
        oid::BYTEA => ScalarValue::Binary(Some(message.all().to_vec())),
        oid::DATE => ScalarValue::Date32(Some(date(message.i32()?)?)),
        oid::TIME => ScalarValue::Time64Microsecond(Some(time(message.i64()?, ty.typmod)?)),
        oid::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(timestamp(message.i64()?, ty.typmod)?), None),
        oid::TIMESTAMPTZ => {
            ScalarValue::TimestampMicrosecond(Some(timestamp(message.i64()?, ty.typmod)?), Some("UTC".into()))
        }
        oid::INTERVAL => {
            let (micros, days, months) = (message.i64()?, message.i32()?, message.i32()?);
            let value = input::fit_interval(IntervalValue { months, days, micros }, ty.typmod);
            ScalarValue::IntervalMonthDayNano(Some(value.to_arrow()?))
        }
        oid::RECORD => return Err(Error::unsupported("input of an anonymous composite type")),
        _ if arrow_type(ty) == arrow::datatypes::DataType::Int64 => ScalarValue::Int64(Some(i64::from(message.u32()?))),
        _ => ScalarValue::Utf8(Some(text(message, ty)?)),
    })
}

fn text(message: &mut Message<'_>, ty: PgType) -> Result<String> {
    Ok(match ty.oid {
        oid::UUID => {
            let mut canonical = Vec::with_capacity(36);
            super::text::push_uuid(&mut canonical, &message.array()?);
            String::from_utf8_lossy(&canonical).into_owned()
        }
        oid::JSONB => {
            let [version] = message.array()?;
            if version != 1 {
                return Err(invalid(format!("unsupported jsonb version number {version}")));
            }
            input::jsonb(input::utf8(message.all())?)?
        }
        oid::JSON => input::json(input::utf8(message.all())?)?.to_owned(),
        oid::CHAR => match message.array()? {
            [0] => String::new(),
            [byte @ 1..=0x7f] => char::from(byte).to_string(),
            [byte] => format!("\\{byte:03o}"),
        },
        oid::VARCHAR => input::varchar(input::utf8(message.all())?, ty.length_max())?.to_owned(),
        oid::BPCHAR => input::bpchar(input::utf8(message.all())?, ty.length_max())?.into_owned(),
        oid::NAME => input::name(input::utf8(message.all())?).to_owned(),
        _ => input::utf8(message.all())?.to_owned(),
    })
}

fn date(day: i32) -> Result<i32> {
    if matches!(day, DATE_INFINITY | DATE_MINUS_INFINITY) {
        return Ok(day);
    }
    let since_1970 = i64::from(day) + i64::from(PG_EPOCH_DAYS);
    if (DAY_MIN..=DATE_DAY_MAX).contains(&since_1970) { Ok(since_1970 as i32) } else { Err(out_of_range("date")) }
}

fn time(micros: i64, typmod: i32) -> Result<i64> {
    if !(0..=MICROS_PER_DAY).contains(&micros) {
        return Err(out_of_range("time"));
    }
    Ok(if typmod < 0 { micros } else { round_micros(micros, typmod) })
}

fn timestamp(micros: i64, typmod: i32) -> Result<i64> {
    if matches!(micros, TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) {
        return Ok(micros);
    }
    micros
        .checked_add(PG_EPOCH_MICROS)
        .filter(|micros| *micros >= DAY_MIN * MICROS_PER_DAY && *micros != TIMESTAMP_INFINITY)
        .map(|micros| at_timestamp_precision(micros, typmod))
        .ok_or_else(|| out_of_range("timestamp"))
}

fn receive_numeric(message: &mut Message<'_>, ty: PgType) -> Result<ScalarValue> {
    let (value, scale) = numeric(message)?;
    match ty.precision_scale() {
        Some((precision, wanted)) => {
            let fitted = input::fit_numeric(value, scale, precision, wanted)?;
            Ok(ScalarValue::Decimal128(Some(fitted), precision, wanted))
        }
        None => {
            let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| log as u8 + 1);
            Ok(ScalarValue::Decimal128(Some(value), digits.max(scale.unsigned_abs()).min(38), scale))
        }
    }
}

/// Unscaled value and scale of PostgreSQL's base-10000 form.
fn numeric(message: &mut Message<'_>) -> Result<(i128, i8)> {
    let count = message.i16()?;
    let weight = i64::from(message.i16()?);
    let sign = message.i16()? as u16;
    let scale = message.i16()?;
    match sign {
        0 | 0x4000 => {}
        0xc000 | 0xd000 | 0xf000 => {
            return Err(Error::new(SqlState::NumericValueOutOfRange, "a numeric that is not finite is not supported")
                .with_hint("Use double precision for values that are not finite."));
        }
        _ => return Err(invalid("invalid sign in external \"numeric\" value")),
    }
    let count = u16::try_from(count).map_err(|_| invalid("invalid length in external \"numeric\" value"))?;
    let scale = i64::from(scale);
    if !(0..=0x3fff).contains(&scale) {
        return Err(invalid("invalid scale in external \"numeric\" value"));
    }
    let overflow = || Error::new(SqlState::NumericValueOutOfRange, "value overflows numeric format");
    // More decimals than fit are zero or lost; PostgreSQL cuts at the scale too.
    let kept = scale.min(38);
    let mut value: i128 = 0;
    for at in 0..i64::from(count) {
        let digit = message.i16()?;
        if !(0..10_000).contains(&digit) {
            return Err(invalid("invalid digit in external \"numeric\" value"));
        }
        // The digit stands for digit × 10^(4 × (weight - at)), wanted in units of 10^-kept.
        let shift = 4 * (weight - at) + kept;
        let digit = i128::from(digit);
        let part = match u32::try_from(shift) {
            Ok(shift) if digit != 0 => 10_i128.checked_pow(shift).and_then(|power| power.checked_mul(digit)),
            Ok(_) => Some(0),
            Err(_) => Some(digit / 10_i128.pow(shift.unsigned_abs().min(4) as u32)),
        };
        value = part.and_then(|part| value.checked_add(part)).ok_or_else(overflow)?;
    }
    if value >= 10_i128.pow(38) {
        return Err(overflow());
    }
    Ok((if sign == 0x4000 { -value } else { value }, kept as i8))
}

/// Most dimensions, and most elements that an array may announce.
const DIMENSIONS_MAX: i32 = 6;
const ELEMENTS_MAX: usize = (1 << 30) / 8;

fn receive_array(message: &mut Message<'_>, element: PgType, first: i32) -> Result<ScalarValue> {
    let dimensions = message.i32()?;
    let flags = message.i32()?;
    let sent = message.u32()?;
    if !(0..=DIMENSIONS_MAX).contains(&dimensions) {
        return Err(invalid(format!("invalid number of dimensions: {dimensions}")));
    }
    if !matches!(flags, 0 | 1) {
        return Err(invalid("invalid array flags"));
    }
    if sent != element.oid {
        return Err(Error::new(
            SqlState::DatatypeMismatch,
            format!(
                "binary data has array element type {sent} ({}) instead of expected {} ({})",
                format_type(PgType::of(sent)),
                element.oid,
                format_type(PgType::of(element.oid))
            ),
        ));
    }
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        let length = usize::try_from(message.i32()?).map_err(|_| incorrect())?;
        let lower = message.i32()?;
        if lower != first && length > 0 {
            return Err(Error::unsupported(format!("an array whose lower bound is not {first}")));
        }
        lengths.push(length);
    }
    if lengths.is_empty() {
        return input::list_of(&[], &arrow_type(element));
    }
    let total = lengths.iter().try_fold(1_usize, |total, length| total.checked_mul(*length));
    if total.is_none_or(|total| total > ELEMENTS_MAX || total > message.rest.len()) {
        return Err(Error::new(SqlState::ProtocolViolation, "insufficient data left in message"));
    }
    if total == Some(0) {
        return input::list_of(&[], &arrow_type(element));
    }
    receive_level(message, &lengths, element)
}

fn receive_level(message: &mut Message<'_>, lengths: &[usize], element: PgType) -> Result<ScalarValue> {
    let Some((length, inner)) = lengths.split_first() else { return receive_element(message, element) };
    let mut values = Vec::new();
    for _ in 0..*length {
        values.push(receive_level(message, inner, element)?);
    }
    let values = if inner.is_empty() { one_decimal(values)? } else { values };
    let data_type = values.first().map_or_else(|| arrow_type(element), ScalarValue::data_type);
    input::list_of(&values, &data_type)
}

fn receive_element(message: &mut Message<'_>, element: PgType) -> Result<ScalarValue> {
    match message.i32()? {
        -1 => input::null_scalar(element),
        length => {
            let length = usize::try_from(length).map_err(|_| incorrect())?;
            receive(message.take(length)?, element)
        }
    }
}

/// Gives the decimals of one array the same precision and scale.
fn one_decimal(values: Vec<ScalarValue>) -> Result<Vec<ScalarValue>> {
    let shape = |value: &ScalarValue| match value {
        ScalarValue::Decimal128(Some(_), precision, scale) => Some((*precision, *scale)),
        _ => None,
    };
    let same = values.windows(2).all(|pair| matches!(pair, [left, right] if left.data_type() == right.data_type()));
    if same {
        return Ok(values);
    }
    let scale = values.iter().filter_map(shape).map(|(_, scale)| scale).max().unwrap_or(0);
    let whole = values.iter().filter_map(shape).map(|(precision, scale)| precision as i8 - scale).max().unwrap_or(1);
    let precision = (whole.max(0) + scale).clamp(1, 38) as u8;
    let fit = |value: ScalarValue| match value {
        ScalarValue::Decimal128(Some(value), _, own) => {
            Ok(ScalarValue::Decimal128(Some(input::fit_numeric(value, own, precision, scale)?), precision, scale))
        }
        ScalarValue::Decimal128(None, _, _) => Ok(ScalarValue::Decimal128(None, precision, scale)),
        other => Ok(other),
    };
    values.into_iter().map(fit).collect()
}

#[cfg(test)]
mod tests;
