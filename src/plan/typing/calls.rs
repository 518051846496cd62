//! Function calls: the overload, the arguments' casts, the result's type (`ParseFuncOrColumn`, `func_get_detail`).

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::logical_expr::{Expr, when};

use super::candidates::{Bindings, Choice, choose};
use super::coerce::{coerce, is_function_style_cast};
use super::{Coercion, Resolved, Typed, TypingContext, literal};
use crate::builtins::functions::type_names::{parse_type, typname};
use crate::builtins::functions::{self, Body, Function, Volatility, casts, json_build, kernel, numeric};
use crate::encode::types::{PgType, element_of, oid, type_words};
use crate::error::{Error, Result, SqlState};

const SYSTEM_SCHEMAS: [&str; 3] = ["pg_catalog", "information_schema", "lakegate"];

/// Functions of `"any"` that take their arguments' texts.
const WRITES_ITS_ARGUMENTS: [&str; 5] = ["concat", "concat_ws", "format", "num_nulls", "num_nonnulls"];

pub(super) fn resolve_call(
    ctx: &TypingContext,
    schema: Option<&str>,
    name: &str,
    args: &[Typed],
    variadic: bool,
    position: Option<u32>,
) -> Result<Resolved> {
    if let Some(schema) = schema {
        check_schema(ctx, schema, position)?;
    }
    let visible = schema.is_none_or(|schema| SYSTEM_SCHEMAS.contains(&schema));
    let overloads: Vec<&'static Function> = if visible { functions::lookup(name).collect() } else { Vec::new() };
    if variadic && overloads.iter().any(|function| function.variadic) {
        return Err(Error::unsupported("VARIADIC in a function call").at(position));
    }
    let types: Vec<u32> = args.iter().map(|argument| argument.ty.oid).collect();
    let candidates: Vec<(&Function, Vec<u32>)> = overloads
        .into_iter()
        .filter_map(|function| declared_for(function, args.len()).map(|declared| (function, declared)))
        .collect();

    if let Some((function, declared)) = candidates.iter().find(|(_, declared)| *declared == types) {
        return finish(ctx, function, declared, args, position);
    }
    if let ([argument], true) = (args, visible)
        && let Some(call) = function_style_cast(ctx, name, argument, position)?
    {
        return Ok(call);
    }
    let declared: Vec<Vec<u32>> = candidates.iter().map(|(_, declared)| declared.clone()).collect();
    match choose(&types, &declared) {
        Choice::One(index) => match candidates.get(index) {
            Some((function, declared)) => finish(ctx, function, declared, args, position),
            None => Err(undefined(schema, name, args).at(position)),
        },
        Choice::None => Err(undefined(schema, name, args).at(position)),
        Choice::Ambiguous => Err(ambiguous(schema, name, args).at(position)),
    }
}

