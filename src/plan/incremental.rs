//! Which queries a materialized view can follow: those that give the same rows again when nothing has changed, and of these
//! the ones that make each row of their result from one row of a table.

use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use sqlparser::ast::{self, Visitor};

use crate::builtins::functions::{self, Volatility};

/// Stable functions that depend on nothing but their arguments and the settings that [`SETTINGS`] names.
const OF_SETTINGS: &[&str] = &[
    "array_to_string",
    "concat",
    "concat_ws",
    "date_part",
    "date_trunc",
    "extract",
    "make_timestamptz",
    "row_to_json",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_timestamp",
];
/// Settings that a query's values depend on.
pub const SETTINGS: &[&str] = &["TimeZone", "DateStyle", "IntervalStyle", "extra_float_digits", "bytea_output"];
/// Texts that mean another time each day.
const MOMENTS: &[&str] = &["now", "today", "tomorrow", "yesterday"];

/// Whether a query over unchanged tables gives the same rows each time.
pub fn is_repeatable(query: &ast::Query) -> bool {
    ast::Visit::visit(query, &mut Repeatable).is_continue()
}

struct Repeatable;

impl Visitor for Repeatable {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<()> {
        match factor {
            ast::TableFactor::Table { args: None, version: None, sample: None, .. }
            | ast::TableFactor::Derived { .. }
            | ast::TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }

    fn pre_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<()> {
        if repeats(expression) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Whether the expression, but for what is inside it, means the same each time.
pub(super) fn repeats(expression: &ast::Expr) -> bool {
    match expression {
        ast::Expr::Function(call) => call.name.0.last().and_then(|part| part.as_ident()).is_some_and(is_of_arguments),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(..) | ast::Value::Boolean(_) | ast::Value::Null => true,
            other => other.clone().into_string().is_some_and(|text| {
                let text = text.to_ascii_lowercase();
                !MOMENTS.iter().any(|moment| text.contains(moment))
            }),
        },
        _ => true,
    }
}

fn is_of_arguments(name: &ast::Ident) -> bool {
    let name = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_ascii_lowercase() };
    let mut overloads = functions::lookup(&name).peekable();
    overloads.peek().is_some()
        && overloads.all(|function| match function.volatility {
            Volatility::Immutable => true,
            Volatility::Stable => OF_SETTINGS.contains(&name.as_str()),
            Volatility::Volatile => false,
        })
}

/// Whether the result over more rows is the result over the earlier ones and the result over the others.
pub fn is_row_by_row(plan: &LogicalPlan) -> bool {
    let visited = plan.apply(|node| {
        let follows = match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::Union(_) => !node.expressions().iter().any(asks_more),
            _ => false,
        };
        Ok(if follows { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    visited.is_ok_and(|recursion| recursion != TreeNodeRecursion::Stop)
}

/// Whether an expression needs more than its row.
fn asks_more(expression: &Expr) -> bool {
    let found = expression.exists(|inner| {
        Ok(matches!(
            inner,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
        ))
    });
    found.unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::is_repeatable;

    #[test]
    fn what_depends_on_time_or_chance_is_not_repeatable() {
        let repeats = |sql: &str| is_repeatable(&crate::sql::parse_query(sql).unwrap());
        for sql in [
            "SELECT a + 1, upper(b), at::date FROM t WHERE c > 3",
            "SELECT sum(a), date_trunc('day', at) FROM t JOIN u USING (a) GROUP BY 2",
            "SELECT extract(year FROM at), CASE WHEN a THEN 'x' END FROM (SELECT * FROM t) s",
        ] {
            assert!(repeats(sql), "{sql}");
        }
        for sql in [
            "SELECT now()",
            "SELECT a FROM t WHERE at > current_date",
            "SELECT a FROM t WHERE at > current_timestamp - interval '1 day'",
            "SELECT a FROM t WHERE at > 'Today'::date",
            "SELECT random() FROM t",
            "SELECT a FROM t WHERE b IN (SELECT current_user)",
            "SELECT a FROM t, generate_series(1, 3) g",
            "SELECT age(at) FROM t",
            "SELECT nothing_of_this_name(a) FROM t",
        ] {
            assert!(!repeats(sql), "{sql}");
        }
    }
}
