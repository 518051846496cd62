//! UPDATE, DELETE, MERGE, and INSERT with RETURNING, ON CONFLICT or rows that it replaces.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;

use super::create_table::check_columns;
use super::evolve;
use super::output::{Output, RowsTag};
use super::properties;
use super::road::{Road, Target, relation_columns};
use super::standing;
use crate::encode::types::OutputColumn;
use crate::error::{Error, Result, SqlState};
use crate::lake::{self, Change, ColumnSpec, Counts, Input, Operation, Returned, WriteMode};
use crate::plan::relations::ResolvedTable;
use crate::plan::{BoundChange, Changing};
use crate::sql::{ConflictAction, Insert, PartitionValue, Replaces};

/// Times that a statement is run before another server's changes end it with 40001.
const ATTEMPTS_MAX: u32 = 10;

pub(crate) async fn run(road: &mut Road<'_>, statement: Changing<'_>) -> Result<Output> {
    Ok(run_planned(road, statement).await?.0)
}

/// The same with the plan that was run, which has its metrics.
pub(crate) async fn run_planned(road: &mut Road<'_>, statement: Changing<'_>) -> Result<(Output, Explained)> {
    let mut attempt = 1;
    loop {
        match attempt_once(road, statement, attempt).await {
            Err(error)
                if error.sqlstate() == SqlState::SerializationFailure
                    && attempt < ATTEMPTS_MAX
                    && !standing::is_about(&error) =>
            {
                attempt += 1;
                road.unpin();
                tokio::time::sleep(lake::pause(attempt)).await;
            }
            outcome => return outcome,
        }
    }
}

/// A plan whose rows change a table.
pub(crate) struct Explained {
    /// `Update on t`.
    pub title: String,
    pub plan: Arc<dyn ExecutionPlan>,
}

/// The plan alone.
pub(crate) async fn plan(road: &mut Road<'_>, statement: Changing<'_>) -> Result<Explained> {
    let (bound, relation) = bound(road, statement).await?;
    let (plan, _) = road.physical(bound.plan).await?;
    Ok(Explained { title: title(statement, &relation), plan })
}

/// The columns of RETURNING: what Describe tells.
pub(crate) async fn columns(road: &mut Road<'_>, statement: Changing<'_>) -> Result<Vec<OutputColumn>> {
    Ok(bound(road, statement).await?.0.returning)
}

/// The statement as it is bound, and its table's name; nothing of it stays.
async fn bound(road: &mut Road<'_>, statement: Changing<'_>) -> Result<(BoundChange, String)> {
    let (target, relation) = road.changed(&statement.table(), verb(statement)).await?;
    check_partitions(statement, &target)?;
    let before = Arc::clone(&target.table);
    let (target, relation, _) = Box::pin(evolved(road, statement, target, relation)).await?;
    let bound = Box::pin(road.bind_change(statement, &target, &relation)).await;
    before.cut();
    Ok((bound?, relation.name))
}

fn title(statement: Changing<'_>, relation: &str) -> String {
    let word = match statement {
        Changing::Insert(_) => "Insert",
        Changing::Update(_) => "Update",
        Changing::Delete(_) => "Delete",
        Changing::Merge(_) => "Merge",
    };
    format!("{word} on {relation}")
}

/// The table with the columns that the statement adds to it, in a transaction of its own outside one: nobody else sees them yet.
async fn evolved(
    road: &mut Road<'_>,
    statement: Changing<'_>,
    target: Target,
    relation: ResolvedTable,
) -> Result<(Target, ResolvedTable, Vec<ColumnSpec>)> {
    let news = match statement {
        Changing::Merge(merge) if merge.evolves => road.merge_news(merge, &relation).await?,
        Changing::Merge(_) | Changing::Insert(_) | Changing::Update(_) | Changing::Delete(_) => Vec::new(),
    };
    if news.is_empty() {
        return Ok((target, relation, Vec::new()));
    }
    let added: Vec<ColumnSpec> = news.into_iter().map(|(name, ty)| ColumnSpec::new(name, ty)).collect();
    let all: Vec<ColumnSpec> = target.table.columns().iter().chain(&added).cloned().collect();
    check_columns(&all)?;
    let target = evolve::evolve(target, &added).await?;
    let (columns, provider) = (relation_columns(&target.table), target.table.tagged_provider()?);
    Ok((target, ResolvedTable { columns, provider, ..relation }, added))
}

