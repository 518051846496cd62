//! Comparisons. They stay the engine's own, with a bare column beside a constant wherever that is exact, so that files and
//! row groups can be skipped by their statistics.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator as Engine, lit};

use super::Wanted;
use crate::builtins::functions::kernel::{Kernel, Returns, Run, longer_decimal};
use crate::builtins::functions::{Volatility, casts, date_arithmetic, floats, json_order, numeric};
use crate::encode::TextTimeZone;
use crate::encode::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, offset_at, offset_at_local};
use crate::encode::types::{PgType, oid};
use crate::error::{Error, Result};
use crate::plan::typing::coerce::coerce;
use crate::plan::typing::{Coercion, DFSchema, Typed, TypingContext, literal};

/// `written` are the operands before they were cast to the operator's types, `cast` after.
pub(super) fn build(
    ctx: &TypingContext,
    name: &'static str,
    wanted: Wanted,
    written: (Typed, Typed),
    cast: (Typed, Typed),
    schema: &DFSchema,
) -> Result<Expr> {
    let op = engine(name, wanted);
    let zone = ctx.context().time_zone;
    if let (false, Expr::Literal(constant, _)) = (is_constant(&written.0.expr), &cast.1.expr)
        && let Some(folded) = fold(op, &written.0.expr, constant, schema, zone)
    {
        return Ok(folded);
    }
    if let (Expr::Literal(constant, _), false) = (&cast.0.expr, is_constant(&written.1.expr))
        && let Some(folded) = op.swap().and_then(|op| fold(op, &written.1.expr, constant, schema, zone))
    {
        return Ok(folded);
    }
    let (left, right) = cast;
    if left.ty.oid == oid::INTERVAL && right.ty.oid == oid::INTERVAL {
        return intervals(op, left.expr, right.expr);
    }
    if left.ty.oid == oid::JSONB && right.ty.oid == oid::JSONB {
        return Ok(compare(document_key(left.expr)?, op, document_key(right.expr)?));
    }
    if matches!(op, Engine::Eq | Engine::NotEq) {
        if let Some(constant) = padded(&left, &right) {
            return Ok(compare(left.expr, op, constant));
        }
        if let Some(constant) = padded(&right, &left) {
            return Ok(compare(constant, op, right.expr));
        }
    }
    let (left, right) = alike(ctx, left, right)?;
    Ok(compare(left, op, right))
}

/// A comparison of numerics, one of them a constant that has no room in a numeric: it lies beyond all of them, or between
/// zero and its neighbours, so that the others are compared with a bound. `None` without such a constant.
pub(super) fn with_wide(
    ctx: &TypingContext,
    name: &'static str,
    wanted: Wanted,
    (left, right): (&Typed, &Typed),
    schema: &DFSchema,
) -> Result<Option<Expr>> {
    let op = engine(name, wanted);
    let (other, float, op) = match (literal::wide(left), literal::wide(right)) {
        (None, None) => return Ok(None),
        // Floats of different values are in the order of the constants; of equal ones it is not known.
        (Some(a), Some(b)) if a == b => return Err(numeric::overflow()),
        (Some(a), Some(b)) => return Ok(Some(compare(lit(a), op, lit(b)))),
        (None, Some(float)) => (left, float, Some(op)),
        (Some(float), None) => (right, float, op.swap()),
    };
    let op = op.ok_or_else(|| Error::internal("a comparison that has no mirror"))?;
    let other = coerce(ctx, other.clone(), PgType::NUMERIC, Coercion::Implicit)?.expr;
    let scale = numeric::scale_of(&other.get_type(schema)?);
    let greatest = 10_i128.pow(u32::from(numeric::DIGITS_MAX)) - 1;
    // The constant is next to this value, on the side away from zero.
    let neighbour = if float.abs() < 1.0 { 0 } else { greatest * if float > 0.0 { 1 } else { -1 } };
    let (op, bound) = match (op, float > 0.0) {
        (Engine::Lt | Engine::LtEq, true) => (Engine::LtEq, neighbour),
        (Engine::Gt | Engine::GtEq, true) => (Engine::Gt, neighbour),
        (Engine::Lt | Engine::LtEq, false) => (Engine::Lt, neighbour),
        (Engine::Gt | Engine::GtEq, false) => (Engine::GtEq, neighbour),
        // Nothing is equal, and of NULL that is not known.
        (Engine::Eq, _) => (Engine::Gt, greatest),
        (Engine::NotEq, _) => (Engine::LtEq, greatest),
        (Engine::IsDistinctFrom, _) => return Ok(Some(lit(true))),
        (Engine::IsNotDistinctFrom, _) => return Ok(Some(lit(false))),
        _ => return Ok(None),
    };
    let bound = ScalarValue::Decimal128(Some(bound), numeric::DIGITS_MAX, scale);
    Ok(Some(compare(other, op, Expr::Literal(bound, None))))
}

