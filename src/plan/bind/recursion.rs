//! What WITH RECURSIVE may not do, found in the syntax tree before anything is bound (`checkWellFormedRecursion`).

use std::ops::ControlFlow;

use sqlparser::ast;
use sqlparser::ast::Spanned as _;
use sqlparser::tokenizer::Span;

use super::Binder;
use super::cte::refers_to;
use super::names::{fold, last_name, parts};
use crate::builtins::functions::{self, Body};
use crate::error::{Error, Result, SqlState};

impl Binder<'_> {
    /// The items of WITH RECURSIVE, each after those it refers to. 0A000 when two refer to each other.
    pub(super) fn recursive_order<'w>(&self, with: &'w ast::With) -> Result<Vec<&'w ast::Cte>> {
        let mut waiting: Vec<&ast::Cte> = with.cte_tables.iter().collect();
        let mut ordered = Vec::new();
        while let Some(first) = waiting.first() {
            let free = waiting.iter().position(|cte| {
                let others = waiting.iter().filter(|other| !std::ptr::eq(**other, *cte));
                let mut names = others.map(|other| fold(&other.alias.name));
                !names.any(|name| refers_to(&cte.query, &name))
            });
            let Some(free) = free else {
                let message = "mutual recursion between WITH items is not implemented";
                let position = self.position(first.alias.name.span);
                return Err(Error::new(SqlState::FeatureNotSupported, message).at(position));
            };
            ordered.push(waiting.remove(free));
        }
        Ok(ordered)
    }

    /// 42P19 for a reference that the recursive term of `name` may not make.
    pub(super) fn check_recursive_term(&self, term: &ast::SetExpr, name: &str) -> Result<()> {
        let refused = |words: &str, span: Span| {
            let message = format!("recursive reference to query \"{name}\" must not appear {words}");
            Err(Error::new(SqlState::InvalidRecursion, message).at(self.position(span)))
        };
        if let Some(span) = in_subquery(term, name) {
            return refused("within a subquery", span);
        }
        if let Some(span) = in_outer_join(term, name) {
            return refused("within an outer join", span);
        }
        if let Some(span) = references(term, name).get(1) {
            return refused("more than once", *span);
        }
        if let Some(span) = aggregate_over(term, name) {
            let message = "aggregate functions are not allowed in a recursive query's recursive term";
            return Err(Error::new(SqlState::InvalidRecursion, message).at(self.position(span)));
        }
        Ok(())
    }
}

/// Where the tree names the query as a relation.
fn references(tree: &impl ast::Visit, name: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let _ = ast::visit_relations(tree, |relation| {
        if parts(relation) == [name] {
            spans.push(relation.span());
        }
        ControlFlow::<()>::Continue(())
    });
    spans
}

fn first_reference(tree: &impl ast::Visit, name: &str) -> Option<Span> {
    references(tree, name).first().copied()
}

fn in_subquery(term: &ast::SetExpr, name: &str) -> Option<Span> {
    let found = ast::visit_expressions(term, |expr| {
        let query = match expr {
            ast::Expr::Subquery(query) => query,
            ast::Expr::Exists { subquery, .. } | ast::Expr::InSubquery { subquery, .. } => subquery,
            _ => return ControlFlow::Continue(()),
        };
        match first_reference(query.as_ref(), name) {
            Some(span) => ControlFlow::Break(span),
            None => ControlFlow::Continue(()),
        }
    });
    match found {
        ControlFlow::Break(span) => Some(span),
        ControlFlow::Continue(()) => None,
    }
}

/// The SELECTs of a set operation.
fn selects(term: &ast::SetExpr) -> Vec<&ast::Select> {
    match term {
        ast::SetExpr::Select(select) => vec![select],
        ast::SetExpr::Query(query) => selects(&query.body),
        ast::SetExpr::SetOperation { left, right, .. } => [selects(left), selects(right)].concat(),
        _ => Vec::new(),
    }
}

fn in_outer_join(term: &ast::SetExpr, name: &str) -> Option<Span> {
    selects(term).into_iter().flat_map(|select| &select.from).find_map(|tree| on_nullable_side(tree, name))
}

fn on_nullable_side(tree: &ast::TableWithJoins, name: &str) -> Option<Span> {
    use ast::JoinOperator as Op;
    if let ast::TableFactor::NestedJoin { table_with_joins, .. } = &tree.relation
        && let Some(span) = on_nullable_side(table_with_joins, name)
    {
        return Some(span);
    }
    for (at, join) in tree.joins.iter().enumerate() {
        let left = || {
            let before = tree.joins.iter().take(at).map(|join| &join.relation);
            std::iter::once(&tree.relation).chain(before).find_map(|factor| first_reference(factor, name))
        };
        let right = || first_reference(&join.relation, name);
        let found = match &join.join_operator {
            Op::Left(_) | Op::LeftOuter(_) => right(),
            Op::Right(_) | Op::RightOuter(_) => left(),
            Op::FullOuter(_) => left().or_else(right),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// An aggregate of a SELECT whose own FROM names the query.
fn aggregate_over(term: &ast::SetExpr, name: &str) -> Option<Span> {
    let over_itself = |select: &&ast::Select| select.from.iter().any(|tree| names_directly(tree, name));
    selects(term).into_iter().filter(over_itself).find_map(|select| {
        let found = ast::visit_expressions(&select.projection, aggregate_call);
        let found = match (found, &select.having) {
            (ControlFlow::Continue(()), Some(having)) => ast::visit_expressions(having, aggregate_call),
            (found, _) => found,
        };
        match found {
            ControlFlow::Break(span) => Some(span),
            ControlFlow::Continue(()) => None,
        }
    })
}

fn aggregate_call(expr: &ast::Expr) -> ControlFlow<Span> {
    match expr {
        ast::Expr::Function(call) if call.over.is_none() => {
            let aggregate =
                functions::lookup(&last_name(&call.name)).any(|found| matches!(found.body, Body::Aggregate(_)));
            if aggregate { ControlFlow::Break(call.name.span()) } else { ControlFlow::Continue(()) }
        }
        _ => ControlFlow::Continue(()),
    }
}

/// Whether a table of the join tree, and not only of a subquery in it, is the query.
fn names_directly(tree: &ast::TableWithJoins, name: &str) -> bool {
    let direct = |factor: &ast::TableFactor| match factor {
        ast::TableFactor::Table { name: relation, args: None, .. } => parts(relation) == [name],
        ast::TableFactor::NestedJoin { table_with_joins, .. } => names_directly(table_with_joins, name),
        _ => false,
    };
    direct(&tree.relation) || tree.joins.iter().any(|join| direct(&join.relation))
}
