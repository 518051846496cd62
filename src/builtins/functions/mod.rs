//! The registry of functions: PostgreSQL's names, argument types and results, and how each is computed on Arrow arrays.
//!
//! `plan` resolves a call against [`lookup`] by PostgreSQL's rules; `pg_proc` lists the same entries.

mod aggregates;
pub mod argument_names;
pub mod arithmetic;
mod array_changes;
pub mod array_operators;
pub mod arrays;
pub mod bits;
mod build;
mod bytes;
pub mod casts;
mod catalog_functions;
pub mod collected;
pub mod convert;
mod count_if;
pub mod date_arithmetic;
mod date_make;
mod date_parts;
mod date_read;
mod date_trunc;
mod datetime;
mod degrees;
mod facilities;
pub mod float_frames;
mod float_total;
pub mod floats;
mod input_valid;
mod interval_aggregates;
mod json;
pub mod json_build;
pub mod json_change;
pub mod json_operators;
pub mod json_order;
mod json_schema;
mod json_sets;
pub use json_sets::lists as set_lists;
mod json_text;
pub mod kernel;
mod keywords;
mod math;
pub mod names;
pub mod nullif;
mod number_format;
mod number_read;
pub mod numeric;
#[cfg(test)]
mod page;
pub mod prediction;
mod quoting;
pub mod regexp;
mod session;
mod similar;
mod spread;
pub mod statistics;
pub mod style;
pub mod substrings;
pub mod text;
mod time_field;
mod to_char;
mod total;
pub mod transcendental;
pub mod type_names;
mod zones;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF, WindowUDF};

use super::Context;
use crate::encode::types::PgType;
use crate::error::Result;

/// One overload of a function.
#[derive(Clone)]
pub struct Function {
    /// As in PostgreSQL's `pg_proc.dat` where PostgreSQL has it; ours start at 9000.
    pub oid: u32,
    pub name: &'static str,
    /// Declared argument types: type OIDs, pseudo-types (`any`, `anyelement`, `anyarray`, …) among them.
    pub arguments: Vec<u32>,
    /// Whether the last argument repeats (`VARIADIC`).
    pub variadic: bool,
    /// How many trailing arguments may be left out.
    pub defaults: usize,
    /// The result's type OID; a pseudo-type is resolved from the arguments.
    pub returns: u32,
    pub returns_set: bool,
    pub volatility: Volatility,
    /// NULL in, NULL out (PostgreSQL's STRICT).
    pub strict: bool,
    pub body: Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

/// How a call becomes an expression. Arguments arrive cast to the declared types (pseudo-types resolved).
#[derive(Clone)]
pub enum Body {
    Scalar(Arc<ScalarUDF>),
    /// Builds an expression from others, e.g. `coalesce`, `date_part` of an interval.
    Expression(fn(Vec<Expr>) -> Result<Expr>),
    /// A kernel that is given the statement's context: `current_setting`, `pg_get_viewdef`.
    InContext(kernel::Kernel),
    /// An expression that the statement's context decides: `now`.
    Contextual(fn(&Arc<Context>, Vec<Expr>) -> Result<Expr>),
    Aggregate(Arc<AggregateUDF>),
    /// A window function proper (`row_number`); aggregates are window functions too.
    Window(Arc<WindowUDF>),
    /// A set-returning function; the executor makes one output column (or the named columns) from the arguments.
    Set(SetFunction),
}

/// Set-returning functions that the planner knows how to plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetFunction {
    GenerateSeries,
    GenerateSubscripts,
    Unnest,
    /// `information_schema._pg_expandarray(anyarray)`: columns x, n.
    ExpandArray,
    /// `pg_get_keywords()`: columns word, catcode, barelabel, catdesc, baredesc.
    Keywords,
    /// `pg_options_to_table(text[])`: columns option_name, option_value.
    Options,
    RegexpSplitToTable,
    RegexpMatches,
    StringToTable,
    JsonArrayElements,
    JsonObjectKeys,
    /// Columns key and value.
    JsonEach,
    /// Answers no row here: a server facility that Lakegate has no counterpart of (`pg_partition_ancestors`, …).
    Empty,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({:?}) -> {}", self.name, self.arguments, self.returns)
    }
}