/// The constant beside a `char(n)` column as the column would hold it, so that the column stays bare.
fn padded(column: &Typed, constant: &Typed) -> Option<Expr> {
    if column.ty.oid != oid::BPCHAR || constant.ty.oid != oid::BPCHAR || is_constant(&column.expr) {
        return None;
    }
    let width = column.ty.length_max()?;
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = &constant.expr else { return None };
    let text = text.trim_end_matches(' ');
    let fits = text.chars().count() <= width;
    fits.then(|| Expr::Literal(ScalarValue::Utf8(Some(format!("{text:<width$}"))), None))
}

fn is_constant(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(..))
}

fn compare(left: Expr, op: Engine, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

fn engine(name: &str, wanted: Wanted) -> Engine {
    match (name, wanted) {
        (_, Wanted::Distinct) => Engine::IsDistinctFrom,
        (_, Wanted::NotDistinct) => Engine::IsNotDistinctFrom,
        ("<>", _) => Engine::NotEq,
        ("<", _) => Engine::Lt,
        ("<=", _) => Engine::LtEq,
        (">", _) => Engine::Gt,
        (">=", _) => Engine::GtEq,
        _ => Engine::Eq,
    }
}

/// Months count 30 days and days 24 hours when intervals are compared: each becomes one number first.
fn intervals(op: Engine, left: Expr, right: Expr) -> Result<Expr> {
    Ok(compare(interval_span(left)?, op, interval_span(right)?))
}

/// An interval's length in microseconds.
pub(in crate::plan::typing) fn interval_span(interval: Expr) -> Result<Expr> {
    let run: Run = date_arithmetic::interval_span;
    let returns = Returns::Fixed(DataType::Decimal128(38, 0));
    Kernel::new("interval_span", 0, Volatility::Immutable, returns, run).call(vec![interval])
}

/// A jsonb document as bytes in the order of documents.
pub(in crate::plan::typing) fn document_key(document: Expr) -> Result<Expr> {
    let run: Run = json_order::sort_key;
    Kernel::new("jsonb_sort_key", 0, Volatility::Immutable, Returns::Fixed(DataType::Binary), run).call(vec![document])
}

/// A float of which equal values have the same bits.
pub(in crate::plan::typing) fn float_key(float: Expr) -> Result<Expr> {
    let (run, returns): (Run, Returns) = (floats::key, Returns::Of(numeric::same_type));
    Kernel::new("float_key", 0, Volatility::Immutable, returns, run).call(vec![float])
}

/// Brings the operands of an operator across types to one type.
fn alike(ctx: &TypingContext, left: Typed, right: Typed) -> Result<(Expr, Expr)> {
    let types = (left.ty, right.ty);
    let target = match (left.ty.oid, right.ty.oid) {
        (oid::BPCHAR, oid::BPCHAR) if left.ty.typmod < 0 || left.ty.typmod != right.ty.typmod => Some(PgType::TEXT),
        (a, b) if a == b => None,
        (oid::TIMESTAMPTZ, _) | (_, oid::TIMESTAMPTZ) => Some(PgType::TIMESTAMPTZ),
        (oid::TIMESTAMP, oid::DATE) | (oid::DATE, oid::TIMESTAMP) => Some(PgType::TIMESTAMP),
        // The engine widens integers and floats itself, and then sees through its cast.
        _ => None,
    };
    let Some(target) = target else { return Ok((left.expr, right.expr)) };
    let convert = |value: Typed, ty: PgType| {
        if ty.oid == target.oid { Ok(value.expr) } else { casts::cast(ctx.context(), value.expr, ty, target, true) }
    };
    Ok((convert(left, types.0)?, convert(right, types.1)?))
}

/// `column op constant` with the constant in the column's type, when both say the same.
fn fold(op: Engine, column: &Expr, constant: &ScalarValue, schema: &DFSchema, zone: TextTimeZone) -> Option<Expr> {
    let column_type = column.get_type(schema).ok()?;
    if constant.is_null() || column_type == constant.data_type() {
        return None;
    }
    if let DataType::Decimal128(precision, scale) = column_type
        && longer_decimal([&column_type, &constant.data_type()].into_iter()).is_some()
        && let Some(above) = is_beyond(constant, precision, scale)
    {
        return compare_with_last(op, column, (precision, scale), above);
    }
    let (value, exact) = floor_to(constant, &column_type, zone)?;
    let op = match (exact, op) {
        (true, op) => op,
        (false, Engine::Lt | Engine::LtEq) => Engine::LtEq,
        (false, Engine::Gt | Engine::GtEq) => Engine::Gt,
        (false, _) => return None,
    };
    Some(compare(column.clone(), op, Expr::Literal(value, None)))
}

/// The greatest value of the type that is not above the constant, and whether it equals it; `None` when unknown.
fn floor_to(constant: &ScalarValue, ty: &DataType, zone: TextTimeZone) -> Option<(ScalarValue, bool)> {
    match ty {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let (floor, exact) = floor_at_scale(constant, 0)?;
            let value = match ty {
                DataType::Int16 => ScalarValue::Int16(Some(i16::try_from(floor).ok()?)),
                DataType::Int32 => ScalarValue::Int32(Some(i32::try_from(floor).ok()?)),
                _ => ScalarValue::Int64(Some(i64::try_from(floor).ok()?)),
            };
            Some((value, exact))
        }
        DataType::Decimal128(precision, scale) => {
            let (floor, exact) = floor_at_scale(constant, *scale)?;
            let fits = floor.unsigned_abs() < 10_u128.checked_pow(u32::from(*precision))?;
            fits.then_some((ScalarValue::Decimal128(Some(floor), *precision, *scale), exact))
        }
        DataType::Float32 => match constant {
            ScalarValue::Float64(Some(value)) if f64::from(*value as f32) == *value => {
                Some((ScalarValue::Float32(Some(*value as f32)), true))
            }
            _ => None,
        },
        DataType::Date32 => {
            let micros = local_micros(constant, zone)?;
            let days = i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()?;
            Some((ScalarValue::Date32(Some(days)), micros.rem_euclid(MICROS_PER_DAY) == 0))
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            Some((ScalarValue::TimestampMicrosecond(Some(local_micros(constant, zone)?), None), true))
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(name)) => {
            let local = match constant {
                ScalarValue::Date32(_) | ScalarValue::TimestampMicrosecond(_, None) => local_micros(constant, zone)?,
                _ => return None,
            };
            let utc = local - i64::from(offset_at_local(zone, local)) * MICROS_PER_SECOND;
            Some((ScalarValue::TimestampMicrosecond(Some(utc), Some(name.clone())), true))
        }
        _ => None,
    }
}

