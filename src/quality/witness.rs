//! Who sees the rows of one scan, batch by batch, for rules of different kinds.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::watch::Watch;
use crate::error::Result;

/// Sees columns of all rows: each row once, batches in any order and from several threads at a time.
pub trait Witness: Send + Sync + std::fmt::Debug {
    /// # Errors
    /// What ends the scan.
    fn see(&self, columns: &[ArrayRef]) -> Result<()>;
}

/// Rules about each row that are asked while rows are read. None of them leaves rows out.
#[derive(Debug)]
pub struct ReadingWatch {
    pub watch: Arc<Watch>,
    /// Of the rows as they are read.
    pub rows: SchemaRef,
}

impl Witness for ReadingWatch {
    fn see(&self, columns: &[ArrayRef]) -> Result<()> {
        let rows = columns.first().map(|column| column.len());
        let options = RecordBatchOptions::new().with_row_count(rows);
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.rows), columns.to_vec(), &options)?;
        drop(self.watch.ask(&batch, None)?);
        Ok(())
    }
}
