//! CHECK constraints and NOT NULL, which the standard counts among them.

use arrow::record_batch::RecordBatch;

use super::accessible;
use crate::builtins::tables::listing::{Listed, ListedCheck, ListedColumn, checks};
use crate::builtins::tables::rows::Request;
use crate::error::Result;

/// One CHECK constraint of either sort.
struct Constraint<'a> {
    relation: &'a Listed<'a>,
    name: String,
    clause: String,
}

/// Tables that have an owner among the users: constraints of the system's tables are nobody's business.
fn tables<'a>(request: &Request<'a>) -> Vec<Listed<'a>> {
    accessible(request.context()).into_iter().filter(|relation| relation.table().is_some()).collect()
}

fn constraints<'a>(tables: &'a [Listed<'a>]) -> Vec<Constraint<'a>> {
    let declared = checks(tables).into_iter().map(|listed| Constraint {
        relation: listed.relation,
        name: listed.check.name.clone(),
        clause: format!("(({}))", listed.check.expression),
    });
    let not_null = tables.iter().flat_map(|table| {
        let columns = table.columns.iter().filter(|column| column.not_null);
        columns.map(move |column| Constraint {
            relation: table,
            name: not_null_name(table, column),
            clause: format!("{} IS NOT NULL", column.name),
        })
    });
    declared.chain(not_null).collect()
}

/// As PostgreSQL makes it up.
fn not_null_name(table: &Listed<'_>, column: &ListedColumn<'_>) -> String {
    format!("{}_{}_{}_not_null", table.schema_oid, table.oid, column.number)
}

pub(super) fn table_constraints(request: &Request<'_>) -> Result<RecordBatch> {
    let database = request.context().catalog.database.name.as_str();
    let tables = tables(request);
    let constraints = constraints(&tables);
    request
        .rows(&constraints)
        .set("constraint_catalog", |_| database)
        .set("constraint_schema", |constraint| constraint.relation.schema)
        .set("constraint_name", |constraint| &constraint.name)
        .set("table_catalog", |_| database)
        .set("table_schema", |constraint| constraint.relation.schema)
        .set("table_name", |constraint| constraint.relation.name)
        .set("constraint_type", |_| "CHECK")
        .set("is_deferrable", |_| "NO")
        .set("initially_deferred", |_| "NO")
        .set("enforced", |_| "YES")
        .finish()
}

pub(super) fn check_constraints(request: &Request<'_>) -> Result<RecordBatch> {
    let database = request.context().catalog.database.name.as_str();
    let tables = tables(request);
    let constraints = constraints(&tables);
    request
        .rows(&constraints)
        .set("constraint_catalog", |_| database)
        .set("constraint_schema", |constraint| constraint.relation.schema)
        .set("constraint_name", |constraint| &constraint.name)
        .set("check_clause", |constraint| &constraint.clause)
        .finish()
}

/// The columns that CHECK conditions read.
pub(super) fn constraint_column_usage(request: &Request<'_>) -> Result<RecordBatch> {
    let database = request.context().catalog.database.name.as_str();
    let tables = tables(request);
    let checks = checks(&tables);
    let uses: Vec<(&ListedCheck<'_>, &ListedColumn<'_>)> =
        checks.iter().flat_map(|listed| listed.columns.iter().map(move |column| (listed, *column))).collect();
    request
        .rows(&uses)
        .set("table_catalog", |_| database)
        .set("table_schema", |(listed, _)| listed.relation.schema)
        .set("table_name", |(listed, _)| listed.relation.name)
        .set("column_name", |(_, column)| column.name)
        .set("constraint_catalog", |_| database)
        .set("constraint_schema", |(listed, _)| listed.relation.schema)
        .set("constraint_name", |(listed, _)| &listed.check.name)
        .finish()
}
