//! REFRESH MATERIALIZED VIEW: one commit, readers go on with the old rows until then. Each says in the log which versions of
//! which tables its rows follow from. What the next one does depends on what has happened to these since:
//!
//! ```text
//! nothing, and the query repeats itself               → nothing
//! rows were added, and each row comes from one row    → the query over the new rows, appended
//! anything else                                       → the query again, in the place of all rows
//! ```

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use sha2::{Digest, Sha256};

use super::drop::require_owner;
use super::output::Output;
use super::road::{Road, Target};
use super::standing;
use super::watched;
use crate::catalog::{Document, Materialized, Refreshing, Relation as CatalogRelation, RelationKind};
use crate::encode::input::interval;
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::lake::{Input, Operation, Refreshed, Source, Table, WriteMode};
use crate::plan;
use crate::plan::bind::BoundQuery;
use crate::plan::incremental::{SETTINGS, is_repeatable, is_row_by_row};
use crate::plan::recorded::relation_mut;
use crate::plan::relations::{Relation, Relations};
use crate::sql::{Refresh, RefreshEvery};

pub(super) const NAME: &str = "REFRESH MATERIALIZED VIEW";
/// Times that it is run before another server's changes end it with 40001.
const ATTEMPTS_MAX: u32 = 10;
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
    let mut attempt = 1;
    loop {
        let target = road.target(&statement.name, "refresh").await?;
        // Two at a time would do the same work, and one in vain.
        let turn = if road.staged { None } else { Some(road.ground.lake.turn(&target.table).await) };
        road.unpin();
        let target = road.target(&statement.name, "refresh").await?;
        let done = refresh(road, statement, target, (&materialized, relation.owner)).await;
        drop(turn);
        match done {
            Err(error)
                if error.sqlstate() == SqlState::SerializationFailure
                    && !road.staged
                    && attempt < ATTEMPTS_MAX
                    && !standing::is_about(&error) =>
            {
                attempt += 1;
            }
            done => {
                done?;
                break;
            }
        }
    }
    record(road, &relation, &materialized, !statement.no_data).await?;
    Ok(Output::Done(NAME.into()))
}

/// Whether the view can be read from now on.
async fn record(
    road: &mut Road<'_>,
    relation: &CatalogRelation,
    materialized: &Materialized,
    populated: bool,
) -> Result<()> {
    let oid = relation.oid;
    if materialized.populated == populated {
        return Ok(());
    }
    road.define(move |document| {
        if let Some(materialized) = materialized_mut(document, oid) {
            materialized.populated = populated;
        }
        Ok(())
    })
    .await
}

async fn refresh(
    road: &mut Road<'_>,
    statement: &Refresh,
    target: Target,
    (materialized, owner): (&Materialized, u32),
) -> Result<()> {
    if statement.no_data {
        let gate = road.gate(&target)?;
        let (mode, input) = (WriteMode::Overwrite(target.table), Input::Streams(Vec::new()));
        return road.write(mode, input, gate, NAME).await.map(drop);
    }
    let view = &materialized.view;
    // Rows that were asked other things are not what would come now.
    let rules = format!("{:?}", watched::rules(road, &target.schema, &target.name));
    let query = crate::sql::parse_query(&view.query)?;
    let mut relations = road.resolve_materialized(&query, view, owner).await?;
    let sources = if road.staged || !is_repeatable(&query) { None } else { sources(road, &relations)? };
    let now = match &sources {
        Some(sources) => followed(road, (&view.query, &rules), sources)?,
        None => None,
    };
    let before = match (&now, materialized.populated) {
        (Some(now), true) => road.ground.lake.refreshed(&target.table).await?.filter(|before| is_earlier(before, now)),
        _ => None,
    };
    if before.is_some() && before == now {
        return Ok(());
    }
    let mut bound = road.bind_materialized(&query, view, &relations)?;
    let mut grows = false;
    if let (Some(before), Some(sources)) = (&before, &sources)
        && is_row_by_row(&bound.plan)
        && let Some(added) = added(road, before, sources).await?
    {
        for (relation, provider) in added {
            if let Some(Relation::Table(table)) = relations.by_name.get_mut(&relation) {
                table.provider = provider;
            }
        }
        bound = road.bind_materialized(&query, view, &relations)?;
        grows = true;
    }
    let gate = road.gate(&target)?;
    let (plan, context) = road.physical(as_columns(bound, &target)?).await?;
    let parameters = vec![("mode".to_owned(), if grows { "incremental" } else { "whole" }.to_owned())];
    let follows = grows.then(|| Arc::clone(&target.table));
    let operation = Operation { parameters, refreshed: now, follows, ..Operation::new(NAME) };
    let mode = if grows { WriteMode::Append(target.table) } else { WriteMode::Overwrite(target.table) };
    road.write(mode, Input::Plan(plan, context), gate, operation).await.map(drop)
}

