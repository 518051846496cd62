//! Subqueries in an expression: each becomes a column of a plan that is joined to the node's input.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Subquery, lit};

use super::dependent::{Dependent, Domain};
use super::{Unnester, is_correlated, outer_columns};
use crate::error::{Error, Result};
use crate::plan::bind::{only_value, plan_columns, subquery_of};
use crate::plan::null_safe;

/// A subquery's rows with the outer values that each belongs to, ready to be joined.
pub(super) struct Attached {
    pub plan: LogicalPlan,
    /// What the join has to ask; one that is always true when nothing is correlated.
    pub conditions: Vec<Expr>,
}

/// Whether a subquery expression over a schema may stay for the optimizer.
pub(super) type Stays<'s> = &'s dyn Fn(&Expr, &DFSchema) -> bool;

impl Unnester<'_> {
    /// The expression with columns in the place of subqueries; `input` gets those columns.
    pub(super) fn rewrite(&self, expr: Expr, input: &mut LogicalPlan, stays: Stays<'_>) -> Result<Expr> {
        let rewritten = expr.transform_up(|expr| {
            if !super::is_subquery(&expr) || stays(&expr, input.schema()) {
                return Ok(Transformed::no(expr));
            }
            self.subquery(expr, input).map(Transformed::yes).map_err(Error::into_datafusion)
        })?;
        Ok(rewritten.data)
    }

    /// The expression with the plans of its subqueries rewritten, each for itself.
    pub(super) fn flat_inside(&self, expr: Expr) -> Result<Expr> {
        let flat = |subquery: Subquery| -> datafusion::error::Result<Subquery> {
            let plan = self.unnest(Arc::unwrap_or_clone(subquery.subquery)).map_err(Error::into_datafusion)?;
            Ok(subquery_of(plan))
        };
        let rewritten = expr.transform_up(|expr| {
            Ok(Transformed::yes(match expr {
                Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(flat(subquery)?),
                Expr::Exists(exists) => Expr::Exists(Exists { subquery: flat(exists.subquery)?, ..exists }),
                Expr::InSubquery(within) => Expr::InSubquery(InSubquery { subquery: flat(within.subquery)?, ..within }),
                Expr::SetComparison(set) => Expr::SetComparison(SetComparison { subquery: flat(set.subquery)?, ..set }),
                other => return Ok(Transformed::no(other)),
            }))
        })?;
        Ok(rewritten.data)
    }

    fn subquery(&self, expr: Expr, input: &mut LogicalPlan) -> Result<Expr> {
        match expr {
            Expr::ScalarSubquery(subquery) => self.scalar(plan_of(subquery), input),
            Expr::Exists(exists) => self.exists(plan_of(exists.subquery), exists.negated, input),
            Expr::InSubquery(within) => self.within(*within.expr, plan_of(within.subquery), within.negated, input),
            Expr::SetComparison(set) => {
                let all = set.quantifier == SetQuantifier::All;
                self.compared(*set.expr, set.op, all, plan_of(set.subquery), input)
            }
            other => Ok(other),
        }
    }

    /// `(SELECT x …)`: at most one row for each of the input's rows, which the binder has seen to.
    pub(super) fn scalar(&self, plan: LogicalPlan, input: &mut LogicalPlan) -> Result<Expr> {
        if !is_correlated(&plan)? {
            return Ok(Expr::ScalarSubquery(subquery_of(plan)));
        }
        let Some(value) = plan_columns(&plan).pop() else { return Err(Error::internal("a subquery without columns")) };
        let name = (self.unique)("value");
        let single = plan.max_rows().is_some_and(|rows| rows <= 1);
        let attached = self.attach(input, plan, true, |dependent| {
            if single { dependent.keeping([value.alias(&name)]) } else { only_row(dependent, value, &name) }
        })?;
        join(input, attached)?;
        Ok(Expr::Column(Column::from_name(name)))
    }

    /// `EXISTS (…)`: never NULL.
    fn exists(&self, plan: LogicalPlan, negated: bool, input: &mut LogicalPlan) -> Result<Expr> {
        let name = (self.unique)("exists");
        if !is_correlated(&plan)? {
            // A count, because a constant's column would count as never NULL, with rows or without.
            let rows = datafusion::functions_aggregate::expr_fn::count(lit(1_i64)).alias(&name);
            let counted =
                LogicalPlanBuilder::from(plan).limit(0, Some(1))?.aggregate(Vec::<Expr>::new(), [rows])?.build()?;
            let rows = Expr::ScalarSubquery(subquery_of(counted));
            return Ok(if negated { rows.eq(lit(0_i64)) } else { rows.gt(lit(0_i64)) });
        }
        let plan = without_limit(plan);
        let attached = self.attach(input, plan, false, |dependent| {
            let rows = dependent.keeping([lit(true).alias(&name)])?;
            Ok(Dependent { plan: LogicalPlanBuilder::from(rows.plan).distinct()?.build()?, keys: rows.keys })
        })?;
        join(input, attached)?;
        let found = Expr::Column(Column::from_name(name));
        Ok(if negated { found.is_null() } else { found.is_not_null() })
    }

    /// Pushes the input's domain into the plan and lets `shape` make of the rows what is to be joined. `single`: the plan's
    /// one column is all that matters, and no row is as good as a row of NULL.
    pub(super) fn attach(
        &self,
        input: &LogicalPlan,
        plan: LogicalPlan,
        single: bool,
        shape: impl FnOnce(Dependent) -> Result<Dependent>,
    ) -> Result<Attached> {
        let columns = outer_columns(&plan, input.schema())?;
        if columns.is_empty() {
            let dependent = shape(Dependent { plan, keys: Vec::new() })?;
            return Ok(Attached { plan: dependent.plan, conditions: vec![lit(true)] });
        }
        let domain = Domain::new(input, columns, self.unique);
        let dependent = shape(domain.push(plan, single)?)?;
        // Fresh names: the same domain may be joined to the same input by another subquery.
        let mut exprs: Vec<Expr> =
            plan_columns(&dependent.plan).into_iter().filter(|expr| !dependent.keys.contains(expr)).collect();
        let mut pairs = Vec::new();
        for (key, column) in dependent.keys.iter().zip(domain.columns()) {
            let name = (self.unique)("correlated");
            exprs.push(key.clone().alias(&name));
            let named = Expr::Column(Column::from_name(name));
            pairs.push((Expr::Column(column.clone()), named));
        }
        let plan = LogicalPlanBuilder::from(dependent.plan).project(exprs)?.build()?;
        let conditions = pairs
            .into_iter()
            .map(|(column, key)| null_safe::equal((column, input.schema()), (key, plan.schema())))
            .collect::<Result<Vec<_>>>()?;
        Ok(Attached { plan, conditions })
    }
}

