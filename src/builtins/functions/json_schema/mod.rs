//! `json_matches_schema(schema, document)`: JSON Schema's assertions (draft 2020-12, and what older drafts have in common
//! with it). An assertion that is not known here is refused; what only annotates (`title`, `format`, …) says nothing.

mod check;

use arrow::array::ArrayRef;
use serde_json::Value;

use super::Function;
use super::build::scalar;
use super::kernel::{Call, some};
use crate::error::{Error, Result, SqlState};
use check::Schema;

fn read(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|_| Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json"))
}

fn matches_schema(call: &Call) -> Result<ArrayRef> {
    let (schemas, documents) = (call.text(0)?, call.text(1)?);
    let mut current: Option<(String, Schema)> = None;
    call.booleans(|row| {
        let (schema, document) = (some!(schemas.get(row)), some!(documents.get(row)));
        let schema = match current.take() {
            Some((text, read)) if text == schema => current.insert((text, read)),
            _ => current.insert((schema.to_owned(), Schema::new(read(schema)?)?)),
        };
        schema.1.matches(&read(document)?).map(Some)
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(9230, "json_matches_schema(json, json) bool", matches_schema),
        scalar(9231, "jsonb_matches_schema(json, jsonb) bool", matches_schema),
    ]
}
