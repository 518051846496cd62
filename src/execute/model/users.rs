//! Views that use a model, and what of it they rely on.

use crate::catalog::Document;
use crate::encode::types::format_type;
use crate::error::{Error, Result, SqlState};
use crate::execute::dependents::Object;
use crate::execute::road::Road;
use crate::models::header::Header;
use crate::models::{Feature, FeatureKind, ModelType, Task};
use crate::plan::model::{Given, ModelCall, calls};
use crate::sql;

/// What a query sees of a version.
pub(super) struct Signature<'a> {
    pub(super) model_type: ModelType,
    pub(super) label: Option<&'a Feature>,
    /// The columns that a prediction asks for.
    pub(super) asked: &'a [Feature],
}

impl<'a> Signature<'a> {
    pub(super) fn of(header: &'a Header) -> Self {
        Self {
            model_type: header.options.model_type,
            label: header.label.as_ref().map(|label| &label.feature),
            asked: header.asked(),
        }
    }
}

/// The views whose queries call the model, in the order in which they were made, each with those calls.
fn users(document: &Document, oid: u32) -> Vec<(Object, Vec<ModelCall>)> {
    let mut found = Vec::new();
    for (schema, definition) in &document.schemas {
        for (name, relation) in &definition.relations {
            let Some(view) = relation.kind.query().filter(|view| view.depends_on.contains(&oid)) else { continue };
            let Ok(query) = sql::parse_query(&view.query) else { continue };
            let is_it = |call: &ModelCall| view.models.iter().any(|read| read.oid == oid && read.name == call.model);
            let own: Vec<ModelCall> = calls(&query).into_iter().filter(is_it).collect();
            if !own.is_empty() {
                found.push((relation.oid, Object::relation(schema, name), own));
            }
        }
    }
    found.sort_by_key(|(oid, ..)| *oid);
    found.into_iter().map(|(_, view, calls)| (view, calls)).collect()
}

/// The views that name this version of the model.
pub(super) fn of_version(document: &Document, oid: u32, version: u32) -> Vec<Object> {
    let names_it = |calls: &[ModelCall]| calls.iter().any(|call| call.version == Some(version));
    users(document, oid).into_iter().filter(|(_, calls)| names_it(calls)).map(|(view, _)| view).collect()
}

/// Refuses a version as the model's default on which views could not rely as they do on the one that is it now. What is only
/// known after training, such as the classes of a label, is not looked at.
///
/// # Errors
/// 2BP01 with the views.
pub(super) async fn check_default(
    road: &Road<'_>,
    (schema, name): (&str, &str),
    becomes: &Signature<'_>,
) -> Result<()> {
    let Some(model) = road.snapshot.model(schema, name) else { return Ok(()) };
    let mut users = users(&road.snapshot, model.oid);
    users.retain(|(_, calls)| calls.iter().any(|call| call.version.is_none()));
    let Some(entry) = model.versions.get(&model.default_version).filter(|_| !users.is_empty()) else { return Ok(()) };
    let now = match road.ground.lake.model(&entry.artifact, &entry.checksum).await {
        // Another version is the way out of a damaged one.
        Err(error) if error.sqlstate() == SqlState::DataCorrupted => return Ok(()),
        read => read?,
    };
    let now = Signature::of(&now.header);
    let path = &road.context.search_path;
    let of_model = Object::Model { schema: schema.to_owned(), name: name.to_owned() }.described(&road.snapshot, path);
    let lines = users.iter().filter_map(|(view, calls)| {
        let mut calls = calls.iter().filter(|call| call.version.is_none());
        let why = calls.find_map(|call| broken(&now, becomes, &call.features))?;
        Some(format!("{} depends on {of_model}: {why}", view.described(&road.snapshot, path)))
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return Ok(());
    }
    let message = format!("cannot change the default version of {of_model} because views depend on it");
    Err(Error::new(SqlState::DependentObjectsStillExist, message)
        .with_detail(lines.join("\n"))
        .with_hint("Drop the views first, or give the model another name."))
}

/// Why a call that was good for one version is not for another.
fn broken(now: &Signature<'_>, becomes: &Signature<'_>, given: &Given) -> Option<String> {
    let task = becomes.model_type.task();
    if now.model_type.task() != task {
        return Some(format!("its type becomes {}", becomes.model_type.name()));
    }
    if let (Some(before), Some(after)) = (now.label, becomes.label) {
        if task == Task::Classification && before.ty() != after.ty() {
            return Some(format!("the label becomes {}", format_type(after.ty())));
        }
        if matches!(given, Given::Rows) && before.name != after.name {
            return Some(format!("the label becomes \"{}\"", after.name));
        }
    }
    for feature in becomes.asked {
        let Some(before) = now.asked.iter().find(|other| other.name == feature.name) else {
            return Some(format!("feature \"{}\" is added", feature.name));
        };
        if !is_alike(before, feature) {
            return Some(format!("feature \"{}\" becomes {}", feature.name, format_type(feature.ty())));
        }
    }
    let same = now.asked.iter().map(|feature| &feature.name).eq(becomes.asked.iter().map(|feature| &feature.name));
    match given {
        Given::Arguments { ordered: true, .. } if !same => {
            Some("the features are others, or in another order".to_owned())
        }
        Given::Arguments { named, .. } => {
            let has = |asked: &[Feature], name: &String| asked.iter().any(|feature| feature.name == *name);
            let lost = named.iter().find(|name| has(now.asked, name) && !has(becomes.asked, name));
            lost.map(|name| format!("feature \"{name}\" is taken away"))
        }
        // Columns of a forecast are those that tell series apart.
        Given::Rows if task == Task::Forecast && !same => Some("its series are others".to_owned()),
        Given::Rows => None,
    }
}

/// Whether what was given for one is taken for the other: numbers of all types are, and texts.
fn is_alike(before: &Feature, after: &Feature) -> bool {
    let any = matches!(after.kind, FeatureKind::Number | FeatureKind::Category);
    before.ty() == after.ty() || (any && before.kind == after.kind)
}

/// The same where the model is known by its OID.
pub(super) async fn check_default_of(road: &Road<'_>, oid: u32, becomes: u32) -> Result<()> {
    let Some((schema, name, model)) = road.snapshot.model_by_oid(oid) else { return Ok(()) };
    let Some(entry) = model.versions.get(&becomes).filter(|_| becomes != model.default_version) else { return Ok(()) };
    if users(&road.snapshot, oid).is_empty() {
        return Ok(());
    }
    let read = road.ground.lake.model(&entry.artifact, &entry.checksum).await?;
    check_default(road, (schema, name), &Signature::of(&read.header)).await
}
