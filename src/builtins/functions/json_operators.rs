//! Operators of json and jsonb, over their text.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use serde_json::Value;

use super::kernel::{Call, some};
use crate::encode::types::oid;
use crate::error::{Error, Result, SqlState};

/// Parses a stored document.
pub fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|_| Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json"))
}

/// jsonb's text: a space after `:` and `,`.
pub fn write(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (at, (key, item)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push_str(": ");
                write(item, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// The value as `->>` gives it: a string without quotes, null as NULL.
fn write_text(value: &Value, out: &mut String) -> Option<()> {
    match value {
        Value::Null => return None,
        Value::String(text) => out.push_str(text),
        other => write(other, out),
    }
    Some(())
}

fn element(value: &Value, index: i64) -> Option<&Value> {
    let items = value.as_array()?;
    let at = if index < 0 { items.len().checked_sub(index.unsigned_abs() as usize)? } else { index as usize };
    items.get(at)
}

fn fields(call: &Call, as_text: bool) -> Result<ArrayRef> {
    let (documents, keys) = (call.text(0)?, call.text(1)?);
    call.texts(|row, out| {
        let (document, key) = (parse(some!(documents.get(row)))?, some!(keys.get(row)));
        let found = some!(document.get(key));
        if as_text {
            return Ok(write_text(found, out));
        }
        write(found, out);
        Ok(Some(()))
    })
}

pub fn field(call: &Call) -> Result<ArrayRef> {
    fields(call, false)
}
pub fn field_text(call: &Call) -> Result<ArrayRef> {
    fields(call, true)
}

fn items(call: &Call, as_text: bool) -> Result<ArrayRef> {
    let (documents, indexes) = (call.text(0)?, call.int(1)?);
    call.texts(|row, out| {
        let (document, index) = (parse(some!(documents.get(row)))?, some!(indexes.get(row)));
        let found = some!(element(&document, index));
        if as_text {
            return Ok(write_text(found, out));
        }
        write(found, out);
        Ok(Some(()))
    })
}

pub fn item(call: &Call) -> Result<ArrayRef> {
    items(call, false)
}
pub fn item_text(call: &Call) -> Result<ArrayRef> {
    items(call, true)
}

/// The texts of a `text[]` argument in a row.
fn keys_at(call: &Call, index: usize, row: usize) -> Result<Option<StringArray>> {
    let array = call.raw(index)?;
    let lists = array.as_list_opt::<i32>().ok_or_else(|| Error::internal("an array was expected"))?;
    let at = call.row_of(index, row);
    if lists.is_null(at) {
        return Ok(None);
    }
    let texts = arrow::compute::cast(&lists.value(at), &arrow::datatypes::DataType::Utf8)?;
    Ok(texts.as_string_opt::<i32>().cloned())
}

fn walk<'v>(document: &'v Value, keys: &StringArray) -> Option<&'v Value> {
    let mut value = document;
    for key in keys {
        let key = key?;
        value = match value {
            Value::Array(_) => element(value, key.parse().ok()?)?,
            other => other.get(key)?,
        };
    }
    Some(value)
}

fn paths(call: &Call, as_text: bool) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.texts(|row, out| {
        let (document, keys) = (parse(some!(documents.get(row)))?, some!(keys_at(call, 1, row)?));
        let found = some!(walk(&document, &keys));
        if as_text {
            return Ok(write_text(found, out));
        }
        write(found, out);
        Ok(Some(()))
    })
}

pub fn path(call: &Call) -> Result<ArrayRef> {
    paths(call, false)
}
pub fn path_text(call: &Call) -> Result<ArrayRef> {
    paths(call, true)
}

