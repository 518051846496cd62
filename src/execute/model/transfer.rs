//! EXPORT and IMPORT MODEL: artifacts as files, and models as ONNX for other programs.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};

use super::alter::exists;
use super::create;
use super::users;
use crate::error::{Error, Result, SqlState};
use crate::execute::drop::require_owner;
use crate::execute::output::Output;
use crate::execute::road::Road;
use crate::lake::files::{self, ExportTarget};
use crate::lake::{Lake, READ_TIMES};
use crate::models::{Model, artifact, onnx};
use crate::plan::model::check_transform;
use crate::sql::{self, ExportModel, ImportModel, ModelOption, OptionValue};

enum Format {
    Own,
    Onnx { null_text: String },
}

/// The artifact as it is in the lake, or the model as ONNX. A file that is there is replaced when the new one is whole.
pub(super) async fn export(road: &mut Road<'_>, statement: &ExportModel) -> Result<Output> {
    let (entry, model) = super::opened(road, &statement.name, statement.version).await?;
    let place = road.open_place_for("EXPORT MODEL", &statement.location, true)?;
    if statement.location.ends_with('/') {
        let message = format!("could not open file \"{}\" for writing: Is a directory", statement.location);
        return Err(Error::new(SqlState::WrongObjectType, message));
    }
    let format = format(statement)?;
    let lake = &road.ground.lake;
    let bytes = match format {
        Format::Own => {
            let _held = held(road, "EXPORT MODEL", entry.bytes)?;
            lake.read_model(&entry.artifact, &entry.checksum).await?
        }
        Format::Onnx { null_text } => {
            // Its messages, and their bytes.
            let _held = held(road, "EXPORT MODEL", entry.bytes.saturating_mul(3))?;
            let encoded = async move { onnx::export(&model, &null_text) };
            let encoded = road.ground.engine.compute(encoded).await;
            Bytes::from(encoded.map_err(|error| error.at(super::place(&statement.name)))?)
        }
    };
    let name = statement.location.clone();
    let target = ExportTarget { store: place.store, url: place.url, path: place.path, name, is_folder: false };
    files::write_whole(&target, bytes).await?;
    Ok(Output::Done("EXPORT MODEL".into()))
}

/// A file becomes a new version of a model: its artifact is what the file holds, byte by byte.
pub(super) async fn import(road: &mut Road<'_>, statement: &ImportModel) -> Result<Output> {
    let (schema, name) = road.creation_name(&statement.name, false)?;
    if let Some(model) = road.snapshot.model(&schema, &name) {
        if !statement.or_replace {
            let hint = "IMPORT OR REPLACE MODEL makes a new version.";
            return Err(exists(&name).with_hint(hint).at(super::place(&statement.name)));
        }
        require_owner((road.session.superuser, road.role_oid()), model.owner, "model", &name)?;
    }
    let location = &statement.location;
    let place = road.open_place_for("IMPORT MODEL", location, false)?;
    let file = Lake::open_model(&place, location, road.ground.files.model_bytes_max).await?;
    let _held = held(road, "IMPORT MODEL", file.bytes.saturating_mul(READ_TIMES))?;
    let bytes = file.read().await?;
    let read = bytes.clone();
    let model = road.ground.engine.compute(async move { checked(&read) }).await.map_err(|error| {
        let is_damage = error.sqlstate() == SqlState::DataCorrupted;
        let message = format!("\"{location}\" is not a whole model of Lakegate");
        let detail = error.detail().unwrap_or(error.message()).to_owned();
        if is_damage { Error::new(SqlState::DataCorrupted, message).with_detail(detail) } else { error }
    })?;
    let model = Arc::new(model);
    let checked = users::check_default(road, (&schema, &name), |_| Arc::clone(&model))
        .await
        .map_err(|error| error.at(super::place(&statement.name)))?;
    let stored = road.ground.lake.store_model(&uuid::Uuid::now_v7().to_string(), bytes).await?;
    let entry = create::Entry::new(&model.header, stored);
    create::name_it(road, (schema, name), (entry, checked), (statement.or_replace, false)).await?;
    Ok(Output::Done("IMPORT MODEL".into()))
}

/// The model of a file that anybody may have written: what CREATE MODEL never makes is refused.
fn checked(bytes: &[u8]) -> Result<Model> {
    let model = Model::decode(bytes)?;
    let header = serde_json::to_value(&model.header).map_err(|error| Error::internal(error.to_string()))?;
    let categories = model.categories.texts().iter().flatten().flatten();
    let weights = model.learned.weights(&model.header, &model.categories)?.unwrap_or_default();
    let weights = weights.iter().flat_map(|weight| [Some(&weight.input), weight.category.as_ref()]).flatten();
    if has_nul(&header) || categories.chain(weights).any(|text| text.contains('\0')) {
        return Err(artifact::damaged("a text with a zero byte"));
    }
    if chrono::DateTime::parse_from_rfc3339(&model.header.created_at).is_err() {
        return Err(artifact::damaged("the time of its training"));
    }
    for item in &model.header.transform {
        let expression = sql::parse_expression(&item.expression).map_err(|_| artifact::damaged("its TRANSFORM"))?;
        check_transform(&expression, &item.expression).map_err(|_| artifact::damaged("its TRANSFORM"))?;
    }
    Ok(model)
}

/// No text of a database has a zero byte.
fn has_nul(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
    }
}

/// Memory for bytes that are held.
fn held(road: &Road<'_>, what: &str, bytes: u64) -> Result<MemoryReservation> {
    let held = MemoryConsumer::new(what).register(road.ground.engine.memory_pool());
    held.try_grow(usize::try_from(bytes).unwrap_or(usize::MAX))?;
    Ok(held)
}

/// By the option, or by the file's name.
fn format(statement: &ExportModel) -> Result<Format> {
    let text = |option: &ModelOption| match &option.value {
        OptionValue::Text(text) => Ok(text.clone()),
        _ => {
            let message = format!("option \"{}\" must be a text", option.name.value);
            Err(Error::new(SqlState::InvalidParameterValue, message).at(option.position))
        }
    };
    let (mut word, mut null_text) = (None, None);
    for option in &statement.options {
        match option.name.value.as_str() {
            "format" => word = Some((text(option)?.to_ascii_lowercase(), option.position)),
            "null_text" => null_text = Some((text(option)?, option.name.position)),
            other => {
                let message = format!("unrecognized option \"{other}\"");
                return Err(Error::new(SqlState::InvalidParameterValue, message)
                    .with_hint("Options of EXPORT MODEL are format, null_text.")
                    .at(option.name.position));
            }
        }
    }
    let is_onnx = match word.as_ref().map(|(word, position)| (word.as_str(), *position)) {
        None => statement.location.to_ascii_lowercase().ends_with(".onnx"),
        Some(("lakegate", _)) => false,
        Some(("onnx", _)) => true,
        Some((other, position)) => {
            let message = format!("format \"{other}\" of EXPORT MODEL");
            return Err(Error::unsupported(message).with_hint("It is 'lakegate' or 'onnx'.").at(position));
        }
    };
    match (is_onnx, null_text) {
        (true, null_text) => Ok(Format::Onnx { null_text: null_text.map(|(text, _)| text).unwrap_or_default() }),
        (false, None) => Ok(Format::Own),
        (false, Some((_, position))) => {
            let message = "option \"null_text\" is for the format onnx";
            Err(Error::new(SqlState::InvalidParameterValue, message).at(position))
        }
    }
}
