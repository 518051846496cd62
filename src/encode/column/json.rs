//! Maps, structs and lists that have no PostgreSQL type of their own, as JSON in the layout of `jsonb`.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::Column;
use super::plan::JsonPlan;
use crate::encode::input::write_json_string;
use crate::error::{Error, Result};

/// Bound nested values.
#[derive(Debug)]
pub(super) struct JsonValues {
    nulls: Option<NullBuffer>,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    /// A scalar, and whether it stands without quotes.
    Scalar(Column, bool),
    List(OffsetBuffer<i32>, Box<JsonValues>),
    Struct(Vec<(String, JsonValues)>),
    Map(OffsetBuffer<i32>, Column, Box<JsonValues>),
}

impl JsonValues {
    pub(super) fn bind(plan: &JsonPlan, array: &ArrayRef) -> Result<Self> {
        let wrong = || Error::internal(format!("a nested column came as {}", array.data_type()));
        let array = flat(array)?;
        let shape = match plan {
            JsonPlan::Scalar(writer, bare) => Shape::Scalar(writer.bind(&array)?, *bare),
            JsonPlan::List(item) => {
                let list = array.as_list_opt::<i32>().ok_or_else(wrong)?;
                Shape::List(list.offsets().clone(), Box::new(Self::bind(item, list.values())?))
            }
            JsonPlan::Struct(fields) => {
                let record = array.as_struct_opt().ok_or_else(wrong)?;
                let bound = fields.iter().zip(record.columns());
                let bound = bound.map(|((name, plan), column)| Ok((name.clone(), Self::bind(plan, column)?)));
                Shape::Struct(bound.collect::<Result<_>>()?)
            }
            JsonPlan::Map(key, value) => {
                let map = array.as_map_opt().ok_or_else(wrong)?;
                Shape::Map(map.offsets().clone(), key.bind(map.keys())?, Box::new(Self::bind(value, map.values())?))
            }
        };
        Ok(Self { nulls: array.logical_nulls(), shape })
    }

    /// Appends the JSON of a row; NULL is `null`.
    pub(super) fn push(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.shape {
            Shape::Scalar(column, bare) => push_scalar(column, *bare, row, out),
            Shape::List(offsets, items) => {
                out.push(b'[');
                for (at, item) in range(offsets, row).enumerate() {
                    push_separator(out, at);
                    items.push(item, out)?;
                }
                out.push(b']');
                Ok(())
            }
            Shape::Struct(fields) => {
                out.push(b'{');
                for (at, (name, values)) in fields.iter().enumerate() {
                    push_separator(out, at);
                    push_key(out, name);
                    values.push(row, out)?;
                }
                out.push(b'}');
                Ok(())
            }
            Shape::Map(offsets, keys, values) => {
                out.push(b'{');
                for (at, item) in range(offsets, row).enumerate() {
                    push_separator(out, at);
                    let mut key = Vec::new();
                    keys.write_text(item, &mut key)?;
                    push_key(out, &String::from_utf8_lossy(&key));
                    values.push(item, out)?;
                }
                out.push(b'}');
                Ok(())
            }
        }
    }
}

/// Lists of other layouts become plain lists.
fn flat(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => cast(array, &DataType::List(item.clone()))?,
        _ => array.clone(),
    })
}

fn range(offsets: &OffsetBuffer<i32>, row: usize) -> std::ops::Range<usize> {
    let bound = |at: usize| offsets.get(at).map_or(0, |offset| *offset as usize);
    bound(row)..bound(row + 1)
}

fn push_separator(out: &mut Vec<u8>, at: usize) {
    if at > 0 {
        out.extend_from_slice(b", ");
    }
}

fn push_key(out: &mut Vec<u8>, name: &str) {
    let mut quoted = String::with_capacity(name.len() + 2);
    write_json_string(name, &mut quoted);
    out.extend_from_slice(quoted.as_bytes());
    out.extend_from_slice(b": ");
}

fn push_scalar(column: &Column, bare: bool, row: usize, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    if !column.write_text(row, out)? {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    let text = out.split_off(start);
    match text.as_slice() {
        b"t" if bare => out.extend_from_slice(b"true"),
        b"f" if bare => out.extend_from_slice(b"false"),
        // NaN and the infinities have no number in JSON.
        number if bare && number.last().is_some_and(u8::is_ascii_digit) => out.extend_from_slice(number),
        other => {
            let mut quoted = String::with_capacity(other.len() + 2);
            write_json_string(&String::from_utf8_lossy(other), &mut quoted);
            out.extend_from_slice(quoted.as_bytes());
        }
    }
    Ok(())
}
