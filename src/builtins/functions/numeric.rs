//! Arithmetic of `numeric` on 128-bit decimals: PostgreSQL's scales as far as 38 digits go, 22003 beyond.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, i256};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ReturnFieldArgs;

use super::arithmetic::division_by_zero;
use super::kernel::{Call, some};
use crate::error::{Error, Result, SqlState};

/// Digits that a decimal of the engine holds.
pub const DIGITS_MAX: u8 = 38;
/// PostgreSQL's NUMERIC_MIN_SIG_DIGITS: what a quotient, a root or an average shows at least.
pub const SIGNIFICANT_DIGITS_MIN: i8 = 16;
/// A product's scale is cut here when it would leave too few digits before the point.
const PRODUCT_SCALE_MAX: i8 = 28;
/// Digits that PostgreSQL takes of a `real` (FLT_DIG) and of a `double precision` (DBL_DIG).
pub const FLOAT4_DIGITS: usize = 6;
pub const FLOAT8_DIGITS: usize = 15;
/// Scale of what comes from a float or a text: that of an unconstrained column.
const INEXACT_SCALE: i8 = 10;

/// The decimal type that holds every value of a number type.
pub fn decimal_type(ty: &DataType) -> DataType {
    match ty {
        DataType::Int8 | DataType::UInt8 => DataType::Decimal128(3, 0),
        DataType::Int16 | DataType::UInt16 => DataType::Decimal128(5, 0),
        DataType::Int32 | DataType::UInt32 => DataType::Decimal128(10, 0),
        DataType::Int64 => DataType::Decimal128(19, 0),
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::Decimal256(_, scale) => DataType::Decimal128(DIGITS_MAX, *scale),
        DataType::Null => DataType::Decimal128(1, 0),
        _ => DataType::Decimal128(DIGITS_MAX, INEXACT_SCALE),
    }
}

pub fn scale_of(ty: &DataType) -> i8 {
    match ty {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    }
}

fn operand(args: &ReturnFieldArgs, index: usize) -> (u8, i8) {
    let ty = args.arg_fields.get(index).map(|field| decimal_type(field.data_type()));
    match ty {
        Some(DataType::Decimal128(precision, scale)) => (precision, scale),
        _ => (DIGITS_MAX, INEXACT_SCALE),
    }
}

/// The type of the first argument.
pub fn same_type(args: &ReturnFieldArgs) -> Result<DataType> {
    args.arg_fields
        .first()
        .map(|field| field.data_type().clone())
        .ok_or_else(|| Error::internal("function argument missing"))
}

/// Both operands, when they are constants.
fn constants(args: &ReturnFieldArgs) -> Option<((i128, i8), (i128, i8))> {
    let constant = |index: usize| match args.scalar_arguments.get(index).copied().flatten() {
        Some(ScalarValue::Decimal128(Some(value), _, scale)) => Some((*value, *scale)),
        _ => None,
    };
    Some((constant(0)?, constant(1)?))
}

/// The scale that PostgreSQL gives a result, as far as 38 digits allow beside those of its whole part. `at` computes the
/// result at a scale: rounded, it may have one digit more before the point.
fn fitting(wanted: i8, whole: i256, at: impl Fn(i8) -> Result<i128>) -> DataType {
    let digits = if whole == i256::ZERO { 0 } else { whole.wrapping_abs().to_string().len() };
    let room = usize::from(DIGITS_MAX).saturating_sub(digits) as i8;
    let scale = wanted.min(room);
    let carries = scale > 0 && scale == room && at(scale).is_err();
    DataType::Decimal128(DIGITS_MAX, if carries { scale - 1 } else { scale })
}

/// The whole part of a sum of constants without their signs.
fn whole_sum((a, s1): (i128, i8), (b, s2): (i128, i8)) -> Option<i256> {
    let scale = s1.max(s2);
    let sum = wide_at(a.abs(), s1, scale).ok()?.checked_add(wide_at(b.abs(), s2, scale).ok()?)?;
    sum.checked_div(wide_power_of_ten(scale.unsigned_abs().into())?)
}

