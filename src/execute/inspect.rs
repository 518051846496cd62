//! SHOW TABLES and its kin, and DESCRIBE. What the catalogs hold is asked of them; the rest is told from the Delta log.

use super::model;
use super::output::{Output, RowsTag};
use super::properties::{CLUSTER_BY, clustered_by, quoted};
use super::road::Road;
use super::row_rules;
use super::setting::text_rows;
use crate::catalog::{Relation, RelationKind, View};
use crate::encode::types::{OutputColumn, PgType, format_type};
use crate::error::{Error, Result, SqlState};
use crate::lake;
use crate::lake::kept::{self, Kept};
use crate::sql::{Inspect, QualifiedName};

const CONSTRAINTS: &str = "delta.constraints.";

/// The columns of the answer.
pub(crate) async fn columns(road: &mut Road<'_>, statement: &Inspect) -> Result<Vec<OutputColumn>> {
    Ok(match Box::pin(asked(road, statement)).await? {
        Asked::Query(text) => {
            road.bind_query(&crate::sql::parse_query(&text)?).await.map_err(Error::without_position)?.columns
        }
        Asked::Told(names, _) => text_columns(&names),
    })
}

pub(crate) async fn run(road: &mut Road<'_>, statement: &Inspect) -> Result<Output> {
    let tag = match statement {
        Inspect::Describe { .. } => RowsTag::Fixed("DESCRIBE"),
        _ => RowsTag::Fixed("SHOW"),
    };
    match Box::pin(asked(road, statement)).await? {
        Asked::Query(text) => {
            let query = crate::sql::parse_query(&text)?;
            let bound = road.bind_query(&query).await.map_err(Error::without_position)?;
            let stream = road.start(bound.plan).await?;
            Ok(Output::Rows { columns: bound.columns.into(), stream, tag })
        }
        Asked::Told(names, rows) => {
            let columns = text_columns(&names);
            let values =
                (0..names.len()).map(|at| rows.iter().map(|row| row.get(at).cloned().unwrap_or_default()).collect());
            let stream = text_rows(&columns, values.collect())?;
            Ok(Output::Rows { columns: columns.into(), stream, tag })
        }
    }
}

