//! COMMENT ON TABLE, VIEW, COLUMN and SCHEMA. A table's comments lie in the Delta log, where other engines find them.

use super::alter_table::{self, Edit};
use super::drop::require_owner;
use super::output::Output;
use super::road::{Road, is_system_schema};
use crate::catalog::{Relation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::plan::recorded::relation_mut;
use crate::sql::{Comment, CommentObject, Name, QualifiedName};

pub(crate) async fn run(road: &mut Road<'_>, statement: &Comment) -> Result<Output> {
    match &statement.object {
        CommentObject::Table(name) => on_relation(road, name, "table", None, statement.text.as_deref()).await?,
        CommentObject::View(name) => on_relation(road, name, "view", None, statement.text.as_deref()).await?,
        CommentObject::MaterializedView(name) => {
            on_relation(road, name, "materialized view", None, statement.text.as_deref()).await?;
        }
        CommentObject::Column { relation, column } => {
            on_relation(road, relation, "", Some(column), statement.text.as_deref()).await?;
        }
        CommentObject::Schema(name) => on_schema(road, name, statement.text.clone()).await?,
    }
    Ok(Output::Done("COMMENT".into()))
}

async fn on_relation(
    road: &mut Road<'_>,
    name: &QualifiedName,
    wanted: &str,
    column: Option<&Name>,
    text: Option<&str>,
) -> Result<()> {
    let (_, relation) = road.find(name).map_err(Error::without_position)?;
    let noun = relation.kind.noun();
    if !wanted.is_empty() && noun != wanted {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a {wanted}", name.name)));
    }
    require_owner((road.session.superuser, road.role_oid()), relation.owner, noun, &name.name)?;
    if let Some(column) = column
        && !relation.columns.iter().any(|other| other.name == column.value)
    {
        let message = format!("column \"{}\" of relation \"{}\" does not exist", column.value, name.name);
        return Err(Error::new(SqlState::UndefinedColumn, message));
    }
    match &relation.kind {
        RelationKind::Table(_) => alter_table::run(road, name, &relation, Edit::Comment(column, text)).await,
        RelationKind::View(_) => on_view(road, &relation, column, text).await,
    }
}

async fn on_view(road: &mut Road<'_>, relation: &Relation, column: Option<&Name>, text: Option<&str>) -> Result<()> {
    let (oid, column, text) = (relation.oid, column.map(|column| column.value.clone()), text.map(str::to_owned));
    road.define(move |document| {
        let Some(relation) = relation_mut(document, oid) else { return Ok(()) };
        match &column {
            None => relation.comment.clone_from(&text),
            Some(name) => {
                let columns = relation.columns.iter_mut().filter(|column| column.name == *name);
                columns.for_each(|column| column.comment.clone_from(&text));
            }
        }
        Ok(())
    })
    .await
}

async fn on_schema(road: &mut Road<'_>, name: &Name, text: Option<String>) -> Result<()> {
    let missing = |name: &str| Error::new(SqlState::InvalidSchemaName, format!("schema \"{name}\" does not exist"));
    let name = name.value.clone();
    if is_system_schema(&name) {
        return Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of schema {name}")));
    }
    let Some(schema) = road.snapshot.schemas.get(&name) else { return Err(missing(&name)) };
    require_owner((road.session.superuser, road.role_oid()), schema.owner, "schema", &name)?;
    road.define(move |document| {
        let Some(schema) = document.schemas.get_mut(&name) else { return Err(missing(&name)) };
        schema.comment.clone_from(&text);
        Ok(())
    })
    .await
}
