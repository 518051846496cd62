//! DataFusion configured once for a server: memory pool, spilling, caches, optimiser, and how a physical plan is run.
//!
//! ```text
//! LogicalPlan ─ optimise ─→ ExecutionPlan ─ Runner (here: local; a cluster may give another) ─→ batches
//! ```
//! There is no global SessionContext: a statement gets a [`SessionState`] that is shared by all statements with the same
//! [`Tuning`], and holds no tables, no functions and no user's state. It knows no SQL and no catalog.

mod broken;
mod guard;
mod interest;
mod memory;
pub mod nested;
pub mod pass;
pub mod profile;
pub mod rows;
mod subqueries;
mod threads;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::runtime::SpawnedTask;
use datafusion::config::{ConfigNonZeroUsize, SpillCompression};
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::context::SessionConfig;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execute_stream};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::error::{Error, Result, SqlState};

pub use broken::BrokenRows;
pub use guard::guarded_value;
pub use interest::Interest;
pub use memory::machine_memory_bytes;
pub use threads::ThreadsRunner;

/// How many consumers an out-of-memory error names.
const CONSUMERS_NAMED: usize = 5;

/// What the engine is built from.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Bytes that all statements together may hold in operators that account for memory.
    pub pool_bytes: usize,
    /// Folder for spilled data; `None` is the system's temporary folder.
    pub spill_directory: Option<PathBuf>,
    /// Bytes of spilled data at most.
    pub spill_bytes_max: u64,
    /// Bytes of cached Parquet footers.
    pub metadata_cache_bytes: usize,
    /// How many partitions a plan has unless the session says otherwise: the number of cores.
    pub target_partitions: usize,
}

/// What a session may tune about its statements.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tuning {
    pub target_partitions: usize,
    pub batch_rows: usize,
}

/// Runs a physical plan. The local one is [`LocalRunner`].
pub trait Runner: Send + Sync + std::fmt::Debug {
    /// One stream of all partitions, in the plan's order if it has one. Dropping it stops the work.
    fn run(&self, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream>;

    /// Where other work that computes for long is spawned; `None`: where it is asked for.
    fn threads(&self) -> Option<&Handle>;
}

/// Runs a plan in this process.
#[derive(Debug)]
pub struct LocalRunner;

impl Runner for LocalRunner {
    fn run(&self, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(execute_stream(plan, context)?)
    }

    fn threads(&self) -> Option<&Handle> {
        None
    }
}

/// The engine of one server.
#[derive(Debug)]
pub struct Engine {
    runtime: Arc<RuntimeEnv>,
    runner: Arc<dyn Runner>,
    pool_bytes: usize,
    default_partitions: usize,
    /// A few entries: one for each combination of settings in use.
    states: Mutex<HashMap<Tuning, StateAndContext>>,
}

type StateAndContext = (Arc<SessionState>, Arc<TaskContext>);

/// Combinations of tuning kept before the table of states is emptied.
const STATES_MAX: usize = 64;

impl Engine {
    /// Builds the engine with its memory pool, spill folder and caches.
    pub fn new(options: &EngineOptions, runner: Arc<dyn Runner>) -> Result<Self> {
        let consumers = std::num::NonZeroUsize::new(CONSUMERS_NAMED).unwrap_or(std::num::NonZeroUsize::MIN);
        let pool = TrackConsumersPool::new(FairSpillPool::new(options.pool_bytes), consumers);
        let mode = match &options.spill_directory {
            Some(directory) => DiskManagerMode::Directories(vec![directory.clone()]),
            None => DiskManagerMode::OsTmpDirectory,
        };
        let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(options.spill_bytes_max);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(disk)
            .with_metadata_cache_limit(options.metadata_cache_bytes)
            // A cached listing would hide files that another process wrote.
            .with_object_list_cache_limit(0)
            .build_arc()?;
        Ok(Self {
            runtime,
            runner,
            pool_bytes: options.pool_bytes,
            default_partitions: options.target_partitions,
            states: Mutex::new(HashMap::new()),
        })
    }

    /// The runtime that every statement shares: object stores are registered in it.
    pub fn runtime(&self) -> &Arc<RuntimeEnv> {
        &self.runtime
    }

    /// Partitions of a plan where the session did not say.
    pub fn default_partitions(&self) -> usize {
        self.default_partitions
    }

    /// Bytes reserved now, and the limit.
    pub fn memory(&self) -> (usize, usize) {
        (self.runtime.memory_pool.reserved(), self.pool_bytes)
    }

    /// Bytes of spilled data on disk now.
    pub fn spilled_bytes(&self) -> u64 {
        self.runtime.spilling_progress().current_bytes
    }

    /// The pool, for buffers of ours that grow with the data.
    pub fn memory_pool(&self) -> &Arc<dyn MemoryPool> {
        &self.runtime.memory_pool
    }

