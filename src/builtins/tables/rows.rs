//! Rows of a system table as one Arrow batch, column by column; columns that nobody asked for are not made.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray,
    ListArray, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, IntervalMonthDayNano, SchemaRef, TimeUnit};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;

use super::definitions::Definition;
use crate::builtins::Context;
use crate::error::{Error, Result};

/// Which columns of which system table are wanted.
#[derive(Debug)]
pub(in crate::builtins) struct Request<'a> {
    definition: &'static Definition,
    context: &'a Context,
    /// Positions of the wanted columns.
    projection: Vec<usize>,
}

impl<'a> Request<'a> {
    pub(super) fn new(definition: &'static Definition, context: &'a Context, projection: Option<&[usize]>) -> Self {
        let projection = projection.map_or_else(|| (0..definition.columns.len()).collect(), <[usize]>::to_vec);
        Self { definition, context, projection }
    }

    /// The table's name.
    pub(in crate::builtins) fn name(&self) -> &'static str {
        self.definition.name
    }

    pub(in crate::builtins) fn context(&self) -> &'a Context {
        self.context
    }

    /// Starts the rows: one for each item.
    pub(in crate::builtins) fn rows<'i, T>(&self, items: &'i [T]) -> Rows<'_, 'i, T> {
        Rows { request: self, items, arrays: vec![None; self.projection.len()], error: None }
    }

    /// No rows: what the table would list does not exist here.
    pub(in crate::builtins) fn empty(&self) -> Result<RecordBatch> {
        self.rows::<()>(&[]).finish()
    }
}

/// Rows that are being made. A column that is never set is NULL, or where that is not allowed PostgreSQL's word for
/// nothing: zero, false, an empty text.
#[derive(Debug)]
pub(in crate::builtins) struct Rows<'r, 'i, T> {
    request: &'r Request<'r>,
    items: &'i [T],
    arrays: Vec<Option<ArrayRef>>,
    error: Option<Error>,
}

impl<'i, T> Rows<'_, 'i, T> {
    /// The values of one column.
    pub(in crate::builtins) fn set<V: Into<Value<'i>>>(mut self, column: &str, value: impl Fn(&'i T) -> V) -> Self {
        let definition = self.request.definition;
        let Some(at) = definition.columns.iter().position(|known| known.name == column) else {
            self.error = Some(Error::internal(format!("{} has no column {column}", definition.name)));
            return self;
        };
        for (slot, wanted) in self.arrays.iter_mut().zip(&self.request.projection) {
            if *wanted != at {
                continue;
            }
            let values: Vec<Value<'i>> = self.items.iter().map(|item| value(item).into()).collect();
            match array(definition.arrow.field(at).data_type(), values) {
                Ok(array) => *slot = Some(array),
                Err(error) => self.error = Some(error),
            }
        }
        self
    }

    pub(in crate::builtins) fn finish(self) -> Result<RecordBatch> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let schema: SchemaRef = Arc::new(self.request.definition.arrow.project(&self.request.projection)?);
        let rows = self.items.len();
        let columns = self
            .arrays
            .into_iter()
            .zip(schema.fields())
            .map(|(array, field)| array.map_or_else(|| nothing(field, rows), Ok))
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}

fn nothing(field: &FieldRef, rows: usize) -> Result<ArrayRef> {
    if field.is_nullable() {
        return Ok(new_null_array(field.data_type(), rows));
    }
    Ok(ScalarValue::new_default(field.data_type())?.to_array_of_size(rows)?)
}

/// A value of a system table's column.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::builtins) enum Value<'a> {
    Null,
    Bool(bool),
    /// int2, int4, int8, oid and their kin.
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Time(DateTime<Utc>),
    /// An interval in seconds.
    Seconds(i64),
    Ints(Vec<i64>),
    Texts(Vec<Cow<'a, str>>),
}

macro_rules! value_from {
    ($($from:ty => |$name:ident| $value:expr,)*) => {
        $(impl<'a> From<$from> for Value<'a> {
            fn from($name: $from) -> Self { $value }
        })*
    };
}

