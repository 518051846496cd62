//! The scan of CSV and JSON files: a plan node whose partitions share one reader (see `parallel`).

use std::fmt;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use datafusion::scalar::ScalarValue;
use futures::{Stream, StreamExt, stream};
use object_store::{ObjectMeta, ObjectStore};
use parking_lot::Mutex;

use super::format::Compression;
use super::format::FileOptions;
use super::json::{JsonDecoder, JsonSplitter};
use super::list::file_name;
use super::parallel::{Decode, Rejections, RowStreams, decode_parallel};
use super::read;
use super::table::FileSet;
use super::text_encoding::{self, FileEncoding};
use crate::encode::copy::{
    CHUNK_BYTES, Chunk, ChunkDecoder, Decoded, Encoding, Format, Options, RECORD_BYTES_MAX, Splitter,
};
use crate::error::{Error, Result};

/// Files that are read at a time, so that many small ones do not wait for the store one after the other.
const FILES_AHEAD: usize = 4;

/// A file, as its rows know it.
#[derive(Debug)]
pub(super) struct SourceFile {
    name: Arc<str>,
    modified_us: i64,
    /// What its path says.
    values: Arc<[ScalarValue]>,
}

/// A file to read, and the values in its path.
#[derive(Debug, Clone)]
pub(super) struct ListedFile {
    pub(super) meta: ObjectMeta,
    pub(super) values: Arc<[ScalarValue]>,
}

/// Some records of a file.
#[derive(Debug)]
pub(super) struct FileChunk {
    chunk: Chunk,
    file: Arc<SourceFile>,
}

/// Where an output column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The column with this number among those that are decoded.
    Data(usize),
    /// A column that this file has not.
    Missing,
    /// The value with this number in the file's path.
    Path(usize),
    FileName,
    FileModified,
    Line,
}

/// How records become rows.
#[derive(Debug)]
pub(super) enum RecordDecoder {
    Csv(Box<ChunkDecoder>),
    Json(JsonDecoder),
}

/// Decodes a file's chunks and adds the columns that tell of the file.
#[derive(Debug)]
pub(super) struct FileDecoder {
    pub(super) records: RecordDecoder,
    pub(super) output: Vec<Origin>,
    pub(super) schema: SchemaRef,
}

impl Decode for FileDecoder {
    type Piece = FileChunk;

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn decode(&self, piece: &FileChunk) -> Result<Decoded> {
        let mut decoded = match &self.records {
            RecordDecoder::Csv(decoder) => decoder.decode(&piece.chunk)?,
            RecordDecoder::Json(decoder) => decoder.decode(&piece.chunk)?,
        };
        for (at, batch) in decoded.batches.iter_mut().enumerate() {
            *batch = self.with_file_columns(batch, &piece.file, decoded.lines.get(at))?;
        }
        Ok(decoded)
    }
}

impl FileDecoder {
    fn with_file_columns(
        &self,
        batch: &RecordBatch,
        file: &SourceFile,
        lines: Option<&Int64Array>,
    ) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut arrays = Vec::with_capacity(self.output.len());
        for (origin, field) in self.output.iter().zip(self.schema.fields()) {
            arrays.push(match origin {
                Origin::Missing => new_null_array(field.data_type(), rows),
                Origin::Path(column) => match file.values.get(*column) {
                    Some(value) => value.to_array_of_size(rows)?,
                    None => return Err(Error::internal("a file without its path's values")),
                },
                Origin::Line => match lines {
                    Some(lines) => Arc::new(lines.clone()),
                    None => return Err(Error::internal("the lines of rows were not told")),
                },
                Origin::Data(column) => batch
                    .columns()
                    .get(*column)
                    .cloned()
                    .ok_or_else(|| Error::internal("a projected column was not decoded"))?,
                Origin::FileName => ScalarValue::Utf8(Some(file.name.to_string())).to_array_of_size(rows)?,
                Origin::FileModified => ScalarValue::TimestampMicrosecond(Some(file.modified_us), Some("UTC".into()))
                    .to_array_of_size(rows)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?)
    }
}

/// What cuts a file's bytes into chunks.
#[derive(Debug, Clone)]
pub(super) enum Cutting {
    Csv(Options),
    Json,
}

#[derive(Debug)]
enum Cutter {
    Csv(Splitter),
    Json(JsonSplitter),
}

impl Cutter {
    fn new(cutting: &Cutting, file: &str, chunk_bytes: usize) -> Self {
        match cutting {
            Cutting::Csv(options) => {
                let splitter = Splitter::with_sizes(options, chunk_bytes, RECORD_BYTES_MAX);
                Self::Csv(splitter.named(format!("file \"{file}\"")))
            }
            Cutting::Json => Self::Json(JsonSplitter::default()),
        }
    }

