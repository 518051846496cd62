//! Which carrier a column is brought to, and what its values mean.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, IntervalMonthDayNanoBuilder, StringArray, StringViewArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt32Type,
};

use super::ColumnWriter;
use super::array::ArrayValues;
use super::json::JsonValues;
use super::value::{RecordField, Strings, Values};
use crate::encode::input::{self, InputContext};
use crate::encode::text::ZoneCache;
use crate::encode::types::{
    NUMERIC_COLUMN, PgType, arrow_type, element_of, format_type, oid, pg_type_of, pg_type_of_field,
};
use crate::encode::{IntervalStyle, TextStyle};
use crate::error::{Error, Result};

/// How the arrays of one column are brought to [`Values`].
#[derive(Debug, Clone)]
pub(super) struct Plan {
    ty: PgType,
    /// The carrier that a cast makes, when the array is not one already.
    cast_to: Option<DataType>,
    kind: Kind,
    style: Arc<TextStyle>,
}

/// What the carrier's values mean.
#[derive(Debug, Clone)]
enum Kind {
    Null,
    Plain,
    /// Strings that hold intervals, as tables keep them.
    IntervalText,
    Numeric {
        scale: i8,
        trimmed: bool,
    },
    Array {
        element: Box<ColumnWriter>,
        element_oid: u32,
        nested: bool,
    },
    Record(Vec<(u32, ColumnWriter)>),
    Json(JsonPlan),
}

/// How a nested value becomes JSON.
#[derive(Debug, Clone)]
pub(super) enum JsonPlan {
    Scalar(Box<ColumnWriter>, bool),
    List(Box<JsonPlan>),
    Struct(Vec<(String, JsonPlan)>),
    Map(Box<ColumnWriter>, Box<JsonPlan>),
}

impl Plan {
    pub(super) fn new(data_type: &DataType, ty: PgType, style: &Arc<TextStyle>) -> Result<Self> {
        let (cast_to, kind) = if data_type.is_null() {
            (None, Kind::Null)
        } else if let Some(element) = element_of(ty.oid).filter(|_| list_item(data_type).is_some()) {
            array_plan(data_type, ty, element, style)?
        } else {
            scalar_plan(data_type, ty, style)?
        };
        let cast_to = cast_to.filter(|target| target != data_type);
        Ok(Self { ty, cast_to, kind, style: Arc::clone(style) })
    }

    /// The array in its carrier. A value that does not fit is an error, never NULL.
    pub(super) fn cast(&self, array: &ArrayRef) -> Result<ArrayRef> {
        match &self.cast_to {
            Some(target) => {
                let options = CastOptions { safe: false, ..CastOptions::default() };
                Ok(cast_with_options(array, target, &options)?)
            }
            None => Ok(Arc::clone(array)),
        }
    }

    /// The values of an array that [`Plan::cast`] made.
    pub(super) fn values(&self, array: &ArrayRef) -> Result<Values> {
        match &self.kind {
            Kind::Null => Ok(Values::Null),
            Kind::Plain => self.plain(array),
            Kind::IntervalText => interval_values(array, self.style.interval_style),
            Kind::Numeric { scale, trimmed } => {
                let array = array.as_primitive_opt::<Decimal128Type>().ok_or_else(|| self.mismatch(array))?;
                Ok(Values::Numeric { values: array.values().clone(), scale: *scale, trimmed: *trimmed })
            }
            Kind::Array { element, element_oid, nested } => {
                let list = array.as_list_opt::<i32>().ok_or_else(|| self.mismatch(array))?;
                Ok(Values::Array(Box::new(ArrayValues {
                    offsets: list.offsets().clone(),
                    items: element.bind(list.values())?,
                    element_oid: *element_oid,
                    nested: *nested,
                    vector: matches!(self.ty.oid, oid::INT2VECTOR | oid::OIDVECTOR),
                })))
            }
            Kind::Record(fields) => {
                let record = array.as_struct_opt().ok_or_else(|| self.mismatch(array))?;
                let bound = fields
                    .iter()
                    .zip(record.columns())
                    .map(|((oid, writer), column)| Ok(RecordField { oid: *oid, column: writer.bind(column)? }));
                Ok(Values::Record(bound.collect::<Result<_>>()?))
            }
            Kind::Json(plan) => Ok(Values::NestedJson {
                json: Box::new(JsonValues::bind(plan, array)?),
                binary_version: self.ty.oid == oid::JSONB,
            }),
        }
    }

