//! Values of a failing row as the session would show them.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use crate::encode::TextStyle;
use crate::encode::column::ColumnWriter;
use crate::encode::types::PgType;
use crate::quality::RowText;

/// By the columns' PostgreSQL types.
#[derive(Debug)]
pub(super) struct SessionText {
    pub(super) types: Vec<PgType>,
    pub(super) style: Arc<TextStyle>,
}

impl RowText for SessionText {
    fn value(&self, batch: &RecordBatch, column: usize, row: usize) -> String {
        self.written(batch, column, row).unwrap_or_else(|| "?".to_owned())
    }
}

impl SessionText {
    fn written(&self, batch: &RecordBatch, column: usize, row: usize) -> Option<String> {
        let (array, ty) = (batch.columns().get(column)?, self.types.get(column)?);
        let writer = ColumnWriter::new(array.data_type(), *ty, &self.style).ok()?;
        let mut text = Vec::new();
        // One row is told, so one is bound.
        writer.bind(&array.slice(row, 1)).ok()?.write_text(0, &mut text).ok()?;
        String::from_utf8(text).ok()
    }
}
