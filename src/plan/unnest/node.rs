//! The nodes whose expressions hold subqueries, and lateral joins.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder};

use super::{Unnester, is_subquery, outer_columns, shape};
use crate::error::{Error, Result};
use crate::plan::bind::plan_columns;

impl Unnester<'_> {
    /// A node whose inputs are done.
    pub(super) fn node(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        match plan {
            LogicalPlan::Join(join) => match outer_columns(&join.right, join.left.schema())?.as_slice() {
                [] => self.join_condition(join),
                _ => self.lateral(join),
            },
            plan if holds_subquery(&plan)? => self.expressions(plan),
            plan => Ok(plan),
        }
    }

    fn expressions(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let inputs = plan.inputs();
        let [input] = inputs.as_slice() else { return Ok(plan) };
        let mut input = (*input).clone();
        let names = NamePreserver::new(&plan);
        let filter = matches!(plan, LogicalPlan::Filter(_));
        let projection = matches!(plan, LogicalPlan::Projection(_));
        let mut exprs = Vec::new();
        for expr in plan.expressions() {
            let name = names.save(&expr);
            let expr = self.flat_inside(expr)?;
            let rewritten = if filter {
                self.conjunction(expr, &mut input)?
            } else {
                self.rewrite(expr, &mut input, &|subquery, schema| {
                    projection && shape::is_joined_by_projection(subquery, schema)
                })?
            };
            exprs.push(name.restore(rewritten));
        }
        let columns = plan_columns(&plan);
        let node = plan.with_new_exprs(exprs, vec![input])?;
        if node.schema().fields().len() == columns.len() {
            return Ok(node);
        }
        Ok(LogicalPlanBuilder::from(node).project(columns)?.build()?)
    }

    /// Conditions that AND joins: each by itself may be a shape that the optimizer knows.
    fn conjunction(&self, predicate: Expr, input: &mut LogicalPlan) -> Result<Expr> {
        let mut conditions = Vec::new();
        for condition in datafusion::logical_expr::utils::split_conjunction_owned(predicate) {
            let schema = Arc::clone(input.schema());
            if shape::is_joined_by_filter(&condition, &schema) {
                conditions.push(condition);
            } else {
                conditions.push(self.rewrite(condition, input, &shape::is_joined_inside_filter)?);
            }
        }
        conditions.into_iter().reduce(Expr::and).ok_or_else(|| Error::internal("an empty condition"))
    }

    /// `T JOIN LATERAL S`.
    fn lateral(&self, join: Join) -> Result<LogicalPlan> {
        if shape::is_joined_laterally(&join.right, join.left.schema(), join.join_type) {
            return Ok(LogicalPlan::Join(join));
        }
        let columns: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
        let attached = self.attach(join.left.as_ref(), join.right.as_ref().clone(), false, Ok)?;
        let on = join.on.into_iter().map(|(left, right)| left.eq(right));
        let conditions = attached.conditions.into_iter().chain(on).chain(join.filter);
        let plan = LogicalPlanBuilder::from(join.left.as_ref().clone())
            .join_on(attached.plan, join.join_type, conditions)?
            .project(columns)?
            .build()?;
        Ok(plan)
    }

    /// Subqueries in ON: an inner join filters afterwards; an outer one gets the values on the side that they depend on.
    fn join_condition(&self, mut join: Join) -> Result<LogicalPlan> {
        let Some(filter) = join.filter.take_if(|filter| filter.exists_subquery()) else {
            return Ok(LogicalPlan::Join(join));
        };
        if join.join_type == JoinType::Inner {
            let joined = LogicalPlan::Join(join);
            return self.node(LogicalPlan::Filter(Filter::try_new(filter, Arc::new(joined))?));
        }
        let columns: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
        let (mut left, mut right) = (join.left.as_ref().clone(), join.right.as_ref().clone());
        let mut conditions = Vec::new();
        for condition in datafusion::logical_expr::utils::split_conjunction_owned(filter) {
            conditions.push(self.rewrite_for_side(self.flat_inside(condition)?, &mut left, &mut right)?);
        }
        let on: Vec<Expr> = join.on.into_iter().map(|(left, right)| left.eq(right)).collect();
        let plan = LogicalPlanBuilder::from(left)
            .join_on(right, join.join_type, on.into_iter().chain(conditions))?
            .project(columns)?
            .build()?;
        Ok(plan)
    }

    /// A condition of an outer join: each of its subqueries has to depend on one side only.
    fn rewrite_for_side(&self, condition: Expr, left: &mut LogicalPlan, right: &mut LogicalPlan) -> Result<Expr> {
        let uses =
            |plan: &LogicalPlan, other: &LogicalPlan| shape::needs_only(&condition, plan.schema(), other.schema());
        if uses(right, left)? {
            self.rewrite(condition, right, &|_, _| false)
        } else if uses(left, right)? {
            self.rewrite(condition, left, &|_, _| false)
        } else {
            Err(Error::unsupported("a subquery over both sides of an outer join in its condition"))
        }
    }
}

trait ExistsSubquery {
    fn exists_subquery(&self) -> bool;
}

impl ExistsSubquery for Expr {
    fn exists_subquery(&self) -> bool {
        use datafusion::common::tree_node::TreeNode as _;
        self.exists(|expr| Ok(is_subquery(expr))).unwrap_or(false)
    }
}

fn holds_subquery(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found |= expr.exists_subquery();
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
