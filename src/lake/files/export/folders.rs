//! Rows that come sorted by their partitions, cut where a partition ends; the folders that Hive would give them.

use std::ops::Range;

use arrow::array::{Array, RecordBatch};
use arrow::compute::partition;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::{Error, Result, SqlState};

/// What Hive calls NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

const FORMATS: FormatOptions<'static> = FormatOptions::new()
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f+00"));

/// Which columns make the folders.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    by: Vec<usize>,
    /// The others, which the files hold.
    pub(super) kept: Vec<usize>,
    pub(super) schema: SchemaRef,
}

impl Folders {
    /// Errors: 0A000 for a type that makes no names, 42P16 when nothing is left for the files.
    pub(super) fn new(schema: &SchemaRef, by: &[usize]) -> Result<Self> {
        for field in by.iter().filter_map(|column| schema.fields().get(*column)) {
            if !can_name(field.data_type()) {
                let what = format!("PARTITION BY of column \"{}\" of this type", field.name());
                return Err(Error::unsupported(what));
            }
        }
        let kept: Vec<usize> = (0..schema.fields().len()).filter(|column| !by.contains(column)).collect();
        if kept.is_empty() {
            let message = "COPY needs a column that it is not partitioned by";
            return Err(Error::new(SqlState::InvalidTableDefinition, message));
        }
        let schema =
            Schema::new(kept.iter().filter_map(|column| schema.fields().get(*column).cloned()).collect::<Vec<_>>());
        Ok(Self { by: by.to_vec(), kept, schema: schema.into() })
    }

    /// The batch cut into pieces of one folder each, the columns of the folders' names taken out.
    pub(super) fn cut(&self, batch: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        let values: Vec<_> = self.by.iter().map(|column| batch.column(*column).clone()).collect();
        let ranges: Vec<Range<usize>> = if self.by.is_empty() || batch.num_rows() == 0 {
            std::iter::once(0..batch.num_rows()).collect()
        } else {
            partition(&values)?.ranges()
        };
        let files = batch.project(&self.kept)?;
        let mut pieces = Vec::with_capacity(ranges.len());
        for range in ranges {
            let folder = self.folder(batch, range.start)?;
            pieces.push((folder, files.slice(range.start, range.len())));
        }
        Ok(pieces)
    }

    /// `a=1/b=x`, empty without partitions.
    fn folder(&self, batch: &RecordBatch, row: usize) -> Result<String> {
        let schema = batch.schema();
        let part = |column: &usize| {
            let name = schema.fields().get(*column).map(|field| escaped(field.name())).unwrap_or_default();
            let value = text(batch.column(*column).as_ref(), row)?;
            Ok(format!(
                "{name}={}",
                value.filter(|text| !text.is_empty()).map_or(NULL.to_owned(), |text| escaped(&text))
            ))
        };
        Ok(self.by.iter().map(part).collect::<Result<Vec<_>>>()?.join("/"))
    }
}

fn text(array: &dyn Array, row: usize) -> Result<Option<String>> {
    if array.is_null(row) {
        return Ok(None);
    }
    Ok(Some(ArrayFormatter::try_new(array, &FORMATS)?.value(row).try_to_string()?))
}

fn can_name(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Decimal128(_, _)
            | DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Date32
            | DataType::Timestamp(_, _)
    ) || matches!(data_type, DataType::Dictionary(_, value) if can_name(value))
}

/// As Hive and Spark write names into paths.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let special = character.is_ascii_control() || "\"#%'*/:=?\\{}[]^<>|~`".contains(character);
        if special {
            out.push_str(&format!("%{:02X}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out
}
