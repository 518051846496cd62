//! The pass over the rows: each partition by a task of its own, merged when all are done.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
};
use futures::StreamExt as _;

use super::unique::{Counting, duplicates_are_gone};
use super::{Answer, out_of_order, rows};
use crate::error::Error;
use crate::quality::profile::{ColumnProfile, ProfiledColumn, Profiler, Wanted};

/// Profiles its input and gives one batch.
#[derive(Debug, Clone)]
pub(super) struct ProfileExec {
    input: Arc<dyn ExecutionPlan>,
    columns: Arc<[ProfiledColumn]>,
    wanted: Wanted,
    answer: Answer,
    /// The answer's columns that are shown.
    shown: Arc<[usize]>,
    counting: Option<Arc<Counting>>,
    properties: Arc<PlanProperties>,
}

impl ProfileExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        columns: Arc<[ProfiledColumn]>,
        wanted: Wanted,
        answer: Answer,
        (schema, shown): (SchemaRef, Vec<usize>),
        counting: Option<Arc<Counting>>,
    ) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self { input, columns, wanted, answer, shown: shown.into(), counting, properties }
    }

    /// The profiles of all partitions, merged in their order.
    async fn profiles(&self, context: &Arc<TaskContext>) -> Result<Vec<ColumnProfile>> {
        let mut tasks = Vec::new();
        for partition in 0..self.input.output_partitioning().partition_count() {
            let batches = self.input.execute(partition, Arc::clone(context))?;
            let memory = MemoryConsumer::new(format!("ProfileExec[{partition}]")).register(context.memory_pool());
            let profiler = Profiler::new(&self.columns, self.wanted);
            tasks.push(SpawnedTask::spawn(profiled(profiler, batches, memory)));
        }
        let mut whole = Profiler::new(&self.columns, self.wanted);
        let mut held = Vec::with_capacity(tasks.len());
        for task in tasks {
            let (profiler, memory) =
                task.await.map_err(|_| out_of_order("a task of the profile failed")).and_then(|profiled| profiled)?;
            whole.merge(profiler).map_err(Error::into_datafusion)?;
            held.push(memory);
        }
        whole.finish().map_err(Error::into_datafusion)
    }
}

/// The profile of a stream, and the memory that it holds.
async fn profiled(
    mut profiler: Profiler,
    mut batches: SendableRecordBatchStream,
    memory: MemoryReservation,
) -> Result<(Profiler, MemoryReservation)> {
    while let Some(batch) = batches.next().await {
        profiler.push(&batch?).map_err(Error::into_datafusion)?;
        memory.try_resize(profiler.size())?;
    }
    Ok((profiler, memory))
}

impl DisplayAs for ProfileExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        write!(f, "ProfileExec: columns=[{}]", columns.join(", "))
    }
}

impl ExecutionPlan for ProfileExec {
    fn name(&self) -> &'static str {
        "ProfileExec"
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
        let rows = async move {
            let profiles = this.profiles(&context).await?;
            let batch = match &this.answer {
                Answer::Figures(types) => rows::figures(&this.columns, types, &profiles),
                Answer::Suggestions(table) => {
                    let unique = duplicates_are_gone(table, &profiles, this.counting.as_deref(), &context).await?;
                    rows::suggestions(&table.suggestions(&profiles, &unique))
                }
            };
            Ok(batch.map_err(Error::into_datafusion)?.project(&this.shown)?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(rows))))
    }
}
