//! UNION, INTERSECT and EXCEPT: branches of one common type for each column.

use datafusion::logical_expr::{Expr, ExprFunctionExt as _, LogicalPlan, LogicalPlanBuilder, WindowFrame};
use sqlparser::ast;

use super::scope::{Environment, Origin};
use super::{Binder, Bound, BoundColumn, Unknowns, digits, names, plan_columns};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Coercion};

impl Binder<'_> {
    /// The chain of operations is as deep as it is long, leftmost first: it is bound without recursion.
    pub(super) fn set_operation(
        &self,
        body: &ast::SetExpr,
        environment: &Environment<'_>,
        unknowns: Unknowns,
    ) -> Result<Bound> {
        let mut chain = Vec::new();
        let mut leftmost = body;
        while let ast::SetExpr::SetOperation { left, op, set_quantifier, right } = leftmost {
            chain.push((*op, *set_quantifier, right.as_ref()));
            leftmost = left;
        }
        let mut result = self.branch(leftmost, environment, Unknowns::Wait)?;
        while let Some((op, quantifier, right)) = chain.pop() {
            let right = self.branch(right, environment, Unknowns::Wait)?;
            result = self.combine(result, op, quantifier, right)?;
        }
        let _ = unknowns;
        Ok(result)
    }

    fn combine(
        &self,
        left: Bound,
        op: ast::SetOperator,
        quantifier: ast::SetQuantifier,
        right: Bound,
    ) -> Result<Bound> {
        let word = match op {
            ast::SetOperator::Union => "UNION",
            ast::SetOperator::Intersect => "INTERSECT",
            ast::SetOperator::Except => "EXCEPT",
            ast::SetOperator::Minus => return Err(Error::unsupported("MINUS")),
        };
        let all = match quantifier {
            ast::SetQuantifier::All => true,
            ast::SetQuantifier::Distinct | ast::SetQuantifier::None => false,
            ast::SetQuantifier::ByName | ast::SetQuantifier::AllByName | ast::SetQuantifier::DistinctByName => {
                return Err(Error::unsupported(format!("{word} BY NAME")));
            }
        };
        let (left, right, columns) = self.matched(left, right, word)?;
        if (op, all) != (ast::SetOperator::Union, true) {
            columns.iter().try_for_each(|column| typing::check_equality(column.ty, column.position))?;
        }
        let plan = match (op, all) {
            (ast::SetOperator::Union, true) => LogicalPlanBuilder::from(left).union(right)?.build()?,
            (ast::SetOperator::Union, false) if columns.iter().any(|column| typing::has_sort_key(column.ty)) => {
                let all = LogicalPlanBuilder::from(left).union(right)?.build()?;
                self.distinct_rows(all, columns.iter().map(|column| column.ty))?
            }
            (ast::SetOperator::Union, false) => LogicalPlanBuilder::from(left).union_distinct(right)?.build()?,
            (ast::SetOperator::Except, false) => LogicalPlanBuilder::except(left, right, false)?,
            (_, false) => LogicalPlanBuilder::intersect(left, right, false)?,
            (op, true) => self.with_counted_duplicates(left, op, right, &columns)?,
        };
        Ok(Bound { plan, columns })
    }

    /// Both branches projected to common types and the left branch's names.
    pub(super) fn matched(
        &self,
        left: Bound,
        right: Bound,
        word: &str,
    ) -> Result<(LogicalPlan, LogicalPlan, Vec<BoundColumn>)> {
        if left.columns.len() != right.columns.len() {
            let message = format!("each {word} query must have the same number of columns");
            let position = right.columns.first().and_then(|column| column.position);
            return Err(Error::new(SqlState::SyntaxError, message).at(position));
        }
        let names = names::unique(left.columns.iter().map(|column| column.name.as_str()));
        let (mut a, mut b, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for (index, name) in names.iter().enumerate() {
            let (Some(x), Some(y)) = (left.operand(index), right.operand(index)) else { continue };
            let mut ty = typing::common_type(self.typing, &[x.clone(), y.clone()], word)?;
            if ty.oid == PgType::UNKNOWN.oid {
                ty = PgType::TEXT;
            }
            let coerce = |value| typing::coerce(self.typing, value, ty, Coercion::Implicit);
            let (mut x, mut y) = (coerce(x)?.expr, coerce(y)?.expr);
            digits::alike(ty, vec![(&mut x, left.plan.schema().as_ref()), (&mut y, right.plan.schema().as_ref())]);
            a.push(x.alias(name));
            b.push(y.alias(name));
            columns.push(BoundColumn {
                name: left.columns.get(index).map(|column| column.name.clone()).unwrap_or_default(),
                ty,
                origin: Origin::default(),
                position: left.columns.get(index).and_then(|column| column.position),
                unsettled: None,
            });
        }
        let left = LogicalPlanBuilder::from(left.plan).project(a)?.build()?;
        let right = LogicalPlanBuilder::from(right.plan).project(b)?.build()?;
        Ok((left, right, columns))
    }

    /// INTERSECT ALL and EXCEPT ALL: the nth copy of a row meets the nth copy on the other side.
    fn with_counted_duplicates(
        &self,
        left: LogicalPlan,
        op: ast::SetOperator,
        right: LogicalPlan,
        columns: &[BoundColumn],
    ) -> Result<LogicalPlan> {
        let count = left.schema().fields().len();
        let name = self.unique("copy");
        let left = numbered(left, columns, &name)?;
        let right = numbered(right, columns, &name)?;
        let plan = if op == ast::SetOperator::Except {
            LogicalPlanBuilder::except(left, right, false)?
        } else {
            LogicalPlanBuilder::intersect(left, right, false)?
        };
        Ok(LogicalPlanBuilder::from(plan).select(0..count)?.build()?)
    }
}

fn numbered(plan: LogicalPlan, columns: &[BoundColumn], name: &str) -> Result<LogicalPlan> {
    // Copies are what the join above them takes for equal, so they are not counted by keys that it has not.
    let key = |(expr, column): (Expr, &BoundColumn)| {
        if typing::has_sort_key(column.ty) { Ok(expr) } else { typing::equal_key(expr, column.ty) }
    };
    let keys = plan_columns(&plan).into_iter().zip(columns).map(key).collect::<Result<Vec<_>>>()?;
    let number = datafusion::functions_window::row_number::row_number()
        .partition_by(keys)
        .window_frame(WindowFrame::new(None))
        .build()?;
    let plan = LogicalPlanBuilder::window_plan(plan, [number])?;
    let mut exprs = plan_columns(&plan);
    if let Some(last) = exprs.pop() {
        exprs.push(last.alias(name));
    }
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}
