//! The values of one bound column, and how each kind is written.

use std::sync::Arc;

use arrow::array::{BinaryArray, BinaryViewArray, FixedSizeBinaryArray, StringArray, StringViewArray};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::datatypes::IntervalMonthDayNano;

use super::array::ArrayValues;
use super::json::JsonValues;
use super::{Column, set_length};
use crate::encode::input::{self, IntervalValue};
use crate::encode::text::{
    ZoneCache, push_bool, push_bytea, push_date, push_decimal, push_decimal_trimmed, push_float4, push_float8,
    push_i64, push_interval, push_record_item, push_time, push_timestamp, push_timestamptz, push_u64, push_uuid,
};
use crate::encode::types::oid;
use crate::encode::{IntervalStyle, ObjectNames, TextStyle, binary};
use crate::error::Result;

/// Strings of either layout.
#[derive(Debug)]
pub(super) enum Strings {
    Utf8(StringArray),
    View(StringViewArray),
}

impl Strings {
    #[inline]
    fn get(&self, row: usize) -> &str {
        match self {
            Self::Utf8(text) => text.value(row),
            Self::View(text) => text.value(row),
        }
    }
}

/// A record's field: its type's OID and its values.
#[derive(Debug)]
pub(super) struct RecordField {
    pub oid: u32,
    pub column: Column,
}

/// Typed buffers with all that writing needs beside them. Rows are below the length of the array they were made from.
#[derive(Debug)]
pub(super) enum Values {
    Null,
    Bool(BooleanBuffer),
    Int2(ScalarBuffer<i16>),
    Int4(ScalarBuffer<i32>),
    Int8(ScalarBuffer<i64>),
    Oid { values: ScalarBuffer<u32>, type_oid: u32, names: Option<Arc<dyn ObjectNames>> },
    Float4(ScalarBuffer<f32>, i8),
    Float8(ScalarBuffer<f64>, i8),
    Numeric { values: ScalarBuffer<i128>, scale: i8, trimmed: bool },
    Utf8(StringArray),
    Utf8View(StringViewArray),
    Binary(BinaryArray, bool),
    BinaryView(BinaryViewArray, bool),
    Date(ScalarBuffer<i32>, Arc<TextStyle>),
    Time(ScalarBuffer<i64>),
    Timestamp(ScalarBuffer<i64>, Arc<TextStyle>),
    TimestampTz(ScalarBuffer<i64>, Arc<TextStyle>, ZoneCache),
    Interval(ScalarBuffer<IntervalMonthDayNano>, IntervalStyle),
    Uuid(Strings),
    UuidBytes(FixedSizeBinaryArray),
    Jsonb(Strings),
    Char(Strings),
    Array(Box<ArrayValues>),
    Record(Vec<RecordField>),
    NestedJson { json: Box<JsonValues>, binary_version: bool },
}

