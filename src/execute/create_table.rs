//! CREATE TABLE, with columns or AS a query; OR REPLACE; over an existing Delta table by LOCATION.
//!
//! The Delta table is committed first and the catalog's entry after it: what a crash between the two leaves behind is a folder
//! that no entry names, never an entry without a table.

mod columns;

use std::sync::Arc;

use columns::stored_type;
pub(super) use columns::{check_columns, check_name, constraint_name};

use super::location::check_place;
use super::output::Output;
use super::road::Road;
use super::row_rules::{self, quarantine_name, rules_of};
use super::{quarantine, refresh, temporary};
use crate::catalog::{Materialized, OnCommit, Relation, RelationKind, Table};
use crate::error::{Error, Result, Severity, SqlState};
use crate::lake::{self, ColumnSpec, CreateMode, Freshness, Input, TableSpec, WriteMode};
use crate::plan::recorded::Recorded;
use crate::quality::{Expectation, Gate, ViolationAction};
use crate::sql::{self, CreateTable};

pub(crate) async fn run(road: &mut Road<'_>, statement: &CreateTable) -> Result<Output> {
    let (schema, name) = road.creation_name(&statement.name, statement.temporary)?;
    let is_temporary = road.session.temporary.as_ref() == Some(&schema);
    let existing = road.snapshot.relation(&schema, &name).cloned();
    if let Some(relation) = &existing {
        if statement.if_not_exists {
            road.notice(Error::notice(
                Severity::Notice,
                SqlState::DuplicateTable,
                format!("relation \"{name}\" already exists, skipping"),
            ));
            return Ok(Output::Done(bare_tag(statement).into()));
        }
        if !statement.or_replace {
            return Err(Error::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists")));
        }
        let wanted = if statement.materialized.is_some() { "materialized view" } else { "table" };
        if relation.kind.noun() != wanted {
            return Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not a {wanted}")));
        }
        if !road.session.superuser && relation.owner != road.role_oid() {
            return Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of table {name}")));
        }
    }
    tell_dropped_rules(road, &name, existing.as_ref());
    let on_commit = on_commit(statement, is_temporary)?;
    road.session.has_on_commit |= on_commit.is_some();
    if is_temporary && statement.location.is_some() {
        return Err(Error::unsupported("LOCATION of a temporary table"));
    }
    if let Some(location) = &statement.location {
        road.open_place(location, true)?;
    }
    let location = location_for(road, &schema, &name, statement, existing.as_ref()).await?;
    let oid = existing.as_ref().map(|relation| relation.oid);
    check_place(&road.snapshot, road.ground.lake.stores(), &location, oid)?;
    let replaced = table_of(existing.as_ref());
    let in_place = match replaced {
        Some(table) => is_same_place(road, &table.location, &location)?,
        None => false,
    };
    // What stays in its place stays whose it was: the files of a LOCATION never become ours to remove.
    let managed = replaced.filter(|_| in_place).map_or(statement.location.is_none(), |table| table.managed);
    let materialized = match (&statement.materialized, &statement.query) {
        (Some(text), Some(query)) => {
            let (_, reads, text) = road.bind_view(query, text).await?;
            if is_temporary || temporary::reads_any(road, &reads.relations) {
                let message = "materialized views must not use temporary tables or views";
                return Err(Error::new(SqlState::FeatureNotSupported, message));
            }
            let view = super::create_view::kept(road, &text, reads);
            let refreshing = statement.refresh_every.as_ref().map(|every| refresh::every(road, every)).transpose()?;
            Some(Materialized { view, populated: !statement.no_data, refreshing })
        }
        _ => None,
    };
    let making = match in_place {
        false => Making::New,
        // What others read stays as it is until COMMIT.
        true if road.staged => Making::Private(road.newest(&location).await?),
        true => Making::InPlace,
    };
    let owner = existing.as_ref().map_or(road.role_oid(), |relation| relation.owner);
    if statement.expectations.iter().any(|rule| rule.action == ViolationAction::QuarantineRow) {
        quarantine::check(road, &schema, &name, Some(owner))?;
    }
    let adopts = statement.location.is_some() && statement.columns.is_empty() && statement.query.is_none();
    let made = make(road, (&schema, &name), statement, &location, making).await?;
    let rules = made.rules.clone();
    let parts = rules.iter().any(|rule| rule.action == ViolationAction::QuarantineRow);
    let guard = (!adopts && !in_place).then(|| road.guard_made(&location, managed));
    let recorded =
        record(road, (&schema, &name), &made, (managed, on_commit), existing.as_ref(), (materialized, rules)).await;
    if let (Some(guard), false) = (&guard, road.staged)
        && recorded.as_ref().err().is_none_or(|error| !is_refusal(error))
    {
        guard.keep();
    }
    recorded?;
    if parts && road.snapshot.relation(&schema, &quarantine_name(&name)).is_none() {
        let owner = existing.as_ref().map(|relation| relation.owner);
        Box::pin(road.quarantine((&schema, &name), made.table.columns(), owner)).await?;
    }
    if let Some(left) = replaced.filter(|table| table.managed && !in_place) {
        road.leave(left.location.clone()).await?;
    }
    Ok(Output::Done(tag(statement, made.rows)))
}

/// A definition that takes the place of another has its own rules about rows, and none about all rows.
fn tell_dropped_rules(road: &mut Road<'_>, name: &str, replaced: Option<&Relation>) {
    let rules = replaced.map(rules_of).unwrap_or_default().iter().filter(|rule| !rule.rule.is_of_rows());
    let lines: Vec<String> =
        rules.map(|rule| format!("drop cascades to expectation {} on table {name}", rule.name)).collect();
    let notice = |message: String| Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message);
    match lines.as_slice() {
        [] => {}
        [line] => road.notice(notice(line.clone())),
        lines => {
            let message = format!("drop cascades to {} other objects", lines.len());
            road.notice(notice(message).with_detail(lines.join("\n")));
        }
    }
}