    fn feed(&mut self, piece: &[u8]) -> Result<Option<Chunk>> {
        match self {
            Self::Csv(splitter) => splitter.feed(piece),
            Self::Json(splitter) => splitter.feed(piece),
        }
    }

    fn finish(&mut self) -> Result<Option<Chunk>> {
        match self {
            Self::Csv(splitter) => splitter.finish(),
            Self::Json(splitter) => splitter.finish(),
        }
    }

    fn is_ended(&self) -> bool {
        match self {
            Self::Csv(splitter) => splitter.is_ended(),
            Self::Json(splitter) => splitter.is_ended(),
        }
    }
}

/// The files to read and how.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) url: ObjectStoreUrl,
    pub(super) files: Arc<Vec<ListedFile>>,
    pub(super) cutting: Cutting,
    pub(super) compression: Option<Compression>,
    pub(super) encoding: FileEncoding,
}

/// What is read of a file for its first line.
const HEAD_BYTES: u64 = 64 << 10;

impl Sources {
    /// All files of a set, without the values in their paths.
    pub(super) fn of(set: &FileSet, cutting: Cutting, options: &FileOptions) -> Self {
        let none: Arc<[ScalarValue]> = Arc::from(Vec::new());
        let listed = set.files.iter().map(|meta| ListedFile { meta: meta.clone(), values: Arc::clone(&none) });
        Self {
            store: Arc::clone(&set.store),
            url: set.url.clone(),
            files: Arc::new(listed.collect()),
            cutting,
            compression: options.compression,
            encoding: file_encoding(options),
        }
    }

    /// All chunks of all files; those of one file in order.
    pub(super) fn chunks(&self) -> impl Stream<Item = Result<FileChunk>> + Send + use<> {
        let sources = self.clone();
        let files = 0..self.files.len();
        stream::iter(files)
            .map(move |at| match sources.files.get(at) {
                Some(file) => sources.file_chunks(file).boxed(),
                None => stream::empty().boxed(),
            })
            .flatten_unordered(FILES_AHEAD)
    }

    /// The chunk with a file's first records, read for as little as possible.
    pub(super) fn head_chunks(&self, meta: &ObjectMeta) -> impl Stream<Item = Result<FileChunk>> + Send + use<> {
        let listed = ListedFile { meta: meta.clone(), values: Arc::from(Vec::new()) };
        self.chunks_by(&listed, HEAD_BYTES, 1)
    }

    /// One file's chunks. Errors name the file.
    pub(super) fn file_chunks(&self, file: &ListedFile) -> impl Stream<Item = Result<FileChunk>> + Send + use<> {
        self.chunks_by(file, read::BLOCK_BYTES, CHUNK_BYTES)
    }

