//! Correlated subqueries that DataFusion's optimizer leaves alone, made into joins.
//!
//! ```text
//! T with an expression over S(t.a)                 T ⟕ S' ON t.a IS NOT DISTINCT FROM key
//!   domain D = SELECT DISTINCT t.a FROM T    →     S' = S with every reference to t.a replaced by D's column "key"
//! ```
//! The method is Neumann and Kemper's ("Unnesting Arbitrary Queries", BTW 2015): the domain is pushed down a subquery until
//! it meets what does not depend on it, so every shape becomes plain relational algebra. Simple shapes stay as they are:
//! DataFusion makes cheaper joins of them. A subquery's value is computed whether or not a CASE around it needs it.

mod dependent;
mod expression;
mod node;
mod quantified;
mod shape;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::error::{Error, Result};

/// Rewrites a statement's plans; `unique` makes names that the statement does not have yet.
pub(super) struct Unnester<'a> {
    pub unique: &'a dyn Fn(&str) -> String,
}

impl Unnester<'_> {
    /// The plan with the same columns, where each subquery is uncorrelated or of a shape that the optimizer joins.
    pub fn unnest(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if !has_subquery(&plan)? {
            return Ok(plan);
        }
        self.flatten(plan)
    }

    /// Inputs first, so that a subquery's plan holds nothing that is still to be rewritten.
    fn flatten(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan =
            plan.map_children(|child| self.flatten(child).map(Transformed::yes).map_err(Error::into_datafusion))?;
        self.node(plan.data)
    }
}

/// Whether the plan, or a plan in one of its expressions, has a subquery.
fn has_subquery(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        found |= matches!(node, LogicalPlan::Subquery(_));
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(is_subquery(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn is_subquery(expr: &Expr) -> bool {
    plan_of(expr).is_some()
}

/// Whether the plan refers to any query around it.
pub(super) fn is_correlated(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    each_outer_column(plan, &mut |_| found = true)?;
    Ok(found)
}

/// The columns of `schema` that the plan refers to as outer ones, each once. Columns have names that are unique in the
/// statement, so it does not matter how many levels lie between.
fn outer_columns(plan: &LogicalPlan, schema: &DFSchema) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    each_outer_column(plan, &mut |column| {
        if schema.has_column(column) && !columns.contains(column) {
            columns.push(column.clone());
        }
    })?;
    Ok(columns)
}

/// Visits each reference to a query around the plan, but not the references of its own subqueries to it.
fn each_outer_column(plan: &LogicalPlan, visit: &mut dyn FnMut(&Column)) -> Result<()> {
    visit_free(plan, &mut Vec::new(), visit)
}

/// `bound`: the schemas inside the plan that the current place is a subquery over.
fn visit_free(plan: &LogicalPlan, bound: &mut Vec<DFSchemaRef>, visit: &mut dyn FnMut(&Column)) -> Result<()> {
    let inputs = plan.inputs();
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            if let Expr::OuterReferenceColumn(_, column) = expr
                && !bound.iter().any(|schema| schema.has_column(column))
            {
                visit(column);
            }
            if let Some(subquery) = plan_of(expr) {
                let depth = bound.len();
                bound.extend(inputs.iter().map(|input| DFSchemaRef::clone(input.schema())));
                visit_free(subquery, bound, visit).map_err(Error::into_datafusion)?;
                bound.truncate(depth);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    for input in &inputs {
        let depth = bound.len();
        // What a lateral right side says of the left one.
        if let LogicalPlan::Join(join) = plan {
            bound.push(DFSchemaRef::clone(join.left.schema()));
        }
        visit_free(input, bound, visit)?;
        bound.truncate(depth);
    }
    Ok(())
}

/// The plan of a subquery expression.
fn plan_of(expr: &Expr) -> Option<&LogicalPlan> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(&subquery.subquery),
        Expr::Exists(exists) => Some(&exists.subquery.subquery),
        Expr::InSubquery(within) => Some(&within.subquery.subquery),
        Expr::SetComparison(set) => Some(&set.subquery.subquery),
        _ => None,
    }
}
