//! What a rule's condition may hold, looked at when it is made.

use std::ops::ControlFlow;

use sqlparser::ast::{self, Expr, Spanned as _, Visit as _, Visitor};

use crate::builtins::functions::{self, Volatility};
use crate::error::{Error, Result, SqlState};
use crate::plan::bind::names::last_name;
use crate::plan::relations::{RelationName, RelationNameKind, names_in_expression};
use crate::sql;

/// Refuses what no rule can be computed from again: windows, sets, what differs each time, and subqueries but for values.
///
/// # Errors
/// 42P20, 0A000; with the position in `source`.
pub fn check_condition(condition: &Expr, source: &str) -> Result<()> {
    match condition.visit(&mut Checker { source, queries: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Checker<'a> {
    source: &'a str,
    queries: usize,
}

impl Checker<'_> {
    fn call(&self, call: &ast::Function) -> Option<Error> {
        if call.over.is_some() && self.queries == 0 {
            let message = "window functions are not allowed in expectations";
            return Some(Error::new(SqlState::WindowingError, message));
        }
        let name = last_name(&call.name);
        if functions::lookup(&name).any(|function| function.volatility == Volatility::Volatile) {
            return Some(Error::unsupported(format!("the volatile function {name} in an expectation")));
        }
        if functions::lookup(&name).any(|function| function.returns_set) && self.queries == 0 {
            let message = "set-returning functions are not allowed in expectations";
            return Some(Error::new(SqlState::FeatureNotSupported, message));
        }
        None
    }
}

impl Visitor for Checker<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<Error> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<Error> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let (error, span) = match expr {
            Expr::Function(call) => (self.call(call), call.name.span()),
            Expr::Exists { subquery, .. } if self.queries == 0 => {
                (Some(Error::unsupported("EXISTS in an expectation")), subquery.span())
            }
            Expr::InSubquery { expr, .. } if self.queries == 0 => {
                (Some(Error::unsupported("IN (SELECT …) in an expectation")), expr.span())
            }
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. }
                if self.queries == 0 && matches!(right.as_ref(), Expr::Subquery(_)) =>
            {
                (Some(Error::unsupported("a comparison with all rows of a subquery in an expectation")), left.span())
            }
            _ => return ControlFlow::Continue(()),
        };
        match error {
            Some(error) => ControlFlow::Break(error.at(sql::span_position(self.source, span))),
            None => ControlFlow::Continue(()),
        }
    }
}

/// The relations that a rule's text names, each once, in the order in which they stand there.
pub fn own_relations(condition: &Expr, source: &str) -> Vec<RelationName> {
    let mut found: Vec<RelationName> = Vec::new();
    for name in names_in_expression(condition, source) {
        let is_known = |known: &RelationName| same(known, &name);
        if !found.iter().any(is_known) {
            found.push(name);
        }
    }
    found
}

fn same(one: &RelationName, other: &RelationName) -> bool {
    match (written(one), written(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// Schema and name as they are written; `None` for what is no relation of the catalog.
pub(crate) fn written(name: &RelationName) -> Option<(Option<&str>, &str)> {
    match &name.kind {
        RelationNameKind::Named { schema, name, .. } | RelationNameKind::Version { schema, name, .. } => {
            Some((schema.as_deref(), name))
        }
        RelationNameKind::Path(_)
        | RelationNameKind::FileFunction { .. }
        | RelationNameKind::VersionFunction { .. }
        | RelationNameKind::ProfileFunction { .. }
        | RelationNameKind::Model(_) => None,
    }
}
