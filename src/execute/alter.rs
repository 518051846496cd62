//! ALTER TABLE and ALTER VIEW: which kind of change it is, and those of the catalog alone: names, schemas, owners.

use super::alter_table::{self, Edit};
use super::dependents::{self, Object};
use super::drop;
use super::drop::require_owner;
use super::output::Output;
use super::quarantine;
use super::refresh;
use super::road::{Road, is_system_schema, system_catalog};
use super::rule_renames;
use crate::catalog::{Document, Relation, RelationKind};
use crate::error::{Error, Result, Severity, SqlState};
use crate::plan::recorded::relation_mut;
use crate::sql::{Alter, AlterAction, AlterChange, AlterKind, Name, RefreshEvery};

pub(crate) async fn run(road: &mut Road<'_>, alter: &Alter) -> Result<Output> {
    let tag = match alter.kind {
        AlterKind::Table => "ALTER TABLE",
        AlterKind::View => "ALTER VIEW",
        AlterKind::MaterializedView => "ALTER MATERIALIZED VIEW",
    };
    let name = &alter.name;
    let (schema, relation) = match road.find(name) {
        Err(error) if alter.if_exists && is_missing(&error) => {
            let message = format!("relation \"{}\" does not exist, skipping", name.name);
            road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message));
            return Ok(Output::Done(tag.into()));
        }
        found => found.map_err(Error::without_position)?,
    };
    if is_system_schema(&schema) {
        return Err(system_catalog(name));
    }
    check_kind(alter, &relation)?;
    let who = (road.session.superuser, road.role_oid());
    require_owner(who, relation.owner, relation.kind.noun(), &name.name)?;
    match &alter.change {
        AlterChange::RenameTo(to) => rename(road, (&schema, &name.name), &relation, to).await?,
        AlterChange::SetSchema(to) => set_schema(road, (&schema, &name.name), &relation, to).await?,
        AlterChange::Refresh(every) => set_refresh(road, &relation, every.as_ref()).await?,
        AlterChange::RenameColumn { .. } if relation.kind.noun() == "materialized view" => {
            return Err(Error::unsupported("renaming a column of a materialized view"));
        }
        AlterChange::RenameColumn { from, to } if matches!(relation.kind, RelationKind::View(_)) => {
            rename_view_column(road, &name.name, &relation, from, to).await?;
        }
        AlterChange::Actions(actions) => match actions.as_slice() {
            [AlterAction::Owner(owner)] => set_owner(road, &relation, owner).await?,
            _ => alter_table::run(road, name, &relation, Edit::Change(&alter.change)).await?,
        },
        AlterChange::RenameColumn { .. } | AlterChange::RenameConstraint { .. } => {
            alter_table::run(road, name, &relation, Edit::Change(&alter.change)).await?;
        }
    }
    Ok(Output::Done(tag.into()))
}

fn is_missing(error: &Error) -> bool {
    matches!(error.sqlstate(), SqlState::UndefinedTable | SqlState::InvalidSchemaName)
}

/// ALTER VIEW takes views only; ALTER TABLE renames, moves and gives away views too.
fn check_kind(alter: &Alter, relation: &Relation) -> Result<()> {
    let noun = relation.kind.noun();
    let name = &alter.name.name;
    let wanted = match alter.kind {
        AlterKind::Table => noun,
        AlterKind::View => "view",
        AlterKind::MaterializedView => "materialized view",
    };
    if wanted != noun {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not a {wanted}")));
    }
    let is_view = noun != "table";
    let of_tables = match &alter.change {
        AlterChange::RenameTo(_)
        | AlterChange::SetSchema(_)
        | AlterChange::RenameColumn { .. }
        | AlterChange::Refresh(_) => None,
        AlterChange::RenameConstraint { .. } => Some("RENAME CONSTRAINT"),
        AlterChange::Actions(actions) => actions.iter().find_map(of_tables_only),
    };
    match of_tables.filter(|_| is_view) {
        None => Ok(()),
        Some(action) => {
            let message = format!("ALTER action {action} cannot be performed on relation \"{name}\"");
            Err(Error::new(SqlState::WrongObjectType, message)
                .with_detail(format!("This operation is not supported for {noun}s.")))
        }
    }
}

