//! `pg_input_is_valid(text, type)` (PostgreSQL 16): whether a text can be cast, without an error if it cannot.

use arrow::array::ArrayRef;

use super::Function;
use super::build::in_context;
use super::kernel::{Call, some};
use super::style::input_context;
use super::type_names::parse_type;
use crate::encode::input::parse_scalar;
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};

fn type_of(name: &str) -> Result<PgType> {
    parse_type(name)
        .ok_or_else(|| Error::new(SqlState::UndefinedObject, format!("type \"{}\" does not exist", name.trim())))
}

fn is_valid(call: &Call) -> Result<ArrayRef> {
    let context = input_context(call.context()?);
    let (texts, types) = (call.text(0)?, call.text(1)?);
    let constant = types.constant().map(type_of).transpose()?;
    call.booleans(|row| {
        let (text, name) = (some!(texts.get(row)), some!(types.get(row)));
        let ty = constant.map_or_else(|| type_of(name), Ok)?;
        match parse_scalar(text, ty, &context) {
            Ok(_) => Ok(Some(true)),
            // What an input function says of its text is of class 22, data exception.
            Err(error) if error.sqlstate().code().starts_with("22") => Ok(Some(false)),
            Err(error) => Err(error),
        }
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![in_context(8050, "pg_input_is_valid(text, text) bool", is_valid)]
}
