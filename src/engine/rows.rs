//! Tables whose rows are those of another plan with more columns, which are computed for a few rows at a time: a long computation gives
//! way, and ends when its statement does.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Column;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
};
use futures::TryStreamExt as _;

use crate::error::Error;

/// What becomes of rows, each by itself.
pub trait Widening: fmt::Debug + Send + Sync {
    /// Of the rows that it gives.
    fn schema(&self) -> SchemaRef;
    /// Columns that stay as they are, the first ones: the plan's have the same names.
    fn kept(&self) -> usize;
    /// Rows that it takes at a time.
    fn rows_max(&self) -> usize;
    /// What computes the rows of one partition, with the memory for what it keeps from one batch to the next.
    fn start(&self, memory: MemoryReservation) -> Box<dyn Widener>;
}

/// What computes the rows of one partition while a statement runs.
#[async_trait]
pub trait Widener: Send {
    /// A row for each row. What takes longer than some milliseconds gives way meanwhile, and ends where it is dropped.
    ///
    /// # Errors
    /// Its own.
    async fn widen(&mut self, batch: &RecordBatch) -> crate::error::Result<RecordBatch>;
}

/// The table.
#[derive(Debug)]
pub struct WideTable {
    input: LogicalPlan,
    widening: Arc<dyn Widening>,
}

impl WideTable {
    pub fn new(input: LogicalPlan, widening: Arc<dyn Widening>) -> Self {
        Self { input, widening }
    }

    pub fn input(&self) -> &LogicalPlan {
        &self.input
    }

    pub fn with_input(&self, input: LogicalPlan) -> Self {
        Self { input, widening: Arc::clone(&self.widening) }
    }
}

#[async_trait]
impl TableProvider for WideTable {
    fn schema(&self) -> SchemaRef {
        self.widening.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    /// Rows that nobody wants are not computed.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let schema = self.widening.schema();
        let stays = |column: &Column| schema.index_of(&column.name).is_ok_and(|at| at < self.widening.kept());
        let takes = |filter: &&Expr| match filter.column_refs().into_iter().all(stays) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(takes).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut input = LogicalPlanBuilder::from(self.input.clone());
        for filter in filters {
            input = input.filter(unnormalize_col(filter.clone()))?;
        }
        if limit.is_some() {
            input = input.limit(0, limit)?;
        }
        let input = state.create_physical_plan(&input.build()?).await?;
        let whole = self.widening.schema();
        let shown = projection.cloned().unwrap_or_else(|| (0..whole.fields().len()).collect());
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::new(whole.project(&shown)?)),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Ok(Arc::new(WideExec { input, widening: Arc::clone(&self.widening), shown: shown.into(), properties }))
    }
}

#[derive(Debug, Clone)]
struct WideExec {
    input: Arc<dyn ExecutionPlan>,
    widening: Arc<dyn Widening>,
    shown: Arc<[usize]>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for WideExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WideExec")
    }
}

impl ExecutionPlan for WideExec {
    fn name(&self) -> &'static str {
        "WideExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.into_iter().next() else { return Ok(self) };
        let partitions = Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
        let properties = Arc::new(self.properties.as_ref().clone().with_partitioning(partitions));
        Ok(Arc::new(Self { input, properties, ..self.as_ref().clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new(format!("WideExec[{partition}]")).register(context.memory_pool());
        let batches = self.input.execute(partition, context)?;
        let shown = Arc::clone(&self.shown);
        let rows_max = self.widening.rows_max().max(1);
        let widener = self.widening.start(memory);
        // The rest of a batch waits for its turn.
        let wide = futures::stream::try_unfold((batches, None, widener), move |(mut batches, rest, mut widener)| {
            let shown = Arc::clone(&shown);
            async move {
                tokio::task::yield_now().await;
                let rest: Option<RecordBatch> = rest;
                let batch = match rest {
                    Some(batch) => batch,
                    None => match batches.try_next().await? {
                        Some(batch) => batch,
                        None => return Ok(None),
                    },
                };
                let taken = batch.num_rows().min(rows_max);
                let rest = (taken < batch.num_rows()).then(|| batch.slice(taken, batch.num_rows() - taken));
                let rows = widener.widen(&batch.slice(0, taken)).await.map_err(Error::into_datafusion)?;
                Ok(Some((rows.project(&shown)?, (batches, rest, widener))))
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), wide)))
    }
}
