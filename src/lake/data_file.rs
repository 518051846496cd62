//! The data files of one version: where they are, their partition's values, and what the log says about their content.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use deltalake::kernel::{DeletionVectorDescriptor, LogicalFileView};
use object_store::path::Path;
use roaring::RoaringTreemap;
use serde_json::Value;

use super::history::LoggedFile;
use super::stores::Resolved;
use super::stores::bounds::{Allowed, may_stray};
use super::vectors;
use crate::error::{Error, Result, SqlState};

/// Decimals go through a double in some writers' statistics; these digits survive it.
const EXACT_DECIMAL_DIGITS: u8 = 15;

/// Bytes of a value of a type without a fixed width, when nothing is known about them.
const VALUE_BYTES_GUESS: usize = 16;

/// One data file.
#[derive(Debug)]
pub(super) struct DataFile {
    /// Key in the store.
    pub(super) path: Path,
    /// Path as the log has it, decoded.
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified_ms: i64,
    /// In the order of the table's partition columns.
    pub(super) partition: Vec<ScalarValue>,
    /// Of the file's columns and then the partition columns.
    pub(super) statistics: Arc<Statistics>,
    /// Which of its rows are deleted.
    pub(super) vector: Option<DeletionVectorDescriptor>,
    /// The rows of `vector`, once they were read.
    pub(super) deleted: OnceLock<Arc<RoaringTreemap>>,
    /// Whether only delta-rs can read it: it is outside the table's folder.
    pub(super) special: bool,
    /// Whether delta-rs could look for it, or for its deletion vector, outside the table's folder.
    pub(super) strays: bool,
}

/// What tells a file from others: its name, and its deleted rows.
pub(super) type Identity = (String, Option<String>);

/// The same of an entry of the log.
pub(super) fn identity(view: &LogicalFileView) -> Identity {
    let vector = view.deletion_vector_descriptor();
    (view.path().into_owned(), vector.as_ref().map(vector_id))
}

fn vector_id(vector: &DeletionVectorDescriptor) -> String {
    format!("{}@{:?}", vector.path_or_inline_dv, vector.offset)
}

/// Columns of files and partitions, which log entries are read with.
pub(super) struct Layout<'a> {
    pub(super) root: &'a Path,
    /// Columns inside the files, in the engine's types.
    pub(super) file: &'a Schema,
    pub(super) partition: &'a Schema,
}

impl DataFile {
    /// Reads a file's entry of the log.
    ///
    /// # Errors
    /// XX001 when a partition's value is not of its column's type.
    pub(super) fn from_log(view: &LogicalFileView, layout: &Layout<'_>) -> Result<Self> {
        let name = view.path().into_owned();
        let absolute = name.contains("://") || name.starts_with('/');
        let path: Path = layout.root.parts().chain(view.object_store_path().parts()).collect();
        let partition = partition_values(&view.partition_values_map(), layout.partition)?;
        let mut statistics = file_statistics(view.stats().as_deref(), layout.file);
        statistics.total_byte_size = Precision::Absent;
        let rows = statistics.num_rows;
        statistics.column_statistics.extend(partition.iter().map(|value| partition_statistics(value, rows)));
        let vector = view.deletion_vector_descriptor();
        Ok(Self {
            path,
            bytes: u64::try_from(view.size()).unwrap_or(0),
            modified_ms: view.modification_time(),
            partition,
            statistics: Arc::new(statistics),
            special: absolute,
            strays: may_stray(&name) || vector.as_ref().is_some_and(vectors::may_stray),
            vector,
            name,
            deleted: OnceLock::new(),
        })
    }

    /// Refuses a deletion vector, and a file that delta-rs opens, outside of the table's folder where the log's writer need not have had rights.
    /// On the local disk it blocks.
    ///
    /// # Errors
    /// 42501, 0A000 for another store, XX001 for a vector of which nobody knows where it is.
    pub(super) fn check_place(&self, table: &Resolved, by_delta_rs: bool, allowed: &mut Allowed) -> Result<()> {
        if by_delta_rs {
            table.bounds.check(table, &self.name, allowed)?;
        }
        self.vector.as_ref().map_or(Ok(()), |vector| vectors::check_place(table, vector, allowed))
    }

