//! Values that a table gives itself: DEFAULT, and columns that are generated from others. Also USING of ALTER COLUMN.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, Volatility, cast};
use sqlparser::ast;

use super::expression::{Clause, Context};
use super::insert::{null_of, type_words};
use super::scope::{Environment, Scope};
use super::{Binder, BoundQuery};
use crate::encode::types::{PgType, arrow_type};
use crate::error::{Error, Result, SqlState};
use crate::plan::relations::{Filled, RelationColumn, Relations};
use crate::plan::typing::{self, Coercion, Typed, TypingContext};

/// What an expression of a table's definition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Default,
    Generated,
    /// USING of ALTER COLUMN … TYPE.
    Transform,
}

impl Purpose {
    fn clause(self) -> Clause {
        match self {
            Self::Default => Clause::Default,
            Self::Generated => Clause::Generated,
            Self::Transform => Clause::Transform,
        }
    }
}

impl Binder<'_> {
    /// The value of a column where none is given.
    pub(super) fn default_of(&self, column: &RelationColumn) -> Result<Typed> {
        let Filled::Default(text) = &column.filled else { return Ok(null_of(column.ty)) };
        let expression = crate::sql::parse_expression(text)?;
        self.beneath(text).bind_stored("", &[], &expression, column, Purpose::Default)
    }

    /// A binder for a text that the table holds: nothing in it has a position in the client's.
    fn beneath(&self, text: &Arc<str>) -> Binder<'_> {
        Binder {
            typing: self.typing,
            relations: self.relations,
            source: super::Source::default(),
            text: Arc::clone(text),
            next: std::rc::Rc::clone(&self.next),
            depth: std::rc::Rc::clone(&self.depth),
            subqueries: std::rc::Rc::clone(&self.subqueries),
            terms: std::rc::Rc::clone(&self.terms),
            copied: std::rc::Rc::clone(&self.copied),
            values: self.values.clone(),
            uses: std::cell::RefCell::default(),
            grouping_arguments: std::cell::RefCell::default(),
            merge_action: std::cell::RefCell::default(),
        }
    }

    /// An expression of a table's definition, over unqualified columns, in the type of its column.
    pub fn bind_stored(
        &self,
        table: &str,
        columns: &[RelationColumn],
        expression: &ast::Expr,
        column: &RelationColumn,
        purpose: Purpose,
    ) -> Result<Typed> {
        let environment = Environment::default();
        let scope = match purpose {
            Purpose::Default => Scope::empty(&environment),
            Purpose::Generated | Purpose::Transform => super::condition::scope_over(table, columns, environment)?,
        };
        let value = self.expr(expression, &Context::new(&scope, purpose.clause())).map_err(|error| {
            if purpose == Purpose::Default && error.sqlstate() == SqlState::UndefinedColumn {
                let message = "cannot use column reference in DEFAULT expression";
                return Error::new(SqlState::FeatureNotSupported, message).at(error.position());
            }
            error
        })?;
        let volatile = value.expr.exists(|expr| {
            Ok(matches!(expr, Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile))
        })?;
        if volatile && purpose == Purpose::Generated {
            return Err(Error::new(SqlState::InvalidObjectDefinition, "generation expression is not immutable"));
        }
        let given = value.ty;
        let mut cast = typing::coerce(self.typing, value, column.ty, Coercion::Assignment).map_err(|error| {
            if matches!(error.sqlstate(), SqlState::DatatypeMismatch | SqlState::CannotCoerce) {
                mismatch(column, given, purpose)
            } else {
                error
            }
        })?;
        cast.ty = column.ty;
        Ok(cast)
    }

    /// The type of a default before it is its column's.
    pub fn type_of_default(&self, expression: &ast::Expr) -> Result<PgType> {
        let environment = Environment::default();
        let scope = Scope::empty(&environment);
        Ok(self.expr(expression, &Context::new(&scope, Purpose::Default.clause()))?.ty)
    }

    /// The table's columns with those computed that are generated: `values` are expressions over rows of `schema`, one for
    /// each column.
    pub(super) fn generated(
        &self,
        columns: &[RelationColumn],
        mut values: Vec<Expr>,
        schema: &DFSchema,
    ) -> Result<Vec<Expr>> {
        for (index, column) in columns.iter().enumerate() {
            let Filled::Generated(text) = &column.filled else { continue };
            let expression = crate::sql::parse_expression(text)?;
            let typing = fixed_zone(self.typing);
            let relations = Relations::default();
            let binder = Binder::new(&typing, &relations, text);
            let bound = binder.bind_stored("", columns, &expression, column, Purpose::Generated);
            let expr = bound.map_err(Error::without_position)?.expr;
            let value = over_values(expr, columns, &values, schema)?;
            if let Some(slot) = values.get_mut(index) {
                *slot = value;
            }
        }
        Ok(values)
    }

    /// Rows of the table's columns with those computed that are generated.
    pub(super) fn with_generated(&self, bound: BoundQuery, columns: &[RelationColumn]) -> Result<BoundQuery> {
        if !columns.iter().any(RelationColumn::is_generated) {
            return Ok(bound);
        }
        let names: Vec<String> = bound.plan.schema().fields().iter().map(|field| field.name().clone()).collect();
        let values = self.generated(columns, super::plan_columns(&bound.plan), bound.plan.schema())?;
        let exprs = values.into_iter().zip(names).map(|(value, name)| value.alias(name)).collect::<Vec<_>>();
        let plan: LogicalPlan = LogicalPlanBuilder::from(bound.plan).project(exprs)?.build()?;
        Ok(BoundQuery { plan, ..bound })
    }
}

