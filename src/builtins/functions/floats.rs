//! Arithmetic of floats with PostgreSQL's errors for overflow, underflow and division by zero.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::utils::normalize_float_zero;

use super::arithmetic::{apply, division_by_zero};
use super::kernel::{Call, some};
use crate::error::{Error, Result, SqlState};

pub fn overflow() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "value out of range: overflow")
}
pub fn underflow() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "value out of range: underflow")
}

pub fn add(call: &Call) -> Result<ArrayRef> {
    settled(call, apply(call, numeric::add)?, None)
}
pub fn subtract(call: &Call) -> Result<ArrayRef> {
    settled(call, apply(call, numeric::sub)?, None)
}
pub fn multiply(call: &Call) -> Result<ArrayRef> {
    settled(call, apply(call, numeric::mul)?, Some(|left, right| left != 0.0 && right != 0.0))
}
pub fn divide(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.float(0)?, call.float(1)?);
    for row in 0..call.rows {
        if let (Some(dividend), Some(divisor)) = (left.get(row), right.get(row))
            && divisor == 0.0
            && !dividend.is_nan()
        {
            return Err(division_by_zero());
        }
    }
    settled(call, apply(call, numeric::div)?, Some(|left, right| left != 0.0 && right.is_finite()))
}

/// NaN in the one form that is PostgreSQL's greatest float and equal to itself where the bits are compared: in comparisons,
/// groups and sorts. Infinity minus itself is one with a sign.
pub fn canonical(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            if !values.values().iter().any(|value| value.is_nan()) {
                return Arc::clone(array);
            }
            Arc::new(values.unary::<_, Float32Type>(|value| if value.is_nan() { f32::NAN } else { value }))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            if !values.values().iter().any(|value| value.is_nan()) {
                return Arc::clone(array);
            }
            Arc::new(values.unary::<_, Float64Type>(|value| if value.is_nan() { f64::NAN } else { value }))
        }
        _ => Arc::clone(array),
    }
}

/// What floats are compared by: equal ones have the same bits, 0 and -0 too. Other types are left as they are.
pub fn comparable(array: &ArrayRef) -> ArrayRef {
    normalize_float_zero(&canonical(array))
}

/// [`canonical`] of a column.
pub fn same(call: &Call) -> Result<ArrayRef> {
    Ok(canonical(call.raw(0)?))
}

/// [`comparable`] of a column.
pub fn key(call: &Call) -> Result<ArrayRef> {
    Ok(comparable(call.raw(0)?))
}

/// Whether operands whose result is zero have none that is.
type Underflows = fn(f64, f64) -> bool;

/// An infinite result of finite operands is an overflow, a zero may be an underflow, and NaN gets its one form.
fn settled(call: &Call, result: ArrayRef, underflows: Option<Underflows>) -> Result<ArrayRef> {
    let zeros = underflows.is_none();
    // Zeros and infinities are seldom: only where there are some are operands looked at.
    let plain = match result.data_type() {
        DataType::Float32 => {
            let values = result.as_primitive::<Float32Type>().values();
            values.iter().all(|value| value.is_finite() && (zeros || *value != 0.0))
        }
        DataType::Float64 => {
            let values = result.as_primitive::<Float64Type>().values();
            values.iter().all(|value| value.is_finite() && (zeros || *value != 0.0))
        }
        _ => true,
    };
    if plain {
        return Ok(result);
    }
    refuse_out_of_range(call, &result, underflows)?;
    Ok(canonical(&result))
}

fn refuse_out_of_range(call: &Call, result: &ArrayRef, underflows: Option<Underflows>) -> Result<()> {
    let (left, right) = (call.float(0)?, call.float(1)?);
    let values = crate::encode::cast(result, &DataType::Float64)?;
    let values = values.as_primitive::<Float64Type>();
    for (row, value) in values.iter().enumerate() {
        let (Some(value), Some(a), Some(b)) = (value, left.get(row), right.get(row)) else { continue };
        if value.is_infinite() && a.is_finite() && b.is_finite() {
            return Err(overflow());
        }
        if value == 0.0 && underflows.is_some_and(|underflows| underflows(a, b)) {
            return Err(underflow());
        }
    }
    Ok(())
}

/// [`canonical`] of variances and deviations, which infinite values make NaN: an infinite one is an overflow of its squares.
pub fn spread(call: &Call) -> Result<ArrayRef> {
    let values = call.float(0)?;
    if (0..call.rows).any(|row| values.get(row).is_some_and(f64::is_infinite)) {
        return Err(overflow());
    }
    same(call)
}

pub fn power(call: &Call) -> Result<ArrayRef> {
    let (base, exponent) = (call.float(0)?, call.float(1)?);
    call.values::<Float64Type>(|row| power_of(some!(base.get(row)), some!(exponent.get(row))).map(Some))
}

/// `base ^ exponent`; 2201F's words for what is no real number.
pub fn power_of(base: f64, exponent: f64) -> Result<f64> {
    if base == 0.0 && exponent < 0.0 {
        let message = "zero raised to a negative power is undefined";
        return Err(Error::new(SqlState::InvalidArgumentForPowerFunction, message));
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        let message = "a negative number raised to a non-integer power yields a complex result";
        return Err(Error::new(SqlState::InvalidArgumentForPowerFunction, message));
    }
    in_range(base.powf(exponent), base.is_finite() && exponent.is_finite(), base == 0.0)
}

/// Checks a result of finite operands; zero is an underflow unless it may be one.
pub fn in_range(result: f64, finite: bool, zero_expected: bool) -> Result<f64> {
    if finite && result.is_infinite() {
        return Err(overflow());
    }
    if finite && result == 0.0 && !zero_expected {
        return Err(underflow());
    }
    Ok(result)
}

pub fn negate(call: &Call) -> Result<ArrayRef> {
    Ok(canonical(&numeric::neg(call.raw(0)?)?))
}

pub fn absolute(call: &Call) -> Result<ArrayRef> {
    let array = call.raw(0)?;
    if let Some(values) = array.as_primitive_opt::<Float32Type>() {
        return Ok(Arc::new(values.unary::<_, Float32Type>(f32::abs)));
    }
    let values = call.float(0)?;
    Ok(Arc::new(values.array.unary::<_, Float64Type>(f64::abs)))
}

pub fn square_root(call: &Call) -> Result<ArrayRef> {
    let values = call.float(0)?;
    call.values::<Float64Type>(|row| {
        let value = some!(values.get(row));
        if value < 0.0 {
            let message = "cannot take square root of a negative number";
            return Err(Error::new(SqlState::InvalidArgumentForPowerFunction, message));
        }
        Ok(Some(value.sqrt()))
    })
}

pub fn cube_root(call: &Call) -> Result<ArrayRef> {
    let values = call.float(0)?;
    call.values::<Float64Type>(|row| Ok(values.get(row).map(f64::cbrt)))
}
