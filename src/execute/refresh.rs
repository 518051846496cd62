//! REFRESH MATERIALIZED VIEW: its query is run again, and its rows take the place of the old ones in one commit. Readers go
//! on with the old ones until then.

use super::drop::require_owner;
use super::output::Output;
use super::road::Road;
use crate::catalog::{Document, Materialized, Refreshing, RelationKind};
use crate::encode::input::interval;
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::lake::{Input, WriteMode};
use crate::plan;
use crate::plan::recorded::relation_mut;
use crate::sql::{Refresh, RefreshEvery};

/// The shortest time between two refreshes.
const EVERY_MIN_MS: i64 = 1_000;
const MS_PER_DAY: i64 = 24 * 3600 * 1000;

/// What REFRESH EVERY asks for, from now on. A month has 30 days, as where PostgreSQL compares intervals.
pub(super) fn every(road: &Road<'_>, clause: &RefreshEvery) -> Result<Refreshing> {
    let at = |error: Error| error.at(clause.position);
    let value = interval(&clause.interval, -1, &road.input_context()).map_err(at)?;
    let days = i64::from(value.months) * 30 + i64::from(value.days);
    let every_ms = days.saturating_mul(MS_PER_DAY).saturating_add(value.micros / 1000);
    if every_ms < EVERY_MIN_MS {
        let error = Error::new(SqlState::InvalidParameterValue, "REFRESH EVERY must be at least one second");
        return Err(at(error));
    }
    let last_ms = chrono::Utc::now().timestamp_millis();
    Ok(Refreshing { every_ms, interval: clause.interval.clone(), last_ms, claimed_until_ms: 0, failure: None })
}

/// The materialized view of that OID.
pub(crate) fn materialized_mut(document: &mut Document, oid: u32) -> Option<&mut Materialized> {
    match &mut relation_mut(document, oid)?.kind {
        RelationKind::Table(table) => table.materialized.as_mut(),
        RelationKind::View(_) => None,
    }
}

pub(crate) async fn run(road: &mut Road<'_>, statement: &Refresh) -> Result<Output> {
    let (_, relation) = road.find(&statement.name).map_err(Error::without_position)?;
    let materialized = match &relation.kind {
        RelationKind::Table(table) => table.materialized.clone(),
        RelationKind::View(_) => None,
    };
    let Some(materialized) = materialized else {
        let message = format!("\"{}\" is not a materialized view", statement.name.name);
        // PostgreSQL's SQLSTATE for it.
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    };
    let who = (road.session.superuser, road.role_oid());
    require_owner(who, relation.owner, relation.kind.noun(), &statement.name.name)?;
    let target = road.target(&statement.name, "refresh").await?;
    let bound = road.bind_materialized(&materialized.view).await?;
    let gate = road.gate(&target)?;
    let input = if statement.no_data {
        Input::Streams(Vec::new())
    } else {
        let wanted: Vec<(String, PgType)> =
            target.table.columns().iter().map(|column| (column.name.clone(), column.ty)).collect();
        if bound.columns.len() != wanted.len() {
            let message = format!("materialized view \"{}\" no longer fits the relations under it", target.name);
            return Err(Error::new(SqlState::InvalidTableDefinition, message));
        }
        let (plan, context) = road.physical(plan::cast_columns(bound, &wanted)?).await?;
        Input::Plan(plan, context)
    };
    road.write(WriteMode::Overwrite(target.table), input, gate, "REFRESH MATERIALIZED VIEW").await?;
    let (oid, populated) = (relation.oid, !statement.no_data);
    if materialized.populated != populated {
        road.define(move |document| {
            if let Some(materialized) = materialized_mut(document, oid) {
                materialized.populated = populated;
            }
            Ok(())
        })
        .await?;
    }
    Ok(Output::Done("REFRESH MATERIALIZED VIEW".into()))
}
