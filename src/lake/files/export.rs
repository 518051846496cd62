//! Rows into files: one file, or numbered part files in a folder, by Hive's partitions if asked. Nothing can be seen before all
//! of it is there.
//!
//! ```text
//! rows, sorted by their partitions ─→ pieces of one folder ─→ files of limited size ─ encoded, uploaded ─→ all completed
//! ```
//! The uploads are completed only after the last row; an error or a dropped future aborts them, and takes away what a failing
//! completion left.

mod folders;
mod upload;
mod writer;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use bytes::Bytes;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use object_store::path::Path;

use super::format::Compression;
use super::roots::check_below;
use crate::encode::TextStyle;
use crate::encode::copy::{Format, Options};
use crate::encode::types::OutputColumn;
use crate::error::{Error, Result, SqlState};
use crate::lake::stores::{is_local_disk, list_linked};
use folders::Folders;
use upload::{File, PART_BYTES, Squeeze, Upload};
use writer::Writer;

/// Files of one export.
const FILES_MAX: usize = 10_000;

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
    /// A folder's next part file begins when one holds so many bytes, or so many rows.
    pub file_bytes_max: u64,
    pub file_rows_max: u64,
    /// Numbers of the columns that make folders; the rows must come sorted by them.
    pub partition_by: Vec<usize>,
    pub existing: Existing,
}

/// What becomes of files that are in the folder already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// There may be none.
    #[default]
    Refused,
    /// They are removed once the new ones can be seen.
    Replaced,
    /// They stay.
    Kept,
}

impl ExportOptions {
    /// The defaults: part files of 512 MiB.
    pub fn new(format: ExportFormat) -> Self {
        Self {
            format,
            compression: None,
            file_bytes_max: 512 << 20,
            file_rows_max: u64::MAX,
            partition_by: Vec::new(),
            existing: Existing::Refused,
        }
    }
}

/// Where rows are written to.
#[derive(Debug, Clone)]
pub struct ExportTarget {
    pub store: Arc<dyn ObjectStore>,
    /// The store's own: scheme and bucket.
    pub url: ObjectStoreUrl,
    pub path: Path,
    /// As the statement names it.
    pub name: String,
    /// The path is a folder (it was written with a slash at its end) for numbered part files.
    pub is_folder: bool,
}

impl ExportTarget {
    /// Refuses a file of a partition whose folder is a link that leads out of the target's, where the statement may write.
    async fn check_below(&self, file: &Path) -> Result<()> {
        if !is_local_disk(&self.url) {
            return Ok(());
        }
        let disk = std::path::Path::new("/");
        check_below(disk.join(self.path.as_ref()), disk.join(file.as_ref())).await
    }
}

/// Writes all rows; how many they were. An empty result makes one file without rows.
///
/// Errors: the stream's and the store's; 0A000 for a compression or type that the format lacks; 58P02 for a folder that is not
/// empty; 42501 for a partition's folder that is a link out of the target. After an error, and when the future is dropped,
/// nothing was written.
pub async fn write(
    mut rows: SendableRecordBatchStream,
    columns: Vec<OutputColumn>,
    style: TextStyle,
    target: &ExportTarget,
    options: &ExportOptions,
) -> Result<u64> {
    let folders = Folders::new(&rows.schema(), &options.partition_by)?;
    let left = before(target, options).await?;
    let columns: Vec<OutputColumn> = folders.kept.iter().filter_map(|column| columns.get(*column).cloned()).collect();
    check_columns(&columns, &folders.schema, &options.format)?;
    let mut export = Export {
        schema: folders.schema.clone(),
        columns,
        style,
        target,
        options,
        prefix: match options.existing {
            Existing::Refused => "part".to_owned(),
            Existing::Replaced | Existing::Kept => format!("part-{}", uuid::Uuid::now_v7().simple()),
        },
        opened: 0,
        current: None,
        finished: Vec::new(),
    };
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        count += batch.num_rows() as u64;
        for (folder, piece) in folders.cut(&batch)? {
            export.write(folder, piece).await?;
        }
    }
    if export.opened == 0 && options.partition_by.is_empty() {
        export.begin(String::new()).await?;
    }
    export.end_current().await?;
    publish(target, std::mem::take(&mut export.finished)).await?;
    remove(target, left).await?;
    Ok(count)
}

