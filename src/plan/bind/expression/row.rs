//! Rows: `ROW(…)`, whole-row references and comparisons of rows.

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, lit};
use sqlparser::ast;

use super::super::names::last_name;
use super::super::{Binder, settle};
use super::Context;
use crate::builtins::functions::json_build;
use crate::encode::types::{PgType, oid};
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Typed};

/// A struct of named fields. It knows of their types what their carriers tell, and which ones are JSON.
pub(in super::super) fn record(fields: Vec<(String, Expr, PgType)>) -> Expr {
    let names = super::super::names::unique(fields.iter().map(|(name, _, _)| name.as_str()));
    let value = |(_, value, ty): (String, Expr, PgType)| match ty.oid {
        oid::JSON | oid::JSONB => json_build::document(value),
        _ => value,
    };
    let arguments = names.into_iter().zip(fields).flat_map(|(name, field)| [lit(name), value(field)]).collect();
    datafusion::functions::core::named_struct().call(arguments)
}

/// The elements of a row constructor, with or without the word ROW.
pub(in super::super) fn elements(expr: &ast::Expr) -> Option<Vec<&ast::Expr>> {
    match expr {
        ast::Expr::Tuple(values) => Some(values.iter().collect()),
        ast::Expr::Function(function)
            if last_name(&function.name) == "row" && function.name.0.len() == 1 && function.over.is_none() =>
        {
            let ast::FunctionArguments::List(list) = &function.args else { return None };
            list.args
                .iter()
                .map(|argument| match argument {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
                    _ => None,
                })
                .collect()
        }
        _ => None,
    }
}

/// Rows are compared that have as many fields as the other.
pub(super) fn check_lengths(left: usize, right: usize, position: Option<u32>) -> Result<()> {
    if left != right {
        let message = "unequal number of entries in row expressions";
        return Err(Error::new(SqlState::SyntaxError, message).at(position));
    }
    if left == 0 {
        let message = "cannot compare rows of zero length";
        return Err(Error::new(SqlState::FeatureNotSupported, message).at(position));
    }
    Ok(())
}

/// The subquery that an operand is.
pub(super) fn query(expr: &ast::Expr) -> Option<&ast::Query> {
    match expr {
        ast::Expr::Nested(inner) => query(inner),
        ast::Expr::Subquery(query) => Some(query),
        _ => None,
    }
}

impl Binder<'_> {
    pub(super) fn row(&self, values: &[ast::Expr], context: &Context<'_, '_>, position: Option<u32>) -> Result<Typed> {
        let values: Vec<&ast::Expr> = values.iter().collect();
        self.row_of(&values, context, position)
    }

    pub(super) fn row_of(
        &self,
        values: &[&ast::Expr],
        context: &Context<'_, '_>,
        position: Option<u32>,
    ) -> Result<Typed> {
        let mut fields = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let value = settle(self.typing, self.expr(value, context)?)?;
            fields.push((format!("f{}", index + 1), value.expr, value.ty));
        }
        if fields.is_empty() {
            return Err(Error::unsupported("an empty row").at(position));
        }
        Ok(Typed { expr: record(fields), ty: PgType::RECORD, position })
    }

    /// `(a, b) op (c, d)`: equality of all, or the order of the first pair that differs.
    pub(super) fn compare_rows(
        &self,
        left: Vec<&ast::Expr>,
        op: &str,
        right: Vec<&ast::Expr>,
        position: Option<u32>,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        check_lengths(left.len(), right.len(), position)?;
        let left = left.into_iter().map(|expr| self.expr(expr, context)).collect::<Result<Vec<_>>>()?;
        let right = right.into_iter().map(|expr| self.expr(expr, context)).collect::<Result<Vec<_>>>()?;
        self.compare_values(left, op, right, position, &context.scope.schema)
    }

    pub(in super::super) fn compare_values(
        &self,
        left: Vec<Typed>,
        op: &str,
        right: Vec<Typed>,
        position: Option<u32>,
        schema: &DFSchema,
    ) -> Result<Typed> {
        let compare = |op: &str, a: &Typed, b: &Typed| {
            typing::binary(self.typing, op, a.clone(), b.clone(), position, schema).map(|value| value.expr)
        };
        let pairs: Vec<(&Typed, &Typed)> = left.iter().zip(&right).collect();
        let expr = match op {
            "=" | "<>" => {
                let each = pairs.iter().map(|(a, b)| compare(op, a, b)).collect::<Result<Vec<_>>>()?;
                let join = if op == "=" { Expr::and } else { Expr::or };
                each.into_iter().reduce(join)
            }
            "<" | "<=" | ">" | ">=" => {
                let strict = op.trim_end_matches('=');
                let mut result: Option<Expr> = None;
                for (index, (a, b)) in pairs.iter().enumerate().rev() {
                    let last = index + 1 == pairs.len();
                    result = Some(match result {
                        None => compare(if last { op } else { strict }, a, b)?,
                        Some(rest) => {
                            self.note_copies(&a.expr, 1, position)?;
                            self.note_copies(&b.expr, 1, position)?;
                            compare(strict, a, b)?.or(compare("=", a, b)?.and(rest))
                        }
                    });
                }
                result
            }
            other => {
                let message = format!("could not determine interpretation of row comparison operator {other}");
                return Err(Error::new(SqlState::FeatureNotSupported, message)
                    .with_hint("Row comparison operators must be associated with btree operator families.")
                    .at(position));
            }
        };
        let expr = expr.ok_or_else(|| Error::internal("a comparison of empty rows"))?;
        Ok(Typed { expr, ty: PgType::BOOL, position: left.first().and_then(|value| value.position) })
    }
}
