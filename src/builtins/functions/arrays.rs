//! Functions of arrays. Arrays here start at 1 and have one dimension, unless lists are nested.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::logical_expr::Expr;

use super::Function;
use super::build::{contextual, scalar, typed};
use super::kernel::{Call, Kernel, Returns, some};
use super::numeric::same_type;
use super::{Volatility, array_operators, style};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};

/// A subscript as the engine takes it: NULL where there is no element, since negative ones count from the end there.
pub fn subscript(index: Expr) -> Result<Expr> {
    Kernel::new("subscript", 0, Volatility::Immutable, Returns::Fixed(DataType::Int64), positive).call(vec![index])
}

fn positive(call: &Call) -> Result<ArrayRef> {
    let given = crate::encode::cast(call.raw(0)?, &DataType::Int64)?;
    let kept: Int64Array = given.as_primitive::<Int64Type>().iter().map(|at| at.filter(|at| *at > 0)).collect();
    Ok(std::sync::Arc::new(kept))
}

/// The list of a row; `None` is NULL.
fn list_at(call: &Call, index: usize, row: usize) -> Result<Option<ArrayRef>> {
    let array = call.raw(index)?;
    let lists: &ListArray = array.as_list_opt().ok_or_else(|| Error::internal("an array was expected"))?;
    let at = call.row_of(index, row);
    Ok(lists.is_valid(at).then(|| lists.value(at)))
}

/// Lengths of the dimensions, outermost first; empty for an empty array.
fn dimensions(items: &ArrayRef) -> Vec<usize> {
    if items.is_empty() {
        return Vec::new();
    }
    let mut lengths = vec![items.len()];
    if let Some(inner) = items.as_list_opt::<i32>() {
        lengths.extend(dimensions(&inner.value(0)));
    }
    lengths
}

fn dimension(call: &Call, of: impl Fn(usize) -> i32) -> Result<ArrayRef> {
    let wanted = call.int(1)?;
    call.values::<Int32Type>(|row| {
        let (items, wanted) = (some!(list_at(call, 0, row)?), some!(wanted.get(row)));
        let index = some!(usize::try_from(wanted).ok().and_then(|wanted| wanted.checked_sub(1)));
        Ok(dimensions(&items).get(index).map(|length| of(*length)))
    })
}

fn length(call: &Call) -> Result<ArrayRef> {
    dimension(call, |length| length as i32)
}
fn lower(call: &Call) -> Result<ArrayRef> {
    dimension(call, |_| 1)
}

fn dimension_count(call: &Call) -> Result<ArrayRef> {
    call.values::<Int32Type>(|row| {
        let count = dimensions(&some!(list_at(call, 0, row)?)).len();
        Ok((count > 0).then_some(count as i32))
    })
}

fn cardinality(call: &Call) -> Result<ArrayRef> {
    call.values::<Int32Type>(|row| {
        let lengths = dimensions(&some!(list_at(call, 0, row)?));
        Ok(Some(if lengths.is_empty() { 0 } else { lengths.iter().product::<usize>() as i32 }))
    })
}

/// Refuses argument 0 when it has several dimensions.
fn one_dimensional(call: &Call, message: &str) -> Result<()> {
    match call.raw(0)?.data_type() {
        DataType::List(field) if matches!(field.data_type(), DataType::List(_)) => {
            Err(Error::new(SqlState::FeatureNotSupported, message))
        }
        _ => Ok(()),
    }
}

/// Where an element is, from 1; NULL finds NULL. Argument 2 says from where on to look.
fn position(call: &Call) -> Result<ArrayRef> {
    let wanted = call.raw(1)?;
    let converter = RowConverter::new(vec![SortField::new(wanted.data_type().clone())])?;
    let wanted_rows = converter.convert_columns(std::slice::from_ref(wanted))?;
    let starts = if call.len() > 2 { Some(call.int(2)?) } else { None };
    one_dimensional(call, "searching for elements in multidimensional arrays is not supported")?;
    call.values::<Int32Type>(|row| {
        let items = some!(list_at(call, 0, row)?);
        let start = match &starts {
            Some(starts) => starts
                .get(row)
                .ok_or_else(|| Error::new(SqlState::NullValueNotAllowed, "initial position must not be null"))?,
            None => 1,
        };
        let skipped = usize::try_from(start.saturating_sub(1)).unwrap_or(0);
        let items = if items.data_type() == wanted.data_type() {
            items
        } else {
            crate::encode::cast(&items, wanted.data_type())?
        };
        let rows = converter.convert_columns(&[items])?;
        let target = wanted_rows.row(call.row_of(1, row));
        let found = rows.iter().enumerate().skip(skipped).find(|(_, item)| *item == target);
        Ok(found.map(|(at, _)| at as i32 + 1))
    })
}