pub fn sum_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let ((p1, s1), (p2, s2)) = (operand(args, 0), operand(args, 1));
    let scale = s1.max(s2);
    let whole = (p1 as i16 - i16::from(s1)).max(p2 as i16 - i16::from(s2));
    if whole + i16::from(scale) >= i16::from(DIGITS_MAX)
        && let Some((a, b)) = constants(args)
        && let Some(whole) = whole_sum(a, b)
    {
        return Ok(fitting(scale, whole, |scale| sum((a.0.abs(), a.1), (b.0.abs(), b.1), scale)));
    }
    let precision = (whole + i16::from(scale) + 1).clamp(1, i16::from(DIGITS_MAX));
    Ok(DataType::Decimal128(precision as u8, scale))
}

pub fn product_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let ((p1, s1), (p2, s2)) = (operand(args, 0), operand(args, 1));
    let exact = s1.saturating_add(s2);
    if (exact > PRODUCT_SCALE_MAX || p1.saturating_add(p2) > DIGITS_MAX)
        && let Some((a, b)) = constants(args)
        && let Some(power) = wide_power_of_ten(exact.max(0).unsigned_abs().into())
        && let Some(whole) = wide(a.0).checked_mul(wide(b.0)).and_then(|product| product.checked_div(power))
    {
        return Ok(fitting(exact, whole, |scale| product(a, b, scale)));
    }
    let scale = if exact <= PRODUCT_SCALE_MAX { exact } else { PRODUCT_SCALE_MAX.max(s1).max(s2) };
    Ok(DataType::Decimal128((u16::from(p1) + u16::from(p2)).min(u16::from(DIGITS_MAX)) as u8, scale))
}

/// Between constants the scale that PostgreSQL chooses; otherwise one that is enough for most values.
pub fn quotient_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let ((_, s1), (_, s2)) = (operand(args, 0), operand(args, 1));
    Ok(match constants(args) {
        Some((dividend, divisor)) => {
            let whole = whole_quotient_of(dividend, divisor).unwrap_or(i256::ZERO);
            fitting(quotient_scale(dividend, divisor), whole, |scale| quotient(dividend, divisor, scale))
        }
        None => DataType::Decimal128(DIGITS_MAX, SIGNIFICANT_DIGITS_MIN.max(s1).max(s2)),
    })
}

/// The quotient without its fraction; `None` of zero.
fn whole_quotient_of((a, s1): (i128, i8), (b, s2): (i128, i8)) -> Option<i256> {
    let common = s1.max(s2);
    wide_at(a, s1, common).ok()?.checked_div(wide_at(b, s2, common).ok()?)
}

/// `select_div_scale`: sixteen significant digits, counted in groups of four, and no fewer than either operand shows.
pub fn quotient_scale((dividend, s1): (i128, i8), (divisor, s2): (i128, i8)) -> i8 {
    let ((w1, d1), (w2, d2)) = (leading(dividend, s1), leading(divisor, s2));
    let weight = w1 - w2 - i32::from(d1 <= d2);
    let wanted = i32::from(SIGNIFICANT_DIGITS_MIN) - weight * 4;
    wanted.max(i32::from(s1)).max(i32::from(s2)).clamp(0, i32::from(DIGITS_MAX) - 1) as i8
}

/// Weight and value of the first group of four digits.
pub(super) fn leading(value: i128, scale: i8) -> (i32, u128) {
    let magnitude = value.unsigned_abs();
    let Some(log) = magnitude.checked_ilog10() else { return (0, 0) };
    let weight = (log as i32 - i32::from(scale)).div_euclid(4);
    let shift = i32::from(scale) + weight * 4;
    let power = 10_u128.checked_pow(shift.unsigned_abs()).unwrap_or(u128::MAX);
    (weight, if shift >= 0 { magnitude / power } else { magnitude.saturating_mul(power) })
}

