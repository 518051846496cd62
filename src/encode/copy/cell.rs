//! Values of a column as text or binary, column by column: one dispatch per column and slice, none per value.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

use super::binary_value as binary;
use crate::encode::input::IntervalValue;
use crate::encode::text::{self, ZoneCache};
use crate::encode::types::{element_of, oid, PgType};
use crate::encode::TextStyle;
use crate::error::{Error, Result};

/// Takes a column's values in row order.
pub(super) trait Sink {
    fn null(&mut self);
    /// `write` appends the value's bytes.
    fn value(&mut self, write: impl FnOnce(&mut Vec<u8>));
}

/// How values are spelled.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spelling<'a> {
    Text(&'a TextStyle),
    Binary,
}

/// Gives the values of `rows` to the sink. Errors: 0A000 for an Arrow type that carries no PostgreSQL type, 22P02 for a
/// stored text that is no value of its type.
pub(super) fn visit(
    array: &ArrayRef,
    ty: PgType,
    rows: Range<usize>,
    spelling: Spelling<'_>,
    sink: &mut impl Sink,
) -> Result<()> {
    match (array.data_type(), spelling) {
        (DataType::Null, _) => rows.for_each(|_| sink.null()),
        (DataType::Boolean, Spelling::Text(_)) => {
            let values = array.as_boolean();
            each(array, rows, sink, |row, out| text::push_bool(out, values.value(row)));
        }
        (DataType::Boolean, Spelling::Binary) => {
            let values = array.as_boolean();
            each(array, rows, sink, |row, out| out.push(u8::from(values.value(row))));
        }
        (DataType::Int64, spelling) if ty.oid != oid::INT8 => oids(array, ty, rows, spelling, sink),
        (DataType::Int16, Spelling::Text(_)) => native::<Int16Type>(array, rows, sink, |v, out| text::push_i64(out, v.into())),
        (DataType::Int32, Spelling::Text(_)) => native::<Int32Type>(array, rows, sink, |v, out| text::push_i64(out, v.into())),
        (DataType::Int64, Spelling::Text(_)) => native::<Int64Type>(array, rows, sink, |v, out| text::push_i64(out, v)),
        (DataType::Int16, Spelling::Binary) => native::<Int16Type>(array, rows, sink, |v, out| out.extend(v.to_be_bytes())),
        (DataType::Int32, Spelling::Binary) => native::<Int32Type>(array, rows, sink, |v, out| out.extend(v.to_be_bytes())),
        (DataType::Int64, Spelling::Binary) => native::<Int64Type>(array, rows, sink, |v, out| out.extend(v.to_be_bytes())),
        (DataType::Float32, Spelling::Text(style)) => {
            native::<Float32Type>(array, rows, sink, |v, out| text::push_float4(out, v, style.extra_float_digits));
        }
        (DataType::Float64, Spelling::Text(style)) => {
            native::<Float64Type>(array, rows, sink, |v, out| text::push_float8(out, v, style.extra_float_digits));
        }
        (DataType::Float32, Spelling::Binary) => {
            native::<Float32Type>(array, rows, sink, |v, out| out.extend(v.to_be_bytes()));
        }
        (DataType::Float64, Spelling::Binary) => {
            native::<Float64Type>(array, rows, sink, |v, out| out.extend(v.to_be_bytes()));
        }
        (DataType::Decimal128(_, scale), spelling) => decimals(array, ty, *scale, rows, spelling, sink),
        (DataType::Date32, Spelling::Text(style)) => {
            native::<Date32Type>(array, rows, sink, |v, out| text::push_date(out, v, style));
        }
        (DataType::Date32, Spelling::Binary) => native::<Date32Type>(array, rows, sink, |v, out| binary::push_date(out, v)),
        (DataType::Time64(TimeUnit::Microsecond), Spelling::Text(_)) => {
            native::<Time64MicrosecondType>(array, rows, sink, |v, out| text::push_time(out, v));
        }
        (DataType::Time64(TimeUnit::Microsecond), Spelling::Binary) => {
            native::<Time64MicrosecondType>(array, rows, sink, |v, out| out.extend(v.to_be_bytes()));
        }
        (DataType::Timestamp(TimeUnit::Microsecond, zone), spelling) => {
            timestamps(array, zone.is_some(), rows, spelling, sink);
        }
        (DataType::Interval(_), spelling) => intervals(array, rows, spelling, sink)?,
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, spelling) => {
            strings(array, ty, rows, spelling, sink)?;
        }
        (DataType::Binary | DataType::LargeBinary | DataType::BinaryView, spelling) => {
            bytes(array, rows, spelling, sink)?;
        }
        (DataType::Dictionary(_, value), spelling) => {
            let slice = array.slice(rows.start, rows.len());
            let plain = arrow::compute::cast(&slice, value)?;
            visit(&plain, ty, 0..slice.len(), spelling, sink)?;
        }
        (DataType::List(_), spelling) => lists(array, ty, rows, spelling, sink)?,
        (other, _) => return Err(Error::unsupported(format!("COPY of a column of type {other}"))),
    }
    Ok(())
}