async fn attempt_once(road: &mut Road<'_>, statement: Changing<'_>, attempt: u32) -> Result<(Output, Explained)> {
    // Only who changes rows that are there waits for others who do.
    let appends = matches!(statement, Changing::Insert(insert)
        if insert.on_conflict.is_none() && matches!(insert.replaces, Replaces::None));
    let name = statement.table();
    let (mut target, mut relation) = road.changed(&name, verb(statement)).await?;
    let mut turn = None;
    if !appends {
        let first = road.ground.lake.turn(&target.table).await;
        // Appends do not wait for the turn: once they have been faster too often they do.
        let held = match attempt > ATTEMPTS_MAX / 2 && !road.staged {
            true => Some(road.ground.lake.hold(&target.table).await),
            false => None,
        };
        turn = Some((first, held));
        road.unpin();
        (target, relation) = road.changed(&name, verb(statement)).await?;
    }
    check_partitions(statement, &target)?;
    let added;
    (target, relation, added) = Box::pin(evolved(road, statement, target, relation)).await?;
    let bound = Box::pin(road.bind_change(statement, &target, &relation)).await?;
    let gate = road.gate(&target)?;
    let gate = if matches!(statement, Changing::Delete(_)) { gate.unwatched() } else { gate };
    let (plan, context) = road.physical(bound.plan).await?;
    let spool = (!bound.returning.is_empty()).then(|| Arc::new(Spool::new(road.ground.engine.memory_pool())));
    let change = Change {
        table: Arc::clone(&target.table),
        state: road.state(),
        repeated: repeated(statement),
        failure: failure(statement, &relation.name),
        reads_new_rows: reads_new_rows(statement),
        returned: spool.clone().map(|spool| spool as Arc<dyn Returned>),
        only_removes: matches!(statement, Changing::Delete(_)) && spool.is_none(),
        only_adds: only_adds(statement),
    };
    let alone = matches!(&turn, Some((_, Some(_))));
    let operation = Operation { alone, ..operation(statement) };
    let mode = WriteMode::Change(Arc::new(change));
    let explained = Explained { title: title(statement, &relation.name), plan: Arc::clone(&plan) };
    let input = Input::Plan(plan, context);
    let written;
    if added.is_empty() || road.staged {
        written = road.write(mode, input, gate, operation).await?;
    } else {
        // The new columns and the rows are one transaction of this statement's own.
        let columns = target.table.columns().to_vec();
        let (gate, watching) = Box::pin(road.watched(gate, &columns, &operation)).await?;
        // A queue that this statement holds it must not wait for.
        let commit = Operation { alone, ..road.operation(&self::operation(statement).name) };
        let outcome = match road.write_apart(mode, input, gate, operation).await {
            Ok(written) => road.commit_apart(written, commit).await,
            Err(error) => Err(error),
        };
        written = Box::pin(road.settle(watching, outcome)).await?;
    }
    drop(turn);
    if !added.is_empty() {
        evolve::record(road, (target.schema, target.name.clone()), added.clone()).await?;
        evolve::tell_added(road, &target.name, &added, None);
    }
    let tag = tag(statement, written.counts);
    let output = match spool {
        None => Output::Done(tag),
        Some(spool) => {
            let columns = Arc::from(bound.returning);
            let stream = Box::pin(futures::stream::iter(spool.rows()));
            Output::Rows { columns, stream, tag: RowsTag::Whole(tag) }
        }
    };
    Ok((output, explained))
}

