//! Mathematical functions.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ReturnFieldArgs;

use super::build::{scalar, typed, volatile};
use super::kernel::{Call, some};
use super::numeric::{self, decimal_type, rescale, scale_of};
use super::{Function, arithmetic, floats, transcendental};
use crate::error::{Error, Result, SqlState};

/// Applies a function of one float.
pub(super) fn each(call: &Call, op: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let values = call.float(0)?;
    call.values::<Float64Type>(|row| values.get(row).map(&op).transpose())
}

fn ceil(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(value.ceil()))
}
fn floor(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(value.floor()))
}
/// Half to even, as C's rint.
fn round(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(value.round_ties_even()))
}
fn trunc(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(value.trunc()))
}
fn sign(call: &Call) -> Result<ArrayRef> {
    each(call, |value| {
        Ok(if value > 0.0 {
            1.0
        } else if value < 0.0 {
            -1.0
        } else {
            0.0
        })
    })
}
fn exp(call: &Call) -> Result<ArrayRef> {
    each(call, |value| floats::in_range(value.exp(), value.is_finite(), false))
}

fn logarithm_of(value: f64) -> Result<f64> {
    let refuse = |message: &str| Err(Error::new(SqlState::InvalidArgumentForLogarithm, message));
    if value == 0.0 {
        return refuse("cannot take logarithm of zero");
    }
    if value < 0.0 { refuse("cannot take logarithm of a negative number") } else { Ok(value) }
}
fn ln(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(logarithm_of(value)?.ln()))
}
fn log10(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(logarithm_of(value)?.log10()))
}
fn degrees(call: &Call) -> Result<ArrayRef> {
    each(call, |value| floats::in_range(value / (std::f64::consts::PI / 180.0), value.is_finite(), true))
}
fn radians(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(value * (std::f64::consts::PI / 180.0)))
}

fn outside() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "input is out of range")
}
pub(super) fn finite(value: f64) -> Result<f64> {
    if value.is_infinite() { Err(outside()) } else { Ok(value) }
}
pub(super) fn within_one(value: f64) -> Result<f64> {
    if value.abs() > 1.0 { Err(outside()) } else { Ok(value) }
}
fn sin(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(finite(value)?.sin()))
}
fn cos(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(finite(value)?.cos()))
}
fn tan(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(finite(value)?.tan()))
}
fn cot(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(1.0 / finite(value)?.tan()))
}
fn asin(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(within_one(value)?.asin()))
}
fn acos(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(within_one(value)?.acos()))
}
fn atan(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(value.atan()))
}
fn sinh(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(value.sinh()))
}
fn cosh(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(value.cosh()))
}
fn tanh(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(value.tanh()))
}
fn atan2(call: &Call) -> Result<ArrayRef> {
    let (y, x) = (call.float(0)?, call.float(1)?);
    call.values::<Float64Type>(|row| Ok(Some(some!(y.get(row)).atan2(some!(x.get(row))))))
}
fn pi(call: &Call) -> Result<ArrayRef> {
    Ok(Arc::new(Float64Array::from(vec![std::f64::consts::PI; call.rows])))
}
fn random(call: &Call) -> Result<ArrayRef> {
    Ok(Arc::new((0..call.rows).map(|_| rand::random::<f64>()).collect::<Float64Array>()))
}

fn scale(call: &Call) -> Result<ArrayRef> {
    let (values, scale) = call.decimal(0)?;
    let trimmed = matches!(call.raw(0)?.data_type(), DataType::Decimal128(38, 10));
    call.values::<Int32Type>(|row| {
        let value = some!(values.get(row));
        Ok(Some(i32::from(if trimmed { numeric::least_scale(value, scale) } else { scale })))
    })
}
fn min_scale(call: &Call) -> Result<ArrayRef> {
    let (values, scale) = call.decimal(0)?;
    call.values::<Int32Type>(|row| Ok(values.get(row).map(|value| i32::from(numeric::least_scale(value, scale)))))
}

/// A constant's own least scale; columns become unconstrained numerics, which are shown without trailing zeros.
fn trimmed_type(args: &ReturnFieldArgs) -> Result<DataType> {
    Ok(match args.scalar_arguments.first().copied().flatten() {
        Some(ScalarValue::Decimal128(Some(value), precision, scale)) => {
            let least = numeric::least_scale(*value, *scale);
            DataType::Decimal128((*precision).max(least as u8), least)
        }
        _ => match args.arg_fields.first().map(|field| decimal_type(field.data_type())) {
            Some(DataType::Decimal128(precision, scale)) if scale > 10 => DataType::Decimal128(precision, scale),
            _ => DataType::Decimal128(38, 10),
        },
    })
}
fn trim_scale(call: &Call) -> Result<ArrayRef> {
    let (values, from) = call.decimal(0)?;
    let to = scale_of(call.returns);
    call.values::<Decimal128Type>(|row| rescale(some!(values.get(row)), from, to).map(Some))
}

