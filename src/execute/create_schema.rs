//! CREATE SCHEMA.

use std::collections::BTreeMap;

use super::output::Output;
use super::road::Road;
use crate::catalog::Schema;
use crate::error::{Error, Result, Severity, SqlState};
use crate::sql::CreateSchema;

/// Schemas that PostgreSQL or we reserve.
fn is_reserved(name: &str) -> bool {
    name.starts_with("pg_") || matches!(name, "information_schema" | "lakegate")
}

/// Refuses a name that no user's schema may have.
pub(super) fn check_name(name: &str) -> Result<()> {
    if !is_reserved(name) {
        return Ok(());
    }
    let error = Error::new(SqlState::ReservedName, format!("unacceptable schema name \"{name}\""));
    Err(if name.starts_with("pg_") {
        error.with_detail("The prefix \"pg_\" is reserved for system schemas.")
    } else {
        error.with_detail("The names information_schema and lakegate are reserved for system schemas.")
    })
}

/// Whether this role may make schemas.
pub(super) fn require_create(road: &Road<'_>) -> Result<()> {
    if road.session.superuser || road.owns_database() {
        return Ok(());
    }
    let message = format!("permission denied for database {}", road.context.database);
    Err(Error::new(SqlState::InsufficientPrivilege, message))
}

pub(crate) async fn run(road: &mut Road<'_>, statement: &CreateSchema) -> Result<Output> {
    let name = statement.name.value.as_str();
    check_name(name)?;
    require_create(road)?;
    let owner_name =
        statement.owner.as_ref().map_or(road.context.user.as_str(), |owner| owner.value.as_str()).to_owned();
    let if_not_exists = statement.if_not_exists;
    let defined = name.to_owned();
    let created = road
        .define(move |document| {
            let name = defined.as_str();
            if document.schemas.contains_key(name) {
                if if_not_exists {
                    return Ok(false);
                }
                return Err(Error::new(SqlState::DuplicateSchema, format!("schema \"{name}\" already exists")));
            }
            let Some(owner) = document.roles.get(&owner_name).map(|role| role.oid) else {
                return Err(Error::new(SqlState::UndefinedObject, format!("role \"{owner_name}\" does not exist")));
            };
            let oid = document.take_oid();
            document.schemas.insert(
                name.to_owned(),
                Schema {
                    oid,
                    owner,
                    comment: None,
                    relations: BTreeMap::new(),
                    models: BTreeMap::new(),
                    temporary: None,
                },
            );
            Ok(true)
        })
        .await?;
    if !created {
        road.notice(Error::notice(
            Severity::Notice,
            SqlState::DuplicateSchema,
            format!("schema \"{name}\" already exists, skipping"),
        ));
    }
    Ok(Output::Done("CREATE SCHEMA".into()))
}
