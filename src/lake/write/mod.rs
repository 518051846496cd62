//! The one road of rows into a table.
//!
//! ```text
//! partitions ─→ (one task each) gate → storage encoding → by partition → Parquet ─→ staged files ─→ one commit
//! ```
//! Nothing is visible before the commit. Files that were staged for a commit that did not come are removed.

mod arrange;
mod encode;
mod file;
mod gathered;
mod partition;
mod rewrite;
mod rows;
pub(super) mod staged;
mod zorder;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use deltalake::kernel::{Add, AddCDCFile};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::change::{Change, Changing, Counts};
use super::columns::{ColumnSpec, TableSpec, stored_type};
use super::commit::{self, Committed, Failure, Target};
use super::decision::{Decision, canceled};
use super::feed::{ChangeType, Content};
use super::loads::LoadStep;
use super::redefinition::Redefinition;
use super::refreshed::Refreshed;
use super::stores::Resolved;
use super::table::Table;
use super::{Lake, LakeOptions};
use crate::error::{Error, Result};
use crate::quality::Gate;
pub use arrange::{Arranged, Arrangement, Scope};
use encode::Encoding;
pub(super) use file::StagedFile;
use staged::Staged;

/// Where the rows come from. Columns are those of the table, in its order, in the engine's types.
pub enum Input {
    /// Every partition of the plan is run in a task of its own.
    Plan(Arc<dyn ExecutionPlan>, Arc<TaskContext>),
    /// Each stream is drained by a task of its own; a single one is shared out to several.
    Streams(Vec<SendableRecordBatchStream>),
}

/// What the rows do to the table.
#[derive(Debug, Clone)]
pub enum WriteMode {
    Append(Arc<Table>),
    /// All earlier rows go. TRUNCATE is this with no rows.
    Overwrite(Arc<Table>),
    /// Single rows are added, changed and removed; the input is a change's plan.
    Change(Arc<Change>),
    /// ALTER TABLE: another definition; the rows, if it asks for new files, are all the table's.
    Redefine(Arc<Redefinition>),
    /// CREATE TABLE … AS: definition and rows in one commit.
    Create(TableSpec),
    /// CREATE OR REPLACE TABLE … AS: the same where a table may be already; in a transaction its own view of that one.
    Replace(TableSpec, Option<Arc<Table>>),
}

/// What the commit's info in the log says about the statement.
#[derive(Debug, Clone, Default)]
pub struct Operation {
    pub name: String,
    pub parameters: Vec<(String, String)>,
    /// Who runs the statement.
    pub user: Option<String>,
    /// What was done, by Delta's names; a write fills them in itself.
    pub metrics: Vec<(&'static str, u64)>,
    /// The files that it loads: they are recorded in the same commit.
    pub load: Option<LoadStep>,
    /// Of a materialized view: what its rows follow from.
    pub refreshed: Option<Refreshed>,
    /// The version whose rows the commit builds on, all of them: others than these are a conflict.
    pub follows: Option<Arc<Table>>,
    /// Until when the statement can be ended.
    pub decision: Decision,
    /// Whether the statement holds the queue of the table's commits itself (see [`Lake::hold`]).
    pub alone: bool,
    /// What has to be true when it commits.
    pub standing: Option<Arc<dyn Standing>>,
}

/// What a statement's rows were checked by, elsewhere than in the table's log.
#[async_trait]
pub trait Standing: fmt::Debug + Send + Sync {
    /// Whether it still counts, as far as this process knows.
    ///
    /// # Errors
    /// 40001.
    fn check(&self) -> Result<()>;

    /// The same as of now, whatever other servers have done.
    ///
    /// # Errors
    /// 40001; the store's.
    async fn check_newest(&self) -> Result<()>;
}

impl Operation {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub(super) fn add_metric(&mut self, name: &'static str, value: u64) {
        match self.metrics.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += value,
            None => self.metrics.push((name, value)),
        }
    }
}

