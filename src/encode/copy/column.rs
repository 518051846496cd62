//! Builders of the columns, one variant for each way a type's values are read: chosen once, then a tight loop per column.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanBuilder, NullBufferBuilder, OffsetBufferBuilder, PrimitiveArray,
    StringArray,
};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::scalar::ScalarValue;

use super::binary_value as binary;
use crate::encode::input::{self, InputContext};
use crate::encode::params;
use crate::encode::types::{PgType, arrow_type, oid};
use crate::error::{Error, Result};

/// Values of one column, in row order.
pub(super) trait Source {
    /// Calls `push` with every value; `None` is NULL. A refused value is the source's to report; where it goes on, it calls
    /// `push(None)` in its place.
    fn visit(&mut self, push: impl FnMut(Option<&[u8]>) -> Result<()>);
}

/// Collects one column's values as the Arrow carrier of its type.
pub struct ColumnBuilder {
    ty: PgType,
    values: Values,
}

enum Values {
    Bool(BooleanBuilder),
    Int2(Primitive<Int16Type>),
    Int4(Primitive<Int32Type>),
    Int8(Primitive<Int64Type>),
    Oid(Primitive<Int64Type>),
    Float4(Primitive<Float32Type>),
    Float8(Primitive<Float64Type>),
    Numeric(Primitive<Decimal128Type>, u8, i8),
    Date(Primitive<Date32Type>),
    Time(Primitive<Time64MicrosecondType>),
    Timestamp(Primitive<TimestampMicrosecondType>),
    Timestamptz(Primitive<TimestampMicrosecondType>),
    Text(Varlen, TextRule),
    Bytea(Varlen),
    /// Types that are rare in bulk: each value is a scalar of its own.
    Scalars(Vec<ScalarValue>),
}

/// What a character type asks of a text.
#[derive(Debug, Clone, Copy)]
enum TextRule {
    Any,
    Varchar(usize),
    Bpchar(usize),
    Name,
    Char,
    Uuid,
    Json,
    Jsonb,
}

impl ColumnBuilder {
    /// A builder of values of `ty`, with room for `rows`.
    pub fn new(ty: PgType, rows: usize) -> Self {
        let values = match ty.oid {
            oid::BOOL => Values::Bool(BooleanBuilder::with_capacity(rows)),
            oid::INT2 => Values::Int2(Primitive::new(rows)),
            oid::INT4 => Values::Int4(Primitive::new(rows)),
            oid::INT8 => Values::Int8(Primitive::new(rows)),
            oid::OID | oid::XID | oid::CID => Values::Oid(Primitive::new(rows)),
            oid::FLOAT4 => Values::Float4(Primitive::new(rows)),
            oid::FLOAT8 => Values::Float8(Primitive::new(rows)),
            oid::DATE => Values::Date(Primitive::new(rows)),
            oid::TIME => Values::Time(Primitive::new(rows)),
            oid::TIMESTAMP => Values::Timestamp(Primitive::new(rows)),
            oid::TIMESTAMPTZ => Values::Timestamptz(Primitive::new(rows)),
            oid::BYTEA => Values::Bytea(Varlen::new(rows)),
            _ => match (arrow_type(ty), text_rule(ty)) {
                (DataType::Decimal128(precision, scale), _) => Values::Numeric(Primitive::new(rows), precision, scale),
                (DataType::Utf8, rule) => Values::Text(Varlen::new(rows), rule),
                _ => Values::Scalars(Vec::with_capacity(rows)),
            },
        };
        Self { ty, values }
    }

    /// Appends one value from its text. Errors: PostgreSQL's, nothing is appended then.
    pub fn append_text(&mut self, text: Option<&str>, context: &InputContext) -> Result<()> {
        let mut source = One { value: text.map(str::as_bytes), error: None };
        self.fill_from_text(&mut source, context);
        source.error.map_or(Ok(()), Err)
    }

