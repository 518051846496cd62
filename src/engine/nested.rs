//! Tables that hold a plan of their own, which nothing reaches that is done to the plan around them.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::pass::PassTable;
use super::rows::WideTable;

/// Changes the plans of such tables in a plan, to any depth.
///
/// # Errors
/// The change's.
pub fn map_inputs(plan: LogicalPlan, change: &dyn Fn(LogicalPlan) -> Result<LogicalPlan>) -> Result<LogicalPlan> {
    let changed = |input: &LogicalPlan| map_inputs(change(input.clone())?, change);
    let mapped = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
        let Ok(provider) = source_as_provider(&scan.source) else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let changed: Arc<dyn TableProvider> = if let Some(table) = provider.downcast_ref::<PassTable>() {
            Arc::new(table.with_input(changed(table.input())?))
        } else if let Some(table) = provider.downcast_ref::<WideTable>() {
            Arc::new(table.with_input(changed(table.input())?))
        } else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        scan.source = provider_as_source(changed);
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    });
    Ok(mapped?.data)
}
