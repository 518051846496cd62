//! Subqueries in expressions: scalar, EXISTS, IN, ANY and ALL, each correlated or not.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{Column, ScalarValue, Spans};
use datafusion::logical_expr::expr::{AggregateFunction, Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit, when};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::expression::{Clause, Context, operator_name, row};
use super::scope::Environment;
use super::{Binder, Bound, Unknowns};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Typed};

/// A plan as a subquery of an expression, with the outer columns it uses.
pub(in crate::plan) fn subquery(plan: LogicalPlan) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() }
}

/// The only value of a SELECT without FROM and without anything that makes it more or less than one row.
fn fromless(plan: &LogicalPlan) -> Option<&Expr> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    let LogicalPlan::EmptyRelation(relation) = projection.input.as_ref() else { return None };
    match projection.expr.as_slice() {
        [Expr::Alias(alias)] if relation.produce_one_row => Some(&alias.expr),
        [value] if relation.produce_one_row => Some(value),
        _ => None,
    }
}

/// Whether it matters that a subquery without rows of its own is computed once, and not for each row around it.
fn is_computed_once(value: &Expr) -> bool {
    let depends = value.exists(|expr| Ok(matches!(expr, Expr::OuterReferenceColumn(..)))).unwrap_or(true);
    value.is_volatile() && !depends
}

/// Under EXISTS a LIMIT of one or more rows says nothing.
fn unlimited(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Limit(limit) if limit.skip.is_none() => {
            match limit.fetch.as_deref().and_then(super::window::constant) {
                Some(ScalarValue::Int64(Some(rows))) if rows > 0 => unsorted(Arc::unwrap_or_clone(limit.input)),
                _ => LogicalPlan::Limit(limit),
            }
        }
        other => other,
    }
}

/// The plan without an ORDER BY that no LIMIT makes count.
pub(super) fn unsorted(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => Arc::unwrap_or_clone(sort.input),
        LogicalPlan::Projection(mut projection) => {
            if let LogicalPlan::Sort(sort) = projection.input.as_ref()
                && sort.fetch.is_none()
            {
                projection.input = Arc::clone(&sort.input);
            }
            LogicalPlan::Projection(projection)
        }
        other => other,
    }
}

/// Whether the plan has one row, whatever the tables hold.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Sort(sort) => sort.fetch.is_none() && has_one_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(relation) => relation.produce_one_row,
        LogicalPlan::Values(values) => values.values.len() == 1,
        _ => false,
    }
}

/// Whether the query is `SELECT` and expressions, which costs the engine nothing more than these do.
fn is_expression(query: &ast::Query) -> bool {
    match query.body.as_ref() {
        ast::SetExpr::Select(select) => query.with.is_none() && select.from.is_empty() && select.selection.is_none(),
        _ => false,
    }
}

/// Whether an expression can become one of a subquery: what is computed on top of the outer FROM cannot.
fn is_movable(expr: &Expr) -> Result<bool> {
    Ok(!expr.exists(|expr| Ok(matches!(expr, Expr::AggregateFunction(_) | Expr::WindowFunction(_))))?)
}

pub(super) fn one_column() -> Error {
    Error::new(SqlState::SyntaxError, "subquery must return only one column")
}

