//! One task's share of the rows: drawn from its stream, checked, encoded, split by partition, written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::row::OwnedRow;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::execute_stream_partitioned;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::file::{FileWriter, StagedFile};
use super::gathered::Gathered;
use super::partition::{Splitter, Values, values};
use super::{Input, Job, Step, canceled};
use crate::error::{Error, Result};
use crate::lake::feed::Content;

/// Batches that wait for a task which is behind.
const WAITING_BATCHES_MAX: usize = 2;

/// The streams of an input, one for each writing task. A single stream is shared out by a task in `tasks`.
pub(super) fn streams(
    input: Input,
    job: &Arc<Job>,
    tasks: &mut JoinSet<Result<Vec<StagedFile>>>,
) -> Result<Vec<SendableRecordBatchStream>> {
    let mut streams = match input {
        Input::Plan(plan, context) => execute_stream_partitioned(plan, context)?,
        Input::Streams(streams) => streams,
    };
    let writers = job.options.writers_max;
    if streams.len() != 1 || writers < 2 {
        return Ok(streams);
    }
    let Some(single) = streams.pop() else { return Ok(streams) };
    let schema = single.schema();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..writers).map(|_| mpsc::channel(WAITING_BATCHES_MAX)).unzip();
    tasks.spawn(share_out(single, senders));
    Ok(receivers.into_iter().map(|receiver| received(Arc::clone(&schema), receiver)).collect())
}

/// Gives each batch to the first task that has room, so that few rows make few files.
async fn share_out(
    mut stream: SendableRecordBatchStream,
    senders: Vec<mpsc::Sender<DataFusionResult<RecordBatch>>>,
) -> Result<Vec<StagedFile>> {
    let mut next = 0;
    while let Some(batch) = stream.next().await {
        let mut waiting = Some(batch);
        for sender in &senders {
            match waiting.take() {
                None => break,
                Some(batch) => match sender.try_send(batch) {
                    Ok(()) => break,
                    Err(mpsc::error::TrySendError::Full(batch) | mpsc::error::TrySendError::Closed(batch)) => {
                        waiting = Some(batch);
                    }
                },
            }
        }
        if let Some(batch) = waiting {
            next = (next + 1) % senders.len().max(1);
            let Some(sender) = senders.get(next) else { break };
            // A closed channel means that a task failed: its error is the statement's.
            if sender.send(batch).await.is_err() {
                break;
            }
        }
    }
    Ok(Vec::new())
}

