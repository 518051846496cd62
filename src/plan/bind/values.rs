//! VALUES lists, and constants outside queries (EXECUTE's arguments).

use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use sqlparser::ast;

use super::expression::{Clause, Context};
use super::scope::{Environment, Origin, Scope};
use super::{Binder, Bound, BoundColumn, Unknowns, digits, is_unsettled};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Coercion, Typed};

impl Binder<'_> {
    pub(super) fn values(
        &self,
        values: &ast::Values,
        environment: &Environment<'_>,
        unknowns: Unknowns,
    ) -> Result<Bound> {
        let scope = Scope::empty(environment);
        let context = Context::new(&scope, Clause::Values);
        let mut rows = Vec::new();
        for row in &values.rows {
            rows.push(self.exprs(&row.content, &context)?);
        }
        self.values_of(rows, unknowns)
    }

    /// Rows of one length; a common type for each column.
    pub(super) fn values_of(&self, rows: Vec<Vec<Typed>>, unknowns: Unknowns) -> Result<Bound> {
        let width = rows.first().map_or(0, Vec::len);
        if let Some(row) = rows.iter().find(|row| row.len() != width) {
            let position = row.first().and_then(|value| value.position);
            let message = "VALUES lists must all be the same length";
            return Err(Error::new(SqlState::SyntaxError, message).at(position));
        }
        let single = rows.len() == 1;
        let mut columns = Vec::new();
        let mut types = Vec::new();
        for index in 0..width {
            let column: Vec<Typed> = rows.iter().filter_map(|row| row.get(index)).cloned().collect();
            let first = column.first().cloned();
            let waits = unknowns == Unknowns::Wait && single && first.as_ref().is_some_and(is_unsettled);
            let mut ty = if waits { PgType::UNKNOWN } else { typing::common_type(self.typing, &column, "VALUES")? };
            if !waits && ty.oid == PgType::UNKNOWN.oid {
                ty = PgType::TEXT;
            }
            types.push((ty, waits));
            columns.push(BoundColumn {
                name: format!("column{}", index + 1),
                ty,
                origin: Origin::default(),
                position: first.as_ref().and_then(|value| value.position),
                unsettled: first.filter(|_| waits),
            });
        }
        let mut exprs = Vec::new();
        for row in rows {
            let row = row.into_iter().zip(&types).map(|(value, (ty, waits))| {
                if *waits {
                    return Ok(lit(ScalarValue::Utf8(None)));
                }
                typing::coerce(self.typing, value, *ty, Coercion::Implicit).map(|value| value.expr)
            });
            exprs.push(row.collect::<Result<Vec<_>>>()?);
        }
        Ok(Bound { plan: values_plan(exprs, &columns)?, columns })
    }

    /// Constant expressions cast to the types given: EXECUTE's arguments. 42601 for a wrong number of them.
    pub fn bind_arguments(&self, statement: &str, arguments: &[ast::Expr], types: &[PgType]) -> Result<Vec<Expr>> {
        if arguments.len() != types.len() {
            let message = format!("wrong number of parameters for prepared statement \"{statement}\"");
            let detail = format!("Expected {} parameters but got {}.", types.len(), arguments.len());
            return Err(Error::new(SqlState::SyntaxError, message).with_detail(detail));
        }
        let scope = Scope::empty(&Environment::default());
        let context = Context::new(&scope, Clause::Execute);
        let mut values = Vec::new();
        for (index, (argument, ty)) in arguments.iter().zip(types).enumerate() {
            let position = self.start(argument);
            let value = self.expr(argument, &context)?;
            let given = value.ty;
            let coerced = typing::coerce(self.typing, value, *ty, Coercion::Assignment).map_err(|error| {
                if error.sqlstate() != SqlState::DatatypeMismatch {
                    return error;
                }
                let message = format!(
                    "parameter ${} of type {} cannot be coerced to the expected type {}",
                    index + 1,
                    super::insert::type_words(given),
                    super::insert::type_words(*ty)
                );
                Error::new(SqlState::DatatypeMismatch, message)
                    .with_hint("You will need to rewrite or cast the expression.")
                    .at(position)
            })?;
            values.push(coerced.expr);
        }
        Ok(values)
    }
}

pub(super) fn has_subquery(expr: &Expr) -> Result<bool> {
    Ok(expr.exists(|expr| {
        Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)))
    })?)
}

/// A Values node takes expressions of constants only; anything else becomes a union of one-row projections.
fn values_plan(mut rows: Vec<Vec<Expr>>, columns: &[BoundColumn]) -> Result<LogicalPlan> {
    let mut plain = true;
    for expr in rows.iter().flatten() {
        let outer = !datafusion::logical_expr::utils::find_out_reference_exprs(expr).is_empty();
        plain &= !outer && !has_subquery(expr)?;
    }
    if plain {
        return Ok(LogicalPlanBuilder::values(rows)?.build()?);
    }
    // Outer columns and subqueries tell their types themselves.
    let schema = DFSchema::empty();
    for (index, column) in columns.iter().enumerate() {
        let values = rows.iter_mut().filter_map(|row| row.get_mut(index));
        digits::alike(column.ty, values.map(|value| (value, &schema)).collect());
    }
    let mut result: Option<LogicalPlanBuilder> = None;
    for row in rows {
        let named = row.into_iter().enumerate().map(|(index, expr)| expr.alias(format!("column{}", index + 1)));
        let row = LogicalPlanBuilder::empty(true).project(named.collect::<Vec<_>>())?;
        result = Some(match result {
            None => row,
            Some(before) => before.union(row.build()?)?,
        });
    }
    match result {
        Some(plan) => Ok(plan.build()?),
        None => Err(Error::internal("VALUES without rows")),
    }
}
