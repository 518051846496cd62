//! CREATE [OR REPLACE] VIEW: the query is bound once to know its columns; its text is what is kept.

use super::output::Output;
use super::road::{Reads, Road};
use super::temporary;
use crate::catalog::{Column, Relation, RelationKind, View};
use crate::error::{Error, Result, Severity, SqlState};
use crate::sql::CreateView;

pub(crate) async fn run(road: &mut Road<'_>, statement: &CreateView) -> Result<Output> {
    let (bound, reads, text) = road.bind_view(&statement.query, &statement.query_text).await?;
    let becomes = !statement.temporary && temporary::reads_any(road, &reads.relations);
    if becomes {
        let message = format!("view \"{}\" will be a temporary view", statement.name.name);
        road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message));
    }
    let named = road.creation_name(&statement.name, statement.temporary || becomes);
    let (schema, name) = named.map_err(|error| if becomes { error.without_position() } else { error })?;
    if statement.columns.len() > bound.columns.len() {
        return Err(Error::new(SqlState::SyntaxError, "CREATE VIEW specifies more column names than columns"));
    }
    let mut columns = Vec::with_capacity(bound.columns.len());
    for (index, column) in bound.columns.iter().enumerate() {
        let name = statement.columns.get(index).map_or(column.name.as_str(), |given| given.value.as_str());
        if columns.iter().any(|other: &Column| other.name == name) {
            return Err(Error::new(SqlState::DuplicateColumn, format!("column \"{name}\" specified more than once")));
        }
        let ty = column.ty;
        columns.push(Column {
            name: name.to_owned(),
            type_oid: ty.oid,
            typmod: ty.typmod,
            not_null: false,
            comment: None,
            default: None,
            generated: None,
        });
    }
    let view = kept(road, &text, reads);
    let temporary = temporary::Making::of(road, &schema);
    let owner = road.role_oid();
    let superuser = road.session.superuser;
    let or_replace = statement.or_replace;
    road.define(move |document| {
        if let Some(temporary) = &temporary {
            temporary.ensure(document, &schema);
        }
        let existing = document.relation(&schema, &name).cloned();
        let oid = match &existing {
            None => document.take_oid(),
            Some(relation) => replaceable(relation, &name, or_replace, &columns, superuser || relation.owner == owner)?,
        };
        let Some(definition) = document.schemas.get_mut(&schema) else {
            return Err(Error::new(SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")));
        };
        let owner = existing.as_ref().map_or(owner, |relation| relation.owner);
        let comment = existing.and_then(|relation| relation.comment);
        let kind = RelationKind::View(view.clone());
        definition.relations.insert(name.clone(), Relation { oid, owner, comment, columns: columns.clone(), kind });
        Ok(())
    })
    .await?;
    Ok(Output::Done("CREATE VIEW".into()))
}

/// A query as the catalog keeps it.
pub(super) fn kept(road: &Road<'_>, text: &str, reads: Reads) -> View {
    let models = reads.models.iter().map(|read| read.oid);
    let mut depends_on: Vec<u32> = reads.relations.iter().map(|read| read.oid).chain(models).collect();
    depends_on.sort_unstable();
    depends_on.dedup();
    let search_path = road.context.search_path.clone();
    let Reads { relations: reads, models } = reads;
    View { query: text.to_owned(), search_path, depends_on, reads, models, files: None }
}

/// The OID to keep, if the view may take the relation's place: PostgreSQL lets a view only grow.
fn replaceable(relation: &Relation, name: &str, or_replace: bool, columns: &[Column], owned: bool) -> Result<u32> {
    if !or_replace {
        return Err(Error::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists")));
    }
    if relation.kind.noun() != "view" {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not a view")));
    }
    if !owned {
        return Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of view {name}")));
    }
    if columns.len() < relation.columns.len() {
        return Err(Error::new(SqlState::InvalidTableDefinition, "cannot drop columns from view"));
    }
    for (old, new) in relation.columns.iter().zip(columns) {
        if old.name != new.name {
            return Err(Error::new(
                SqlState::InvalidTableDefinition,
                format!("cannot change name of view column \"{}\" to \"{}\"", old.name, new.name),
            )
            .with_hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead."));
        }
        if old.ty() != new.ty() {
            return Err(Error::new(
                SqlState::InvalidTableDefinition,
                format!(
                    "cannot change data type of view column \"{}\" from {} to {}",
                    old.name,
                    crate::encode::types::format_type(old.ty()),
                    crate::encode::types::format_type(new.ty()),
                ),
            ));
        }
    }
    Ok(relation.oid)
}
