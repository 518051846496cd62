//! Batches to bytes in each format.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::arrow_avro::writer::AvroWriter;
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::ExportFormat;
use crate::encode::TextStyle;
use crate::encode::copy::{Encoder, Header, JsonEncoder};
use crate::encode::types::OutputColumn;
use crate::error::{Error, Result};
use crate::lake::files::format::Compression;

/// A row group is written when it holds so many bytes.
const ROW_GROUP_BYTES: usize = 128 << 20;
/// Encoded text is handed on in pieces of about this size.
const PIECE_BYTES: usize = 1 << 20;

fn parquet_writer(schema: SchemaRef, compression: Compression) -> Result<ArrowWriter<Vec<u8>>> {
    let codec = match compression {
        Compression::None => ParquetCompression::UNCOMPRESSED,
        Compression::Zstd => ParquetCompression::ZSTD(ZstdLevel::try_new(1)?),
        Compression::Snappy => ParquetCompression::SNAPPY,
        Compression::Gzip => ParquetCompression::GZIP(GzipLevel::default()),
        Compression::Bzip2 => return Err(Error::unsupported("bzip2 compression of Parquet files")),
    };
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_created_by(format!("lakegate {}", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(ArrowWriter::try_new(Vec::new(), schema, Some(properties))?)
}

/// Encodes batches to bytes. Pure; runs on the blocking pool.
pub(super) enum Writer {
    Copy { encoder: Box<Encoder>, pending: Vec<u8> },
    Json(Box<JsonEncoder>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Avro { writer: Box<AvroWriter<Ready>>, ready: Ready },
}

/// Bytes that a writer has written and that were not taken yet: Avro's does not give its sink away before the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Ready(Arc<Mutex<Vec<u8>>>);

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
    /// A writer of rows of that schema.
    pub(super) fn new(
        format: &ExportFormat,
        compression: Compression,
        schema: &SchemaRef,
        columns: &[OutputColumn],
        style: &TextStyle,
    ) -> Result<Self> {
        Ok(match format {
            ExportFormat::Parquet => Self::Parquet(Box::new(parquet_writer(schema.clone(), compression)?)),
            ExportFormat::Avro => {
                let ready = Ready::default();
                let writer = AvroWriter::new(ready.clone(), schema.as_ref().clone());
                let writer = writer.map_err(|error| Error::unsupported(format!("Avro: {error}")))?;
                Self::Avro { writer: Box::new(writer), ready }
            }
            ExportFormat::Json => Self::Json(Box::new(JsonEncoder::new(columns.to_vec(), style.clone()))),
            ExportFormat::Copy(options) => {
                // A header that is compared is one that is written.
                let mut options = options.clone();
                if options.header == Header::Match {
                    options.header = Header::Present;
                }
                let mut encoder = Encoder::new(options, columns.to_vec(), style.clone());
                let mut pending = Vec::new();
                encoder.header(&mut pending)?;
                Self::Copy { encoder: Box::new(encoder), pending }
            }
        })
    }

    /// The bytes that are ready after this batch.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
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
    pub(super) fn finish(self) -> Result<Vec<u8>> {
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
