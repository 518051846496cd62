//! DROP MODEL, whole or one version. A query that uses the model goes on with it: what it needs is in memory.

use super::{known_version, missing, missing_version, model_mut, owned, users};
use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::dependents::{self, Object};
use crate::execute::drop::Dropped;
use crate::execute::output::Output;
use crate::execute::road::Road;
use crate::sql::DropModel;

pub(super) async fn run(road: &mut Road<'_>, statement: &DropModel) -> Result<Output> {
    let done = Output::Done("DROP MODEL".into());
    let (_, oid) = match owned(road, &statement.name) {
        Err(error)
            if statement.if_exists
                && matches!(error.sqlstate(), SqlState::UndefinedObject | SqlState::InvalidSchemaName) =>
        {
            let message = format!("{}, skipping", error.message());
            road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message));
            return Ok(done);
        }
        found => found?,
    };
    let (statement, path) = (statement.clone(), road.context.search_path.clone());
    let dropped = road.define(move |document| {
        let mut dropped = Dropped::default();
        let (schema, name) = model_mut(document, oid).ok_or_else(|| missing(&statement.name))?;
        let Some((version, position)) = statement.version else {
            let object = Object::Model { schema, name };
            dependents::remove(document, &path, &[object], statement.cascade, &mut dropped)?;
            return Ok(dropped);
        };
        let model = document.schemas.get_mut(&schema).and_then(|schema| schema.models.get_mut(&name));
        let model = model.ok_or_else(|| missing(&statement.name))?;
        let version =
            known_version(version, model).ok_or_else(|| missing_version(&name, version, model).at(position))?;
        if model.default_version == version {
            let message = format!("cannot drop version {version} of model \"{name}\" because it is the default");
            let hint = match model.versions.len() {
                1 => "It is the only one: DROP MODEL drops the model.",
                _ => "Use ALTER MODEL ... SET DEFAULT VERSION to make another the default.",
            };
            return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message).with_hint(hint).at(position));
        }
        let views = users::of_version(document, oid, version);
        if !views.is_empty() && !statement.cascade {
            let object = Object::Model { schema, name }.described(document, &path);
            let what = format!("version {version} of {object}");
            let message = format!("cannot drop {what} because other objects depend on it");
            return Err(Error::new(SqlState::DependentObjectsStillExist, message)
                .with_detail(dependents::told(document, &path, &what, &views).join("\n"))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        dependents::remove_views(document, &path, &views, &mut dropped);
        if let Some(model) = document.schemas.get_mut(&schema).and_then(|schema| schema.models.get_mut(&name)) {
            model.versions.remove(&version);
        }
        Ok(dropped)
    });
    for notice in dropped.await?.notices {
        road.notice(notice);
    }
    Ok(done)
}
