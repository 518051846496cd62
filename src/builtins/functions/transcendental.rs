//! `exp`, `ln`, `log`, `sqrt` and powers of numerics: more digits than a float has, and as many as PostgreSQL shows.
//!
//! Values are whole numbers of 256 bits in units of 10^-34; errors stay below 10^-30 of the result.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Decimal128Type, i256};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ReturnFieldArgs;

use super::arithmetic::division_by_zero;
use super::kernel::{Call, some};
use super::numeric::{self, DIGITS_MAX, SIGNIFICANT_DIGITS_MIN, decimal_type, leading, overflow, scale_of};
use crate::error::{Error, Result, SqlState};

/// Digits behind the point of a working value.
const DIGITS: i32 = 34;
/// The natural logarithm of 10, in units of 10^-34.
const LN_10: i128 = 23_025_850_929_940_456_840_179_914_546_843_642;
const LOG10_E: f64 = std::f64::consts::LOG10_E;
/// Exponents beyond this overflow, or come to nothing, in 38 digits.
const EXPONENT_MAX: f64 = 120.0;
/// The argument of the series is halved so often; its result is squared as often.
const HALVINGS: u32 = 8;

fn ten_to(digits: i32) -> Result<i256> {
    i256::from_i128(10).checked_pow(digits.unsigned_abs()).ok_or_else(overflow)
}

fn unit() -> Result<i256> {
    ten_to(DIGITS)
}

/// `value * 10^shift`, rounded half away from zero.
fn shifted(value: i256, shift: i32) -> Result<i256> {
    let power = ten_to(shift)?;
    if shift >= 0 { value.checked_mul(power).ok_or_else(overflow) } else { quotient(value, power) }
}

/// A quotient, rounded half away from zero.
fn quotient(value: i256, divisor: i256) -> Result<i256> {
    let whole = value.checked_div(divisor).ok_or_else(division_by_zero)?;
    let rest = value.checked_rem(divisor).ok_or_else(division_by_zero)?.wrapping_abs();
    let divisor_size = divisor.wrapping_abs();
    if rest < divisor_size.wrapping_sub(rest) {
        return Ok(whole);
    }
    let away = if value.is_negative() == divisor.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    Ok(whole.wrapping_add(away))
}

/// Of two working values.
fn product(a: i256, b: i256) -> Result<i256> {
    a.checked_mul(b).ok_or_else(overflow)?.checked_div(unit()?).ok_or_else(overflow)
}

fn working(value: i128, scale: i8) -> Result<i256> {
    shifted(i256::from_i128(value), DIGITS - i32::from(scale))
}

/// A working value at a scale, in 38 digits.
fn finished(value: i256, power: i32, to: i8) -> Result<i128> {
    shifted(value, power + i32::from(to) - DIGITS)?.to_i128().ok_or_else(overflow).and_then(numeric::bounded)
}

/// `e^value` as a working value and the power of ten that it is to be multiplied with.
fn exponential(value: i256) -> Result<(i256, i32)> {
    let ln_10 = i256::from_i128(LN_10);
    let tens = quotient(value, ln_10)?.to_i128().and_then(|tens| i32::try_from(tens).ok()).ok_or_else(overflow)?;
    let rest = value.wrapping_sub(ln_10.wrapping_mul(i256::from_i128(tens.into())));
    let small = rest.wrapping_div(i256::from_i128(1 << HALVINGS));
    let (mut term, mut sum) = (unit()?, unit()?);
    for n in 1.. {
        term = product(term, small)?.wrapping_div(i256::from_i128(n));
        if term == i256::ZERO {
            break;
        }
        sum = sum.wrapping_add(term);
    }
    for _ in 0..HALVINGS {
        sum = product(sum, sum)?;
    }
    Ok((sum, tens))
}

/// The natural logarithm of a positive value: a float's, and one step of Halley's method from there.
fn logarithm((value, scale): (i128, i8)) -> Result<i256> {
    let digits = value.checked_ilog10().ok_or_else(overflow)? as i32;
    // The value is the mantissa, from 1 to 10, times a power of ten.
    let mantissa = shifted(i256::from_i128(value), DIGITS - digits)?;
    let nearly = numeric::to_float(value, digits as i8).ln();
    let nearly = shifted(i256::from_i128((nearly * 1e16) as i128), DIGITS - 16)?;
    let (power, tens) = exponential(nearly)?;
    let power = shifted(power, tens)?;
    let twice = mantissa.wrapping_sub(power).wrapping_mul(i256::from_i128(2));
    let step = quotient(twice.checked_mul(unit()?).ok_or_else(overflow)?, mantissa.wrapping_add(power))?;
    let tens = i256::from_i128(i128::from(digits - i32::from(scale)));
    Ok(nearly.wrapping_add(step).wrapping_add(tens.wrapping_mul(i256::from_i128(LN_10))))
}

