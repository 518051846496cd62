//! Plans run on threads of their own.
//!
//! ```text
//! plan ─┬ its operators give way ─→ steady: one thread a core, so that a batch stays in the cache of the core that made it
//!       └ they may not, or steady is stuck ─→ spare: more threads than cores, so that others still run
//! ```
//! Operators may compute for seconds before they give way (a nested loop join without a match, an expression over a large
//! batch). On the threads that talk to clients that would hold up other sessions, and the cancelling of this one. On TPC-H
//! at scale 1 with two cores, two threads take nine tenths of the time that eight take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datafusion::common::tree_node::TreeNode as _;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt as _;
use tokio::runtime::{Builder, Handle, Runtime};

use super::Runner;
use crate::error::{Error, Result};

/// Batches that wait for a slow reader.
const BATCHES_WAITING_MAX: usize = 2;

/// How often the steady threads show that they are not stuck.
const BEAT: Duration = Duration::from_millis(50);
/// Silence of the steady threads after which plans go elsewhere. Busy ones look at their clock every few dozen batches only.
const SILENCE_MAX: Duration = Duration::from_millis(500);

/// Runs plans on two pools of threads, which end with it.
#[derive(Debug)]
pub struct ThreadsRunner {
    /// Away only while they are dropped.
    pools: Option<Pools>,
    pulse: Arc<Pulse>,
}

#[derive(Debug)]
struct Pools {
    steady: Runtime,
    spare: Runtime,
}

/// When a pool was last seen at work on something new.
#[derive(Debug)]
struct Pulse {
    started: Instant,
    /// Milliseconds after the start.
    last: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0) }
    }

    async fn beat(self: Arc<Self>) {
        loop {
            let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.last.store(now, Ordering::Relaxed);
            tokio::time::sleep(BEAT).await;
        }
    }

    fn is_silent(&self) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last) > SILENCE_MAX
    }
}

impl ThreadsRunner {
    /// Starts the threads, `steady` and `spare` ones; each has that much stack for expressions that are walked level by level.
    pub fn start(steady: usize, spare: usize, stack_bytes: usize) -> Result<Self> {
        let pool = |name: &str, threads: usize| {
            let mut builder = Builder::new_multi_thread();
            builder.enable_all().worker_threads(threads.max(1)).thread_name(name).thread_stack_size(stack_bytes);
            builder.build()
        };
        let pools = Pools { steady: pool("lakegate-steady", steady)?, spare: pool("lakegate-spare", spare)? };
        let pulse = Arc::new(Pulse::new());
        // It ends with the pool.
        pools.steady.spawn(Arc::clone(&pulse).beat());
        Ok(Self { pools: Some(pools), pulse })
    }
}

/// Whether no operator of the plan is known to compute for long without giving way.
fn gives_way(plan: &Arc<dyn ExecutionPlan>) -> bool {
    !plan.exists(|node| Ok(node.downcast_ref::<NestedLoopJoinExec>().is_some())).unwrap_or(true)
}

impl Drop for ThreadsRunner {
    fn drop(&mut self) {
        if let Some(Pools { steady, spare }) = self.pools.take() {
            // It may be dropped on a thread that must not wait.
            steady.shutdown_background();
            spare.shutdown_background();
        }
    }
}

impl Runner for ThreadsRunner {
    fn run(&self, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let pools = self.pools.as_ref().ok_or_else(|| Error::internal("the engine has ended"))?;
        let runtime = if gives_way(&plan) && !self.pulse.is_silent() { &pools.steady } else { &pools.spare };
        // What the operators spawn when they start is to run there too.
        let entered = runtime.enter();
        let schema = plan.schema();
        let mut batches = execute_stream(plan, context)?;
        drop(entered);
        let mut stream = RecordBatchReceiverStream::builder(schema, BATCHES_WAITING_MAX);
        let sender = stream.tx();
        let pass_on = async move {
            while let Some(batch) = batches.next().await {
                if sender.send(batch).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        stream.spawn_on(pass_on, runtime.handle());
        Ok(stream.build())
    }

    fn threads(&self) -> Option<&Handle> {
        self.pools.as_ref().map(|pools| pools.spare.handle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_is_held_up_falls_silent() {
        let runner = ThreadsRunner::start(1, 1, 1 << 20).unwrap();
        assert!(!runner.pulse.is_silent());
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        runner.pools.as_ref().unwrap().steady.spawn(async move { held.recv() });
        let stuck = Instant::now();
        while !runner.pulse.is_silent() {
            assert!(stuck.elapsed() < Duration::from_secs(20), "the pulse goes on without a thread");
            std::thread::yield_now();
        }
        let_go.send(()).unwrap();
        while runner.pulse.is_silent() {
            assert!(stuck.elapsed() < Duration::from_secs(40), "the pulse does not come back");
            std::thread::yield_now();
        }
    }
}