    /// Appends a source's values from their texts, which must be UTF-8.
    pub(super) fn fill_from_text(&mut self, source: &mut impl Source, context: &InputContext) {
        let ty = self.ty;
        match &mut self.values {
            Values::Bool(to) => source.visit(|text| push_bool(to, text, input::boolean_bytes)),
            Values::Int2(to) => source.visit(|text| to.push(text, input::int2_bytes)),
            Values::Int4(to) => source.visit(|text| to.push(text, input::int4_bytes)),
            Values::Int8(to) => source.visit(|text| to.push(text, input::int8_bytes)),
            Values::Oid(to) => source.visit(|text| to.push(text, |text| input::oid_bytes(text).map(i64::from))),
            Values::Float4(to) => source.visit(|text| to.push(text, input::float4_bytes)),
            Values::Float8(to) => source.visit(|text| to.push(text, input::float8_bytes)),
            Values::Numeric(to, precision, scale) => {
                let (precision, scale) = (*precision, *scale);
                source.visit(|text| to.push(text, |text| input::numeric_bytes(text, precision, scale)));
            }
            Values::Date(to) => source.visit(|text| to.push(text, |text| input::date_bytes(text, context))),
            Values::Time(to) => source.visit(|text| to.push(text, |text| input::time_bytes(text, ty.typmod, context))),
            Values::Timestamp(to) => {
                source.visit(|text| to.push(text, |text| input::timestamp_bytes(text, ty.typmod, context)));
            }
            Values::Timestamptz(to) => {
                source.visit(|text| to.push(text, |text| input::timestamptz_bytes(text, ty.typmod, context)));
            }
            Values::Text(to, rule) => fill_text(to, *rule, source),
            Values::Bytea(to) => source.visit(|text| match text {
                Some(text) => to.push(Some(&input::bytea(input::utf8(text)?)?)),
                None => to.push(None),
            }),
            Values::Scalars(to) => source.visit(|text| {
                to.push(match text {
                    Some(text) => input::parse_scalar(input::utf8(text)?, ty, context)?,
                    None => input::null_scalar(ty)?,
                });
                Ok(())
            }),
        }
    }

    /// Appends a source's values from PostgreSQL's binary format.
    pub(super) fn fill_from_binary(&mut self, source: &mut impl Source) {
        let ty = self.ty;
        match &mut self.values {
            Values::Bool(to) => source.visit(|bytes| push_bool(to, bytes, binary::boolean)),
            Values::Int2(to) => source.visit(|bytes| to.push(bytes, binary::int2)),
            Values::Int4(to) => source.visit(|bytes| to.push(bytes, binary::int4)),
            Values::Int8(to) => source.visit(|bytes| to.push(bytes, binary::int8)),
            Values::Oid(to) => source.visit(|bytes| to.push(bytes, binary::oid)),
            Values::Float4(to) => source.visit(|bytes| to.push(bytes, binary::float4)),
            Values::Float8(to) => source.visit(|bytes| to.push(bytes, binary::float8)),
            Values::Numeric(to, precision, scale) => {
                let (precision, scale) = (*precision, *scale);
                source.visit(|bytes| to.push(bytes, |bytes| binary::numeric(bytes, precision, scale)));
            }
            Values::Date(to) => source.visit(|bytes| to.push(bytes, binary::date)),
            Values::Time(to) => source.visit(|bytes| to.push(bytes, binary::time)),
            Values::Timestamp(to) | Values::Timestamptz(to) => {
                source.visit(|bytes| to.push(bytes, binary::timestamp));
            }
            Values::Text(to, TextRule::Uuid) => source.visit(|bytes| match bytes {
                Some(bytes) => to.push(Some(binary::uuid(bytes)?.as_bytes())),
                None => to.push(None),
            }),
            Values::Text(to, TextRule::Jsonb) => source.visit(|bytes| match bytes {
                Some(bytes) => push_text(to, TextRule::Jsonb, input::utf8(binary::jsonb(bytes)?)?.as_bytes()),
                None => to.push(None),
            }),
            Values::Text(to, rule) => {
                let rule = *rule;
                source.visit(|bytes| match bytes {
                    Some(bytes) => push_text(to, rule, input::utf8(bytes)?.as_bytes()),
                    None => to.push(None),
                });
            }
            Values::Bytea(to) => source.visit(|bytes| to.push(bytes)),
            Values::Scalars(to) => source.visit(|bytes| {
                to.push(match bytes {
                    Some(bytes) => params::receive(bytes, ty)?,
                    None => input::null_scalar(ty)?,
                });
                Ok(())
            }),
        }
    }