    /// A file that an action names, of which nothing more is known than its size, with constants behind its partition's values.
    pub(super) fn from_action(
        logged: &LoggedFile,
        path: Path,
        bytes: u64,
        layout: &Layout<'_>,
        constants: impl IntoIterator<Item = ScalarValue>,
    ) -> Result<Self> {
        let mut partition = partition_values(&logged.partition, layout.partition)?;
        partition.extend(constants);
        let mut statistics = Statistics::new_unknown(layout.file);
        let rows = Precision::Absent;
        statistics.column_statistics.extend(partition.iter().map(|value| partition_statistics(value, rows)));
        Ok(Self {
            path,
            name: logged.name.clone(),
            bytes,
            modified_ms: 0,
            partition,
            statistics: Arc::new(statistics),
            vector: None,
            deleted: OnceLock::new(),
            special: false,
            strays: false,
        })
    }

    pub(super) fn identity(&self) -> Identity {
        (self.name.clone(), self.vector.as_ref().map(vector_id))
    }

    /// Number of rows, when the log has it.
    pub(super) fn rows(&self) -> Option<u64> {
        let deleted = self.vector.as_ref().map_or(0, |vector| u64::try_from(vector.cardinality).unwrap_or(0));
        self.stored_rows()?.checked_sub(deleted)
    }

    /// The same with its deleted rows.
    pub(super) fn stored_rows(&self) -> Option<u64> {
        match self.statistics.num_rows {
            Precision::Exact(rows) => Some(rows as u64),
            Precision::Inexact(_) | Precision::Absent => None,
        }
    }
}

/// The files of a version. Entries that the version before had are taken over, not read again.
pub(super) fn read_all(
    views: impl Iterator<Item = LogicalFileView>,
    layout: &Layout<'_>,
    before: &[Arc<DataFile>],
) -> Result<Vec<Arc<DataFile>>> {
    let known: HashMap<&str, &Arc<DataFile>> = before.iter().map(|file| (file.name.as_str(), file)).collect();
    views
        .map(|view| match known.get(view.path().as_ref()) {
            // A file that got deleted rows since is another one; one that got statistics tells more.
            Some(file)
                if file.vector == view.deletion_vector_descriptor()
                    && (file.stored_rows().is_some() || view.num_records().is_none()) =>
            {
                Ok(Arc::clone(file))
            }
            Some(_) | None => DataFile::from_log(&view, layout).map(Arc::new),
        })
        .collect()
}

fn partition_values(values: &HashMap<String, Option<String>>, schema: &Schema) -> Result<Vec<ScalarValue>> {
    let fields = schema.fields().iter();
    fields
        .map(|field| partition_value(values.get(field.name()).and_then(Option::as_deref), field.data_type()))
        .collect()
}

/// A partition's value from its text; an empty text is null in Delta.
fn partition_value(text: Option<&str>, data_type: &DataType) -> Result<ScalarValue> {
    let text = text.filter(|text| !text.is_empty());
    let value = match text {
        None => ScalarValue::try_from(data_type),
        Some(text) => ScalarValue::try_from_string(text.to_owned(), data_type),
    };
    value.map_err(|error| {
        let message = format!("invalid partition value \"{}\" in a table's log", text.unwrap_or_default());
        Error::new(SqlState::DataCorrupted, message).with_source(error)
    })
}

fn partition_statistics(value: &ScalarValue, rows: Precision<usize>) -> ColumnStatistics {
    let width = value.data_type().primitive_width().unwrap_or_else(|| value_bytes(value));
    let byte_size = rows.multiply(&Precision::Exact(width));
    if value.is_null() {
        return ColumnStatistics { null_count: rows, byte_size, ..ColumnStatistics::new_unknown() };
    }
    ColumnStatistics {
        null_count: Precision::Exact(0),
        byte_size,
        min_value: Precision::Exact(value.clone()),
        max_value: Precision::Exact(value.clone()),
        ..ColumnStatistics::new_unknown()
    }
}

