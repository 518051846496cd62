//! DROP TABLE, VIEW and SCHEMA. The entry goes at once; a managed table's files after their time, by [`super::maintenance`].

use std::collections::{BTreeSet, HashSet};

use super::output::Output;
use super::road::Road;
use crate::catalog::{Document, Relation, RelationKind};
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
        for name in &statement.names {
            match statement.kind {
                DropKind::Schema => drop_schema(document, statement, name, (superuser, role), &mut dropped)?,
                DropKind::Table | DropKind::View | DropKind::MaterializedView => {
                    drop_relation(document, statement, name, &path, (superuser, role), &mut dropped)?;
                }
            }
        }
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
            let members = document.schemas.get(&name.name).into_iter().flat_map(|schema| schema.relations.values());
            oids.extend(members.map(|relation| relation.oid));
        } else {
            oids.extend(find(document, name, path).map(|(_, relation)| relation.oid));
        }
    }
    oids
}

fn drop_relation(
    document: &mut Document,
    statement: &Drop,
    name: &QualifiedName,
    path: &[String],
    who: Who,
    dropped: &mut Dropped,
) -> Result<()> {
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
            return Ok(());
        }
        return Err(Error::new(SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")));
    }
    let found = find(document, name, path).map(|(schema, relation)| (schema.to_owned(), relation.clone()));
    let Some((schema, relation)) = found else {
        if statement.if_exists {
            dropped.notices.push(skipping(wanted, &name.name));
            return Ok(());
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
    remove_with_dependents(document, &schema, &name.name, statement.cascade, dropped)
}

pub(super) fn require_owner((superuser, role): Who, owner: u32, noun: &str, name: &str) -> Result<()> {
    if superuser || role == owner {
        return Ok(());
    }
    Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of {noun} {name}")))
}

/// Removes a relation, and with CASCADE the views that read it, theirs after them.
pub(super) fn remove_with_dependents(
    document: &mut Document,
    schema: &str,
    name: &str,
    cascade: bool,
    dropped: &mut Dropped,
) -> Result<()> {
    let Some(relation) = document.relation(schema, name).cloned() else { return Ok(()) };
    let dependents = dependents_of(document, relation.oid);
    if !dependents.is_empty() && !cascade {
        let noun = relation.kind.noun();
        let detail = told(document, &format!("{noun} {name}"), &dependents);
        return Err(Error::new(
            SqlState::DependentObjectsStillExist,
            format!("cannot drop {noun} {name} because other objects depend on it"),
        )
        .with_detail(detail.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    for (view_schema, view) in dependents {
        dropped.notices.push(Error::notice(
            Severity::Notice,
            SqlState::SuccessfulCompletion,
            format!("drop cascades to {}", named(document, &view_schema, &view)),
        ));
        remove_with_dependents(document, &view_schema, &view, cascade, dropped)?;
    }
    if let Some(definition) = document.schemas.get_mut(schema)
        && let Some(Relation { kind: RelationKind::Table(table), .. }) = definition.relations.remove(name)
        && table.managed
    {
        dropped.locations.push(table.location);
    }
    Ok(())
}

/// A line for each view that depends on what `on` names, and below it those that depend on the view.
pub(super) fn told(document: &Document, on: &str, dependents: &[(String, String)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (schema, view) in dependents {
        let name = named(document, schema, view);
        lines.push(format!("{name} depends on {on}"));
        if let Some(relation) = document.relation(schema, view) {
            lines.extend(told(document, &name, &dependents_of(document, relation.oid)));
        }
    }
    lines
}

/// `view v`: what kind of relation it is, and its name.
pub(super) fn named(document: &Document, schema: &str, name: &str) -> String {
    let noun = document.relation(schema, name).map_or("view", |relation| relation.kind.noun());
    format!("{noun} {name}")
}

/// Schema and name of the views that read the relation.
pub(super) fn dependents_of(document: &Document, oid: u32) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (schema, definition) in &document.schemas {
        for (name, relation) in &definition.relations {
            if let Some(view) = relation.kind.query()
                && view.depends_on.contains(&oid)
                && relation.oid != oid
            {
                found.push((schema.clone(), name.clone()));
            }
        }
    }
    found
}

fn drop_schema(
    document: &mut Document,
    statement: &Drop,
    name: &QualifiedName,
    who: Who,
    dropped: &mut Dropped,
) -> Result<()> {
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
            return Ok(());
        }
        return Err(Error::new(SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")));
    };
    require_owner(who, definition.owner, "schema", schema)?;
    let members: Vec<(String, &'static str)> =
        definition.relations.iter().map(|(name, relation)| (name.clone(), relation.kind.noun())).collect();
    if !members.is_empty() && !statement.cascade {
        let detail: Vec<String> =
            members.iter().map(|(name, noun)| format!("{noun} {schema}.{name} depends on schema {schema}")).collect();
        return Err(Error::new(
            SqlState::DependentObjectsStillExist,
            format!("cannot drop schema {schema} because other objects depend on it"),
        )
        .with_detail(detail.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    if members.len() > 1 {
        let detail: Vec<String> =
            members.iter().map(|(name, noun)| format!("drop cascades to {noun} {schema}.{name}")).collect();
        dropped.notices.push(
            Error::notice(
                Severity::Notice,
                SqlState::SuccessfulCompletion,
                format!("drop cascades to {} other objects", members.len()),
            )
            .with_detail(detail.join("\n")),
        );
    }
    for (member, noun) in &members {
        if members.len() == 1 {
            dropped.notices.push(Error::notice(
                Severity::Notice,
                SqlState::SuccessfulCompletion,
                format!("drop cascades to {noun} {schema}.{member}"),
            ));
        }
        let mut inner = Dropped::default();
        remove_with_dependents(document, schema, member, true, &mut inner)?;
        dropped.locations.append(&mut inner.locations);
    }
    document.schemas.remove(schema);
    Ok(())
}
