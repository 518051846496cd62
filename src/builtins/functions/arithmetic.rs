//! Arithmetic of integers: overflow is an error, never a wrap.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, Scalar};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int16Type, Int32Type, Int64Type};
use arrow::error::ArrowError;

use super::kernel::Call;
use crate::error::{Error, Result, SqlState};

/// 22003 with PostgreSQL's word for the type.
pub fn out_of_range(ty: &DataType) -> Error {
    let name = match ty {
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        _ => "bigint",
    };
    Error::new(SqlState::NumericValueOutOfRange, format!("{name} out of range"))
}

pub fn division_by_zero() -> Error {
    Error::new(SqlState::DivisionByZero, "division by zero")
}

/// The two operands in the result's type.
pub(super) fn apply(
    call: &Call,
    kernel: fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>,
) -> Result<ArrayRef, ArrowError> {
    let operand = |index: usize| -> Result<ArrayRef, ArrowError> {
        let array = call.raw(index).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        if array.data_type() == call.returns { Ok(array.clone()) } else { crate::encode::cast(array, call.returns) }
    };
    let (left, right) = (operand(0)?, operand(1)?);
    match (call.is_constant(0), call.is_constant(1)) {
        (false, false) | (true, true) => kernel(&left, &right),
        (false, true) => kernel(&left, &Scalar::new(right)),
        (true, false) => kernel(&Scalar::new(left), &right),
    }
}

fn checked(call: &Call, kernel: fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>) -> Result<ArrayRef> {
    apply(call, kernel).map_err(|error| match error {
        ArrowError::DivideByZero => division_by_zero(),
        ArrowError::ArithmeticOverflow(_) => out_of_range(call.returns),
        other => Error::from(other),
    })
}

pub fn add(call: &Call) -> Result<ArrayRef> {
    checked(call, numeric::add)
}
pub fn subtract(call: &Call) -> Result<ArrayRef> {
    checked(call, numeric::sub)
}
pub fn multiply(call: &Call) -> Result<ArrayRef> {
    checked(call, numeric::mul)
}
/// Truncates towards zero.
pub fn divide(call: &Call) -> Result<ArrayRef> {
    checked(call, numeric::div)
}
pub fn remainder(call: &Call) -> Result<ArrayRef> {
    checked(call, numeric::rem)
}

/// `+x`.
pub fn same(call: &Call) -> Result<ArrayRef> {
    Ok(call.raw(0)?.clone())
}

pub fn negate(call: &Call) -> Result<ArrayRef> {
    each(call, Operation::Negate)
}
pub fn absolute(call: &Call) -> Result<ArrayRef> {
    each(call, Operation::Absolute)
}

#[derive(Clone, Copy)]
enum Operation {
    Negate,
    Absolute,
}

fn each(call: &Call, operation: Operation) -> Result<ArrayRef> {
    let array = call.raw(0)?;
    match array.data_type() {
        DataType::Int16 => unary::<Int16Type>(array, |value| match operation {
            Operation::Negate => value.checked_neg(),
            Operation::Absolute => value.checked_abs(),
        }),
        DataType::Int32 => unary::<Int32Type>(array, |value| match operation {
            Operation::Negate => value.checked_neg(),
            Operation::Absolute => value.checked_abs(),
        }),
        _ => unary::<Int64Type>(array, |value| match operation {
            Operation::Negate => value.checked_neg(),
            Operation::Absolute => value.checked_abs(),
        }),
    }
}

fn unary<T: ArrowPrimitiveType>(array: &ArrayRef, op: impl Fn(T::Native) -> Option<T::Native>) -> Result<ArrayRef> {
    let values = array.as_primitive_opt::<T>().ok_or_else(|| Error::internal("an integer was expected"))?;
    let result = values.try_unary::<_, T, Error>(|value| op(value).ok_or_else(|| out_of_range(values.data_type())))?;
    Ok(Arc::new(result))
}