fn received(schema: SchemaRef, receiver: mpsc::Receiver<DataFusionResult<RecordBatch>>) -> SendableRecordBatchStream {
    let batches = futures::stream::unfold(receiver, |mut receiver| async move {
        let batch = receiver.recv().await?;
        Some((batch, receiver))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

/// Writes all rows of a stream into staged files.
pub(super) async fn drain(job: Arc<Job>, stream: SendableRecordBatchStream) -> Result<Vec<StagedFile>> {
    let mut writer = Writers { job: Arc::clone(&job), open: BTreeMap::new() };
    match draw(&job, stream, &mut writer).await {
        Ok(()) => writer.close().await,
        Err(error) => {
            writer.abort().await;
            Err(error)
        }
    }
}

async fn draw(job: &Job, mut stream: SendableRecordBatchStream, writer: &mut Writers) -> Result<()> {
    loop {
        let batch = tokio::select! {
            biased;
            () = job.cancel.cancelled() => return Err(canceled()),
            batch = stream.next() => batch,
        };
        match batch {
            None => return Ok(()),
            Some(batch) => {
                let batch = batch?;
                let parts = match &job.step {
                    Step::Write(content) => {
                        let kept = job.gate.ask(&batch, None).await?;
                        vec![(*content, kept.map_or(Ok(batch.clone()), |kept| filter_record_batch(&batch, &kept))?)]
                    }
                    Step::Change(changing) => changing.take(&batch, &job.gate).await?,
                    Step::Remain(changing) => changing.remaining(&batch)?,
                };
                for (content, rows) in parts {
                    if rows.num_rows() > 0 {
                        writer.write(content, job.gate.apply(rows)?).await?;
                    }
                }
            }
        }
    }
}

/// The open files of one task, by what their rows are.
struct Writers {
    job: Arc<Job>,
    open: BTreeMap<Content, RowWriter>,
}

impl Writers {
    async fn write(&mut self, content: Content, rows: RecordBatch) -> Result<()> {
        let writer = match self.open.entry(content) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(RowWriter::new(Arc::clone(&self.job), content)?)
            }
        };
        writer.write(rows).await
    }

    async fn close(self) -> Result<Vec<StagedFile>> {
        let mut files = Vec::new();
        for writer in self.open.into_values() {
            files.extend(writer.close().await?);
        }
        Ok(files)
    }

    async fn abort(self) {
        for writer in self.open.into_values() {
            writer.abort().await;
        }
    }
}

/// The open files of one task for rows of one kind.
struct RowWriter {
    job: Arc<Job>,
    content: Content,
    splitter: Option<Splitter>,
    /// By partition; a table without partitions has one under `None`.
    open: HashMap<Option<OwnedRow>, FileWriter>,
    /// Rows that wait, once there are more partitions than files may be open.
    gathered: Option<Gathered>,
    opened: usize,
    closed: Vec<StagedFile>,
    memory: MemoryReservation,
}

impl RowWriter {
    fn new(job: Arc<Job>, content: Content) -> Result<Self> {
        let encoding = &job.encoding;
        let splitter = encoding.is_partitioned().then(|| Splitter::new(encoding.partition_fields())).transpose()?;
        let memory = MemoryConsumer::new("ParquetWriter").register(&job.memory);
        Ok(Self { splitter, open: HashMap::new(), gathered: None, opened: 0, closed: Vec::new(), memory, job, content })
    }

    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let job = Arc::clone(&self.job);
        let stored = job.encoding.encode(&batch)?;
        let Some(splitter) = &self.splitter else {
            return self.write_part(None, Vec::new, &stored).await;
        };
        let keys = job.encoding.partition_arrays(&batch)?;
        if self.gathered.is_none() {
            let parts = splitter.split(&keys, &stored)?;
            if self.has_room_for(parts.iter().map(|(key, ..)| key)) {
                for (key, row, part) in parts {
                    let of_row = values(job.encoding.partition_fields(), &keys, row)?;
                    self.write_part(Some(key), || of_row, &part).await?;
                }
                return Ok(());
            }
        }
        let gathered = self.gathered.get_or_insert_default();
        gathered.push(splitter, keys, &stored)?;
        if gathered.bytes() >= job.options.gathered_bytes_max {
            self.write_gathered().await?;
        }
        self.account().await
    }

    /// Whether a file of each partition can be open.
    fn has_room_for<'a>(&self, keys: impl Iterator<Item = &'a OwnedRow>) -> bool {
        let new = keys.filter(|key| !self.open.contains_key(&Some((*key).clone()))).count();
        self.open.len() + new <= self.files_max()
    }

    fn files_max(&self) -> usize {
        self.job.options.open_partitions_max.max(1)
    }

    async fn write_part(
        &mut self,
        key: Option<OwnedRow>,
        values: impl FnOnce() -> Values,
        rows: &RecordBatch,
    ) -> Result<()> {
        if !self.open.contains_key(&key) {
            let file = self.open_file(values())?;
            self.open.insert(key.clone(), file);
        }
        let Some(file) = self.open.get_mut(&key) else { return Err(Error::internal("an open file is gone")) };
        file.write(rows).await?;
        if file.bytes() >= self.job.options.file_bytes_max
            && let Some(file) = self.open.remove(&key)
        {
            self.closed.push(file.close().await?);
        }
        self.account().await
    }

    fn open_file(&mut self, values: Values) -> Result<FileWriter> {
        let file = FileWriter::open(&self.job, self.opened, values, self.content)?;
        self.opened += 1;
        Ok(file)
    }

    /// Writes the rows that wait: into the open files, and each other partition's into a file of its own.
    async fn write_gathered(&mut self) -> Result<()> {
        let Some(gathered) = self.gathered.take() else { return Ok(()) };
        for part in gathered.parts() {
            let part = part?;
            let key = Some(part.key);
            if let Some(file) = self.open.get_mut(&key) {
                file.write(&part.stored).await?;
                continue;
            }
            let mut file = self.open_file(values(self.job.encoding.partition_fields(), &part.keys, part.row)?)?;
            file.write(&part.stored).await?;
            self.closed.push(file.close().await?);
            self.check_cancelled()?;
        }
        drop(gathered);
        self.gathered = Some(Gathered::default());
        Ok(())
    }

    /// Thousands of files take a while.
    fn check_cancelled(&self) -> Result<()> {
        if self.job.cancel.is_cancelled() { Err(canceled()) } else { Ok(()) }
    }

    /// Keeps the pool informed. When it has no more, row groups end early and files are closed before the statement fails.
    async fn account(&mut self) -> Result<()> {
        if self.memory.try_resize(self.memory_bytes()).is_ok() {
            return Ok(());
        }
        if self.gathered.as_ref().is_some_and(|gathered| gathered.bytes() > 0) {
            self.write_gathered().await?;
        }
        if let Some(file) = self.open.values_mut().max_by_key(|file| file.memory_bytes()) {
            file.flush().await?;
        }
        while self.memory.try_resize(self.memory_bytes()).is_err() {
            if self.open.is_empty() {
                break;
            }
            self.close_largest().await?;
        }
        Ok(self.memory.try_resize(self.memory_bytes())?)
    }

    fn memory_bytes(&self) -> usize {
        let gathered = self.gathered.as_ref().map_or(0, Gathered::bytes);
        self.open.values().map(FileWriter::memory_bytes).sum::<usize>() + gathered
    }

    async fn close_largest(&mut self) -> Result<()> {
        let largest = self.open.iter().max_by_key(|(_, file)| file.memory_bytes()).map(|(key, _)| key.clone());
        if let Some(file) = largest.and_then(|key| self.open.remove(&key)) {
            self.closed.push(file.close().await?);
        }
        Ok(())
    }

    async fn close(mut self) -> Result<Vec<StagedFile>> {
        self.write_gathered().await?;
        for (_, file) in self.open.drain() {
            self.closed.push(file.close().await?);
        }
        Ok(self.closed)
    }

    async fn abort(mut self) {
        for (_, file) in self.open.drain() {
            file.abort().await;
        }
    }
}
