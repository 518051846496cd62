//! Models: trained by CREATE MODEL, changed, dropped, and moved between servers.

mod alter;
mod create;
mod drop;
mod given;
mod grant;
mod series;
mod sources;
mod training;
mod transfer;
mod users;

use super::output::Output;
use super::road::Road;
use crate::catalog::{Document, Model, ModelVersion, Snapshot};
use crate::encode::types::format_type;
use crate::error::{Error, Result, SqlState};
use crate::models;
use crate::plan::resolve::schema_exists;
use crate::sql::{Modelling, QualifiedName};

pub(crate) async fn run(road: &mut Road<'_>, statement: &Modelling) -> Result<Output> {
    match statement {
        Modelling::Create(create) => create::run(road, create).await,
        Modelling::Alter(alter) => alter::run(road, alter).await,
        Modelling::Drop(drop) => drop::run(road, drop).await,
        Modelling::Grant(grant) => grant::run(road, grant).await,
        Modelling::Export(export) => transfer::export(road, export).await,
        Modelling::Import(import) => transfer::import(road, import).await,
    }
}

/// Where a name was written.
fn place(name: &QualifiedName) -> Option<u32> {
    (name.position > 0).then_some(name.position)
}

fn missing(name: &QualifiedName) -> Error {
    Error::new(SqlState::UndefinedObject, format!("model \"{name}\" does not exist")).at(place(name))
}

/// The version of that number, whatever number was written.
fn known_version(version: u64, model: &Model) -> Option<u32> {
    u32::try_from(version).ok().filter(|version| model.versions.contains_key(version))
}

fn missing_version(name: &str, version: u64, model: &Model) -> Error {
    let message = format!("model \"{name}\" has no version {version}");
    let there: Vec<String> = model.versions.keys().map(ToString::to_string).collect();
    Error::new(SqlState::UndefinedObject, message).with_hint(format!("Its versions are {}.", there.join(", ")))
}

/// The model of that name in the search path, and its schema.
///
/// # Errors
/// 42704, 3F000, 0A000 for another database.
fn find<'d>(road: &Road<'_>, document: &'d Snapshot, name: &QualifiedName) -> Result<(String, &'d Model)> {
    if let Some(database) = name.database.as_ref().filter(|database| **database != road.context.database) {
        let message = format!("cross-database references are not implemented: \"{database}\"");
        return Err(Error::new(SqlState::FeatureNotSupported, message).at(place(name)));
    }
    match &name.schema {
        Some(schema) if !schema_exists(document, schema) => {
            let message = format!("schema \"{schema}\" does not exist");
            Err(Error::new(SqlState::InvalidSchemaName, message).at(place(name)))
        }
        Some(schema) => {
            document.model(schema, &name.name).map(|model| (schema.clone(), model)).ok_or_else(|| missing(name))
        }
        None => {
            let mut path = road.context.search_path.iter();
            let found = path.find_map(|schema| Some((schema.clone(), document.model(schema, &name.name)?)));
            found.ok_or_else(|| missing(name))
        }
    }
}

/// The model of that name, if the role owns it: its schema and OID.
fn owned(road: &Road<'_>, name: &QualifiedName) -> Result<(String, u32)> {
    let (schema, model) = find(road, &road.snapshot, name)?;
    let who = (road.session.superuser, road.role_oid());
    super::drop::require_owner(who, model.owner, "model", &name.name)?;
    Ok((schema, model.oid))
}

/// The model of that OID, wherever it is now.
fn model_mut(document: &mut Document, oid: u32) -> Option<(String, String)> {
    document.model_by_oid(oid).map(|(schema, name, _)| (schema.to_owned(), name.to_owned()))
}

/// A model to tell about: the version with its position, or the default.
pub(super) async fn opened(
    road: &Road<'_>,
    name: &QualifiedName,
    version: Option<(u64, u32)>,
) -> Result<(ModelVersion, std::sync::Arc<models::Model>)> {
    let (_, model) = find(road, &road.snapshot, name)?;
    let may = road.session.superuser || model.may_be_used_by(road.role_oid());
    if !may {
        let message = format!("permission denied for model {}", name.name);
        return Err(Error::new(SqlState::InsufficientPrivilege, message).at(place(name)));
    }
    let (number, position) =
        version.map_or((u64::from(model.default_version), None), |(version, at)| (version, Some(at)));
    let entry = known_version(number, model).and_then(|number| model.versions.get(&number));
    let entry = entry.ok_or_else(|| missing_version(&name.name, number, model).at(position))?;
    Ok((entry.clone(), road.ground.lake.model(&entry.artifact, &entry.checksum, entry.bytes).await?))
}

/// What DESCRIBE MODEL tells: properties and values.
pub(super) fn described((entry, model): &(ModelVersion, std::sync::Arc<models::Model>)) -> Vec<Vec<String>> {
    let header = &model.header;
    let mut rows = vec![vec!["model_type".to_owned(), entry.model_type.clone()]];
    let mut tell = |property: &str, value: String| rows.push(vec![property.to_owned(), value]);
    if let Some(label) = &header.label {
        tell("label", format!("{} {}", label.feature.name, format_type(label.feature.ty())));
        if !label.classes.is_empty() {
            tell("classes", label.classes.join(", "));
        }
    }
    for feature in header.asked() {
        tell("feature", format!("{} {}", feature.name, format_type(feature.ty())));
    }
    for item in &header.transform {
        tell("transform", format!("{} AS {}", item.expression, item.name));
    }
    if !header.transform.is_empty() {
        for (name, value) in header.all_settings() {
            tell("setting", format!("{name} = {value}"));
        }
    }
    for (name, value) in &header.options.values {
        tell("option", format!("{name} = {}", models::options::shown(value)));
    }
    for (name, tried) in &header.options.tried {
        tell("tried", format!("{name} = {}", models::options::shown_tried(tried)));
    }
    for (name, value) in &header.metrics {
        tell("metric", format!("{name} = {value}"));
    }
    tell("train_rows", header.rows.train.to_string());
    tell("eval_rows", header.rows.eval.to_string());
    for (reason, count) in &header.rows.skipped {
        tell("skipped", format!("{count} rows: {reason}"));
    }
    for source in &header.sources {
        tell("source", format!("{}.{} version {}", source.schema, source.name, source.version));
    }
    for note in &header.notes {
        tell("note", note.clone());
    }
    tell("query", header.query.clone());
    tell("created_at", header.created_at.clone());
    tell("created_by", header.role.clone());
    tell("train_ms", format!("{:.0}", header.train_ms));
    tell("checksum", entry.checksum.clone());
    tell("location", entry.artifact.clone());
    rows
}