    fn mismatch(&self, array: &ArrayRef) -> Error {
        Error::internal(format!("a column of {} came as {}", format_type(self.ty), array.data_type()))
    }

    fn plain(&self, array: &ArrayRef) -> Result<Values> {
        let wrong = || self.mismatch(array);
        macro_rules! numbers {
            ($kind:ty) => {
                array.as_primitive_opt::<$kind>().ok_or_else(wrong)?.values().clone()
            };
        }
        Ok(match array.data_type() {
            DataType::Boolean => Values::Bool(array.as_boolean_opt().ok_or_else(wrong)?.values().clone()),
            DataType::Int16 => Values::Int2(numbers!(Int16Type)),
            DataType::Int32 => Values::Int4(numbers!(Int32Type)),
            DataType::Int64 => Values::Int8(numbers!(Int64Type)),
            DataType::UInt32 => {
                Values::Oid { values: numbers!(UInt32Type), type_oid: self.ty.oid, names: self.style.names.clone() }
            }
            DataType::Float32 => Values::Float4(numbers!(Float32Type), self.style.extra_float_digits),
            DataType::Float64 => Values::Float8(numbers!(Float64Type), self.style.extra_float_digits),
            DataType::Date32 => Values::Date(numbers!(Date32Type), Arc::clone(&self.style)),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(numbers!(Time64MicrosecondType)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let micros = numbers!(TimestampMicrosecondType);
                if self.ty.oid == oid::TIMESTAMPTZ {
                    Values::TimestampTz(micros, Arc::clone(&self.style), ZoneCache::new(self.style.time_zone))
                } else {
                    Values::Timestamp(micros, Arc::clone(&self.style))
                }
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Values::Interval(numbers!(IntervalMonthDayNanoType), self.style.interval_style)
            }
            DataType::FixedSizeBinary(16) if self.ty.oid == oid::UUID => {
                Values::UuidBytes(array.as_fixed_size_binary_opt().ok_or_else(wrong)?.clone())
            }
            DataType::Binary => {
                let bytes = array.as_any().downcast_ref::<BinaryArray>().ok_or_else(wrong)?;
                Values::Binary(bytes.clone(), self.style.bytea_hex)
            }
            DataType::BinaryView => {
                let bytes = array.as_any().downcast_ref::<BinaryViewArray>().ok_or_else(wrong)?;
                Values::BinaryView(bytes.clone(), self.style.bytea_hex)
            }
            DataType::Utf8 => {
                let text = array.as_any().downcast_ref::<StringArray>().ok_or_else(wrong)?;
                self.strings(Strings::Utf8(text.clone()))
            }
            DataType::Utf8View => {
                let text = array.as_any().downcast_ref::<StringViewArray>().ok_or_else(wrong)?;
                self.strings(Strings::View(text.clone()))
            }
            _ => return Err(wrong()),
        })
    }

    fn strings(&self, strings: Strings) -> Values {
        match (self.ty.oid, strings) {
            (oid::UUID, strings) => Values::Uuid(strings),
            (oid::JSONB, strings) => Values::Jsonb(strings),
            (oid::CHAR, strings) => Values::Char(strings),
            (_, Strings::Utf8(text)) => Values::Utf8(text),
            (_, Strings::View(text)) => Values::Utf8View(text),
        }
    }
}

/// The item field of any kind of list.
fn list_item(data_type: &DataType) -> Option<&Arc<Field>> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Some(item),
        _ => None,
    }
}

fn array_plan(
    data_type: &DataType,
    ty: PgType,
    element: u32,
    style: &Arc<TextStyle>,
) -> Result<(Option<DataType>, Kind)> {
    let Some(item) = list_item(data_type) else { return scalar_plan(data_type, ty, style) };
    let nested = list_item(item.data_type()).is_some();
    let item_type = if nested { ty } else { PgType { oid: element, typmod: ty.typmod } };
    let writer = ColumnWriter::new(item.data_type(), item_type, style)?;
    let kind = Kind::Array { element: Box::new(writer), element_oid: element, nested };
    Ok((Some(DataType::List(Arc::clone(item))), kind))
}