impl Values {
    /// Length and bytes of a string, which are the same in both formats; tells whether the values are strings.
    #[inline]
    pub(super) fn push_string_field(&self, row: usize, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Utf8(text) => super::push_str_field(out, text.value(row).as_bytes()),
            Self::Utf8View(text) => {
                if !super::push_inline_field(out, text.views()[row]) {
                    super::push_str_field(out, text.value(row).as_bytes());
                }
            }
            _ => return false,
        }
        true
    }

    #[inline]
    pub(super) fn push_text(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Null => {}
            Self::Bool(values) => push_bool(out, values.value(row)),
            Self::Int2(values) => push_i64(out, i64::from(values[row])),
            Self::Int4(values) => push_i64(out, i64::from(values[row])),
            Self::Int8(values) => push_i64(out, values[row]),
            Self::Oid { values, type_oid, names } => push_oid(out, values[row], *type_oid, names.as_deref()),
            Self::Float4(values, digits) => push_float4(out, values[row], *digits),
            Self::Float8(values, digits) => push_float8(out, values[row], *digits),
            Self::Numeric { values, scale, trimmed: false } => push_decimal(out, values[row], *scale),
            Self::Numeric { values, scale, trimmed: true } => push_decimal_trimmed(out, values[row], *scale),
            Self::Utf8(text) => out.extend_from_slice(text.value(row).as_bytes()),
            Self::Utf8View(text) => out.extend_from_slice(text.value(row).as_bytes()),
            Self::Binary(bytes, hex) => push_bytea(out, bytes.value(row), *hex),
            Self::BinaryView(bytes, hex) => push_bytea(out, bytes.value(row), *hex),
            Self::Date(values, style) => push_date(out, values[row], style),
            Self::Time(values) => push_time(out, values[row]),
            Self::Timestamp(values, style) => push_timestamp(out, values[row], style),
            Self::TimestampTz(values, style, zone) => push_timestamptz(out, values[row], style, zone),
            Self::Interval(values, style) => push_interval(out, IntervalValue::from_arrow(values[row]), *style),
            Self::Uuid(text) | Self::Jsonb(text) | Self::Char(text) => {
                out.extend_from_slice(text.get(row).as_bytes());
            }
            Self::UuidBytes(bytes) => {
                if let Some(bytes) = bytes.value(row).first_chunk() {
                    push_uuid(out, bytes);
                }
            }
            Self::Array(array) => array.push_text(row, out)?,
            Self::Record(fields) => push_record_text(fields, row, out)?,
            Self::NestedJson { json, .. } => json.push(row, out)?,
        }
        Ok(())
    }

    /// Length and value. The fixed ones are one copy of a constant size.
    #[inline]
    pub(super) fn push_binary_field(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Bool(values) => out.extend_from_slice(&sized::<1, 5>([u8::from(values.value(row))])),
            Self::Int2(values) => out.extend_from_slice(&sized::<2, 6>(values[row].to_be_bytes())),
            Self::Int4(values) => out.extend_from_slice(&sized::<4, 8>(values[row].to_be_bytes())),
            Self::Int8(values) => out.extend_from_slice(&sized::<8, 12>(values[row].to_be_bytes())),
            Self::Oid { values, .. } => out.extend_from_slice(&sized::<4, 8>(values[row].to_be_bytes())),
            Self::Float4(values, _) => out.extend_from_slice(&sized::<4, 8>(values[row].to_be_bytes())),
            Self::Float8(values, _) => out.extend_from_slice(&sized::<8, 12>(values[row].to_be_bytes())),
            Self::Date(values, _) => out.extend_from_slice(&sized::<4, 8>(binary::date(values[row]))),
            Self::Time(values) => out.extend_from_slice(&sized::<8, 12>(values[row].to_be_bytes())),
            Self::Timestamp(values, _) | Self::TimestampTz(values, _, _) => {
                out.extend_from_slice(&sized::<8, 12>(binary::timestamp(values[row])));
            }
            Self::Utf8(_) | Self::Utf8View(_) => {
                self.push_string_field(row, out);
            }
            _ => {
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                self.push_binary(row, out)?;
                set_length(out, start);
            }
        }
        Ok(())
    }

    #[inline]
    pub(super) fn push_binary(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Null => {}
            Self::Bool(values) => out.push(u8::from(values.value(row))),
            Self::Int2(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Self::Int4(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Self::Int8(values) | Self::Time(values) => out.extend_from_slice(&values[row].to_be_bytes()),
            Self::Oid { values, .. } => out.extend_from_slice(&values[row].to_be_bytes()),
            Self::Float4(values, _) => out.extend_from_slice(&values[row].to_be_bytes()),
            Self::Float8(values, _) => out.extend_from_slice(&values[row].to_be_bytes()),
            Self::Numeric { values, scale, trimmed: false } => binary::push_numeric(out, values[row], *scale),
            Self::Numeric { values, scale, trimmed: true } => binary::push_numeric_trimmed(out, values[row], *scale),
            Self::Utf8(text) => out.extend_from_slice(text.value(row).as_bytes()),
            Self::Utf8View(text) => out.extend_from_slice(text.value(row).as_bytes()),
            Self::Binary(bytes, _) => out.extend_from_slice(bytes.value(row)),
            Self::BinaryView(bytes, _) => out.extend_from_slice(bytes.value(row)),
            Self::Date(values, _) => out.extend_from_slice(&binary::date(values[row])),
            Self::Timestamp(values, _) | Self::TimestampTz(values, _, _) => {
                out.extend_from_slice(&binary::timestamp(values[row]));
            }
            Self::Interval(values, _) => {
                out.extend_from_slice(&binary::interval(IntervalValue::from_arrow(values[row])));
            }
            Self::Uuid(text) => out.extend_from_slice(&input::uuid_bytes(text.get(row).as_bytes())?),
            Self::UuidBytes(bytes) => out.extend_from_slice(bytes.value(row)),
            Self::Jsonb(text) => {
                out.push(JSONB_VERSION);
                out.extend_from_slice(text.get(row).as_bytes());
            }
            Self::Char(text) => out.push(char_byte(text.get(row))),
            Self::Array(array) => array.push_binary(row, out)?,
            Self::Record(fields) => push_record_binary(fields, row, out)?,
            Self::NestedJson { json, binary_version } => {
                if *binary_version {
                    out.push(JSONB_VERSION);
                }
                json.push(row, out)?;
            }
        }
        Ok(())
    }
}

const JSONB_VERSION: u8 = 1;

/// A value of `N` bytes behind its length; `M` is N + 4.
#[inline]
fn sized<const N: usize, const M: usize>(value: [u8; N]) -> [u8; M] {
    let mut field = [0; M];
    let (length, room) = field.split_at_mut(4);
    length.copy_from_slice(&(N as u32).to_be_bytes());
    room.copy_from_slice(&value);
    field
}

/// The byte of a `"char"`: `\ooo` is one that is not ASCII, nothing is NUL.
fn char_byte(text: &str) -> u8 {
    match text.as_bytes() {
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'] => (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'),
        [first, ..] => *first,
        [] => 0,
    }
}

fn push_oid(out: &mut Vec<u8>, value: u32, type_oid: u32, names: Option<&dyn ObjectNames>) {
    if matches!(type_oid, oid::OID | oid::XID | oid::CID) {
        return push_u64(out, u64::from(value));
    }
    if let Some(name) = names.and_then(|names| names.name(type_oid, value)) {
        out.extend_from_slice(name.as_bytes());
    } else if value == 0 {
        out.push(b'-');
    } else {
        push_u64(out, u64::from(value));
    }
}

/// `(1,"a b",)`
fn push_record_text(fields: &[RecordField], row: usize, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'(');
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let start = out.len();
        if field.column.write_text(row, out)? {
            push_record_item(out, start);
        }
    }
    out.push(b')');
    Ok(())
}

fn push_record_binary(fields: &[RecordField], row: usize, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(&(fields.len() as u32).to_be_bytes());
    for field in fields {
        out.extend_from_slice(&field.oid.to_be_bytes());
        field.column.write_binary_field(row, out)?;
    }
    Ok(())
}
