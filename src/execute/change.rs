//! UPDATE, DELETE, MERGE, and INSERT with RETURNING, ON CONFLICT or rows that it replaces.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;

use super::output::{Output, RowsTag};
use super::properties;
use super::road::{Road, Target};
use crate::encode::types::OutputColumn;
use crate::error::{Error, Result, SqlState};
use crate::lake::{Change, Counts, Input, Operation, Returned, WriteMode};
use crate::plan::Changing;
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
        match attempt_once(road, statement).await {
            Err(error) if error.sqlstate() == SqlState::SerializationFailure && attempt < ATTEMPTS_MAX => {
                attempt += 1;
                road.unpin();
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
    let (target, relation) = road.changed(&statement.table(), verb(statement)).await?;
    check_partitions(statement, &target)?;
    let bound = road.bind_change(statement, &relation).await?;
    let (plan, _) = road.physical(bound.plan).await?;
    Ok(Explained { title: title(statement, &relation.name), plan })
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

/// The columns of RETURNING: what Describe tells.
pub(crate) async fn columns(road: &mut Road<'_>, statement: Changing<'_>) -> Result<Vec<OutputColumn>> {
    let (target, relation) = road.changed(&statement.table(), verb(statement)).await?;
    check_partitions(statement, &target)?;
    Ok(road.bind_change(statement, &relation).await?.returning)
}

async fn attempt_once(road: &mut Road<'_>, statement: Changing<'_>) -> Result<(Output, Explained)> {
    // Only who changes rows that are there waits for others who do.
    let appends = matches!(statement, Changing::Insert(insert)
        if insert.on_conflict.is_none() && matches!(insert.replaces, Replaces::None));
    let name = statement.table();
    let (mut target, mut relation) = road.changed(&name, verb(statement)).await?;
    let mut turn = None;
    if !appends {
        turn = Some(road.ground.lake.turn(&target.table).await);
        road.unpin();
        (target, relation) = road.changed(&name, verb(statement)).await?;
    }
    check_partitions(statement, &target)?;
    let bound = road.bind_change(statement, &relation).await?;
    let gate = road.gate(&target)?;
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
    };
    let operation = operation(statement);
    let mode = WriteMode::Change(Arc::new(change));
    let explained = Explained { title: title(statement, &relation.name), plan: Arc::clone(&plan) };
    let written = road.write(mode, Input::Plan(plan, context), gate, operation).await?;
    drop(turn);
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
