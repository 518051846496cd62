//! Rows into files: one file, or numbered part files in a folder. Nothing can be seen before all of it is there.
//!
//! Batches are encoded on the blocking pool and uploaded in parts; the uploads are completed only after the last row. An
//! error or a dropped future aborts them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use datafusion::arrow_avro::writer::AvroWriter;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tokio::io::AsyncWriteExt;

use super::format::Compression;
use crate::encode::TextStyle;
use crate::encode::copy::{Encoder, Format, Header, JsonEncoder, Options};
use crate::encode::types::OutputColumn;
use crate::error::{Error, Result, SqlState};

/// Parts of an upload under way at a time.
const PARTS_AHEAD: usize = 4;
/// A part of an upload: S3 wants at least 5 MiB and takes at most 10,000 of them.
const PART_BYTES: usize = 16 << 20;
/// A row group is written when it holds so many bytes.
const ROW_GROUP_BYTES: usize = 128 << 20;
/// Encoded text is handed on in pieces of about this size.
const PIECE_BYTES: usize = 1 << 20;

/// What the files look like.
#[derive(Debug, Clone)]
pub enum ExportFormat {
    /// COPY's text, csv or binary.
    Copy(Options),
    /// One object a line.
    Json,
    Parquet,
    Avro,
}

/// How rows are written.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    pub format: ExportFormat,
    /// `None`: zstd for Parquet, by the name of the file for text formats, none for Avro.
    pub compression: Option<Compression>,
    /// A folder's next part file begins when one holds so many bytes.
    pub file_bytes_max: u64,
}

impl ExportOptions {
    /// The defaults: part files of 512 MiB.
    pub fn new(format: ExportFormat) -> Self {
        Self { format, compression: None, file_bytes_max: 512 << 20 }
    }
}

/// Where rows are written to.
#[derive(Debug, Clone)]
pub struct ExportTarget {
    pub store: Arc<dyn ObjectStore>,
    pub path: Path,
    /// The path is a folder (it was written with a slash at its end) for numbered part files.
    pub is_folder: bool,
}

/// Writes all rows; how many they were. An empty result makes one file without rows.
///
/// Errors: the stream's and the store's; 0A000 for a compression or type that the format lacks. After an error, and when the
/// future is dropped, nothing was written.
pub async fn write(
    mut rows: SendableRecordBatchStream,
    columns: Vec<OutputColumn>,
    style: TextStyle,
    target: &ExportTarget,
    options: &ExportOptions,
) -> Result<u64> {
    let schema = rows.schema();
    let mut export = Export { schema, columns, style, target, options, opened: 0, finished: Vec::new() };
    let mut current = export.open().await?;
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        count += batch.num_rows() as u64;
        if target.is_folder && current.bytes_written >= options.file_bytes_max {
            let full = std::mem::replace(&mut current, export.open().await?);
            export.finished.push(full.end().await?);
        }
        current.write(batch).await?;
    }
    export.finished.push(current.end().await?);
    for upload in std::mem::take(&mut export.finished) {
        upload.complete().await?;
    }
    Ok(count)
}

struct Export<'a> {
    schema: SchemaRef,
    columns: Vec<OutputColumn>,
    style: TextStyle,
    target: &'a ExportTarget,
    options: &'a ExportOptions,
    opened: usize,
    /// Whole, but not yet to be seen.
    finished: Vec<Upload>,
}

