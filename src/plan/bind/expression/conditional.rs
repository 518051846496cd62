//! CASE, COALESCE, NULLIF, GREATEST and LEAST: values of one common type.

use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Case, Expr, lit};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::super::{Binder, digits};
use super::Context;
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Coercion, Typed};

impl Binder<'_> {
    pub(super) fn case(
        &self,
        operand: Option<&ast::Expr>,
        branches: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let operand = operand.map(|operand| self.settled(operand, context)).transpose()?;
        let mut conditions = Vec::new();
        let mut results = Vec::new();
        for branch in branches {
            let condition = self.case_condition(operand.as_ref(), &branch.condition, context)?;
            if holds_set(&condition)? {
                let message = "argument of CASE/WHEN must not return a set";
                return Err(Error::new(SqlState::DatatypeMismatch, message).at(self.start(&branch.condition)));
            }
            conditions.push(condition);
            results.push(self.expr(&branch.result, context)?);
        }
        // PostgreSQL looks at ELSE first when it chooses the type.
        let otherwise = match otherwise {
            Some(otherwise) => Some(self.expr(otherwise, context)?),
            None => None,
        };
        let all: Vec<Typed> = otherwise.iter().chain(&results).cloned().collect();
        refuse_sets(all.iter().map(|value| (&value.expr, value.position)), "CASE")?;
        let ty = typing::common_type(self.typing, &all, "CASE")?;
        let coerce = |value: Typed| typing::coerce(self.typing, value, ty, Coercion::Implicit).map(|value| value.expr);
        let mut results = results.into_iter().map(coerce).collect::<Result<Vec<_>>>()?;
        let mut otherwise = otherwise.map(coerce).transpose()?;
        let schema: &DFSchema = &context.scope.schema;
        digits::alike(ty, results.iter_mut().chain(&mut otherwise).map(|value| (value, schema)).collect());
        let branches = conditions.into_iter().map(Box::new).zip(results.into_iter().map(Box::new)).collect();
        Ok(Typed { expr: Expr::Case(Case::new(None, branches, otherwise.map(Box::new))), ty, position })
    }

    /// With an operand each condition is a comparison, with the operator that its own type asks for.
    fn case_condition(
        &self,
        operand: Option<&Typed>,
        condition: &ast::Expr,
        context: &Context<'_, '_>,
    ) -> Result<Expr> {
        let Some(operand) = operand else { return self.boolean(condition, context, "CASE/WHEN") };
        let position = self.position(condition.span());
        let value = self.expr(condition, context)?;
        let equal = typing::binary(self.typing, "=", operand.clone(), value, position, &context.scope.schema)?;
        Ok(equal.expr)
    }

    /// COALESCE, GREATEST, LEAST; `None` when the name is another function's.
    pub(super) fn conditional_call(
        &self,
        name: &str,
        arguments: &[Typed],
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Option<Typed>> {
        let construct = match name {
            "coalesce" => "COALESCE",
            "greatest" => "GREATEST",
            "least" => "LEAST",
            "nullif" => return self.nullif(arguments, context, position).map(Some),
            _ => return Ok(None),
        };
        if arguments.is_empty() {
            return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \")\"").at(position));
        }
        if name == "coalesce" {
            refuse_sets(arguments.iter().map(|value| (&value.expr, value.position)), construct)?;
        }
        let ty = typing::common_type(self.typing, arguments, construct)?;
        let values = arguments
            .iter()
            .map(|value| typing::coerce(self.typing, value.clone(), ty, Coercion::Implicit).map(|value| value.expr))
            .collect::<Result<Vec<_>>>()?;
        let expr = match name {
            "coalesce" => datafusion::functions::core::expr_fn::coalesce(values),
            "greatest" => datafusion::functions::core::expr_fn::greatest(values),
            _ => datafusion::functions::core::expr_fn::least(values),
        };
        Ok(Some(Typed { expr, ty, position }))
    }

    /// `nullif(a, b)` is NULL when `a = b`; its type is what the operator takes on its left.
    fn nullif(&self, arguments: &[Typed], context: &Context<'_, '_>, position: Option<u32>) -> Result<Typed> {
        let [left, right] = arguments else {
            return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \")\"").at(position));
        };
        let schema = &context.scope.schema;
        let equal = typing::binary(self.typing, "=", left.clone(), right.clone(), position, schema)?;
        let operand = typing::left_operand("=", left, right).map_err(|error| error.at(position))?;
        let left = typing::coerce(self.typing, left.clone(), operand, Coercion::Implicit)?;
        let left = super::super::settle(self.typing, left)?;
        let null = lit(ScalarValue::Null);
        let case = Case::new(None, vec![(Box::new(equal.expr), Box::new(null))], Some(Box::new(left.expr)));
        Ok(Typed { expr: Expr::Case(case), ty: left.ty, position })
    }
}

/// CASE and COALESCE choose one value of several; a set would be computed before the choice.
fn refuse_sets<'e>(values: impl Iterator<Item = (&'e Expr, Option<u32>)>, construct: &str) -> Result<()> {
    for (value, position) in values {
        if holds_set(value)? {
            let message = format!("set-returning functions are not allowed in {construct}");
            return Err(Error::new(SqlState::FeatureNotSupported, message)
                .with_hint("You might be able to move the set-returning function into a LATERAL FROM item.")
                .at(position));
        }
    }
    Ok(())
}

fn holds_set(value: &Expr) -> Result<bool> {
    Ok(value.exists(|expr| Ok(matches!(expr, Expr::Unnest(_))))?)
}
