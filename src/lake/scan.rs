//! The provider of one version's rows: DataFusion's own Parquet scan over the files that the log names.
//!
//! Nothing is read to plan a scan: files, partition values and statistics come from the loaded log. What the plain scan
//! cannot read (column mapping, files elsewhere) goes through delta-rs' scan. Deleted rows are filtered out.

mod delegated;
mod pruning;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileSource;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, ScalarUDF, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::{CastExpr, Column as PhysicalColumn, cast};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use parquet::arrow::RowNumber;
use parquet::arrow::async_reader::AsyncFileReader;

pub use pruning::FILES_SKIPPED;
use pruning::tell_skipped;
pub(super) use pruning::{cannot_fail, unqualified};

use super::columns::scanned_type;
use super::data_file::DataFile;
use super::footers;
use super::interval::DecodeInterval;
use super::live::Files;
use super::table::Table;
use super::vectors::{self, Alive};
use crate::error::Error;

/// A table's rows at its version.
#[derive(Debug)]
pub(super) struct LakeScan {
    table: Arc<Table>,
    /// Other files than the table's.
    others: Option<Arc<Files>>,
    /// File columns and then partition columns, as the Parquet scan numbers them.
    pub(super) scanned: TableSchema,
    /// For each column of the provider its number in `scanned`.
    positions: Vec<usize>,
    /// The table's columns; of a tagged scan also the file's number and the row's.
    schema: SchemaRef,
    tagged: bool,
    /// The only files to read, in order.
    only: Option<Vec<usize>>,
}

/// Deletion vectors that a scan asks for at a time.
const VECTORS_AT_A_TIME: usize = 16;

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
        Self { table, others: None, scanned, positions, schema, tagged: false, only: None }
    }

    /// Files that are not, or not as such, the table's: with columns in the files and constants of the files behind the table's
    /// own ones.
    pub(super) fn of_files(
        table: Arc<Table>,
        files: Vec<Arc<DataFile>>,
        in_files: Vec<FieldRef>,
        constants: Vec<FieldRef>,
    ) -> Self {
        let own = table.file_schema.fields().iter().cloned();
        let file_schema = Schema::new(own.chain(in_files.iter().cloned()).collect::<Vec<_>>());
        let partition: Vec<FieldRef> = table.partition_fields.iter().chain(&constants).cloned().collect();
        let scanned = TableSchema::builder(Arc::new(file_schema)).with_table_partition_cols(partition).build();
        let fields = table.arrow_schema().fields().iter().map(|field| {
            // Files of other versions may lack the column.
            Arc::new(field.as_ref().clone().with_nullable(true))
        });
        let schema = Schema::new(fields.chain(in_files).chain(constants).collect::<Vec<_>>());
        let fields = schema.fields().iter();
        let positions = fields.filter_map(|field| scanned.table_schema().index_of(field.name()).ok()).collect();
        let files = table.location.live.hold(table.location(), files);
        Self { table, others: Some(files), scanned, positions, schema: Arc::new(schema), tagged: false, only: None }
    }

    pub(super) fn data_files(&self) -> &Arc<Files> {
        self.others.as_ref().unwrap_or(&self.table.files)
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
        Self { table, others: None, scanned, positions, schema, tagged: true, only: None }
    }

    /// The same of some of the files.
    pub(super) fn only(mut self, mut files: Vec<usize>) -> Self {
        files.sort_unstable();
        self.only = Some(files);
        self
    }

    /// All columns of some files.
    pub(super) async fn files(&self, state: &dyn Session, files: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let plan = self.rows(state, files, &all, None).await?;
        self.decode(state, plan, &self.schema)
    }

    /// Some columns of some files.
    pub(super) async fn columns(
        &self,
        state: &dyn Session,
        files: &[usize],
        columns: &[usize],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.rows(state, files, columns, None).await?;
        self.decode(state, plan, &self.schema.project(columns)?)
    }

    /// Columns of the rows of some files that are still there. Files without deleted rows are read as they are.
    async fn rows(
        &self,
        state: &dyn Session,
        files: &[usize],
        columns: &[usize],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let has_deleted = |number: &usize| self.data_files().get(*number).is_some_and(|file| file.vector.is_some());
        let (cut, whole): (Vec<usize>, Vec<usize>) = files.iter().partition(|number| has_deleted(number));
        if cut.is_empty() {
            return self.parquet(state, files, self.placed(columns), limit);
        }
        let kept = self.undeleted(state, &cut, columns).await?;
        if whole.is_empty() {
            return Ok(kept);
        }
        UnionExec::try_new(vec![self.parquet(state, &whole, self.placed(columns), limit)?, kept])
    }

    fn placed(&self, columns: &[usize]) -> Vec<usize> {
        columns.iter().filter_map(|column| self.positions.get(*column).copied()).collect()
    }

    /// Columns of files with deleted rows: read with their numbers, and without those that the files' vectors name.
    async fn undeleted(
        &self,
        state: &dyn Session,
        files: &[usize],
        columns: &[usize],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut deleted = HashMap::new();
        let location = &self.table.location;
        let numbered = files.iter().filter_map(|number| Some((*number, Arc::clone(self.data_files().get(*number)?))));
        let mut vectors = futures::stream::iter(numbered.collect::<Vec<_>>())
            .map(|(number, file)| async move { Ok::<_, Error>((number, vectors::deleted(location, &file).await?)) })
            .buffer_unordered(VECTORS_AT_A_TIME);
        while let Some((number, rows)) = vectors.try_next().await.map_err(Error::into_datafusion)? {
            deleted.insert(i32::try_from(number).unwrap_or(i32::MAX), rows);
        }
        let tagged = if self.tagged { None } else { Some(Self::tagged(Arc::clone(&self.table))) };
        let tagged = tagged.as_ref().unwrap_or(self);
        // File and row stand behind the table's own columns.
        let tags = self.table.arrow_schema().fields().len();
        let mut wanted = columns.to_vec();
        let at: Vec<usize> = [tags, tags + 1]
            .into_iter()
            .map(|tag| match wanted.iter().position(|column| *column == tag) {
                Some(at) => at,
                None => {
                    wanted.push(tag);
                    wanted.len() - 1
                }
            })
            .collect();
        let plan = tagged.parquet(state, files, tagged.placed(&wanted), None)?;
        let arguments = TAGS.iter().zip(at).map(|(name, at)| Arc::new(PhysicalColumn::new(name, at)) as _).collect();
        let alive = ScalarFunctionExpr::new(
            "lakegate:alive",
            Arc::new(ScalarUDF::from(Alive::new(deleted))),
            arguments,
            Arc::new(Field::new("lakegate:alive", DataType::Boolean, false)),
            Arc::clone(state.config().options()),
        );
        let plan: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(Arc::new(alive), plan)?);
        if wanted.len() == columns.len() {
            return Ok(plan);
        }
        let schema = plan.schema();
        let kept = schema.fields().iter().take(columns.len()).enumerate().map(|(index, field)| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(PhysicalColumn::new(field.name(), index));
            (column, field.name().clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(kept.collect::<Vec<_>>(), plan)?))
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
        let (url, store) = (self.table.location.url.clone(), &self.table.location.store);
        // A plan asks for it when it runs.
        runtime.register_object_store(url.as_ref(), Arc::clone(store));
        let options = state.default_table_options().parquet;
        let footer_bytes = options.global.metadata_size_hint;
        let readers = footers::readers(runtime, &url, Arc::clone(store));
        let readers = Readers { readers, _held: Arc::clone(self.data_files()) };
        let mut source = ParquetSource::new(self.scanned.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        if let Some(bytes) = footer_bytes {
            source = source.with_metadata_size_hint(bytes);
        }
        let schema = self.scanned.table_schema();
        let files =
            files.iter().filter_map(|number| Some(self.partitioned_file(*number, self.data_files().get(*number)?)));
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
        let session = Arc::new(delegated::session(session, &self.table)?);
        let provider = self.table.delta.table_provider().with_session(Arc::clone(&session)).await?;
        let of = provider.schema();
        let projection = wanted.fields().iter().map(|field| of.index_of(field.name()));
        let projection = projection.collect::<std::result::Result<Vec<_>, _>>()?;
        // Filters would be used for pruning at most, and theirs may not take our types: they run above the scan anyway.
        let plan = provider.scan(&*session, Some(&projection), &[], None).await?;
        delegated::check_places(&plan, &self.table)?;
        noted(self.decode(state, plan, wanted)?, wanted)
    }
}

