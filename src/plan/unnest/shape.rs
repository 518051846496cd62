//! Which subqueries DataFusion's own rules turn into joins, and correctly.
//!
//! Those are the shapes of textbook queries: references to the outer query only in WHERE, under projections, inner joins
//! and at most one aggregate without groups. Anything else is rewritten here.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;

use super::{each_outer_column, is_correlated, is_subquery, plan_of};
use crate::error::Result;
use crate::plan::bind::only_value;

/// A condition of WHERE by itself: EXISTS, IN, or an expression that [`is_joined_inside_filter`] accepts throughout.
pub(super) fn is_joined_by_filter(condition: &Expr, schema: &DFSchema) -> bool {
    match condition {
        Expr::Not(inner) => matches!(inner.as_ref(), Expr::Exists(_)) && is_joined_by_filter(inner, schema),
        Expr::Exists(exists) => is_simple(&exists.subquery.subquery, schema, Rows::Exist),
        Expr::InSubquery(within) => {
            let uncorrelated = is_uncorrelated(&within.subquery.subquery);
            // A value from further out is no column of the join that IN would become.
            let foreign = |expr: &Expr| is_subquery(expr) || matches!(expr, Expr::OuterReferenceColumn(..));
            let plain = !within.expr.exists(|expr| Ok(foreign(expr))).unwrap_or(true);
            // Without a key the engine's join would take NULLs for rows that differ.
            let keyed = uncorrelated && !within.expr.column_refs().is_empty();
            plain && (keyed || !within.negated) && is_simple(&within.subquery.subquery, schema, Rows::Exist)
        }
        _ => false,
    }
}

/// A subquery somewhere in a condition of WHERE.
pub(super) fn is_joined_inside_filter(expr: &Expr, schema: &DFSchema) -> bool {
    is_joined_by_projection(expr, schema)
}

/// A subquery in a SELECT list.
pub(super) fn is_joined_by_projection(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::ScalarSubquery(subquery) => {
            is_uncorrelated(&subquery.subquery) || is_simple(&subquery.subquery, schema, Rows::One)
        }
        _ => false,
    }
}

/// `T JOIN LATERAL S`: only without aggregates, limits and the like.
pub(super) fn is_joined_laterally(plan: &LogicalPlan, schema: &DFSchema, join: JoinType) -> bool {
    let subquery = match plan {
        LogicalPlan::SubqueryAlias(alias) => alias.input.as_ref(),
        other => other,
    };
    match subquery {
        LogicalPlan::Subquery(subquery) => join == JoinType::Inner && is_simple(&subquery.subquery, schema, Rows::All),
        _ => false,
    }
}

/// Whether the subqueries of a condition depend on columns of `own` at most, of the two sides of a join.
pub(super) fn needs_only(condition: &Expr, own: &DFSchema, other: &DFSchema) -> Result<bool> {
    let mut only = true;
    condition.apply(|expr| {
        if let Some(plan) = plan_of(expr) {
            each_outer_column(plan, &mut |column| only &= !other.has_column(column) || own.has_column(column))
                .map_err(crate::error::Error::into_datafusion)?;
        }
        if let Expr::InSubquery(within) = expr {
            only &= within.expr.column_refs().iter().all(|column| own.has_column(column));
        }
        if let Expr::SetComparison(set) = expr {
            only &= set.expr.column_refs().iter().all(|column| own.has_column(column));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(only)
}

/// What of a subquery's rows counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    Exist,
    One,
    All,
}

fn is_simple(plan: &LogicalPlan, schema: &DFSchema, rows: Rows) -> bool {
    let mut own = true;
    let visited = each_outer_column(plan, &mut |column| own &= schema.has_column(column));
    if visited.is_err() || !own {
        return false;
    }
    let aggregates = u32::from(rows == Rows::One);
    // The optimizer would count rows for keys that no outer row has.
    if rows == Rows::One && counts_rows(plan) {
        return false;
    }
    if !is_path(plan, rows, aggregates) || (rows == Rows::One && plan.max_rows().is_none_or(|rows| rows > 1)) {
        return false;
    }
    let mut pull_up = PullUpCorrelatedExpr::new()
        .with_need_handle_count_bug(rows != Rows::Exist)
        .with_exists_sub_query(rows == Rows::Exist);
    plan.clone().rewrite(&mut pull_up).is_ok() && pull_up.can_pull_up
}

/// Whether a second row is an error.
fn counts_rows(plan: &LogicalPlan) -> bool {
    plan.exists(|node| match node {
        LogicalPlan::Aggregate(aggregate) => Ok(aggregate.aggr_expr.iter().any(|expr| {
            let only = only_value();
            expr.exists(|expr| Ok(matches!(expr, Expr::AggregateFunction(call) if call.func == only))).unwrap_or(true)
        })),
        _ => Ok(false),
    })
    .unwrap_or(true)
}

/// Whether all references to the outer query are in filters that can move up.
fn is_path(plan: &LogicalPlan, rows: Rows, aggregates: u32) -> bool {
    if is_uncorrelated(plan) {
        return true;
    }
    let below = |aggregates| plan.inputs().into_iter().all(|input| is_path(input, rows, aggregates));
    match plan {
        LogicalPlan::Filter(_) => below(aggregates),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            !plan.contains_outer_reference() && below(aggregates)
        }
        LogicalPlan::Join(join) => {
            join.join_type == JoinType::Inner && !plan.contains_outer_reference() && below(aggregates)
        }
        LogicalPlan::Aggregate(aggregate) => {
            aggregates > 0
                && aggregate.group_expr.is_empty()
                && !plan.contains_outer_reference()
                && below(aggregates - 1)
        }
        LogicalPlan::Distinct(Distinct::All(_)) => rows == Rows::Exist && below(aggregates),
        _ => false,
    }
}

fn is_uncorrelated(plan: &LogicalPlan) -> bool {
    is_correlated(plan).is_ok_and(|correlated| !correlated)
}
