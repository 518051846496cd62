//! One data file on its way into the store.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use deltalake::kernel::{Add, AddCDCFile};
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
use crate::lake::feed::{CHANGE_TYPE, ChangeType, Content, FOLDER};
use crate::lake::statistics::{self, FloatBounds, is_float};

/// Bytes that are gathered before a part is uploaded; smaller files are put at once.
const UPLOAD_PART_BYTES: usize = 8 << 20;
/// Parts of one file under way at a time.
const UPLOADS_MAX: usize = 4;

/// A file that is complete and waits for its commit, or one that only tells of rows.
#[derive(Debug)]
pub(in crate::lake) struct StagedFile {
    pub(in crate::lake) add: Option<Add>,
    /// The same rows, or rows that are gone, as the change data feed has them.
    pub(in crate::lake) change: Option<AddCDCFile>,
    pub(in crate::lake) content: Content,
    /// Of `add`.
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// An open file: the table's, the change data feed's, or one of each with the same rows.
pub(super) struct FileWriter {
    content: Content,
    data: Option<Parquet>,
    change: Option<(ChangeType, Parquet)>,
    values: Values,
    floats: FloatBounds,
    statistics_columns: usize,
}

/// An open Parquet file.
struct Parquet {
    writer: AsyncArrowWriter<BufWriter>,
    /// Relative to the table's root.
    name: String,
    schema: SchemaRef,
}

impl FileWriter {
    /// Opens the `number`th file of a task.
    pub(super) fn open(job: &Job, number: usize, values: Values, content: Content) -> Result<Self> {
        let folders = folders(&values);
        let id = uuid::Uuid::new_v4();
        let schema = job.encoding.file_schema();
        let data = match content {
            Content::Rows | Content::New(_) => {
                let name = format!("{folders}part-{number:05}-{id}.zstd.parquet");
                Some(Parquet::open(job, name, Arc::clone(schema))?)
            }
            Content::Gone(_) => None,
        };
        let change = match content {
            Content::New(kind) | Content::Gone(kind) => {
                let name = format!("{FOLDER}/{folders}cdc-{number:05}-{id}.zstd.parquet");
                let fields = schema.fields().iter().cloned();
                let kinds = Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8View, true));
                let schema = Schema::new(fields.chain([kinds]).collect::<Vec<_>>());
                Some((kind, Parquet::open(job, name, Arc::new(schema))?))
            }
            Content::Rows => None,
        };
        let floats = FloatBounds::new(schema);
        Ok(Self { content, data, change, values, floats, statistics_columns: job.statistics_columns })
    }

    pub(super) async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if let Some((kind, file)) = &mut self.change {
            let kinds = ScalarValue::Utf8View(Some(kind.word().to_owned())).to_array_of_size(rows.num_rows())?;
            let columns = rows.columns().iter().cloned().chain([kinds]).collect();
            file.writer.write(&RecordBatch::try_new(Arc::clone(&file.schema), columns)?).await?;
        }
        if let Some(file) = &mut self.data {
            self.floats.observe(rows);
            file.writer.write(rows).await?;
        }
        Ok(())
    }

    /// Ends the row group, which gives its memory back.
    pub(super) async fn flush(&mut self) -> Result<()> {
        for file in self.files_mut() {
            file.writer.flush().await?;
        }
        Ok(())
    }

    /// Bytes held in memory: rows under encoding and the part that waits to be uploaded.
    pub(super) fn memory_bytes(&self) -> usize {
        self.files().map(|file| file.writer.memory_size() + file.writer.bytes_written().min(UPLOAD_PART_BYTES)).sum()
    }

    /// Bytes that the file has so far, about.
    pub(super) fn bytes(&self) -> usize {
        let bytes = self.files().map(|file| file.writer.bytes_written() + file.writer.in_progress_size());
        bytes.max().unwrap_or_default()
    }

    fn files(&self) -> impl Iterator<Item = &Parquet> {
        self.data.iter().chain(self.change.iter().map(|(_, file)| file))
    }

    fn files_mut(&mut self) -> impl Iterator<Item = &mut Parquet> {
        self.data.iter_mut().chain(self.change.iter_mut().map(|(_, file)| file))
    }

    /// Completes the upload.
    pub(super) async fn close(self) -> Result<StagedFile> {
        let mut staged = StagedFile { add: None, change: None, content: self.content, rows: 0, bytes: 0 };
        let partition_values: std::collections::HashMap<_, _> = self.values.into_iter().collect();
        if let Some((_, mut file)) = self.change {
            file.writer.finish().await?;
            staged.change = Some(AddCDCFile {
                path: file.name,
                size: i64::try_from(file.writer.bytes_written()).unwrap_or(i64::MAX),
                partition_values: partition_values.clone(),
                data_change: false,
                tags: None,
            });
        }
        if let Some(mut file) = self.data {
            let metadata = file.writer.finish().await?;
            staged.bytes = file.writer.bytes_written() as u64;
            staged.rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
            let stats = statistics::to_json(&metadata, &self.floats, &file.schema, self.statistics_columns)?;
            staged.add = Some(Add {
                path: file.name,
                partition_values,
                size: i64::try_from(staged.bytes).unwrap_or(i64::MAX),
                modification_time: chrono::Utc::now().timestamp_millis(),
                data_change: true,
                stats: Some(stats),
                ..Add::default()
            });
        }
        Ok(staged)
    }

    /// Gives the upload up.
    pub(super) async fn abort(self) {
        for file in self.data.into_iter().chain(self.change.map(|(_, file)| file)) {
            let name = file.name;
            if let Err(error) = file.writer.into_inner().abort().await {
                tracing::debug!(file = name, %error, "could not abort an upload");
            }
        }
    }
}

impl Parquet {
    fn open(job: &Job, name: String, schema: SchemaRef) -> Result<Self> {
        let location = job.staged.location();
        let path: Path = location.path.parts().chain(Path::from(name.as_str()).parts()).collect();
        job.staged.note(path.clone());
        let sink = BufWriter::with_capacity(Arc::clone(&location.store), path, UPLOAD_PART_BYTES)
            .with_max_concurrency(UPLOADS_MAX);
        // Without Arrow's own schema the file is plain Parquet, which every reader takes the same way.
        let options = ArrowWriterOptions::new()
            .with_properties(properties(&job.options, &schema)?)
            .with_skip_arrow_metadata(true);
        let writer = AsyncArrowWriter::try_new_with_options(sink, Arc::clone(&schema), options)?;
        Ok(Self { writer, name, schema })
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
