//! Functions of json and jsonb, and digests of bytea.

use arrow::array::ArrayRef;
use arrow::datatypes::Int32Type;
use sha2::Digest;

use super::Function;
use super::build::{contextual, engine, scalar};
use super::json_text::{self, Kind};
use super::kernel::{Call, some};
use crate::error::{Error, Result, SqlState};

fn type_name(call: &Call) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.slices(|row| Ok(Some(json_text::kind(some!(documents.get(row))).name())))
}

fn array_length(call: &Call) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.values::<Int32Type>(|row| {
        let document = some!(documents.get(row));
        let what = match json_text::kind(document) {
            Kind::Array => return Ok(Some(json_text::items(document).count() as i32)),
            Kind::Object => "a non-array",
            _ => "a scalar",
        };
        Err(Error::new(SqlState::InvalidParameterValue, format!("cannot get array length of {what}")))
    })
}

fn extracted(call: &Call, as_text: bool) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    let keys = (1..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.texts(|row, out| {
        let mut value = some!(documents.get(row));
        for column in &keys {
            value = some!(json_text::walk(value, [some!(column.get(row))]));
        }
        if as_text {
            out.push_str(&some!(json_text::plain(value)));
        } else {
            out.push_str(value);
        }
        Ok(Some(()))
    })
}

fn path(call: &Call) -> Result<ArrayRef> {
    extracted(call, false)
}
fn path_text(call: &Call) -> Result<ArrayRef> {
    extracted(call, true)
}

fn digest<D: Digest>(call: &Call) -> Result<ArrayRef> {
    let values = call.bytes(0)?;
    call.byte_strings(|row, out| {
        out.extend_from_slice(&D::digest(some!(values.get(row))));
        Ok(Some(()))
    })
}

/// The SQL/JSON path language is not here: saying so is better than a function that does not exist.
fn paths() -> Vec<Function> {
    let refused: fn(&std::sync::Arc<crate::builtins::Context>, Vec<datafusion::logical_expr::Expr>) -> _ =
        |_, _| Err(Error::unsupported("the SQL/JSON path language"));
    vec![
        contextual(4005, "jsonb_path_exists(jsonb, text) bool", refused),
        contextual(4009, "jsonb_path_match(jsonb, text) bool", refused),
        contextual(4006, "jsonb_path_query(jsonb, text) jsonb", refused),
        contextual(4007, "jsonb_path_query_array(jsonb, text) jsonb", refused),
        contextual(4008, "jsonb_path_query_first(jsonb, text) jsonb", refused),
    ]
}

pub(super) fn functions() -> Vec<Function> {
    let mut functions = paths();
    functions.extend(documents());
    functions
}

fn documents() -> Vec<Function> {
    vec![
        engine(2311, "md5(text) text", datafusion::functions::crypto::md5()),
        engine(2321, "md5(bytea) text", datafusion::functions::crypto::md5()),
        scalar(3968, "json_typeof(json) text", type_name),
        scalar(3210, "jsonb_typeof(jsonb) text", type_name),
        scalar(3956, "json_array_length(json) int4", array_length),
        scalar(3207, "jsonb_array_length(jsonb) int4", array_length),
        scalar(3951, "json_extract_path(json, variadic _text) json", path),
        scalar(3217, "jsonb_extract_path(jsonb, variadic _text) jsonb", path),
        scalar(3953, "json_extract_path_text(json, variadic _text) text", path_text),
        scalar(3940, "jsonb_extract_path_text(jsonb, variadic _text) text", path_text),
        scalar(3419, "sha224(bytea) bytea", digest::<sha2::Sha224>),
        scalar(3420, "sha256(bytea) bytea", digest::<sha2::Sha256>),
        scalar(3421, "sha384(bytea) bytea", digest::<sha2::Sha384>),
        scalar(3422, "sha512(bytea) bytea", digest::<sha2::Sha512>),
    ]
}
