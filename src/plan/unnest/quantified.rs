//! `IN`, `op ANY` and `op ALL` over subqueries, with SQL's three values.

use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, ScalarValue};
use datafusion::functions_aggregate::expr_fn::{bool_and, bool_or, count};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr, lit, not, when};

use super::expression::{Attached, join};
use super::{Unnester, is_correlated};
use crate::error::{Error, Result};
use crate::plan::bind::plan_columns;

impl Unnester<'_> {
    /// `x IN (…)`. An uncorrelated subquery is matched by a hash join; counts tell whether it has rows and NULLs.
    pub(super) fn within(
        &self,
        value: Expr,
        plan: LogicalPlan,
        negated: bool,
        input: &mut LogicalPlan,
    ) -> Result<Expr> {
        let result = if is_correlated(&plan)? || value.column_refs().is_empty() {
            self.compared(value, Operator::Eq, false, plan, input)?
        } else {
            self.matched(value, plan, input)?
        };
        Ok(if negated { not(result) } else { result })
    }

    fn matched(&self, value: Expr, plan: LogicalPlan, input: &mut LogicalPlan) -> Result<Expr> {
        let column = only_column(&plan)?;
        let [found, member, rows, values] = ["found", "member", "rows", "values"].map(|name| (self.unique)(name));
        let members = LogicalPlanBuilder::from(plan.clone())
            .project([column.clone().alias(&member), lit(true).alias(&found)])?
            .distinct()?
            .build()?;
        let conditions = vec![value.clone().eq(named(&member))];
        join(input, Attached { plan: members, conditions })?;
        let counts = LogicalPlanBuilder::from(plan)
            .aggregate(Vec::<Expr>::new(), [count(lit(1_i64)).alias(&rows), count(column).alias(&values)])?
            .build()?;
        *input = LogicalPlanBuilder::from(std::mem::take(input)).cross_join(counts)?.build()?;
        let unknown = value.is_null().or(named(&values).lt(named(&rows)));
        Ok(when(named(&found).is_not_null(), lit(true))
            .when(named(&rows).eq(lit(0_i64)), lit(false))
            .when(unknown, lit(ScalarValue::Boolean(None)))
            .otherwise(lit(false))?)
    }

    /// `x op ANY (…)` and `x op ALL (…)`: an aggregate over the comparisons, as a scalar subquery correlated by x.
    pub(super) fn compared(
        &self,
        value: Expr,
        op: Operator,
        all: bool,
        plan: LogicalPlan,
        input: &mut LogicalPlan,
    ) -> Result<Expr> {
        let column = only_column(&plan)?;
        let value = as_outer(value, input)?;
        let [answer, decided, rows, known] = ["answer", "decided", "rows", "known"].map(|name| (self.unique)(name));
        let comparison = binary_expr(value, op, column);
        let decides = if all { bool_and(comparison.clone()) } else { bool_or(comparison.clone()) };
        let aggregates = [decides.alias(&decided), count(lit(1_i64)).alias(&rows), count(comparison).alias(&known)];
        let decided = if all { not(named(&decided)) } else { named(&decided) };
        let result = when(decided, lit(!all))
            .when(named(&known).lt(named(&rows)), lit(ScalarValue::Boolean(None)))
            .otherwise(lit(all))?;
        let plan = LogicalPlanBuilder::from(plan)
            .aggregate(Vec::<Expr>::new(), aggregates)?
            .project([result.alias(answer)])?
            .build()?;
        self.scalar(plan, input)
    }
}

fn named(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn only_column(plan: &LogicalPlan) -> Result<Expr> {
    plan_columns(plan).pop().ok_or_else(|| Error::internal("a subquery without columns"))
}

/// The input's columns as a subquery refers to them.
fn as_outer(expr: Expr, input: &LogicalPlan) -> Result<Expr> {
    let outer = expr.transform(|expr| match expr {
        Expr::Column(column) => {
            let field = input.schema().qualified_field_from_column(&column)?.1;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field.clone(), column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(outer.data)
}
