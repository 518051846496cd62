//! PostgreSQL's type resolution: literals of unknown type, implicit casts, operators, functions, common types.
//!
//! Every function takes and gives [`Typed`]; errors carry the position of the operator or call as PostgreSQL prints it.

mod calls;
mod candidates;
mod categories;
mod coerce;
mod literal;
mod operators;
mod parameter;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use sqlparser::ast;

use crate::builtins::Context;
use crate::builtins::functions::Function;
use crate::encode::types::{PgType, oid, type_words};
use crate::error::{Error, Result, SqlState};
use crate::session::settings::zone_named;

/// An expression with its PostgreSQL type. A string literal whose type is not yet settled has [`PgType::UNKNOWN`] and is a
/// `Literal(Utf8)`; a parameter whose type is not yet settled is a `Placeholder` of UNKNOWN. A `Literal(Float64)` of NUMERIC
/// is a constant that no numeric holds: beside floats it is one, elsewhere 22003.
#[derive(Debug, Clone)]
pub struct Typed {
    pub expr: Expr,
    pub ty: PgType,
    /// Where the expression starts in the query text, characters from 1.
    pub position: Option<u32>,
}

/// How freely a value may be cast (`pg_cast.castcontext`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coercion {
    Implicit,
    Assignment,
    Explicit,
}

/// Settings, and a statement's context with these in the place of the session's.
pub type Pinned = (BTreeMap<String, String>, Arc<Context>);

/// What resolution needs beside the expressions: the statement's context and the parameters' types as they become known.
pub struct TypingContext {
    pub context: Arc<Context>,
    /// Type of `$n` at n - 1; `None` until the client or the use has settled it.
    pub parameters: RefCell<Vec<Option<PgType>>>,
    /// Whether new `$n` may appear (a prepared statement), or 42P02.
    pub parameters_allowed: bool,
    /// Whether anything asked for the session's context: such a plan is good for one execution only.
    pub contextual: std::cell::Cell<bool>,
    /// Literals whose reading depends on settings, by position, in a form that every session reads alike; where they are wanted.
    pub literals: RefCell<Option<BTreeMap<u32, String>>>,
    /// Contexts with the settings that something was defined under: one for each in a statement, since calls with different
    /// contexts are different expressions.
    pub pinned: RefCell<Vec<Pinned>>,
}

impl TypingContext {
    /// The statement's context, for what becomes part of the plan.
    pub fn context(&self) -> &Arc<Context> {
        self.contextual.set(true);
        &self.context
    }

    /// For expressions without parameters that mean what they meant under other settings.
    ///
    /// # Errors
    /// 22023 for a time zone that is not known.
    pub fn pinned(&self, settings: &BTreeMap<&'static str, &str>) -> Result<Self> {
        let key: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut pinned = self.pinned.borrow_mut();
        let context = match pinned.iter().find(|(known, _)| *known == key) {
            Some((_, context)) => Arc::clone(context),
            None => {
                let zone = zone_named(settings.get("TimeZone").copied().unwrap_or_default())?;
                let context = Arc::new(self.context.pinned(settings, zone));
                pinned.push((key, Arc::clone(&context)));
                context
            }
        };
        Ok(Self {
            context,
            parameters: RefCell::default(),
            parameters_allowed: false,
            contextual: std::cell::Cell::new(false),
            literals: RefCell::default(),
            pinned: RefCell::default(),
        })
    }
}

/// A call whose overload is chosen and whose arguments are cast to that overload's types.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub function: Function,
    /// Cast to the declared types; the arguments that `VARIADIC` stands for stay separate ones.
    pub arguments: Vec<Typed>,
    /// The result's type with pseudo-types resolved.
    pub returns: PgType,
}

/// A constant of the query text. Strings and NULL are of unknown type until their use settles it.
pub fn literal(value: &ast::Value, position: Option<u32>) -> Result<Typed> {
    literal::literal(value, position)
}

/// `$number`, of the type that is known so far. 42P02 where parameters are not allowed.
pub fn parameter(ctx: &TypingContext, number: usize, position: Option<u32>) -> Result<Typed> {
    parameter::parameter(ctx, number, position)
}

/// Casts for a use that asks for `target`. 42804 when `coercion` does not reach so far; 22P02 for a bad unknown literal.
pub fn coerce(ctx: &TypingContext, value: Typed, target: PgType, coercion: Coercion) -> Result<Typed> {
    coerce::coerce(ctx, value, target, coercion)
}

/// `CAST(value AS target)`, `value::target`. 42846 when there is no such cast.
pub fn cast(ctx: &TypingContext, value: Typed, target: PgType, position: Option<u32>) -> Result<Typed> {
    coerce::cast(ctx, value, target, position)
}

