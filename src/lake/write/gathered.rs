//! Rows of more partitions than files can be open: gathered until they are many, then cut up partition by partition. Writing
//! each batch at once would make a file of every few rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, Row, Rows};

use super::partition::Splitter;
use crate::error::Result;

/// Rows that wait.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    batches: Vec<Batch>,
    bytes: usize,
}

#[derive(Debug)]
struct Batch {
    /// The partition columns.
    keys: Vec<ArrayRef>,
    /// The same, comparable.
    rows: Rows,
    stored: RecordBatch,
}

/// The rows of one partition.
pub(super) struct Part {
    pub(super) key: OwnedRow,
    /// Partition columns and the number of a row of them with the partition's values.
    pub(super) keys: Vec<ArrayRef>,
    pub(super) row: usize,
    pub(super) stored: RecordBatch,
}

impl Gathered {
    pub(super) fn push(&mut self, splitter: &Splitter, keys: Vec<ArrayRef>, stored: &RecordBatch) -> Result<()> {
        let rows = splitter.rows(&keys)?;
        let columns = stored.columns().iter().map(compact).collect();
        let stored = RecordBatch::try_new(stored.schema(), columns)?;
        let of_keys: usize = keys.iter().map(|key| key.get_array_memory_size()).sum();
        self.bytes += rows.size() + of_keys + stored.get_array_memory_size();
        self.batches.push(Batch { keys, rows, stored });
        Ok(())
    }

    /// Bytes of memory that the rows take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows, partition by partition, in the order in which the partitions came up.
    pub(super) fn parts(&self) -> impl Iterator<Item = Result<Part>> {
        let mut order = Vec::new();
        let mut groups: HashMap<Row<'_>, Vec<(usize, usize)>> = HashMap::new();
        for (batch, rows) in self.batches.iter().map(|batch| &batch.rows).enumerate() {
            for (number, row) in rows.iter().enumerate() {
                let group = groups.entry(row).or_default();
                if group.is_empty() {
                    order.push(row);
                }
                group.push((batch, number));
            }
        }
        let stored: Vec<&RecordBatch> = self.batches.iter().map(|batch| &batch.stored).collect();
        order.into_iter().filter_map(move |row| {
            let places = groups.remove(&row)?;
            let (batch, number) = places.first().copied()?;
            let keys = self.batches.get(batch)?.keys.clone();
            let stored = interleave_record_batch(&stored, &places);
            Some(stored.map(|stored| Part { key: row.owned(), keys, row: number, stored }).map_err(Into::into))
        })
    }
}

/// The column without the bytes that only other rows need: those would be held for as long as these wait.
fn compact(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => Arc::clone(array),
    }
}