    /// The column. Errors: 54000 for more than 2 GiB of text.
    pub fn finish(self) -> Result<ArrayRef> {
        Ok(match self.values {
            Values::Bool(mut values) => Arc::new(values.finish()),
            Values::Int2(values) => Arc::new(values.finish()),
            Values::Int4(values) => Arc::new(values.finish()),
            Values::Int8(values) | Values::Oid(values) => Arc::new(values.finish()),
            Values::Float4(values) => Arc::new(values.finish()),
            Values::Float8(values) => Arc::new(values.finish()),
            Values::Numeric(values, precision, scale) => {
                Arc::new(values.finish().with_precision_and_scale(precision, scale)?)
            }
            Values::Date(values) => Arc::new(values.finish()),
            Values::Time(values) => Arc::new(values.finish()),
            Values::Timestamp(values) => Arc::new(values.finish()),
            Values::Timestamptz(values) => Arc::new(values.finish().with_timezone("UTC")),
            Values::Text(values, _) => Arc::new(values.finish_text()?),
            Values::Bytea(values) => Arc::new(values.finish_bytes()?),
            Values::Scalars(values) if values.is_empty() => arrow::array::new_empty_array(&arrow_type(self.ty)),
            Values::Scalars(values) => {
                let wanted = arrow_type(self.ty);
                let values = values.into_iter().map(|value| of_type(value, &wanted)).collect::<Result<Vec<_>>>()?;
                ScalarValue::iter_to_array(values)?
            }
        })
    }
}

/// The value in its column's carrier: an array's elements tell their own scale.
fn of_type(value: ScalarValue, wanted: &DataType) -> Result<ScalarValue> {
    if value.data_type() == *wanted {
        return Ok(value);
    }
    value.cast_to(wanted).map_err(|_| Error::unsupported("an array of several dimensions in a table"))
}

fn text_rule(ty: PgType) -> TextRule {
    match (ty.oid, ty.length_max()) {
        (oid::VARCHAR, Some(length)) => TextRule::Varchar(length),
        (oid::BPCHAR, Some(length)) => TextRule::Bpchar(length),
        (oid::NAME, _) => TextRule::Name,
        (oid::CHAR, _) => TextRule::Char,
        (oid::UUID, _) => TextRule::Uuid,
        (oid::JSON, _) => TextRule::Json,
        (oid::JSONB, _) => TextRule::Jsonb,
        _ => TextRule::Any,
    }
}

fn fill_text(to: &mut Varlen, rule: TextRule, source: &mut impl Source) {
    match rule {
        TextRule::Any => source.visit(|text| to.push(text)),
        TextRule::Varchar(length) => source.visit(|text| match text {
            Some(long) if long.len() > length => push_text(to, rule, long),
            fitting => to.push(fitting),
        }),
        TextRule::Bpchar(length) => source.visit(|text| match text {
            Some(text) if text.len() <= length && text.is_ascii() => to.push_padded(text, length),
            Some(text) => push_text(to, rule, text),
            None => to.push(None),
        }),
        _ => source.visit(|text| match text {
            Some(text) => push_text(to, rule, text),
            None => to.push(None),
        }),
    }
}

