//! Statements about versions, files and statistics of tables: one file for each.

mod analyze;
mod detail;
mod history;
mod optimize;
mod restore;
mod vacuum;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;

use super::output::{Output, RowsTag};
use super::road::Road;
use crate::encode::types::{OutputColumn, PgType, arrow_type};
use crate::error::Result;
use crate::sql::Care;

pub(crate) async fn run(road: &mut Road<'_>, statement: &Care) -> Result<Output> {
    match statement {
        Care::History { table, limit } => history::run(road, table, *limit).await,
        Care::Detail(table) => detail::run(road, table).await,
        Care::Restore { table, version } => restore::run(road, table, version).await,
        Care::Optimize(optimize) => optimize::run(road, optimize).await,
        Care::Purge(table) => optimize::purge(road, table).await,
        Care::Vacuum(vacuum) => vacuum::run(road, vacuum).await,
        Care::Analyze(tables) => analyze::run(road, tables).await,
    }
}

/// The columns of what the statement answers; `None` for a tag alone.
pub(crate) fn columns(statement: &Care) -> Option<Vec<OutputColumn>> {
    match statement {
        Care::History { .. } => Some(output(history::COLUMNS)),
        Care::Detail(_) => Some(output(detail::COLUMNS)),
        Care::Restore { .. } => Some(output(restore::COLUMNS)),
        Care::Optimize(_) | Care::Purge(_) => Some(output(optimize::COLUMNS)),
        Care::Vacuum(vacuum) if vacuum.dry_run => Some(output(vacuum::COLUMNS)),
        Care::Vacuum(_) | Care::Analyze(_) => None,
    }
}

fn output(columns: &[(&str, PgType)]) -> Vec<OutputColumn> {
    columns.iter().map(|(name, ty)| OutputColumn::new(*name, *ty)).collect()
}

/// A batch of an answer's columns, in the carriers of their types.
fn rows_batch(columns: &[(&str, PgType)], values: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns.iter().map(|(name, ty)| Field::new(*name, arrow_type(*ty), true)).collect();
    let values = values.into_iter().zip(&fields).map(|(values, field)| cast(&values, field.data_type()));
    let values = values.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), values)?)
}

/// A single batch as the answer.
fn answer(columns: &[(&str, PgType)], values: Vec<ArrayRef>, tag: RowsTag) -> Result<Output> {
    let batch = rows_batch(columns, values)?;
    let stream = Box::pin(futures::stream::once(async move { Ok(batch) }));
    Ok(Output::Rows { columns: output(columns).into(), stream, tag })
}

/// A number for a bigint column.
fn bigint(number: u64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![i64::try_from(number).unwrap_or(i64::MAX)]))
}

/// A value as PostgreSQL writes jsonb.
fn jsonb(value: &serde_json::Value) -> Option<String> {
    crate::encode::input::jsonb(&value.to_string()).ok()
}