fn verb(statement: Changing<'_>) -> &'static str {
    match statement {
        Changing::Insert(_) => "insert into",
        Changing::Update(_) => "update",
        Changing::Delete(_) => "delete from",
        Changing::Merge(_) => "merge into",
    }
}

/// PARTITION names columns that the table is partitioned by: a column of another kind would take rows of all files.
fn check_partitions(statement: Changing<'_>, target: &Target) -> Result<()> {
    let Changing::Insert(Insert { replaces: Replaces::Partitions(values), .. }) = statement else { return Ok(()) };
    let columns = target.table.columns();
    let other = values.iter().map(|value| &value.column).find(|name| {
        columns.iter().any(|column| column.name == name.value)
            && !target.table.partition_columns().contains(&name.value)
    });
    match other {
        None => Ok(()),
        Some(name) => {
            let message = format!("column \"{}\" is no partition column of relation \"{}\"", name.value, target.name);
            Err(Error::new(SqlState::InvalidColumnReference, message).at(name.position))
        }
    }
}

/// Delta's name of the operation, and which rows were replaced.
fn operation(statement: Changing<'_>) -> Operation {
    match statement {
        Changing::Insert(insert) => {
            let parameters = predicate(&insert.replaces).map(|text| ("predicate".to_owned(), text));
            Operation { parameters: parameters.into_iter().collect(), ..Operation::new("WRITE") }
        }
        Changing::Update(_) => Operation::new("UPDATE"),
        Changing::Delete(_) => Operation::new("DELETE"),
        Changing::Merge(_) => Operation::new("MERGE"),
    }
}

fn predicate(replaces: &Replaces) -> Option<String> {
    match replaces {
        Replaces::None | Replaces::All => None,
        Replaces::Where(condition) => Some(condition.to_string()),
        Replaces::Partitions(values) => {
            let of = |value: &PartitionValue| {
                let column = properties::quoted(&value.column.value);
                value.value.as_ref().map(|value| format!("{column} IS NOT DISTINCT FROM {value}"))
            };
            let all: Vec<String> = values.iter().filter_map(of).collect();
            (!all.is_empty()).then(|| all.join(" AND "))
        }
    }
}

fn tag(statement: Changing<'_>, counts: Counts) -> String {
    match statement {
        Changing::Insert(insert) if !matches!(insert.replaces, Replaces::None) => {
            format!("INSERT 0 {}", counts.inserted)
        }
        Changing::Insert(_) => format!("INSERT 0 {}", counts.total()),
        Changing::Update(_) => format!("UPDATE {}", counts.total()),
        Changing::Delete(_) => format!("DELETE {}", counts.total()),
        Changing::Merge(_) => format!("MERGE {}", counts.total()),
    }
}

/// In UPDATE and DELETE a row that several others match is changed by one of them.
fn repeated(statement: Changing<'_>) -> Option<Error> {
    match statement {
        Changing::Insert(_) => Some(twice_by_conflict()),
        Changing::Update(_) | Changing::Delete(_) => None,
        Changing::Merge(_) => Some(
            Error::new(SqlState::CardinalityViolation, "MERGE command cannot affect row a second time")
                .with_hint("Ensure that not more than one source row matches any one target row."),
        ),
    }
}

fn twice_by_conflict() -> Error {
    let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
    Error::new(SqlState::CardinalityViolation, message).with_hint(
        "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
    )
}

fn failure(statement: Changing<'_>, relation: &str) -> Option<Error> {
    let Changing::Insert(insert) = statement else { return None };
    if matches!(insert.replaces, Replaces::Where(_)) {
        let message =
            format!("new row for relation \"{relation}\" does not meet the condition of the rows it replaces");
        return Some(Error::new(SqlState::CheckViolation, message));
    }
    Some(twice_by_conflict())
}

/// Whether no row that is there changes.
fn only_adds(statement: Changing<'_>) -> bool {
    let Changing::Insert(insert) = statement else { return false };
    let keeps = insert.on_conflict.as_ref().is_none_or(|conflict| matches!(conflict.action, ConflictAction::Nothing));
    keeps && matches!(insert.replaces, Replaces::None)
}

/// Whether a row that another statement adds meanwhile could have been one that this one found missing.
fn reads_new_rows(statement: Changing<'_>) -> bool {
    match statement {
        Changing::Insert(insert) => match &insert.on_conflict {
            Some(conflict) => match &conflict.action {
                ConflictAction::Nothing => !conflict.columns.is_empty(),
                ConflictAction::Update { .. } => true,
            },
            None => !matches!(insert.replaces, Replaces::None),
        },
        Changing::Update(_) | Changing::Delete(_) => false,
        Changing::Merge(_) => true,
    }
}

/// RETURNING's rows until the commit: they are told only of what was done.
#[derive(Debug)]
struct Spool {
    rows: Mutex<Vec<RecordBatch>>,
    memory: Mutex<MemoryReservation>,
}

impl Spool {
    fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        Self { rows: Mutex::default(), memory: Mutex::new(MemoryConsumer::new("Returning").register(pool)) }
    }

    fn rows(&self) -> Vec<Result<RecordBatch>> {
        std::mem::take(&mut *self.rows.lock()).into_iter().map(Ok).collect()
    }
}

#[async_trait]
impl Returned for Spool {
    async fn take(&self, rows: RecordBatch) -> Result<()> {
        self.memory.lock().try_grow(rows.get_array_memory_size())?;
        self.rows.lock().push(rows);
        Ok(())
    }
}
