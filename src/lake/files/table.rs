//! Files as a table of the engine.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use object_store::{ObjectMeta, ObjectStore};

use super::columnar::{ColumnarTable, columns_of, footers};
use super::format::{FileFormat, FileOptions};
use super::infer::{TextColumns, infer_text};
use super::json::JsonDecoder;
use super::parallel::Rejections;
use super::scan::{Cutting, FileDecoder, FileScanExec, Origin, RecordDecoder, Sources, projected};
use crate::encode::copy::{ChunkDecoder, Header, Options};
use crate::encode::input::InputContext;
use crate::encode::types::{PgType, arrow_type};
use crate::error::Result;

/// The virtual column with the path of the file that a row comes from.
pub const FILE_COLUMN: &str = "_file";
/// The virtual column with the time that the file was last written.
pub const FILE_MODIFIED_COLUMN: &str = "_file_modified";

/// Files in one store, as [`find`](FileSet::find) found them; the list is what is read, whatever appears later.
#[derive(Debug, Clone)]
pub struct FileSet {
    pub store: Arc<dyn ObjectStore>,
    /// Under which the engine's runtime knows the store; Parquet and Avro readers look it up there.
    pub url: ObjectStoreUrl,
    pub files: Arc<Vec<ObjectMeta>>,
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
    if matches!(format, FileFormat::Parquet | FileFormat::Avro) {
        let footers = footers(&set, format).await?;
        let columns = columns_of(&footers.schema);
        let provider = Arc::new(ColumnarTable::new(set, format, footers));
        return Ok(FileTable { provider, columns, rejections });
    }
    let TextColumns { columns, has_header } = infer_text(&set, format, options, columns).await?;
    let mut csv = options.csv.clone();
    csv.header = match (has_header, csv.header) {
        (false, _) => Header::Absent,
        (true, Header::Match) => Header::Match,
        (true, Header::Absent | Header::Present) => Header::Present,
    };
    let provider = Arc::new(TextTable {
        schema: schema_of(&columns),
        compression: options.compression,
        columns: columns.clone(),
        rejections: rejections.clone(),
        set,
        format,
        csv,
        context,
    });
    Ok(FileTable { provider, columns, rejections })
}

fn schema_of(columns: &[(String, PgType)]) -> SchemaRef {
    let mut fields: Vec<Field> = columns.iter().map(|(name, ty)| Field::new(name, arrow_type(*ty), true)).collect();
    fields.extend(file_columns());
    Arc::new(Schema::new(fields))
}

/// A table over CSV or JSON files.
#[derive(Debug)]
struct TextTable {
    set: FileSet,
    format: FileFormat,
    csv: Options,
    compression: Option<super::format::Compression>,
    columns: Vec<(String, PgType)>,
    schema: SchemaRef,
    context: InputContext,
    rejections: Arc<Rejections>,
}

impl TextTable {
    /// The decoder of just the columns that are wanted.
    fn decoder(&self, wanted: &[usize]) -> FileDecoder {
        let count = self.columns.len();
        let data: Vec<usize> = wanted.iter().copied().filter(|column| *column < count).collect();
        let mut next = 0;
        let output = wanted.iter().map(|column| match *column {
            column if column == count => Origin::FileName,
            column if column > count => Origin::FileModified,
            _ => {
                next += 1;
                Origin::Data(next - 1)
            }
        });
        let output = output.collect();
        let records = match self.format {
            FileFormat::Json => {
                let columns = data.iter().filter_map(|column| self.columns.get(*column).cloned()).collect();
                RecordDecoder::Json(JsonDecoder::new(columns, self.context, self.csv.on_error))
            }
            FileFormat::Csv | FileFormat::Parquet | FileFormat::Avro => RecordDecoder::Csv(
                ChunkDecoder::new("COPY", self.csv.clone(), self.columns.clone(), self.context).with_projection(&data),
            ),
        };
        FileDecoder { records, output, schema: projected(&self.schema, wanted) }
    }

    /// As many partitions as cores; one for what is too small to share.
    fn partitions(&self, target: usize) -> usize {
        const SHARED_BYTES_MIN: u64 = 4 << 20;
        let bytes: u64 = self.set.files.iter().map(|file| file.size).sum();
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
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let wanted = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let sources = Sources {
            store: self.set.store.clone(),
            url: self.set.url.clone(),
            files: self.set.files.clone(),
            cutting: match self.format {
                FileFormat::Json => Cutting::Json,
                FileFormat::Csv | FileFormat::Parquet | FileFormat::Avro => Cutting::Csv(self.csv.clone()),
            },
            compression: self.compression,
        };
        let partitions = self.partitions(state.config().target_partitions());
        Ok(Arc::new(FileScanExec::new(sources, self.decoder(&wanted), self.rejections.clone(), partitions)))
    }
}