/// Opens files. A plan holds it as long as it may open one, and with it the files: nobody removes them.
#[derive(Debug)]
struct Readers {
    readers: CachedParquetFileReaderFactory,
    _held: Arc<Files>,
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        self.readers.create_reader(partition, file, metadata_size_hint, metrics)
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
        Ok(filters
            .iter()
            .map(|filter| match self.decides(filter) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Inexact,
            })
            .collect())
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
        if self.table.special && self.others.is_none() {
            if self.tagged {
                let message = "changing rows of a table with column mapping or with files elsewhere";
                return Err(Error::unsupported(message).into_datafusion());
            }
            return self.delegate(state, &wanted).await;
        }
        let (files, skipped) = self.select(state, filters)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(wanted)));
        }
        let plan = self.rows(state, &files, projection, limit).await?;
        tell_skipped(plan.as_ref(), skipped);
        self.decode(state, plan, &wanted)
    }
}

/// The files of a tagged scan, if the plan gives every row of each of them: then nothing has to be read to know which rows
/// they are.
pub(super) fn whole_files(plan: &Arc<dyn ExecutionPlan>) -> Option<BTreeSet<usize>> {
    if plan.is::<EmptyExec>() {
        return Some(BTreeSet::new());
    }
    let is_transparent = plan.is::<ProjectionExec>() || plan.is::<RepartitionExec>() || plan.is::<CooperativeExec>();
    if let (true, [child]) = (is_transparent, plan.children().as_slice()) {
        return whole_files(child);
    }
    let (config, source) = plan.downcast_ref::<DataSourceExec>()?.downcast_to_file_source::<ParquetSource>()?;
    if config.limit.is_some() || source.filter().is_some() {
        return None;
    }
    let files = config.file_groups.iter().flat_map(FileGroup::iter);
    files
        .map(|file| match file.partition_values.last() {
            Some(ScalarValue::Int32(Some(number))) => usize::try_from(*number).ok(),
            _ => None,
        })
        .collect()
}
