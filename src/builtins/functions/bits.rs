//! Bit operators of integers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::kernels::bitwise;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int16Type, Int32Type, Int64Type};

use super::kernel::{Call, some};
use crate::error::{Error, Result};

macro_rules! by_width {
    ($call:expr, $run:ident $(, $extra:expr)*) => {
        match $call.returns {
            DataType::Int16 => $run::<Int16Type>($call $(, $extra)*),
            DataType::Int32 => $run::<Int32Type>($call $(, $extra)*),
            _ => $run::<Int64Type>($call $(, $extra)*),
        }
    };
}

#[derive(Clone, Copy)]
enum Operation {
    And,
    Or,
    Xor,
}

pub fn and(call: &Call) -> Result<ArrayRef> {
    by_width!(call, combine, Operation::And)
}
pub fn or(call: &Call) -> Result<ArrayRef> {
    by_width!(call, combine, Operation::Or)
}
pub fn xor(call: &Call) -> Result<ArrayRef> {
    by_width!(call, combine, Operation::Xor)
}
pub fn not(call: &Call) -> Result<ArrayRef> {
    by_width!(call, invert)
}

fn combine<T: ArrowPrimitiveType>(call: &Call, operation: Operation) -> Result<ArrayRef>
where
    T::Native: std::ops::BitAnd<Output = T::Native>
        + std::ops::BitOr<Output = T::Native>
        + std::ops::BitXor<Output = T::Native>,
{
    let (left, right) = (call.expanded(0)?, call.expanded(1)?);
    let wrong = || Error::internal("integers were expected");
    let left = left.as_primitive_opt::<T>().ok_or_else(wrong)?;
    let right = right.as_primitive_opt::<T>().ok_or_else(wrong)?;
    Ok(Arc::new(match operation {
        Operation::And => bitwise::bitwise_and(left, right)?,
        Operation::Or => bitwise::bitwise_or(left, right)?,
        Operation::Xor => bitwise::bitwise_xor(left, right)?,
    }))
}

fn invert<T: ArrowPrimitiveType>(call: &Call) -> Result<ArrayRef>
where
    T::Native: std::ops::Not<Output = T::Native>,
{
    let array = call.raw(0)?.as_primitive_opt::<T>().ok_or_else(|| Error::internal("an integer was expected"))?;
    Ok(Arc::new(bitwise::bitwise_not(array)?))
}

/// The processor's shift, as in PostgreSQL: the distance counts modulo 32 (64 for bigint).
pub fn shift_left(call: &Call) -> Result<ArrayRef> {
    shift(
        call,
        |value, by, wide| if wide { value.wrapping_shl(by) } else { i64::from((value as i32).wrapping_shl(by)) },
    )
}
pub fn shift_right(call: &Call) -> Result<ArrayRef> {
    shift(
        call,
        |value, by, wide| if wide { value.wrapping_shr(by) } else { i64::from((value as i32).wrapping_shr(by)) },
    )
}

fn shift(call: &Call, op: impl Fn(i64, u32, bool) -> i64) -> Result<ArrayRef> {
    let (values, distances) = (call.int(0)?, call.int(1)?);
    let wide = matches!(call.returns, DataType::Int64);
    let shifted = |row: usize| -> Result<Option<i64>> {
        Ok(Some(op(some!(values.get(row)), some!(distances.get(row)) as u32, wide)))
    };
    match call.returns {
        DataType::Int16 => call.values::<Int16Type>(|row| Ok(shifted(row)?.map(|value| value as i16))),
        DataType::Int32 => call.values::<Int32Type>(|row| Ok(shifted(row)?.map(|value| value as i32))),
        _ => call.values::<Int64Type>(shifted),
    }
}