/// How many of the thresholds, which ascend, are not above the operand.
fn width_bucket(call: &Call) -> Result<ArrayRef> {
    let (operand, thresholds) = (call.raw(0)?, call.raw(1)?);
    let lists: &ListArray = thresholds.as_list_opt().ok_or_else(|| Error::internal("an array was expected"))?;
    if matches!(lists.value_type(), DataType::List(_)) {
        return Err(Error::new(SqlState::ArraySubscriptError, "thresholds must be one-dimensional array"));
    }
    // Of two scales the finer one: rounding the operand could move it across a threshold.
    let common = match (operand.data_type(), lists.value_type()) {
        (DataType::Decimal128(_, a), DataType::Decimal128(_, b)) => DataType::Decimal128(38, (*a).max(b)),
        (_, element) => element,
    };
    let converter = RowConverter::new(vec![SortField::new(common.clone())])?;
    let operands = converter.convert_columns(&[crate::encode::cast(operand, &common)?])?;
    let values = crate::encode::cast(lists.values(), &common)?;
    let rows = converter.convert_columns(std::slice::from_ref(&values))?;
    call.values::<Int32Type>(|row| {
        let (at, list) = (call.row_of(0, row), call.row_of(1, row));
        if operand.is_null(at) || lists.is_null(list) {
            return Ok(None);
        }
        let bound = |at: usize| lists.value_offsets().get(at).map_or(0, |offset| *offset as usize);
        let (start, end) = (bound(list), bound(list + 1));
        if (start..end).any(|item| values.is_null(item)) {
            return Err(Error::new(SqlState::NullValueNotAllowed, "thresholds array must not contain NULLs"));
        }
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if rows.row(middle) <= operands.row(at) { low = middle + 1 } else { high = middle }
        }
        Ok(Some((low - start) as i32))
    })
}

