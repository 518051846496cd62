//! The same rows in better files: small files put together, rows near each other that are asked for together, deleted rows
//! gone for good.
//!
//! ```text
//! files of a version ─ by partition ─→ bins ─ (a few at a time) scan [→ sort] → Parquet ─→ groups of bins, one commit each
//! ```
//! Nothing waits for it: who appends goes on, who changes rows of a file that is being written anew wins, and its bin is
//! tried again on the newer version.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::physical_plan::common::spawn_buffered;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::encode::Encoding;
use super::file::StagedFile;
use super::staged::Staged;
use super::zorder::{COLUMNS_MAX, columns_of, ordered};
use super::{Job, Operation, Step, canceled, commit_staged, rows, shape_of, statistics_columns};
use crate::error::{Error, Result, SqlState};
use crate::lake::commit::{self, Target};
use crate::lake::data_file::{DataFile, Identity};
use crate::lake::feed::Content;
use crate::lake::rearrangement::{Rearranged, Rearrangement};
use crate::lake::scan::LakeScan;
use crate::lake::table::{TARGET_FILE_SIZE, Table, file_size};
use crate::lake::{Freshness, Lake, LakeOptions};
use crate::quality::Gate;

/// Bytes of the files that one commit replaces.
const GROUP_BYTES: u64 = 16 << 30;
/// A file of this part of the target is large enough.
const LARGE_ENOUGH: f64 = 0.75;
const ATTEMPTS_MAX: u32 = 5;
/// Batches that are read before they can be written.
const BATCHES_AHEAD: usize = 2;

/// Which files are written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those that are too small, where there are several in a partition.
    Small,
    /// All.
    All,
    /// Those with deleted rows in them.
    Purged,
}

/// Which files of a table are put in order, and how.
pub struct Arrangement {
    pub table: Arc<Table>,
    /// Numbers of the files to look at; `None` for all.
    pub files: Option<HashSet<usize>>,
    pub scope: Scope,
    /// Columns that rows are near each other in.
    pub order: Vec<String>,
    /// Bytes of a file; `None` for the table's own or the lake's.
    pub target_bytes: Option<u64>,
    pub state: Arc<SessionState>,
    pub operation: Operation,
    pub memory: Arc<dyn MemoryPool>,
    pub cancel: CancellationToken,
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct Arranged {
    pub added_files: u64,
    pub added_bytes: u64,
    pub removed_files: u64,
    pub removed_bytes: u64,
    pub partitions: u64,
    pub rows: u64,
    pub commits: u64,
    /// The newest version that was seen or made.
    pub version: u64,
}

/// Files of one partition that are written together.
#[derive(Debug, Clone)]
struct Bin {
    files: Vec<Identity>,
    bytes: u64,
    partition: usize,
}

impl Lake {
    /// Writes files anew as the arrangement says. Each commit leaves the rows as they are.
    ///
    /// # Errors
    /// 57014 when cancelled; 53200 when the pool has no memory; 40001 when others kept changing the same files. What was
    /// committed before stays.
    pub async fn arrange(self: &Arc<Self>, arrangement: Arrangement) -> Result<Arranged> {
        let table = &arrangement.table;
        if arrangement.order.len() > COLUMNS_MAX {
            let message = format!("rows can be ordered by at most {COLUMNS_MAX} columns at a time");
            return Err(Error::new(SqlState::ProgramLimitExceeded, message));
        }
        if table.maps_columns() || table.files.iter().any(|file| file.special) {
            return Err(Error::unsupported(
                "writing files anew of a table with column mapping or with files elsewhere",
            ));
        }
        let empty = Rearranged::Files { files: Vec::new(), removed: true, target_bytes: 0 };
        let target = Target::Rearrange(Arc::new(Rearrangement { table: Arc::clone(table), what: empty }));
        commit::check_early(&table.location, &target).await?;
        let target_bytes =
            arrangement.target_bytes.or_else(|| target_file_bytes(table)).unwrap_or(self.options.target_bytes);
        let bins = bins(&arrangement, target_bytes);
        let mut done = Arranged { version: table.version(), ..Arranged::default() };
        done.partitions = bins.iter().map(|bin| bin.partition).collect::<HashSet<_>>().len() as u64;
        for group in groups(bins) {
            self.arrange_group(&arrangement, group, target_bytes, &mut done).await?;
        }
        Ok(done)
    }