/// `e^value` at the scale `to`.
fn exp_of(value: (i128, i8), to: i8) -> Result<i128> {
    let nearly = numeric::to_float(value.0, value.1);
    if nearly > EXPONENT_MAX {
        return Err(overflow());
    }
    if nearly < -EXPONENT_MAX {
        return Ok(0);
    }
    let (power, tens) = exponential(working(value.0, value.1)?)?;
    finished(power, tens, to)
}

/// `base^exponent` of a positive base, whatever the exponent, at the scale `to`.
pub(super) fn power_of(base: (i128, i8), exponent: (i128, i8), to: i8) -> Result<i128> {
    let nearly = numeric::to_float(base.0, base.1).ln() * numeric::to_float(exponent.0, exponent.1);
    if nearly > EXPONENT_MAX {
        return Err(overflow());
    }
    if nearly < -EXPONENT_MAX {
        return Ok(0);
    }
    let wide = logarithm(base)?.checked_mul(i256::from_i128(exponent.0)).ok_or_else(overflow)?;
    let (power, tens) = exponential(shifted(wide, -i32::from(exponent.1))?)?;
    finished(power, tens, to)
}

fn positive(value: i128) -> Result<i128> {
    let refuse = |message: &str| Err(Error::new(SqlState::InvalidArgumentForLogarithm, message));
    match value {
        0 => refuse("cannot take logarithm of zero"),
        ..0 => refuse("cannot take logarithm of a negative number"),
        1.. => Ok(value),
    }
}

fn log_of(base: (i128, i8), value: (i128, i8), to: i8) -> Result<i128> {
    let base = logarithm((positive(base.0)?, base.1))?;
    let value = logarithm((positive(value.0)?, value.1))?;
    if base == i256::ZERO {
        return Err(division_by_zero());
    }
    finished(quotient(value.checked_mul(unit()?).ok_or_else(overflow)?, base)?, 0, to)
}

/// The root's digits are exact: that of a whole number of twice the scale.
fn sqrt_of((value, scale): (i128, i8), to: i8) -> Result<i128> {
    if value < 0 {
        let message = "cannot take square root of a negative number";
        return Err(Error::new(SqlState::InvalidArgumentForPowerFunction, message));
    }
    let square = shifted(i256::from_i128(value), 2 * i32::from(to) - i32::from(scale))?;
    super::spread::square_root(square).to_i128().ok_or_else(overflow).and_then(numeric::bounded)
}

const TEN: (i128, i8) = (10, 0);

fn each(call: &Call, op: impl Fn((i128, i8), i8) -> Result<i128>) -> Result<ArrayRef> {
    let (values, scale) = call.decimal(0)?;
    let to = scale_of(call.returns);
    call.values::<Decimal128Type>(|row| op((some!(values.get(row)), scale), to).map(Some))
}

pub(super) fn exp(call: &Call) -> Result<ArrayRef> {
    each(call, exp_of)
}
pub(super) fn ln(call: &Call) -> Result<ArrayRef> {
    each(call, |(value, scale), to| finished(logarithm((positive(value)?, scale))?, 0, to))
}
pub(super) fn log10(call: &Call) -> Result<ArrayRef> {
    each(call, |value, to| log_of(TEN, value, to))
}
pub(super) fn log(call: &Call) -> Result<ArrayRef> {
    let ((bases, s1), (values, s2)) = (call.decimal(0)?, call.decimal(1)?);
    let to = scale_of(call.returns);
    call.values::<Decimal128Type>(|row| log_of((some!(bases.get(row)), s1), (some!(values.get(row)), s2), to).map(Some))
}
pub(super) fn sqrt(call: &Call) -> Result<ArrayRef> {
    each(call, sqrt_of)
}

/// A constant argument and its scale.
fn constant(args: &ReturnFieldArgs, index: usize) -> Option<(i128, i8)> {
    match args.scalar_arguments.get(index).copied().flatten()? {
        ScalarValue::Decimal128(Some(value), _, scale) => Some((*value, *scale)),
        _ => None,
    }
}

/// Sixteen significant digits of a result whose first digit has the weight `weight`, and no fewer behind the point than the
/// arguments have.
fn significant(args: &ReturnFieldArgs, weight: i32) -> DataType {
    let shown = i32::from(shown_scale(args));
    let scale = (i32::from(SIGNIFICANT_DIGITS_MIN) - weight).max(shown).clamp(0, i32::from(DIGITS_MAX) - 1);
    DataType::Decimal128(DIGITS_MAX, scale as i8)
}