value_from! {
    bool => |value| Value::Bool(value),
    i16 => |value| Value::Int(value.into()),
    i32 => |value| Value::Int(value.into()),
    u32 => |value| Value::Int(value.into()),
    i64 => |value| Value::Int(value),
    f64 => |value| Value::Float(value),
    char => |value| Value::Text(value.to_string().into()),
    &'a str => |value| Value::Text(value.into()),
    &'a String => |value| Value::Text(value.into()),
    String => |value| Value::Text(value.into()),
    DateTime<Utc> => |value| Value::Time(value),
    Vec<u32> => |value| Value::Ints(value.into_iter().map(i64::from).collect()),
    Vec<i16> => |value| Value::Ints(value.into_iter().map(i64::from).collect()),
    Vec<&'a str> => |value| Value::Texts(value.into_iter().map(Cow::from).collect()),
    Vec<String> => |value| Value::Texts(value.into_iter().map(Cow::from).collect()),
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// The Arrow array of a column's values; a value of another kind than the column's is our bug.
fn array(data_type: &DataType, values: Vec<Value<'_>>) -> Result<ArrayRef> {
    let zone: Arc<str> = "UTC".into();
    Ok(match data_type {
        DataType::Boolean => Arc::new(each(values, as_bool)?.into_iter().collect::<BooleanArray>()),
        DataType::Int16 => Arc::new(each(values, as_int::<i16>)?.into_iter().collect::<Int16Array>()),
        DataType::Int32 => Arc::new(each(values, as_int::<i32>)?.into_iter().collect::<Int32Array>()),
        DataType::Int64 => Arc::new(each(values, as_int::<i64>)?.into_iter().collect::<Int64Array>()),
        DataType::Float32 => {
            let values = each(values, as_float)?;
            Arc::new(values.into_iter().map(|value| value.map(|value| value as f32)).collect::<Float32Array>())
        }
        DataType::Float64 => Arc::new(each(values, as_float)?.into_iter().collect::<Float64Array>()),
        DataType::Utf8 => Arc::new(each(values, as_text)?.into_iter().collect::<StringArray>()),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            let values = each(values, as_time)?.into_iter().collect::<TimestampMicrosecondArray>();
            Arc::new(values.with_timezone(zone))
        }
        DataType::Interval(_) => {
            Arc::new(each(values, as_interval)?.into_iter().collect::<IntervalMonthDayNanoArray>())
        }
        DataType::List(element) => list(element, values)?,
        other => return Err(Error::internal(format!("no system table has values of {other}"))),
    })
}

fn each<'a, T>(values: Vec<Value<'a>>, convert: impl Fn(Value<'a>) -> Option<Option<T>>) -> Result<Vec<Option<T>>> {
    values
        .into_iter()
        .map(|value| convert(value).ok_or_else(|| Error::internal("a system table's value is of another type")))
        .collect()
}

fn as_bool(value: Value<'_>) -> Option<Option<bool>> {
    match value {
        Value::Null => Some(None),
        Value::Bool(value) => Some(Some(value)),
        _ => None,
    }
}

fn as_int<N: TryFrom<i64>>(value: Value<'_>) -> Option<Option<N>> {
    match value {
        Value::Null => Some(None),
        Value::Int(value) => N::try_from(value).ok().map(Some),
        _ => None,
    }
}

fn as_float(value: Value<'_>) -> Option<Option<f64>> {
    match value {
        Value::Null => Some(None),
        Value::Float(value) => Some(Some(value)),
        _ => None,
    }
}

fn as_text<'a>(value: Value<'a>) -> Option<Option<Cow<'a, str>>> {
    match value {
        Value::Null => Some(None),
        Value::Text(value) => Some(Some(value)),
        _ => None,
    }
}

fn as_time(value: Value<'_>) -> Option<Option<i64>> {
    match value {
        Value::Null => Some(None),
        Value::Time(value) => Some(Some(value.timestamp_micros())),
        _ => None,
    }
}

fn as_interval(value: Value<'_>) -> Option<Option<IntervalMonthDayNano>> {
    match value {
        Value::Null => Some(None),
        Value::Seconds(seconds) => Some(Some(IntervalMonthDayNano::new(0, 0, seconds * 1_000_000_000))),
        _ => None,
    }
}

/// Lists are flattened, the elements made as a column of their own.
fn list(element: &FieldRef, values: Vec<Value<'_>>) -> Result<ArrayRef> {
    let mut elements: Vec<Value<'_>> = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    let mut valid = Vec::with_capacity(values.len());
    for value in values {
        let before = elements.len();
        valid.push(value != Value::Null);
        match value {
            Value::Null => {}
            Value::Ints(values) => elements.extend(values.into_iter().map(Value::Int)),
            Value::Texts(values) => elements.extend(values.into_iter().map(Value::Text)),
            _ => return Err(Error::internal("a system table's value is no list")),
        }
        lengths.push(elements.len() - before);
    }
    let elements = array(element.data_type(), elements)?;
    let nulls = NullBuffer::from(valid);
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, elements, Some(nulls))?))
}