/// Whether the constant has more digits before the point than a decimal type: `Some(true)` lies above all its values,
/// `Some(false)` below.
fn is_beyond(constant: &ScalarValue, precision: u8, scale: i8) -> Option<bool> {
    let (value, from) = units(constant)?;
    let digits = i32::from(precision) - i32::from(scale) + i32::from(from);
    let beyond = match u32::try_from(digits) {
        Ok(digits) => 10_u128.checked_pow(digits).is_some_and(|limit| value.unsigned_abs() >= limit),
        Err(_) => value != 0,
    };
    beyond.then_some(value > 0)
}

/// The comparison with a constant that lies above, or below, all of a column's values: as one with the last of these.
fn compare_with_last(op: Engine, column: &Expr, (precision, scale): (u8, i8), above: bool) -> Option<Expr> {
    let greatest = 10_i128.checked_pow(precision.into())? - 1;
    let op = match (op, above) {
        (Engine::Lt | Engine::LtEq | Engine::NotEq, true) => Engine::LtEq,
        (Engine::Gt | Engine::GtEq | Engine::Eq, true) => Engine::Gt,
        (Engine::Gt | Engine::GtEq | Engine::NotEq, false) => Engine::GtEq,
        (Engine::Lt | Engine::LtEq | Engine::Eq, false) => Engine::Lt,
        (Engine::IsDistinctFrom, _) => return Some(lit(true)),
        (Engine::IsNotDistinctFrom, _) => return Some(lit(false)),
        _ => return None,
    };
    let last = ScalarValue::Decimal128(Some(if above { greatest } else { -greatest }), precision, scale);
    Some(compare(column.clone(), op, Expr::Literal(last, None)))
}

