//! Operators of arrays: `||`, `@>`, `<@`, `&&`.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, Rows, SortField};

use super::arrays::flat_items;
use super::kernel::Call;
use crate::error::{Error, Result};

/// The element type of the result or operand that is a list.
fn element_type(ty: &DataType) -> Option<DataType> {
    match ty {
        DataType::List(field) | DataType::LargeList(field) => Some(field.data_type().clone()),
        _ => None,
    }
}

/// The array as lists of `element`; an element stands for a list of one.
fn lists(array: ArrayRef, element: &DataType) -> Result<ListArray> {
    let field = Arc::new(Field::new("item", element.clone(), true));
    let wanted = DataType::List(field.clone());
    if element_type(array.data_type()).is_some() {
        let array = if *array.data_type() == wanted { array } else { crate::encode::cast(&array, &wanted)? };
        return array.as_list_opt::<i32>().cloned().ok_or_else(|| Error::internal("an array was expected"));
    }
    let values = if array.data_type() == element { array } else { crate::encode::cast(&array, element)? };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, values.len()));
    Ok(ListArray::try_new(field, offsets, values, None)?)
}

/// A NULL array adds nothing; both NULL give NULL.
pub fn concatenate(call: &Call) -> Result<ArrayRef> {
    let element = element_type(call.returns).ok_or_else(|| Error::internal("an array was expected"))?;
    let (left, right) = (lists(call.expanded(0)?, &element)?, lists(call.expanded(1)?, &element)?);
    let mut lengths = Vec::with_capacity(left.len());
    let mut valid = Vec::with_capacity(left.len());
    let mut pieces: Vec<ArrayRef> = Vec::new();
    for row in 0..left.len() {
        let mut length = 0;
        for list in [&left, &right] {
            if list.is_valid(row) {
                let items = list.value(row);
                length += items.len();
                if !items.is_empty() {
                    pieces.push(items);
                }
            }
        }
        lengths.push(length);
        valid.push(left.is_valid(row) || right.is_valid(row));
    }
    let parts: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
    let values = if parts.is_empty() { new_empty_array(&element) } else { arrow::compute::concat(&parts)? };
    let field = Arc::new(Field::new("item", element, true));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, Some(NullBuffer::from(valid)))?))
}

/// What two lists of a row have to do with each other.
#[derive(Clone, Copy)]
enum Relation {
    /// The first holds every element of the second.
    Contains,
    ContainedBy,
    Overlaps,
}

pub fn contains(call: &Call) -> Result<ArrayRef> {
    related(call, Relation::Contains)
}
pub fn contained(call: &Call) -> Result<ArrayRef> {
    related(call, Relation::ContainedBy)
}
pub fn overlaps(call: &Call) -> Result<ArrayRef> {
    related(call, Relation::Overlaps)
}

/// Compares elements by their row encoding, whatever the arrays' dimensions; NULL elements equal nothing.
fn related(call: &Call, relation: Relation) -> Result<ArrayRef> {
    let (left, right) = (flat_items(&call.expanded(0)?)?, flat_items(&call.expanded(1)?)?);
    let element = element_type(left.data_type()).ok_or_else(|| Error::internal("an array was expected"))?;
    let (left, right) = (lists(left, &element)?, lists(right, &element)?);
    let converter = RowConverter::new(vec![SortField::new(element)])?;
    let left_rows = converter.convert_columns(&[left.values().clone()])?;
    let right_rows = converter.convert_columns(&[right.values().clone()])?;
    call.booleans(|row| {
        if left.is_null(row) || right.is_null(row) {
            return Ok(None);
        }
        let (holder, holder_rows, items, item_rows) = match relation {
            Relation::Contains | Relation::Overlaps => (&left, &left_rows, &right, &right_rows),
            Relation::ContainedBy => (&right, &right_rows, &left, &left_rows),
        };
        let held: HashSet<&[u8]> = present(holder, holder_rows, row).flatten().collect();
        let mut wanted = present(items, item_rows, row);
        let is_held = |item: Option<&[u8]>| item.is_some_and(|item| held.contains(item));
        Ok(Some(match relation {
            Relation::Overlaps => wanted.any(is_held),
            Relation::Contains | Relation::ContainedBy => wanted.all(is_held),
        }))
    })
}

/// The encoded elements of one list; `None` is NULL.
fn present<'r>(list: &'r ListArray, rows: &'r Rows, row: usize) -> impl Iterator<Item = Option<&'r [u8]>> {
    let offsets = list.value_offsets();
    let start = offsets.get(row).copied().unwrap_or(0) as usize;
    let end = offsets.get(row + 1).copied().unwrap_or(0) as usize;
    (start..end).map(|at| list.values().is_valid(at).then(|| rows.row(at).data()))
}
