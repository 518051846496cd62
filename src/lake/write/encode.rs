//! Rows of the engine as data files hold them: Delta's types only, without the partition columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result, SqlState};
use crate::lake::interval;

/// A value that does not fit its column is an error, never null.
const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// How the columns of a table's rows are stored.
#[derive(Debug, Clone)]
pub(super) struct Encoding {
    engine: SchemaRef,
    /// Positions of the columns inside the files.
    stored: Vec<usize>,
    file_schema: SchemaRef,
    /// Positions of the partition columns, in the order of the partitioning.
    partition: Vec<usize>,
    /// Positions of the columns of one byte, which the engine has none of.
    bytes: Vec<usize>,
}

impl Encoding {
    /// `types` are those that the columns are stored in.
    pub(super) fn new(engine: &SchemaRef, types: &[DataType], partition_columns: &[String]) -> Self {
        let fields = engine.fields();
        let is_partition = |index: &usize| fields.get(*index).is_some_and(|f| partition_columns.contains(f.name()));
        let stored: Vec<usize> = (0..fields.len()).filter(|index| !is_partition(index)).collect();
        let file_fields = stored
            .iter()
            .filter_map(|index| fields.get(*index).zip(types.get(*index)))
            .map(|(field, stored)| Field::new(field.name(), stored.clone(), field.is_nullable()));
        let partition = partition_columns.iter().filter_map(|name| engine.index_of(name).ok()).collect();
        Self {
            file_schema: Arc::new(Schema::new(file_fields.collect::<Vec<_>>())),
            engine: Arc::clone(engine),
            stored,
            partition,
            bytes: (0..types.len()).filter(|index| types.get(*index) == Some(&DataType::Int8)).collect(),
        }
    }

    /// The schema of the data files.
    pub(super) fn file_schema(&self) -> &SchemaRef {
        &self.file_schema
    }

    pub(super) fn is_partitioned(&self) -> bool {
        !self.partition.is_empty()
    }

    /// Names of the partition columns, in their order.
    pub(super) fn partition_fields(&self) -> impl Iterator<Item = &Arc<Field>> {
        self.partition.iter().filter_map(|index| self.engine.fields().get(*index))
    }

    /// The partition columns of the rows, in the engine's types.
    pub(super) fn partition_arrays(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let columns = self.partition.iter().zip(self.partition_fields());
        columns
            .map(|(index, field)| {
                let array = batch.column(*index);
                let checked =
                    if self.bytes.contains(index) { store(array, &DataType::Int8)? } else { Arc::clone(array) };
                to_type(&checked, field.data_type())
            })
            .collect()
    }

    /// The rows as a data file holds them.
    ///
    /// # Errors
    /// 22003 and its kin for a value that does not fit; XX000 when the rows are not of the table's shape.
    pub(super) fn encode(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if batch.num_columns() != self.engine.fields().len() {
            return Err(Error::internal(format!(
                "rows with {} columns are written to a table of {}",
                batch.num_columns(),
                self.engine.fields().len()
            )));
        }
        let columns = self.stored.iter().zip(self.file_schema.fields());
        let columns = columns.map(|(index, field)| store(batch.column(*index), field.data_type()));
        Ok(RecordBatch::try_new(Arc::clone(&self.file_schema), columns.collect::<Result<_>>()?)?)
    }
}

fn store(array: &ArrayRef, stored: &DataType) -> Result<ArrayRef> {
    match (array.data_type(), stored) {
        (DataType::Interval(_), DataType::Utf8View) => {
            let intervals = to_type(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            match interval::as_intervals(&intervals) {
                Some(intervals) => Ok(Arc::new(interval::encode(intervals))),
                None => Err(Error::internal("an interval was cast to something else")),
            }
        }
        (DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond), DataType::Int64) => {
            to_type(&to_type(array, &DataType::Time64(TimeUnit::Microsecond))?, stored)
        }
        (_, DataType::Int8) => to_type(array, stored).map_err(|error| {
            let message = "value out of range for a column of one byte";
            Error::new(SqlState::NumericValueOutOfRange, message).with_source(error)
        }),
        _ => to_type(array, stored),
    }
}

fn to_type(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    Ok(cast_with_options(array, wanted, &STRICT)?)
}