    /// One commit. Files that others replace meanwhile are left to them.
    async fn arrange_group(
        self: &Arc<Self>,
        arrangement: &Arrangement,
        group: Vec<Bin>,
        target_bytes: u64,
        done: &mut Arranged,
    ) -> Result<()> {
        let mut attempt = 1;
        loop {
            if arrangement.cancel.is_cancelled() {
                return Err(canceled());
            }
            let location = arrangement.table.location();
            let newest = self.table(location, Freshness::AtLeast(done.version)).await?;
            let numbers: HashMap<Identity, usize> =
                newest.files.iter().enumerate().map(|(number, file)| (file.identity(), number)).collect();
            let alone = arrangement.scope != Scope::Small;
            let still = group.iter().filter_map(|bin| {
                let files: Vec<usize> = bin.files.iter().filter_map(|file| numbers.get(file).copied()).collect();
                (files.len() > 1 || alone && !files.is_empty()).then_some(files)
            });
            let still: Vec<Vec<usize>> = still.collect();
            if still.is_empty() {
                return Ok(());
            }
            match self.rewrite(arrangement, &newest, still, target_bytes, done).await {
                Err(error) if error.sqlstate() == SqlState::SerializationFailure && attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                    // The newest version is another one now.
                    done.version = self.table(location, Freshness::Latest).await?.version();
                }
                outcome => return outcome,
            }
        }
    }

    async fn rewrite(
        self: &Arc<Self>,
        arrangement: &Arrangement,
        table: &Arc<Table>,
        bins: Vec<Vec<usize>>,
        target_bytes: u64,
        done: &mut Arranged,
    ) -> Result<()> {
        let files: Vec<usize> = bins.iter().flatten().copied().collect();
        let what = Rearranged::Files { files: files.clone(), removed: true, target_bytes };
        let target = Target::Rearrange(Arc::new(Rearrangement { table: Arc::clone(table), what }));
        let shape = shape_of(table)?;
        let job = Arc::new(Job {
            encoding: Encoding::new(&shape.engine, &shape.stored, &shape.partition_columns),
            gate: Gate::new("", "", Vec::new(), Vec::new()),
            options: LakeOptions {
                file_bytes_max: usize::try_from(target_bytes).unwrap_or(usize::MAX),
                ..self.options.clone()
            },
            statistics_columns: statistics_columns(&target),
            staged: Arc::new(Staged::new(table.location.clone())),
            memory: Arc::clone(&arrangement.memory),
            cancel: arrangement.cancel.clone(),
            step: Step::Write(Content::Rows),
        });
        let staged = self.written(arrangement, table, bins, &job).await?;
        let of = |number: &usize| table.files.get(*number);
        let expected: Option<u64> = files.iter().map(|file| of(file).and_then(|file| file.rows())).sum();
        let rows: u64 = staged.iter().map(|file| file.rows).sum();
        if expected.is_some_and(|expected| expected != rows) {
            return Err(Error::internal(format!("{rows} rows were read where the log tells of {expected:?}")));
        }
        let added_bytes: u64 = staged.iter().map(|file| file.bytes).sum();
        let removed_bytes: u64 = files.iter().filter_map(of).map(|file| file.bytes).sum();
        let (added_files, removed_files) = (staged.len() as u64, files.len() as u64);
        let mut operation = arrangement.operation.clone();
        operation.metrics = vec![
            ("numAddedFiles", added_files),
            ("numRemovedFiles", removed_files),
            ("numAddedBytes", added_bytes),
            ("numRemovedBytes", removed_bytes),
            ("numOutputRows", rows),
        ];
        let location = table.location.clone();
        let task = tokio::spawn(commit_staged(Arc::clone(self), location, target, staged, operation, job));
        let committed = task.await.map_err(|error| Error::internal(format!("a commit ended early: {error}")))??;
        done.added_files += added_files;
        done.added_bytes += added_bytes;
        done.removed_files += removed_files;
        done.removed_bytes += removed_bytes;
        done.rows += rows;
        done.commits += 1;
        done.version = committed.version;
        Ok(())
    }