pub fn remainder_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let ((p1, s1), (p2, s2)) = (operand(args, 0), operand(args, 1));
    if args.arg_fields.len() < 2 {
        return Ok(DataType::Decimal128(p1, s1));
    }
    let scale = s1.max(s2);
    let whole = (p1 as i16 - i16::from(s1)).max(p2 as i16 - i16::from(s2));
    Ok(DataType::Decimal128((whole + i16::from(scale)).clamp(1, i16::from(DIGITS_MAX)) as u8, scale))
}

/// 22003 for what needs more digits than there are.
#[cold]
pub fn overflow() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "value overflows numeric format")
}

/// 10^digits.
#[inline]
pub fn power_of_ten(digits: u32) -> Option<i128> {
    10_i128.checked_pow(digits)
}

/// The value if it has at most 38 digits.
#[inline]
pub fn bounded(value: i128) -> Result<i128> {
    const LIMIT: u128 = 10_u128.pow(38);
    if value.unsigned_abs() < LIMIT { Ok(value) } else { Err(overflow()) }
}

/// Moves a value to another scale, rounding half away from zero.
#[inline]
pub fn rescale(value: i128, from: i8, to: i8) -> Result<i128> {
    let shift = i32::from(to) - i32::from(from);
    let Some(power) = power_of_ten(shift.unsigned_abs()) else {
        return if value == 0 || shift < 0 { Ok(0) } else { Err(overflow()) };
    };
    if shift >= 0 {
        return value.checked_mul(power).ok_or_else(overflow).and_then(bounded);
    }
    Ok(divide_rounded(value, power))
}

/// A quotient of integers, rounded half away from zero; the divisor is not zero.
#[inline]
pub fn divide_rounded(value: i128, divisor: i128) -> i128 {
    let quotient = value / divisor;
    let rest = (value % divisor).unsigned_abs();
    let magnitude = divisor.unsigned_abs();
    let negative = (value < 0) != (divisor < 0);
    if rest >= magnitude - rest { if negative { quotient - 1 } else { quotient + 1 } } else { quotient }
}

fn wide(value: i128) -> i256 {
    i256::from_i128(value)
}

fn wide_power_of_ten(digits: u32) -> Option<i256> {
    wide(10).checked_pow(digits)
}

/// A value at a scale that is not below its own.
fn wide_at(value: i128, from: i8, to: i8) -> Result<i256> {
    let shift = i32::from(to) - i32::from(from);
    wide_power_of_ten(shift.unsigned_abs()).and_then(|power| wide(value).checked_mul(power)).ok_or_else(overflow)
}

/// A wide quotient, rounded half away from zero.
fn wide_divide(value: i256, divisor: i256) -> Result<i128> {
    let negative = value.is_negative() != divisor.is_negative();
    let (value, divisor) = (value.wrapping_abs(), divisor.wrapping_abs());
    let (Some(quotient), Some(rest)) = (value.checked_div(divisor), value.checked_rem(divisor)) else {
        return Err(division_by_zero());
    };
    let rounded = if rest >= divisor.wrapping_sub(rest) { quotient.wrapping_add(wide(1)) } else { quotient };
    let magnitude = rounded.to_i128().ok_or_else(overflow)?;
    bounded(if negative { -magnitude } else { magnitude })
}

/// `a * b`, each of its scale, at the scale `to`.
pub fn product((a, s1): (i128, i8), (b, s2): (i128, i8), to: i8) -> Result<i128> {
    let from = i32::from(s1) + i32::from(s2);
    if from == i32::from(to) {
        // Most values are small: their product fits, and one instruction makes it.
        if let (Ok(a), Ok(b)) = (i64::try_from(a), i64::try_from(b)) {
            return Ok(i128::from(a) * i128::from(b));
        }
        return a.checked_mul(b).ok_or_else(overflow).and_then(bounded);
    }
    let exact = wide(a).checked_mul(wide(b)).ok_or_else(overflow)?;
    let shift = from - i32::from(to);
    let power = wide_power_of_ten(shift.unsigned_abs()).ok_or_else(overflow)?;
    if shift < 0 {
        return exact.checked_mul(power).and_then(i256::to_i128).ok_or_else(overflow).and_then(bounded);
    }
    wide_divide(exact, power)
}