/// Generated columns are computed in one time zone, whoever writes the row.
pub(in crate::plan) fn fixed_zone(typing: &TypingContext) -> TypingContext {
    let context = crate::builtins::Context {
        time_zone: crate::encode::TextTimeZone::Fixed(0),
        ..typing.context.as_ref().clone()
    };
    TypingContext {
        context: Arc::new(context),
        parameters: std::cell::RefCell::default(),
        parameters_allowed: false,
        contextual: std::cell::Cell::new(false),
        literals: std::cell::RefCell::default(),
        pinned: std::cell::RefCell::default(),
    }
}

/// An expression over a table's columns as one over the values of a row that is being made.
pub(super) fn over_values(expr: Expr, columns: &[RelationColumn], values: &[Expr], schema: &DFSchema) -> Result<Expr> {
    let replaced = expr.transform_up(|expr| {
        let Expr::Column(Column { relation: None, name, .. }) = &expr else { return Ok(Transformed::no(expr)) };
        let Some(index) = columns.iter().position(|column| column.name == *name) else {
            return Ok(Transformed::no(expr));
        };
        let (Some(column), Some(value)) = (columns.get(index), values.get(index)) else {
            return Ok(Transformed::no(expr));
        };
        let bound = arrow_type(column.ty);
        // Texts come as views or not; the expression was bound to one of them.
        let value = if value.get_type(schema)? == bound { value.clone() } else { cast(value.clone(), bound) };
        Ok(Transformed::yes(value))
    })?;
    Ok(replaced.data)
}

/// 428C9: only the table itself writes a generated column.
pub(super) fn given_to_generated(column: &RelationColumn, message: String) -> Error {
    Error::new(SqlState::GeneratedAlways, message)
        .with_detail(format!("Column \"{}\" is a generated column.", column.name))
}

fn mismatch(column: &RelationColumn, given: PgType, purpose: Purpose) -> Error {
    let (name, wanted, given) = (&column.name, type_words(column.ty), type_words(given));
    let of = match purpose {
        // PostgreSQL calls both so.
        Purpose::Default | Purpose::Generated => "default",
        Purpose::Transform => {
            let message =
                format!("result of USING clause for column \"{name}\" cannot be cast automatically to type {wanted}");
            return Error::new(SqlState::DatatypeMismatch, message)
                .with_hint("You might need to add an explicit cast.");
        }
    };
    let message = format!("column \"{name}\" is of type {wanted} but {of} expression is of type {given}");
    Error::new(SqlState::DatatypeMismatch, message).with_hint("You will need to rewrite or cast the expression.")
}
