//! Uncorrelated scalar subqueries whose errors count when their value is asked for.
//!
//! The engine computes them before the plan that uses them, and fails with them even when no row asks: PostgreSQL computes
//! them at their first use.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ScalarValue, Statistics};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::ScalarSubqueryResults;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::scalar_subquery::{ScalarSubqueryExec, ScalarSubqueryLink};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
    execute_stream,
};
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::OnceCell;

use crate::error::{Error, SqlState};

/// The node in the place of the engine's own.
pub(super) fn lazy(node: &ScalarSubqueryExec) -> Arc<dyn ExecutionPlan> {
    Arc::new(Subqueries::new(Arc::clone(node.input()), node.subqueries().to_vec(), node.results().clone()))
}

/// The first failure.
type Failure = Option<Arc<DataFusionError>>;

#[derive(Debug)]
struct Subqueries {
    input: Arc<dyn ExecutionPlan>,
    subqueries: Vec<ScalarSubqueryLink>,
    /// Where the input's expressions find the values; one that is missing is an internal error to them.
    results: ScalarSubqueryResults,
    /// All partitions of the input wait for the same run.
    run: Arc<OnceCell<Failure>>,
}

impl Subqueries {
    fn new(input: Arc<dyn ExecutionPlan>, subqueries: Vec<ScalarSubqueryLink>, results: ScalarSubqueryResults) -> Self {
        Self { input, subqueries, results, run: Arc::default() }
    }
}

/// Computes them all; those that fail have no value.
async fn run(
    subqueries: Vec<ScalarSubqueryLink>,
    results: ScalarSubqueryResults,
    context: Arc<TaskContext>,
) -> Failure {
    let values = join_all(subqueries.iter().map(|link| value_of(Arc::clone(&link.plan), Arc::clone(&context)))).await;
    let mut failure = None;
    for (link, value) in subqueries.iter().zip(values) {
        let told = value.and_then(|value| match results.get(link.index) {
            Some(_) => Ok(()),
            None => results.set(link.index, value),
        });
        if let Err(error) = told {
            failure.get_or_insert(Arc::new(error));
        }
    }
    failure
}

/// The only value; NULL without rows.
async fn value_of(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<ScalarValue> {
    let schema = plan.schema();
    let [field] = schema.fields().as_ref() else {
        return Err(Error::internal("a scalar subquery without its one column").into_datafusion());
    };
    let mut stream = execute_stream(plan, context)?;
    let mut value = None;
    while let Some(batch) = stream.next().await.transpose()? {
        if batch.num_rows() == 0 {
            continue;
        }
        if value.is_some() || batch.num_rows() > 1 {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(Error::new(SqlState::CardinalityViolation, message).into_datafusion());
        }
        value = Some(ScalarValue::try_from_array(batch.column(0), 0)?);
    }
    match value {
        Some(value) => Ok(value),
        None => ScalarValue::try_from(field.data_type()),
    }
}

impl DisplayAs for Subqueries {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "ScalarSubqueryExec: subqueries={}", self.subqueries.len())
            }
            DisplayFormatType::TreeRender => Ok(()),
        }
    }
}

impl ExecutionPlan for Subqueries {
    fn name(&self) -> &'static str {
        "ScalarSubqueryExec"
    }

    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        std::iter::once(&self.input).chain(self.subqueries.iter().map(|link| &link.plan)).collect()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut children = children.into_iter();
        let Some(input) = children.next() else { return Ok(self) };
        let links = self.subqueries.iter().zip(children);
        let links = links.map(|(link, plan)| ScalarSubqueryLink { plan, index: link.index }).collect();
        Ok(Arc::new(Self::new(input, links, self.results.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        self.results.clear();
        Ok(Arc::new(Self::new(Arc::clone(&self.input), self.subqueries.clone(), self.results.clone())))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        let input = std::iter::once(ChildStats::At(partition));
        input.chain(self.subqueries.iter().map(|_| ChildStats::Skip)).collect()
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let of_input = || Statistics::new_unknown(&self.input.schema());
        Ok(inputs.first().cloned().unwrap_or_else(|| Arc::new(of_input())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (subqueries, results) = (self.subqueries.clone(), self.results.clone());
        let (input, once) = (Arc::clone(&self.input), Arc::clone(&self.run));
        let rows = async move {
            let failure = once.get_or_init(|| run(subqueries, results, Arc::clone(&context))).await.clone();
            let rows = input.execute(partition, context)?;
            let Some(failure) = failure else { return Ok::<_, DataFusionError>(rows) };
            let rows = rows.map_err(move |error| match error.find_root() {
                // A row asked for a value that is missing.
                DataFusionError::Internal(_) => DataFusionError::Shared(Arc::clone(&failure)),
                _ => error,
            });
            Ok(Box::pin(RecordBatchStreamAdapter::new(input.schema(), rows)) as SendableRecordBatchStream)
        };
        let rows = futures::stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
