//! Rules ON COMMIT: asked of each table that a transaction has changed, as the transaction sees it, before its commit. A
//! statement that writes such a table outside a block is a transaction of its own ([`watched::needs_transaction`]). What was
//! asked stays true until the commit, which nobody else's changes of the table's rows may precede: then it is asked again where
//! the transaction only added rows, and 40001 otherwise. Transactions of one process ask one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::Utc;
use tokio::sync::OwnedMutexGuard;

use super::check::{Checked, Files, check};
use super::validate::told;
use crate::catalog::{Document, RelationKind, Snapshot};
use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::road::{Road, Target};
use crate::execute::{transaction, watched};
use crate::lake;
use crate::quality::result::{RuleResult, Run, Status, new_run_id};
use crate::quality::{Expectation, ViolationAction};
use crate::session::{Handle, Pins};

/// What results call the source of a run.
const SOURCE: &str = "COMMIT";
/// Broken rows that results keep of each rule.
const SAMPLES: u32 = 20;
/// Rules that a message tells one by one.
const TOLD_MAX: usize = 20;

/// Whether the transaction has changed tables, whose rules then may have to be asked.
pub(crate) fn may_be_asked(pins: &Pins) -> bool {
    !transaction::changed(pins).is_empty()
}

/// Places in the queues of those who ask, by the places of the tables.
#[derive(Debug, Default)]
pub(crate) struct Turns(BTreeMap<String, OwnedMutexGuard<()>>);

impl Turns {
    /// In one order for all, so that no two wait for each other.
    async fn take(&mut self, road: &Road<'_>, places: BTreeSet<String>) -> Result<()> {
        if places.iter().all(|place| self.0.contains_key(place)) {
            return Ok(());
        }
        self.0.clear();
        for place in places {
            let turn = tokio::select! {
                turn = road.ground.lake.asking_turn(&place) => turn,
                () = road.token.cancelled() => {
                    return Err(Error::new(SqlState::QueryCanceled, "canceling statement due to user request"));
                }
            };
            self.0.insert(place, turn);
        }
        Ok(())
    }
}

/// The catalog that the transaction would commit to, as far as this process knows it: rules that others have added meanwhile
/// bind too.
fn newest(road: &Road<'_>) -> Result<Snapshot> {
    let newest = road.ground.catalog.snapshot();
    let definitions = road.session.transaction.pins().map(|pins| pins.definitions.as_slice()).unwrap_or_default();
    if newest.version <= road.snapshot.version {
        return Ok(Arc::clone(&road.snapshot));
    }
    let mut document = Document::clone(&newest);
    definitions.iter().try_for_each(|definition| definition.apply(&mut document))?;
    Ok(Arc::new(document))
}

/// Asks the rules of all tables that the transaction has changed; whether there were any. Until `turns` goes nobody else of
/// this process asks.
///
/// # Errors
/// 23514 for a broken rule ON VIOLATION FAIL.
pub(crate) async fn on_commit(road: &mut Road<'_>, turns: &mut Turns) -> Result<bool> {
    let tables = road.session.transaction.pins().map(transaction::changed).unwrap_or_default();
    let now = newest(road)?;
    road.see(now);
    let mut places = BTreeSet::new();
    for table in &tables {
        if asked(road, table)?.is_some() {
            places.insert(table.location().to_owned());
        }
    }
    turns.take(road, places).await?;
    if let Some(pins) = road.session.transaction.pins_mut() {
        pins.asked = Some(Arc::clone(&road.snapshot));
    }
    if let Some(pins) = road.session.transaction.pins_mut() {
        // Of an attempt before.
        pins.runs.retain(|run| run.source != SOURCE);
    }
    let mut any = false;
    for table in tables {
        let Some(found) = asked(road, &table)? else { continue };
        any = true;
        if let Err(error) = Box::pin(ask(road, table, found)).await {
            if error.sqlstate() == SqlState::CheckViolation {
                keep_undone(road).await;
            }
            return Err(error);
        }
    }
    Ok(any)
}

/// What became of rules about rows that the commit does not write.
async fn keep_undone(road: &mut Road<'_>) {
    let runs = road.session.transaction.pins_mut().map(|pins| std::mem::take(&mut pins.runs)).unwrap_or_default();
    for mut run in runs.into_iter().filter(|run| run.source != SOURCE) {
        watched::undone(&mut run);
        Box::pin(watched::keep(road.ground, road.session.handle(), &run)).await;
    }
}

/// A table whose rules are asked.
struct Found {
    schema: String,
    name: String,
    owner: u32,
    oid: u32,
    rules: Vec<Expectation>,
}