/// Greatest divisor, or least multiple, of numerics: that of whole numbers at their common scale.
fn common(call: &Call, multiple: bool) -> Result<ArrayRef> {
    let ((left, s1), (right, s2)) = (call.decimal(0)?, call.decimal(1)?);
    let to = scale_of(call.returns);
    call.values::<Decimal128Type>(|row| {
        let (a, b) = (rescale(some!(left.get(row)), s1, to)?, rescale(some!(right.get(row)), s2, to)?);
        let (mut divisor, mut rest) = (a.abs(), b.abs());
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        if !multiple || divisor == 0 {
            return Ok(Some(if multiple { 0 } else { divisor }));
        }
        (a / divisor).checked_mul(b).map(i128::abs).ok_or_else(numeric::overflow).and_then(numeric::bounded).map(Some)
    })
}
fn numeric_gcd(call: &Call) -> Result<ArrayRef> {
    common(call, false)
}
fn numeric_lcm(call: &Call) -> Result<ArrayRef> {
    common(call, true)
}
fn common_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let scale = args.arg_fields.iter().map(|field| scale_of(&decimal_type(field.data_type()))).max().unwrap_or(0);
    Ok(DataType::Decimal128(38, scale))
}

/// The inverse hyperbolic sine and cosine, without overflow on the way (as in FreeBSD's msun).
fn inverse_sinh(value: f64) -> f64 {
    let (size, square) = (value.abs(), value * value);
    let result = if size < 2_f64.powi(-28) || !size.is_finite() {
        size
    } else if size > 2_f64.powi(28) {
        size.ln() + std::f64::consts::LN_2
    } else if size > 2.0 {
        (2.0 * size + 1.0 / ((square + 1.0).sqrt() + size)).ln()
    } else {
        (size + square / (1.0 + (1.0 + square).sqrt())).ln_1p()
    };
    result.copysign(value)
}

/// Of 1 and more.
fn inverse_cosh(value: f64) -> f64 {
    if value > 2_f64.powi(28) {
        value.ln() + std::f64::consts::LN_2
    } else if value > 2.0 {
        (2.0 * value - 1.0 / (value + (value * value - 1.0).sqrt())).ln()
    } else {
        let above = value - 1.0;
        (above + (2.0 * above + above * above).sqrt()).ln_1p()
    }
}

fn asinh(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(inverse_sinh(value)))
}
fn acosh(call: &Call) -> Result<ArrayRef> {
    each(call, |value| if value < 1.0 { Err(outside()) } else { Ok(inverse_cosh(value)) })
}
fn atanh(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(within_one(value)?.atanh()))
}

pub(super) fn more_functions() -> Vec<Function> {
    vec![
        scalar(3281, "scale(numeric) int4", scale),
        scalar(5042, "min_scale(numeric) int4", min_scale),
        typed(5043, "trim_scale(numeric) numeric", trimmed_type, trim_scale),
        typed(5048, "gcd(numeric, numeric) numeric", common_type, numeric_gcd),
        typed(5049, "lcm(numeric, numeric) numeric", common_type, numeric_lcm),
        scalar(2465, "asinh(float8) float8", asinh),
        scalar(2466, "acosh(float8) float8", acosh),
        scalar(2467, "atanh(float8) float8", atanh),
    ]
}

fn numeric_sign(call: &Call) -> Result<ArrayRef> {
    let (values, _) = call.decimal(0)?;
    call.values::<Decimal128Type>(|row| Ok(values.get(row).map(i128::signum)))
}

/// Rounding of numerics to a number of digits behind (or, negative, before) the point.
#[derive(Clone, Copy)]
enum Rounding {
    AwayFromZero,
    TowardsZero,
    Up,
    Down,
}

fn rounded(value: i128, from: i8, digits: i64, rounding: Rounding) -> Result<i128> {
    let dropped = i64::from(from) - digits;
    if dropped <= 0 {
        return Ok(value);
    }
    let Some(unit) = u32::try_from(dropped).ok().and_then(numeric::power_of_ten) else { return Ok(0) };
    let whole = match rounding {
        Rounding::AwayFromZero => numeric::divide_rounded(value, unit),
        Rounding::TowardsZero => value / unit,
        Rounding::Down => value.div_euclid(unit),
        Rounding::Up => -((-value).div_euclid(unit)),
    };
    whole.checked_mul(unit).ok_or_else(numeric::overflow)
}

