//! Functions that search arrays and make new ones of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::logical_expr::ReturnFieldArgs;

use super::Function;
use super::build::{scalar, typed};
use super::kernel::{Call, some};
use super::numeric::same_type;
use crate::error::{Error, Result, SqlState};

/// The list of a row; `None` is NULL.
fn list_at(call: &Call, row: usize) -> Result<Option<ArrayRef>> {
    let lists = call.raw(0)?.as_list_opt::<i32>().ok_or_else(|| Error::internal("an array was expected"))?;
    let at = call.row_of(0, row);
    Ok(lists.is_valid(at).then(|| lists.value(at)))
}

/// Lists of the result's type from one array for each row.
fn lists(call: &Call, mut make: impl FnMut(usize) -> Result<Option<ArrayRef>>) -> Result<ArrayRef> {
    let DataType::List(field) = call.returns else { return Err(Error::internal("an array was expected")) };
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        rows.push(match make(row)? {
            Some(items) if items.data_type() == field.data_type() => Some(items),
            Some(items) => Some(crate::encode::cast(&items, field.data_type())?),
            None => None,
        });
    }
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.as_ref().map_or(0, |items| items.len())));
    let nulls: NullBuffer = rows.iter().map(Option::is_some).collect();
    let parts: Vec<&dyn Array> = rows.iter().flatten().map(|items| items.as_ref()).collect();
    let items = if parts.is_empty() { new_empty_array(field.data_type()) } else { arrow::compute::concat(&parts)? };
    Ok(Arc::new(ListArray::try_new(field.clone(), offsets, items, Some(nulls))?))
}

/// Which items of each row's array equal argument 1; NULL equals NULL.
fn equal_items(call: &Call) -> Result<impl Fn(usize, &ArrayRef) -> Result<BooleanArray>> {
    let wanted = call.raw(1)?.clone();
    let converter = RowConverter::new(vec![SortField::new(wanted.data_type().clone())])?;
    let rows = converter.convert_columns(std::slice::from_ref(&wanted))?;
    let constant = call.is_constant(1);
    Ok(move |row: usize, items: &ArrayRef| {
        let items = crate::encode::cast(items, wanted.data_type())?;
        let target = rows.row(if constant { 0 } else { row });
        let converted = converter.convert_columns(&[items])?;
        Ok(converted.iter().map(|item| Some(item == target)).collect::<BooleanArray>())
    })
}

fn positions(call: &Call) -> Result<ArrayRef> {
    let equal = equal_items(call)?;
    lists(call, |row| {
        let found = equal(row, &some!(list_at(call, row)?))?;
        let at = found.iter().enumerate().filter(|(_, equal)| *equal == Some(true)).map(|(at, _)| at as i32 + 1);
        Ok(Some(Arc::new(arrow::array::Int32Array::from_iter_values(at)) as ArrayRef))
    })
}

fn trim(call: &Call) -> Result<ArrayRef> {
    let counts = call.int(1)?;
    lists(call, |row| {
        let (items, count) = (some!(list_at(call, row)?), some!(counts.get(row)));
        let kept = usize::try_from(count).ok().and_then(|count| items.len().checked_sub(count)).ok_or_else(|| {
            let message = format!("number of elements to trim must be between 0 and {}", items.len());
            Error::new(SqlState::ArraySubscriptError, message)
        })?;
        Ok(Some(items.slice(0, kept)))
    })
}

/// Most elements of an array that is filled.
const ITEMS_MAX: i64 = 1 << 27;

fn fill(call: &Call) -> Result<ArrayRef> {
    let value = call.raw(0)?;
    let sizes = call.raw(1)?.as_list_opt::<i32>().ok_or_else(|| Error::internal("an array was expected"))?;
    lists(call, |row| {
        let at = call.row_of(1, row);
        if sizes.is_null(at) {
            return Err(Error::new(SqlState::NullValueNotAllowed, "dimension array or low bound array cannot be null"));
        }
        let lengths = crate::encode::cast(&sizes.value(at), &DataType::Int64)?;
        let lengths = lengths.as_primitive::<Int64Type>();
        let length = match lengths.len() {
            0 => 0,
            1 if lengths.is_null(0) => {
                return Err(Error::new(SqlState::NullValueNotAllowed, "dimension values cannot be null"));
            }
            1 => lengths.value(0),
            _ => return Err(Error::unsupported("array_fill with several dimensions")),
        };
        if length > ITEMS_MAX {
            let message = format!("array size exceeds the maximum allowed ({ITEMS_MAX})");
            return Err(Error::new(SqlState::ProgramLimitExceeded, message));
        }
        let indices = arrow::array::UInt64Array::from(vec![call.row_of(0, row) as u64; length.max(0) as usize]);
        Ok(Some(arrow::compute::take(value, &indices, None)?))
    })
}

fn fill_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let element = args.arg_fields.first().ok_or_else(|| Error::internal("argument missing"))?;
    Ok(DataType::List(Arc::new(Field::new("item", element.data_type().clone(), true))))
}

/// `[1:3][1:2]`
fn dimensions(call: &Call) -> Result<ArrayRef> {
    use std::fmt::Write as _;
    call.texts(|row, out| {
        let mut items = some!(list_at(call, row)?);
        if items.is_empty() {
            return Ok(None);
        }
        loop {
            // Writing to a String cannot fail.
            let _ = write!(out, "[1:{}]", items.len());
            let inner = items.as_list_opt::<i32>().filter(|inner| !inner.is_empty()).map(|inner| inner.value(0));
            match inner {
                Some(inner) => items = inner,
                None => return Ok(Some(())),
            }
        }
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(3279, "array_positions(anycompatiblearray, anycompatible) _int4", positions).not_strict(),
        typed(6172, "trim_array(anyarray, int4) anyarray", same_type, trim),
        typed(1193, "array_fill(anyelement, _int4) anyarray", fill_type, fill).not_strict(),
        scalar(747, "array_dims(anyarray) text", dimensions),
    ]
}