/// The condition of `clause` (`WHERE`, `AND`, …). 42804 when it is no boolean.
pub fn coerce_to_boolean(ctx: &TypingContext, value: Typed, clause: &str) -> Result<Typed> {
    coerce::coerce_to_boolean(ctx, value, clause)
}

/// Makes what is still of unknown type `text`, as in a SELECT list. 22003 for a constant with too many digits for a numeric.
pub fn settle(ctx: &TypingContext, value: Typed) -> Result<Typed> {
    coerce::settle(ctx, value)
}

/// Whether the value is a constant of type numeric with more digits than a numeric has.
pub fn is_wide(value: &Typed) -> bool {
    literal::wide(value).is_some()
}

/// The common type of CASE, UNION, VALUES, ARRAY, COALESCE …; `construct` is the word for the error (`CASE`, `UNION`).
/// 42804 when the values' types cannot be matched.
pub fn common_type(ctx: &TypingContext, values: &[Typed], construct: &str) -> Result<PgType> {
    coerce::common_type(ctx, values, construct)
}

/// 42883 for a type whose values cannot be told apart: DISTINCT, GROUP BY, UNION.
pub fn check_equality(ty: PgType, position: Option<u32>) -> Result<()> {
    if operators::is_comparable(ty.oid) {
        return Ok(());
    }
    let message = format!("could not identify an equality operator for type {}", type_words(ty.oid));
    Err(Error::new(SqlState::UndefinedFunction, message).at(position))
}

/// 42883 for a type without an order: ORDER BY.
pub fn check_ordering(ty: PgType, position: Option<u32>) -> Result<()> {
    if operators::is_comparable(ty.oid) {
        return Ok(());
    }
    let message = format!("could not identify an ordering operator for type {}", type_words(ty.oid));
    Err(Error::new(SqlState::UndefinedFunction, message)
        .with_hint("Use an explicit ordering operator or modify the query.")
        .at(position))
}

/// Whether values that differ may be equal, or their order is not that of what they are stored as.
pub fn has_sort_key(ty: PgType) -> bool {
    matches!(ty.oid, oid::INTERVAL | oid::JSONB)
}

/// What a value is sorted, grouped and compared by: intervals by their length, whose months have 30 days, and jsonb by
/// bytes in its order.
pub fn sort_key(expr: Expr, ty: PgType) -> Result<Expr> {
    match ty.oid {
        oid::INTERVAL => operators::interval_span(expr),
        oid::JSONB => operators::document_key(expr),
        _ => Ok(expr),
    }
}

/// A key of which equal values are the same: [`sort_key`], and 0 for -0. For the engine's windows, its distinct values in
/// aggregates and its keys before other ones, which compare the bits; its groups and joins take the zeros for one.
pub fn equal_key(expr: Expr, ty: PgType) -> Result<Expr> {
    match ty.oid {
        oid::FLOAT4 | oid::FLOAT8 => operators::float_key(expr),
        _ => sort_key(expr, ty),
    }
}

/// `left op right`. 42883 when there is no such operator, 42725 when it is not unique.
pub fn binary(
    ctx: &TypingContext,
    op: &str,
    left: Typed,
    right: Typed,
    operator_position: Option<u32>,
    schema: &DFSchema,
) -> Result<Typed> {
    operators::binary(ctx, op, left, right, operator_position, schema)
}

/// The type that `left op right` takes on its left; the operand's own, modifier and all, when that is it.
pub fn left_operand(op: &str, left: &Typed, right: &Typed) -> Result<PgType> {
    operators::left_operand(op, left, right)
}

/// `op argument`.
pub fn unary(
    ctx: &TypingContext,
    op: &str,
    argument: Typed,
    position: Option<u32>,
    schema: &DFSchema,
) -> Result<Typed> {
    operators::unary(ctx, op, argument, position, schema)
}

/// Chooses the overload of `name` for `args` and casts them. `variadic`: the last argument was marked VARIADIC.
/// 42883, 42725; 3F000 for an unknown schema.
pub fn resolve_call(
    ctx: &TypingContext,
    schema: Option<&str>,
    name: &str,
    args: &[Typed],
    variadic: bool,
    position: Option<u32>,
) -> Result<Resolved> {
    calls::resolve_call(ctx, schema, name, args, variadic, position)
}

/// The expression of a call to a scalar function. 42809 when the function is an aggregate, a window function or a set.
pub fn scalar_call(ctx: &TypingContext, call: Resolved) -> Result<Typed> {
    calls::scalar_call(ctx, call)
}