/// `a / b`, each of its scale, at the scale `to`.
pub fn quotient((a, s1): (i128, i8), (b, s2): (i128, i8), to: i8) -> Result<i128> {
    if b == 0 {
        return Err(division_by_zero());
    }
    let shift = i32::from(to) + i32::from(s2) - i32::from(s1);
    if shift >= 0
        && let Some(scaled) = power_of_ten(shift.unsigned_abs()).and_then(|power| a.checked_mul(power))
    {
        return bounded(divide_rounded(scaled, b));
    }
    let power = wide_power_of_ten(shift.unsigned_abs()).ok_or_else(overflow)?;
    let (dividend, divisor) = if shift >= 0 {
        (wide(a).checked_mul(power).ok_or_else(overflow)?, wide(b))
    } else {
        (wide(a), wide(b).checked_mul(power).ok_or_else(overflow)?)
    };
    wide_divide(dividend, divisor)
}

fn combine(call: &Call, op: impl Fn((i128, i8), (i128, i8), i8) -> Result<i128>) -> Result<ArrayRef> {
    let ((left, s1), (right, s2)) = (call.decimal(0)?, call.decimal(1)?);
    let to = scale_of(call.returns);
    let op = |a: i128, b: i128| op((a, s1), (b, s2), to);
    let result: Decimal128Array = match (left.constant(), right.constant()) {
        (None, None) if !left.is_constant() && !right.is_constant() => {
            let raised = |error: Error| ArrowError::ExternalError(Box::new(error.into_datafusion()));
            arrow::compute::try_binary(&left.array, &right.array, |a, b| op(a, b).map_err(raised))?
        }
        (None, Some(b)) => left.array.try_unary::<_, Decimal128Type, Error>(|a| op(a, b))?,
        (Some(a), None) => right.array.try_unary::<_, Decimal128Type, Error>(|b| op(a, b))?,
        _ => {
            return call.values::<Decimal128Type>(|row| op(some!(left.get(row)), some!(right.get(row))).map(Some));
        }
    };
    Ok(Arc::new(result.with_data_type(call.returns.clone())))
}

/// `a + b`, each of its scale, at the scale `to`.
pub fn sum((a, s1): (i128, i8), (b, s2): (i128, i8), to: i8) -> Result<i128> {
    let common = s1.max(s2);
    if to >= common {
        return rescale(a, s1, to)?.checked_add(rescale(b, s2, to)?).ok_or_else(overflow).and_then(bounded);
    }
    // Rounded once.
    let exact = wide_at(a, s1, common)?.checked_add(wide_at(b, s2, common)?).ok_or_else(overflow)?;
    let shift = u32::from(common.abs_diff(to));
    wide_divide(exact, wide_power_of_ten(shift).ok_or_else(overflow)?)
}

pub fn add(call: &Call) -> Result<ArrayRef> {
    combine(call, sum)
}
pub fn subtract(call: &Call) -> Result<ArrayRef> {
    combine(call, |a, (b, s2), to| sum(a, (-b, s2), to))
}
pub fn multiply(call: &Call) -> Result<ArrayRef> {
    combine(call, product)
}
pub fn divide(call: &Call) -> Result<ArrayRef> {
    combine(call, quotient)
}
pub fn remainder(call: &Call) -> Result<ArrayRef> {
    combine(call, |(a, s1), (b, s2), to| {
        if b == 0 {
            return Err(division_by_zero());
        }
        match (rescale(a, s1, to), rescale(b, s2, to)) {
            (Ok(a), Ok(b)) => Ok(a.wrapping_rem(b)),
            _ => {
                // The remainder fits where the operands do not.
                let rest = wide_at(a, s1, to)?.checked_rem(wide_at(b, s2, to)?);
                rest.and_then(i256::to_i128).ok_or_else(overflow).and_then(bounded)
            }
        }
    })
}
/// `div(numeric, numeric)`: the quotient without its fraction.
pub fn whole_quotient(call: &Call) -> Result<ArrayRef> {
    combine(call, |(a, s1), (b, s2), _| {
        if b == 0 {
            return Err(division_by_zero());
        }
        whole_quotient_of((a, s1), (b, s2)).and_then(i256::to_i128).ok_or_else(overflow).and_then(bounded)
    })
}
pub fn whole_type(_: &ReturnFieldArgs) -> Result<DataType> {
    Ok(DataType::Decimal128(DIGITS_MAX, 0))
}