/// Writes bytes that are there already as one file.
///
/// Errors: the store's. After an error, and when the future is dropped, what was there before is there.
pub async fn write_whole(target: &ExportTarget, bytes: Bytes) -> Result<()> {
    let mut upload = Upload::open(&target.store, target.path.clone()).await?;
    for part in 0..bytes.len().div_ceil(PART_BYTES) {
        let end = ((part + 1) * PART_BYTES).min(bytes.len());
        upload.send(bytes.slice(part * PART_BYTES..end).to_vec()).await?;
    }
    upload.flush().await?;
    upload.complete().await?;
    Ok(())
}

/// Refuses columns that the format has no place for.
fn check_columns(columns: &[OutputColumn], schema: &Schema, format: &ExportFormat) -> Result<()> {
    let name = match format {
        ExportFormat::Copy(_) => return Ok(()),
        ExportFormat::Json => "JSON",
        ExportFormat::Parquet => "Parquet",
        ExportFormat::Avro => "Avro",
    };
    let mut seen = HashSet::new();
    for (column, field) in columns.iter().zip(schema.fields()) {
        if !seen.insert(column.name.as_str()) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(Error::new(SqlState::DuplicateColumn, message)
                .with_hint(format!("Columns of {name} files are told apart by their names.")));
        }
        if !matches!(format, ExportFormat::Json) && matches!(field.data_type(), DataType::Interval(_)) {
            let message = format!("column \"{}\" of type interval in {name} files", column.name);
            return Err(Error::unsupported(message).with_hint("Cast it to text."));
        }
    }
    Ok(())
}

/// The files that are in the folder and are to go.
async fn before(target: &ExportTarget, options: &ExportOptions) -> Result<Vec<Path>> {
    if !target.is_folder {
        return Ok(Vec::new());
    }
    match options.existing {
        Existing::Kept => Ok(Vec::new()),
        // What links lead out to is not the folder's, and stays.
        Existing::Replaced => {
            Ok(target.store.list(Some(&target.path)).map_ok(|meta| meta.location).try_collect().await?)
        }
        Existing::Refused => {
            // Who reads the folder would find that too.
            let mut listed = list_linked(&target.store, &target.url, Some(&target.path));
            if listed.try_next().await?.is_none() {
                return Ok(Vec::new());
            }
            let message = format!("directory \"{}\" is not empty", target.name);
            Err(Error::new(SqlState::DuplicateFile, message)
                .with_hint("OVERWRITE removes the files that are there, APPEND keeps them."))
        }
    }
}

/// Lets all files appear, or none.
async fn publish(target: &ExportTarget, finished: Vec<Upload>) -> Result<()> {
    let mut published = Published { store: Arc::clone(&target.store), paths: Vec::new() };
    // What a single file replaces is gone anyway.
    let is_folder = target.is_folder;
    for upload in finished {
        let path = upload.complete().await?;
        if is_folder {
            published.paths.push(path);
        }
    }
    published.paths.clear();
    Ok(())
}

/// Files that can be seen, though others of their export cannot: dropping it removes them.
struct Published {
    store: Arc<dyn ObjectStore>,
    paths: Vec<Path>,
}

impl Drop for Published {
    fn drop(&mut self) {
        let paths = std::mem::take(&mut self.paths);
        let (false, Ok(runtime)) = (paths.is_empty(), tokio::runtime::Handle::try_current()) else { return };
        let store = Arc::clone(&self.store);
        drop(runtime.spawn(async move {
            let gone = store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
            if let Err(error) = gone.try_collect::<Vec<_>>().await {
                tracing::warn!(%error, "files of a failed COPY could not be removed");
            }
        }));
    }
}