fn on_commit(statement: &CreateTable, is_temporary: bool) -> Result<Option<OnCommit>> {
    match statement.on_commit {
        Some(_) if !is_temporary => {
            let message = "ON COMMIT can only be used on temporary tables";
            Err(Error::new(SqlState::InvalidTableDefinition, message))
        }
        Some(sql::OnCommit::DeleteRows) => Ok(Some(OnCommit::DeleteRows)),
        Some(sql::OnCommit::Drop) => Ok(Some(OnCommit::Drop)),
        Some(sql::OnCommit::PreserveRows) | None => Ok(None),
    }
}

/// Whether the catalog surely has no entry. After an error of the store it may have one, which needs its files.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.sqlstate(),
        SqlState::DuplicateTable
            | SqlState::InvalidSchemaName
            | SqlState::InvalidTableDefinition
            | SqlState::SerializationFailure
    )
}

fn table_of(relation: Option<&Relation>) -> Option<&Table> {
    match &relation?.kind {
        RelationKind::Table(table) => Some(table),
        RelationKind::View(_) => None,
    }
}

/// Whether both mean one folder, however they are written.
fn is_same_place(road: &Road<'_>, one: &str, other: &str) -> Result<bool> {
    let stores = road.ground.lake.stores();
    Ok(stores.resolve(one)?.location == stores.resolve(other)?.location)
}

fn tag(statement: &CreateTable, rows: u64) -> String {
    if statement.query.is_some() && !statement.no_data { format!("SELECT {rows}") } else { bare_tag(statement).into() }
}

/// The tag when there are no rows to count.
fn bare_tag(statement: &CreateTable) -> &'static str {
    match (&statement.materialized, &statement.query) {
        (Some(_), _) => "CREATE MATERIALIZED VIEW",
        (None, Some(_)) => "CREATE TABLE AS",
        (None, None) => "CREATE TABLE",
    }
}

/// Where the table's files go: the given location, the replaced table's, or the schema's folder.
async fn location_for(
    road: &Road<'_>,
    schema: &str,
    name: &str,
    statement: &CreateTable,
    existing: Option<&Relation>,
) -> Result<String> {
    if let Some(location) = &statement.location {
        return Ok(location.clone());
    }
    if let Some(table) = table_of(existing) {
        return Ok(table.location.clone());
    }
    road.ground.lake.free_location(schema, name).await
}

/// Where the table comes into being.
enum Making {
    New,
    /// As a new version of the one that is there.
    InPlace,
    /// The same in a transaction's own view of it.
    Private(Arc<lake::Table>),
}

impl Making {
    fn mode(self, spec: TableSpec) -> WriteMode {
        match self {
            Self::New => WriteMode::Create(spec),
            Self::InPlace => WriteMode::Replace(spec, None),
            Self::Private(table) => WriteMode::Replace(spec, Some(table)),
        }
    }
}