fn file_statistics(json: Option<&str>, schema: &Schema) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    let Some(Value::Object(stats)) = json.and_then(|json| serde_json::from_str(json).ok()) else { return statistics };
    let Some(rows) = count(stats.get("numRecords")) else { return statistics };
    statistics.num_rows = Precision::Exact(rows);
    // Bounds that deleted rows made loose still hold, but are not values of the column.
    let tight = stats.get("tightBounds").and_then(Value::as_bool).unwrap_or(true);
    let of = |key: &str, name: &str| stats.get(key).and_then(|values| values.get(name));
    for (field, column) in schema.fields().iter().zip(&mut statistics.column_statistics) {
        if let Some(nulls) = count(of("nullCount", field.name())).filter(|_| tight) {
            column.null_count = Precision::Exact(nulls);
        }
        let bound = |value: Option<&Value>, upper| value.and_then(|value| bound(value, field.data_type(), upper));
        column.min_value = precision(bound(of("minValues", field.name()), false), tight);
        column.max_value = precision(bound(of("maxValues", field.name()), true), tight);
        column.byte_size = byte_size(field.data_type(), column, rows);
    }
    statistics
}

/// Bytes of a column in memory, which joins are planned by. For texts a guess from the lengths of the bounds.
fn byte_size(data_type: &DataType, column: &ColumnStatistics, rows: usize) -> Precision<usize> {
    if let Some(width) = data_type.primitive_width() {
        return Precision::Exact(rows.saturating_mul(width));
    }
    let of_bound = |bound: &Precision<ScalarValue>| bound.get_value().map(value_bytes);
    let width = match (of_bound(&column.min_value), of_bound(&column.max_value)) {
        (Some(least), Some(greatest)) => least.midpoint(greatest),
        _ => VALUE_BYTES_GUESS,
    };
    Precision::Inexact(rows.saturating_mul(width))
}

fn value_bytes(value: &ScalarValue) -> usize {
    value.try_as_str().flatten().map_or(VALUE_BYTES_GUESS, str::len)
}

fn count(value: Option<&Value>) -> Option<usize> {
    value?.as_u64().and_then(|count| usize::try_from(count).ok())
}

fn precision(bound: Option<(ScalarValue, bool)>, tight: bool) -> Precision<ScalarValue> {
    match bound {
        Some((value, true)) if tight => Precision::Exact(value),
        Some((value, _)) => Precision::Inexact(value),
        None => Precision::Absent,
    }
}

/// A bound of a column and whether it is one of the column's values. `None` for what has no bounds or is not understood.
fn bound(value: &Value, data_type: &DataType, upper: bool) -> Option<(ScalarValue, bool)> {
    let scalar = match data_type {
        DataType::Boolean => (ScalarValue::Boolean(Some(value.as_bool()?)), true),
        DataType::Int16 => (ScalarValue::Int16(Some(value.as_i64()?.try_into().ok()?)), true),
        DataType::Int32 => (ScalarValue::Int32(Some(value.as_i64()?.try_into().ok()?)), true),
        DataType::Int64 => (ScalarValue::Int64(Some(value.as_i64()?)), true),
        DataType::Time64(TimeUnit::Microsecond) => (ScalarValue::Time64Microsecond(Some(value.as_i64()?)), true),
        // NaN stands in no bound, so the largest value may be another.
        DataType::Float32 => (ScalarValue::Float32(Some(value.as_f64()? as f32)), false),
        DataType::Float64 => (ScalarValue::Float64(Some(value.as_f64()?)), false),
        DataType::Decimal128(precision, _) if *precision <= EXACT_DECIMAL_DIGITS => {
            let text = value.as_number()?.to_string();
            (ScalarValue::try_from_string(text, data_type).ok()?, true)
        }
        DataType::Date32 => (ScalarValue::try_from_string(value.as_str()?.to_owned(), data_type).ok()?, true),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let text = value.as_str()?.to_owned();
            let micros = match ScalarValue::try_from_string(text, data_type).ok()? {
                ScalarValue::TimestampMicrosecond(Some(micros), _) => micros,
                _ => return None,
            };
            // Some writers cut timestamps to milliseconds, which moves an upper bound below the values.
            let micros = if upper && micros % 1000 == 0 { micros.checked_add(999)? } else { micros };
            (ScalarValue::TimestampMicrosecond(Some(micros), zone.clone()), false)
        }
        // Long strings are cut, upper bounds then get a larger last character.
        DataType::Utf8View => (ScalarValue::Utf8View(Some(value.as_str()?.to_owned())), false),
        _ => return None,
    };
    Some(scalar)
}