/// Removes files. Those that are gone already are no error: links in a folder give a file several names.
async fn remove(target: &ExportTarget, paths: Vec<Path>) -> Result<()> {
    let mut removed = target.store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
    while let Some(result) = removed.next().await {
        match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

struct Export<'a> {
    schema: SchemaRef,
    columns: Vec<OutputColumn>,
    style: TextStyle,
    target: &'a ExportTarget,
    options: &'a ExportOptions,
    /// What part files are called before their numbers.
    prefix: String,
    opened: usize,
    /// The file under way and its folder.
    current: Option<(String, File)>,
    /// Whole, but not yet to be seen.
    finished: Vec<Upload>,
}

impl Export<'_> {
    async fn write(&mut self, folder: String, mut rows: RecordBatch) -> Result<()> {
        while rows.num_rows() > 0 {
            let goes_on = matches!(&self.current, Some((open, file)) if *open == folder && !self.is_full(file));
            if !goes_on {
                self.end_current().await?;
                self.begin(folder.clone()).await?;
            }
            let Some((_, file)) = &mut self.current else { return Err(Error::internal("no file was begun")) };
            let room = if self.target.is_folder { self.options.file_rows_max - file.rows_written } else { u64::MAX };
            let taken = rows.num_rows().min(usize::try_from(room).unwrap_or(usize::MAX));
            file.write(rows.slice(0, taken)).await?;
            rows = rows.slice(taken, rows.num_rows() - taken);
        }
        Ok(())
    }

    fn is_full(&self, file: &File) -> bool {
        self.target.is_folder
            && (file.bytes_written >= self.options.file_bytes_max || file.rows_written >= self.options.file_rows_max)
    }

    async fn begin(&mut self, folder: String) -> Result<()> {
        if self.opened >= FILES_MAX {
            let message = format!("COPY would write more than {FILES_MAX} files");
            return Err(Error::new(SqlState::ProgramLimitExceeded, message));
        }
        let path = self.next_path(&folder)?;
        if !folder.is_empty() {
            self.target.check_below(&path).await?;
        }
        let compression = self.compression(&path)?;
        let squeeze = match (&self.options.format, compression) {
            (ExportFormat::Parquet | ExportFormat::Avro, _) | (_, Compression::None) => Squeeze::None,
            (_, Compression::Gzip) => Squeeze::Gzip(GzipEncoder::new(Vec::new())),
            (_, Compression::Zstd) => Squeeze::Zstd(ZstdEncoder::new(Vec::new())),
            (_, Compression::Snappy) => return Err(Error::unsupported("snappy compression of text files")),
            (_, Compression::Bzip2) => return Err(Error::unsupported("writing files compressed with bzip2")),
        };
        let writer = Writer::new(&self.options.format, compression, &self.schema, &self.columns, &self.style)?;
        self.current = Some((folder, File::open(&self.target.store, path, writer, squeeze).await?));
        Ok(())
    }

    async fn end_current(&mut self) -> Result<()> {
        if let Some((_, file)) = self.current.take() {
            self.finished.push(file.end().await?);
        }
        Ok(())
    }

    fn next_path(&mut self, folder: &str) -> Result<Path> {
        let number = self.opened;
        self.opened += 1;
        if !self.target.is_folder {
            return Ok(self.target.path.clone());
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
            (_, None | Some(Compression::None | Compression::Snappy | Compression::Bzip2)) => "",
        };
        let name = format!("{}-{number:05}.{suffix}{packed}", self.prefix);
        let below = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        // The names are escaped already.
        let base = self.target.path.as_ref();
        let whole = if base.is_empty() { below } else { format!("{base}/{below}") };
        Path::parse(&whole).map_err(|error| {
            Error::new(SqlState::InvalidParameterValue, format!("\"{whole}\" is not a valid path")).with_source(error)
        })
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
}
