//! The schema `lakegate`: what PostgreSQL's catalogs have no place for.

use arrow::record_batch::RecordBatch;

use super::tables::listing::{Listed, relations, role_name};
use super::tables::rows::Request;
use crate::error::Result;

pub(super) fn rows(request: &Request<'_>) -> Result<RecordBatch> {
    match request.name() {
        "tables" => tables(request),
        _ => request.empty(),
    }
}

/// `lakegate.tables`: where each table's files are.
fn tables(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let tables: Vec<Listed<'_>> = relations(context)
        .into_iter()
        .filter(|relation| relation.table().is_some() && relation.is_accessible(context))
        .collect();
    request
        .rows(&tables)
        .set("table_oid", |table| table.oid)
        .set("table_schema", |table| table.schema)
        .set("table_name", |table| table.name)
        .set("table_owner", |table| role_name(context, table.owner))
        .set("location", |table| table.table().map(|table| table.location.as_str()))
        .set("managed", |table| table.table().map(|table| table.managed))
        .set("partition_columns", |table| table.table().map(|table| table.partition_columns.clone()))
        .set("comment", |table| table.comment)
        .finish()
}