#[inline]
fn each(array: &ArrayRef, rows: Range<usize>, sink: &mut impl Sink, write: impl Fn(usize, &mut Vec<u8>)) {
    if array.null_count() == 0 {
        return rows.for_each(|row| sink.value(|out| write(row, out)));
    }
    for row in rows {
        if array.is_null(row) { sink.null() } else { sink.value(|out| write(row, out)) }
    }
}

fn native<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    rows: Range<usize>,
    sink: &mut impl Sink,
    write: impl Fn(T::Native, &mut Vec<u8>),
) {
    let values = array.as_primitive::<T>();
    each(array, rows, sink, |row, out| write(values.value(row), out));
}

/// OIDs and their kin: by name where the style knows one.
fn oids(array: &ArrayRef, ty: PgType, rows: Range<usize>, spelling: Spelling<'_>, sink: &mut impl Sink) {
    match spelling {
        Spelling::Binary => {
            native::<Int64Type>(array, rows, sink, |value, out| out.extend((value as u32).to_be_bytes()));
        }
        Spelling::Text(style) => native::<Int64Type>(array, rows, sink, |value, out| {
            let name = style.names.as_ref().and_then(|names| names.name(ty.oid, value as u32));
            match name {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => text::push_i64(out, value),
            }
        }),
    }
}

fn decimals(array: &ArrayRef, ty: PgType, scale: i8, rows: Range<usize>, spelling: Spelling<'_>, sink: &mut impl Sink) {
    let is_bound = ty.precision_scale().is_some();
    native::<Decimal128Type>(array, rows, sink, |value, out| match spelling {
        Spelling::Text(_) if is_bound => text::push_decimal(out, value, scale),
        Spelling::Text(_) => text::push_decimal_trimmed(out, value, scale),
        Spelling::Binary => binary::push_numeric(out, value, scale),
    });
}

fn timestamps(array: &ArrayRef, zoned: bool, rows: Range<usize>, spelling: Spelling<'_>, sink: &mut impl Sink) {
    match spelling {
        Spelling::Binary => {
            native::<TimestampMicrosecondType>(array, rows, sink, |value, out| binary::push_timestamp(out, value));
        }
        Spelling::Text(style) if zoned => {
            let zone = ZoneCache::new(style.time_zone);
            native::<TimestampMicrosecondType>(array, rows, sink, |value, out| {
                text::push_timestamptz(out, value, style, &zone);
            });
        }
        Spelling::Text(style) => {
            native::<TimestampMicrosecondType>(array, rows, sink, |value, out| text::push_timestamp(out, value, style));
        }
    }
}

fn intervals(array: &ArrayRef, rows: Range<usize>, spelling: Spelling<'_>, sink: &mut impl Sink) -> Result<()> {
    if array.data_type() != &DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano) {
        return Err(Error::unsupported(format!("COPY of a column of type {}", array.data_type())));
    }
    native::<IntervalMonthDayNanoType>(array, rows, sink, |value, out| match spelling {
        Spelling::Text(style) => text::push_interval(out, IntervalValue::from_arrow(value), style.interval_style),
        Spelling::Binary => {
            out.extend((value.nanoseconds / 1000).to_be_bytes());
            out.extend(value.days.to_be_bytes());
            out.extend(value.months.to_be_bytes());
        }
    });
    Ok(())
}

