//! Casts as expressions: the engine's own where they are PostgreSQL's, else a kernel over [`convert`].

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Cast, Expr, ReturnFieldArgs};

use super::kernel::{Call, Kernel, Returns};
use super::{Volatility, convert, names, numeric, style};
use crate::builtins::Context;
use crate::encode::input;
use crate::encode::types::{PgType, arrow_type, element_of, oid};
use crate::error::{Error, Result};

/// A cast that the user wrote cuts what does not fit; an assignment refuses it. The kernels' names say which.
const EXPLICIT: &str = "cast";
const ASSIGNMENT: &str = "assignment_cast";

/// The constant that a literal of unknown type is in the type `target`.
pub fn constant(context: &Arc<Context>, text: &str, target: PgType, explicit: bool) -> Result<Expr> {
    let length_limited = matches!(target.oid, oid::VARCHAR | oid::BPCHAR) && target.typmod >= 0;
    let read_as = if length_limited { PgType::of(target.oid) } else { target };
    let value = match names::lookup(context, text, target.oid)? {
        Some(object) => ScalarValue::Int64(Some(i64::from(object))),
        None => input::parse_scalar(text, read_as, &style::input_context(context))?,
    };
    let expr = Expr::Literal(value, None);
    if length_limited { cast(context, expr, read_as, target, explicit) } else { Ok(expr) }
}

/// NULL of a type.
pub fn null(target: PgType) -> Result<Expr> {
    Ok(Expr::Literal(input::null_value(target)?, None))
}

/// `expr`, of type `from`, as `to`. That there is such a cast is known.
pub fn cast(context: &Arc<Context>, expr: Expr, from: PgType, to: PgType, explicit: bool) -> Result<Expr> {
    if is_same_value(from, to) {
        return Ok(expr);
    }
    if let Expr::Literal(value, _) = &expr
        && value.is_null()
    {
        return null(to);
    }
    if let (Expr::Literal(ScalarValue::Decimal128(Some(value), _, scale), _), oid::FLOAT8) = (&expr, to.oid) {
        return Ok(Expr::Literal(ScalarValue::Float64(Some(numeric::to_float(*value, *scale))), None));
    }
    if let Some(target) = engine_cast(from, to) {
        return match &expr {
            Expr::Literal(value, _) => Ok(Expr::Literal(value.cast_to(&target)?, None)),
            _ => Ok(Expr::Cast(Cast::new(Box::new(expr), target))),
        };
    }
    // Where it does not fit the cast below says so, when it is computed: in a branch of CASE that is not taken it never is.
    if to.oid == oid::NUMERIC
        && let Some(constant) = float_constant(&expr, to)
    {
        return Ok(constant);
    }
    let name = if explicit { EXPLICIT } else { ASSIGNMENT };
    Kernel::new(name, from.oid, Volatility::Stable, returns(to), run)
        .with_target(to)
        .with_context(context)
        .call(vec![expr])
}

/// Types that differ in name only.
fn is_same_value(from: PgType, to: PgType) -> bool {
    if from.oid == to.oid {
        return to.typmod < 0 || to.typmod == from.typmod;
    }
    let is_text = |ty: u32| matches!(ty, oid::TEXT | oid::VARCHAR);
    let is_number = |ty: PgType| arrow_type(ty) == DataType::Int64 && ty.oid != oid::INT8;
    (to.typmod < 0 && is_text(to.oid) && (is_text(from.oid) || from.oid == oid::NAME))
        || (is_number(from) && is_number(to))
        || (from.oid == oid::INT8 && to.oid == oid::XID)
        || (from.oid == oid::JSONB && to.oid == oid::JSON)
}

/// Casts that Arrow does as PostgreSQL does and that the engine can see through.
fn engine_cast(from: PgType, to: PgType) -> Option<DataType> {
    let narrow = |ty: u32| matches!(ty, oid::INT2 | oid::INT4);
    match (from.oid, to.oid) {
        (oid::INT2, oid::INT4 | oid::INT8) | (oid::INT4, oid::INT8) => Some(arrow_type(to)),
        (oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4, oid::FLOAT8) => Some(DataType::Float64),
        (oid::NUMERIC, oid::FLOAT8) if is_exact_float(from) => Some(DataType::Float64),
        (oid::INT2 | oid::INT4 | oid::INT8, oid::FLOAT4) => Some(DataType::Float32),
        (oid::INT2 | oid::INT4 | oid::INT8, oid::NUMERIC) if to.typmod < 0 => {
            Some(numeric::decimal_type(&arrow_type(from)))
        }
        (from, _) if narrow(from) && arrow_type(to) == DataType::Int64 => Some(DataType::Int64),
        _ => None,
    }
}

/// Whether both the digits of a `numeric(p,s)` and the power of ten below them are exact floats: then one rounding is left.
fn is_exact_float(ty: PgType) -> bool {
    const DIGITS_MAX: u8 = 15;
    const SCALE_MAX: i8 = 22;
    ty.precision_scale().is_some_and(|(precision, scale)| precision <= DIGITS_MAX && (0..=SCALE_MAX).contains(&scale))
}

/// A constant float as the numeric type `to`: the digits that the float is known to have. `None` for any other expression, and
/// where there is no such numeric.
fn float_constant(expr: &Expr, to: PgType) -> Option<Expr> {
    let (value, digits) = match expr {
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => (*value, numeric::FLOAT8_DIGITS),
        Expr::Literal(ScalarValue::Float32(Some(value)), _) => (f64::from(*value), numeric::FLOAT4_DIGITS),
        _ => return None,
    };
    if !value.is_finite() {
        return None;
    }
    let text = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let utc = input::InputContext::utc(chrono::DateTime::UNIX_EPOCH);
    let constant = input::parse_scalar(&format!("{mantissa}e{exponent}"), to, &utc).ok()?;
    Some(Expr::Literal(constant, None))
}

fn returns(to: PgType) -> Returns {
    match to.oid {
        oid::NUMERIC if to.typmod < 0 => Returns::Of(unconstrained),
        array if element_of(array).is_some() => Returns::Nested(arrow_type(to)),
        _ => Returns::Fixed(arrow_type(to)),
    }
}

fn unconstrained(args: &ReturnFieldArgs) -> Result<DataType> {
    let field = args.arg_fields.first().ok_or_else(|| Error::internal("a cast without a value"))?;
    Ok(numeric::decimal_type(field.data_type()))
}

/// What the type's output function writes: as a cast to text, but for booleans, which are `t` and `f`.
pub fn output_text(context: &Arc<Context>, expr: Expr, from: PgType) -> Result<Expr> {
    if from.oid == oid::BOOL {
        let returns = Returns::Fixed(DataType::Utf8);
        return Kernel::new("boolout", 1243, Volatility::Immutable, returns, boolean_letters).call(vec![expr]);
    }
    cast(context, expr, from, PgType::TEXT, true)
}

fn boolean_letters(call: &Call) -> Result<ArrayRef> {
    let values = call.boolean(0)?;
    call.slices(|row| Ok(values.get(row).map(|value| if value { "t" } else { "f" })))
}

fn run(call: &Call) -> Result<ArrayRef> {
    let cast = convert::Conversion {
        from: PgType::of(call.oid),
        to: call.target,
        explicit: call.name == EXPLICIT,
        context: call.context()?,
        carrier: call.returns,
    };
    cast.array(call.raw(0)?)
}
