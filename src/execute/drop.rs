//! DROP TABLE, VIEW and SCHEMA. The entry goes at once; a managed table's files after their time, by [`super::maintenance`].

use std::collections::{BTreeSet, HashSet};

use super::dependents::{self, Object};
use super::output::Output;
use super::road::Road;
use crate::catalog::{Document, Relation};
use crate::error::{Error, Result, Severity, SqlState};
use crate::sql::{Drop, DropKind, QualifiedName};

/// What a DROP took away.
#[derive(Default)]
pub(super) struct Dropped {
    /// Roots of managed tables.
    pub(super) locations: Vec<String>,
    pub(super) notices: Vec<Error>,
}

pub(crate) async fn run(road: &mut Road<'_>, statement: &Drop) -> Result<Output> {
    let path = road.context.search_path.clone();
    let superuser = road.session.superuser;
    let role = road.role_oid();
    let mut asked = statement.clone();
    if statement.kind != DropKind::Schema {
        asked.names = statement.names.iter().map(|name| road.own(name)).collect();
    }
    // At a COMMIT the names may stand for others' objects.
    let expected = road.staged.then(|| meant(&road.snapshot, &asked, &path));
    let change = move |document: &mut Document| {
        let statement = &asked;
        if expected.as_ref().is_some_and(|expected| *expected != meant(document, statement, &path)) {
            let message = "could not serialize access due to concurrent update";
            return Err(Error::new(SqlState::SerializationFailure, message)
                .with_detail("What the transaction drops was dropped or replaced by another transaction."));
        }
        let mut dropped = Dropped::default();
        // All are found before the first goes: they may depend on each other.
        let mut found = Vec::new();
        for name in &statement.names {
            let object = match statement.kind {
                DropKind::Schema => find_schema(document, statement, name, (superuser, role), &mut dropped)?,
                DropKind::Table | DropKind::View | DropKind::MaterializedView => {
                    find_relation(document, statement, name, &path, (superuser, role), &mut dropped)?
                }
            };
            found.extend(object.filter(|object| !found.contains(object)));
        }
        dependents::remove(document, &path, &found, statement.cascade, &mut dropped)?;
        Ok(dropped)
    };
    // The tables are noted before their entries go: whatever happens then, their files are not forgotten.
    let mut noted: HashSet<String> = HashSet::new();
    if statement.kind != DropKind::View && !road.staged {
        for location in change(&mut road.snapshot.as_ref().clone())?.locations {
            road.ground.lake.note_drop(&location).await?;
            noted.insert(location);
        }
    }
    let dropped = road.define(change).await?;
    for notice in dropped.notices {
        road.notice(notice);
    }
    for location in dropped.locations {
        if noted.contains(&location) {
            road.ground.lake.dropped(&location)?;
        } else {
            road.leave(location).await?;
        }
    }
    Ok(Output::Done(
        match statement.kind {
            DropKind::Table => "DROP TABLE",
            DropKind::View => "DROP VIEW",
            DropKind::MaterializedView => "DROP MATERIALIZED VIEW",
            DropKind::Schema => "DROP SCHEMA",
        }
        .into(),
    ))
}

/// Superuser or not, and the role's OID.
pub(super) type Who = (bool, u32);

fn skipping(kind: &str, name: impl std::fmt::Display) -> Error {
    Error::notice(
        Severity::Notice,
        SqlState::SuccessfulCompletion,
        format!("{kind} \"{name}\" does not exist, skipping"),
    )
}

/// The relation of that name, in its schema.
fn find<'d>(document: &'d Document, name: &'d QualifiedName, path: &'d [String]) -> Option<(&'d str, &'d Relation)> {
    match &name.schema {
        Some(schema) => Some((schema.as_str(), document.relation(schema, &name.name)?)),
        None => path.iter().find_map(|schema| Some((schema.as_str(), document.relation(schema, &name.name)?))),
    }
}

/// OIDs of the relations that the names stand for, of schemas those of all members.
fn meant(document: &Document, statement: &Drop, path: &[String]) -> BTreeSet<u32> {
    let mut oids = BTreeSet::new();
    for name in &statement.names {
        if statement.kind == DropKind::Schema {
            let schema = document.schemas.get(&name.name);
            oids.extend(schema.into_iter().flat_map(|schema| schema.relations.values()).map(|relation| relation.oid));
            oids.extend(schema.into_iter().flat_map(|schema| schema.models.values()).map(|model| model.oid));
        } else {
            oids.extend(find(document, name, path).map(|(_, relation)| relation.oid));
        }
    }
    oids
}

fn find_relation(
    document: &Document,
    statement: &Drop,
    name: &QualifiedName,
    path: &[String],
    who: Who,
    dropped: &mut Dropped,
) -> Result<Option<Object>> {
    let wanted = match statement.kind {
        DropKind::View => "view",
        DropKind::MaterializedView => "materialized view",
        DropKind::Table | DropKind::Schema => "table",
    };
    if let Some(schema) = &name.schema
        && !document.schemas.contains_key(schema)
        && !super::road::is_system_schema(schema)
    {
        if statement.if_exists {
            dropped.notices.push(skipping("schema", schema));
            return Ok(None);
        }
        return Err(Error::new(SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")));
    }
    let found = find(document, name, path).map(|(schema, relation)| (schema.to_owned(), relation.clone()));
    let Some((schema, relation)) = found else {
        if statement.if_exists {
            dropped.notices.push(skipping(wanted, &name.name));
            return Ok(None);
        }
        return Err(Error::new(SqlState::UndefinedTable, format!("{wanted} \"{name}\" does not exist")));
    };
    let noun = relation.kind.noun();
    if noun != wanted && !(noun == "external table" && wanted == "table") {
        let article_hint = match noun {
            "external table" => "Use DROP TABLE to remove an external table.".to_owned(),
            _ => format!("Use DROP {} to remove a {noun}.", noun.to_uppercase()),
        };
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a {wanted}", name.name))
            .with_hint(article_hint));
    }
    require_owner(who, relation.owner, noun, &name.name)?;
    Ok(Some(Object::relation(schema, &name.name)))
}

pub(super) fn require_owner((superuser, role): Who, owner: u32, noun: &str, name: &str) -> Result<()> {
    if superuser || role == owner {
        return Ok(());
    }
    Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of {noun} {name}")))
}

fn find_schema(
    document: &Document,
    statement: &Drop,
    name: &QualifiedName,
    who: Who,
    dropped: &mut Dropped,
) -> Result<Option<Object>> {
    let schema = name.name.as_str();
    if super::road::is_system_schema(schema) {
        return Err(Error::new(
            SqlState::DependentObjectsStillExist,
            format!("cannot drop schema {schema} because it is required by the database system"),
        ));
    }
    let Some(definition) = document.schemas.get(schema) else {
        if statement.if_exists {
            dropped.notices.push(skipping("schema", schema));
            return Ok(None);
        }
        return Err(Error::new(SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")));
    };
    require_owner(who, definition.owner, "schema", schema)?;
    Ok(Some(Object::Schema(schema.to_owned())))
}