/// The table as the catalog knows it, if it has rules ON COMMIT.
fn asked(road: &Road<'_>, table: &lake::Table) -> Result<Option<Found>> {
    for (schema, definition) in &road.snapshot.schemas {
        for (name, relation) in &definition.relations {
            let RelationKind::Table(known) = &relation.kind else { continue };
            if !watched::is_checked_at_commit(relation) || road.ground.lake.place(&known.location)? != table.location()
            {
                continue;
            }
            let rules = known.expectations.iter().filter(|rule| rule.enabled && rule.on_commit);
            let (schema, name, rules) = (schema.clone(), name.clone(), rules.cloned().collect());
            return Ok(Some(Found { schema, name, owner: relation.owner, oid: relation.oid, rules }));
        }
    }
    Ok(None)
}

async fn ask(road: &mut Road<'_>, table: Arc<lake::Table>, found: Found) -> Result<()> {
    // Rows that are only added are asked together with those that others have added meanwhile.
    let lake = Arc::clone(&road.ground.lake);
    let table = road.ground.engine.compute(async move { lake.rebased(&table).await }).await?;
    if let Some(pins) = road.session.transaction.pins_mut() {
        pins.replace(table.location(), Arc::clone(&table));
    }
    let run = checked(road, &table, found).await?;
    table.note_whole();
    if let Some(pins) = road.session.transaction.pins_mut() {
        pins.runs.push(run);
    }
    Ok(())
}

/// Asks the rules of the table that a statement is about to put in the place of the newest version.
pub(crate) async fn on_version(road: &mut Road<'_>, target: &Target, table: &Arc<lake::Table>) -> Result<Option<Run>> {
    match asked(road, &target.table)? {
        Some(found) => checked(road, table, found).await.map(Some),
        None => Ok(None),
    }
}

/// What became of the rules; those that refuse the commit are an error, which is recorded at once.
async fn checked(road: &mut Road<'_>, table: &Arc<lake::Table>, found: Found) -> Result<Run> {
    let Found { schema, name, owner, oid, rules } = found;
    let target = Target { schema, name, table: Arc::clone(table) };
    let relation = road.as_relation(&target, oid)?;
    let checked = Checked {
        schema: target.schema.clone(),
        name: target.name.clone(),
        owner,
        relation,
        columns: table.columns().to_vec(),
        defined: table.columns().to_vec(),
        samples: SAMPLES,
        file_count: table.num_files() as u64,
        // A commit waits for no put more than it must.
        files: Some(Files { table: Arc::clone(table), keeps: false, all: false }),
    };
    let at = Utc::now();
    let results = check(road, &checked, &rules).await?;
    let mut run = Run {
        id: new_run_id(),
        at,
        table: format!("{}.{}", target.schema, target.name),
        place: Some(table.location().to_owned()),
        owner: road.snapshot.role_name(owner).unwrap_or_default().to_owned(),
        role: road.context.user.clone(),
        source: SOURCE.to_owned(),
        table_version: None,
        whole: true,
        results,
        rows: None,
        passed: None,
    };
    let refusing = |result: &&RuleResult| result.action == ViolationAction::Fail && result.status != Status::Passed;
    let broken: Vec<&RuleResult> = run.results.iter().filter(refusing).collect();
    let Some(first) = broken.first() else { return Ok(run) };
    let message = match broken.len() {
        1 => format!("relation \"{}\" would violate expectation \"{}\"", target.name, first.rule),
        count => format!("relation \"{}\" would violate {count} expectations", target.name),
    };
    let error = Error::new(SqlState::CheckViolation, message)
        .with_detail(lines(&broken))
        .with_table(&target.schema, &target.name)
        .with_constraint(&first.rule);
    // These rows are nobody's.
    run.whole = false;
    watched::keep(road.ground, road.session.handle(), &run).await;
    Err(error)
}

fn lines(broken: &[&RuleResult]) -> String {
    let lines: Vec<String> = broken.iter().take(TOLD_MAX).map(|result| told(result)).collect();
    lines.join("\n")
}

/// Tells of rules ON VIOLATION WARN that a commit broke.
pub(crate) fn tell(session: &Handle, run: &Run) {
    if run.source != SOURCE {
        return;
    }
    let broken: Vec<&RuleResult> = run.results.iter().filter(|result| result.status != Status::Passed).collect();
    if broken.is_empty() {
        return;
    }
    let (_, relation) = run.table.split_once('.').unwrap_or(("", &run.table));
    let message = match broken.as_slice() {
        [one] => format!("relation \"{relation}\" violates expectation \"{}\"", one.rule),
        _ => format!("relation \"{relation}\" violates {} expectations", broken.len()),
    };
    let notice = Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message).with_detail(lines(&broken));
    session.notice(notice.with_hint("See lakegate.expectation_results."));
}
