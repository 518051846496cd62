//! The rows that stay of files that lose some: read again and written into new files.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::execute_stream_partitioned;
use tokio::task::JoinSet;

use super::file::StagedFile;
use super::{Job, rows};
use crate::error::Result;
use crate::lake::change::Changing;
use crate::lake::scan::LakeScan;

/// Writes what stays of the touched files, and what the change data feed tells of the others of their rows. Rows are not checked
/// again: they were when they came.
pub(super) async fn remaining(job: &Arc<Job>, changing: &Arc<Changing>) -> Result<Vec<StagedFile>> {
    let files = changing.files_to_read();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let change = &changing.change;
    let plan = LakeScan::tagged(Arc::clone(&change.table)).files(change.state.as_ref(), &files).await?;
    let context = Arc::new(TaskContext::from(change.state.as_ref()));
    let mut tasks = JoinSet::new();
    for stream in execute_stream_partitioned(plan, context)? {
        tasks.spawn(rows::drain(Arc::clone(job), stream));
    }
    super::joined(tasks).await
}
