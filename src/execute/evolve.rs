//! More columns for a table in the commit that brings their first rows: COPY INTO with mergeSchema, MERGE WITH SCHEMA EVOLUTION.

use super::road::{Road, Target};
use crate::encode::types::format_type;
use crate::error::{Error, Result, Severity, SqlState};
use crate::lake::ColumnSpec;
use crate::plan::recorded::catalog_column;

/// Columns that a notice names.
const TOLD_MAX: usize = 20;

/// The target with more columns, seen by this statement's transaction only.
pub(super) async fn evolve(target: Target, added: &[ColumnSpec]) -> Result<Target> {
    let table = target.table.private()?.evolved(added).await?;
    Ok(Target { table, ..target })
}

/// The catalog learns of the columns.
pub(super) async fn record(
    road: &mut Road<'_>,
    (schema, name): (String, String),
    added: Vec<ColumnSpec>,
) -> Result<()> {
    road.define(move |document| {
        let relation = document.schemas.get_mut(&schema).and_then(|schema| schema.relations.get_mut(&name));
        let Some(relation) = relation else { return Ok(()) };
        for column in &added {
            if !relation.columns.iter().any(|known| known.name == column.name) {
                relation.columns.push(catalog_column(column));
            }
        }
        Ok(())
    })
    .await
}

/// Tells the client, with a detail for types that are not the source's own.
pub(super) fn tell_added(road: &Road<'_>, relation: &str, added: &[ColumnSpec], detail: Option<&str>) {
    let named = added.iter().take(TOLD_MAX).map(|column| format!("{} {}", column.name, format_type(column.ty)));
    let message = format!("relation \"{relation}\" was extended by: {}", named.collect::<Vec<_>>().join(", "));
    let notice = Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message);
    road.notice(match detail {
        Some(detail) => notice.with_detail(detail),
        None => notice,
    });
}