fn check_schema(ctx: &TypingContext, schema: &str, position: Option<u32>) -> Result<()> {
    if SYSTEM_SCHEMAS.contains(&schema) || ctx.context.catalog.schemas.contains_key(schema) {
        return Ok(());
    }
    Err(Error::new(SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")).at(position))
}

/// The declared types for a call with that many arguments: defaults left out, VARIADIC repeated.
fn declared_for(function: &Function, count: usize) -> Option<Vec<u32>> {
    let declared = &function.arguments;
    if !function.variadic {
        let fits = count <= declared.len() && count + function.defaults >= declared.len();
        return fits.then(|| declared.iter().take(count).copied().collect());
    }
    let (last, fixed) = declared.split_last()?;
    if count < fixed.len() + usize::from(*last != oid::ANY || function.defaults == 0) {
        return None;
    }
    let repeated = match *last {
        oid::ANY => oid::ANY,
        oid::ANYARRAY => oid::ANYELEMENT,
        functions::type_names::ANYCOMPATIBLEARRAY => functions::type_names::ANYCOMPATIBLE,
        array => element_of(array)?,
    };
    let mut types = fixed.to_vec();
    types.resize(count.max(fixed.len()), repeated);
    Some(types)
}

fn finish(
    ctx: &TypingContext,
    function: &Function,
    declared: &[u32],
    args: &[Typed],
    position: Option<u32>,
) -> Result<Resolved> {
    if matches!(function.name, "div" | "mod") && args.get(1).is_some_and(|divisor| literal::wide(divisor).is_some()) {
        // As with the operators: less than the last digit that there is would be taken for zero.
        return Err(numeric::overflow());
    }
    let types: Vec<u32> = args.iter().map(|argument| argument.ty.oid).collect();
    let bindings = Bindings::of(&types, declared).unwrap_or_default();
    let mut arguments = Vec::with_capacity(args.len());
    for (argument, declared) in args.iter().zip(declared) {
        let target = bindings.resolve(*declared);
        if target == oid::UNKNOWN && argument.ty.oid == oid::UNKNOWN && *declared != oid::UNKNOWN {
            return Err(undetermined().at(position));
        }
        let mut argument = coerce(ctx, argument.clone(), PgType::of(target), Coercion::Implicit)?;
        let as_json = json_build::takes_json(function.name, arguments.len());
        if as_json == Some(true) {
            // The type stays the value's: aggregates lay out records and arrays otherwise.
            argument.expr = json_build::to_json(ctx.context(), argument.expr, argument.ty)?;
        } else if *declared == oid::ANYELEMENT && matches!(function.name, "quote_literal" | "quote_nullable") {
            argument.expr = casts::output_text(ctx.context(), argument.expr, argument.ty)?;
        } else if *declared == oid::ANY && (as_json.is_some() || WRITES_ITS_ARGUMENTS.contains(&function.name)) {
            argument.expr = casts::output_text(ctx.context(), argument.expr, argument.ty)?;
            argument.ty = PgType::TEXT;
        }
        arguments.push(argument);
    }
    let returns = PgType::of(bindings.resolve(function.returns));
    Ok(Resolved { function: function.clone(), arguments, returns })
}

fn undetermined() -> Error {
    let message = "could not determine polymorphic type because input has type unknown";
    Error::new(SqlState::DatatypeMismatch, message)
}

/// `float8(x)`: a cast written as a call of the type's name.
fn function_style_cast(
    ctx: &TypingContext,
    name: &str,
    argument: &Typed,
    position: Option<u32>,
) -> Result<Option<Resolved>> {
    let target = parse_type(name).filter(|ty| typname(ty.oid) == Some(name));
    let Some(target) = target.filter(|target| is_function_style_cast(argument.ty.oid, target.oid)) else {
        return Ok(None);
    };
    let value = super::coerce::cast(ctx, argument.clone(), target, position)?;
    let function = Function {
        oid: 0,
        name: "cast",
        arguments: vec![argument.ty.oid],
        variadic: false,
        defaults: 0,
        returns: target.oid,
        returns_set: false,
        volatility: Volatility::Immutable,
        strict: true,
        body: Body::Expression(only),
    };
    Ok(Some(Resolved { function, arguments: vec![value], returns: target }))
}

fn only(arguments: Vec<Expr>) -> Result<Expr> {
    arguments.into_iter().next().ok_or_else(|| Error::internal("a cast without a value"))
}

/// `name(integer, unknown)`, for errors.
fn signature(schema: Option<&str>, name: &str, args: &[Typed]) -> String {
    let types: Vec<String> = args.iter().map(|argument| type_words(argument.ty.oid)).collect();
    let schema = schema.map(|schema| format!("{schema}.")).unwrap_or_default();
    format!("{schema}{name}({})", types.join(", "))
}

fn undefined(schema: Option<&str>, name: &str, args: &[Typed]) -> Error {
    let message = format!("function {} does not exist", signature(schema, name, args));
    Error::new(SqlState::UndefinedFunction, message)
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

fn ambiguous(schema: Option<&str>, name: &str, args: &[Typed]) -> Error {
    let message = format!("function {} is not unique", signature(schema, name, args));
    Error::new(SqlState::AmbiguousFunction, message)
        .with_hint("Could not choose a best candidate function. You might need to add explicit type casts.")
}

pub(super) fn scalar_call(ctx: &TypingContext, call: Resolved) -> Result<Typed> {
    let Resolved { function, arguments, returns } = call;
    if let ("pg_typeof", [argument]) = (function.name, arguments.as_slice()) {
        // The type is known here and nowhere later.
        let value = Expr::Literal(ScalarValue::Int64(Some(i64::from(argument.ty.oid))), None);
        let expr = if argument.expr.exists(|part| Ok(is_many_rows(part)))? {
            // An aggregate makes one row of many, whatever becomes of its value.
            when(argument.expr.clone().is_null(), value.clone()).otherwise(value)?
        } else {
            value
        };
        return Ok(Typed { expr, ty: returns, position: argument.position });
    }
    let position = arguments.first().and_then(|argument| argument.position);
    let exprs: Vec<Expr> = arguments.into_iter().map(|argument| argument.expr).collect();
    let wrong = |kind: &str| {
        Error::new(SqlState::WrongObjectType, format!("function {} is {kind}, not a scalar function", function.name))
    };
    let expr = match &function.body {
        Body::Scalar(udf) => kernel::call(udf.clone(), exprs, function.volatility != Volatility::Volatile),
        Body::Expression(build) => build(exprs),
        Body::InContext(kernel) => kernel.clone().with_context(ctx.context()).call(exprs),
        Body::Contextual(build) => build(ctx.context(), exprs),
        Body::Aggregate(_) => Err(wrong("an aggregate")),
        Body::Window(_) => Err(wrong("a window function")),
        Body::Set(_) => Err(wrong("a set-returning function")),
    };
    Ok(Typed { expr: expr.map_err(|error| error.at(None))?, ty: returns, position })
}

/// Whether the expression decides how many rows there are.
fn is_many_rows(expr: &Expr) -> bool {
    matches!(expr, Expr::AggregateFunction(_) | Expr::WindowFunction(_) | Expr::Unnest(_))
}