pub fn power(call: &Call) -> Result<ArrayRef> {
    combine(call, power_of)
}

fn power_of((base, s1): (i128, i8), (exponent, s2): (i128, i8), to: i8) -> Result<i128> {
    let unit = power_of_ten(s2.unsigned_abs().into()).unwrap_or(1);
    let whole = exponent / unit;
    if exponent % unit != 0 || whole.unsigned_abs() > 1_000 {
        if base > 0 {
            return super::transcendental::power_of((base, s1), (exponent, s2), to);
        }
        // Zero, or an error: only whole powers of negative numbers are real.
        return from_float(super::floats::power_of(to_float(base, s1), to_float(exponent, s2))?, to);
    }
    if base == 0 && exponent < 0 {
        let message = "zero raised to a negative power is undefined";
        return Err(Error::new(SqlState::InvalidArgumentForPowerFunction, message));
    }
    let power = Floating { digits: base, exponent: -i32::from(s1) }.power(whole.unsigned_abs())?;
    if whole < 0 { power.inverse_at(to) } else { power.at(to) }
}

/// A value of 38 digits and a power of ten.
#[derive(Clone, Copy)]
struct Floating {
    digits: i128,
    exponent: i32,
}

impl Floating {
    /// Exact as long as the digits suffice, rounded to them beyond.
    fn times(self, other: Self) -> Result<Self> {
        let exact = wide(self.digits).checked_mul(wide(other.digits)).ok_or_else(overflow)?;
        let count = |digits: i128| digits.unsigned_abs().checked_ilog10().map_or(0, |log| log + 1);
        let cut = (count(self.digits) + count(other.digits)).saturating_sub(u32::from(DIGITS_MAX) - 1);
        let digits = wide_divide(exact, wide_power_of_ten(cut).ok_or_else(overflow)?)?;
        Ok(Self { digits, exponent: self.exponent + other.exponent + cut as i32 })
    }

    /// By squaring; the exponent is at most a thousand.
    fn power(self, exponent: u128) -> Result<Self> {
        let (mut result, mut square, mut rest) = (Self { digits: 1, exponent: 0 }, self, exponent);
        while rest > 0 {
            if rest % 2 == 1 {
                result = result.times(square)?;
            }
            rest /= 2;
            if rest > 0 {
                square = square.times(square)?;
            }
        }
        Ok(result)
    }

    fn at(self, to: i8) -> Result<i128> {
        let shift = self.exponent + i32::from(to);
        match power_of_ten(shift.unsigned_abs()) {
            Some(power) if shift >= 0 => self.digits.checked_mul(power).ok_or_else(overflow).and_then(bounded),
            Some(power) => Ok(divide_rounded(self.digits, power)),
            None if shift < 0 || self.digits == 0 => Ok(0),
            None => Err(overflow()),
        }
    }

    /// One divided by the value, which is not zero.
    fn inverse_at(self, to: i8) -> Result<i128> {
        let shift = i32::from(to) - self.exponent;
        match u32::try_from(shift) {
            Ok(shift) => wide_divide(wide_power_of_ten(shift).ok_or_else(overflow)?, wide(self.digits)),
            Err(_) => Ok(0),
        }
    }
}

/// The nearest float.
pub fn to_float(value: i128, scale: i8) -> f64 {
    if value.unsigned_abs() < (1 << 53) && (0..=22).contains(&scale) {
        // Both are exact floats, so the quotient is rounded once.
        return value as f64 / 10_f64.powi(scale.into());
    }
    format!("{value}e{}", -i32::from(scale)).parse().unwrap_or(f64::NAN)
}

/// A float at a scale. NaN and the infinities have no place in 38 digits: 22003.
pub fn from_float(value: f64, scale: i8) -> Result<i128> {
    check_finite(value)?;
    let scaled = value * 10_f64.powi(scale.into());
    if scaled.abs() < 9_007_199_254_740_992.0 {
        return Ok(scaled.round() as i128);
    }
    significant(value, FLOAT8_DIGITS, scale)
}

