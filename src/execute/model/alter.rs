//! ALTER MODEL: its default version, name, schema and owner.

use super::{known_version, missing, missing_version, model_mut, owned, users};
use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::alter::owner_oid;
use crate::execute::output::Output;
use crate::execute::road::Road;
use crate::sql::{AlterModel, ModelChange, QualifiedName};

pub(super) async fn run(road: &mut Road<'_>, statement: &AlterModel) -> Result<Output> {
    let done = Output::Done("ALTER MODEL".into());
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
    let name = statement.name.clone();
    match &statement.change {
        ModelChange::DefaultVersion(version, position) => {
            let (version, position) = (*version, *position);
            let checked = users::check_version(road, oid, version).await.map_err(|error| error.at(position))?;
            road.define(move |document| {
                let model = place_of(document, oid, &name)?;
                let known = known_version(version, model);
                let known = known.ok_or_else(|| missing_version(&name.name, version, model).at(position))?;
                if model.default_version != known {
                    checked.still_holds(document, oid)?;
                    place_of(document, oid, &name)?.default_version = known;
                }
                Ok(())
            })
            .await?;
        }
        ModelChange::OwnerTo(owner) => {
            let owner = owner_oid(road, owner)?;
            road.define(move |document| {
                place_of(document, oid, &name)?.owner = owner;
                Ok(())
            })
            .await?;
        }
        ModelChange::RenameTo(to) => {
            let (to, position) = (to.value.clone(), to.position);
            road.define(move |document| {
                let (schema, from) = model_mut(document, oid).ok_or_else(|| missing(&name))?;
                if document.model(&schema, &to).is_some() {
                    return Err(exists(&to).at(position));
                }
                moved(document, (&schema, &from), (&schema, &to))
            })
            .await?;
        }
        ModelChange::SetSchema(to) => {
            let asked = QualifiedName {
                database: None,
                schema: Some(to.value.clone()),
                name: statement.name.name.clone(),
                position: to.position,
            };
            let (to, _) = road.creation_name(&asked, false)?;
            road.define(move |document| {
                let (schema, from) = model_mut(document, oid).ok_or_else(|| missing(&name))?;
                if schema == to {
                    return Ok(());
                }
                if document.model(&to, &from).is_some() {
                    let message = format!("model \"{from}\" already exists in schema \"{to}\"");
                    return Err(Error::new(SqlState::DuplicateObject, message));
                }
                moved(document, (&schema, &from), (&to, &from))
            })
            .await?;
        }
    }
    Ok(done)
}

pub(super) fn exists(name: &str) -> Error {
    Error::new(SqlState::DuplicateObject, format!("model \"{name}\" already exists"))
}

fn place_of<'d>(
    document: &'d mut crate::catalog::Document,
    oid: u32,
    name: &QualifiedName,
) -> Result<&'d mut crate::catalog::Model> {
    let (schema, found) = model_mut(document, oid).ok_or_else(|| missing(name))?;
    let definition = document.schemas.get_mut(&schema);
    definition.and_then(|schema| schema.models.get_mut(&found)).ok_or_else(|| missing(name))
}

/// Another transaction may have dropped the schema since the statement looked.
fn moved(document: &mut crate::catalog::Document, from: (&str, &str), to: (&str, &str)) -> Result<()> {
    if !document.schemas.contains_key(to.0) {
        return Err(Error::new(SqlState::InvalidSchemaName, format!("schema \"{}\" does not exist", to.0)));
    }
    let model = document.schemas.get_mut(from.0).and_then(|schema| schema.models.remove(from.1));
    let model = model.ok_or_else(|| Error::internal("a model that was found is not there"))?;
    if let Some(schema) = document.schemas.get_mut(to.0) {
        schema.models.insert(to.1.to_owned(), model);
    }
    Ok(())
}