/// An exact number in units of 10^-scale, and that scale.
fn units(constant: &ScalarValue) -> Option<(i128, i8)> {
    match constant {
        ScalarValue::Int16(Some(value)) => Some((i128::from(*value), 0)),
        ScalarValue::Int32(Some(value)) => Some((i128::from(*value), 0)),
        ScalarValue::Int64(Some(value)) => Some((i128::from(*value), 0)),
        ScalarValue::Decimal128(Some(value), _, scale) => Some((*value, *scale)),
        _ => None,
    }
}

/// The constant in units of 10^-scale, rounded down, and whether that is exact.
fn floor_at_scale(constant: &ScalarValue, scale: i8) -> Option<(i128, bool)> {
    // Beyond 2^53 several integers share one float.
    if let ScalarValue::Float64(Some(value)) = constant
        && scale == 0
        && value.abs() < 9_007_199_254_740_992.0
    {
        return Some((value.floor() as i128, value.fract() == 0.0));
    }
    let (value, from) = units(constant)?;
    let shift = i32::from(scale) - i32::from(from);
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 {
        return Some((value.checked_mul(power)?, true));
    }
    Some((value.div_euclid(power), value.rem_euclid(power) == 0))
}

/// The constant as a local time in microseconds. Near a change of the zone's offset local times are not in the order of
/// moments, and nothing is folded there.
fn local_micros(constant: &ScalarValue, zone: TextTimeZone) -> Option<i64> {
    match constant {
        ScalarValue::Date32(Some(days)) if *days != i32::MAX && *days != i32::MIN => {
            i64::from(*days).checked_mul(MICROS_PER_DAY)
        }
        ScalarValue::TimestampMicrosecond(Some(micros), _) if matches!(*micros, i64::MIN | i64::MAX) => None,
        ScalarValue::TimestampMicrosecond(Some(micros), None) => Some(*micros),
        ScalarValue::TimestampMicrosecond(Some(micros), Some(_)) => {
            let offset = offset_at(zone, *micros);
            let calm = [micros.checked_sub(MICROS_PER_DAY)?, micros.checked_add(MICROS_PER_DAY)?]
                .into_iter()
                .all(|near| offset_at(zone, near) == offset);
            calm.then(|| micros + i64::from(offset) * MICROS_PER_SECOND)
        }
        _ => None,
    }
}