fn round_numeric(call: &Call, rounding: Rounding) -> Result<ArrayRef> {
    let (values, from) = call.decimal(0)?;
    let digits = if call.len() > 1 { Some(call.int(1)?) } else { None };
    let to = scale_of(call.returns);
    call.values::<Decimal128Type>(|row| {
        let value = some!(values.get(row));
        let digits = match &digits {
            Some(digits) => some!(digits.get(row)),
            None => 0,
        };
        rescale(rounded(value, from, digits, rounding)?, from, to).map(Some)
    })
}
fn numeric_round(call: &Call) -> Result<ArrayRef> {
    round_numeric(call, Rounding::AwayFromZero)
}
fn numeric_trunc(call: &Call) -> Result<ArrayRef> {
    round_numeric(call, Rounding::TowardsZero)
}
fn numeric_ceil(call: &Call) -> Result<ArrayRef> {
    round_numeric(call, Rounding::Up)
}
fn numeric_floor(call: &Call) -> Result<ArrayRef> {
    round_numeric(call, Rounding::Down)
}

/// One more digit before the point, for a carry; the digits asked for behind it, when that number is a constant.
fn rounded_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let input = args.arg_fields.first().map(|field| decimal_type(field.data_type()));
    let Some(DataType::Decimal128(precision, scale)) = input else { return Ok(DataType::Decimal128(38, 0)) };
    let digits = match (args.arg_fields.len(), args.scalar_arguments.get(1).copied().flatten()) {
        (1, _) => 0,
        (_, Some(ScalarValue::Int32(Some(digits)))) => (*digits).clamp(0, 37) as i8,
        _ => scale,
    };
    // A constant's whole part is known: behind it stand as many digits as there is room for.
    let digits = match args.scalar_arguments.first().copied().flatten() {
        Some(ScalarValue::Decimal128(Some(value), _, scale)) => {
            let whole = value.unsigned_abs().checked_ilog10().map_or(0, |log| log as i8 + 1 - scale).max(0);
            digits.min(numeric::DIGITS_MAX as i8 - whole)
        }
        _ => digits,
    };
    let whole = i16::from(precision) - i16::from(scale) + 1;
    Ok(DataType::Decimal128((whole + i16::from(digits)).clamp(1, 38) as u8, digits))
}

fn sign_type(_: &ReturnFieldArgs) -> Result<DataType> {
    Ok(DataType::Decimal128(1, 0))
}

fn gcd_of(a: i64, b: i64) -> u64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn pairs(call: &Call, op: impl Fn(i64, i64) -> Option<i64>) -> Result<ArrayRef> {
    let (left, right) = (call.int(0)?, call.int(1)?);
    let refuse = || arithmetic::out_of_range(call.returns);
    let value = |row: usize| -> Result<Option<i64>> {
        op(some!(left.get(row)), some!(right.get(row))).ok_or_else(refuse).map(Some)
    };
    match call.returns {
        DataType::Int32 => call
            .values::<Int32Type>(|row| value(row)?.map(|value| i32::try_from(value).map_err(|_| refuse())).transpose()),
        _ => call.values::<Int64Type>(value),
    }
}
fn gcd(call: &Call) -> Result<ArrayRef> {
    pairs(call, |a, b| i64::try_from(gcd_of(a, b)).ok())
}
fn lcm(call: &Call) -> Result<ArrayRef> {
    pairs(call, |a, b| {
        if a == 0 || b == 0 {
            return Some(0);
        }
        (a / i64::try_from(gcd_of(a, b)).ok()?).checked_mul(b)?.checked_abs()
    })
}

fn factorial(call: &Call) -> Result<ArrayRef> {
    let values = call.int(0)?;
    call.values::<Decimal128Type>(|row| {
        let value = some!(values.get(row));
        if value < 0 {
            let message = "factorial of a negative number is undefined";
            return Err(Error::new(SqlState::NumericValueOutOfRange, message));
        }
        let mut product = 1_i128;
        for factor in 2..=value {
            product = product.checked_mul(factor.into()).ok_or_else(numeric::overflow)?;
        }
        numeric::bounded(product).map(Some)
    })
}

fn width_bucket(call: &Call) -> Result<ArrayRef> {
    let (values, lows, highs, counts) = (call.float(0)?, call.float(1)?, call.float(2)?, call.int(3)?);
    call.values::<Int32Type>(|row| {
        let (value, low) = (some!(values.get(row)), some!(lows.get(row)));
        let (high, count) = (some!(highs.get(row)), some!(counts.get(row)));
        let refuse = |message: &str| Err(Error::new(SqlState::InvalidArgumentForWidthBucketFunction, message));
        if count <= 0 {
            return refuse("count must be greater than zero");
        }
        if low == high {
            return refuse("lower bound cannot equal upper bound");
        }
        let share = (value - low) / (high - low);
        Ok(Some(if share < 0.0 {
            0
        } else if share >= 1.0 {
            count as i32 + 1
        } else {
            (share * count as f64).floor() as i32 + 1
        }))
    })
}