impl Export<'_> {
    async fn open(&mut self) -> Result<File> {
        let path = self.next_path();
        let compression = self.compression(&path)?;
        let sink = match (&self.options.format, compression) {
            (ExportFormat::Parquet | ExportFormat::Avro, _) | (_, Compression::None) => Squeeze::None,
            (_, Compression::Gzip) => Squeeze::Gzip(GzipEncoder::new(Vec::new())),
            (_, Compression::Zstd) => Squeeze::Zstd(ZstdEncoder::new(Vec::new())),
            (_, Compression::Snappy) => return Err(Error::unsupported("snappy compression of text files")),
        };
        let writer = self.writer(compression)?;
        let upload = self.target.store.put_multipart(&path).await.map_err(not_opened)?;
        let upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        Ok(File { writer: Some(writer), squeeze: sink, upload: Upload(Some(upload)), bytes_written: 0 })
    }

    fn next_path(&mut self) -> Path {
        if !self.target.is_folder {
            return self.target.path.clone();
        }
        let suffix = match &self.options.format {
            ExportFormat::Copy(options) => match options.format {
                Format::Csv => "csv",
                Format::Text => "txt",
                Format::Binary => "bin",
            },
            ExportFormat::Json => "json",
            ExportFormat::Parquet => "parquet",
            ExportFormat::Avro => "avro",
        };
        let packed = match (&self.options.format, self.options.compression) {
            (ExportFormat::Parquet | ExportFormat::Avro, _) => "",
            (_, Some(Compression::Gzip)) => ".gz",
            (_, Some(Compression::Zstd)) => ".zst",
            (_, None | Some(Compression::None | Compression::Snappy)) => "",
        };
        let number = self.opened;
        self.opened += 1;
        self.target.path.clone().join(format!("part-{number:05}.{suffix}{packed}"))
    }

    fn compression(&self, path: &Path) -> Result<Compression> {
        match (&self.options.format, self.options.compression) {
            (ExportFormat::Parquet, None) => Ok(Compression::Zstd),
            (ExportFormat::Avro, None | Some(Compression::None)) => Ok(Compression::None),
            (ExportFormat::Avro, Some(_)) => Err(Error::unsupported("compression of Avro files")),
            (_, Some(told)) => Ok(told),
            (_, None) => Ok(Compression::of_name(path.as_ref())),
        }
    }

    fn writer(&self, compression: Compression) -> Result<Writer> {
        Ok(match &self.options.format {
            ExportFormat::Parquet => Writer::Parquet(Box::new(parquet_writer(self.schema.clone(), compression)?)),
            ExportFormat::Avro => {
                let ready = Ready::default();
                let writer = AvroWriter::new(ready.clone(), self.schema.as_ref().clone());
                let writer = writer.map_err(|error| Error::unsupported(format!("Avro: {error}")))?;
                Writer::Avro { writer: Box::new(writer), ready }
            }
            ExportFormat::Json => {
                let style = self.style.clone();
                Writer::Json(Box::new(JsonEncoder::new(self.columns.clone(), style)))
            }
            ExportFormat::Copy(options) => {
                // A header that is compared is one that is written.
                let mut options = options.clone();
                if options.header == Header::Match {
                    options.header = Header::Present;
                }
                let mut encoder = Encoder::new(options, self.columns.clone(), self.style.clone());
                let mut pending = Vec::new();
                encoder.header(&mut pending)?;
                Writer::Copy { encoder: Box::new(encoder), pending }
            }
        })
    }
}

fn not_opened(error: object_store::Error) -> Error {
    let missing = match &error {
        // A cloud's store misses the bucket, not a folder.
        object_store::Error::NotFound { path, source } if source.is::<std::io::Error>() => Some(path.clone()),
        _ => None,
    };
    match missing {
        Some(path) => {
            let message = format!("could not open file \"{path}\" for writing: No such file or directory");
            Error::new(SqlState::UndefinedFile, message)
        }
        None => error.into(),
    }
}