/// The words for an action that no view takes.
fn of_tables_only(action: &AlterAction) -> Option<&'static str> {
    Some(match action {
        AlterAction::AddColumn { .. } => "ADD COLUMN",
        AlterAction::DropColumn { .. } => "DROP COLUMN",
        AlterAction::Type { .. } => "ALTER COLUMN ... SET DATA TYPE",
        AlterAction::NotNull { set: true, .. } => "ALTER COLUMN ... SET NOT NULL",
        AlterAction::NotNull { set: false, .. } => "ALTER COLUMN ... DROP NOT NULL",
        AlterAction::Default { value: Some(_), .. } => "ALTER COLUMN ... SET DEFAULT",
        AlterAction::Default { value: None, .. } => "ALTER COLUMN ... DROP DEFAULT",
        AlterAction::DropExpression { .. } => "ALTER COLUMN ... DROP EXPRESSION",
        AlterAction::Comment { .. } => "ALTER COLUMN ... COMMENT",
        // A materialized view has them too.
        AlterAction::AddExpectation(_) => return None,
        AlterAction::AddCheck(_) => "ADD CONSTRAINT",
        AlterAction::DropConstraint { .. } => "DROP CONSTRAINT",
        AlterAction::SetProperties(_) => "SET",
        AlterAction::UnsetProperties { .. } => "RESET",
        AlterAction::ClusterBy(_) => "CLUSTER BY",
        AlterAction::Owner(_) => return None,
    })
}

/// The relation as this statement saw it: another session may have moved it.
fn take(document: &mut Document, schema: &str, name: &str, oid: u32) -> Result<Relation> {
    let relations = document.schemas.get_mut(schema).map(|schema| &mut schema.relations);
    let found = relations.and_then(|relations| match relations.get(name) {
        Some(relation) if relation.oid == oid => relations.remove(name),
        Some(_) | None => None,
    });
    found.ok_or_else(|| gone(name))
}

pub(super) fn gone(name: &str) -> Error {
    Error::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
        .with_detail(format!("Relation \"{name}\" was dropped, renamed or replaced by another transaction."))
}

async fn rename(road: &mut Road<'_>, (schema, name): (&str, &str), relation: &Relation, to: &Name) -> Result<()> {
    require_create(road, schema)?;
    let (schema, name, to, oid) = (schema.to_owned(), name.to_owned(), to.value.clone(), relation.oid);
    road.define(move |document| {
        if document.relation(&schema, &to).is_some() {
            return Err(Error::new(SqlState::DuplicateTable, format!("relation \"{to}\" already exists")));
        }
        let mut relation = take(document, &schema, &name, oid)?;
        rule_renames::rename_table(&mut relation, &name, &to);
        if let Some(schema) = document.schemas.get_mut(&schema) {
            schema.relations.insert(to.clone(), relation);
        }
        Ok(())
    })
    .await
}

async fn set_schema(road: &mut Road<'_>, (schema, name): (&str, &str), relation: &Relation, to: &Name) -> Result<()> {
    if is_system_schema(&to.value) {
        let message = format!("cannot move objects into or out of schema {}", to.value);
        return Err(Error::unsupported(message));
    }
    let is_temporary = |schema: &str| {
        schema == "pg_temp" || road.snapshot.schemas.get(schema).is_some_and(|schema| schema.temporary.is_some())
    };
    if is_temporary(schema) || is_temporary(&to.value) {
        let message = "cannot move objects into or out of temporary schemas";
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    }
    require_create(road, &to.value)?;
    let (schema, name, to, oid) = (schema.to_owned(), name.to_owned(), to.value.clone(), relation.oid);
    road.define(move |document| {
        if schema == to {
            return Ok(());
        }
        if document.relation(&to, &name).is_some() {
            let message = format!("relation \"{name}\" already exists in schema \"{to}\"");
            return Err(Error::new(SqlState::DuplicateTable, message));
        }
        let relation = take(document, &schema, &name, oid)?;
        let Some(target) = document.schemas.get_mut(&to) else { return Err(no_schema(&to)) };
        target.relations.insert(name.clone(), relation);
        Ok(())
    })
    .await
}

