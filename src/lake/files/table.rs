//! Files as a table of the engine.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::scalar::ScalarValue;
use object_store::{ObjectMeta, ObjectStore};

use super::columnar::{ColumnarTable, columns_of, footers};
use super::format::{FileFormat, FileOptions};
use super::hive::PathColumns;
use super::infer::{TextColumns, infer_text};
use super::json::JsonDecoder;
use super::list::file_name;
use super::parallel::Rejections;
use super::prune;
use super::scan::{Cutting, FileDecoder, FileScanExec, ListedFile, Origin, RecordDecoder, Sources, projected};
use crate::encode::copy::{ChunkDecoder, Header, Options};
use crate::encode::input::InputContext;
use crate::encode::types::{PgType, arrow_type};
use crate::error::Result;

/// The virtual column with the path of the file that a row comes from.
pub const FILE_COLUMN: &str = "_file";
/// The virtual column with the time that the file was last written.
pub const FILE_MODIFIED_COLUMN: &str = "_file_modified";
/// The virtual column with the line that a row begins on; of CSV and JSON files.
pub const LINE_COLUMN: &str = "_line";

/// Files in one store, as [`find`](FileSet::find) found them; the list is what is read, whatever appears later.
#[derive(Debug, Clone)]
pub struct FileSet {
    pub store: Arc<dyn ObjectStore>,
    /// Under which the engine's runtime knows the store; Parquet and Avro readers look it up there.
    pub url: ObjectStoreUrl,
    pub files: Arc<Vec<ObjectMeta>>,
    /// Parts of the path of the folder that they were looked for in: what comes below may hold columns.
    pub(super) depth: usize,
}

/// Files as a table.
#[derive(Debug, Clone)]
pub struct FileTable {
    /// Its schema: `columns`, then [`FILE_COLUMN`] and [`FILE_MODIFIED_COLUMN`].
    pub provider: Arc<dyn TableProvider>,
    /// Without the virtual columns.
    pub columns: Vec<(String, PgType)>,
    /// The rows that ON_ERROR ignore left out, over all scans of this table.
    pub rejections: Arc<Rejections>,
}

/// The virtual columns, in their order.
pub(super) fn file_columns() -> Vec<Field> {
    let modified = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    vec![Field::new(FILE_COLUMN, DataType::Utf8, false), Field::new(FILE_MODIFIED_COLUMN, modified, false)]
}

/// The files as a table. `columns` are the names and types of CSV and JSON columns where the caller knows them; without
/// them a sample is read. Parquet and Avro files know theirs. With known columns and a told header, `options.csv` may also
/// be COPY's text or binary format: that is how COPY reads a file by its path.
///
/// Errors: those of [`infer`](super::infer()); a scan's errors carry file, line and column.
pub async fn table(
    set: FileSet,
    format: FileFormat,
    options: &FileOptions,
    columns: Option<Vec<(String, PgType)>>,
    context: InputContext,
) -> Result<FileTable> {
    let rejections = Rejections::with_limit(options.csv.reject_limit);
    let known = columns.as_deref().unwrap_or_default();
    let paths = if options.path_columns { PathColumns::of(&set, known, &context)? } else { PathColumns::none(&set) };
    if matches!(format, FileFormat::Parquet | FileFormat::Avro) {
        let footers = footers(&set, format, options.any_case).await?.without(|name| paths.has(name));
        let mut columns = columns_of(&footers.schema);
        columns.extend(paths.columns.iter().cloned());
        let provider = Arc::new(ColumnarTable::new(set, format, footers, paths));
        return Ok(FileTable { provider, columns, rejections });
    }
    let declared = columns.map(|columns| columns.into_iter().filter(|(name, _)| !paths.has(name)).collect());
    let found = infer_text(&set, format, options, declared).await?;
    let mut csv = options.csv.clone();
    csv.header = match (found.has_header, csv.header) {
        (false, _) => Header::Absent,
        (true, Header::Match) => Header::Match,
        // A file with other columns would be read as if it had these.
        (true, _) if found.verbatim && set.files.len() > 1 => Header::Match,
        (true, Header::Absent | Header::Present) => Header::Present,
    };
    // A file may hold a column that its path holds too: the path is right.
    let data: Vec<(String, PgType)> = found.columns.iter().filter(|(name, _)| !paths.has(name)).cloned().collect();
    let groups = groups(&found, &data, set.files.len());
    let columns: Vec<_> = data.iter().chain(&paths.columns).cloned().collect();
    let provider = Arc::new(TextTable {
        schema: schema_of(&columns),
        sources: Sources::of(&set, Cutting::Json, options),
        columns: columns.clone(),
        data_columns: data.len(),
        groups,
        paths,
        rejections: rejections.clone(),
        format,
        csv,
        context,
        any_case: options.any_case,
    });
    Ok(FileTable { provider, columns, rejections })
}

fn schema_of(columns: &[(String, PgType)]) -> SchemaRef {
    let mut fields: Vec<Field> = columns.iter().map(|(name, ty)| Field::new(name, arrow_type(*ty), true)).collect();
    fields.extend(file_columns());
    fields.push(Field::new(LINE_COLUMN, DataType::Int64, false));
    Arc::new(Schema::new(fields))
}

/// Files with the same columns.
#[derive(Debug)]
struct Group {
    /// Their numbers.
    files: Vec<usize>,
    /// The columns as the files have them.
    columns: Vec<(String, PgType)>,
    /// Of each of the table's own columns, its number among those of the files.
    places: Vec<Option<usize>>,
}