impl From<&str> for Operation {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// One statement's rows on their way into one table.
pub struct WriteRequest {
    pub mode: WriteMode,
    pub input: Input,
    pub gate: Gate,
    pub operation: Operation,
    pub memory: Arc<dyn MemoryPool>,
    pub cancel: CancellationToken,
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    pub rows: u64,
    pub bytes: u64,
    pub files: usize,
    /// Of a change.
    pub counts: Counts,
    /// The version with the rows; when there were none to append, the one that there was.
    pub version: u64,
    /// The table at that version; `None` when it could not be read again, which does not undo the commit.
    pub table: Option<Arc<Table>>,
    /// What is new of these rows.
    pub added: Added,
}

/// Files that hold the rows which a statement brought, or changed, and no others.
#[derive(Debug, Default)]
pub struct Added {
    /// Names without folders.
    pub files: Vec<String>,
    pub rows: u64,
}

/// What the tasks of one statement share.
#[derive(Debug)]
struct Job {
    encoding: Encoding,
    gate: Gate,
    options: LakeOptions,
    /// Columns with statistics in the log.
    statistics_columns: usize,
    staged: Arc<Staged>,
    memory: Arc<dyn MemoryPool>,
    cancel: CancellationToken,
    step: Step,
}

/// What is done with rows before they are written.
#[derive(Debug, Clone)]
enum Step {
    /// Nothing: they are this.
    Write(Content),
    /// They are a change's plan's.
    Change(Arc<Changing>),
    /// They are those of files that lose some.
    Remain(Arc<Changing>),
}

impl Job {
    /// The same for the rows of files that lose some.
    fn remaining(&self, changing: &Arc<Changing>) -> Self {
        Self {
            encoding: self.encoding.clone(),
            gate: Gate::new("", "", Vec::new(), Vec::new()),
            options: self.options.clone(),
            statistics_columns: self.statistics_columns,
            staged: Arc::clone(&self.staged),
            memory: Arc::clone(&self.memory),
            cancel: self.cancel.clone(),
            step: Step::Remain(Arc::clone(changing)),
        }
    }
}

pub(super) async fn write(lake: Arc<Lake>, request: WriteRequest) -> Result<Written> {
    let WriteRequest { mode, input, gate, mut operation, memory, cancel } = request;
    let changing = match &mode {
        WriteMode::Change(change) => Some(Arc::new(Changing::new(Arc::clone(change), &memory))),
        WriteMode::Append(_)
        | WriteMode::Overwrite(_)
        | WriteMode::Redefine(_)
        | WriteMode::Create(_)
        | WriteMode::Replace(..) => None,
    };
    let content = content(&mode);
    let (location, mut target) = target(&lake, mode)?;
    let shape = shape(&target)?;
    commit::check_early(&location, &target).await?;
    let job = Arc::new(Job {
        encoding: Encoding::new(&shape.engine, &shape.stored, &shape.partition_columns),
        gate,
        options: lake.options.clone(),
        statistics_columns: statistics_columns(&target),
        staged: Arc::new(Staged::new(location.clone())),
        memory,
        cancel,
        step: changing.as_ref().map_or(Step::Write(content), |changing| Step::Change(Arc::clone(changing))),
    });
    let is_known = match (&changing, &input) {
        (Some(changing), Input::Plan(plan, _)) => changing.take_whole(plan),
        _ => false,
    };
    let mut files = if is_known { Vec::new() } else { stage(&job, input).await? };
    let added = added(&files);
    let counts = match &changing {
        Some(changing) => {
            files.extend(rewrite::remaining(&Arc::new(job.remaining(changing)), changing).await?);
            if let Target::Change { removes, changes, .. } = &mut target {
                *removes = changing.touched().into_iter().map(|(file, _)| file).collect();
                if changing.needs_telling() {
                    *changes = files.iter().filter_map(|file| file.change.clone()).collect();
                }
            }
            changing.counts()
        }
        None => Counts::default(),
    };
    job.gate.decide()?;
    let empty = Written {
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        files: files.iter().filter(|file| file.add.is_some()).count(),
        counts,
        version: 0,
        table: None,
        added,
    };
    if operation.load.is_none()
        && let Some(unchanged) = unchanged(&target, &files)
    {
        return Ok(Written { version: unchanged.version(), table: Some(unchanged), ..empty });
    }
    if job.cancel.is_cancelled() {
        return Err(canceled());
    }
    operation.metrics = metrics(&target, &empty);
    // From here on the work runs to its end, whoever waits for it.
    let task = tokio::spawn(commit_staged(lake, location, target, files, operation, job));
    let committed = task.await.map_err(|error| Error::internal(format!("a commit ended early: {error}")))??;
    Ok(Written { version: committed.version, table: committed.table, ..empty })
}

fn added(files: &[StagedFile]) -> Added {
    let paths = files.iter().filter_map(|file| Some(file.add.as_ref()?.path.as_str()));
    let names = paths.map(|path| super::parts::file_name(path).to_owned()).collect();
    Added { files: names, rows: files.iter().map(|file| file.rows).sum() }
}

/// Delta's metrics of the operation.
fn metrics(target: &Target, written: &Written) -> Vec<(&'static str, u64)> {
    let files = written.files as u64;
    let Target::Change { removes, changes, .. } = target else {
        return vec![("numFiles", files), ("numOutputRows", written.rows), ("numOutputBytes", written.bytes)];
    };
    let Counts { inserted, updated, deleted } = written.counts;
    let mut metrics = vec![
        ("numAddedFiles", files),
        ("numRemovedFiles", removes.len() as u64),
        ("numAddedBytes", written.bytes),
        ("numOutputRows", written.rows),
        ("numInsertedRows", inserted),
        ("numUpdatedRows", updated),
        ("numDeletedRows", deleted),
        ("numCopiedRows", written.rows.saturating_sub(inserted + updated)),
    ];
    if !changes.is_empty() {
        metrics.push(("numAddedChangeFiles", changes.len() as u64));
    }
    metrics
}

/// What rows are that are no change's.
fn content(mode: &WriteMode) -> Content {
    match mode {
        // Whether COMMIT has to tell of them depends on what else the transaction does.
        WriteMode::Append(table) if table.is_private() && table.tells_changes() => Content::New(ChangeType::Insert),
        WriteMode::Append(_)
        | WriteMode::Overwrite(_)
        | WriteMode::Change(_)
        | WriteMode::Redefine(_)
        | WriteMode::Create(_)
        | WriteMode::Replace(..) => Content::Rows,
    }
}

async fn commit_staged(
    lake: Arc<Lake>,
    location: Resolved,
    target: Target,
    files: Vec<StagedFile>,
    operation: Operation,
    job: Arc<Job>,
) -> Result<Committed> {
    let adds: Vec<Add> = files.iter().filter_map(|file| file.add.clone()).collect();
    if target.private().is_some() {
        let changes: Vec<AddCDCFile> = files.iter().filter_map(|file| file.change.clone()).collect();
        commit::flush_changes(&lake, &location, &changes).await?;
    }
    let committed = commit::commit_files(&lake, &location, &target, &adds, &operation).await;
    if let (Some(private), Ok(made)) = (target.private(), &committed) {
        let Some(table) = &made.table else {
            return Err(Error::internal("a transaction lost sight of a table that it wrote"));
        };
        private.note(made.version, &operation);
        // What replaces a table has loaded nothing.
        if operation.load.is_some() || matches!(target, Target::Replace(..)) {
            private.note_load();
        }
        private.adopt(&adds, Arc::clone(&job.staged), target.reads_new_rows().then(|| table.version()));
        private.tell(made.version, &target, &files);
        return committed.map_err(|failure| failure.error);
    }
    match &committed {
        Ok(_) | Err(Failure { may_appear: true, .. }) => {
            let told = target.changes().iter().map(|change| change.path.clone());
            job.staged.keep_named(&adds.iter().map(|add| add.path.clone()).chain(told).collect::<Vec<_>>());
        }
        Err(Failure { may_appear: false, .. }) => {}
    }
    committed.map_err(|failure| failure.error)
}

fn target(lake: &Lake, mode: WriteMode) -> Result<(Resolved, Target)> {
    Ok(match mode {
        WriteMode::Append(table) => (table.location.clone(), Target::Append(table)),
        WriteMode::Overwrite(table) => (table.location.clone(), Target::Overwrite(table)),
        WriteMode::Change(change) => {
            let (table, reads_new_rows) = (Arc::clone(&change.table), change.reads_new_rows);
            (table.location.clone(), Target::Change { table, removes: Vec::new(), changes: Vec::new(), reads_new_rows })
        }
        WriteMode::Redefine(redefinition) => (redefinition.table.location.clone(), Target::Redefine(redefinition)),
        WriteMode::Create(spec) => (lake.stores.resolve(&spec.location)?, Target::Create(spec)),
        WriteMode::Replace(spec, Some(table)) => (table.location.clone(), Target::Replace(spec, Some(table))),
        WriteMode::Replace(spec, None) => (lake.stores.resolve(&spec.location)?, Target::Replace(spec, None)),
    })
}

/// The columns that rows must have, the types that data files hold them in, and the partition columns among them.
struct Shape {
    engine: SchemaRef,
    stored: Vec<DataType>,
    partition_columns: Vec<String>,
}

fn shape(target: &Target) -> Result<Shape> {
    match target {
        Target::Append(table)
        | Target::Overwrite(table)
        | Target::Change { table, .. }
        | Target::Private { table, .. } => shape_of(table),
        Target::Rearrange(rearrangement) => shape_of(&rearrangement.table),
        Target::Redefine(redefinition) => Ok(Shape {
            engine: redefinition.engine_schema(),
            stored: redefinition.stored_types()?,
            partition_columns: redefinition.partition_columns.clone(),
        }),
        Target::Create(spec) | Target::Replace(spec, _) => {
            spec.validate()?;
            let engine = spec.engine_schema();
            let stored = engine.fields().iter().map(|field| stored_type(field.data_type())).collect();
            Ok(Shape { engine, stored, partition_columns: spec.partition_columns.clone() })
        }
    }
}

fn shape_of(table: &Table) -> Result<Shape> {
    Ok(Shape {
        engine: Arc::clone(table.arrow_schema()),
        stored: table.stored_types()?,
        partition_columns: table.partition_columns().to_vec(),
    })
}

/// Delta's property for the number of columns with statistics; -1 means all.
pub(super) fn statistics_columns(target: &Target) -> usize {
    const KEY: &str = "delta.dataSkippingNumIndexedCols";
    const DEFAULT: usize = 32;
    let value = match target {
        Target::Append(table)
        | Target::Overwrite(table)
        | Target::Change { table, .. }
        | Target::Private { table, .. } => table.properties().get(KEY).cloned(),
        Target::Rearrange(rearrangement) => rearrangement.table.properties().get(KEY).cloned(),
        Target::Redefine(redefinition) => redefinition.table.properties().get(KEY).cloned(),
        Target::Create(spec) | Target::Replace(spec, _) => {
            spec.properties.iter().find(|(key, _)| key == KEY).map(|(_, value)| value.clone())
        }
    };
    match value.and_then(|value| value.parse::<i64>().ok()) {
        None => DEFAULT,
        Some(columns) => usize::try_from(columns).unwrap_or(usize::MAX),
    }
}

/// The table as it is when there is nothing to commit: no rows to append, or none to take away either.
fn unchanged(target: &Target, files: &[StagedFile]) -> Option<Arc<Table>> {
    match target {
        Target::Append(table) if files.is_empty() => Some(Arc::clone(table)),
        Target::Change { table, removes, .. } if files.is_empty() && removes.is_empty() => Some(Arc::clone(table)),
        Target::Append(_)
        | Target::Change { .. }
        | Target::Rearrange(_)
        | Target::Redefine(_)
        | Target::Private { .. }
        | Target::Overwrite(_)
        | Target::Create(_)
        | Target::Replace(..) => None,
    }
}

/// Drains the input in parallel into staged files.
async fn stage(job: &Arc<Job>, input: Input) -> Result<Vec<StagedFile>> {
    let mut tasks = JoinSet::new();
    for stream in rows::streams(input, job, &mut tasks)? {
        tasks.spawn(rows::drain(Arc::clone(job), stream));
    }
    joined(tasks).await
}

/// The files of all tasks. When one fails the others are aborted, as the set is dropped.
async fn joined(mut tasks: JoinSet<Result<Vec<StagedFile>>>) -> Result<Vec<StagedFile>> {
    let mut files = Vec::new();
    while let Some(finished) = tasks.join_next().await {
        let staged = finished.map_err(|error| Error::internal(format!("a writing task ended early: {error}")))?;
        files.extend(staged?);
    }
    Ok(files)
}

/// The columns of a spec behind a gate that checks NOT NULL only: what CREATE TABLE AS of plain columns needs.
pub fn gate_columns(columns: &[ColumnSpec]) -> Vec<crate::quality::GateColumn> {
    let columns = columns.iter();
    columns.map(|column| crate::quality::GateColumn { name: column.name.clone(), not_null: column.not_null }).collect()
}