fn no_schema(name: &str) -> Error {
    Error::new(SqlState::InvalidSchemaName, format!("schema \"{name}\" does not exist"))
}

/// Whether this role may put relations into the schema.
fn require_create(road: &Road<'_>, schema: &str) -> Result<()> {
    let Some(definition) = road.snapshot.schemas.get(schema) else { return Err(no_schema(schema)) };
    if road.session.superuser || definition.owner == road.role_oid() {
        return Ok(());
    }
    Err(Error::new(SqlState::InsufficientPrivilege, format!("permission denied for schema {schema}")))
}

async fn set_owner(road: &mut Road<'_>, relation: &Relation, owner: &Name) -> Result<()> {
    let (oid, owner) = (relation.oid, owner_oid(road, owner)?);
    road.define(move |document| {
        if let Some(relation) = relation_mut(document, oid) {
            let before = std::mem::replace(&mut relation.owner, owner);
            quarantine::give(document, oid, before, owner);
        }
        Ok(())
    })
    .await
}

async fn set_refresh(road: &mut Road<'_>, relation: &Relation, every: Option<&RefreshEvery>) -> Result<()> {
    let oid = relation.oid;
    let refreshing = every.map(|every| refresh::every(road, every)).transpose()?;
    road.define(move |document| {
        if let Some(materialized) = refresh::materialized_mut(document, oid) {
            materialized.refreshing.clone_from(&refreshing);
        }
        Ok(())
    })
    .await
}

/// The OID of a role that this one may give things to.
pub(super) fn owner_oid(road: &Road<'_>, owner: &Name) -> Result<u32> {
    let name = match owner.value.as_str() {
        "current_user" | "current_role" => road.context.user.as_str(),
        "session_user" => road.context.session_user.as_str(),
        name => name,
    };
    let Some(role) = road.snapshot.roles.get(name) else {
        return Err(Error::new(SqlState::UndefinedObject, format!("role \"{name}\" does not exist")));
    };
    if !road.session.superuser && role.oid != road.role_oid() {
        let message = format!("must be member of role \"{name}\"");
        return Err(Error::new(SqlState::InsufficientPrivilege, message));
    }
    Ok(role.oid)
}

async fn rename_view_column(
    road: &mut Road<'_>,
    name: &str,
    relation: &Relation,
    from: &Name,
    to: &Name,
) -> Result<()> {
    if !relation.columns.iter().any(|column| column.name == from.value) {
        return Err(Error::new(SqlState::UndefinedColumn, format!("column \"{}\" does not exist", from.value)));
    }
    if relation.columns.iter().any(|column| column.name == to.value) {
        let message = format!("column \"{}\" of relation \"{name}\" already exists", to.value);
        return Err(Error::new(SqlState::DuplicateColumn, message));
    }
    let (oid, from, to) = (relation.oid, from.value.clone(), to.value.clone());
    road.define(move |document| {
        if let Some(relation) = relation_mut(document, oid) {
            let columns = relation.columns.iter_mut().filter(|column| column.name == from);
            columns.for_each(|column| column.name.clone_from(&to));
        }
        rename_in_views(document, oid, &from, &to);
        rule_renames::rename_column(document, oid, &from, &to);
        Ok(())
    })
    .await
}

/// Views go on reading a column that has another name now.
pub(super) fn rename_in_views(document: &mut Document, oid: u32, from: &str, to: &str) {
    let relations = document.schemas.values_mut().flat_map(|schema| schema.relations.values_mut());
    for relation in relations {
        let Some(view) = relation.kind.query_mut() else { continue };
        let columns = view.reads.iter_mut().filter(|read| read.oid == oid).flat_map(|read| &mut read.columns);
        columns.filter(|column| column.now == from).for_each(|column| to.clone_into(&mut column.now));
    }
}

/// Drops views that a change takes with it; what they said is told at the end.
pub(super) fn drop_views(document: &mut Document, path: &[String], views: &[(String, String)]) -> Vec<Error> {
    let mut dropped = drop::Dropped::default();
    let there = views.iter().filter(|(schema, view)| document.relation(schema, view).is_some());
    let there: Vec<Object> = there.map(|(schema, view)| Object::relation(schema, view)).collect();
    dependents::remove_views(document, path, &there, &mut dropped);
    dropped.notices
}