/// The full rules of a character type.
fn push_text(to: &mut Varlen, rule: TextRule, bytes: &[u8]) -> Result<()> {
    if let TextRule::Any = rule {
        return to.push(Some(bytes));
    }
    let text = input::utf8(bytes)?;
    match rule {
        TextRule::Any => to.push(Some(bytes)),
        TextRule::Varchar(length) => to.push(Some(input::varchar(text, Some(length))?.as_bytes())),
        TextRule::Bpchar(length) => to.push(Some(input::bpchar(text, Some(length))?.as_bytes())),
        TextRule::Name => to.push(Some(input::name(text).as_bytes())),
        TextRule::Char => to.push(Some(input::char_type(text).as_bytes())),
        TextRule::Uuid => to.push(Some(input::uuid(text)?.as_bytes())),
        TextRule::Json => {
            input::json(text)?;
            to.push(Some(bytes))
        }
        TextRule::Jsonb => to.push(Some(input::jsonb(text)?.as_bytes())),
    }
}

fn push_bool(to: &mut BooleanBuilder, value: Option<&[u8]>, parse: impl Fn(&[u8]) -> Result<bool>) -> Result<()> {
    to.append_option(value.map(parse).transpose()?);
    Ok(())
}

/// A vector of native values and its validity.
struct Primitive<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> Primitive<T> {
    fn new(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows) }
    }

    #[inline]
    fn push(&mut self, value: Option<&[u8]>, parse: impl Fn(&[u8]) -> Result<T::Native>) -> Result<()> {
        match value {
            Some(bytes) => {
                self.values.push(parse(bytes)?);
                self.nulls.append_non_null();
            }
            None => {
                self.values.push(T::Native::default());
                self.nulls.append_null();
            }
        }
        Ok(())
    }

    fn finish(mut self) -> PrimitiveArray<T> {
        PrimitiveArray::new(ScalarBuffer::from(self.values), self.nulls.finish())
    }
}

/// Bytes of any length, one after the other.
struct Varlen {
    bytes: Vec<u8>,
    offsets: OffsetBufferBuilder<i32>,
    nulls: NullBufferBuilder,
}

impl Varlen {
    fn new(rows: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(rows * 16),
            offsets: OffsetBufferBuilder::new(rows),
            nulls: NullBufferBuilder::new(rows),
        }
    }

    #[inline]
    fn push(&mut self, value: Option<&[u8]>) -> Result<()> {
        match value {
            Some(value) => {
                self.bytes.extend_from_slice(value);
                self.offsets.push_length(value.len());
                self.nulls.append_non_null();
            }
            None => {
                self.offsets.push_length(0);
                self.nulls.append_null();
            }
        }
        Ok(())
    }

    /// `char(n)` of ASCII: spaces up to the length.
    #[inline]
    fn push_padded(&mut self, value: &[u8], length: usize) -> Result<()> {
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len() + length - value.len(), b' ');
        self.offsets.push_length(length);
        self.nulls.append_non_null();
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if i32::try_from(self.bytes.len()).is_err() {
            return Err(crate::error::Error::new(
                crate::error::SqlState::ProgramLimitExceeded,
                "a batch's values of one column exceed 2 GiB",
            ));
        }
        Ok(())
    }

    /// Checks the UTF-8 of all values at once.
    fn finish_text(mut self) -> Result<StringArray> {
        self.check()?;
        Ok(StringArray::try_new(self.offsets.finish(), Buffer::from_vec(self.bytes), self.nulls.finish())?)
    }

    fn finish_bytes(mut self) -> Result<BinaryArray> {
        self.check()?;
        Ok(BinaryArray::try_new(self.offsets.finish(), Buffer::from_vec(self.bytes), self.nulls.finish())?)
    }
}

/// A source of one value.
struct One<'a> {
    value: Option<&'a [u8]>,
    error: Option<crate::error::Error>,
}

impl Source for One<'_> {
    fn visit(&mut self, mut push: impl FnMut(Option<&[u8]>) -> Result<()>) {
        self.error = push(self.value).err();
    }
}
