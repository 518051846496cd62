//! One data file on its way into the store.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use deltalake::kernel::Add;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::Job;
use super::partition::{Values, folders};
use crate::error::{Error, Result, SqlState};
use crate::lake::LakeOptions;
use crate::lake::statistics::{self, FloatBounds, is_float};

/// Bytes that are gathered before a part is uploaded; smaller files are put at once.
const UPLOAD_PART_BYTES: usize = 8 << 20;
/// Parts of one file under way at a time.
const UPLOADS_MAX: usize = 4;

/// A file that is complete and waits for its commit.
#[derive(Debug)]
pub(super) struct StagedFile {
    pub(super) add: Add,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// An open file.
pub(super) struct FileWriter {
    parquet: AsyncArrowWriter<BufWriter>,
    /// Relative to the table's root.
    name: String,
    values: Values,
    schema: SchemaRef,
    floats: FloatBounds,
    statistics_columns: usize,
}

impl FileWriter {
    /// Opens the `number`th file of a task.
    pub(super) fn open(job: &Job, number: usize, values: Values) -> Result<Self> {
        let name = format!("{}part-{number:05}-{}.zstd.parquet", folders(&values), uuid::Uuid::new_v4());
        let location = job.staged.location();
        let path: Path = location.path.parts().chain(Path::from(name.as_str()).parts()).collect();
        job.staged.note(path.clone());
        let sink = BufWriter::with_capacity(Arc::clone(&location.store), path, UPLOAD_PART_BYTES)
            .with_max_concurrency(UPLOADS_MAX);
        let schema = Arc::clone(job.encoding.file_schema());
        // Without Arrow's own schema the file is plain Parquet, which every reader takes the same way.
        let options = ArrowWriterOptions::new()
            .with_properties(properties(&job.options, &schema)?)
            .with_skip_arrow_metadata(true);
        let parquet = AsyncArrowWriter::try_new_with_options(sink, Arc::clone(&schema), options)?;
        let floats = FloatBounds::new(&schema);
        Ok(Self { parquet, name, values, schema, floats, statistics_columns: job.statistics_columns })
    }

    pub(super) async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.floats.observe(rows);
        Ok(self.parquet.write(rows).await?)
    }

    /// Ends the row group, which gives its memory back.
    pub(super) async fn flush(&mut self) -> Result<()> {
        Ok(self.parquet.flush().await?)
    }

    /// Bytes held in memory: rows under encoding and the part that waits to be uploaded.
    pub(super) fn memory_bytes(&self) -> usize {
        self.parquet.memory_size() + self.parquet.bytes_written().min(UPLOAD_PART_BYTES)
    }

    /// Bytes that the file has so far, about.
    pub(super) fn bytes(&self) -> usize {
        self.parquet.bytes_written() + self.parquet.in_progress_size()
    }

    /// Completes the upload.
    pub(super) async fn close(mut self) -> Result<StagedFile> {
        let metadata = self.parquet.finish().await?;
        let bytes = self.parquet.bytes_written() as u64;
        let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        let add = Add {
            path: self.name,
            partition_values: self.values.into_iter().collect(),
            size: i64::try_from(bytes).unwrap_or(i64::MAX),
            modification_time: chrono::Utc::now().timestamp_millis(),
            data_change: true,
            stats: Some(statistics::to_json(&metadata, &self.floats, &self.schema, self.statistics_columns)?),
            ..Add::default()
        };
        Ok(StagedFile { add, rows, bytes })
    }

    /// Gives the upload up.
    pub(super) async fn abort(self) {
        let name = self.name;
        if let Err(error) = self.parquet.into_inner().abort().await {
            tracing::debug!(file = name, %error, "could not abort an upload");
        }
    }
}

fn properties(options: &LakeOptions, schema: &Schema) -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(options.zstd_level)
        .map_err(|error| Error::new(SqlState::InvalidParameterValue, error.to_string()))?;
    let builder = WriterProperties::builder();
    let floats = schema.fields().iter().filter(|field| is_float(field.data_type()));
    let builder = floats.fold(builder, |builder, field| {
        builder.set_column_statistics_enabled(ColumnPath::from(field.name().as_str()), EnabledStatistics::None)
    });
    Ok(builder
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(options.row_group_rows_max.max(1)))
        .set_max_row_group_bytes(Some(options.row_group_bytes_max.max(1)))
        .set_created_by(concat!("lakegate ", env!("CARGO_PKG_VERSION")).to_owned())
        .build())
}