fn shown_scale(args: &ReturnFieldArgs) -> i8 {
    args.arg_fields.iter().map(|field| scale_of(&decimal_type(field.data_type()))).max().unwrap_or(0)
}

/// For columns: a scale that is enough for most values.
fn of_column(args: &ReturnFieldArgs) -> DataType {
    DataType::Decimal128(DIGITS_MAX, shown_scale(args).max(SIGNIFICANT_DIGITS_MIN))
}

/// `estimate_ln_dweight`: the weight of a logarithm's first digit.
fn logarithm_weight((value, scale): (i128, i8)) -> i32 {
    let float = numeric::to_float(value, scale);
    if !(0.9..=1.1).contains(&float) {
        return float.ln().abs().log10() as i32;
    }
    let one = numeric::power_of_ten(scale.unsigned_abs().into()).unwrap_or(1);
    match leading(value - one, scale) {
        (_, 0) => 0,
        (weight, first) => weight * 4 + first.ilog10() as i32,
    }
}

pub(super) fn exp_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let Some((value, scale)) = constant(args, 0) else { return Ok(of_column(args)) };
    Ok(significant(args, (numeric::to_float(value, scale) * LOG10_E) as i32))
}

pub(super) fn ln_type(args: &ReturnFieldArgs) -> Result<DataType> {
    match constant(args, 0) {
        Some(value) if value.0 > 0 => Ok(significant(args, logarithm_weight(value))),
        _ => Ok(of_column(args)),
    }
}

pub(super) fn log_type(args: &ReturnFieldArgs) -> Result<DataType> {
    match (constant(args, 0), constant(args, 1)) {
        (Some(base), Some(value)) if base.0 > 0 && value.0 > 0 => {
            Ok(significant(args, logarithm_weight(value) - logarithm_weight(base)))
        }
        _ => Ok(of_column(args)),
    }
}

pub(super) fn sqrt_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let Some((value, scale)) = constant(args, 0) else { return Ok(of_column(args)) };
    let (weight, _) = leading(value, scale);
    Ok(significant(args, if weight >= 0 { weight * 4 / 2 + 1 } else { 1 - (-weight * 4) / 2 }))
}

/// A whole power has sixteen digits behind the point, others have sixteen significant ones.
pub fn power_type(args: &ReturnFieldArgs) -> Result<DataType> {
    match (constant(args, 0), constant(args, 1)) {
        (Some(base), Some(exponent)) if base.0 > 0 && numeric::least_scale(exponent.0, exponent.1) > 0 => {
            let (base, exponent) = (numeric::to_float(base.0, base.1), numeric::to_float(exponent.0, exponent.1));
            Ok(significant(args, (base.ln() * exponent * LOG10_E) as i32))
        }
        _ => Ok(of_column(args)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: i128, scale: i8) -> String {
        let mut text = Vec::new();
        crate::encode::text::push_decimal(&mut text, value, scale);
        String::from_utf8(text).unwrap()
    }

    /// As PostgreSQL computes them.
    #[test]
    fn digits_are_those_of_postgresql() {
        assert_eq!(shown(exp_of((1, 0), 16).unwrap(), 16), "2.7182818284590452");
        assert_eq!(shown(exp_of((-25, 1), 17).unwrap(), 17), "0.08208499862389880");
        assert_eq!(shown(exp_of((1005, 3), 16).unwrap(), 16), "2.7319072728259271");
        let ln = |value, to| shown(finished(logarithm(value).unwrap(), 0, to).unwrap(), to);
        assert_eq!(ln((1005, 3), 19), "0.0049875415110390736");
        assert_eq!(ln((123_456_789, 3), 15), "11.723646487185881");
        assert_eq!(ln((1, 0), 5), "0.00000");
        assert_eq!(ln((5, 1), 30), "-0.693147180559945309417232121458");
        assert_eq!(shown(log_of(TEN, (1005, 3), 19).unwrap(), 19), "0.0021660617565076762");
        assert_eq!(log_of(TEN, (1, 10), 3).unwrap(), -10_000);
        assert_eq!(shown(power_of((123_456_789, 3), (1005, 3), 11).unwrap(), 11), "130909.91837078936");
        assert_eq!(shown(power_of((2, 0), (5, 1), 16).unwrap(), 16), "1.4142135623730950");
        assert_eq!(shown(sqrt_of((25, 1), 15).unwrap(), 15), "1.581138830084190");
        assert!(exp_of((1000, 0), 2).is_err());
        assert_eq!(exp_of((-1000, 0), 2).unwrap(), 0);
    }
}
