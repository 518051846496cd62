//! Tests and comparisons that are more than an operator: IS, IN, BETWEEN, LIKE, SIMILAR TO, DISTINCT FROM.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable as _, Operator, lit};
use sqlparser::ast;
use sqlparser::ast::Spanned as _;

use super::super::Binder;
use super::super::copies::{are_plainly_equal, is_leaf};
use super::{Context, row};
use crate::builtins::functions::kernel::longer_decimal;
use crate::encode::types::{PgType, oid};
use crate::error::{Error, Result, SqlState};
use crate::plan::null_safe;
use crate::plan::typing::{self, Coercion, Typed};

impl Binder<'_> {
    pub(super) fn is_test(&self, expr: &ast::Expr, context: &Context<'_, '_>) -> Result<Typed> {
        use ast::Expr as E;
        let position = self.start(expr);
        let truth = |operand: &ast::Expr, clause: &str| self.boolean(operand, context, clause).map(Box::new);
        let expr = match expr {
            E::IsNull(operand) => self.null_test(operand, true, context)?,
            E::IsNotNull(operand) => self.null_test(operand, false, context)?,
            E::IsTrue(operand) => Expr::IsTrue(truth(operand, "IS TRUE")?),
            E::IsNotTrue(operand) => Expr::IsNotTrue(truth(operand, "IS NOT TRUE")?),
            E::IsFalse(operand) => Expr::IsFalse(truth(operand, "IS FALSE")?),
            E::IsNotFalse(operand) => Expr::IsNotFalse(truth(operand, "IS NOT FALSE")?),
            E::IsUnknown(operand) => Expr::IsUnknown(truth(operand, "IS UNKNOWN")?),
            E::IsNotUnknown(operand) => Expr::IsNotUnknown(truth(operand, "IS NOT UNKNOWN")?),
            _ => return Err(Error::internal("no IS test")),
        };
        Ok(Typed { expr, ty: PgType::BOOL, position })
    }

    /// A row is NULL when all its fields are, and NOT NULL when all of them are not.
    fn null_test(&self, operand: &ast::Expr, null: bool, context: &Context<'_, '_>) -> Result<Expr> {
        let test = |expr: Expr| if null { Expr::IsNull(Box::new(expr)) } else { Expr::IsNotNull(Box::new(expr)) };
        if let Some(fields) = row::elements(operand) {
            let fields = fields.into_iter().map(|field| self.settled(field, context)).collect::<Result<Vec<_>>>()?;
            let all = fields.into_iter().map(|field| test(field.expr)).reduce(Expr::and);
            return all.ok_or_else(|| Error::unsupported("an empty row"));
        }
        Ok(test(self.settled(operand, context)?.expr))
    }

    pub(super) fn distinct_from(
        &self,
        left: &ast::Expr,
        right: &ast::Expr,
        same: bool,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let position = self.source.operator_after(left.span());
        let start = self.start(left);
        let left = self.expr(left, context)?;
        let right = self.expr(right, context)?;
        let words = if same { "IS NOT DISTINCT FROM" } else { "IS DISTINCT FROM" };
        if typing::is_wide(&left) || typing::is_wide(&right) {
            // No comparison of two values is made of a constant without room in a numeric.
            let value = typing::binary(self.typing, words, left, right, position, &context.scope.schema)?;
            return Ok(Typed { position: start, ..value });
        }
        let equal = typing::binary(self.typing, "=", left.clone(), right.clone(), position, &context.scope.schema)?;
        let op = if same { Operator::IsNotDistinctFrom } else { Operator::IsDistinctFrom };
        match equal.expr {
            // A constant on one side never becomes a join's key.
            Expr::BinaryExpr(BinaryExpr { left, right, op: Operator::Eq })
                if same && !left.column_refs().is_empty() && !right.column_refs().is_empty() =>
            {
                let schema = &context.scope.schema;
                self.note_copies(&left, 1, position)?;
                self.note_copies(&right, 1, position)?;
                let expr = null_safe::equal((*left, schema), (*right, schema))?;
                Ok(Typed { expr, ty: PgType::BOOL, position: start })
            }
            Expr::BinaryExpr(BinaryExpr { left, right, op: Operator::Eq }) => {
                let expr = Expr::BinaryExpr(BinaryExpr::new(left, op, right));
                Ok(Typed { expr, ty: PgType::BOOL, position: start })
            }
            // Nor of one that lies beyond a column's values.
            Expr::BinaryExpr(_) => {
                let value = typing::binary(self.typing, words, left, right, position, &context.scope.schema)?;
                Ok(Typed { position: start, ..value })
            }
            _ => Err(Error::unsupported("IS DISTINCT FROM for this type").at(position)),
        }
    }

    /// `x IN (a, b)`: one type for the constants, if there are several and they have one, else a comparison with each item in the
    /// order of the text; as in PostgreSQL, where the constants make an array.
    pub(super) fn in_list(
        &self,
        operand: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let start = self.start(operand);
        let position = self.source.operator_after(operand.span());
        if let Some(fields) = row::elements(operand) {
            return self.row_in_list(&fields, list, negated, position, context);
        }
        let value = self.expr(operand, context)?;
        let items = self.exprs(list, context)?;
        let is_column = |item: &Typed| !item.expr.column_refs().is_empty();
        let mut alike = vec![value.clone()];
        alike.extend(items.iter().filter(|item| !is_column(item)).cloned());
        let tests = match typing::common_type(self.typing, &alike, "IN") {
            // Which of them a constant without room in a numeric equals is each comparison's to say.
            Ok(ty) if alike.len() > 2 && ty.oid != PgType::RECORD.oid && !alike.iter().any(typing::is_wide) => {
                let (columns, constants): (Vec<Typed>, Vec<Typed>) = items.into_iter().partition(is_column);
                self.note_copies(&value.expr, usize::from(!columns.is_empty()), position)?;
                let mut tests = self.one_type_list(value.clone(), constants, ty, negated, position, context)?;
                tests.extend(self.each_equal(&value, columns, negated, position, context)?);
                tests
            }
            _ => self.each_equal(&value, items, negated, position, context)?,
        };
        let join = if negated { Expr::and } else { Expr::or };
        let expr = tests.into_iter().reduce(join);
        let expr = expr.ok_or_else(|| Error::new(SqlState::SyntaxError, "syntax error at or near \")\""))?;
        Ok(Typed { expr, ty: PgType::BOOL, position: start })
    }

    fn one_type_list(
        &self,
        value: Typed,
        items: Vec<Typed>,
        ty: PgType,
        negated: bool,
        position: Option<u32>,
        context: &Context<'_, '_>,
    ) -> Result<Vec<Expr>> {
        let ty = if ty.oid == PgType::UNKNOWN.oid { PgType::TEXT } else { PgType::of(ty.oid) };
        let coerce = |item: Typed| typing::coerce(self.typing, item, ty, Coercion::Implicit);
        let items = items.into_iter().map(coerce).collect::<Result<Vec<_>>>()?;
        if ty.oid == oid::FLOAT4 && !matches!(value.ty.oid, oid::FLOAT4 | oid::UNKNOWN) {
            // The items are real, but the operator compares double precision.
            return self.each_equal(&value, items, negated, position, context);
        }
        // The operator must exist for the type; its coerced left side is the list's.
        let Some(first) = items.first().cloned() else {
            return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \")\"").at(position));
        };
        let schema = &context.scope.schema;
        let left = if value.ty.oid == ty.oid { value } else { coerce(value)? };
        let probe = typing::binary(self.typing, "=", left.clone(), first, position, schema)?;
        // Each constant beside a char(n) column is padded by itself.
        let plain = ty.oid != PgType::BPCHAR.oid
            && matches!(&probe.expr, Expr::BinaryExpr(equal) if equal.op == Operator::Eq && *equal.left == left.expr);
        let list: Vec<Expr> = items.iter().map(|item| item.expr.clone()).collect();
        if !plain || !have_one_decimal(&left.expr, &list, schema) {
            return self.each_equal(&left, items, negated, position, context);
        }
        // The engine's list tells 0 from -0: which of its floats are zero must be known.
        let is_float = matches!(ty.oid, oid::FLOAT4 | oid::FLOAT8);
        let is_known = |item: &Typed| !is_float || matches!(item.expr, Expr::Literal(..));
        let (known, others): (Vec<Typed>, Vec<Typed>) = items.into_iter().partition(is_known);
        let mut tests = self.each_equal(&left, others, negated, position, context)?;
        if !known.is_empty() {
            tests.push(among(left.expr, known.into_iter().map(|item| item.expr).collect(), negated));
        }
        Ok(tests)
    }

    /// A comparison with each item; one list of them where that says the same and the value is more than a column, which each
    /// comparison would compute again.
    fn each_equal(
        &self,
        value: &Typed,
        items: Vec<Typed>,
        negated: bool,
        position: Option<u32>,
        context: &Context<'_, '_>,
    ) -> Result<Vec<Expr>> {
        let schema = &context.scope.schema;
        // Comparisons that OR joins need not be computed once one holds; what cannot fail may be.
        let is_listed = |item: &Typed| is_leaf(&item.expr) && are_plainly_equal(value, item, schema);
        if items.len() > 1 && !is_leaf(&value.expr) && items.iter().all(is_listed) {
            let list = items.into_iter().map(|item| item.expr).collect();
            return Ok(vec![value.expr.clone().in_list(list, negated)]);
        }
        self.note_copies(&value.expr, items.len().saturating_sub(1), position)?;
        let op = if negated { "<>" } else { "=" };
        let compare = |item| typing::binary(self.typing, op, value.clone(), item, position, schema);
        items.into_iter().map(|item| compare(item).map(|compared| compared.expr)).collect()
    }

    fn row_in_list(
        &self,
        fields: &[&ast::Expr],
        list: &[ast::Expr],
        negated: bool,
        position: Option<u32>,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let left = fields.iter().map(|field| self.expr(field, context)).collect::<Result<Vec<_>>>()?;
        for value in &left {
            self.note_copies(&value.expr, list.len().saturating_sub(1), position)?;
        }
        let mut any: Option<Expr> = None;
        for item in list {
            let Some(values) = row::elements(item) else {
                return Err(Error::unsupported("IN with a row and this list").at(self.start(item)));
            };
            row::check_lengths(left.len(), values.len(), position)?;
            let values = values.into_iter().map(|value| self.expr(value, context)).collect::<Result<Vec<_>>>()?;
            let equal = self.compare_values(left.clone(), "=", values, position, &context.scope.schema)?.expr;
            any = Some(match any {
                None => equal,
                Some(others) => others.or(equal),
            });
        }
        let any = any.ok_or_else(|| Error::internal("an empty IN list"))?;
        let expr = if negated { Expr::Not(Box::new(any)) } else { any };
        Ok(Typed { expr, ty: PgType::BOOL, position })
    }

    /// `x BETWEEN a AND b` is `x >= a AND x <= b`, each comparison with its own operator; SYMMETRIC, which the grammar writes before
    /// the first bound, takes the bounds in both orders.
    pub(super) fn between(
        &self,
        operand: &ast::Expr,
        low: &ast::Expr,
        high: &ast::Expr,
        negated: bool,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let start = self.start(operand);
        let position = self.source.operator_after(operand.span());
        let (low, symmetric) = match low {
            ast::Expr::Prefixed { value, .. } => (value.as_ref(), true),
            low => (low, false),
        };
        let value = self.expr(operand, context)?;
        let low = self.expr(low, context)?;
        let high = self.expr(high, context)?;
        let compare = |op: &str, a: &Typed, b: &Typed| {
            typing::binary(self.typing, op, a.clone(), b.clone(), position, &context.scope.schema)
                .map(|value| value.expr)
        };
        let within = |low: &Typed, high: &Typed| -> Result<Expr> {
            Ok(if negated {
                compare("<", &value, low)?.or(compare(">", &value, high)?)
            } else {
                compare(">=", &value, low)?.and(compare("<=", &value, high)?)
            })
        };
        self.note_copies(&value.expr, if symmetric { 3 } else { 1 }, position)?;
        let mut expr = within(&low, &high)?;
        if symmetric {
            self.note_copies(&low.expr, 1, position)?;
            self.note_copies(&high.expr, 1, position)?;
            let swapped = within(&high, &low)?;
            expr = if negated { expr.and(swapped) } else { expr.or(swapped) };
        }
        Ok(Typed { expr, ty: PgType::BOOL, position: start })
    }

    pub(super) fn like(
        &self,
        op: &str,
        operand: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let start = self.start(operand);
        let position = self.source.operator_after(operand.span());
        let value = self.expr(operand, context)?;
        let mut pattern = self.expr(pattern, context)?;
        if let Some(escape) = escape {
            let escape = typing::literal(&escape.value, self.position(escape.span))?;
            pattern = self.call("like_escape", vec![pattern, escape], position)?;
        }
        let mut value = typing::binary(self.typing, op, value, pattern, position, &context.scope.schema)?;
        value.position = start;
        Ok(value)
    }

    /// SIMILAR TO is a match of the regular expression that the pattern is turned into.
    pub(super) fn similar_to(
        &self,
        negated: bool,
        operand: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let start = self.start(operand);
        let position = self.source.operator_after(operand.span());
        let value = self.expr(operand, context)?;
        let mut arguments = vec![self.expr(pattern, context)?];
        if let Some(escape) = escape {
            arguments.push(typing::literal(&escape.value, self.position(escape.span))?);
        }
        let pattern = self.call("similar_to_escape", arguments, position)?;
        let op = if negated { "!~" } else { "~" };
        let mut value = typing::binary(self.typing, op, value, pattern, position, &context.scope.schema)?;
        value.position = start;
        Ok(value)
    }
}

/// Whether there is a decimal that holds them all, if they are decimals: the engine compares a list in its items' common type.
pub(in crate::plan::bind) fn have_one_decimal(value: &Expr, list: &[Expr], schema: &DFSchema) -> bool {
    let types: Vec<DataType> =
        std::iter::once(value).chain(list).filter_map(|expr| expr.get_type(schema).ok()).collect();
    longer_decimal(types.iter()).is_none()
}

/// `value IN (list)`. The engine tells 0 from -0 in a list of floats: where one of them is, both are.
pub(in crate::plan::bind) fn among(value: Expr, mut list: Vec<Expr>, negated: bool) -> Expr {
    let zeros: Vec<Expr> = list.iter().filter_map(other_zero).collect();
    list.extend(zeros);
    value.in_list(list, negated)
}

fn other_zero(item: &Expr) -> Option<Expr> {
    match item {
        Expr::Literal(ScalarValue::Float32(Some(value)), _) if *value == 0.0 => Some(lit(-*value)),
        Expr::Literal(ScalarValue::Float64(Some(value)), _) if *value == 0.0 => Some(lit(-*value)),
        _ => None,
    }
}