fn parquet_writer(schema: SchemaRef, compression: Compression) -> Result<ArrowWriter<Vec<u8>>> {
    let codec = match compression {
        Compression::None => ParquetCompression::UNCOMPRESSED,
        Compression::Zstd => ParquetCompression::ZSTD(ZstdLevel::try_new(1)?),
        Compression::Snappy => ParquetCompression::SNAPPY,
        Compression::Gzip => ParquetCompression::GZIP(GzipLevel::default()),
    };
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_created_by(format!("lakegate {}", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(ArrowWriter::try_new(Vec::new(), schema, Some(properties))?)
}

/// Encodes batches to bytes. Pure; runs on the blocking pool.
enum Writer {
    Copy { encoder: Box<Encoder>, pending: Vec<u8> },
    Json(Box<JsonEncoder>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Avro { writer: Box<AvroWriter<Ready>>, ready: Ready },
}

/// Bytes that a writer has written and that were not taken yet: Avro's does not give its sink away before the end.
#[derive(Debug, Clone, Default)]
struct Ready(Arc<Mutex<Vec<u8>>>);

impl Ready {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock())
    }
}

impl std::io::Write for Ready {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Writer {
    /// The bytes that are ready after this batch.
    fn write(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        match self {
            Self::Copy { encoder, pending } => {
                let mut out = std::mem::take(pending);
                let mut row = 0;
                while row < batch.num_rows() {
                    let room = out.len() + PIECE_BYTES;
                    row += encoder.encode(batch, row, room, &mut out)?.max(1);
                }
                Ok(out)
            }
            Self::Json(encoder) => {
                let mut out = Vec::new();
                encoder.encode(batch, &mut out)?;
                Ok(out)
            }
            Self::Parquet(writer) => {
                writer.write(batch)?;
                if writer.in_progress_size() >= ROW_GROUP_BYTES {
                    writer.flush()?;
                }
                Ok(std::mem::take(writer.inner_mut()))
            }
            Self::Avro { writer, ready } => {
                writer.write(batch).map_err(avro_error)?;
                Ok(ready.take())
            }
        }
    }

    /// The bytes that end the file.
    fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::Copy { mut encoder, mut pending } => {
                encoder.finish(&mut pending)?;
                Ok(pending)
            }
            Self::Json(_) => Ok(Vec::new()),
            Self::Parquet(mut writer) => {
                writer.finish()?;
                Ok(std::mem::take(writer.inner_mut()))
            }
            Self::Avro { mut writer, ready } => {
                writer.finish().map_err(avro_error)?;
                drop(writer);
                Ok(ready.take())
            }
        }
    }
}

fn avro_error(error: impl std::fmt::Display) -> Error {
    Error::unsupported(format!("writing these rows as Avro ({error})"))
}

/// A file that is being written.
struct File {
    /// Away only while it works on the blocking pool.
    writer: Option<Writer>,
    squeeze: Squeeze,
    upload: Upload,
    bytes_written: u64,
}

impl File {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let Some(mut writer) = self.writer.take() else { return Err(Error::internal("the file was ended")) };
        let encoded = tokio::task::spawn_blocking(move || {
            let bytes = writer.write(&batch);
            (writer, bytes)
        });
        let (writer, bytes) = encoded.await.map_err(|error| Error::internal(error.to_string()))?;
        self.writer = Some(writer);
        self.send(bytes?).await
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<()> {
        let bytes = self.squeeze.push(bytes).await?;
        self.bytes_written += bytes.len() as u64;
        self.upload.send(bytes).await
    }

    /// Everything is uploaded; the file can still not be seen.
    async fn end(mut self) -> Result<Upload> {
        let Some(writer) = self.writer.take() else { return Err(Error::internal("the file was ended")) };
        let last = tokio::task::spawn_blocking(move || writer.finish()).await;
        let last = last.map_err(|error| Error::internal(error.to_string()))??;
        self.send(last).await?;
        let tail = self.squeeze.finish().await?;
        self.upload.send(tail).await?;
        Ok(self.upload)
    }
}

/// The compression of a text file.
enum Squeeze {
    None,
    Gzip(GzipEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<Vec<u8>>),
}

impl Squeeze {
    async fn push(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes),
            Self::Gzip(encoder) => {
                encoder.write_all(&bytes).await?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Zstd(encoder) => {
                encoder.write_all(&bytes).await?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    async fn finish(&mut self) -> Result<Vec<u8>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Gzip(encoder) => {
                encoder.shutdown().await?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Zstd(encoder) => {
                encoder.shutdown().await?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }
}

/// An upload that aborts itself unless it is completed.
struct Upload(Option<WriteMultipart>);

impl Upload {
    async fn send(&mut self, bytes: Vec<u8>) -> Result<()> {
        if let (Some(upload), false) = (&mut self.0, bytes.is_empty()) {
            upload.wait_for_capacity(PARTS_AHEAD).await?;
            upload.put(bytes.into());
        }
        Ok(())
    }

    async fn complete(mut self) -> Result<()> {
        match self.0.take() {
            Some(upload) => Ok(upload.finish().await.map(|_| ())?),
            None => Ok(()),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) else { return };
        // Nobody can wait for it here; a store forgets unfinished uploads in the end anyway.
        drop(runtime.spawn(async move {
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "an unfinished upload could not be aborted");
            }
        }));
    }
}
