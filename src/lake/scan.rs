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
use datafusion::physical_expr::expressions::{Column as PhysicalColumn, cast};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use object_store::ObjectMeta;

use super::columns::scanned_type;
use super::data_file::DataFile;
use super::interval::DecodeInterval;
use super::table::Table;

/// A table's rows at its version.
#[derive(Debug)]
pub(super) struct LakeScan {
    table: Arc<Table>,
    /// File columns and then partition columns, as the Parquet scan numbers them.
    scanned: TableSchema,
    /// For each column of the table its number in `scanned`.
    positions: Vec<usize>,
}

impl LakeScan {
    pub(super) fn new(table: Arc<Table>) -> Self {
        let scanned = TableSchema::builder(Arc::clone(&table.file_schema))
            .with_table_partition_cols(table.partition_fields.clone())
            .build();
        let fields = table.arrow_schema().fields().iter();
        // Every column of the table is one of the two kinds.
        let positions = fields.filter_map(|field| scanned.table_schema().index_of(field.name()).ok()).collect();
        Self { table, scanned, positions }
    }

    /// The files that may hold rows for the filters.
    fn prune(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<Arc<DataFile>>> {
        let files = &self.table.files;
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(files.clone()) };
        let schema = self.table.arrow_schema();
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(schema))?)?;
        // What cannot be used for pruning is no error: the filter itself runs above the scan.
        let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema));
        let Some(predicate) = builder.build(filter) else { return Ok(files.clone()) };
        let kept = predicate.prune(&LogStatistics { files, schema: self.scanned.table_schema() })?;
        Ok(files.iter().zip(kept).filter(|(_, keep)| *keep).map(|(file, _)| Arc::clone(file)).collect())
    }

    fn partitioned_file(&self, file: &DataFile) -> PartitionedFile {
        let last_modified = chrono::DateTime::from_timestamp_millis(file.modified_ms).unwrap_or_default();
        let meta =
            ObjectMeta { location: file.path.clone(), last_modified, size: file.bytes, e_tag: None, version: None };
        let mut partitioned = PartitionedFile::new_from_meta(meta).with_partition_values(file.partition.clone());
        partitioned.statistics = Some(Arc::clone(&file.statistics));
        partitioned
    }

    /// DataFusion's Parquet scan of those files, with the columns at `positions` of `scanned`.
    fn parquet(
        &self,
        state: &dyn Session,
        files: &[Arc<DataFile>],
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
        let statistics = Statistics::try_merge_iter(files.iter().map(|file| file.statistics.as_ref()), schema)?;
        let all = FileGroup::new(files.iter().map(|file| self.partitioned_file(file)).collect());
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
        self.decode(state, plan, wanted)
    }
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
        Arc::clone(self.table.arrow_schema())
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
        let schema = self.table.arrow_schema();
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let wanted = Arc::new(schema.project(projection)?);
        if self.table.special {
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
