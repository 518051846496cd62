//! The binder: a syntax tree and resolved relations to DataFusion's logical plan, by PostgreSQL's rules of names and types.
//!
//! ```text
//! Query ─ with ─ cte ─┬ select: from → where → group → windows → sets → projection ─┐
//!                     ├ set_operation (common types of the branches)               ├─ distinct → order → limit
//!                     └ values                                                     ┘
//! ```
//! Every FROM item gets a qualifier that is unique in the whole statement and every projection has unique column names, so
//! that a plan's columns never clash, whatever the user called them. The user's names live in [`scope`] only.
//! It runs no optimizer, reads nothing but what [`Relations`] holds, and refuses what it does not understand.

mod aggregate;
mod array_comparison;
pub mod change;
mod condition;
mod copies;
mod cte;
mod diagnostics;
mod digits;
mod expression;
pub mod filled;
mod from;
mod insert;
mod insert_change;
mod join;
mod merge;
mod model;
mod model_rows;
pub mod names;
mod only_value;
mod order;
mod overlaps;
mod profile;
mod recursion;
mod scope;
mod select;
mod set_operation;
mod set_returning;
pub mod source;
mod subquery;
mod table_function;
#[cfg(test)]
mod tests;
mod values;
mod version;
mod view;
mod widths;
mod window;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan};
use sqlparser::ast;
use sqlparser::tokenizer::Span;

pub(super) use self::only_value::only_value;
use self::scope::{Environment, Origin};
use self::source::Source;
pub(super) use self::subquery::subquery as subquery_of;
use super::relations::Relations;
use super::typing::{self, Typed, TypingContext};
use super::unnest::Unnester;
use crate::encode::types::{OutputColumn, PgType};
use crate::error::{Error, Result, SqlState};

/// Levels of queries and expressions inside each other, views among them. One of the text's levels can be three of these.
const DEPTH_MAX: u32 = 4 * crate::sql::stack::DEPTH_MAX;

/// Levels of subqueries in expressions: the engine's rules that turn them into joins take twice as long for each.
const SUBQUERIES_MAX: u32 = 16;

/// Turns one statement's trees into plans. `source` is the text that the tree's spans count lines and columns of.
pub struct Binder<'a> {
    typing: &'a TypingContext,
    relations: &'a Relations,
    source: Source,
    text: Arc<str>,
    /// Numbers for qualifiers and internal columns, unique in the statement.
    next: Rc<Cell<usize>>,
    depth: Rc<Cell<u32>>,
    /// Levels of subqueries in expressions.
    subqueries: Rc<Cell<u32>>,
    /// Levels of recursive terms, those around the views included.
    terms: Rc<Cell<usize>>,
    /// Nodes of operands that were repeated.
    copied: Rc<Cell<usize>>,
    /// The parameters' values of a plan that is bound to be run; `None` where only its types are asked for.
    values: Option<Rc<[ScalarValue]>>,
    /// Where each column was used outside aggregates: for the position of 42803.
    uses: RefCell<Vec<ColumnUse>>,
    /// The arguments of `grouping(…)` and where they stand.
    grouping_arguments: RefCell<Vec<(Expr, Option<u32>)>>,
    /// What `merge_action()` is in the RETURNING of the statement.
    merge_action: RefCell<Option<Expr>>,
}

/// A use of a column by name.
#[derive(Debug, Clone)]
struct ColumnUse {
    column: Column,
    /// As the error names it: `t.a`.
    label: String,
    position: Option<u32>,
}

/// A bound query: the plan's columns are `columns`, in order.
#[derive(Debug, Clone)]
pub struct BoundQuery {
    pub plan: LogicalPlan,
    pub columns: Vec<OutputColumn>,
}

/// A bound query inside a statement.
#[derive(Debug, Clone)]
struct Bound {
    plan: LogicalPlan,
    columns: Vec<BoundColumn>,
}

#[derive(Debug, Clone)]
struct BoundColumn {
    name: String,
    ty: PgType,
    origin: Origin,
    position: Option<u32>,
    /// A literal or parameter whose type is still unknown: whoever uses the column may settle it.
    unsettled: Option<Typed>,
}

