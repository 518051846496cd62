//! Rows split by the values of the partition columns.

use std::collections::HashMap;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::{Error, Result, SqlState};

const FORMAT: FormatOptions<'static> = FormatOptions::new()
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.6f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.6f"));

/// The longest part of a folder's name that shows a value.
const FOLDER_VALUE_BYTES_MAX: usize = 64;

/// Name of each partition column and the text of its value, as Delta's log has them.
pub(super) type Values = Vec<(String, Option<String>)>;

/// Groups rows by partition. The keys of one splitter are comparable with each other only.
pub(super) struct Splitter {
    converter: RowConverter,
}

impl Splitter {
    pub(super) fn new<'a>(fields: impl Iterator<Item = &'a std::sync::Arc<Field>>) -> Result<Self> {
        let fields = fields.map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self { converter: RowConverter::new(fields)? })
    }

    /// The partition columns as comparable rows.
    pub(super) fn rows(&self, keys: &[ArrayRef]) -> Result<Rows> {
        Ok(self.converter.convert_columns(keys)?)
    }

    /// The stored rows of each partition with a row number that has its values.
    pub(super) fn split(&self, keys: &[ArrayRef], stored: &RecordBatch) -> Result<Vec<(OwnedRow, usize, RecordBatch)>> {
        let rows = self.rows(keys)?;
        let mut order = Vec::new();
        let mut groups: HashMap<arrow::row::Row<'_>, Vec<u32>> = HashMap::new();
        for (number, row) in rows.iter().enumerate() {
            let number = u32::try_from(number).map_err(|_| Error::internal("a batch is too long"))?;
            let group = groups.entry(row).or_default();
            if group.is_empty() {
                order.push(row);
            }
            group.push(number);
        }
        let parts = order.into_iter().filter_map(|row| groups.remove(&row).map(|numbers| (row, numbers)));
        parts
            .map(|(row, numbers)| {
                let first = numbers.first().map_or(0, |number| *number as usize);
                let part = if numbers.len() == stored.num_rows() {
                    stored.clone()
                } else {
                    take_record_batch(stored, &UInt32Array::from(numbers))?
                };
                Ok((row.owned(), first, part))
            })
            .collect()
    }
}

/// The values of one row's partition.
///
/// # Errors
/// 0A000 for an empty text, which Delta would give back as null; 22008 for a date that has no text.
pub(super) fn values<'a>(
    fields: impl Iterator<Item = &'a std::sync::Arc<Field>>,
    keys: &[ArrayRef],
    row: usize,
) -> Result<Values> {
    let values = fields.zip(keys).map(|(field, array)| {
        if array.is_null(row) {
            return Ok((field.name().clone(), None));
        }
        let text = ArrayFormatter::try_new(array, &FORMAT)
            .and_then(|formatter| formatter.value(row).try_to_string())
            .map_err(|error| {
            let message = format!("value of partition column \"{}\" out of range", field.name());
            Error::new(SqlState::DatetimeFieldOverflow, message).with_source(error)
        })?;
        if text.is_empty() && field.data_type() == &DataType::Utf8View {
            let what = format!("an empty string in partition column \"{}\"", field.name());
            return Err(Error::unsupported(what).with_hint("Delta tables read it back as null."));
        }
        Ok((field.name().clone(), Some(text)))
    });
    values.collect()
}

/// Hive's folders for the partition. They only help people: readers take the values from the log.
pub(super) fn folders(values: &Values) -> String {
    let mut folders = String::new();
    for (name, value) in values {
        let value = value.as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__");
        folders.push_str(&plain(name));
        folders.push('=');
        folders.push_str(&plain(value));
        folders.push('/');
    }
    folders
}

/// Only characters that no store and no URL changes.
fn plain(text: &str) -> String {
    let plain = text.chars().take(FOLDER_VALUE_BYTES_MAX).map(|c| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c,
        _ => '_',
    });
    plain.collect()
}
