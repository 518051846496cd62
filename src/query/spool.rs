//! The rows that a SCROLL cursor has read, so that it can go back to them: a few in memory, the others in a file among the
//! engine's spilled data, which has a limit of its own.

use std::fs::File;
use std::io::{Cursor, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SpillFile, SpillWriter};
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};

/// What one cursor may hold in memory, if the pool has as much.
const MEMORY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Rows in the order they were read.
pub(super) struct Spool {
    engine: Arc<Engine>,
    memory: MemoryReservation,
    file: Option<Arc<Mutex<SpoolFile>>>,
    segments: Vec<Segment>,
    rows: u64,
    /// The segment that was read last from the file: neighbouring rows are asked for one by one.
    read: Option<(usize, RecordBatch)>,
}

/// One batch.
struct Segment {
    first_row: u64,
    rows: u64,
    place: Place,
}

enum Place {
    Memory(RecordBatch),
    File { offset: u64, bytes: usize },
}

impl Spool {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let memory = MemoryConsumer::new("cursor").with_can_spill(true).register(engine.memory_pool());
        Self { engine, memory, file: None, segments: Vec::new(), rows: 0, read: None }
    }

    /// How many rows it holds.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends rows. 53100 when the spilled data reaches its limit.
    pub(super) async fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = batch.num_rows() as u64;
        let bytes = batch.get_array_memory_size();
        let place = if self.take_memory(bytes) { Place::Memory(batch) } else { self.write(batch).await? };
        self.segments.push(Segment { first_row: self.rows, rows, place });
        self.rows += rows;
        Ok(())
    }

    fn take_memory(&self, bytes: usize) -> bool {
        self.file.is_none()
            && self.memory.size().saturating_add(bytes) <= MEMORY_BYTES_MAX
            && self.memory.try_grow(bytes).is_ok()
    }

    async fn write(&mut self, batch: RecordBatch) -> Result<Place> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(self.file.insert(Arc::new(Mutex::new(SpoolFile::create(&self.engine)?)))),
        };
        let (offset, bytes) = blocking(move || file.lock().append(&batch)).await?;
        Ok(Place::File { offset, bytes })
    }

    /// The batch that holds the row (counted from 0), and the row's place in it; `None` for a row that was not read yet.
    pub(super) async fn find(&mut self, row: u64) -> Result<Option<(RecordBatch, usize)>> {
        let at = self.segments.partition_point(|segment| segment.first_row + segment.rows <= row);
        let Some(segment) = self.segments.get(at) else { return Ok(None) };
        let place = usize::try_from(row - segment.first_row).unwrap_or(usize::MAX);
        let batch = match (&segment.place, &self.read) {
            (Place::Memory(batch), _) => batch.clone(),
            (Place::File { .. }, Some((read, batch))) if *read == at => batch.clone(),
            (Place::File { offset, bytes }, _) => {
                let (Some(file), offset, bytes) = (self.file.clone(), *offset, *bytes) else {
                    return Err(Error::internal("a cursor's file is gone"));
                };
                let batch = blocking(move || file.lock().read(offset, bytes)).await?;
                self.read = Some((at, batch.clone()));
                batch
            }
        };
        Ok(Some((batch, place)))
    }
}

/// File I/O, away from the threads that talk to clients.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::internal(format!("a cursor's file: {error}"))))
}

/// Batches one after the other, each an Arrow stream of its own.
struct SpoolFile {
    writer: Box<dyn SpillWriter>,
    reader: File,
    end: u64,
    /// Removes the file when it is dropped.
    _file: Arc<dyn SpillFile>,
}

impl SpoolFile {
    fn create(engine: &Engine) -> Result<Self> {
        let file = engine.runtime().disk_manager.create_tmp_file("keeping a cursor's rows")?;
        let path = file.path().ok_or_else(|| Error::internal("a spill file has no path"))?;
        let reader = File::open(path)?;
        Ok(Self { writer: file.open_writer()?, reader, end: 0, _file: file })
    }

    /// Where the batch begins, and its length.
    fn append(&mut self, batch: &RecordBatch) -> Result<(u64, usize)> {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema())?;
        writer.write(batch)?;
        writer.finish()?;
        drop(writer);
        self.writer.write_all(&bytes).map_err(|error| {
            Error::new(SqlState::DiskFull, format!("could not keep a cursor's rows: {error}")).with_source(error)
        })?;
        let offset = self.end;
        self.end += bytes.len() as u64;
        Ok((offset, bytes.len()))
    }

    fn read(&self, offset: u64, length: usize) -> Result<RecordBatch> {
        let mut bytes = vec![0; length];
        self.reader.read_exact_at(&mut bytes, offset)?;
        let batch = StreamReader::try_new(Cursor::new(bytes), None)?.next().transpose()?;
        batch.ok_or_else(|| Error::internal("a cursor's file holds no rows where they were written"))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::engine::{EngineOptions, LocalRunner};

    fn batch(from: i64, rows: i64) -> RecordBatch {
        let numbers = Int64Array::from_iter_values(from..from + rows);
        let texts = StringArray::from_iter_values((from..from + rows).map(|row| format!("{row:>1000}")));
        RecordBatch::try_from_iter([("n", Arc::new(numbers) as _), ("t", Arc::new(texts) as _)]).unwrap()
    }

    #[tokio::test]
    async fn rows_come_back_from_memory_and_from_the_file() {
        let options = EngineOptions {
            pool_bytes: 64 << 20,
            spill_directory: None,
            spill_bytes_max: 1 << 30,
            metadata_cache_bytes: 0,
            target_partitions: 1,
        };
        let engine = Arc::new(Engine::new(&options, Arc::new(LocalRunner)).unwrap());
        let mut spool = Spool::new(Arc::clone(&engine));
        for from in 0..20 {
            spool.push(batch(from * 1000, 1000)).await.unwrap();
        }
        assert_eq!(spool.rows(), 20_000);
        assert!(spool.memory.size() <= MEMORY_BYTES_MAX);
        assert!(engine.spilled_bytes() > 10_000_000, "{}", engine.spilled_bytes());
        for row in [19_999, 0, 12_345, 12_344, 5_000, 4_999] {
            let (batch, place) = spool.find(row).await.unwrap().unwrap();
            assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(place), row as i64);
        }
        assert!(spool.find(20_000).await.unwrap().is_none());
        drop(spool);
        assert_eq!((engine.spilled_bytes(), engine.memory().0), (0, 0));
    }
}
