//! Whether anybody still waits for a plan's rows.
//!
//! A nested loop join compares whole batches without giving way, for minutes when nothing matches. Dropping its stream ends
//! it only after that. So its condition looks at each step whether an execution is still wanted, and fails when none is.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::{FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{NestedLoopJoinExec, NestedLoopJoinExecBuilder};

use crate::error::{Error, SqlState};

/// The plan with joins that stop when nobody has an [`Interest`] in it any more.
pub(super) fn interruptible(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if !plan.exists(|node| Ok(filter_of(node).is_some()))? {
        return Ok(plan);
    }
    let executions = Arc::new(AtomicUsize::new(0));
    let changed = plan.transform_up(|node| {
        let Some((join, filter)) = filter_of(&node) else { return Ok(Transformed::no(node)) };
        let condition = Wanted { condition: Arc::clone(filter.expression()), executions: Arc::clone(&executions) };
        let columns = filter.column_indices().to_vec();
        let filter = JoinFilter::new(Arc::new(condition), columns, Arc::clone(filter.schema()));
        let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(filter)).build()?;
        Ok(Transformed::yes(Arc::new(join) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(changed.data)
}

fn filter_of(node: &Arc<dyn ExecutionPlan>) -> Option<(&NestedLoopJoinExec, &JoinFilter)> {
    let join = node.downcast_ref::<NestedLoopJoinExec>()?;
    Some((join, join.filter()?))
}

/// Held by whoever waits for an execution of a plan.
#[derive(Debug)]
pub struct Interest(Arc<AtomicUsize>);

impl Interest {
    /// An interest in the plan; `None` when it has no part that asks for one.
    pub(super) fn in_plan(plan: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        let mut found = None;
        let visited = plan.apply(|node| {
            let condition = filter_of(node).and_then(|(_, filter)| filter.expression().downcast_ref::<Wanted>());
            found = condition.map(|condition| Arc::clone(&condition.executions));
            Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        visited.ok()?;
        let executions = found?;
        executions.fetch_add(1, Ordering::Relaxed);
        Some(Self(executions))
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A join's condition that fails once no execution is wanted.
#[derive(Debug)]
struct Wanted {
    condition: Arc<dyn PhysicalExpr>,
    /// All joins of a plan share the number.
    executions: Arc<AtomicUsize>,
}

impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        self.condition.eq(&other.condition)
    }
}

impl Eq for Wanted {}

impl Hash for Wanted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.condition.hash(state);
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.condition, f)
    }
}

impl PhysicalExpr for Wanted {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.executions.load(Ordering::Relaxed) == 0 {
            // Nobody is there to read it.
            return Err(
                Error::new(SqlState::QueryCanceled, "canceling statement due to user request").into_datafusion()
            );
        }
        self.condition.evaluate(batch)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.condition.return_field(input_schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.condition]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let Some(condition) = children.into_iter().next() else { return Ok(self) };
        Ok(Arc::new(Self { condition, executions: Arc::clone(&self.executions) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;
    use futures::StreamExt;

    use super::*;

    async fn join() -> (Arc<dyn ExecutionPlan>, SessionContext) {
        let context = SessionContext::new();
        let sql = "SELECT count(*) FROM generate_series(1, 100) a(x) JOIN generate_series(1, 100) b(y) ON x * y = 12";
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        (interruptible(plan).unwrap(), context)
    }

    #[tokio::test]
    async fn a_join_runs_while_somebody_waits_and_stops_when_nobody_does() {
        let (plan, context) = join().await;
        let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
        assert!(text.contains("NestedLoopJoinExec") && text.contains("* "), "{text}");
        let interest = Interest::in_plan(&plan).unwrap();
        let second = Interest::in_plan(&plan).unwrap();
        drop(second);
        let mut rows = datafusion::physical_plan::execute_stream(Arc::clone(&plan), context.task_ctx()).unwrap();
        assert_eq!(rows.next().await.unwrap().unwrap().num_rows(), 1);
        drop(interest);
        let plan = datafusion::physical_plan::execution_plan::reset_plan_states(plan).unwrap();
        let mut unwanted = datafusion::physical_plan::execute_stream(plan, context.task_ctx()).unwrap();
        let error = Error::from(unwanted.next().await.unwrap().unwrap_err());
        assert_eq!(error.sqlstate(), SqlState::QueryCanceled);
    }

    #[tokio::test]
    async fn other_plans_stay_as_they_are() {
        let context = SessionContext::new();
        let plan = context.sql("SELECT 1").await.unwrap().create_physical_plan().await.unwrap();
        let same = interruptible(Arc::clone(&plan)).unwrap();
        assert!(Arc::ptr_eq(&plan, &same) && Interest::in_plan(&same).is_none());
    }
}
