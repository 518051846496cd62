//! Parquet and Avro files: their merged schema, and a table over DataFusion's readers with our list of files.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::arrow_avro::reader::ReaderBuilder;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat as DataFusionFormat;
use datafusion::datasource::file_format::avro::AvroFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::format::FileFormat;
use super::headers::repeated;
use super::hive::PathColumns;
use super::prune;
use super::table::{FileSet, file_columns, file_values};
use crate::encode::types::{PgType, arrow_type, format_type, oid, pg_type_of};
use crate::error::{Error, Result, SqlState};
use crate::lake::footers;

/// Footers that are read at a time.
const FOOTERS_AHEAD: usize = 16;
/// An Avro header fits into this.
const AVRO_HEADER_BYTES: u64 = 4 << 20;

/// What the footers say.
#[derive(Debug, Clone)]
pub(super) struct Footers {
    /// The files' schemas merged by name, in the engine's carrier types.
    pub(super) schema: SchemaRef,
    /// Rows of each file, where the format tells.
    rows: Vec<Option<usize>>,
}

impl Footers {
    /// Without columns that the files' paths hold too.
    pub(super) fn without(mut self, is_gone: impl Fn(&str) -> bool) -> Self {
        let left = self.schema.fields().iter().filter(|field| !is_gone(field.name())).cloned();
        self.schema = Arc::new(Schema::new(left.collect::<Vec<_>>()));
        self
    }
}

/// The schema of one file, and its rows where the format tells. It owns what it needs: a future over borrowed files could
/// not be sent between threads.
async fn footer(store: Arc<dyn ObjectStore>, file: ObjectMeta, format: FileFormat) -> Result<(Schema, Option<usize>)> {
    match format {
        FileFormat::Avro => Ok((avro_schema(&store, &file).await?, None)),
        FileFormat::Parquet | FileFormat::Csv | FileFormat::Json => parquet_footer(&store, &file).await,
    }
}

/// The same, with errors that name the file.
async fn named_footer(set: FileSet, file: ObjectMeta, format: FileFormat) -> Result<(Schema, Option<usize>)> {
    let name = set.name(file.location.as_ref());
    footer(set.store, file, format).await.map_err(|error| error.with_context(format!("file \"{name}\"")))
}

/// Reads the schemas of all files. Errors: 42701 when a file has names that differ only by case and they are the same in
/// `any_case`; 42804 when a column's types cannot be united, XX001 for a broken file.
pub(super) async fn footers(set: &FileSet, format: FileFormat, any_case: bool) -> Result<Footers> {
    let found: Vec<(Schema, Option<usize>)> = stream::iter(set.files.as_ref().clone())
        .map(|file| named_footer(set.clone(), file, format).boxed())
        .buffered(FOOTERS_AHEAD)
        .try_collect()
        .await?;
    let mut merged: Vec<Field> = Vec::new();
    for ((schema, _), file) in found.iter().zip(set.files.iter()) {
        let name = set.name(file.location.as_ref());
        if any_case {
            let mut seen = HashSet::new();
            let again = schema.fields().iter().find(|field| !seen.insert(field.name().to_ascii_lowercase()));
            if let Some(again) = again {
                return Err(repeated(again.name()).with_context(format!("file \"{name}\"")));
            }
        }
        merge(&mut merged, schema, format, &name)?;
    }
    Ok(Footers { schema: Arc::new(Schema::new(merged)), rows: found.into_iter().map(|(_, rows)| rows).collect() })
}

