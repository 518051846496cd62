//! One column's values, written one by one in text or binary.
//!
//! ```text
//! ColumnWriter  (Arrow type × PostgreSQL type × style: chosen once a result)
//!    └─ bind(array) → Column  (typed buffers of one batch: a small enum, all state inline)
//!          └─ push_text(row), push_binary(row)
//! ```
//!
//! Arrow types that are not the engine's own carrier of the PostgreSQL type (dictionaries, other units and widths) are cast to
//! it, a batch at a time; the carriers themselves are used where they lie.

mod array;
mod json;
mod plan;
mod value;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::TextStyle;
use super::text::push_block;
use super::types::PgType;
use crate::error::Result;
use plan::Plan;
use value::Values;

/// How a column is written: chosen once, used for every batch. Shared with COPY.
#[derive(Debug, Clone)]
pub struct ColumnWriter {
    plan: Plan,
}

impl ColumnWriter {
    /// The writer of arrays of `data_type` that are shown as `ty`. 0A000 for a pair that cannot be.
    pub fn new(data_type: &DataType, ty: PgType, style: &Arc<TextStyle>) -> Result<Self> {
        Ok(Self { plan: Plan::new(data_type, ty, style)? })
    }

    /// Makes the array's values ready. The array has the type that the writer was made for.
    pub fn bind(&self, array: &ArrayRef) -> Result<Column> {
        let array = self.plan.cast(array)?;
        let values = self.plan.values(&array)?;
        Ok(Column { nulls: array.logical_nulls(), values })
    }
}

/// A bound column: the values of one batch.
#[derive(Debug)]
pub struct Column {
    nulls: Option<NullBuffer>,
    values: Values,
}

impl Column {
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the text of a row's value and tells true, or tells false for NULL. Allocates nothing but `out`'s room, save
    /// for object names and values inside arrays that need quotes.
    #[inline]
    pub fn write_text(&self, row: usize, out: &mut Vec<u8>) -> Result<bool> {
        if self.is_null(row) {
            return Ok(false);
        }
        self.values.push_text(row, out)?;
        Ok(true)
    }

    /// Appends the binary form of a row's value and tells true, or tells false for NULL.
    #[inline]
    pub fn write_binary(&self, row: usize, out: &mut Vec<u8>) -> Result<bool> {
        if self.is_null(row) {
            return Ok(false);
        }
        self.values.push_binary(row, out)?;
        Ok(true)
    }

    /// Appends the length and the text, as DataRow has them.
    #[inline]
    pub(super) fn write_text_field(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.is_null(row) {
            out.extend_from_slice(&NULL_LENGTH);
            return Ok(());
        }
        if self.values.push_string_field(row, out) {
            return Ok(());
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        self.values.push_text(row, out)?;
        set_length(out, start);
        Ok(())
    }

    /// Appends the length and the binary form, as DataRow and COPY's binary format have them.
    #[inline]
    pub fn write_binary_field(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.is_null(row) {
            out.extend_from_slice(&NULL_LENGTH);
            return Ok(());
        }
        self.values.push_binary_field(row, out)
    }
}

/// Bytes that a string view holds itself.
const MAX_INLINE_VIEW_LEN: u32 = 12;

/// The length of NULL: -1.
const NULL_LENGTH: [u8; 4] = (-1_i32).to_be_bytes();

/// Writes the length of what follows the four bytes at `start`.
#[inline]
fn set_length(out: &mut [u8], start: usize) {
    let length = (out.len() - start).saturating_sub(4) as u32;
    if let Some(room) = out.get_mut(start..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *room = length.to_be_bytes();
    }
}

/// A length and a string.
#[inline]
fn push_str_field(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

/// A length and a string that lies inside its view: both in one copy of a constant size. Tells whether it does.
#[inline]
fn push_inline_field(out: &mut Vec<u8>, view: u128) -> bool {
    let length = view as u32;
    if length > MAX_INLINE_VIEW_LEN {
        return false;
    }
    let mut field = view.to_le_bytes();
    if let Some(room) = field.first_chunk_mut::<4>() {
        *room = length.to_be_bytes();
    }
    push_block(out, &field, 4 + length as usize);
    true
}