    fn chunks_by(
        &self,
        listed: &ListedFile,
        block_bytes: u64,
        chunk_bytes: usize,
    ) -> impl Stream<Item = Result<FileChunk>> + Send + use<> {
        let meta = &listed.meta;
        let name: Arc<str> = file_name(&self.url, meta.location.as_ref()).into();
        let compression = self.compression.unwrap_or_else(|| Compression::of_name(meta.location.as_ref()));
        let bytes = match read::bytes(self.store.clone(), meta.clone(), &name, compression, block_bytes) {
            Ok(bytes) => text_encoding::utf8(bytes, self.encoding, &name),
            Err(error) => stream::iter([Err(error)]).boxed(),
        };
        let (modified_us, values) = (meta.last_modified.timestamp_micros(), Arc::clone(&listed.values));
        let file = Arc::new(SourceFile { name, modified_us, values });
        let state = (bytes, Cutter::new(&self.cutting, &file.name, chunk_bytes), file);
        stream::try_unfold(state, |(mut bytes, mut cutter, file)| async move {
            loop {
                if cutter.is_ended() {
                    return Ok(None);
                }
                let cut = match bytes.next().await {
                    Some(piece) => cutter.feed(&piece?),
                    None => cutter.finish(),
                };
                let chunk = cut.map_err(|error| name_file(error, &file.name))?;
                if let Some(mut chunk) = chunk {
                    chunk.source = Some(file.name.clone());
                    let piece = FileChunk { chunk, file: file.clone() };
                    return Ok(Some((piece, (bytes, cutter, file))));
                }
            }
        })
    }
}

/// A file whose characters COPY's own options tell, or that has none, is read as it is.
fn file_encoding(options: &FileOptions) -> FileEncoding {
    let raw = options.csv.encoding != Encoding::Utf8 || options.csv.format == Format::Binary;
    if raw { FileEncoding::Raw } else { options.encoding }
}

impl FileChunk {
    pub(super) fn into_chunk(self) -> Chunk {
        self.chunk
    }
}

fn name_file(error: Error, name: &str) -> Error {
    match error.context() {
        Some(_) => error,
        None => error.with_context(format!("file \"{name}\"")),
    }
}

/// Scans text files. Each execution of all partitions reads the files once.
pub(super) struct FileScanExec {
    sources: Sources,
    decoder: Arc<FileDecoder>,
    rejections: Arc<Rejections>,
    properties: Arc<PlanProperties>,
    /// The partitions of the execution under way that nobody has asked for yet.
    waiting: Mutex<Vec<Option<SendableRecordBatchStream>>>,
}

impl FileScanExec {
    pub(super) fn new(sources: Sources, decoder: FileDecoder, rejections: Arc<Rejections>, partitions: usize) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(decoder.schema.clone()),
            Partitioning::UnknownPartitioning(partitions.max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { sources, decoder: Arc::new(decoder), rejections, properties, waiting: Mutex::new(Vec::new()) }
    }

    fn start(&self) -> RowStreams {
        let partitions = self.properties.partitioning.partition_count();
        decode_parallel(self.sources.chunks(), self.decoder.clone(), partitions, self.rejections.clone())
    }
}

impl fmt::Debug for FileScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileScanExec").field("files", &self.sources.files.len()).finish_non_exhaustive()
    }
}

impl DisplayAs for FileScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.sources.cutting {
            Cutting::Csv(_) => "csv",
            Cutting::Json => "json",
        };
        let columns: Vec<&str> = self.decoder.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "FileScanExec: format={format}, files={}, columns=[{}]", self.sources.files.len(), columns.join(", "))
    }
}

impl ExecutionPlan for FileScanExec {
    fn name(&self) -> &str {
        "FileScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let mut waiting = self.waiting.lock();
        if !matches!(waiting.get(partition), Some(Some(_))) {
            // The first partition of an execution starts it; so does a second run of the same plan.
            *waiting = self.start().into_iter().map(Some).collect();
        }
        waiting
            .get_mut(partition)
            .and_then(Option::take)
            .ok_or_else(|| Error::internal(format!("file scan has no partition {partition}")).into_datafusion())
    }
}

/// The schema of these columns of `whole`, in order.
pub(super) fn projected(whole: &SchemaRef, columns: &[usize]) -> SchemaRef {
    let fields: Vec<_> = columns.iter().filter_map(|column| whole.fields().get(*column).cloned()).collect();
    Arc::new(Schema::new(fields))
}
