//! `(a, b) OVERLAPS (c, d)`: whether two spans of time share a moment.

use datafusion::common::ScalarValue;
use datafusion::functions::core::expr_fn::{greatest, least};
use datafusion::logical_expr::{Expr, lit, when};
use sqlparser::ast;

use super::Binder;
use super::expression::{Context, row};
use crate::encode::types::{oid, type_words};
use crate::error::{Error, Result, SqlState};
use crate::plan::typing::{self, Coercion, Typed};

/// How often `overlap` of two `span`s names each of the four points, beyond once.
const COPIES: usize = 11;

/// A span with its ends in order. The end is NULL when either end was.
struct Span {
    start: Expr,
    end: Expr,
}

impl Binder<'_> {
    pub(super) fn overlaps(
        &self,
        left: &ast::Expr,
        right: &ast::Expr,
        position: Option<u32>,
        context: &Context<'_, '_>,
    ) -> Result<Typed> {
        let [a, b] = self.ends(left, "left", context)?;
        let [c, d] = self.ends(right, "right", context)?;
        let given = [&a, &b, &c, &d].map(|value| type_words(value.ty.oid)).join(", ");
        let undefined = || {
            let message = format!("function pg_catalog.overlaps({given}) does not exist");
            let hint =
                "No function matches the given name and argument types. You might need to add explicit type casts.";
            Error::new(SqlState::UndefinedFunction, message).with_hint(hint).at(position)
        };
        let (start, other) = (a.position, c.position);
        let b = self.end_of(&a, b, position, context)?;
        let d = self.end_of(&c, d, position, context)?;
        let mut points = vec![a, b, c, d];
        let ty = typing::common_type(self.typing, &points, "OVERLAPS").map_err(|_| undefined())?;
        if !matches!(ty.oid, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::TIME) {
            return Err(undefined());
        }
        for point in &mut points {
            *point = typing::coerce(self.typing, point.clone(), ty, Coercion::Implicit)?;
            self.note_copies(&point.expr, COPIES, position)?;
        }
        let [a, b, c, d] = <[Typed; 4]>::try_from(points).map_err(|_| Error::internal("not four points in time"))?;
        let expr = overlap(&span(a.expr, b.expr)?, &span(c.expr, d.expr)?)?;
        Ok(Typed { expr, ty: crate::encode::types::PgType::BOOL, position: start.or(other) })
    }

    fn ends(&self, operand: &ast::Expr, side: &str, context: &Context<'_, '_>) -> Result<[Typed; 2]> {
        let wrong = || {
            let message = format!("wrong number of parameters on {side} side of OVERLAPS expression");
            let start = self.start(operand);
            let open = start.and_then(|_| self.source.parenthesis_before(sqlparser::ast::Spanned::span(operand)));
            Error::new(SqlState::SyntaxError, message).at(open.or(start))
        };
        let fields = row::elements(operand).ok_or_else(wrong)?;
        let [start, end] = fields.as_slice() else { return Err(wrong()) };
        Ok([self.expr(start, context)?, self.expr(end, context)?])
    }

    /// An interval is how long the span lasts.
    fn end_of(&self, start: &Typed, end: Typed, position: Option<u32>, context: &Context<'_, '_>) -> Result<Typed> {
        if end.ty.oid != oid::INTERVAL {
            return Ok(end);
        }
        self.note_copies(&start.expr, 1, position)?;
        typing::binary(self.typing, "+", start.clone(), end, position, &context.scope.schema)
    }
}

fn span(start: Expr, end: Expr) -> Result<Span> {
    let unknown = start.clone().is_null().or(end.clone().is_null());
    let last = when(unknown.is_not_true(), greatest(vec![start.clone(), end.clone()])).end()?;
    Ok(Span { start: least(vec![start, end]), end: last })
}

/// PostgreSQL's `overlaps_timestamp`: the later start has to lie before the other's end; what is NULL decides only where
/// the rest does not.
fn overlap(first: &Span, second: &Span) -> Result<Expr> {
    let null = || lit(ScalarValue::Boolean(None));
    let either_open = || first.end.clone().is_null().or(second.end.clone().is_null());
    let later = |late: &Span, early: &Span| {
        when(late.start.clone().lt(early.end.clone()), lit(true)).when(either_open(), null()).otherwise(lit(false))
    };
    let same = when(either_open(), null()).otherwise(lit(true))?;
    let (a, c) = (first.start.clone(), second.start.clone());
    Ok(when(a.clone().is_null().or(c.clone().is_null()), null())
        .when(a.clone().gt(c.clone()), later(first, second)?)
        .when(a.lt(c), later(second, first)?)
        .otherwise(same)?)
}
