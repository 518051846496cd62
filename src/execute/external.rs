//! CREATE EXTERNAL TABLE: files as they are under a name, read again by each query and never written. CONVERT TO DELTA:
//! Parquet files in place become a Delta table.

use super::create_view::kept;
use super::output::Output;
use super::properties::quoted;
use super::road::{Reads, Road};
use crate::catalog::{Column, Relation, RelationKind, View};
use crate::encode::types::format_type;
use crate::error::{Error, Result, Severity, SqlState};
use crate::lake::ColumnSpec;
use crate::sql::{ColumnDefinition, Convert, CreateExternalTable};

pub(crate) async fn create(road: &mut Road<'_>, statement: &CreateExternalTable) -> Result<Output> {
    let done = || Ok(Output::Done("CREATE EXTERNAL TABLE".into()));
    let (schema, name) = road.creation_name(&statement.name, false)?;
    if road.session.temporary.as_ref() == Some(&schema) {
        return Err(Error::unsupported("a temporary external table").at(statement.name.position));
    }
    if let Some(relation) = road.snapshot.relation(&schema, &name) {
        let exists = format!("relation \"{name}\" already exists");
        if statement.if_not_exists {
            let message = format!("{exists}, skipping");
            road.notice(Error::notice(Severity::Notice, SqlState::DuplicateTable, message));
            return done();
        }
        if !statement.or_replace {
            return Err(Error::new(SqlState::DuplicateTable, exists));
        }
        if relation.kind.noun() != "external table" {
            return Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not an external table")));
        }
        if !road.session.superuser && relation.owner != road.role_oid() {
            let message = format!("must be owner of external table {name}");
            return Err(Error::new(SqlState::InsufficientPrivilege, message));
        }
    }
    let call = call(statement);
    // The files are looked at once: what they have is the table's columns, by name, from now on.
    let first = crate::sql::parse_query(&format!("SELECT * FROM {call}"))?;
    let found = road.bind_query(&first).await.map_err(Error::without_position)?.columns;
    let given = statement.columns.iter().filter_map(|column| Some((column.name.value.clone(), column.ty?)));
    let columns: Vec<_> = if statement.columns.is_empty() {
        found.iter().map(|column| (column.name.clone(), column.ty)).collect()
    } else {
        given.collect()
    };
    let list = columns.iter().map(|(name, ty)| {
        let name = quoted(name);
        format!("CAST({name} AS {}) AS {name}", format_type(*ty))
    });
    let text = format!("SELECT {} FROM {call}", list.collect::<Vec<_>>().join(", "));
    let query = crate::sql::parse_query(&text)?;
    let bound = road.bind_query(&query).await.map_err(Error::without_position)?;
    let columns: Vec<Column> = bound
        .columns
        .iter()
        .map(|column| crate::plan::recorded::catalog_column(&ColumnSpec::new(&column.name, column.ty)))
        .collect();
    let view = View {
        files: Some(statement.clauses.clone()),
        ..kept(road, &text, Reads { relations: Vec::new(), models: Vec::new() })
    };
    let (owner, or_replace) = (road.role_oid(), statement.or_replace);
    road.define(move |document| {
        let existing = document.relation(&schema, &name).cloned();
        let (oid, owner) = match &existing {
            Some(relation) if or_replace && relation.kind.noun() == "external table" => (relation.oid, relation.owner),
            Some(_) => {
                return Err(Error::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists")));
            }
            None => (document.take_oid(), owner),
        };
        let Some(definition) = document.schemas.get_mut(&schema) else {
            return Err(Error::new(SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")));
        };
        let comment = existing.and_then(|relation| relation.comment);
        let relation =
            Relation { oid, owner, comment, columns: columns.clone(), kind: RelationKind::View(view.clone()) };
        definition.relations.insert(name.clone(), relation);
        Ok(())
    })
    .await?;
    done()
}

/// The table function that reads the files.
fn call(statement: &CreateExternalTable) -> String {
    let constant = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut arguments = vec![constant(&statement.location)];
    arguments.extend(statement.options.iter().map(|(name, value)| format!("{} => {value}", quoted(&name.value))));
    if matches!(statement.format, "csv" | "json") && !statement.columns.is_empty() {
        let columns = statement
            .columns
            .iter()
            .filter_map(|column| Some((column.name.value.clone(), serde_json::Value::from(format_type(column.ty?)))));
        let columns = serde_json::Value::Object(columns.collect());
        arguments.push(format!("columns => {}", constant(&columns.to_string())));
    }
    format!("read_{}({})", statement.format, arguments.join(", "))
}

pub(crate) async fn convert(road: &mut Road<'_>, statement: &Convert) -> Result<Output> {
    let place = road.open_place(&statement.location, true)?;
    let partitions = statement.partitioned_by.iter().filter_map(partition);
    let lake = &road.ground.lake;
    lake.convert((&place, &statement.location), &partitions.collect::<Vec<_>>())
        .await
        .map_err(|error| error.at(statement.position))?;
    Ok(Output::Done("CONVERT TO DELTA".into()))
}

fn partition(column: &ColumnDefinition) -> Option<ColumnSpec> {
    Some(ColumnSpec::new(&column.name.value, column.ty?))
}