fn scalar_plan(data_type: &DataType, ty: PgType, style: &Arc<TextStyle>) -> Result<(Option<DataType>, Kind)> {
    let source = match data_type {
        DataType::Dictionary(_, value) => value.as_ref(),
        DataType::RunEndEncoded(_, value) => value.data_type(),
        other => other,
    };
    if let (oid::RECORD, DataType::Struct(fields)) = (ty.oid, source) {
        let writers = fields.iter().map(|field| {
            let ty = pg_type_of_field(field);
            Ok((ty.oid, ColumnWriter::new(field.data_type(), ty, style)?))
        });
        return Ok((None, Kind::Record(writers.collect::<Result<_>>()?)));
    }
    if source.is_nested() {
        return match ty.oid {
            oid::JSON | oid::JSONB | oid::TEXT => Ok((None, Kind::Json(json_plan(source, style)?))),
            _ => Err(unsuited(data_type, ty)),
        };
    }
    let target = match ty.oid {
        oid::NUMERIC => return Ok(numeric_plan(source, ty)),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => match source {
            // Only the unit changes: the count is of UTC microseconds in any zone.
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => return Err(unsuited(data_type, ty)),
        },
        oid::INTERVAL if is_text(source) => return Ok((Some(DataType::Utf8View), Kind::IntervalText)),
        oid::UUID if *source == DataType::FixedSizeBinary(16) => source.clone(),
        _ => match arrow_type(ty) {
            // OIDs are unsigned.
            DataType::Int64 if ty.oid != oid::INT8 => DataType::UInt32,
            DataType::Utf8 if matches!(data_type, DataType::Utf8) => DataType::Utf8,
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary if matches!(data_type, DataType::BinaryView) => DataType::BinaryView,
            target => target,
        },
    };
    if source != &target && !arrow::compute::can_cast_types(data_type, &target) {
        return Err(unsuited(data_type, ty));
    }
    Ok((Some(target), Kind::Plain))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

#[cold]
fn unsuited(data_type: &DataType, ty: PgType) -> Error {
    Error::unsupported(format!("showing a value of Arrow type {data_type} as {}", format_type(ty)))
}

fn numeric_plan(source: &DataType, ty: PgType) -> (Option<DataType>, Kind) {
    let own = match source {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        DataType::Decimal256(precision, scale) => Some(((*precision).min(38), *scale)),
        _ => None,
    };
    let (precision, scale) = match (ty.precision_scale(), own) {
        // The declared scale is the one shown; more digits before the point do no harm.
        (Some((_, scale)), Some((precision, own))) if scale == own => (precision, own),
        (Some((_, scale)), _) => (38, scale),
        (None, Some(own)) => own,
        (None, None) => (38, if source.is_floating() { NUMERIC_COLUMN.1 } else { 0 }),
    };
    let trimmed = ty.typmod < 0 && (precision, scale) == NUMERIC_COLUMN;
    (Some(DataType::Decimal128(precision, scale)), Kind::Numeric { scale, trimmed })
}

/// JSON of nested values: what has no PostgreSQL type of its own.
fn json_plan(data_type: &DataType, style: &Arc<TextStyle>) -> Result<JsonPlan> {
    match data_type {
        DataType::Struct(fields) => {
            let named = fields.iter().map(|field| Ok((field.name().clone(), json_plan(field.data_type(), style)?)));
            Ok(JsonPlan::Struct(named.collect::<Result<_>>()?))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let (key, value) = (pair[0].data_type(), pair[1].data_type());
                let key = ColumnWriter::new(key, pg_type_of(key), style)?;
                Ok(JsonPlan::Map(Box::new(key), Box::new(json_plan(value, style)?)))
            }
            _ => Err(unsuited(data_type, PgType::JSONB)),
        },
        DataType::Union(_, _) => Err(unsuited(data_type, PgType::JSONB)),
        other => match list_item(other) {
            Some(item) => Ok(JsonPlan::List(Box::new(json_plan(item.data_type(), style)?))),
            None => {
                let ty = pg_type_of(other);
                let bare = matches!(
                    ty.oid,
                    oid::BOOL | oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC
                );
                Ok(JsonPlan::Scalar(Box::new(ColumnWriter::new(other, ty, style)?), bare))
            }
        },
    }
}

/// Reads the strings that tables keep intervals in.
fn interval_values(array: &ArrayRef, style: IntervalStyle) -> Result<Values> {
    let text = array.as_string_view_opt().ok_or_else(|| Error::internal("an interval's text is not Utf8View"))?;
    let context = InputContext::utc(chrono::DateTime::UNIX_EPOCH);
    let mut builder = IntervalMonthDayNanoBuilder::with_capacity(text.len());
    for value in text {
        match value {
            Some(value) => builder.append_value(input::interval(value, -1, &context)?.to_arrow()?),
            None => builder.append_null(),
        }
    }
    Ok(Values::Interval(builder.finish().values().clone(), style))
}
