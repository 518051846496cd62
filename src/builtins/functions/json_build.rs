//! Values as JSON: `to_json`, `json_build_…`, `row_to_json`, and the aggregates that collect JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StringArray, StructArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;

use super::build::{aggregate, scalar};
use super::json_text::push_string;
use super::kernel::{Call, Kernel, Returns, some};
use super::{Function, Volatility, style};
use crate::builtins::Context;
use crate::encode::column::{Column, ColumnWriter};
use crate::encode::input;
use crate::encode::types::{PgType, element_of, oid, pg_type_of, pg_type_of_field};
use crate::encode::{DateStyle, TextStyle};
use crate::error::{Error, Result, SqlState};

/// How the values of one array become JSON.
enum Values {
    Boolean(BooleanArray),
    Number(Column),
    /// ISO 8601 with a T.
    Moment(Column),
    Json(Column),
    Text(Column),
    List(ListArray, Box<Values>),
    Record(StructArray, Vec<(String, Values)>),
}

impl Values {
    fn new(array: &ArrayRef, ty: PgType, style: &Arc<TextStyle>) -> Result<Self> {
        if let Some(lists) = array.as_list_opt::<i32>() {
            let nested = matches!(lists.values().data_type(), DataType::List(_));
            let element = match element_of(ty.oid) {
                Some(element) if !nested => PgType::of(element),
                Some(_) => ty,
                None => pg_type_of(lists.values().data_type()),
            };
            return Ok(Self::List(lists.clone(), Box::new(Self::new(lists.values(), element, style)?)));
        }
        if let Some(record) = array.as_struct_opt() {
            let fields = record.fields().iter().zip(record.columns());
            let fields = fields
                .map(|(field, column)| Ok((field.name().clone(), Self::new(column, pg_type_of_field(field), style)?)))
                .collect::<Result<_>>()?;
            return Ok(Self::Record(record.clone(), fields));
        }
        if let Some(booleans) = array.as_boolean_opt() {
            return Ok(Self::Boolean(booleans.clone()));
        }
        let column = ColumnWriter::new(array.data_type(), ty, style)?.bind(array)?;
        Ok(match ty.oid {
            oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC => Self::Number(column),
            oid::TIMESTAMP | oid::TIMESTAMPTZ => Self::Moment(column),
            oid::JSON | oid::JSONB => Self::Json(column),
            _ => Self::Text(column),
        })
    }