/// The Delta table as it was made.
struct Made {
    table: Arc<lake::Table>,
    rows: u64,
    rules: Vec<Expectation>,
}

async fn make(
    road: &mut Road<'_>,
    (schema, name): (&str, &str),
    statement: &CreateTable,
    location: &str,
    making: Making,
) -> Result<Made> {
    match &statement.query {
        Some(query) => make_from_query(road, (schema, name), statement, query, location, making).await,
        None => make_empty(road, (schema, name), statement, location, making).await,
    }
}

async fn make_empty(
    road: &mut Road<'_>,
    (schema, name): (&str, &str),
    statement: &CreateTable,
    location: &str,
    making: Making,
) -> Result<Made> {
    let mut columns = Vec::with_capacity(statement.columns.len());
    for definition in &statement.columns {
        let Some(ty) = definition.ty else {
            return Err(Error::new(SqlState::SyntaxError, format!("column \"{}\" has no type", definition.name.value))
                .at(definition.name.position));
        };
        columns.push(ColumnSpec {
            name: definition.name.value.clone(),
            ty,
            not_null: definition.not_null,
            comment: definition.comment.clone(),
            default: definition.default.as_ref().map(|default| default.text.clone()),
            generated: definition.generated.as_ref().map(|generated| generated.text.clone()),
        });
    }
    let adopts = columns.is_empty() && statement.location.is_some();
    if columns.is_empty() && !adopts {
        return Err(Error::new(SqlState::InvalidTableDefinition, "a table needs at least one column")
            .with_hint("Name columns, or a LOCATION that holds a Delta table."));
    }
    columns.iter().try_for_each(|column| check_name(&column.name))?;
    check_columns(&columns)?;
    for (index, definition) in statement.columns.iter().enumerate() {
        let Some(column) = columns.get(index) else { continue };
        let column = super::stored::settled(road, name, &columns, definition, column)?;
        if let Some(slot) = columns.get_mut(index) {
            *slot = column;
        }
    }
    let checks = road.bind_checks(name, &columns, &statement.checks)?;
    let rules = bound_rules(road, name, &columns, statement, &checks)?;
    let spec = spec_of(statement, location, columns, &checks)?;
    let mode = match making {
        Making::New => CreateMode::New,
        Making::InPlace => CreateMode::Replace,
        Making::Private(_) => {
            let gate = road.gate_of_new((schema, name), &spec, &[])?;
            let input = Input::Streams(Vec::new());
            return written(road, making.mode(spec), input, gate, ("CREATE TABLE", rules)).await;
        }
    };
    let table = road.ground.lake.create_as(&spec, mode, road.operation("CREATE TABLE")).await?;
    Ok(Made { table, rows: 0, rules })
}

async fn make_from_query(
    road: &mut Road<'_>,
    (schema, name): (&str, &str),
    statement: &CreateTable,
    query: &sqlparser::ast::Query,
    location: &str,
    making: Making,
) -> Result<Made> {
    let bound = road.bind_query(query).await?;
    if statement.columns.len() > bound.columns.len() {
        return Err(Error::new(SqlState::SyntaxError, "too many column names were specified"));
    }
    let mut columns = Vec::with_capacity(bound.columns.len());
    for (index, column) in bound.columns.iter().enumerate() {
        let name = statement.columns.get(index).map_or(column.name.as_str(), |given| given.name.value.as_str());
        columns.push(ColumnSpec::new(name, stored_type(column.ty)));
    }
    columns.iter().try_for_each(|column| check_name(&column.name))?;
    check_columns(&columns)?;
    let checks = road.bind_checks(name, &columns, &statement.checks)?;
    let rules = bound_rules(road, name, &columns, statement, &checks)?;
    let plan = road.as_table_columns(bound, &columns)?;
    let spec = spec_of(statement, location, columns, &checks)?;
    let (plan, context) = road.physical(plan).await?;
    let input = if statement.no_data { Input::Streams(Vec::new()) } else { Input::Plan(plan, context) };
    let gate = road.gate_of_new((schema, name), &spec, &rules)?;
    written(road, making.mode(spec), input, gate, ("CREATE TABLE AS SELECT", rules)).await
}