/// Whether literals of unknown type in a SELECT list become text, or wait for the set operation or INSERT around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknowns {
    Text,
    Wait,
}

impl<'a> Binder<'a> {
    pub fn new(typing: &'a TypingContext, relations: &'a Relations, source: &str) -> Self {
        Self {
            typing,
            relations,
            source: Source::new(source),
            text: source.into(),
            next: Rc::default(),
            depth: Rc::default(),
            subqueries: Rc::default(),
            terms: Rc::default(),
            copied: Rc::default(),
            values: None,
            uses: RefCell::default(),
            grouping_arguments: RefCell::default(),
            merge_action: RefCell::default(),
        }
    }

    /// For a plan that is run with these values of its parameters.
    pub fn with_values(mut self, values: Option<Vec<ScalarValue>>) -> Self {
        self.values = values.map(Rc::from);
        self
    }

    /// Binds a whole query.
    pub fn bind_query(&self, query: &ast::Query) -> Result<BoundQuery> {
        let bound = self.query(query, &Environment::default(), Unknowns::Text)?;
        let columns = bound
            .columns
            .into_iter()
            .map(|column| OutputColumn {
                name: column.name,
                ty: column.ty,
                table_oid: column.origin.table,
                attribute: column.origin.attribute,
            })
            .collect();
        Ok(BoundQuery { plan: self.unnested(bound.plan)?, columns })
    }

    /// The plan with its subqueries in shapes that the optimizer joins.
    fn unnested(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        Unnester { unique: &|name| self.unique(name) }.unnest(plan)
    }

    /// A name that nothing else in the statement has. No user's identifier holds a colon unless it is quoted, and the
    /// number makes it unique even then.
    fn unique(&self, name: &str) -> String {
        let number = self.next.get() + 1;
        self.next.set(number);
        format!("{name}:{number}")
    }

    fn position(&self, span: Span) -> Option<u32> {
        self.source.position(span)
    }

    /// Runs one level deeper in subqueries of expressions. 54001 when that is too deep.
    fn within_subquery<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let level = self.subqueries.get();
        if level >= SUBQUERIES_MAX {
            return Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
                .with_hint(format!("Expressions may hold subqueries inside each other to {SUBQUERIES_MAX} levels.")));
        }
        self.subqueries.set(level + 1);
        let result = run();
        self.subqueries.set(level);
        result
    }

    /// Runs one level deeper in recursive terms.
    fn within_term<T>(&self, run: impl FnOnce() -> T) -> T {
        let level = self.terms.get();
        self.terms.set(level + 1);
        let result = run();
        self.terms.set(level);
        result
    }

    /// Runs one level deeper. 54001 when that is too deep.
    fn deeper<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let depth = self.depth.get();
        if depth >= DEPTH_MAX {
            return Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
                .with_hint("The statement has too many levels of queries or expressions inside each other."));
        }
        self.depth.set(depth + 1);
        let result = crate::sql::stack::with_room(run);
        self.depth.set(depth);
        result
    }
}

impl Bound {
    /// The plan's columns as expressions, in order.
    fn exprs(&self) -> Vec<Expr> {
        plan_columns(&self.plan)
    }

    /// Column `index` as an operand: an unsettled literal stands for itself.
    fn operand(&self, index: usize) -> Option<Typed> {
        let column = self.columns.get(index)?;
        if let Some(literal) = &column.unsettled {
            return Some(literal.clone());
        }
        let expr = Expr::Column(Column::from(self.plan.schema().qualified_field(index)));
        Some(Typed { expr, ty: column.ty, position: column.position })
    }
}

/// The columns of a plan as expressions, in order.
pub(super) fn plan_columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

/// Whether the type of a value is still to be settled by its use.
fn is_unsettled(value: &Typed) -> bool {
    typing::is_wide(value)
        || (value.ty.oid == PgType::UNKNOWN.oid && matches!(value.expr, Expr::Literal(..) | Expr::Placeholder(_)))
}

/// Settles what a use did not: unknown becomes text.
fn settle(typing: &TypingContext, value: Typed) -> Result<Typed> {
    typing::settle(typing, value)
}
