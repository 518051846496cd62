//! `lakegate.models` and `lakegate.model_versions`: what the catalog knows of models. Their artifacts know more.

use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};

use crate::builtins::Context;
use crate::builtins::tables::listing::{has_role, role_name};
use crate::builtins::tables::rows::Request;
use crate::catalog::{EVERYBODY, Model, ModelVersion};
use crate::error::Result;

/// A model with its schema and name.
type Listed<'c> = (&'c str, &'c str, &'c Model);

/// The models that the current role may use.
fn listed(context: &Context) -> Vec<Listed<'_>> {
    let schemas = context.catalog.schemas.iter();
    let all = schemas.flat_map(|(schema, definition)| {
        definition.models.iter().map(move |(name, model)| (schema.as_str(), name.as_str(), model))
    });
    let may_use = |model: &Model| {
        has_role(context, model.owner) || model.users.iter().any(|user| *user == EVERYBODY || has_role(context, *user))
    };
    all.filter(|(_, _, model)| may_use(model)).collect()
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

fn metrics(version: &ModelVersion) -> Option<String> {
    crate::encode::input::jsonb(&serde_json::to_string(&version.metrics).ok()?).ok()
}

pub(super) fn models(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let models = listed(context);
    let newest =
        |model: &&Listed<'_>| -> Option<ModelVersion> { model.2.versions.get(&model.2.default_version).cloned() };
    request
        .rows(&models)
        .set("oid", |(_, _, model)| model.oid)
        .set("model_schema", |(schema, _, _)| *schema)
        .set("model_name", |(_, name, _)| *name)
        .set("model_owner", |(_, _, model)| role_name(context, model.owner))
        .set("model_type", |model| newest(&model).map(|version| version.model_type))
        .set("label", |model| newest(&model).and_then(|version| version.label))
        .set("default_version", |(_, _, model)| model.default_version as i32)
        .set("versions", |(_, _, model)| model.versions.len() as i32)
        .set("created_at", |model| newest(&model).and_then(|version| time(&version.created_at)))
        .set("metrics", |model| newest(&model).and_then(|version| metrics(&version)))
        .set("comment", |(_, _, model)| model.comment.as_deref())
        .finish()
}

pub(super) fn versions(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let models = listed(context);
    let versions: Vec<(Listed<'_>, u32, &ModelVersion)> = models
        .iter()
        .flat_map(|listed| listed.2.versions.iter().map(move |(number, version)| (*listed, *number, version)))
        .collect();
    request
        .rows(&versions)
        .set("model_oid", |((_, _, model), _, _)| model.oid)
        .set("model_schema", |((schema, _, _), _, _)| *schema)
        .set("model_name", |((_, name, _), _, _)| *name)
        .set("model_owner", |((_, _, model), _, _)| role_name(context, model.owner))
        .set("version", |(_, number, _)| *number as i32)
        .set("is_default", |((_, _, model), number, _)| model.default_version == *number)
        .set("model_type", |(_, _, version)| version.model_type.as_str())
        .set("label", |(_, _, version)| version.label.as_deref())
        .set("features", |(_, _, version)| version.features as i64)
        .set("train_rows", |(_, _, version)| version.rows as i64)
        .set("created_at", |(_, _, version)| time(&version.created_at))
        .set("created_by", |(_, _, version)| version.role.as_str())
        .set("metrics", |(_, _, version)| metrics(version))
        .set("bytes", |(_, _, version)| version.bytes as i64)
        .set("checksum", |(_, _, version)| version.checksum.as_str())
        .set("location", |(_, _, version)| version.artifact.as_str())
        .finish()
}
