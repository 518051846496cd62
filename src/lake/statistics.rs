//! The statistics of a new file for Delta's log, from the metadata that the Parquet writer gives back.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;
use serde_json::Value;

use crate::error::Result;

const FORMAT: FormatOptions<'static> = FormatOptions::new()
    .with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.6f"))
    .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.6fZ"));

/// Delta's JSON of one file: number of rows, and bounds and nulls of the first `columns_max` columns.
pub(super) fn to_json(
    metadata: &ParquetMetaData,
    floats: &FloatBounds,
    schema: &Schema,
    columns_max: usize,
) -> Result<String> {
    let mut bounds = Bounds::default();
    for (index, field) in schema.fields().iter().enumerate().take(columns_max) {
        if let Some(float) = floats.0.iter().find(|float| float.column == index) {
            bounds.add_float(field.name(), float);
        } else if !field.data_type().is_nested() {
            bounds.add(metadata, schema, field.name())?;
        }
    }
    let rows = metadata.file_metadata().num_rows();
    Ok(format!(
        "{{\"numRecords\":{rows},\"minValues\":{{{}}},\"maxValues\":{{{}}},\"nullCount\":{{{}}}}}",
        bounds.min.join(","),
        bounds.max.join(","),
        bounds.nulls.join(",")
    ))
}

/// Bounds of the float columns of a file. Parquet's own leave NaN out, but NaN is PostgreSQL's greatest float: a scan for
/// `x > 5` would skip the file. So Parquet keeps none for floats, and the log gets those of files without NaN.
#[derive(Debug)]
pub(super) struct FloatBounds(Vec<FloatBound>);

#[derive(Debug)]
struct FloatBound {
    column: usize,
    /// Least and greatest; the greatest is NaN if there is one.
    bounds: Option<(f64, f64)>,
    /// `None` where nobody has counted.
    nulls: Option<usize>,
}

impl FloatBounds {
    /// Nothing observed yet of a file with that schema.
    pub(super) fn new(schema: &Schema) -> Self {
        let floats = schema.fields().iter().enumerate().filter(|(_, field)| is_float(field.data_type()));
        Self(floats.map(|(column, _)| FloatBound { column, bounds: None, nulls: Some(0) }).collect())
    }

    /// Of a file whose rows nobody has seen.
    pub(super) fn unknown(schema: &Schema) -> Self {
        let mut unknown = Self::new(schema);
        unknown.0.iter_mut().for_each(|float| float.nulls = None);
        unknown
    }

    /// Takes account of rows that go into the file.
    pub(super) fn observe(&mut self, rows: &RecordBatch) {
        for float in &mut self.0 {
            let array = rows.column(float.column);
            float.nulls = float.nulls.map(|nulls| nulls + array.null_count());
            // Arrow's order puts NaN last, as PostgreSQL's does.
            let of_rows = match array.data_type() {
                DataType::Float32 => {
                    let array = array.as_primitive::<Float32Type>();
                    min(array).map(f64::from).zip(max(array).map(f64::from))
                }
                DataType::Float64 => {
                    let array = array.as_primitive::<Float64Type>();
                    min(array).zip(max(array))
                }
                _ => None,
            };
            float.bounds = match (float.bounds, of_rows) {
                (Some((low, high)), Some((least, greatest))) => Some((
                    if least.total_cmp(&low).is_lt() { least } else { low },
                    if greatest.total_cmp(&high).is_gt() { greatest } else { high },
                )),
                (known, None) => known,
                (None, new) => new,
            };
        }
    }
}

/// Whether a file's own statistics are of no use for the type.
pub(super) fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// The members of the three JSON objects. They are text because a JSON number of serde_json would round decimals.
#[derive(Default)]
struct Bounds {
    min: Vec<String>,
    max: Vec<String>,
    nulls: Vec<String>,
}

impl Bounds {
    fn add_float(&mut self, name: &str, float: &FloatBound) {
        let key = Value::from(name).to_string();
        if let Some(nulls) = float.nulls {
            self.nulls.push(format!("{key}:{nulls}"));
        }
        // Zero has two signs, which are equal in PostgreSQL.
        if let Some((low, high)) = float.bounds.filter(|(low, high)| low.is_finite() && high.is_finite()) {
            self.min.push(format!("{key}:{}", Value::from(if low == 0.0 { -0.0 } else { low })));
            self.max.push(format!("{key}:{}", Value::from(if high == 0.0 { 0.0 } else { high })));
        }
    }

    fn add(&mut self, metadata: &ParquetMetaData, schema: &Schema, name: &str) -> Result<()> {
        let groups = metadata.row_groups();
        let converter = StatisticsConverter::try_new(name, schema, metadata.file_metadata().schema_descr())?;
        let key = Value::from(name).to_string();
        let nulls = converter.row_group_null_counts(groups)?;
        if nulls.null_count() == 0 {
            self.nulls.push(format!("{key}:{}", nulls.iter().flatten().sum::<u64>()));
        }
        let counts = (0..groups.len()).map(|group| {
            let rows = groups.get(group).map_or(0, |group| group.num_rows());
            // A row group that holds only nulls has no bounds and needs none.
            nulls.is_valid(group) && nulls.value(group) == rows.unsigned_abs()
        });
        let only_nulls: Vec<bool> = counts.collect();
        let min = extreme(&converter.row_group_mins(groups)?, &only_nulls, std::cmp::Ordering::Less)?;
        let max = extreme(&converter.row_group_maxes(groups)?, &only_nulls, std::cmp::Ordering::Greater)?;
        if let (Some(min), Some(max)) = (min.as_ref().and_then(json), max.as_ref().and_then(json)) {
            self.min.push(format!("{key}:{min}"));
            self.max.push(format!("{key}:{max}"));
        }
        Ok(())
    }
}

/// The least or greatest of the row groups' bounds; `None` when one that has values has no bound.
fn extreme(bounds: &ArrayRef, only_nulls: &[bool], wanted: std::cmp::Ordering) -> Result<Option<ScalarValue>> {
    let mut found: Option<ScalarValue> = None;
    for (group, only_nulls) in only_nulls.iter().enumerate() {
        if *only_nulls {
            continue;
        }
        if bounds.is_null(group) {
            return Ok(None);
        }
        let bound = ScalarValue::try_from_array(bounds, group)?;
        if found.as_ref().is_none_or(|found| bound.partial_cmp(found) == Some(wanted)) {
            found = Some(bound);
        }
    }
    Ok(found)
}

/// A bound as Delta's JSON has it; `None` for what has none there, as bytes.
fn json(bound: &ScalarValue) -> Option<String> {
    match bound.data_type() {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Decimal128(_, _) => text(bound),
        DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Utf8 | DataType::Utf8View => {
            Some(Value::from(text(bound)?).to_string())
        }
        _ => None,
    }
}

fn text(bound: &ScalarValue) -> Option<String> {
    let array = bound.to_array().ok()?;
    let formatter = ArrayFormatter::try_new(&array, &FORMAT).ok()?;
    formatter.value(0).try_to_string().ok()
}