fn strings(
    array: &ArrayRef,
    ty: PgType,
    rows: Range<usize>,
    spelling: Spelling<'_>,
    sink: &mut impl Sink,
) -> Result<()> {
    match array.data_type() {
        DataType::Utf8View => {
            let values = array.as_string_view();
            string_values(array, |row| values.value(row), ty, rows, spelling, sink)
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            string_values(array, |row| values.value(row), ty, rows, spelling, sink)
        }
        _ => {
            let values = array.as_string::<i32>();
            string_values(array, |row| values.value(row), ty, rows, spelling, sink)
        }
    }
}

fn string_values<'a>(
    array: &ArrayRef,
    value: impl Fn(usize) -> &'a str,
    ty: PgType,
    rows: Range<usize>,
    spelling: Spelling<'_>,
    sink: &mut impl Sink,
) -> Result<()> {
    match (spelling, ty.oid) {
        (Spelling::Binary, oid::UUID) => {
            for row in rows {
                if array.is_null(row) {
                    sink.null();
                    continue;
                }
                let uuid = crate::encode::input::uuid_bytes(value(row).as_bytes())?;
                sink.value(|out| out.extend_from_slice(&uuid));
            }
        }
        (Spelling::Binary, oid::JSONB) => each(array, rows, sink, |row, out| {
            out.push(1);
            out.extend_from_slice(value(row).as_bytes());
        }),
        _ => each(array, rows, sink, |row, out| out.extend_from_slice(value(row).as_bytes())),
    }
    Ok(())
}

fn bytes(array: &ArrayRef, rows: Range<usize>, spelling: Spelling<'_>, sink: &mut impl Sink) -> Result<()> {
    let plain = arrow::compute::cast(&array.slice(rows.start, rows.len()), &DataType::Binary)?;
    let values: &BinaryArray = plain.as_binary();
    each(&plain, 0..rows.len(), sink, |row, out| match spelling {
        Spelling::Text(style) => text::push_bytea(out, values.value(row), style.bytea_hex),
        Spelling::Binary => out.extend_from_slice(values.value(row)),
    });
    Ok(())
}

/// `{1,NULL,"a b"}`, or the binary form of one dimension.
fn lists(array: &ArrayRef, ty: PgType, rows: Range<usize>, spelling: Spelling<'_>, sink: &mut impl Sink) -> Result<()> {
    let lists = array.as_list::<i32>();
    let element = element_of(ty.oid).ok_or_else(|| Error::unsupported("COPY of a column of lists of lists"))?;
    let element = PgType { oid: element, typmod: ty.typmod };
    for row in rows {
        if array.is_null(row) {
            sink.null();
            continue;
        }
        let items = lists.value(row);
        let mut body = Items { out: Vec::new(), count: 0, nulls: false, binary: matches!(spelling, Spelling::Binary) };
        visit(&items, element, 0..items.len(), spelling, &mut body)?;
        sink.value(|out| body.finish(element, out));
    }
    Ok(())
}

/// The items of one array value.
struct Items {
    out: Vec<u8>,
    count: i32,
    nulls: bool,
    binary: bool,
}

impl Items {
    fn separate(&mut self) {
        if !self.binary && self.count > 0 {
            self.out.push(b',');
        }
        self.count += 1;
    }

    fn finish(self, element: PgType, out: &mut Vec<u8>) {
        if !self.binary {
            out.push(b'{');
            out.extend_from_slice(&self.out);
            out.push(b'}');
            return;
        }
        out.extend(i32::from(self.count > 0).to_be_bytes());
        out.extend(i32::from(self.nulls).to_be_bytes());
        out.extend(element.oid.to_be_bytes());
        if self.count > 0 {
            out.extend(self.count.to_be_bytes());
            out.extend(1_i32.to_be_bytes());
        }
        out.extend_from_slice(&self.out);
    }
}

impl Sink for Items {
    fn null(&mut self) {
        self.separate();
        self.nulls = true;
        if self.binary {
            self.out.extend((-1_i32).to_be_bytes());
        } else {
            self.out.extend_from_slice(b"NULL");
        }
    }

    fn value(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.separate();
        if self.binary {
            binary::push_sized(&mut self.out, write);
        } else {
            let start = self.out.len();
            write(&mut self.out);
            text::push_array_item(&mut self.out, start);
        }
    }
}
