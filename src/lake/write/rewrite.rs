//! The rows that stay of files that lose some: read again and written into new files.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::execute_stream_partitioned;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use tokio::task::JoinSet;

use super::file::StagedFile;
use super::{Job, rows};
use crate::error::{Error, Result};
use crate::lake::change::Changing;
use crate::lake::scan::LakeScan;

/// Writes what stays of the touched files. Rows are not checked again: they were when they came.
pub(super) async fn remaining(job: &Arc<Job>, changing: &Arc<Changing>) -> Result<Vec<StagedFile>> {
    let some_stay = changing.touched().into_iter().filter_map(|(file, stays)| stays.then_some(file));
    let files: Vec<usize> = some_stay.collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let change = &changing.change;
    let plan = LakeScan::tagged(Arc::clone(&change.table)).files(change.state.as_ref(), &files).await?;
    let context = Arc::new(TaskContext::from(change.state.as_ref()));
    let mut tasks = JoinSet::new();
    for stream in execute_stream_partitioned(plan, context)? {
        let changing = Arc::clone(changing);
        let schema = Arc::clone(change.table.arrow_schema());
        let staying = stream.map(move |batch| changing.remaining(&batch?).map_err(Error::into_datafusion));
        let staying = Box::pin(RecordBatchStreamAdapter::new(schema, staying));
        tasks.spawn(rows::drain(Arc::clone(job), staying));
    }
    super::joined(tasks).await
}