    /// The files of the bins, as many bins at a time as there are writers. A sort takes all of them.
    async fn written(
        &self,
        arrangement: &Arrangement,
        table: &Arc<Table>,
        bins: Vec<Vec<usize>>,
        job: &Arc<Job>,
    ) -> Result<Vec<StagedFile>> {
        let at_a_time = if arrangement.order.is_empty() { self.options.writers_max.max(1) } else { 1 };
        let mut tasks: JoinSet<Result<Vec<StagedFile>>> = JoinSet::new();
        let mut staged = Vec::new();
        for bin in bins {
            while tasks.len() >= at_a_time {
                staged.extend(next(&mut tasks).await?);
            }
            let (table, state, job) = (Arc::clone(table), Arc::clone(&arrangement.state), Arc::clone(job));
            let order = columns_of(table.arrow_schema(), &arrangement.order);
            tasks.spawn(async move {
                let scan = LakeScan::new(Arc::clone(&table));
                let plan = match order.as_slice() {
                    [] => scan.files(state.as_ref(), &bin).await?,
                    order => ordered(&scan, &state, &bin, order).await?,
                };
                let rows = one_by_one(plan, Arc::new(TaskContext::from(state.as_ref())));
                // Read and written at the same time.
                rows::drain(job, spawn_buffered(rows, BATCHES_AHEAD)).await
            });
        }
        while !tasks.is_empty() {
            staged.extend(next(&mut tasks).await?);
        }
        Ok(staged)
    }
}

async fn next(tasks: &mut JoinSet<Result<Vec<StagedFile>>>) -> Result<Vec<StagedFile>> {
    match tasks.join_next().await {
        Some(finished) => finished.map_err(|error| Error::internal(format!("a writing task ended early: {error}")))?,
        None => Ok(Vec::new()),
    }
}

/// The partitions of a plan, one after the other.
fn one_by_one(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> datafusion::execution::SendableRecordBatchStream {
    let schema = plan.schema();
    let partitions = plan.output_partitioning().partition_count();
    let rows = futures::stream::iter(0..partitions)
        .map(move |partition| plan.execute(partition, Arc::clone(&context)))
        .try_flatten();
    Box::pin(RecordBatchStreamAdapter::new(schema, rows.boxed()))
}

fn target_file_bytes(table: &Table) -> Option<u64> {
    file_size(table.properties().get(TARGET_FILE_SIZE)?)
}

/// The files to write anew, together as they go into one file, or into one order.
fn bins(arrangement: &Arrangement, target_bytes: u64) -> Vec<Bin> {
    let small = (target_bytes as f64 * LARGE_ENOUGH) as u64;
    let wanted = |(number, file): &(usize, &Arc<DataFile>)| {
        arrangement.files.as_ref().is_none_or(|files| files.contains(number))
            && match arrangement.scope {
                Scope::Small => file.bytes < small || file.vector.is_some(),
                Scope::All => true,
                Scope::Purged => file.vector.is_some(),
            }
    };
    let files: Vec<(usize, &Arc<DataFile>)> = arrangement.table.files.iter().enumerate().filter(wanted).collect();
    // By partition: its number, and the bytes of its files.
    let mut partitions: HashMap<&[ScalarValue], (usize, u64)> = HashMap::new();
    for (_, file) in &files {
        let next = partitions.len();
        partitions.entry(&file.partition).or_insert((next, 0)).1 += file.bytes;
    }
    let mut bins: Vec<Bin> = Vec::new();
    // The bin of each partition that has room.
    let mut open: HashMap<usize, usize> = HashMap::new();
    for (_, file) in files {
        let Some((partition, bytes)) = partitions.get(file.partition.as_slice()).copied() else { continue };
        // Bins of one size are done at one time.
        let even = bytes.div_ceil(bytes.div_ceil(target_bytes.max(1)).max(1));
        // What is put in order as a whole cannot be cut before.
        let whole = arrangement.scope == Scope::All && !arrangement.order.is_empty();
        let room = open.get(&partition).and_then(|bin| bins.get_mut(*bin));
        match room.filter(|bin| whole || bin.bytes < even && bin.bytes + file.bytes <= target_bytes) {
            Some(bin) => {
                bin.files.push(file.identity());
                bin.bytes += file.bytes;
            }
            None => {
                open.insert(partition, bins.len());
                bins.push(Bin { files: vec![file.identity()], bytes: file.bytes, partition });
            }
        }
    }
    if arrangement.scope == Scope::Small {
        bins.retain(|bin| bin.files.len() > 1);
    }
    bins
}

fn groups(bins: Vec<Bin>) -> Vec<Vec<Bin>> {
    let mut groups: Vec<Vec<Bin>> = Vec::new();
    let mut bytes = 0;
    for bin in bins {
        match groups.last_mut().filter(|_| bytes + bin.bytes <= GROUP_BYTES) {
            Some(group) => {
                bytes += bin.bytes;
                group.push(bin);
            }
            None => {
                bytes = bin.bytes;
                groups.push(vec![bin]);
            }
        }
    }
    groups
}