/// Where the answer comes from.
enum Asked {
    /// A query over the system's tables, or the table itself.
    Query(String),
    /// Names of text columns, and rows.
    Told(Vec<&'static str>, Vec<Vec<String>>),
}

fn text_columns(names: &[&'static str]) -> Vec<OutputColumn> {
    names.iter().map(|name| OutputColumn::new(*name, PgType::TEXT)).collect()
}

async fn asked(road: &mut Road<'_>, statement: &Inspect) -> Result<Asked> {
    Ok(match statement {
        Inspect::Tables { schema, pattern } => {
            let schema = in_schema(road, schema.as_ref())?;
            Asked::Query(format!(
                "SELECT n.nspname AS \"database\", c.relname AS \"tableName\", n.nspname LIKE 'pg\\_temp%' AS \"isTemporary\" \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = {schema} AND c.relkind IN ('r', 'v', 'm', 'f'){} ORDER BY 2",
                matching("c.relname", pattern.as_deref())
            ))
        }
        Inspect::Views { schema, pattern } => {
            let schema = in_schema(road, schema.as_ref())?;
            Asked::Query(format!(
                "SELECT n.nspname AS \"namespace\", c.relname AS \"viewName\", n.nspname LIKE 'pg\\_temp%' AS \"isTemporary\", \
                 c.relkind = 'm' AS \"isMaterialized\" \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = {schema} AND c.relkind IN ('v', 'm'){} ORDER BY 2",
                matching("c.relname", pattern.as_deref())
            ))
        }
        Inspect::Schemas { pattern } => Asked::Query(format!(
            "SELECT nspname AS \"databaseName\" FROM pg_catalog.pg_namespace WHERE true{} ORDER BY 1",
            matching("nspname", pattern.as_deref())
        )),
        Inspect::Columns(name) => Asked::Query(format!(
            "SELECT attname AS col_name FROM pg_catalog.pg_attribute WHERE attrelid = {} AND attnum > 0 ORDER BY attnum",
            relation_oid(road, name)?
        )),
        Inspect::CreateTable(name) => {
            let (schema, relation) = road.find(name)?;
            let text = match &relation.kind {
                RelationKind::View(view) => create_view(&schema, &name.name, &relation, view),
                RelationKind::Table(table) if table.materialized.is_some() => match relation.kind.query() {
                    Some(view) => create_view(&schema, &name.name, &relation, view),
                    None => String::new(),
                },
                RelationKind::Table(_) => {
                    let table = road.opened(name).await?;
                    create_table(&schema, &name.name, &relation, &table)
                }
            };
            Asked::Told(vec!["createtab_stmt"], vec![vec![text]])
        }
        Inspect::Properties { table: name, key } => {
            let table = road.opened(name).await?;
            Asked::Told(vec!["key", "value"], properties(&table, key.as_deref()))
        }
        Inspect::Partitions(name) => {
            let (schema, _) = road.find(name)?;
            let table = road.opened(name).await?;
            if table.partition_columns().is_empty() {
                let message = format!("table \"{}\" is not partitioned", name.name);
                let position = (name.position > 0).then_some(name.position);
                return Err(Error::new(SqlState::WrongObjectType, message).at(position));
            }
            let columns: Vec<String> = table.partition_columns().iter().map(|name| quoted(name)).collect();
            let order: Vec<String> = (1..=columns.len()).map(|number| number.to_string()).collect();
            let (list, order) = (columns.join(", "), order.join(", "));
            Asked::Query(format!(
                "SELECT DISTINCT {list} FROM {}.{} ORDER BY {order}",
                quoted(&schema),
                quoted(&name.name)
            ))
        }
        Inspect::Expectations(of) => {
            let of = match of {
                Some(name) => {
                    let (schema, _) = road.find(name)?;
                    let (schema, name) = (constant(&schema), constant(&name.name));
                    format!(" WHERE table_schema = {schema} AND table_name = {name}")
                }
                None => String::new(),
            };
            Asked::Query(format!(
                "SELECT table_schema, table_name, name, kind, expectation, filter, on_violation, on_commit, enabled, severity, \
                 mostly, ignore_nulls, description FROM lakegate.expectations{of} ORDER BY table_schema, table_name, oid"
            ))
        }
        Inspect::Models { schema, pattern } => {
            let of = match schema {
                Some(schema) => format!("model_schema = {}", in_schema(road, Some(schema))?),
                None => "true".to_owned(),
            };
            Asked::Query(format!(
                "SELECT model_schema, model_name, model_type, label, default_version, versions, created_at, metrics \
                 FROM lakegate.models WHERE {of}{} ORDER BY 1, 2",
                matching("model_name", pattern.as_deref())
            ))
        }
        Inspect::DescribeModel(name) => {
            let model = model::opened(road, name, None).await?;
            Asked::Told(vec!["property", "value"], model::described(&model))
        }
        Inspect::Describe { table: name, extended } if let Some(kept) = kept_of(road, name) => {
            let columns = kept.columns();
            let mut rows: Vec<Vec<String>> = Vec::with_capacity(columns.len());
            rows.extend(columns.iter().map(|column| vec![column.name.clone(), format_type(column.ty), String::new()]));
            if *extended {
                rows.push(vec![String::new(); 3]);
                rows.push(vec!["# Detailed Table Information".to_owned(), String::new(), String::new()]);
                rows.push(vec!["Database".to_owned(), kept::SCHEMA.to_owned(), String::new()]);
                rows.push(vec!["Table".to_owned(), kept.name().to_owned(), String::new()]);
            }
            Asked::Told(vec!["col_name", "data_type", "comment"], rows)
        }
        Inspect::Describe { table: name, extended: false } => Asked::Query(format!(
            "SELECT attname::text AS col_name, pg_catalog.format_type(atttypid, atttypmod) AS data_type, \
             pg_catalog.col_description(attrelid, attnum::int) AS comment \
             FROM pg_catalog.pg_attribute WHERE attrelid = {} AND attnum > 0 ORDER BY attnum",
            relation_oid(road, name)?
        )),
        Inspect::Describe { table: name, extended: true } => {
            let (schema, relation) = road.find(name)?;
            let table = match relation.kind {
                RelationKind::Table(_) => Some(road.opened(name).await?),
                RelationKind::View(_) => None,
            };
            let owner = road.snapshot.role_name(relation.owner).unwrap_or_default().to_owned();
            let rows = described((&schema, &name.name), &relation, table.as_deref(), &owner);
            Asked::Told(vec!["col_name", "data_type", "comment"], rows)
        }
    })
}

/// The log that it names, of which pg_catalog knows nothing.
fn kept_of(road: &Road<'_>, name: &QualifiedName) -> Option<Kept> {
    road.find(name).ok().and_then(|(schema, _)| Kept::find(&schema, &name.name))
}

/// The schema as a constant: the one named, or the first of the search path that users have.
fn in_schema(road: &Road<'_>, schema: Option<&crate::sql::Name>) -> Result<String> {
    let name = match schema {
        None => return Ok("pg_catalog.current_schema()".to_owned()),
        Some(name) => name,
    };
    if !crate::plan::resolve::schema_exists(&road.snapshot, &name.value) {
        let message = format!("schema \"{}\" does not exist", name.value);
        return Err(Error::new(SqlState::InvalidSchemaName, message).at(name.position));
    }
    Ok(constant(&name.value))
}

fn constant(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Databricks' pattern: `*` for anything, `|` between choices; case does not count.
fn matching(column: &str, pattern: Option<&str>) -> String {
    let Some(pattern) = pattern else { return String::new() };
    let mut expression = String::new();
    for character in pattern.chars() {
        match character {
            '*' => expression.push_str(".*"),
            '|' => expression.push('|'),
            other if other.is_alphanumeric() || other == '_' => expression.push(other),
            other => {
                expression.push('\\');
                expression.push(other);
            }
        }
    }
    format!(" AND {column} ~* {}", constant(&format!("^({expression})$")))
}

/// The OID of a relation, of the system's too.
fn relation_oid(road: &Road<'_>, name: &QualifiedName) -> Result<String> {
    let quoted: Vec<String> = name.schema.iter().chain([&name.name]).map(|part| quoted(part)).collect();
    let schema = name.schema.as_deref().unwrap_or("pg_catalog");
    if crate::builtins::tables::lookup(schema, &name.name, &road.context).is_none() {
        road.find(name)?;
    }
    Ok(format!("{}::pg_catalog.regclass", constant(&quoted.join("."))))
}

/// The table's properties; its constraints are told elsewhere, and what transactions leave there is nobody's concern.
fn properties(table: &lake::Table, key: Option<&str>) -> Vec<Vec<String>> {
    let is_shown = |name: &str| !name.starts_with(CONSTRAINTS) && !lake::is_transaction_mark(name);
    let all = table.properties().iter().filter(|(name, _)| is_shown(name));
    match key {
        None => all.map(|(name, value)| vec![name.clone(), value.clone()]).collect(),
        Some(key) => match table.properties().get(key).filter(|_| !lake::is_transaction_mark(key)) {
            Some(value) => vec![vec![key.to_owned(), value.clone()]],
            None => vec![vec![key.to_owned(), format!("Table does not have property: {key}")]],
        },
    }
}

fn create_view(schema: &str, name: &str, relation: &Relation, view: &View) -> String {
    if let Some(clauses) = &view.files {
        let columns: Vec<String> = relation
            .columns
            .iter()
            .map(|column| format!("{} {}", quoted(&column.name), format_type(column.ty())))
            .collect();
        let columns = columns.join(", ");
        return format!("CREATE EXTERNAL TABLE {}.{} ({columns}) {clauses}", quoted(schema), quoted(name));
    }
    let columns: Vec<String> = relation.columns.iter().map(|column| quoted(&column.name)).collect();
    let query = view.query.trim().trim_end_matches(';');
    let noun = relation.kind.noun().to_uppercase();
    format!("CREATE {noun} {}.{} ({}) AS {query}", quoted(schema), quoted(name), columns.join(", "))
}

fn create_table(schema: &str, name: &str, relation: &Relation, table: &lake::Table) -> String {
    if let RelationKind::Table(kind) = &relation.kind
        && !kind.managed
    {
        // The table that is there is used as it is: DROP leaves it in its place.
        let (schema, name) = (quoted(schema), quoted(name));
        return format!("CREATE TABLE {schema}.{name}\nUSING DELTA\nLOCATION {}", constant(&kind.location));
    }
    let mut elements: Vec<String> = table.columns().iter().map(column).collect();
    for check in table.check_constraints() {
        elements.push(format!("CONSTRAINT {} CHECK ({})", quoted(&check.name), check.expression));
    }
    let rules = row_rules::rules_of(relation).iter();
    elements.extend(rules.filter_map(row_rules::clause));
    let mut text =
        format!("CREATE TABLE {}.{} (\n  {})\nUSING DELTA", quoted(schema), quoted(name), elements.join(",\n  "));
    let list = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    if !table.partition_columns().is_empty() {
        text.push_str(&format!("\nPARTITIONED BY ({})", list(table.partition_columns())));
    }
    let clustered = clustered_by(table.properties());
    if !clustered.is_empty() {
        text.push_str(&format!("\nCLUSTER BY ({})", list(&clustered)));
    }
    if let Some(comment) = table.description() {
        text.push_str(&format!("\nCOMMENT {}", constant(comment)));
    }
    let properties = properties(table, None).into_iter().filter(|row| row.first().is_some_and(|key| key != CLUSTER_BY));
    let properties: Vec<String> =
        properties.map(|row| row.iter().map(|text| constant(text)).collect::<Vec<_>>().join(" = ")).collect();
    if !properties.is_empty() {
        text.push_str(&format!("\nTBLPROPERTIES (\n  {})", properties.join(",\n  ")));
    }
    text
}

fn column(column: &lake::ColumnSpec) -> String {
    let mut text = format!("{} {}", quoted(&column.name), format_type(column.ty));
    if column.not_null {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        text.push_str(&format!(" DEFAULT {default}"));
    }
    if let Some(generated) = &column.generated {
        text.push_str(&format!(" GENERATED ALWAYS AS ({generated}) STORED"));
    }
    if let Some(comment) = &column.comment {
        text.push_str(&format!(" COMMENT {}", constant(comment)));
    }
    text
}

/// The columns, and below them what else is known, as Databricks lays it out.
fn described(
    (schema, name): (&str, &str),
    relation: &Relation,
    table: Option<&lake::Table>,
    owner: &str,
) -> Vec<Vec<String>> {
    let row = |name: &str, value: &str, comment: &str| vec![name.to_owned(), value.to_owned(), comment.to_owned()];
    let mut rows: Vec<Vec<String>> = relation
        .columns
        .iter()
        .map(|column| row(&column.name, &format_type(column.ty()), column.comment.as_deref().unwrap_or_default()))
        .collect();
    let partitions = table.map(lake::Table::partition_columns).unwrap_or_default();
    if !partitions.is_empty() {
        rows.push(row("# Partition Information", "", ""));
        let of = relation.columns.iter().filter(|column| partitions.contains(&column.name));
        rows.extend(
            of.map(|column| {
                row(&column.name, &format_type(column.ty()), column.comment.as_deref().unwrap_or_default())
            }),
        );
    }
    rows.push(row("", "", ""));
    rows.push(row("# Detailed Table Information", "", ""));
    rows.push(row("Database", schema, ""));
    rows.push(row("Table", name, ""));
    rows.push(row("Owner", owner, ""));
    if let Some(comment) = &relation.comment {
        rows.push(row("Comment", comment, ""));
    }
    match (&relation.kind, table) {
        (RelationKind::View(view), _) => {
            rows.push(row("Type", "VIEW", ""));
            rows.push(row("View Text", view.query.trim(), ""));
        }
        (RelationKind::Table(kind), table) => {
            rows.push(row("Type", if kind.managed { "MANAGED" } else { "EXTERNAL" }, ""));
            rows.push(row("Provider", "delta", ""));
            if let Some(table) = table {
                rows.push(row("Location", table.location(), ""));
                rows.push(row("Version", &table.version().to_string(), ""));
                let properties: Vec<String> = properties(table, None).into_iter().map(|row| row.join("=")).collect();
                rows.push(row("Table Properties", &format!("[{}]", properties.join(",")), ""));
                for rule in &kind.expectations {
                    if let Some(clause) = row_rules::clause(rule) {
                        rows.push(row("Expectation", &clause, ""));
                    }
                }
                for check in table.check_constraints() {
                    rows.push(row("Check", &format!("{}: {}", check.name, check.expression), ""));
                }
            }
        }
    }
    rows
}
