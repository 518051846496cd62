//! The generic door of the input functions: text of any type to its Arrow carrier.

use std::sync::Arc;

use arrow::array::{Array, ListArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;

use super::array::{ArrayItem, array_items};
use super::{InputContext, binary_text, datetime, interval, json, number, numeric, string};
use crate::encode::types::{PgType, arrow_type, element_of, format_type, oid};
use crate::error::{Error, Result};

/// The value that `text` is in the type `ty`, in the carrier that [`arrow_type`] gives. Plain `numeric` keeps the digits
/// it was written with: its precision and scale are its own.
pub fn parse_scalar(text: &str, ty: PgType, context: &InputContext) -> Result<ScalarValue> {
    if let Some(element) = element_of(ty.oid) {
        let element = PgType { oid: element, typmod: ty.typmod };
        return parse_array(text, ty, element, context);
    }
    Ok(match ty.oid {
        oid::BOOL => ScalarValue::Boolean(Some(number::boolean(text)?)),
        oid::INT2 => ScalarValue::Int16(Some(number::int2(text)?)),
        oid::INT4 => ScalarValue::Int32(Some(number::int4(text)?)),
        oid::INT8 => ScalarValue::Int64(Some(number::int8(text)?)),
        oid::OID | oid::XID | oid::CID => ScalarValue::Int64(Some(i64::from(number::oid(text)?))),
        oid::FLOAT4 => ScalarValue::Float32(Some(number::float4(text)?)),
        oid::FLOAT8 => ScalarValue::Float64(Some(number::float8(text)?)),
        oid::NUMERIC => parse_numeric(text, ty)?,
        oid::BYTEA => ScalarValue::Binary(Some(binary_text::bytea(text)?)),
        oid::DATE => ScalarValue::Date32(Some(datetime::date(text, context)?)),
        oid::TIME => ScalarValue::Time64Microsecond(Some(datetime::time(text, ty.typmod, context)?)),
        oid::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(datetime::timestamp(text, ty.typmod, context)?), None),
        oid::TIMESTAMPTZ => {
            let micros = datetime::timestamptz(text, ty.typmod, context)?;
            ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
        }
        oid::INTERVAL => {
            let value = interval::interval(text, ty.typmod, context)?;
            ScalarValue::IntervalMonthDayNano(Some(value.to_arrow()?))
        }
        _ => parse_text(text, ty)?,
    })
}

fn parse_numeric(text: &str, ty: PgType) -> Result<ScalarValue> {
    match ty.precision_scale() {
        Some((precision, scale)) => {
            Ok(ScalarValue::Decimal128(Some(numeric::numeric(text, precision, scale)?), precision, scale))
        }
        None => {
            let (value, precision, scale) = numeric::numeric_unbound(text)?;
            Ok(ScalarValue::Decimal128(Some(value), precision, scale))
        }
    }
}

/// The types that a string carries, and those whose input needs more than the text.
fn parse_text(text: &str, ty: PgType) -> Result<ScalarValue> {
    let owned = match ty.oid {
        oid::VARCHAR => string::varchar(text, ty.length_max())?.to_owned(),
        oid::BPCHAR => string::bpchar(text, ty.length_max())?.into_owned(),
        oid::NAME => string::name(text).to_owned(),
        oid::CHAR => string::char_type(text).into_owned(),
        oid::UUID => binary_text::uuid(text)?,
        oid::JSON => json::json(text)?.to_owned(),
        oid::JSONB => json::jsonb(text)?,
        oid::RECORD => {
            return Err(Error::unsupported("input of an anonymous composite type"));
        }
        reg if arrow_type(ty) == DataType::Int64 => return parse_reg(text, reg),
        _ => text.to_owned(),
    };
    Ok(ScalarValue::Utf8(Some(owned)))
}

/// A `reg…` value as a number; `-` is none. Names are the catalog's business, not an input function's.
fn parse_reg(text: &str, type_oid: u32) -> Result<ScalarValue> {
    if text == "-" {
        return Ok(ScalarValue::Int64(Some(0)));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(ScalarValue::Int64(Some(i64::from(number::oid(text)?))));
    }
    Err(Error::unsupported(format!("a name as {} here", format_type(PgType::of(type_oid))))
        .with_hint("Cast a literal, or pass the OID."))
}

fn parse_array(text: &str, ty: PgType, element: PgType, context: &InputContext) -> Result<ScalarValue> {
    if matches!(ty.oid, oid::INT2VECTOR | oid::OIDVECTOR) {
        let values = text
            .split_ascii_whitespace()
            .map(|item| parse_scalar(item, element, context))
            .collect::<Result<Vec<_>>>()?;
        return list_of(&values, &arrow_type(element));
    }
    let items = array_items(text)?;
    // Elements of plain numeric share one decimal: the one that every element fits into.
    let element = match ty.oid {
        1231 if ty.typmod < 0 => common_numeric(&items)?,
        _ => element,
    };
    list_of_items(&items, element, context)
}

fn list_of_items(items: &[ArrayItem<'_>], element: PgType, context: &InputContext) -> Result<ScalarValue> {
    let null = null_scalar(element)?;
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        values.push(match item {
            ArrayItem::Null => null.clone(),
            ArrayItem::Text(text) => parse_scalar(text, element, context)?,
            ArrayItem::Array(items) => list_of_items(items, element, context)?,
        });
    }
    let data_type = values.first().map_or_else(|| arrow_type(element), ScalarValue::data_type);
    list_of(&values, &data_type)
}

/// `numeric(p,s)` that holds every element's digits.
fn common_numeric(items: &[ArrayItem<'_>]) -> Result<PgType> {
    let (mut whole, mut scale) = (1_u8, 0_i8);
    let mut pending: Vec<&ArrayItem<'_>> = items.iter().collect();
    while let Some(item) = pending.pop() {
        match item {
            ArrayItem::Null => {}
            ArrayItem::Array(items) => pending.extend(items),
            ArrayItem::Text(text) => {
                let (_, own_precision, own_scale) = numeric::numeric_unbound(text)?;
                whole = whole.max(own_precision.saturating_sub(own_scale.unsigned_abs()));
                scale = scale.max(own_scale);
            }
        }
    }
    let scale = scale.min(38_u8.saturating_sub(whole) as i8);
    Ok(PgType::numeric(whole.saturating_add(scale.unsigned_abs()).clamp(1, 38), scale))
}

pub(crate) fn list_of(values: &[ScalarValue], element: &DataType) -> Result<ScalarValue> {
    let items =
        if values.is_empty() { new_empty_array(element) } else { ScalarValue::iter_to_array(values.iter().cloned())? };
    let field = Arc::new(Field::new_list_field(element.clone(), true));
    let list = ListArray::try_new(field, OffsetBuffer::from_lengths([items.len()]), items, None)?;
    Ok(ScalarValue::List(Arc::new(list)))
}

/// NULL in a query: a plain numeric has as few digits as there can be, so that it takes none from what it stands beside.
pub fn null_value(ty: PgType) -> Result<ScalarValue> {
    match ty {
        PgType { oid: oid::NUMERIC, typmod: ..0 } => Ok(ScalarValue::Decimal128(None, 1, 0)),
        _ => null_scalar(ty),
    }
}

/// NULL of the type's carrier.
pub fn null_scalar(ty: PgType) -> Result<ScalarValue> {
    Ok(ScalarValue::try_from(&arrow_type(ty))?)
}
