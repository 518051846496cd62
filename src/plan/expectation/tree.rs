//! Syntax trees of rules: put together, looked through and changed.

use std::ops::ControlFlow;

use sqlparser::ast::{self, Expr, VisitMut as _, VisitorMut};

use crate::builtins::functions::{self, Body};
use crate::error::{Error, Result};
use crate::plan::bind::names::last_name;
use crate::sql;

/// A name as SQL has it, whatever it is.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."name"`.
pub fn relation_text(schema: &str, name: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

/// `SELECT items FROM relation WHERE selection`.
pub fn select(items: Vec<Expr>, (schema, name): (&str, &str), selection: Option<Expr>) -> Result<ast::Query> {
    let mut query = sql::parse_query(&format!("SELECT 1 FROM {}", relation_text(schema, name)))?;
    let ast::SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::internal("a SELECT was parsed as something else"));
    };
    select.projection = items.into_iter().map(ast::SelectItem::UnnamedExpr).collect();
    select.selection = selection;
    Ok(query)
}

/// `count(*)`.
pub fn count_of_rows() -> Result<Expr> {
    sql::parse_expression("count(*)")
}

pub(super) fn is_aggregate(call: &ast::Function) -> bool {
    functions::lookup(&last_name(&call.name)).any(|function| matches!(function.body, Body::Aggregate(_)))
}

/// Whether it is the same whatever the rows are.
pub(super) fn is_constant(expr: &Expr) -> bool {
    let varies = ast::visit_expressions(expr, |expr| {
        let varies = match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_) => true,
            Expr::Function(call) => is_aggregate(call),
            _ => false,
        };
        if varies { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    varies.is_continue()
}

/// The expression without parentheses round it.
pub(super) fn inner(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(expr) => inner(expr),
        other => other,
    }
}

pub(super) fn nested(expr: Expr) -> Expr {
    match expr {
        Expr::Nested(_) => expr,
        other => Expr::Nested(Box::new(other)),
    }
}

/// `a AND b`.
pub(super) fn both(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(nested(left)), op: ast::BinaryOperator::And, right: Box::new(nested(right)) }
}

/// The expression with its aggregates over the rows that meet the filter.
pub(super) fn filtered(mut expr: Expr, filter: Option<&Expr>) -> Expr {
    if let Some(filter) = filter {
        let _ = expr.visit(&mut Filtered { filter, queries: 0 });
    }
    expr
}

struct Filtered<'a> {
    filter: &'a Expr,
    /// How many subqueries are round the place: their aggregates are theirs.
    queries: usize,
}

impl VisitorMut for Filtered<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    // After what is inside it: the filter holds no aggregate.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(call) = expr
            && self.queries == 0
            && is_aggregate(call)
        {
            let filter = match call.filter.take() {
                Some(own) => both(*own, self.filter.clone()),
                None => self.filter.clone(),
            };
            call.filter = Some(Box::new(filter));
        }
        ControlFlow::Continue(())
    }
}