fn groups(found: &TextColumns, data: &[(String, PgType)], files: usize) -> Vec<Group> {
    let type_of = |name: &str| data.iter().find(|(known, _)| known == name).map_or(PgType::TEXT, |(_, ty)| *ty);
    let group = |columns: Vec<(String, PgType)>, files: Vec<usize>| {
        let place = |name: &String| columns.iter().position(|(column, _)| column == name);
        let places = data.iter().map(|(name, _)| place(name)).collect();
        Group { files, columns, places }
    };
    if found.by_file.is_empty() {
        return vec![group(found.columns.clone(), (0..files).collect())];
    }
    let mut by_header: Vec<(&[String], Vec<usize>)> = Vec::new();
    for (file, header) in found.by_file.iter().enumerate().filter(|(_, header)| !header.is_empty()) {
        match by_header.iter_mut().find(|(known, _)| *known == header.as_ref()) {
            Some((_, files)) => files.push(file),
            None => by_header.push((header, vec![file])),
        }
    }
    let columns = |header: &[String]| header.iter().map(|name| (name.clone(), type_of(name))).collect();
    by_header.into_iter().map(|(header, files)| group(columns(header), files)).collect()
}

/// A table over CSV or JSON files.
#[derive(Debug)]
struct TextTable {
    /// All files.
    sources: Sources,
    groups: Vec<Group>,
    paths: PathColumns,
    format: FileFormat,
    csv: Options,
    /// The files' own, then those of the paths.
    columns: Vec<(String, PgType)>,
    data_columns: usize,
    schema: SchemaRef,
    context: InputContext,
    rejections: Arc<Rejections>,
    any_case: bool,
}

impl TextTable {
    /// The decoder of just the columns that are wanted.
    fn decoder(&self, group: &Group, wanted: &[usize]) -> FileDecoder {
        let (count, mut data) = (self.columns.len(), Vec::new());
        let output = wanted.iter().map(|column| match column.checked_sub(count) {
            Some(0) => Origin::FileName,
            Some(1) => Origin::FileModified,
            Some(_) => Origin::Line,
            None => match column.checked_sub(self.data_columns) {
                Some(path) => Origin::Path(path),
                None => match group.places.get(*column).copied().flatten() {
                    None => Origin::Missing,
                    Some(place) => {
                        data.push(place);
                        Origin::Data(data.len() - 1)
                    }
                },
            },
        });
        let output: Vec<Origin> = output.collect();
        let lines = output.contains(&Origin::Line);
        let records = match self.format {
            FileFormat::Json => {
                let columns = data.iter().filter_map(|column| group.columns.get(*column).cloned()).collect();
                RecordDecoder::Json(JsonDecoder::new(columns, self.context, self.csv.on_error, self.any_case))
            }
            FileFormat::Csv | FileFormat::Parquet | FileFormat::Avro => RecordDecoder::Csv(Box::new(
                ChunkDecoder::new("COPY", self.csv.clone(), group.columns.clone(), self.context)
                    .with_projection(&data)
                    .with_lines(lines),
            )),
        };
        FileDecoder { records, output, schema: projected(&self.schema, wanted) }
    }

    /// What is known of each file without opening it, and the columns that this is.
    fn known_values(&self) -> (Vec<Field>, Vec<Vec<ScalarValue>>) {
        let fields = self.schema.fields().iter().skip(self.data_columns);
        let fields = fields.take(self.paths.columns.len() + 2).map(|field| field.as_ref().clone()).collect();
        let rows = self.sources.files.iter().zip(&self.paths.values);
        let rows = rows
            .map(|(file, values)| values.iter().cloned().chain(file_values(&self.sources.url, &file.meta)).collect());
        (fields, rows.collect())
    }

    /// As many partitions as cores; one for what is too small to share.
    fn partitions(files: &[ListedFile], target: usize) -> usize {
        const SHARED_BYTES_MIN: u64 = 4 << 20;
        let bytes: u64 = files.iter().map(|file| file.meta.size).sum();
        if bytes < SHARED_BYTES_MIN { 1 } else { target.max(1) }
    }
}

#[async_trait]
impl TableProvider for TextTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let wanted = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let (fields, rows) = self.known_values();
        let kept = prune::kept(state, filters, &fields, &rows)?;
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        for group in &self.groups {
            let files: Vec<ListedFile> = group
                .files
                .iter()
                .filter(|file| kept.get(**file).copied().unwrap_or(true))
                .filter_map(|file| {
                    let values = Arc::clone(self.paths.values.get(*file)?);
                    Some(ListedFile { meta: self.sources.files.get(*file)?.meta.clone(), values })
                })
                .collect();
            if files.is_empty() {
                continue;
            }
            let partitions = Self::partitions(&files, state.config().target_partitions());
            let cutting = match self.format {
                FileFormat::Json => Cutting::Json,
                FileFormat::Csv | FileFormat::Parquet | FileFormat::Avro => Cutting::Csv(self.csv.clone()),
            };
            let sources = Sources { files: Arc::new(files), cutting, ..self.sources.clone() };
            let decoder = self.decoder(group, &wanted);
            plans.push(Arc::new(FileScanExec::new(sources, decoder, self.rejections.clone(), partitions)));
        }
        match plans.len() {
            0 => Ok(Arc::new(EmptyExec::new(projected(&self.schema, &wanted)))),
            1 => Ok(plans.remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let (fields, _) = self.known_values();
        let of_files = filters.iter().map(|filter| match prune::concerns(filter, &fields) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        });
        Ok(of_files.collect())
    }
}

/// The values of a file's virtual columns.
pub(super) fn file_values(url: &ObjectStoreUrl, file: &ObjectMeta) -> [ScalarValue; 2] {
    let name = ScalarValue::Utf8(Some(file_name(url, file.location.as_ref())));
    let modified = file.last_modified.timestamp_micros();
    [name, ScalarValue::TimestampMicrosecond(Some(modified), Some("UTC".into()))]
}
