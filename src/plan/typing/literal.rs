//! Constants of the query text.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use super::{Typed, ast};
use crate::builtins::functions::numeric;
use crate::encode::input::numeric_unbound;
use crate::encode::types::{PgType, oid};
use crate::error::{Error, Result};

pub(super) fn literal(value: &ast::Value, position: Option<u32>) -> Result<Typed> {
    use ast::Value;
    let (value, ty) = match value {
        Value::Number(text, _) => number(text).map_err(|error| error.at(position))?,
        Value::Boolean(value) => (ScalarValue::Boolean(Some(*value)), PgType::BOOL),
        Value::Null => (ScalarValue::Utf8(None), PgType::UNKNOWN),
        Value::SingleQuotedString(text)
        | Value::EscapedStringLiteral(text)
        | Value::UnicodeStringLiteral(text)
        | Value::NationalStringLiteral(text) => unknown(text),
        Value::DollarQuotedString(quoted) => unknown(&quoted.value),
        Value::SingleQuotedByteStringLiteral(_) | Value::HexStringLiteral(_) => {
            return Err(Error::unsupported("a bit string constant").at(position));
        }
        other => return Err(Error::unsupported(format!("the constant {other}")).at(position)),
    };
    Ok(Typed { expr: Expr::Literal(value, None), ty, position })
}

fn unknown(text: &str) -> (ScalarValue, PgType) {
    (ScalarValue::Utf8(Some(text.to_owned())), PgType::UNKNOWN)
}

/// The smallest of int4, int8 and numeric that holds the constant; a point or an exponent makes it numeric.
fn number(text: &str) -> Result<(ScalarValue, PgType)> {
    let digits = text.replace('_', "");
    if let Some(value) = integer(&digits) {
        return Ok(match i32::try_from(value) {
            Ok(small) => (ScalarValue::Int32(Some(small)), PgType::INT4),
            Err(_) => (ScalarValue::Int64(Some(value)), PgType::INT8),
        });
    }
    let (value, precision, scale) = match (numeric_unbound(&digits), nearest_float(&digits)) {
        (Ok((0, ..)) | Err(_), Some(value)) if value != 0.0 => {
            return Ok((ScalarValue::Float64(Some(value)), PgType::NUMERIC));
        }
        (found, _) => found?,
    };
    if value == 0 && scale == numeric::DIGITS_MAX as i8 {
        return Ok((zero(), PgType::NUMERIC));
    }
    Ok((ScalarValue::Decimal128(Some(value), precision, scale), PgType::NUMERIC))
}

/// Nothing, without digits behind the point: with all that there are it would leave none to what it stands beside.
fn zero() -> ScalarValue {
    ScalarValue::Decimal128(Some(0), 1, 0)
}

/// For [`wide`]: the float, which is not zero unless the constant is.
fn nearest_float(digits: &str) -> Option<f64> {
    let value = digits.parse::<f64>().ok().filter(|value| value.is_finite())?;
    let is_zero = !digits.split(['e', 'E']).next()?.contains(|digit: char| matches!(digit, '1'..='9'));
    let smallest = f64::from_bits(1);
    Some(if value == 0.0 && !is_zero { smallest.copysign(value) } else { value })
}

/// A constant that is too large or too small for the digits of a numeric. PostgreSQL's type for it is numeric, but mostly it
/// stands beside floats: a float holds it until its use says what it is.
pub(super) fn wide(value: &Typed) -> Option<f64> {
    match &value.expr {
        Expr::Literal(ScalarValue::Float64(Some(float)), _) if value.ty.oid == oid::NUMERIC => Some(*float),
        _ => None,
    }
}

/// Whether a use as this type reads a wide constant as it stands.
pub(super) fn takes_wide(target: PgType) -> bool {
    match target.oid {
        oid::FLOAT4 | oid::FLOAT8 | oid::INT2 | oid::INT4 | oid::INT8 | oid::UNKNOWN => true,
        // Its precision is the error's to name.
        oid::NUMERIC => target.typmod >= 0,
        _ => false,
    }
}

/// What becomes of a wide constant where a numeric is wanted: 22003 for a large one, nothing for one that has no digit among
/// those that there are.
pub(super) fn narrowed(value: Typed) -> Result<Typed> {
    match wide(&value) {
        None => Ok(value),
        Some(float) if float.abs() >= 1.0 => Err(numeric::overflow()),
        Some(_) => Ok(Typed { expr: Expr::Literal(zero(), None), ..value }),
    }
}

/// Decimal, or after `0x`, `0o`, `0b` in that base.
fn integer(digits: &str) -> Option<i64> {
    let lower = digits.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = lower.strip_prefix(prefix) {
            return i64::from_str_radix(rest, radix).ok();
        }
    }
    digits.parse().ok()
}
