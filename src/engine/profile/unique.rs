//! Whether a column's values are all different, by counting.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionState;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt as _;

use crate::engine::{Interest, guard, interest};
use crate::quality::profile::ColumnProfile;
use crate::quality::suggest::SuggestedTable;

/// Below this share of distinct values among all, an estimate rules out that they are all different: its standard error is
/// 0.81 %.
const DISTINCT_SHARE_MIN: f64 = 0.97;

/// What it takes to count a column's values: the rows again.
#[derive(Debug)]
pub(super) struct Counting {
    pub input: LogicalPlan,
    pub state: SessionState,
}

/// For each column that may have keys whether no value of it comes twice. Only where the estimate leaves it open, rows are read again.
pub(super) async fn duplicates_are_gone(
    table: &SuggestedTable,
    profiles: &[ColumnProfile],
    counting: Option<&Counting>,
    context: &Arc<TaskContext>,
) -> Result<Vec<bool>> {
    let mut unique = Vec::with_capacity(profiles.len());
    for (at, profile) in profiles.iter().enumerate() {
        let present = profile.rows - profile.nulls;
        unique.push(match (&profile.values, counting) {
            _ if !table.may_have_keys(at) => false,
            (Some(values), _) if values.is_exact => values.distinct == present,
            (Some(values), Some(counting)) if values.distinct as f64 >= DISTINCT_SHARE_MIN * present as f64 => {
                counting.has_no_duplicates(at, context).await?
            }
            _ => false,
        });
    }
    Ok(unique)
}

impl Counting {
    async fn has_no_duplicates(&self, column: usize, context: &Arc<TaskContext>) -> Result<bool> {
        let Some(column) = self.input.schema().columns().into_iter().nth(column).map(Expr::Column) else {
            return Ok(false);
        };
        let number = count(lit(1_i64)).alias("number");
        let plan = LogicalPlanBuilder::from(self.input.clone())
            .project([column.clone()])?
            .filter(column.clone().is_not_null())?
            .aggregate([column], [number])?
            .filter(datafusion::logical_expr::col("number").gt(lit(1_i64)))?
            .limit(0, Some(1))?
            .build()?;
        let plan = self.state.create_physical_plan(&plan).await?;
        let plan = interest::interruptible(guard::guarded(plan)?)?;
        let _interest = Interest::in_plan(&plan);
        let mut rows = execute_stream(plan, Arc::clone(context))?;
        while let Some(batch) = rows.next().await {
            if batch?.num_rows() > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
