//! CASE, COALESCE, NULLIF, GREATEST and LEAST: values of one common type.

use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Case, Expr, Operator, lit};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::super::copies::{are_plainly_equal, have_one_type, is_leaf, is_plain};
use super::super::{Binder, digits};
use super::Context;
use crate::builtins::functions::nullif;
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
        let mut tests = Vec::new();
        let mut results = Vec::new();
        for branch in branches {
            let test = self.case_test(operand.as_ref(), &branch.condition, context)?;
            if operand.as_ref().map_or(Ok(false), |operand| holds_set(&operand.expr))? || holds_set(test.expr())? {
                let message = "argument of CASE/WHEN must not return a set";
                return Err(Error::new(SqlState::DatatypeMismatch, message).at(self.start(&branch.condition)));
            }
            tests.push(test);
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
        let (operand, conditions) = self.case_conditions(operand, tests, position)?;
        let branches = conditions.into_iter().map(Box::new).zip(results.into_iter().map(Box::new)).collect();
        let case = Case::new(operand.map(Box::new), branches, otherwise.map(Box::new));
        Ok(Typed { expr: Expr::Case(case), ty, position })
    }

    /// With an operand each condition is a comparison, with the operator that its own type asks for.
    fn case_test(&self, operand: Option<&Typed>, condition: &ast::Expr, context: &Context<'_, '_>) -> Result<CaseTest> {
        let Some(operand) = operand else {
            return self.boolean(condition, context, "CASE/WHEN").map(CaseTest::Condition);
        };
        let position = self.position(condition.span());
        let value = self.expr(condition, context)?;
        let schema = &context.scope.schema;
        if are_plainly_equal(operand, &value, schema) {
            return Ok(CaseTest::Equals(value.expr));
        }
        let equal = typing::binary(self.typing, "=", operand.clone(), value, position, schema)?.expr;
        match equal {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
                if *left == operand.expr && is_plain(operand.ty.oid) && have_one_type(&left, &right, schema) =>
            {
                Ok(CaseTest::Equals(*right))
            }
            equal => {
                self.note_copies(&operand.expr, 1, position)?;
                Ok(CaseTest::Condition(equal))
            }
        }
    }

    /// The operand, where the engine can compare it itself, and what stands behind each WHEN. A column is as well named in each.
    fn case_conditions(
        &self,
        operand: Option<Typed>,
        tests: Vec<CaseTest>,
        position: Option<u32>,
    ) -> Result<(Option<Expr>, Vec<Expr>)> {
        let Some(operand) = operand.map(|operand| operand.expr) else {
            return Ok((None, tests.into_iter().map(CaseTest::into_expr).collect()));
        };
        let equals = tests.iter().filter(|test| matches!(test, CaseTest::Equals(_))).count();
        if equals == tests.len() && !is_leaf(&operand) {
            return Ok((Some(operand), tests.into_iter().map(CaseTest::into_expr).collect()));
        }
        self.note_copies(&operand, equals, position)?;
        let condition = |test: CaseTest| match test {
            CaseTest::Equals(value) => operand.clone().eq(value),
            CaseTest::Condition(condition) => condition,
        };
        Ok((None, tests.into_iter().map(condition).collect()))
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
        match equal.expr {
            Expr::BinaryExpr(BinaryExpr { left: value, op: Operator::Eq, right })
                if *value == left.expr
                    && !is_leaf(&value)
                    && is_plain(left.ty.oid)
                    && have_one_type(&value, &right, schema) =>
            {
                let expr = nullif::nullif(*value, *right)?;
                Ok(Typed { expr, ty: left.ty, position })
            }
            equal => self.null_when(equal, left, position),
        }
    }

    /// The value, or NULL where the condition, which names the value too, holds.
    fn null_when(&self, condition: Expr, value: Typed, position: Option<u32>) -> Result<Typed> {
        self.note_copies(&value.expr, 1, position)?;
        let null = lit(ScalarValue::Null);
        let case = Case::new(None, vec![(Box::new(condition), Box::new(null))], Some(Box::new(value.expr)));
        Ok(Typed { expr: Expr::Case(case), ty: value.ty, position })
    }
}

/// What stands behind a WHEN.
enum CaseTest {
    /// A value that the operand, as it stands, is compared with by the engine's own equality.
    Equals(Expr),
    /// A condition of its own.
    Condition(Expr),
}

impl CaseTest {
    fn expr(&self) -> &Expr {
        match self {
            Self::Equals(expr) | Self::Condition(expr) => expr,
        }
    }

    fn into_expr(self) -> Expr {
        match self {
            Self::Equals(expr) | Self::Condition(expr) => expr,
        }
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