    /// The state for statements of that tuning, and the context that its plans run in. They are shared: nobody registers
    /// anything in them.
    pub fn state(&self, tuning: &Tuning) -> (Arc<SessionState>, Arc<TaskContext>) {
        let mut states = self.states.lock();
        if let Some((state, context)) = states.get(tuning) {
            return (Arc::clone(state), Arc::clone(context));
        }
        if states.len() >= STATES_MAX {
            states.clear();
        }
        let state = Arc::new(build_state(tuning, Arc::clone(&self.runtime)));
        let context = Arc::new(TaskContext::from(state.as_ref()));
        states.insert(tuning.clone(), (Arc::clone(&state), Arc::clone(&context)));
        (state, context)
    }

    /// Optimises a bound plan and makes its physical plan.
    pub async fn physical(&self, state: Arc<SessionState>, plan: LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let in_place = is_row_of_constants(&plan);
        let planning = async move {
            let plan = guard::guarded(state.create_physical_plan(&plan).await?)?;
            Ok(interest::interruptible(plan)?)
        };
        // Optimising is one computation without a pause: on a client's thread nothing could cancel it.
        let plan: Arc<dyn ExecutionPlan> = if in_place { planning.await? } else { self.compute(planning).await? };
        if plan.boundedness().is_unbounded() {
            return Err(Error::new(SqlState::FeatureNotSupported, "the query would never end"));
        }
        Ok(plan)
    }

    /// Runs work that may compute for long away from the threads that talk to clients. Dropping the future ends the work
    /// where it next waits.
    pub async fn compute<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let Some(threads) = self.runner.threads() else { return work.await };
        let task = {
            let _entered = threads.enter();
            SpawnedTask::spawn(work)
        };
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(Error::internal("a task of the statement failed")),
            Err(_) => Err(Error::new(SqlState::AdminShutdown, "the server is shutting down")),
        }
    }

    /// Starts a physical plan.
    pub fn run(&self, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        // A row made of constants is computed at once: handing it to other threads would cost more than it.
        if is_one_row(plan.as_ref()) {
            return Ok(execute_stream(plan, context)?);
        }
        let interest = Interest::in_plan(&plan);
        let stream = self.runner.run(plan, context)?;
        Ok(match interest {
            Some(interest) => held(stream, interest),
            None => stream,
        })
    }

    /// What whoever runs a plan by himself holds for as long as he waits for it.
    pub fn interest(&self, plan: &Arc<dyn ExecutionPlan>) -> Option<Interest> {
        Interest::in_plan(plan)
    }
}

/// The stream with what is held as long as it is.
fn held(stream: SendableRecordBatchStream, interest: Interest) -> SendableRecordBatchStream {
    let schema = stream.schema();
    let held = stream.inspect(move |_| {
        let _interest = &interest;
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, held))
}

/// Whether the plan is one row of a few expressions without subqueries: planned at once, as it is run at once.
fn is_row_of_constants(plan: &LogicalPlan) -> bool {
    const EXPRESSIONS_MAX: usize = 16;
    let LogicalPlan::Projection(projection) = plan else { return false };
    let simple = |expr: &Expr| matches!(expr, Expr::Literal(..) | Expr::Placeholder(_));
    let shallow = |expr: &Expr| match expr {
        Expr::Alias(alias) => simple(&alias.expr),
        Expr::Cast(cast) => simple(&cast.expr),
        expr => simple(expr),
    };
    matches!(projection.input.as_ref(), LogicalPlan::EmptyRelation(_))
        && projection.expr.len() <= EXPRESSIONS_MAX
        && projection.expr.iter().all(shallow)
}

/// Whether the plan is a projection of one row that reads nothing.
fn is_one_row(plan: &dyn ExecutionPlan) -> bool {
    match plan.children().as_slice() {
        [] => plan.name() == "PlaceholderRowExec",
        [child] => plan.name() == "ProjectionExec" && is_one_row(child.as_ref()),
        _ => false,
    }
}

/// DataFusion's settings for a server of PostgreSQL's dialect over Parquet.
fn session_config(tuning: &Tuning) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(tuning.target_partitions)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_collect_statistics(true);
    let options = config.options_mut();
    if let Ok(rows) = ConfigNonZeroUsize::try_new(tuning.batch_rows) {
        options.execution.batch_size = rows;
    }
    options.execution.spill_compression = SpillCompression::Lz4Frame;
    // With it a partial min or max prunes files by a bound that another partition has not confirmed: now and then the answer
    // was that of fewer files.
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    // Measured by others on ClickBench: late filtering slows about twenty queries and speeds up six.
    options.execution.parquet.pushdown_filters = false;
    config
}

fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    rules.insert(0, Arc::new(guard::GuardProjections));
    rules
}

fn build_state(tuning: &Tuning, runtime: Arc<RuntimeEnv>) -> SessionState {
    SessionStateBuilder::new()
        .with_config(session_config(tuning))
        .with_runtime_env(runtime)
        // Optimiser rules ask for aggregates by name, e.g. `first_value` for DISTINCT ON.
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_physical_optimizer_rules(physical_rules())
        .build()
}
