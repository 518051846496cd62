//! Plans run on threads of their own.
//!
//! Operators may compute for seconds before they give way (a nested loop join without a match, an expression over a large
//! batch). On the threads that talk to clients that would hold up other sessions, and the cancelling of this one.

use std::sync::Arc;

use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt as _;
use tokio::runtime::{Builder, Handle, Runtime};

use super::Runner;
use crate::error::{Error, Result};

/// Batches that wait for a slow reader.
const BATCHES_WAITING_MAX: usize = 2;

/// Runs plans on a pool of `threads`, which ends with it.
#[derive(Debug)]
pub struct ThreadsRunner {
    /// Away only while it is dropped.
    runtime: Option<Runtime>,
}

impl ThreadsRunner {
    /// Starts the threads; each has that much stack for expressions that are walked level by level.
    pub fn start(threads: usize, stack_bytes: usize) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .worker_threads(threads.max(1))
            .thread_name("lakegate-engine")
            .thread_stack_size(stack_bytes)
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }
}

impl Drop for ThreadsRunner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped on a thread that must not wait.
            runtime.shutdown_background();
        }
    }
}

impl Runner for ThreadsRunner {
    fn run(&self, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let runtime = self.runtime.as_ref().ok_or_else(|| Error::internal("the engine has ended"))?;
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
        self.runtime.as_ref().map(Runtime::handle)
    }
}