/// A resolved scalar type for pseudo-types: what a call's declared pseudo-types stand for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Polymorphic {
    pub element: Option<PgType>,
}

/// Every overload, in no promised order; made once for each process.
pub fn all() -> &'static [Function] {
    static FUNCTIONS: OnceLock<Vec<Function>> = OnceLock::new();
    FUNCTIONS.get_or_init(|| {
        [
            text::functions(),
            substrings::functions(),
            quoting::functions(),
            regexp::functions(),
            aggregates::functions(),
            statistics::functions(),
            math::functions(),
            math::more_functions(),
            degrees::functions(),
            datetime::functions(),
            date_parts::functions(),
            date_trunc::functions(),
            date_make::functions(),
            zones::functions(),
            session::functions(),
            catalog_functions::functions(),
            facilities::functions(),
            arrays::functions(),
            to_char::functions(),
            number_format::functions(),
            number_read::functions(),
            date_read::functions(),
            bytes::functions(),
            similar::functions(),
            array_changes::functions(),
            input_valid::functions(),
            json::functions(),
            json_schema::functions(),
            json_build::functions(),
            json_change::functions(),
            collected::functions(),
            sets(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}

/// The overloads of one name.
pub fn lookup(name: &str) -> impl Iterator<Item = &'static Function> + use<> {
    static BY_NAME: OnceLock<HashMap<&'static str, Vec<&'static Function>>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        let mut by_name: HashMap<&'static str, Vec<&'static Function>> = HashMap::new();
        for function in all() {
            by_name.entry(function.name).or_default().push(function);
        }
        by_name
    });
    by_name.get(name).into_iter().flatten().copied()
}

/// Set-returning functions; the planner knows how to run them.
fn sets() -> Vec<Function> {
    use SetFunction::*;
    use build::set;
    vec![
        set(1067, "generate_series(int4, int4) int4", GenerateSeries),
        set(1066, "generate_series(int4, int4, int4) int4", GenerateSeries),
        set(1069, "generate_series(int8, int8) int8", GenerateSeries),
        set(1068, "generate_series(int8, int8, int8) int8", GenerateSeries),
        set(3260, "generate_series(numeric, numeric) numeric", GenerateSeries),
        set(3259, "generate_series(numeric, numeric, numeric) numeric", GenerateSeries),
        set(938, "generate_series(timestamp, timestamp, interval) timestamp", GenerateSeries),
        set(939, "generate_series(timestamptz, timestamptz, interval) timestamptz", GenerateSeries),
        set(1192, "generate_subscripts(anyarray, int4) int4", GenerateSubscripts),
        set(1191, "generate_subscripts(anyarray, int4, bool) int4", GenerateSubscripts),
        set(2331, "unnest(anyarray) anyelement", Unnest),
        set(13208, "_pg_expandarray(anyarray) record", ExpandArray),
        set(2765, "regexp_split_to_table(text, text) text", RegexpSplitToTable),
        set(2766, "regexp_split_to_table(text, text, text) text", RegexpSplitToTable),
        set(2763, "regexp_matches(text, text) _text", RegexpMatches),
        set(2764, "regexp_matches(text, text, text) _text", RegexpMatches),
        set(6160, "string_to_table(text, text) text", StringToTable),
        set(6161, "string_to_table(text, text, text) text", StringToTable),
        set(3955, "json_array_elements(json) json", JsonArrayElements),
        set(3969, "json_array_elements_text(json) text", JsonArrayElements),
        set(3219, "jsonb_array_elements(jsonb) jsonb", JsonArrayElements),
        set(3465, "jsonb_array_elements_text(jsonb) text", JsonArrayElements),
        set(3958, "json_each(json) record", JsonEach),
        set(3959, "json_each_text(json) record", JsonEach),
        set(3208, "jsonb_each(jsonb) record", JsonEach),
        set(3932, "jsonb_each_text(jsonb) record", JsonEach),
        set(3957, "json_object_keys(json) text", JsonObjectKeys),
        set(3931, "jsonb_object_keys(jsonb) text", JsonObjectKeys),
        set(3425, "pg_partition_ancestors(regclass) regclass", Empty),
        set(3423, "pg_partition_tree(regclass) regclass", Empty),
        set(1686, "pg_get_keywords() record", Keywords),
        set(2289, "pg_options_to_table(_text) record", Options),
    ]
}