impl Binder<'_> {
    pub(super) fn inner_query(&self, query: &ast::Query, context: &Context<'_, '_>) -> Result<Bound> {
        let refused = match context.clause {
            Clause::Check => Some("cannot use subquery in check constraint"),
            Clause::Expectation => Some("cannot use subquery in expectation"),
            Clause::Default => Some("cannot use subquery in DEFAULT expression"),
            Clause::Generated => Some("cannot use subquery in column generation expression"),
            Clause::Transform => Some("cannot use subquery in transform expression"),
            Clause::Execute => Some("cannot use subquery in EXECUTE parameter"),
            _ => None,
        };
        if let Some(message) = refused {
            let position = self.source.parenthesis_before(query.span());
            return Err(Error::new(SqlState::FeatureNotSupported, message).at(position));
        }
        let environment = Environment { outer: Some(context.scope), ..context.scope.environment.clone() };
        if is_expression(query) {
            return self.query(query, &environment, Unknowns::Text);
        }
        self.within_subquery(|| self.query(query, &environment, Unknowns::Text))
    }

    pub(super) fn scalar_subquery(
        &self,
        query: &ast::Query,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let bound = self.inner_query(query, context)?;
        let [column] = bound.columns.as_slice() else {
            return Err(one_column().at(self.source.parenthesis_before(query.span()).or(position)));
        };
        let ty = column.ty;
        let mut plan = bound.plan;
        if let Some(value) = fromless(&plan) {
            if !is_computed_once(value) {
                // `(SELECT t.a + 1)` is the expression itself.
                let expr = super::scope::moved_out(value, &context.scope.schema)?;
                return Ok(Typed { expr, ty, position });
            }
            // A name of its own: the engine computes equal subqueries together.
            let value = super::plan_columns(&plan).into_iter().map(|column| column.alias(self.unique("once")));
            let value = value.collect::<Vec<_>>();
            plan = LogicalPlanBuilder::from(plan).project(value)?.build()?;
        }
        let plan = self.at_most_one_row(unsorted(plan))?;
        Ok(Typed { expr: Expr::ScalarSubquery(subquery(plan)), ty, position })
    }

    /// DataFusion joins a correlated scalar subquery, which needs proof that it has one row. PostgreSQL counts at run time
    /// (21000): so does the aggregate put on top here.
    fn at_most_one_row(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let correlated = !plan.all_out_ref_exprs().is_empty();
        if correlated && let Some(first) = self.first_row(&plan)? {
            return Ok(first);
        }
        let one = !correlated || plan.max_rows().is_some_and(|rows| rows <= 1);
        // The engine takes a subquery for never NULL when its column is: without rows that is wrong.
        let null_when_empty = plan.schema().fields().iter().all(|field| field.is_nullable()) || has_one_row(&plan);
        if one && null_when_empty {
            return Ok(plan);
        }
        let values = super::plan_columns(&plan);
        let only = AggregateFunction::new_udf(super::aggregate::only_value(), values, false, None, Vec::new(), None);
        let name = self.unique("only");
        let aggregate = Expr::AggregateFunction(only).alias(name);
        Ok(LogicalPlanBuilder::from(plan).aggregate(Vec::<Expr>::new(), [aggregate])?.build()?)
    }

    /// `… ORDER BY … LIMIT 1` as the aggregate `first_value`: a limit cannot be taken out of a correlated subquery.
    fn first_row(&self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        let LogicalPlan::Limit(limit) = plan else { return Ok(None) };
        let one = limit.fetch.as_deref().and_then(super::window::constant);
        if limit.skip.is_some() || one != Some(ScalarValue::Int64(Some(1))) {
            return Ok(None);
        }
        let (input, value) = match limit.input.as_ref() {
            LogicalPlan::Projection(projection) if projection.expr.len() == 1 => {
                (&projection.input, projection.expr.first().cloned().map(Expr::unalias))
            }
            _ => (&limit.input, super::plan_columns(&limit.input).pop()),
        };
        let Some(value) = value else { return Ok(None) };
        let (input, sorts) = match input.as_ref() {
            LogicalPlan::Sort(sort) => (&sort.input, sort.expr.clone()),
            _ => (input, Vec::new()),
        };
        let first = datafusion::functions_aggregate::first_last::first_value_udaf();
        let first = AggregateFunction::new_udf(first, vec![value], false, None, sorts, None);
        let first = Expr::AggregateFunction(first).alias(self.unique("first"));
        let plan = LogicalPlanBuilder::from(input.as_ref().clone()).aggregate(Vec::<Expr>::new(), [first])?.build()?;
        Ok(Some(plan))
    }

    /// How many rows the plan has, as a scalar subquery.
    fn row_count_of(&self, plan: LogicalPlan) -> Result<Expr> {
        let count = AggregateFunction::new_udf(
            datafusion::functions_aggregate::count::count_udaf(),
            vec![lit(1_i64)],
            false,
            None,
            Vec::new(),
            None,
        );
        let name = self.unique("rows");
        let plan = LogicalPlanBuilder::from(plan)
            .aggregate(Vec::<Expr>::new(), [Expr::AggregateFunction(count).alias(name)])?
            .build()?;
        Ok(Expr::ScalarSubquery(subquery(plan)))
    }

    /// `x IN (plan)` where DataFusion knows no IN: outside conditions. Two counts tell true from NULL from false.
    fn membership(
        &self,
        left: Expr,
        plan: LogicalPlan,
        negated: bool,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Expr> {
        self.note_copies(&left, 1, position)?;
        self.note_plan_copies(&plan, 2, position)?;
        let Some(column) = super::plan_columns(&plan).pop() else {
            return Err(Error::internal("a subquery without columns"));
        };
        let outer = super::scope::at_level(&left, 1, &context.scope.schema)?;
        let filtered = |condition: Expr| -> Result<LogicalPlan> {
            Ok(LogicalPlanBuilder::from(plan.clone()).filter(condition)?.build()?)
        };
        let some = |rows: Expr| rows.gt(lit(0_i64));
        let equal = some(self.row_count_of(filtered(column.clone().eq(outer))?)?);
        let nulls = some(self.row_count_of(filtered(column.is_null())?)?);
        let any = some(self.row_count_of(plan.clone())?);
        let unknown = left.is_null().and(any).or(nulls);
        let null = lit(ScalarValue::Boolean(None));
        Ok(when(equal, lit(!negated)).when(unknown, null).otherwise(lit(negated))?)
    }

    pub(super) fn exists(
        &self,
        query: &ast::Query,
        negated: bool,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let bound = self.inner_query(query, context)?;
        let plan = unsorted(bound.plan);
        if !context.clause.is_condition() {
            let rows = self.row_count_of(plan)?;
            let expr = if negated { rows.eq(lit(0_i64)) } else { rows.gt(lit(0_i64)) };
            return Ok(Typed { expr, ty: PgType::BOOL, position });
        }
        let expr = Expr::Exists(Exists::new(subquery(unlimited(plan)), negated));
        Ok(Typed { expr, ty: PgType::BOOL, position })
    }

    pub(super) fn in_subquery(
        &self,
        operand: &ast::Expr,
        query: &ast::Query,
        negated: bool,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let position = self.source.operator_after(operand.span());
        if let Some(fields) = row::elements(operand) {
            return self.row_in_subquery(&fields, query, negated, context, position);
        }
        let value = self.expr(operand, &context.exact())?;
        let start = value.position;
        let (left, plan, op) = self.compared_with_subquery(value, "=", query, context, position)?;
        if op != Operator::Eq {
            // A number beyond all the others of its side is compared with a bound.
            let any = SetComparison::new(Box::new(left), subquery(plan), op, SetQuantifier::Any);
            let any = Expr::SetComparison(any);
            let expr = if negated { Expr::Not(Box::new(any)) } else { any };
            return Ok(Typed { expr, ty: PgType::BOOL, position: start });
        }
        let plan = unsorted(plan);
        if !context.clause.is_condition() && is_movable(&left)? {
            let expr = self.membership(left, plan, negated, context, position)?;
            return Ok(Typed { expr, ty: PgType::BOOL, position: start });
        }
        let expr = Expr::InSubquery(InSubquery::new(Box::new(left), subquery(plan), negated));
        Ok(Typed { expr, ty: PgType::BOOL, position: start })
    }

    /// `x op (subquery)`: both sides cast to the operator's types.
    fn compared_with_subquery(
        &self,
        value: Typed,
        op: &str,
        query: &ast::Query,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<(Expr, LogicalPlan, Operator)> {
        let bound = self.inner_query(query, context)?;
        let (count, column) = (bound.columns.len(), bound.operand(0));
        let Some(column) = column.filter(|_| count == 1) else {
            let words = if count > 1 { "subquery has too many columns" } else { "subquery has too few columns" };
            return Err(Error::new(SqlState::SyntaxError, words).at(position));
        };
        // A name of its own: beside the outer query's columns one without a qualifier could be ambiguous.
        let name = self.unique("compared");
        let plan =
            LogicalPlanBuilder::from(unsorted(bound.plan)).project([column.expr.clone().alias(&name)])?.build()?;
        let own_column = Column::from_name(name);
        let own = Expr::Column(own_column.clone());
        let unsettled = super::is_unsettled(&column);
        let operand = Typed { expr: if unsettled { column.expr.clone() } else { own.clone() }, ..column.clone() };
        let schema = context.scope.schema.join(plan.schema())?;
        let compared = typing::binary(self.typing, op, value, operand, position, &schema)?;
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = compared.expr else {
            return Err(Error::unsupported("this operator with a subquery").at(position));
        };
        // A constant beside a column is on its right.
        let (left, op, right) = match op.swap() {
            Some(swapped) if left.column_refs().contains(&own_column) => (right, swapped, left),
            _ => (left, op, right),
        };
        let plan = if *right == own {
            plan
        } else {
            LogicalPlanBuilder::from(plan).project([right.alias(self.unique("compared"))])?.build()?
        };
        Ok((*left, plan, op))
    }

    /// A row and a subquery of as many columns: the subquery, and the comparison of the row with one of its rows, as an
    /// expression over these.
    fn row_beside_subquery(
        &self,
        fields: &[&ast::Expr],
        op: &str,
        query: &ast::Query,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<(LogicalPlan, Expr)> {
        let mut bound = self.inner_query(query, context)?;
        if bound.columns.len() != fields.len() {
            let few = bound.columns.len() < fields.len();
            let words = if few { "subquery has too few columns" } else { "subquery has too many columns" };
            return Err(Error::new(SqlState::SyntaxError, words).at(position));
        }
        let mut left = Vec::new();
        for field in fields {
            let mut value = self.expr(field, context)?;
            if !is_movable(&value.expr)? {
                let what = "an aggregate in a row that is compared with a subquery";
                return Err(Error::unsupported(what).at(value.position));
            }
            value.expr = super::scope::at_level(&value.expr, 1, &context.scope.schema)?;
            left.push(value);
        }
        // Names of their own, under which the columns of both queries can stand side by side.
        let columns = super::plan_columns(&bound.plan).into_iter();
        let renamed: Vec<Expr> = columns.map(|column| column.alias(self.unique("compared"))).collect();
        bound.plan = LogicalPlanBuilder::from(unsorted(bound.plan)).project(renamed)?.build()?;
        let right = (0..fields.len()).filter_map(|index| bound.operand(index)).collect();
        let schema = context.scope.schema.join(bound.plan.schema())?;
        let compared = self.compare_values(left, op, right, position, &schema)?.expr;
        Ok((bound.plan, compared))
    }

    /// `(a, b) IN (subquery)`. A condition that takes NULL for false becomes EXISTS, which is joined.
    fn row_in_subquery(
        &self,
        fields: &[&ast::Expr],
        query: &ast::Query,
        negated: bool,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let (plan, equal) = self.row_beside_subquery(fields, "=", query, context, position)?;
        let expr = if context.conjunct {
            let condition = if negated { Expr::IsNotFalse(Box::new(equal)) } else { equal };
            let plan = LogicalPlanBuilder::from(plan).filter(condition)?.build()?;
            Expr::Exists(Exists::new(subquery(plan), negated))
        } else {
            self.quantified_rows(&plan, equal, [lit(!negated), lit(negated)], position)?
        };
        Ok(Typed { expr, ty: PgType::BOOL, position })
    }

    /// `found` when the condition holds for a row of the plan, else NULL when it is NULL for one, else `otherwise`.
    fn quantified_rows(
        &self,
        plan: &LogicalPlan,
        condition: Expr,
        [found, otherwise]: [Expr; 2],
        position: Option<u32>,
    ) -> Result<Expr> {
        self.note_copies(&condition, 1, position)?;
        self.note_plan_copies(plan, 1, position)?;
        let some = |condition: Expr| -> Result<Expr> {
            let rows = LogicalPlanBuilder::from(plan.clone()).filter(condition)?.build()?;
            Ok(self.row_count_of(rows)?.gt(lit(0_i64)))
        };
        let null = lit(ScalarValue::Boolean(None));
        let unknown = some(condition.clone().is_null())?;
        Ok(when(some(condition)?, found).when(unknown, null).otherwise(otherwise)?)
    }

    /// `(a, b) op (subquery)`: NULL without rows, 21000 for a second row.
    pub(super) fn compare_row_with_query(
        &self,
        fields: &[&ast::Expr],
        op: &str,
        query: &ast::Query,
        position: Option<u32>,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let (plan, compared) = self.row_beside_subquery(fields, op, query, context, position)?;
        let plan = LogicalPlanBuilder::from(plan).project([compared.alias(self.unique("compared"))])?.build()?;
        let expr = match fromless(&plan) {
            Some(value) => super::scope::moved_out(value, &context.scope.schema)?,
            None => Expr::ScalarSubquery(subquery(self.at_most_one_row(plan)?)),
        };
        Ok(Typed { expr, ty: PgType::BOOL, position })
    }

    /// `x op ANY (…)` and `x op ALL (…)` over a subquery or an array.
    pub(super) fn quantified(
        &self,
        operand: &ast::Expr,
        op: &ast::BinaryOperator,
        right: &ast::Expr,
        all: bool,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let name = operator_name(op)?;
        let query = match right {
            ast::Expr::Subquery(query) => query,
            ast::Expr::Nested(inner) if matches!(inner.as_ref(), ast::Expr::Subquery(_)) => match inner.as_ref() {
                ast::Expr::Subquery(query) => query,
                _ => return Err(Error::internal("no subquery")),
            },
            array => return self.compare_with_array(operand, name, array, all, context),
        };
        let position = self.source.operator_after(operand.span());
        match (name, all) {
            ("=", false) => return self.in_subquery(operand, query, false, context),
            ("<>", true) => return self.in_subquery(operand, query, true, context),
            _ => {}
        }
        if let Some(fields) = row::elements(operand) {
            let (plan, compared) = self.row_beside_subquery(&fields, name, query, context, position)?;
            let expr = if all {
                self.quantified_rows(&plan, Expr::Not(Box::new(compared)), [lit(false), lit(true)], position)?
            } else {
                self.quantified_rows(&plan, compared, [lit(true), lit(false)], position)?
            };
            return Ok(Typed { expr, ty: PgType::BOOL, position });
        }
        let value = self.expr(operand, context)?;
        let start = value.position;
        let (left, plan, op) = self.compared_with_subquery(value, name, query, context, position)?;
        let quantifier = if all { SetQuantifier::All } else { SetQuantifier::Any };
        let expr = Expr::SetComparison(SetComparison::new(Box::new(left), subquery(plan), op, quantifier));
        Ok(Typed { expr, ty: PgType::BOOL, position: start })
    }
}