/// A float of a type that is known to have so many digits, as a cast takes it.
pub fn cast_float(value: f64, digits: usize, scale: i8) -> Result<i128> {
    check_finite(value)?;
    let scaled = value * 10_f64.powi(scale.into());
    if digits == FLOAT8_DIGITS && scaled.abs() < 1e15 && rounds_alike(scaled) {
        return Ok(scaled.round() as i128);
    }
    significant(value, digits, scale)
}

/// Whether a float below 10^15 is the same integer whether it is rounded to [`FLOAT8_DIGITS`] digits first or not: then it is
/// not so near to the middle of two integers that those digits, or the product that made it, may say otherwise.
fn rounds_alike(value: f64) -> bool {
    let size = value.abs();
    // Half a unit of the last digit, at most: below 10^13 by the first digit, below 10^14 a twentieth. Above, it is the integer's.
    let digits = if size < 1e14 { (size * 5e-15).min(0.05) } else { 0.0 };
    (size.fract() - 0.5).abs() > digits + size * f64::EPSILON
}

fn check_finite(value: f64) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    let message = if value.is_nan() { "cannot convert NaN to numeric" } else { "cannot convert infinity to numeric" };
    Err(Error::new(SqlState::NumericValueOutOfRange, message))
}

/// The float's first digits, at a scale.
fn significant(value: f64, digits: usize, scale: i8) -> Result<i128> {
    let behind = digits - 1;
    let text = format!("{value:.behind$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: i128 = mantissa.replace('.', "").parse().map_err(|_| overflow())?;
    let exponent: i32 = exponent.parse().map_err(|_| overflow())?;
    let shift = exponent - behind as i32 + i32::from(scale);
    match power_of_ten(shift.unsigned_abs()) {
        Some(power) if shift >= 0 => digits.checked_mul(power).ok_or_else(overflow).and_then(bounded),
        Some(power) => Ok(divide_rounded(digits, power)),
        None if shift < 0 || digits == 0 => Ok(0),
        None => Err(overflow()),
    }
}

/// As many digits behind the point as the value needs.
pub fn least_scale(value: i128, scale: i8) -> i8 {
    let (mut value, mut scale) = (value, scale);
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    scale
}

pub fn negate(call: &Call) -> Result<ArrayRef> {
    let (values, _) = call.decimal(0)?;
    call.values::<Decimal128Type>(|row| Ok(values.get(row).map(|value| -value)))
}
pub fn absolute(call: &Call) -> Result<ArrayRef> {
    let (values, _) = call.decimal(0)?;
    call.values::<Decimal128Type>(|row| Ok(values.get(row).map(i128::abs)))
}

/// Whether any row is NULL, for kernels that treat NULL apart.
pub fn has_nulls(array: &dyn Array) -> bool {
    array.null_count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_of_constants_have_the_scale_of_postgresql() {
        // (dividend, divisor, digits behind the point), as PostgreSQL shows them.
        let cases = [((1, 0), (3, 0), 20), ((10, 0), (4, 0), 16), ((1, 0), (7, 0), 20), ((100000, 0), (3, 0), 12)];
        for (dividend, divisor, scale) in cases {
            assert_eq!(quotient_scale(dividend, divisor), scale, "{dividend:?} / {divisor:?}");
        }
    }

    #[test]
    fn rounding_goes_away_from_zero() {
        assert_eq!(rescale(25, 1, 0).unwrap(), 3);
        assert_eq!(rescale(-25, 1, 0).unwrap(), -3);
        assert_eq!(rescale(24, 1, 0).unwrap(), 2);
        assert_eq!(quotient((2, 0), (3, 0), 4).unwrap(), 6667);
        assert_eq!(quotient((-2, 0), (3, 0), 4).unwrap(), -6667);
    }

    #[test]
    fn whole_powers_keep_their_digits() {
        // (base, exponent, scale of the result, result), as PostgreSQL computes them.
        let cases = [
            ((15, 1), 90, 16, "70503928228430693677253538679512"),
            ((999999999999999999995, 1), 1, 16, "999999999999999999995000000000000000"),
            ((2, 0), 10, 16, "10240000000000000000"),
            ((-25, 1), 3, 16, "-156250000000000000"),
            ((3, 0), -2, 16, "1111111111111111"),
            ((2, 0), 0, 0, "1"),
            ((0, 0), 5, 2, "0"),
        ];
        for (base, exponent, to, expected) in cases {
            assert_eq!(power_of(base, (exponent, 0), to).unwrap().to_string(), expected, "{base:?} ^ {exponent}");
        }
        assert!(power_of((10, 0), (39, 0), 0).is_err());
        assert_eq!(power_of((10, 0), (-39, 0), 16).unwrap(), 0);
    }

    #[test]
    fn constants_keep_as_many_digits_as_there_are() {
        // (whole part, scale wanted, scale given)
        let cases = [(0, 38, 38), (9, 38, 37), (10_i128.pow(37), 4, 0), (123, 4, 4)];
        for (whole, wanted, given) in cases {
            assert_eq!(scale_of(&fitting(wanted, wide(whole), |_| Ok(0))), given, "{whole}, {wanted}");
        }
        let nines = 10_i128.pow(38) - 1;
        let carried = fitting(38, wide(9), |scale| sum((nines, 37), (9, 38), scale));
        assert_eq!(scale_of(&carried), 36);
        let large = 10_i128.pow(38) - 1;
        assert_eq!(sum((large, 0), (4, 1), 0).unwrap(), large);
        assert!(sum((large, 0), (5, 1), 0).is_err());
        assert_eq!(whole_quotient_of((1, 0), (1, 37)), Some(wide(10_i128.pow(37))));
        assert_eq!(whole_quotient_of((1, 0), (0, 0)), None);
    }

    #[test]
    fn casts_take_the_digits_that_a_float_is_known_to_have() {
        // (value, digits, scale, result), as PostgreSQL casts it.
        let cases = [
            (f64::from(0.1_f32), FLOAT4_DIGITS, 10, "1000000000"),
            (f64::from(16_777_216_f32), FLOAT4_DIGITS, 2, "1677720000"),
            (f64::from(-1.234568e-5_f32), FLOAT4_DIGITS, 10, "-123457"),
            (f64::from(0.123_449_95_f32), FLOAT4_DIGITS, 4, "1235"),
            (0.0, FLOAT4_DIGITS, 10, "0"),
            (0.1, FLOAT8_DIGITS, 10, "1000000000"),
            (123456.78901234567, FLOAT8_DIGITS, 10, "1234567890123460"),
            (-123456.78901234567, FLOAT8_DIGITS, 10, "-1234567890123460"),
            (1e-300, FLOAT8_DIGITS, 10, "0"),
            (1.005, FLOAT8_DIGITS, 2, "101"),
            (-1.005, FLOAT8_DIGITS, 2, "-101"),
            (0.285, FLOAT8_DIGITS, 2, "29"),
            (1.00499999999999, FLOAT8_DIGITS, 2, "100"),
            (10_000_000_000.005, FLOAT8_DIGITS, 2, "1000000000001"),
            (99999999999.4995, FLOAT8_DIGITS, 3, "99999999999500"),
            (99999999999.4994, FLOAT8_DIGITS, 3, "99999999999499"),
        ];
        for (value, digits, scale, expected) in cases {
            assert_eq!(cast_float(value, digits, scale).unwrap().to_string(), expected, "{value} at {scale}");
        }
        assert!(cast_float(f64::NAN, FLOAT4_DIGITS, 2).is_err());
        assert!(cast_float(1e30, FLOAT8_DIGITS, 10).is_err());
    }

    #[test]
    fn wide_products_come_back_or_overflow() {
        let big = 10_i128.pow(28);
        assert_eq!(product((big, 20), (big, 20), 20).unwrap(), 10_i128.pow(36));
        assert!(product((big, 0), (big, 0), 0).is_err());
    }
}