/// The elements of argument 0 without those that equal argument 1, or with argument `replacement` in their place.
/// NULL equals NULL here.
fn elements(call: &Call, replacement: Option<usize>) -> Result<ArrayRef> {
    let source = call.raw(0)?;
    let DataType::List(field) = source.data_type() else { return Err(Error::internal("an array was expected")) };
    let element = field.data_type();
    let wanted = crate::encode::cast(call.raw(1)?, element)?;
    let given = match replacement {
        Some(index) => Some(crate::encode::cast(call.raw(index)?, element)?),
        None => None,
    };
    let converter = RowConverter::new(vec![SortField::new(element.clone())])?;
    let wanted = converter.convert_columns(std::slice::from_ref(&wanted))?;
    let lists: &ListArray = source.as_list_opt().ok_or_else(|| Error::internal("an array was expected"))?;
    let values = lists.values();
    let rows = converter.convert_columns(std::slice::from_ref(values))?;
    // Indexes into the elements (source 0) and the replacements (source 1).
    let (mut taken, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..call.rows {
        let (at, before) = (call.row_of(0, row), taken.len());
        valid.push(lists.is_valid(at));
        if lists.is_valid(at) {
            let offsets = lists.value_offsets();
            let bounds = (offsets.get(at), offsets.get(at + 1));
            let (Some(start), Some(end)) = bounds else { return Err(Error::internal("a list without an end")) };
            let target = wanted.row(call.row_of(1, row));
            for index in *start as usize..*end as usize {
                match (rows.row(index) == target, replacement) {
                    (false, _) => taken.push((0, index)),
                    (true, Some(argument)) => taken.push((1, call.row_of(argument, row))),
                    (true, None) => {}
                }
            }
        }
        lengths.push(taken.len() - before);
    }
    let sources: Vec<&dyn Array> = std::iter::once(values.as_ref()).chain(given.as_deref()).collect();
    let chosen = arrow::compute::interleave(&sources, &taken)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(std::sync::Arc::new(ListArray::try_new(field.clone(), offsets, chosen, Some(NullBuffer::from(valid)))?))
}

fn remove(call: &Call) -> Result<ArrayRef> {
    one_dimensional(call, "removing elements from multidimensional arrays is not supported")?;
    elements(call, None)
}

fn replace(call: &Call) -> Result<ArrayRef> {
    elements(call, Some(2))
}

/// The array with lists of lists opened to their elements.
pub fn flat_items(array: &ArrayRef) -> Result<ArrayRef> {
    let Some(lists) = array.as_list_opt::<i32>() else { return Ok(array.clone()) };
    let Some(inner) = lists.values().as_list_opt::<i32>() else { return Ok(array.clone()) };
    let offset_of = |at: i32| inner.value_offsets().get(at as usize).copied().unwrap_or_default();
    let offsets: Vec<i32> = lists.value_offsets().iter().map(|at| offset_of(*at)).collect();
    let DataType::List(field) = inner.data_type() else { return Err(Error::internal("a list was expected")) };
    let offsets = arrow::buffer::OffsetBuffer::new(offsets.into());
    let opened = ListArray::try_new(field.clone(), offsets, inner.values().clone(), lists.nulls().cloned())?;
    flat_items(&(std::sync::Arc::new(opened) as ArrayRef))
}

fn to_string(call: &Call) -> Result<ArrayRef> {
    let style = std::sync::Arc::new(style::text_style(call.context()?));
    let items = flat_items(call.raw(0)?)?;
    let items = items.as_list_opt::<i32>().ok_or_else(|| Error::internal("an array was expected"))?;
    let ty = crate::encode::types::pg_type_of(items.values().data_type());
    let column =
        crate::encode::column::ColumnWriter::new(items.values().data_type(), ty, &style)?.bind(items.values())?;
    let mut text = Vec::new();
    let delimiters = call.text(1)?;
    let nulls = if call.len() > 2 { Some(call.text(2)?) } else { None };
    call.texts(|row, out| {
        let delimiter = some!(delimiters.get(row));
        let row_of_list = call.row_of(0, row);
        if items.is_null(row_of_list) {
            return Ok(None);
        }
        let bound = |at: usize| items.value_offsets().get(at).map_or(0, |offset| *offset as usize);
        let null = nulls.as_ref().and_then(|nulls| nulls.get(row));
        let mut first = true;
        for at in bound(row_of_list)..bound(row_of_list + 1) {
            if column.is_null(at) && null.is_none() {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push_str(delimiter);
            }
            text.clear();
            if column.write_text(at, &mut text)? {
                out.push_str(crate::encode::input::utf8(&text)?);
            } else if let Some(null) = null {
                out.push_str(null);
            }
        }
        Ok(Some(()))
    })
}

/// The array that an array is appended to decides the result's type.
fn second_type(args: &datafusion::logical_expr::ReturnFieldArgs) -> Result<DataType> {
    args.arg_fields.get(1).map(|field| field.data_type().clone()).ok_or_else(|| Error::internal("argument missing"))
}

fn random_uuid(call: &Call) -> Result<ArrayRef> {
    use std::fmt::Write;
    call.texts(|_, out| {
        write!(out, "{}", uuid::Uuid::new_v4()).map_err(|_| Error::internal("a uuid could not be written"))?;
        Ok(Some(()))
    })
}

pub(super) fn functions() -> Vec<Function> {
    let to_string_of = |context: &std::sync::Arc<crate::builtins::Context>, arguments| {
        Kernel::new("array_to_string", 395, Volatility::Stable, Returns::Fixed(DataType::Utf8), to_string)
            .with_context(context)
            .call(arguments)
    };
    vec![
        scalar(2176, "array_length(anyarray, int4) int4", length),
        scalar(2092, "array_upper(anyarray, int4) int4", length),
        scalar(2091, "array_lower(anyarray, int4) int4", lower),
        scalar(748, "array_ndims(anyarray) int4", dimension_count),
        scalar(3179, "cardinality(anyarray) int4", cardinality),
        scalar(3277, "array_position(anycompatiblearray, anycompatible) int4", position).not_strict(),
        scalar(3278, "array_position(anycompatiblearray, anycompatible, int4) int4", position).not_strict(),
        scalar(3218, "width_bucket(anycompatible, anycompatiblearray) int4", width_bucket),
        contextual(395, "array_to_string(anyarray, text) text", to_string_of),
        contextual(384, "array_to_string(anyarray, text, text) text", to_string_of).not_strict(),
        typed(3167, "array_remove(anycompatiblearray, anycompatible) anycompatiblearray", same_type, remove)
            .not_strict(),
        typed(
            3168,
            "array_replace(anycompatiblearray, anycompatible, anycompatible) anycompatiblearray",
            same_type,
            replace,
        )
        .not_strict(),
        typed(
            378,
            "array_append(anycompatiblearray, anycompatible) anycompatiblearray",
            same_type,
            array_operators::concatenate,
        )
        .not_strict(),
        typed(
            383,
            "array_cat(anycompatiblearray, anycompatiblearray) anycompatiblearray",
            same_type,
            array_operators::concatenate,
        )
        .not_strict(),
        typed(
            379,
            "array_prepend(anycompatible, anycompatiblearray) anycompatiblearray",
            second_type,
            array_operators::concatenate,
        )
        .not_strict(),
        super::build::volatile(3432, "gen_random_uuid() uuid", random_uuid),
        // The planner knows the type; it never asks this body.
        contextual(1619, "pg_typeof(any) regtype", |_, _| {
            Err(Error::internal(format!("pg_typeof of {} is answered by the planner", PgType::REGTYPE.oid)))
        })
        .not_strict(),
    ]
}
