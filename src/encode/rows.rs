//! Batches of Arrow to DataRow messages.
//!
//! Row by row over columns that were bound to the batch: one match on a small enum a value, no allocation, no virtual call.
//! Messages are built in a scratch that stays in the fastest cache and moved to the buffer in blocks.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;
use bytes::BytesMut;

use super::TextStyle;
use super::column::{Column, ColumnWriter};
use super::types::{Format, OutputColumn};
use crate::error::{Error, Result, SqlState};

/// Largest message and field: PostgreSQL's MaxAllocSize.
const MESSAGE_BYTES_MAX: usize = (1 << 30) - 1;

/// Bytes that gather before they are moved to the caller's buffer.
const BLOCK_BYTES: usize = 16 << 10;

/// Encodes the rows of one result.
#[derive(Debug)]
pub struct RowEncoder {
    writers: Vec<ColumnWriter>,
    formats: Vec<Format>,
    /// Whether all columns have one format: then it is decided once a batch.
    uniform: Option<Format>,
    /// The batch that the columns are bound to, while it is not finished.
    bound: Option<Bound>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Bound {
    arrays: Vec<ArrayRef>,
    columns: Vec<Column>,
}

impl RowEncoder {
    /// The encoder of batches of `schema`, shown as `columns`. `formats` is as Bind has it: none (text), one for all, or
    /// one a column; any other number is 08P01.
    pub fn new(schema: &Schema, columns: &[OutputColumn], formats: &[Format], style: &Arc<TextStyle>) -> Result<Self> {
        if schema.fields().len() != columns.len() {
            return Err(Error::internal(format!(
                "a result of {} columns came with {}",
                columns.len(),
                schema.fields().len()
            )));
        }
        let formats = formats_of(formats, columns.len())?;
        let writers = schema.fields().iter().zip(columns);
        let writers = writers.map(|(field, column)| ColumnWriter::new(field.data_type(), column.ty, style));
        let uniform = match formats.first() {
            Some(first) if formats.iter().all(|format| format == first) => Some(*first),
            _ => None,
        };
        Ok(Self { writers: writers.collect::<Result<_>>()?, formats, uniform, bound: None, scratch: Vec::new() })
    }

    /// Appends whole DataRow messages for the rows from `from_row` on, until the batch ends or `out` holds `bytes_max`
    /// bytes or more; tells how many rows that were. At least one row is encoded if there is one and `out` is below
    /// `bytes_max`. 54000 for a row of more than 1 GiB; `out` then holds only the rows before it.
    pub fn encode(
        &mut self,
        batch: &RecordBatch,
        from_row: usize,
        bytes_max: usize,
        out: &mut BytesMut,
    ) -> Result<usize> {
        let bound = match self.bound.take() {
            Some(bound) if bound.is_of(batch) => bound,
            _ => self.bind(batch)?,
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let rows = self.encode_bound(&bound, from_row..batch.num_rows(), bytes_max, &mut scratch, out);
        self.scratch = scratch;
        let rows = rows?;
        if from_row + rows < batch.num_rows() {
            self.bound = Some(bound);
        }
        Ok(rows)
    }

    fn bind(&self, batch: &RecordBatch) -> Result<Bound> {
        if batch.num_columns() != self.writers.len() {
            return Err(Error::internal("a batch has another number of columns than its schema"));
        }
        let columns = self.writers.iter().zip(batch.columns()).map(|(writer, array)| writer.bind(array));
        Ok(Bound { columns: columns.collect::<Result<_>>()?, arrays: batch.columns().to_vec() })
    }

    fn encode_bound(
        &self,
        bound: &Bound,
        rows: std::ops::Range<usize>,
        bytes_max: usize,
        scratch: &mut Vec<u8>,
        out: &mut BytesMut,
    ) -> Result<usize> {
        let mut encoded = 0;
        for row in rows {
            if out.len() + scratch.len() >= bytes_max {
                break;
            }
            let start = scratch.len();
            if let Err(error) = self.encode_row(&bound.columns, row, scratch) {
                scratch.truncate(start);
                out.extend_from_slice(scratch);
                return Err(error);
            }
            encoded += 1;
            if scratch.len() >= BLOCK_BYTES {
                out.extend_from_slice(scratch);
                scratch.clear();
            }
        }
        out.extend_from_slice(scratch);
        Ok(encoded)
    }

    /// One message: tag, length, number of columns, values.
    #[inline]
    fn encode_row(&self, columns: &[Column], row: usize, scratch: &mut Vec<u8>) -> Result<()> {
        let start = scratch.len();
        let [high, low] = (columns.len() as u16).to_be_bytes();
        scratch.extend_from_slice(&[b'D', 0, 0, 0, 0, high, low]);
        match self.uniform {
            Some(Format::Text) => {
                for column in columns {
                    column.write_text_field(row, scratch)?;
                }
            }
            Some(Format::Binary) => {
                for column in columns {
                    column.write_binary_field(row, scratch)?;
                }
            }
            None => {
                for (column, format) in columns.iter().zip(&self.formats) {
                    match format {
                        Format::Text => column.write_text_field(row, scratch)?,
                        Format::Binary => column.write_binary_field(row, scratch)?,
                    }
                }
            }
        }
        // The length counts itself but not the tag.
        let length = scratch.len() - start - 1;
        if length > MESSAGE_BYTES_MAX {
            return Err(too_large(length));
        }
        if let Some([_, room @ .., _, _]) = scratch.get_mut(start..).and_then(|row| row.first_chunk_mut::<7>()) {
            *room = (length as u32).to_be_bytes();
        }
        Ok(())
    }
}

impl Bound {
    fn is_of(&self, batch: &RecordBatch) -> bool {
        self.arrays.len() == batch.num_columns()
            && self.arrays.iter().zip(batch.columns()).all(|(left, right)| Arc::ptr_eq(left, right))
    }
}

#[cold]
fn too_large(length: usize) -> Error {
    Error::new(SqlState::ProgramLimitExceeded, "a row is too large to be sent")
        .with_detail(format!("The message has {length} bytes; the limit is {MESSAGE_BYTES_MAX}."))
}

/// One format a column, from the list that Bind has.
pub fn formats_of(formats: &[Format], columns: usize) -> Result<Vec<Format>> {
    match formats {
        [] => Ok(vec![Format::Text; columns]),
        [one] => Ok(vec![*one; columns]),
        many if many.len() == columns => Ok(many.to_vec()),
        many => Err(Error::new(
            SqlState::ProtocolViolation,
            format!("bind message has {} result formats but query has {columns} columns", many.len()),
        )),
    }
}
