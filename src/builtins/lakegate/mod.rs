//! The schema `lakegate`: what PostgreSQL's catalogs have no place for.

mod expectations;
mod models;

use arrow::record_batch::RecordBatch;
use chrono::DateTime;

use super::tables::listing::{Listed, relations, role_name};
use super::tables::rows::Request;
use crate::catalog::Refreshing;
use crate::error::Result;

pub(super) fn rows(request: &Request<'_>) -> Result<RecordBatch> {
    match request.name() {
        "tables" => tables(request),
        "refreshes" => refreshes(request),
        "expectations" => expectations::rows(request),
        "models" => models::models(request),
        "model_versions" => models::versions(request),
        "queries" => queries(request),
        _ => request.empty(),
    }
}

/// `lakegate.refreshes`: the materialized views that are refreshed by themselves, and how that went last.
fn refreshes(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let views: Vec<(Listed<'_>, &Refreshing)> = relations(context)
        .into_iter()
        .filter(|relation| relation.is_accessible(context))
        .filter_map(|relation| {
            let refreshing = relation.table()?.materialized.as_ref()?.refreshing.as_ref()?;
            Some((relation, refreshing))
        })
        .collect();
    let now = context.statement_start.timestamp_millis();
    request
        .rows(&views)
        .set("view_oid", |(view, _)| view.oid)
        .set("view_schema", |(view, _)| view.schema)
        .set("view_name", |(view, _)| view.name)
        .set("view_owner", |(view, _)| role_name(context, view.owner))
        .set("every", |(_, refreshing)| refreshing.interval.as_str())
        .set("last_begun", |(_, refreshing)| DateTime::from_timestamp_millis(refreshing.last_ms))
        .set("running", |(_, refreshing)| refreshing.claimed_until_ms > now)
        .set("failure", |(_, refreshing)| refreshing.failure.as_deref())
        .finish()
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

/// `lakegate.queries`: the statements that run now, and how far they are where they tell it.
fn queries(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let mut running = context.session.activity();
    let superuser = context.catalog.roles.get(&context.user).is_some_and(|role| role.superuser);
    running.retain(|row| row.state == "active" && (superuser || row.user == context.user));
    request
        .rows(&running)
        .set("pid", |row| row.pid)
        .set("role", |row| &row.user)
        .set("database", |row| &row.database)
        .set("application_name", |row| &row.application_name)
        .set("state", |row| row.state)
        .set("started", |row| row.query_start)
        .set("query", |row| &row.query)
        .set("phase", |row| row.progress.as_ref().map(|progress| progress.phase))
        .set("rows_read", |row| row.progress.as_ref().map(|progress| progress.rows as i64))
        .set("done", |row| row.progress.as_ref().map(|progress| progress.done as i64))
        .set("total", |row| row.progress.as_ref().map(|progress| progress.total as i64))
        .set("loss", |row| row.progress.as_ref().and_then(|progress| progress.loss))
        .finish()
}