fn bound_rules(
    road: &Road<'_>,
    name: &str,
    columns: &[ColumnSpec],
    statement: &CreateTable,
    checks: &[(String, String)],
) -> Result<Vec<Expectation>> {
    let rules = row_rules::bound(road, name, columns, &statement.expectations)?;
    match rules.iter().find(|rule| checks.iter().any(|(check, _)| *check == rule.name)) {
        Some(rule) => Err(row_rules::taken(name, &rule.name)),
        None => Ok(rules),
    }
}

async fn written(
    road: &mut Road<'_>,
    mode: WriteMode,
    input: Input,
    gate: Gate,
    (operation, rules): (&str, Vec<Expectation>),
) -> Result<Made> {
    let location = match &mode {
        WriteMode::Create(spec) | WriteMode::Replace(spec, _) => spec.location.clone(),
        _ => return Err(Error::internal("a table is made by other means")),
    };
    let written = road.write(mode, input, gate, operation).await?;
    let table = match written.table {
        Some(table) => table,
        None => road.ground.lake.table(&location, Freshness::AtLeast(written.version)).await?,
    };
    Ok(Made { table, rows: written.rows, rules })
}

fn spec_of(
    statement: &CreateTable,
    location: &str,
    columns: Vec<ColumnSpec>,
    checks: &[(String, String)],
) -> Result<TableSpec> {
    let mut partition_columns = Vec::with_capacity(statement.partitioned_by.len());
    for name in &statement.partitioned_by {
        if !columns.iter().any(|column| column.name == name.value) {
            return Err(Error::new(
                SqlState::UndefinedColumn,
                format!("column \"{}\" named in partition key does not exist", name.value),
            )
            .at(name.position));
        }
        if partition_columns.contains(&name.value) {
            return Err(Error::new(
                SqlState::DuplicateColumn,
                format!("column \"{}\" appears twice in the partition key", name.value),
            )
            .at(name.position));
        }
        partition_columns.push(name.value.clone());
    }
    if !columns.is_empty() && partition_columns.len() == columns.len() {
        return Err(Error::new(SqlState::InvalidTableDefinition, "a table needs a column that is no partition column"));
    }
    let columns_named: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    Ok(TableSpec {
        location: location.to_owned(),
        columns,
        partition_columns,
        checks: checks.to_vec(),
        comment: statement.comment.clone(),
        properties: super::properties::of_new(statement, &columns_named)?,
    })
}

async fn record(
    road: &mut Road<'_>,
    (schema, name): (&str, &str),
    made: &Made,
    (managed, on_commit): (bool, Option<OnCommit>),
    replaced: Option<&Relation>,
    (materialized, rules): (Option<Materialized>, Vec<Expectation>),
) -> Result<()> {
    let owner = road.role_oid();
    let temporary = temporary::Making::of(road, schema);
    let recorded = Recorded::of(&made.table);
    let location = road.ground.lake.stores().portable(made.table.location());
    let (schema, name) = (schema.to_owned(), name.to_owned());
    let replaced = replaced.map(|relation| relation.oid);
    let lake = Arc::clone(&road.ground.lake);
    road.define(move |document| {
        let (schema, name) = (schema.as_str(), name.as_str());
        let existing = document.relation(schema, name).cloned();
        if existing.as_ref().map(|relation| relation.oid) != replaced {
            if replaced.is_some() {
                let message = "could not serialize access due to concurrent update";
                return Err(Error::new(SqlState::SerializationFailure, message)
                    .with_detail(format!("Relation \"{name}\" was dropped or replaced by another transaction.")));
            }
            return Err(Error::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists")));
        }
        check_place(document, lake.stores(), &location, replaced)?;
        let table_oid = existing.as_ref().map_or_else(|| document.take_oid(), |relation| relation.oid);
        let expectations = rules.iter().map(|rule| Expectation { oid: document.take_oid(), ..rule.clone() }).collect();
        let kind = RelationKind::Table(Table {
            location: location.clone(),
            managed,
            partition_columns: Vec::new(),
            checks: Vec::new(),
            expectations,
            version: 0,
            materialized: materialized.clone(),
            on_commit,
        });
        let relation = Relation {
            oid: table_oid,
            owner: existing.map_or(owner, |relation| relation.owner),
            comment: None,
            columns: Vec::new(),
            kind,
        };
        if let Some(temporary) = &temporary {
            temporary.ensure(document, schema);
        }
        let Some(definition) = document.schemas.get_mut(schema) else {
            return Err(Error::new(SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")));
        };
        definition.relations.insert(name.to_owned(), relation);
        recorded.apply(document, table_oid);
        Ok(())
    })
    .await
}
