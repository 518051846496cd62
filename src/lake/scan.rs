//! The provider of one version's rows: DataFusion's own Parquet scan over the files that the log names.
//!
//! Nothing is read to plan a scan: files, partition values and statistics come from the loaded log. What the plain scan
//! cannot read (deleted rows, column mapping) goes through delta-rs' scan.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ScalarUDF, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::{CastExpr, Column as PhysicalColumn, cast};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use object_store::ObjectMeta;
use parquet::arrow::RowNumber;

use super::columns::scanned_type;
use super::data_file::DataFile;
use super::interval::DecodeInterval;
use super::table::Table;
use crate::error::Error;

/// A table's rows at its version.
#[derive(Debug)]
pub(super) struct LakeScan {
    table: Arc<Table>,
    /// File columns and then partition columns, as the Parquet scan numbers them.
    scanned: TableSchema,
    /// For each column of the provider its number in `scanned`.
    positions: Vec<usize>,
    /// The table's columns; of a tagged scan also the file's number and the row's.
    schema: SchemaRef,
    tagged: bool,
}

/// Names of a tagged scan's last two columns. No user's column has a colon unless quoted, and Delta's schema wins then.
const TAGS: [&str; 2] = ["lakegate:file", "lakegate:row"];

impl LakeScan {
    pub(super) fn new(table: Arc<Table>) -> Self {
        let scanned = TableSchema::builder(Arc::clone(&table.file_schema))
            .with_table_partition_cols(table.partition_fields.clone())
            .build();
        let fields = table.arrow_schema().fields().iter();
        // Every column of the table is one of the two kinds.
        let positions = fields.filter_map(|field| scanned.table_schema().index_of(field.name()).ok()).collect();
        let schema = Arc::clone(table.arrow_schema());
        Self { table, scanned, positions, schema, tagged: false }
    }

    /// The same with two more columns: the number of the row's file in the table's list, and of the row in its file.
    pub(super) fn tagged(table: Arc<Table>) -> Self {
        let file = Field::new(TAGS[0], DataType::Int32, true);
        let row = Field::new(TAGS[1], DataType::Int64, true).with_extension_type(RowNumber);
        let mut partition_fields = table.partition_fields.clone();
        partition_fields.push(Arc::new(file.clone()));
        let scanned = TableSchema::builder(Arc::clone(&table.file_schema))
            .with_table_partition_cols(partition_fields)
            .with_virtual_columns(vec![Arc::new(row)])
            .build();
        let mut fields = table.arrow_schema().fields().to_vec();
        // The reader's mark is for its own column only.
        fields.extend([Arc::new(file), Arc::new(Field::new(TAGS[1], DataType::Int64, true))]);
        let positions = fields.iter().filter_map(|field| scanned.table_schema().index_of(field.name()).ok()).collect();
        let schema = Arc::new(Schema::new(fields));
        Self { table, scanned, positions, schema, tagged: true }
    }

    /// All columns of some files.
    pub(super) fn files(&self, state: &dyn Session, files: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.parquet(state, files, self.positions.clone(), None)?;
        self.decode(state, plan, &self.schema)
    }