/// Absolute values of each number type.
fn absolute_float(call: &Call) -> Result<ArrayRef> {
    floats::absolute(call)
}

pub(super) fn functions() -> Vec<Function> {
    let mut functions = vec![
        scalar(1398, "abs(int2) int2", arithmetic::absolute),
        scalar(1397, "abs(int4) int4", arithmetic::absolute),
        scalar(1396, "abs(int8) int8", arithmetic::absolute),
        scalar(1394, "abs(float4) float4", absolute_float),
        scalar(1395, "abs(float8) float8", absolute_float),
        typed(1705, "abs(numeric) numeric", numeric::same_type, numeric::absolute),
        scalar(940, "mod(int2, int2) int2", arithmetic::remainder),
        scalar(941, "mod(int4, int4) int4", arithmetic::remainder),
        scalar(947, "mod(int8, int8) int8", arithmetic::remainder),
        typed(1728, "mod(numeric, numeric) numeric", numeric::remainder_type, numeric::remainder),
        typed(1973, "div(numeric, numeric) numeric", numeric::whole_type, numeric::whole_quotient),
        typed(1708, "round(numeric) numeric", rounded_type, numeric_round),
        typed(1707, "round(numeric, int4) numeric", rounded_type, numeric_round),
        typed(1710, "trunc(numeric) numeric", rounded_type, numeric_trunc),
        typed(1709, "trunc(numeric, int4) numeric", rounded_type, numeric_trunc),
        typed(1711, "ceil(numeric) numeric", rounded_type, numeric_ceil),
        typed(2167, "ceiling(numeric) numeric", rounded_type, numeric_ceil),
        typed(1712, "floor(numeric) numeric", rounded_type, numeric_floor),
        typed(1706, "sign(numeric) numeric", sign_type, numeric_sign),
        typed(2169, "power(numeric, numeric) numeric", transcendental::power_type, numeric::power),
        typed(1738, "pow(numeric, numeric) numeric", transcendental::power_type, numeric::power),
        typed(1730, "sqrt(numeric) numeric", transcendental::sqrt_type, transcendental::sqrt),
        typed(1732, "exp(numeric) numeric", transcendental::exp_type, transcendental::exp),
        typed(1734, "ln(numeric) numeric", transcendental::ln_type, transcendental::ln),
        typed(1741, "log(numeric) numeric", transcendental::ln_type, transcendental::log10),
        typed(1481, "log10(numeric) numeric", transcendental::ln_type, transcendental::log10),
        typed(1736, "log(numeric, numeric) numeric", transcendental::log_type, transcendental::log),
        typed(1376, "factorial(int8) numeric", numeric::whole_type, factorial),
        scalar(5044, "gcd(int4, int4) int4", gcd),
        scalar(5045, "gcd(int8, int8) int8", gcd),
        scalar(5046, "lcm(int4, int4) int4", lcm),
        scalar(5047, "lcm(int8, int8) int8", lcm),
        scalar(320, "width_bucket(float8, float8, float8, int4) int4", width_bucket),
        volatile(1598, "random() float8", random),
    ];
    functions.extend(of_floats());
    functions
}

fn of_floats() -> Vec<Function> {
    vec![
        scalar(2308, "ceil(float8) float8", ceil),
        scalar(2320, "ceiling(float8) float8", ceil),
        scalar(2309, "floor(float8) float8", floor),
        scalar(1342, "round(float8) float8", round),
        scalar(1343, "trunc(float8) float8", trunc),
        scalar(2310, "sign(float8) float8", sign),
        scalar(1344, "sqrt(float8) float8", floats::square_root),
        scalar(1345, "cbrt(float8) float8", floats::cube_root),
        scalar(1347, "exp(float8) float8", exp),
        scalar(1341, "ln(float8) float8", ln),
        scalar(1340, "log(float8) float8", log10),
        scalar(1194, "log10(float8) float8", log10),
        scalar(1368, "power(float8, float8) float8", floats::power),
        scalar(1346, "pow(float8, float8) float8", floats::power),
        scalar(1608, "degrees(float8) float8", degrees),
        scalar(1609, "radians(float8) float8", radians),
        scalar(1604, "sin(float8) float8", sin),
        scalar(1605, "cos(float8) float8", cos),
        scalar(1606, "tan(float8) float8", tan),
        scalar(1607, "cot(float8) float8", cot),
        scalar(1600, "asin(float8) float8", asin),
        scalar(1601, "acos(float8) float8", acos),
        scalar(1602, "atan(float8) float8", atan),
        scalar(1603, "atan2(float8, float8) float8", atan2),
        scalar(2462, "sinh(float8) float8", sinh),
        scalar(2463, "cosh(float8) float8", cosh),
        scalar(2464, "tanh(float8) float8", tanh),
        scalar(1610, "pi() float8", pi),
    ]
}
