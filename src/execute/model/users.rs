//! Views that use a model, and what of it they rely on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::known_version;
use crate::catalog::Document;
use crate::error::{Error, Result, SqlState};
use crate::execute::dependents::Object;
use crate::execute::road::Road;
use crate::models::header::Header;
use crate::models::{Model, Task};
use crate::plan::model::{ModelCall, calls};
use crate::sql;

/// A view whose query calls a model.
struct User {
    oid: u32,
    view: Object,
    query: String,
    /// Those of the model.
    calls: Vec<ModelCall>,
}

impl User {
    fn uses_default(&self) -> bool {
        self.calls.iter().any(|call| call.version.is_none())
    }
}

/// The views that a change of a model's default version was checked with, by their OIDs: their queries.
#[derive(Debug, Default)]
pub(super) struct Checked(BTreeMap<u32, String>);

impl Checked {
    /// Refuses the change where views use the default that others have made or replaced meanwhile.
    ///
    /// # Errors
    /// 40001.
    pub(super) fn still_holds(&self, document: &Document, oid: u32) -> Result<()> {
        let mut users = users(document, oid).into_iter().filter(User::uses_default);
        if users.all(|user| self.0.get(&user.oid) == Some(&user.query)) {
            return Ok(());
        }
        Err(Error::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
            .with_detail("A view that uses the model was made by another transaction.")
            .with_hint("Try the statement again."))
    }
}

/// The views whose queries call the model, in the order in which they were made.
fn users(document: &Document, oid: u32) -> Vec<User> {
    let mut found = Vec::new();
    for (schema, definition) in &document.schemas {
        for (name, relation) in &definition.relations {
            let Some(view) = relation.kind.query().filter(|view| view.depends_on.contains(&oid)) else { continue };
            let Ok(query) = sql::parse_query(&view.query) else { continue };
            let is_it = |call: &ModelCall| view.models.iter().any(|read| read.oid == oid && read.name == call.model);
            let calls: Vec<ModelCall> = calls(&query).into_iter().filter(is_it).collect();
            if !calls.is_empty() {
                let (oid, view, query) = (relation.oid, Object::relation(schema, name), view.query.clone());
                found.push(User { oid, view, query, calls });
            }
        }
    }
    found.sort_by_key(|user| user.oid);
    found
}

/// The views that name this version of the model.
pub(super) fn of_version(document: &Document, oid: u32, version: u32) -> Vec<Object> {
    let names_it = |user: &User| user.calls.iter().any(|call| call.version == Some(version));
    users(document, oid).into_iter().filter(names_it).map(|user| user.view).collect()
}

/// Refuses a version as the model's default with which views would fail, or answer otherwise than they were made to: each is
/// bound with it.
///
/// # Errors
/// 2BP01 with the views.
pub(super) async fn check_default(
    road: &mut Road<'_>,
    (schema, name): (&str, &str),
    becomes: impl FnOnce(&Model) -> Arc<Model>,
) -> Result<Checked> {
    let snapshot = Arc::clone(&road.snapshot);
    let Some(model) = snapshot.model(schema, name) else { return Ok(Checked::default()) };
    let mut users = users(&snapshot, model.oid);
    users.retain(User::uses_default);
    let checked = Checked(users.iter().map(|user| (user.oid, user.query.clone())).collect());
    let Some(entry) = model.versions.get(&model.default_version).filter(|_| !users.is_empty()) else {
        return Ok(checked);
    };
    let now = match road.ground.lake.model(&entry.artifact, &entry.checksum, entry.bytes).await {
        // Another version is the way out of a damaged one.
        Err(error) if error.sqlstate() == SqlState::DataCorrupted => return Ok(checked),
        read => read?,
    };
    let becomes = becomes(&now);
    let path = road.context.search_path.clone();
    let of_model = Object::Model { schema: schema.to_owned(), name: name.to_owned() }.described(&snapshot, &path);
    let mut lines = Vec::new();
    for User { view, calls, .. } in &users {
        let why = match of_header(&now.header, &becomes.header, calls) {
            Some(why) => Some(why),
            None => match view {
                Object::Relation { schema, name } => road.changed_by_model((schema, name), model.oid, &becomes).await?,
                Object::Schema(_) | Object::Model { .. } | Object::Expectation { .. } => None,
            },
        };
        if let Some(why) = why {
            lines.push(format!("{} depends on {of_model}: {why}", view.described(&snapshot, &path)));
        }
    }
    if lines.is_empty() {
        return Ok(checked);
    }
    let message = format!("cannot change the default version of {of_model} because views depend on it");
    Err(Error::new(SqlState::DependentObjectsStillExist, message)
        .with_detail(lines.join("\n"))
        .with_hint("Drop the views first, or give the model another name."))
}

/// What no binding shows.
fn of_header(now: &Header, becomes: &Header, calls: &[ModelCall]) -> Option<String> {
    let (kind, task) = (becomes.options.model_type, becomes.options.model_type.task());
    if now.options.model_type.task() != task {
        return Some(format!("its type would be {}", kind.name()));
    }
    if task == Task::Forecast && now.features != becomes.features {
        return Some("its series would be others".to_owned());
    }
    let names = |header: &Header| header.asked().iter().map(|feature| feature.name.clone()).collect::<Vec<_>>();
    // Types may fit by chance.
    let in_order = calls.iter().any(|call| call.version.is_none() && call.ordered);
    (in_order && names(now) != names(becomes)).then(|| "the features in their order would be others".to_owned())
}

/// The same where another version becomes the default.
pub(super) async fn check_version(road: &mut Road<'_>, oid: u32, becomes: u64) -> Result<Checked> {
    let snapshot = Arc::clone(&road.snapshot);
    let Some((schema, name, model)) = snapshot.model_by_oid(oid) else { return Ok(Checked::default()) };
    let becomes = known_version(becomes, model).filter(|becomes| *becomes != model.default_version);
    let Some(entry) = becomes.and_then(|becomes| model.versions.get(&becomes)) else { return Ok(Checked::default()) };
    if users(&snapshot, oid).is_empty() {
        return Ok(Checked::default());
    }
    let read = road.ground.lake.model(&entry.artifact, &entry.checksum, entry.bytes).await?;
    check_default(road, (schema, name), |_| read).await
}