fn plan_of(subquery: Subquery) -> LogicalPlan {
    Arc::unwrap_or_clone(subquery.subquery)
}

pub(super) fn join(input: &mut LogicalPlan, attached: Attached) -> Result<()> {
    let left = std::mem::take(input);
    *input = LogicalPlanBuilder::from(left).join_on(attached.plan, JoinType::Left, attached.conditions)?.build()?;
    Ok(())
}

/// One value for each key; 21000 for a second row.
fn only_row(dependent: Dependent, value: Expr, name: &str) -> Result<Dependent> {
    let only = AggregateFunction::new_udf(only_value(), vec![value], false, None, Vec::new(), None);
    let aggregate = Expr::AggregateFunction(only).alias(name);
    let plan = LogicalPlanBuilder::from(dependent.plan).aggregate(dependent.keys.clone(), [aggregate])?.build()?;
    Ok(Dependent { plan, keys: dependent.keys })
}

/// A LIMIT of one row or more does not change whether there are rows.
fn without_limit(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Limit(limit) if limit.skip.is_none() && limit.fetch.as_deref().is_some_and(is_positive) => {
            without_limit(Arc::unwrap_or_clone(limit.input))
        }
        other => other,
    }
}

fn is_positive(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Int64(Some(rows)), _) if *rows > 0)
}