fn as_columns(bound: BoundQuery, target: &Target) -> Result<datafusion::logical_expr::LogicalPlan> {
    let columns = target.table.columns().iter();
    let wanted: Vec<(String, PgType)> = columns.map(|column| (column.name.clone(), column.ty)).collect();
    if bound.columns.len() != wanted.len() {
        let message = format!("materialized view \"{}\" no longer fits the relations under it", target.name);
        return Err(Error::new(SqlState::InvalidTableDefinition, message));
    }
    plan::cast_columns(bound, &wanted)
}

/// As a query names a relation.
type Key = (Option<String>, String);
/// Tables that a query reads, in the order of their names.
type Sources = Vec<(Key, Arc<Table>)>;

/// The tables that a query reads; `None` when it reads anything else.
fn sources(road: &Road<'_>, relations: &Relations) -> Result<Option<Sources>> {
    if !relations.by_position.is_empty() || !relations.by_version.is_empty() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for (key, relation) in &relations.by_name {
        let Relation::Table(table) = relation else { return Ok(None) };
        let Some(table) = road.pinned(table.oid)? else { return Ok(None) };
        found.push((key.clone(), table));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(Some(found))
}

/// What rows made now would follow from.
fn followed(road: &Road<'_>, (query, rules): (&str, &str), sources: &[(Key, Arc<Table>)]) -> Result<Option<Refreshed>> {
    let mut hash = Sha256::new_with_prefix(query);
    hash.update(rules);
    {
        let settings = road.session.settings();
        for name in SETTINGS {
            hash.update(format!("\0{}", settings.get(name).unwrap_or_default()));
        }
    }
    let mut made_of = Vec::with_capacity(sources.len());
    for (_, table) in sources {
        let Some(source) = Source::of(table)? else { return Ok(None) };
        made_of.push(source);
    }
    let hash = hash.finalize();
    let query = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(Refreshed { query, sources: made_of }))
}

/// Whether it is of the same query over the same tables, none of them newer.
fn is_earlier(before: &Refreshed, now: &Refreshed) -> bool {
    before.query == now.query
        && before.sources.len() == now.sources.len()
        && before.sources.iter().zip(&now.sources).all(|(before, now)| {
            before.location == now.location && before.id == now.id && before.version <= now.version
        })
}

/// For each table the rows that it got since, if that is all that happened to it.
async fn added(
    road: &Road<'_>,
    before: &Refreshed,
    sources: &[(Key, Arc<Table>)],
) -> Result<Option<Vec<(Key, Arc<dyn TableProvider>)>>> {
    let mut found: Vec<(Key, Arc<dyn TableProvider>)> = Vec::with_capacity(sources.len());
    for (source, (key, table)) in before.sources.iter().zip(sources) {
        let provider: Arc<dyn TableProvider> = if source.version == table.version() {
            Arc::new(EmptyTable::new(Arc::clone(table.arrow_schema())))
        } else {
            match road.ground.lake.appended(table, source.version).await? {
                Some(provider) => provider,
                None => return Ok(None),
            }
        };
        found.push((key.clone(), provider));
    }
    Ok(Some(found))
}