    fn write(&self, row: usize, out: &mut String) -> Result<()> {
        match self {
            Self::Boolean(values) if values.is_null(row) => out.push_str("null"),
            Self::Boolean(values) => out.push_str(if values.value(row) { "true" } else { "false" }),
            Self::Number(column) => match text(column, row)? {
                None => out.push_str("null"),
                // NaN and the infinities are no numbers of JSON.
                Some(text) if text.trim_start_matches('-').starts_with(['N', 'I']) => push_string(out, &text),
                Some(text) => out.push_str(&text),
            },
            Self::Moment(column) => match text(column, row)? {
                None => out.push_str("null"),
                Some(text) => push_moment(out, &text),
            },
            Self::Json(column) => out.push_str(text(column, row)?.as_deref().unwrap_or("null")),
            Self::Text(column) => match text(column, row)? {
                None => out.push_str("null"),
                Some(text) => push_string(out, &text),
            },
            Self::List(lists, _) if lists.is_null(row) => out.push_str("null"),
            Self::List(lists, items) => {
                let bound = |at: usize| lists.value_offsets().get(at).map_or(0, |offset| *offset as usize);
                out.push('[');
                for (at, item) in (bound(row)..bound(row + 1)).enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    items.write(item, out)?;
                }
                out.push(']');
            }
            Self::Record(record, _) if record.is_null(row) => out.push_str("null"),
            Self::Record(_, fields) => {
                out.push('{');
                for (at, (name, values)) in fields.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    push_string(out, name);
                    out.push(':');
                    values.write(row, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }
}

fn text(column: &Column, row: usize) -> Result<Option<String>> {
    let mut bytes = Vec::with_capacity(24);
    if !column.write_text(row, &mut bytes)? {
        return Ok(None);
    }
    String::from_utf8(bytes).map(Some).map_err(|_| Error::internal("a text that is not UTF-8"))
}

/// `2020-01-31 12:00:00+00` as `"2020-01-31T12:00:00+00:00"`.
fn push_moment(out: &mut String, text: &str) {
    let (day, time) = text.split_once(' ').unwrap_or((text, ""));
    out.extend(["\"", day]);
    if !time.is_empty() {
        let (time, era) = time.split_once(' ').unwrap_or((time, ""));
        out.extend(["T", time]);
        if time.rfind(['+', '-']).is_some_and(|sign| time.len() - sign == 3) {
            out.push_str(":00");
        }
        if !era.is_empty() {
            out.extend([" ", era]);
        }
    }
    out.push('"');
}

fn convert(call: &Call) -> Result<ArrayRef> {
    let mut style = style::text_style(call.context()?);
    style.date_style = DateStyle::Iso;
    let array = call.raw(0)?;
    let ty = if call.target == PgType::UNKNOWN { pg_type_of(array.data_type()) } else { call.target };
    let values = Values::new(array, ty, &Arc::new(style))?;
    let nulls = array.logical_nulls();
    call.texts(|row, out| {
        let at = call.row_of(0, row);
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(at)) {
            return Ok(None);
        }
        values.write(at, out)?;
        Ok(Some(()))
    })
}

/// The value of type `ty` as JSON text; NULL stays NULL.
pub fn to_json(context: &Arc<Context>, value: Expr, ty: PgType) -> Result<Expr> {
    if matches!(ty.oid, oid::JSON | oid::JSONB) {
        return Ok(value);
    }
    if has_documents(&value) {
        return row_to_json(context, value);
    }
    Kernel::new("to_json", ty.oid, Volatility::Stable, Returns::Fixed(DataType::Utf8), convert)
        .with_target(ty)
        .with_context(context)
        .call(vec![value])
}

/// What [`document`] is called.
const DOCUMENT: &str = "json_document";

/// JSON among the fields of a row, which carries it like any text.
pub fn document(value: Expr) -> Expr {
    let kernel = Kernel::new(DOCUMENT, 0, Volatility::Immutable, Returns::Fixed(DataType::Utf8), same);
    // Not computed where it is a constant: then nobody would know it again.
    kernel.udf().call(vec![value])
}

fn is_document(value: &Expr) -> bool {
    matches!(value, Expr::ScalarFunction(call) if call.name() == DOCUMENT)
}

fn is_row(call: &ScalarFunction) -> bool {
    call.name() == "named_struct"
}

/// Whether the value is a row that is put together here, with JSON in it.
fn has_documents(value: &Expr) -> bool {
    let Expr::ScalarFunction(call) = value else { return false };
    let mut values = call.args.iter().skip(1).step_by(2);
    is_row(call) && values.any(|value| is_document(value) || has_documents(value))
}

/// A row field by field.
fn row_to_json(context: &Arc<Context>, row: Expr) -> Result<Expr> {
    let Expr::ScalarFunction(call) = row else { return Err(Error::internal("a row was expected")) };
    let mut arguments = Vec::with_capacity(call.args.len());
    for (index, argument) in call.args.into_iter().enumerate() {
        let is_name = index % 2 == 0;
        let json = is_name || is_document(&argument);
        arguments.push(if json { argument } else { to_json(context, argument, PgType::UNKNOWN)? });
    }
    Kernel::new("json_row", 0, Volatility::Stable, Returns::Fixed(DataType::Utf8), joined).call(arguments)
}

/// Names and JSON texts as an object.
fn joined(call: &Call) -> Result<ArrayRef> {
    let columns = (0..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.texts(|row, out| {
        out.push('{');
        for (at, pair) in columns.chunks(2).enumerate() {
            let [name, value] = pair else { continue };
            out.push_str(if at > 0 { "," } else { "" });
            push_string(out, name.get(row).unwrap_or_default());
            out.push(':');
            out.push_str(value.get(row).unwrap_or("null"));
        }
        out.push('}');
        Ok(Some(()))
    })
}

/// The functions of `"any"` that take their arguments as JSON; keys of objects as text.
pub fn takes_json(function: &str, index: usize) -> Option<bool> {
    match function {
        "json_build_object" | "jsonb_build_object" | "json_object_agg" | "jsonb_object_agg" => Some(index % 2 == 1),
        "json_build_array" | "jsonb_build_array" | "to_json" | "to_jsonb" | "row_to_json" | "array_to_json"
        | "json_agg" | "jsonb_agg" => Some(true),
        _ => None,
    }
}

fn same(call: &Call) -> Result<ArrayRef> {
    Ok(Arc::new(call.text(0)?.array))
}

fn canonical(call: &Call) -> Result<ArrayRef> {
    let values = call.text(0)?;
    call.texts(|row, out| {
        out.push_str(&input::jsonb(some!(values.get(row)))?);
        Ok(Some(()))
    })
}

/// Texts to jsonb's notation, when the function's name says jsonb.
fn finish(call: &Call, text: &str, out: &mut String) -> Result<()> {
    if call.name.starts_with("jsonb") {
        out.push_str(&input::jsonb(text)?);
    } else {
        out.push_str(text);
    }
    Ok(())
}

fn build_array(call: &Call) -> Result<ArrayRef> {
    let columns = (0..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    let mut text = String::new();
    call.texts(|row, out| {
        text.clear();
        text.push('[');
        for (at, column) in columns.iter().enumerate() {
            text.push_str(if at > 0 { ", " } else { "" });
            text.push_str(column.get(row).unwrap_or("null"));
        }
        text.push(']');
        finish(call, &text, out).map(Some)
    })
}

fn build_object(call: &Call) -> Result<ArrayRef> {
    if call.len() % 2 == 1 {
        let name = call.name;
        let hint = format!("The arguments of {name}() must consist of alternating keys and values.");
        let message = "argument list must have even number of elements";
        return Err(Error::new(SqlState::InvalidParameterValue, message).with_hint(hint));
    }
    let columns = (0..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    let mut text = String::new();
    call.texts(|row, out| {
        text.clear();
        text.push('{');
        for (at, pair) in columns.chunks(2).enumerate() {
            let [key, value] = pair else { continue };
            text.push_str(if at > 0 { ", " } else { "" });
            push_string(&mut text, key.get(row).ok_or_else(|| null_key(call, at * 2 + 1))?);
            text.push_str(" : ");
            text.push_str(value.get(row).unwrap_or("null"));
        }
        text.push('}');
        finish(call, &text, out).map(Some)
    })
}

fn null_key(call: &Call, argument: usize) -> Error {
    if call.name.starts_with("jsonb") {
        return Error::new(SqlState::InvalidParameterValue, format!("argument {argument}: key must not be null"));
    }
    Error::new(SqlState::InvalidParameterValue, format!("argument {argument} cannot be null"))
        .with_hint("Object keys should be text.")
}

/// How long the rows of an array of two dimensions are.
fn second_dimension(array: &ArrayRef) -> Option<i32> {
    let rows = array.as_list_opt::<i32>()?.values().as_list_opt::<i32>()?;
    (!rows.is_empty()).then(|| rows.value_length(0))
}

/// `json_object(text[])`, of pairs, and `json_object(keys, values)`.
fn object(call: &Call) -> Result<ArrayRef> {
    let refuse = |message: &str| Error::new(SqlState::ArraySubscriptError, message);
    if let Some(columns) = second_dimension(call.raw(0)?) {
        if call.len() > 1 {
            return Err(refuse("wrong number of array subscripts"));
        }
        if columns != 2 {
            return Err(refuse("array must have two columns"));
        }
    }
    call.texts(|row, out| {
        let first = some!(super::json_operators::keys_at(call, 0, row)?);
        let second = if call.len() > 1 { Some(some!(super::json_operators::keys_at(call, 1, row)?)) } else { None };
        match &second {
            Some(values) if values.len() != first.len() => return Err(refuse("mismatched array dimensions")),
            None if first.len() % 2 == 1 => return Err(refuse("array must have even number of elements")),
            _ => {}
        }
        let value_at = |array: &StringArray, at: usize| array.is_valid(at).then(|| array.value(at).to_owned());
        let count = if second.is_some() { first.len() } else { first.len() / 2 };
        let mut text = String::from("{");
        for at in 0..count {
            let (key, value) = match &second {
                Some(values) => (value_at(&first, at), value_at(values, at)),
                None => (value_at(&first, 2 * at), value_at(&first, 2 * at + 1)),
            };
            let key =
                key.ok_or_else(|| Error::new(SqlState::NullValueNotAllowed, "null value not allowed for object key"))?;
            text.push_str(if at > 0 { ", " } else { "" });
            push_string(&mut text, &key);
            text.push_str(" : ");
            match value {
                Some(value) => push_string(&mut text, &value),
                None => text.push_str("null"),
            }
        }
        text.push('}');
        finish(call, &text, out).map(Some)
    })
}

/// The lists that the aggregates collected, as one document.
fn collected(call: &Call) -> Result<ArrayRef> {
    let array = call.raw(0)?;
    let lists = array.as_list_opt::<i32>().ok_or_else(|| Error::internal("a list was expected"))?;
    let is_object = call.name.contains("object");
    // Composite values and arrays stand on lines of their own.
    let separator = if call.oid == 1 { ", \n " } else { ", " };
    call.texts(|row, out| {
        let at = call.row_of(0, row);
        if lists.is_null(at) {
            return Ok(None);
        }
        let items = crate::encode::cast(&lists.value(at), &DataType::Utf8)?;
        let mut text = String::from(if is_object { "{ " } else { "[" });
        for (at, item) in items.as_string::<i32>().iter().enumerate() {
            text.push_str(if at > 0 { separator } else { "" });
            text.push_str(item.unwrap_or("null"));
        }
        text.push_str(if is_object { " }" } else { "]" });
        finish(call, &text, out).map(Some)
    })
}

/// What an aggregate that collects JSON makes of the list of its values.
pub fn collect(name: &'static str, lines: bool, list: Expr) -> Result<Expr> {
    Kernel::new(name, u32::from(lines), Volatility::Immutable, Returns::Fixed(DataType::Utf8), collected)
        .call(vec![list])
}

fn pair(call: &Call) -> Result<ArrayRef> {
    let (keys, values) = (call.text(0)?, call.text(1)?);
    call.texts(|row, out| {
        let key =
            keys.get(row).ok_or_else(|| Error::new(SqlState::InvalidParameterValue, "field name must not be null"))?;
        push_string(out, key);
        out.push_str(" : ");
        out.push_str(values.get(row).unwrap_or("null"));
        Ok(Some(()))
    })
}

/// `"key" : value`, the item that `json_object_agg` collects.
pub fn member(key: Expr, value: Expr) -> Result<Expr> {
    Kernel::new("json_member", 0, Volatility::Immutable, Returns::Fixed(DataType::Utf8), pair).call(vec![key, value])
}

pub(super) fn functions() -> Vec<Function> {
    let list = datafusion::functions_aggregate::array_agg::array_agg_udaf;
    vec![
        scalar(3176, "to_json(anyelement) json", same),
        scalar(3787, "to_jsonb(anyelement) jsonb", canonical),
        scalar(3155, "row_to_json(record) json", same),
        scalar(3153, "array_to_json(anyarray) json", same),
        scalar(3198, "json_build_array(variadic any) json", build_array).not_strict(),
        scalar(3199, "json_build_array() json", build_array).not_strict(),
        scalar(3271, "jsonb_build_array(variadic any) jsonb", build_array).not_strict(),
        scalar(3272, "jsonb_build_array() jsonb", build_array).not_strict(),
        scalar(3200, "json_build_object(variadic any) json", build_object).not_strict(),
        scalar(3201, "json_build_object() json", build_object).not_strict(),
        scalar(3273, "jsonb_build_object(variadic any) jsonb", build_object).not_strict(),
        scalar(3274, "jsonb_build_object() jsonb", build_object).not_strict(),
        scalar(3202, "json_object(_text) json", object),
        scalar(3203, "json_object(_text, _text) json", object),
        scalar(3263, "jsonb_object(_text) jsonb", object),
        scalar(3264, "jsonb_object(_text, _text) jsonb", object),
        aggregate(3175, "json_agg(anyelement) json", list()),
        aggregate(3267, "jsonb_agg(anyelement) jsonb", list()),
        aggregate(3197, "json_object_agg(any, any) json", list()),
        aggregate(3270, "jsonb_object_agg(any, any) jsonb", list()),
    ]
}