/// `@>`: every part of the second is somewhere in the first. An array contains a scalar that it holds, at the top only.
fn holds(document: &Value, part: &Value, top: bool) -> bool {
    match (document, part) {
        (Value::Object(fields), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| fields.get(key).is_some_and(|found| holds(found, value, false)))
        }
        (Value::Array(items), Value::Array(wanted)) => {
            wanted.iter().all(|value| items.iter().any(|item| holds(item, value, false)))
        }
        (Value::Array(items), scalar) if top && !scalar.is_object() => items.contains(scalar),
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

fn containing(call: &Call, document: usize, part: usize) -> Result<ArrayRef> {
    let (documents, parts) = (call.text(document)?, call.text(part)?);
    call.booleans(|row| {
        let (document, part) = (parse(some!(documents.get(row)))?, parse(some!(parts.get(row)))?);
        Ok(Some(holds(&document, &part, true)))
    })
}

pub fn contains(call: &Call) -> Result<ArrayRef> {
    containing(call, 0, 1)
}
pub fn contained(call: &Call) -> Result<ArrayRef> {
    containing(call, 1, 0)
}

fn has_key(document: &Value, key: &str) -> bool {
    match document {
        Value::Object(fields) => fields.contains_key(key),
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
        Value::String(text) => text == key,
        _ => false,
    }
}

pub fn exists(call: &Call) -> Result<ArrayRef> {
    let (documents, keys) = (call.text(0)?, call.text(1)?);
    call.booleans(|row| Ok(Some(has_key(&parse(some!(documents.get(row)))?, some!(keys.get(row))))))
}

fn exist(call: &Call, all: bool) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.booleans(|row| {
        let (document, keys) = (parse(some!(documents.get(row)))?, some!(keys_at(call, 1, row)?));
        let mut present = keys.iter().flatten().map(|key| has_key(&document, key));
        Ok(Some(if all { present.all(|found| found) } else { present.any(|found| found) }))
    })
}

pub fn exists_any(call: &Call) -> Result<ArrayRef> {
    exist(call, false)
}
pub fn exists_all(call: &Call) -> Result<ArrayRef> {
    exist(call, true)
}

/// Objects are merged, everything else is an array of its own items.
pub fn concatenate(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.text(0)?, call.text(1)?);
    call.texts(|row, out| {
        let (left, right) = (parse(some!(left.get(row)))?, parse(some!(right.get(row)))?);
        let merged = match (left, right) {
            (Value::Object(mut fields), Value::Object(more)) => {
                fields.extend(more);
                Value::Object(fields)
            }
            (left, right) => {
                let mut items = into_items(left);
                items.extend(into_items(right));
                Value::Array(items)
            }
        };
        write_jsonb(&merged, out)?;
        Ok(Some(()))
    })
}

fn into_items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => vec![other],
    }
}

/// Writes with jsonb's order of keys.
pub fn write_jsonb(value: &Value, out: &mut String) -> Result<()> {
    out.push_str(&crate::encode::input::jsonb(&value.to_string())?);
    Ok(())
}

pub fn without_key(call: &Call) -> Result<ArrayRef> {
    let (documents, keys) = (call.text(0)?, call.text(1)?);
    call.texts(|row, out| {
        let (mut document, key) = (parse(some!(documents.get(row)))?, some!(keys.get(row)));
        match &mut document {
            Value::Object(fields) => {
                fields.shift_remove(key);
            }
            Value::Array(items) => items.retain(|item| item.as_str() != Some(key)),
            _ => return Err(Error::new(SqlState::InvalidParameterValue, "cannot delete from scalar")),
        }
        write(&document, out);
        Ok(Some(()))
    })
}

pub fn without_item(call: &Call) -> Result<ArrayRef> {
    let (documents, indexes) = (call.text(0)?, call.int(1)?);
    call.texts(|row, out| {
        let (mut document, index) = (parse(some!(documents.get(row)))?, some!(indexes.get(row)));
        let Value::Array(items) = &mut document else {
            let what = if document.is_object() { "object using integer index" } else { "scalar" };
            return Err(Error::new(SqlState::InvalidParameterValue, format!("cannot delete from {what}")));
        };
        let length = items.len() as i64;
        let at = if index < 0 { length + index } else { index };
        if (0..length).contains(&at) {
            items.remove(at as usize);
        }
        write(&document, out);
        Ok(Some(()))
    })
}

/// The types whose operators these are.
pub const TYPES: [u32; 2] = [oid::JSON, oid::JSONB];
