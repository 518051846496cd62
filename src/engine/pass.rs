//! Tables whose rows are made of one pass over another plan's rows: each partition by a task of its own, put together when all
//! are done.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
};
use futures::StreamExt as _;

use crate::error::Error;

/// What a pass makes of rows.
pub trait Pass: fmt::Debug + Send + Sync {
    /// Of the rows that it gives.
    fn schema(&self) -> SchemaRef;
    /// Nothing gathered yet.
    fn start(&self) -> Box<dyn Gatherer>;
    /// The rows that follow from what the partitions gathered, in their order.
    ///
    /// # Errors
    /// Its own.
    fn finish(&self, gathered: Vec<Box<dyn Gatherer>>) -> crate::error::Result<RecordBatch>;
}

/// What one partition gathers.
#[async_trait]
pub trait Gatherer: Any + Send {
    /// Takes rows. What takes longer than some milliseconds gives way meanwhile, and ends where it is dropped.
    ///
    /// # Errors
    /// Its own.
    async fn push(&mut self, batch: &RecordBatch) -> crate::error::Result<()>;
    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// The table.
#[derive(Debug)]
pub struct PassTable {
    input: LogicalPlan,
    pass: Arc<dyn Pass>,
}

impl PassTable {
    pub fn new(input: LogicalPlan, pass: Arc<dyn Pass>) -> Self {
        Self { input, pass }
    }

    pub fn input(&self) -> &LogicalPlan {
        &self.input
    }

    pub fn with_input(&self, input: LogicalPlan) -> Self {
        Self { input, pass: Arc::clone(&self.pass) }
    }
}

#[async_trait]
impl TableProvider for PassTable {
    fn schema(&self) -> SchemaRef {
        self.pass.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = state.create_physical_plan(&self.input).await?;
        let whole = self.pass.schema();
        let shown = projection.cloned().unwrap_or_else(|| (0..whole.fields().len()).collect());
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::new(whole.project(&shown)?)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Ok(Arc::new(PassExec { input, pass: Arc::clone(&self.pass), shown: shown.into(), properties }))
    }
}

#[derive(Debug, Clone)]
struct PassExec {
    input: Arc<dyn ExecutionPlan>,
    pass: Arc<dyn Pass>,
    shown: Arc<[usize]>,
    properties: Arc<PlanProperties>,
}

impl PassExec {
    async fn gathered(&self, context: &Arc<TaskContext>) -> Result<RecordBatch> {
        let mut tasks = Vec::new();
        for partition in 0..self.input.output_partitioning().partition_count() {
            let batches = self.input.execute(partition, Arc::clone(context))?;
            let memory = MemoryConsumer::new(format!("PassExec[{partition}]")).register(context.memory_pool());
            tasks.push(SpawnedTask::spawn(gathered(self.pass.start(), batches, memory)));
        }
        let mut all = Vec::with_capacity(tasks.len());
        let mut held = Vec::with_capacity(tasks.len());
        for task in tasks {
            let failed = |_| Error::internal("a task of the pass failed").into_datafusion();
            let (gatherer, memory) = task.await.map_err(failed)??;
            all.push(gatherer);
            held.push(memory);
        }
        self.pass.finish(all).map_err(Error::into_datafusion)
    }
}

async fn gathered(
    mut gatherer: Box<dyn Gatherer>,
    mut batches: SendableRecordBatchStream,
    memory: MemoryReservation,
) -> Result<(Box<dyn Gatherer>, MemoryReservation)> {
    while let Some(batch) = batches.next().await {
        gatherer.push(&batch?).await.map_err(Error::into_datafusion)?;
        memory.try_resize(gatherer.bytes())?;
    }
    Ok((gatherer, memory))
}

impl DisplayAs for PassExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PassExec")
    }
}

impl ExecutionPlan for PassExec {
    fn name(&self) -> &'static str {
        "PassExec"
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
        Ok(Arc::new(Self { input, ..self.as_ref().clone() }))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let this = self.clone();
        let schema = self.schema();
        let rows = async move { Ok(this.gathered(&context).await?.project(&this.shown)?) };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(rows))))
    }
}