    /// Numbers of the files that may hold rows for the filters.
    fn prune(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<usize>> {
        let files = &self.table.files;
        let all = || (0..files.len()).collect();
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(all()) };
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&self.schema))?)?;
        // What cannot be used for pruning is no error: the filter itself runs above the scan.
        let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&self.schema));
        let Some(predicate) = builder.build(filter) else { return Ok(all()) };
        let kept = predicate.prune(&LogStatistics { files, schema: self.scanned.table_schema() })?;
        Ok(kept.iter().enumerate().filter_map(|(number, keep)| keep.then_some(number)).collect())
    }

    fn partitioned_file(&self, number: usize, file: &DataFile) -> PartitionedFile {
        let last_modified = chrono::DateTime::from_timestamp_millis(file.modified_ms).unwrap_or_default();
        let meta =
            ObjectMeta { location: file.path.clone(), last_modified, size: file.bytes, e_tag: None, version: None };
        let mut values = file.partition.clone();
        if self.tagged {
            values.push(ScalarValue::Int32(i32::try_from(number).ok()));
        }
        let mut partitioned = PartitionedFile::new_from_meta(meta).with_partition_values(values);
        partitioned.statistics = Some(self.statistics(file));
        partitioned
    }

    /// Of the scanned columns. Nothing is known of the tags.
    fn statistics(&self, file: &DataFile) -> Arc<Statistics> {
        if !self.tagged {
            return Arc::clone(&file.statistics);
        }
        let mut statistics = file.statistics.as_ref().clone();
        statistics.column_statistics.extend([ColumnStatistics::new_unknown(), ColumnStatistics::new_unknown()]);
        Arc::new(statistics)
    }

    /// DataFusion's Parquet scan of those files, with the columns at `positions` of `scanned`.
    fn parquet(
        &self,
        state: &dyn Session,
        files: &[usize],
        positions: Vec<usize>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let runtime = state.runtime_env();
        let url = self.table.location.url.clone();
        runtime.register_object_store(url.as_ref(), Arc::clone(&self.table.location.store));
        let store = runtime.object_store(&url)?;
        let metadata = runtime.cache_manager.get_file_metadata_cache();
        let options = state.default_table_options().parquet;
        let footer_bytes = options.global.metadata_size_hint;
        let mut source = ParquetSource::new(self.scanned.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(store, metadata)));
        if let Some(bytes) = footer_bytes {
            source = source.with_metadata_size_hint(bytes);
        }
        let schema = self.scanned.table_schema();
        let files =
            files.iter().filter_map(|number| Some(self.partitioned_file(*number, self.table.files.get(*number)?)));
        let all = FileGroup::new(files.collect());
        let of_files = all.iter().filter_map(|file| file.statistics.as_deref());
        let statistics = Statistics::try_merge_iter(of_files, schema)?;
        let groups = all.split_files(state.config().target_partitions()).into_iter().map(|group| {
            let of_files = group.iter().filter_map(|file| file.statistics.as_deref());
            let merged = Statistics::try_merge_iter(of_files, schema)?;
            Ok(group.with_statistics(Arc::new(merged)))
        });
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups.collect::<Result<Vec<_>>>()?)
            .with_statistics(statistics)
            .with_projection_indices(Some(positions))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Decodes the columns that Parquet's own types do not carry.
    fn decode(
        &self,
        state: &dyn Session,
        plan: Arc<dyn ExecutionPlan>,
        wanted: &Schema,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scanned = plan.schema();
        if wanted.fields().iter().zip(scanned.fields()).all(|(to, from)| to.data_type() == from.data_type()) {
            return Ok(plan);
        }
        let columns = wanted.fields().iter().enumerate().map(|(index, field)| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(PhysicalColumn::new(field.name(), index));
            let expr = decoded(state, column, &scanned, field)?;
            Ok((expr, field.name().clone()))
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Result<Vec<_>>>()?, plan)?))
    }

    /// delta-rs' scan of what only it can read.
    async fn delegate(&self, state: &dyn Session, wanted: &Schema) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(session) = state.as_any().downcast_ref::<SessionState>() else {
            return Err(DataFusionError::Internal("this table can be scanned by a SessionState only".to_owned()));
        };
        let delta = &self.table.delta;
        delta.update_datafusion_session(session).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let provider = delta.table_provider().with_session(Arc::new(session.clone())).await?;
        let of = provider.schema();
        let projection = wanted.fields().iter().map(|field| of.index_of(field.name()));
        let projection = projection.collect::<std::result::Result<Vec<_>, _>>()?;
        // Filters would be used for pruning at most, and theirs may not take our types: they run above the scan anyway.
        let plan = provider.scan(state, Some(&projection), &[], None).await?;
        noted(self.decode(state, plan, wanted)?, wanted)
    }
}

/// The plan with the fields' own notes: its schema must be the one that was promised.
fn noted(plan: Arc<dyn ExecutionPlan>, wanted: &Schema) -> Result<Arc<dyn ExecutionPlan>> {
    if plan.schema().fields() == wanted.fields() {
        return Ok(plan);
    }
    let columns = wanted.fields().iter().enumerate().map(|(index, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(PhysicalColumn::new(field.name(), index));
        let noted = CastExpr::new_with_target_field(column, Arc::clone(field), None);
        (Arc::new(noted) as Arc<dyn PhysicalExpr>, field.name().clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), plan)?))
}

/// The column in the engine's type.
fn decoded(
    state: &dyn Session,
    column: Arc<dyn PhysicalExpr>,
    scanned: &Schema,
    field: &Arc<Field>,
) -> Result<Arc<dyn PhysicalExpr>> {
    if !matches!(field.data_type(), DataType::Interval(_)) {
        return cast(column, scanned, field.data_type().clone());
    }
    let text = cast(column, scanned, scanned_type(field.data_type()))?;
    let function = Arc::new(ScalarUDF::from(DecodeInterval::new()));
    let options = Arc::clone(state.config().options());
    Ok(Arc::new(ScalarFunctionExpr::new(field.name(), function, vec![text], Arc::clone(field), options)))
}

#[async_trait]
impl TableProvider for LakeScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let wanted = Arc::new(self.schema.project(projection)?);
        if self.table.special {
            if self.tagged {
                let message = "changing rows of a table with deletion vectors or column mapping";
                return Err(Error::unsupported(message).into_datafusion());
            }
            return self.delegate(state, &wanted).await;
        }
        let files = self.prune(state, filters)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(wanted)));
        }
        let positions = projection.iter().filter_map(|column| self.positions.get(*column).copied()).collect();
        let plan = self.parquet(state, &files, positions, limit)?;
        self.decode(state, plan, &wanted)
    }
}

/// What the log says about the files, for pruning. Bounds that are not a column's own values serve as well.
struct LogStatistics<'a> {
    files: &'a [Arc<DataFile>],
    schema: &'a SchemaRef,
}

impl LogStatistics<'_> {
    fn values(&self, column: &Column, of: impl Fn(&ColumnStatistics) -> &Precision<ScalarValue>) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok()?;
        let null = ScalarValue::try_from(self.schema.field(index).data_type()).ok()?;
        let values = self.files.iter().map(|file| {
            let statistics = file.statistics.column_statistics.get(index);
            statistics.and_then(|statistics| of(statistics).get_value()).unwrap_or(&null).clone()
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for LogStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |statistics| &statistics.min_value)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |statistics| &statistics.max_value)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok()?;
        let counts = self.files.iter().map(|file| {
            let count = file.statistics.column_statistics.get(index)?.null_count.get_value().copied()?;
            Some(count as u64)
        });
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| file.rows()).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &std::collections::HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
