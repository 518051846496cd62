//! Values of a column as text or binary, column by column, through the writers that the row encoder uses too.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;

use crate::encode::TextStyle;
use crate::encode::column::ColumnWriter;
use crate::encode::types::OutputColumn;
use crate::error::{Error, Result};

/// Takes a column's values in row order.
pub(super) trait Sink {
    /// Begins a new slice of rows.
    fn clear(&mut self);
    fn null(&mut self);
    /// `write` appends the value's bytes.
    fn value(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()>;
}

/// Fields of one column, one after the other.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<usize>,
}

impl Fields {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Ends the field that was appended to `bytes`.
    #[inline]
    pub(super) fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        self.ends.get(row).and_then(|end| self.bytes.get(start..*end)).unwrap_or_default()
    }
}

/// The writers of a result's columns, made when the first batch tells their Arrow types.
#[derive(Debug)]
pub(super) struct Writers {
    columns: Vec<OutputColumn>,
    style: Arc<TextStyle>,
    made: Vec<(DataType, ColumnWriter)>,
    is_binary: bool,
}

impl Writers {
    pub(super) fn new(columns: Vec<OutputColumn>, style: TextStyle, is_binary: bool) -> Self {
        Self { columns, style: Arc::new(style), made: Vec::new(), is_binary }
    }

    pub(super) fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    /// Gives the values of `rows` to the columns' sinks. Errors: 0A000 for an Arrow type that cannot be shown as the column's.
    pub(super) fn visit<S: Sink>(&mut self, batch: &RecordBatch, rows: Range<usize>, sinks: &mut [S]) -> Result<()> {
        self.prepare(batch)?;
        for ((array, (_, writer)), sink) in batch.columns().iter().zip(&self.made).zip(sinks) {
            sink.clear();
            // Only the slice is bound: a cast, where the type needs one, is not repeated for the whole batch.
            let column = writer.bind(&array.slice(rows.start, rows.len()))?;
            for row in 0..rows.len() {
                if column.is_null(row) {
                    sink.null();
                } else if self.is_binary {
                    sink.value(|out| column.write_binary(row, out).map(|_| ()))?;
                } else {
                    sink.value(|out| column.write_text(row, out).map(|_| ()))?;
                }
            }
        }
        Ok(())
    }

    fn prepare(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_columns() != self.columns.len() {
            return Err(Error::internal("a batch has other columns than COPY was told"));
        }
        let known = self.made.len() == self.columns.len()
            && self.made.iter().zip(batch.columns()).all(|((made, _), array)| made == array.data_type());
        if !known {
            let pairs = self.columns.iter().zip(batch.columns());
            let writer = |(column, array): (&OutputColumn, &arrow::array::ArrayRef)| {
                let data_type = array.data_type().clone();
                ColumnWriter::new(&data_type, column.ty, &self.style).map(|writer| (data_type, writer))
            };
            self.made = pairs.map(writer).collect::<Result<_>>()?;
        }
        Ok(())
    }
}