async fn parquet_footer(store: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<(Schema, Option<usize>)> {
    let reader = DFParquetMetadata::new(store.as_ref(), file);
    let metadata = reader.fetch_metadata().await?;
    let rows = usize::try_from(metadata.file_metadata().num_rows()).ok();
    let schema = parquet::arrow::parquet_to_arrow_schema(
        metadata.file_metadata().schema_descr(),
        metadata.file_metadata().key_value_metadata(),
    );
    Ok((schema?, rows))
}

async fn avro_schema(store: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<Schema> {
    let head = store.get_range(&file.location, 0..file.size.min(AVRO_HEADER_BYTES)).await?;
    let reader = ReaderBuilder::new().build(std::io::Cursor::new(head));
    let reader = reader.map_err(|error| Error::new(SqlState::DataCorrupted, error.to_string()))?;
    Ok(reader.schema().as_ref().clone())
}

fn merge(merged: &mut Vec<Field>, schema: &Schema, format: FileFormat, file: &str) -> Result<()> {
    for field in schema.fields() {
        let data_type = carrier(field, format);
        match merged.iter_mut().find(|known| known.name() == field.name()) {
            None => {
                let field = Field::new(field.name(), data_type, true).with_metadata(field.metadata().clone());
                merged.push(field);
            }
            Some(known) => {
                let united = unite(known.data_type(), &data_type).ok_or_else(|| {
                    Error::new(
                        SqlState::DatatypeMismatch,
                        format!(
                            "column \"{}\" has type {} in one file and {} in another",
                            field.name(),
                            told(known.data_type()),
                            told(&data_type)
                        ),
                    )
                    .with_context(format!("file \"{file}\""))
                })?;
                known.set_data_type(united);
            }
        }
    }
    Ok(())
}

/// The type as SQL names it.
fn told(data_type: &DataType) -> String {
    if data_type.is_nested() { data_type.to_string() } else { format_type(pg_type_of(data_type)) }
}

/// The engine's carrier of a file's column. Parquet strings stay views, which saves a copy; nested types stay as they are.
fn carrier(field: &Field, format: FileFormat) -> DataType {
    match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if format == FileFormat::Parquet => {
            DataType::Utf8View
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView if format == FileFormat::Parquet => {
            DataType::BinaryView
        }
        DataType::Dictionary(_, value) => carrier(&Field::new("", value.as_ref().clone(), true), format),
        nested if nested.is_nested() => nested.clone(),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        simple => arrow_type(pg_type_of(simple)),
    }
}

/// The type that holds the values of both: integers widen, integers and floats become floats.
fn unite(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Float32, Float64, Int16, Int32, Int64};
    if left == right {
        return Some(left.clone());
    }
    let rank = |data_type: &DataType| [Int16, Int32, Int64].iter().position(|of| of == data_type);
    match (rank(left), rank(right)) {
        (Some(a), Some(b)) => Some(if a > b { left.clone() } else { right.clone() }),
        (Some(_), None) if matches!(right, Float32 | Float64) => Some(Float64),
        (None, Some(_)) if matches!(left, Float32 | Float64) => Some(Float64),
        _ if matches!((left, right), (Float32, Float64) | (Float64, Float32)) => Some(Float64),
        _ => None,
    }
}

/// Names and PostgreSQL types of a schema's columns, by [`TYPE_KEY`](crate::encode::types::TYPE_KEY) where a file says it.
pub(super) fn columns_of(schema: &Schema) -> Vec<(String, PgType)> {
    schema.fields().iter().map(|field| (field.name().clone(), column_type(field))).collect()
}

fn column_type(field: &Field) -> PgType {
    let shown = pg_type_of(field.data_type());
    let Some(text) = field.metadata().get(crate::encode::types::TYPE_KEY) else { return shown };
    // Only what a string carries needs telling; everything else is known from Arrow.
    match (shown.oid, text.as_str()) {
        (oid::TEXT, "json") => PgType::JSON,
        (oid::TEXT, "jsonb") => PgType::JSONB,
        (oid::TEXT, "uuid") => PgType::UUID,
        _ => shown,
    }
}

/// The columns of the paths, then the virtual ones.
fn known_fields(paths: &PathColumns) -> Vec<Field> {
    let fields = paths.columns.iter().map(|(name, ty)| Field::new(name, arrow_type(*ty), true));
    fields.chain(file_columns()).collect()
}

/// A table over Parquet or Avro files.
#[derive(Debug)]
pub(super) struct ColumnarTable {
    set: FileSet,
    format: FileFormat,
    footers: Footers,
    paths: PathColumns,
    schema: TableSchema,
}

impl ColumnarTable {
    pub(super) fn new(set: FileSet, format: FileFormat, footers: Footers, paths: PathColumns) -> Self {
        let extra: Vec<FieldRef> = known_fields(&paths).into_iter().map(Arc::new).collect();
        let schema = TableSchema::builder(footers.schema.clone()).with_table_partition_cols(extra).build();
        Self { set, format, footers, paths, schema }
    }

    /// Of each file what is known without opening it.
    fn known_values(&self) -> Vec<Vec<ScalarValue>> {
        let files = self.set.files.iter().zip(&self.paths.values);
        files.map(|(file, values)| values.iter().cloned().chain(file_values(&self.set.url, file)).collect()).collect()
    }

    fn source(&self, state: &dyn Session) -> Arc<dyn FileSource> {
        match self.format {
            FileFormat::Avro => AvroFormat.file_source(self.schema.clone()),
            FileFormat::Parquet | FileFormat::Csv | FileFormat::Json => {
                let options = state.default_table_options().parquet;
                let footer_bytes = options.global.metadata_size_hint;
                let readers = footers::readers(state.runtime_env(), &self.set.url, Arc::clone(&self.set.store));
                let source = ParquetSource::new(self.schema.clone())
                    .with_table_parquet_options(options)
                    .with_parquet_file_reader_factory(Arc::new(readers));
                Arc::new(match footer_bytes {
                    Some(bytes) => source.with_metadata_size_hint(bytes),
                    None => source,
                })
            }
        }
    }

    fn partitioned_files(&self, state: &dyn Session, filters: &[Expr]) -> DataFusionResult<Vec<PartitionedFile>> {
        let schema = self.schema.file_schema();
        let values = self.known_values();
        let kept = prune::kept(state, filters, &known_fields(&self.paths), &values)?;
        let file = |((file, rows), values): ((&ObjectMeta, &Option<usize>), Vec<ScalarValue>)| {
            let part = PartitionedFile::new_from_meta(file.clone()).with_partition_values(values);
            match rows {
                Some(rows) => {
                    let unknown = Statistics::new_unknown(schema).with_num_rows(Precision::Exact(*rows));
                    part.with_statistics(Arc::new(unknown))
                }
                None => part,
            }
        };
        let files = self.set.files.iter().zip(&self.footers.rows).zip(values).zip(kept);
        Ok(files.filter(|(_, kept)| *kept).map(|(known, _)| file(known)).collect())
    }

    fn statistics(&self) -> Statistics {
        let rows: Option<usize> = self.footers.rows.iter().copied().sum();
        let unknown = Statistics::new_unknown(self.schema.table_schema());
        unknown.with_num_rows(rows.map_or(Precision::Absent, Precision::Exact))
    }
}

#[async_trait]
impl TableProvider for ColumnarTable {
    fn schema(&self) -> SchemaRef {
        self.schema.table_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.statistics())
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        // The filter stays above the scan; the physical optimiser carries it into the reader, which prunes by it.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        // Readers of Avro find the store there, and a plan asks for it in any case.
        state.runtime_env().register_object_store(self.set.url.as_ref(), Arc::clone(&self.set.store));
        let partitions = state.config().target_partitions().max(1);
        let groups = FileGroup::new(self.partitioned_files(state, filters)?).split_files(partitions);
        let config = FileScanConfigBuilder::new(self.set.url.clone(), self.source(state))
            .with_file_groups(groups)
            .with_statistics(self.statistics())
            .with_projection_indices(projection.cloned())?
            // A limit counts rows before the filters above: it is the scan's only without any.
            .with_limit(if filters.is_empty() { limit } else { None })
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
