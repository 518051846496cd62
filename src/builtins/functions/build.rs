//! Short ways to write registry entries: `scalar(870, "lower(text) text", lower)`.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{AggregateUDF, Expr, ReturnFieldArgs, ScalarUDF, WindowUDF};

use super::kernel::{Kernel, Returns, Run};
use super::type_names::oid_of_typname;
use super::{Body, Function, SetFunction, Volatility};
use crate::builtins::Context;
use crate::encode::types::{PgType, arrow_type, oid};
use crate::error::Result;

/// Name, argument types and result of `name(type, type) type`, types as `typname`; `variadic` before the last one repeats it.
struct Declaration {
    name: &'static str,
    arguments: Vec<u32>,
    variadic: bool,
    returns: u32,
}

fn declaration(spec: &'static str) -> Declaration {
    let (name, rest) = spec.split_once('(').unwrap_or((spec, ")"));
    let (arguments, returns) = rest.split_once(')').unwrap_or((rest, ""));
    let variadic = arguments.contains("variadic ");
    let arguments = arguments
        .split(',')
        .map(|argument| argument.trim().trim_start_matches("variadic "))
        .filter(|argument| !argument.is_empty())
        .map(|argument| oid_of_typname(argument).unwrap_or(oid::UNKNOWN))
        .collect();
    Declaration { name, arguments, variadic, returns: oid_of_typname(returns.trim()).unwrap_or(oid::UNKNOWN) }
}

fn entry(function_oid: u32, spec: &'static str, body: impl FnOnce(&Declaration) -> Body) -> Function {
    let declaration = declaration(spec);
    let body = body(&declaration);
    Function {
        oid: function_oid,
        name: declaration.name,
        arguments: declaration.arguments,
        variadic: declaration.variadic,
        defaults: 0,
        returns: declaration.returns,
        returns_set: false,
        volatility: Volatility::Immutable,
        strict: true,
        body,
    }
}

/// An immutable function whose result has one Arrow type.
pub(super) fn scalar(oid: u32, spec: &'static str, run: Run) -> Function {
    entry(oid, spec, |declared| {
        let returns = Returns::Fixed(arrow_type(PgType::of(declared.returns)));
        Body::Scalar(Kernel::new(declared.name, oid, Volatility::Immutable, returns, run).udf())
    })
}

/// An immutable function whose result's Arrow type follows from the arguments.
pub(super) fn typed(
    oid: u32,
    spec: &'static str,
    returns: fn(&ReturnFieldArgs) -> Result<DataType>,
    run: Run,
) -> Function {
    entry(oid, spec, |declared| {
        Body::Scalar(Kernel::new(declared.name, oid, Volatility::Immutable, Returns::Of(returns), run).udf())
    })
}

/// A volatile function of its arguments alone.
pub(super) fn volatile(oid: u32, spec: &'static str, run: Run) -> Function {
    let mut function = entry(oid, spec, |declared| {
        let returns = Returns::Fixed(arrow_type(PgType::of(declared.returns)));
        Body::Scalar(Kernel::new(declared.name, oid, Volatility::Volatile, returns, run).udf())
    });
    function.volatility = Volatility::Volatile;
    function
}

/// One of the engine's functions that does what PostgreSQL's does.
pub(super) fn engine(oid: u32, spec: &'static str, udf: Arc<ScalarUDF>) -> Function {
    entry(oid, spec, |_| Body::Scalar(udf))
}

/// A stable function of the statement's context.
pub(super) fn contextual(
    oid: u32,
    spec: &'static str,
    build: fn(&Arc<Context>, Vec<Expr>) -> Result<Expr>,
) -> Function {
    let mut function = entry(oid, spec, |_| Body::Contextual(build));
    function.volatility = Volatility::Stable;
    function
}

/// A stable function that a kernel computes which is given the statement's context.
pub(super) fn in_context(oid: u32, spec: &'static str, run: Run) -> Function {
    kernel_in_context(oid, spec, Volatility::Stable, run)
}

/// As [`in_context`], and it does something.
pub(super) fn volatile_in_context(oid: u32, spec: &'static str, run: Run) -> Function {
    kernel_in_context(oid, spec, Volatility::Volatile, run)
}

fn kernel_in_context(oid: u32, spec: &'static str, volatility: Volatility, run: Run) -> Function {
    let mut function = entry(oid, spec, |declared| {
        let returns = Returns::Fixed(arrow_type(PgType::of(declared.returns)));
        Body::InContext(Kernel::new(declared.name, oid, volatility, returns, run))
    });
    function.volatility = volatility;
    function
}

pub(super) fn aggregate(oid: u32, spec: &'static str, udf: Arc<AggregateUDF>) -> Function {
    let mut function = entry(oid, spec, |_| Body::Aggregate(udf));
    function.strict = false;
    function
}

pub(super) fn window(oid: u32, spec: &'static str, udf: Arc<WindowUDF>) -> Function {
    let mut function = entry(oid, spec, |_| Body::Window(udf));
    function.strict = false;
    function
}

pub(super) fn set(oid: u32, spec: &'static str, kind: SetFunction) -> Function {
    let mut function = entry(oid, spec, |_| Body::Set(kind));
    function.returns_set = true;
    function
}

impl Function {
    /// NULL arguments do not make the result NULL by themselves.
    pub(super) fn not_strict(mut self) -> Self {
        self.strict = false;
        self
    }
}
