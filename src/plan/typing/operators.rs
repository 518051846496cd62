//! Operators: which one is meant, and the expression that computes it.

mod build;
mod comparison;
mod table;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};

use super::candidates::{Bindings, Choice, choose};
use super::coerce::coerce;
use super::{Coercion, DFSchema, Typed, TypingContext, literal};
use crate::builtins::functions::numeric;
use crate::encode::types::{PgType, element_of, oid, type_words};
use crate::error::{Error, Result, SqlState};
pub(super) use comparison::{document_key, float_key, interval_span};
use table::Operator;

pub(super) fn binary(
    ctx: &TypingContext,
    op: &str,
    left: Typed,
    right: Typed,
    position: Option<u32>,
    schema: &DFSchema,
) -> Result<Typed> {
    let (op, wanted) = spelling(op);
    let start = left.position.or(position);
    let operator = find(op, [left.ty.oid, right.ty.oid]).map_err(|error| error.at(position))?;
    if matches!(operator.kind, table::Kind::Compare) && wanted == Wanted::Plain && is_null_beside_record(&left, &right)
    {
        return Ok(Typed { expr: lit(ScalarValue::Boolean(None)), ty: PgType::BOOL, position: start });
    }
    let declared = [operator.left, operator.right];
    let bindings = Bindings::of(&[left.ty.oid, right.ty.oid], &declared).unwrap_or_default();
    if [operator.left, operator.right].iter().any(|declared| bindings.resolve(*declared) == oid::UNKNOWN) {
        // Two literals tell no element type, and PostgreSQL has more types with this operator than we have.
        return Err(ambiguous(op, [left.ty.oid, right.ty.oid]).at(position));
    }
    if matches!(operator.kind, table::Kind::Compare)
        && operator.left == oid::NUMERIC
        && let Some(expr) = comparison::with_wide(ctx, operator.name, wanted, (&left, &right), schema)?
    {
        return Ok(Typed { expr, ty: PgType::BOOL, position: start });
    }
    if operator.left == oid::NUMERIC && matches!(operator.name, "/" | "%") && literal::wide(&right).is_some() {
        // Less than the last digit that there is would be taken for zero.
        return Err(numeric::overflow());
    }
    let written = (left.clone(), right.clone());
    let left = coerce(ctx, left, PgType::of(bindings.resolve(operator.left)), Coercion::Implicit)?;
    let right = coerce(ctx, right, PgType::of(bindings.resolve(operator.right)), Coercion::Implicit)?;
    let ty = PgType::of(bindings.resolve(operator.result));
    let expr = if matches!(operator.kind, table::Kind::Compare) {
        comparison::build(ctx, operator.name, wanted, written, (left, right), schema)
    } else {
        build::binary(ctx, operator, left, right, schema)
    };
    let expr = expr.map_err(|error| error.at(position))?;
    Ok(Typed { expr, ty, position: start })
}

/// Whether values of the type can be compared; only json's cannot, of the types we have.
pub(super) fn is_comparable(type_oid: u32) -> bool {
    element_of(type_oid).unwrap_or(type_oid) != oid::JSON
}

pub(super) fn left_operand(op: &str, left: &Typed, right: &Typed) -> Result<PgType> {
    let types = [left.ty.oid, right.ty.oid];
    let operator = find(op, types)?;
    let bindings = Bindings::of(&types, &[operator.left, operator.right]).unwrap_or_default();
    let taken = bindings.resolve(operator.left);
    Ok(if taken == left.ty.oid { left.ty } else { PgType::of(taken) })
}

/// NULL without a type beside a row, whose comparisons are all NULL.
fn is_null_beside_record(left: &Typed, right: &Typed) -> bool {
    let null = |value: &Typed| {
        value.ty.oid == oid::UNKNOWN && matches!(&value.expr, Expr::Literal(constant, _) if constant.is_null())
    };
    (left.ty.oid == oid::RECORD && null(right)) || (null(left) && right.ty.oid == oid::RECORD)
}

pub(super) fn unary(
    ctx: &TypingContext,
    op: &str,
    argument: Typed,
    position: Option<u32>,
    schema: &DFSchema,
) -> Result<Typed> {
    let operator = find(op, [0, argument.ty.oid]).map_err(|error| error.at(position))?;
    if let (Some(float), "+" | "-") = (literal::wide(&argument), op) {
        let float = if op == "-" { -float } else { float };
        return Ok(Typed { expr: lit(float), ty: argument.ty, position });
    }
    let argument = coerce(ctx, argument, PgType::of(operator.right), Coercion::Implicit)?;
    let expr = build::unary(ctx, operator, argument, schema).map_err(|error| error.at(position))?;
    Ok(Typed { expr, ty: PgType::of(operator.result), position })
}

/// What the caller wants of an operator that is spelt in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Plain,
    Distinct,
    NotDistinct,
}

/// The operator behind SQL's words.
fn spelling(op: &str) -> (&str, Wanted) {
    match op {
        "IS DISTINCT FROM" => ("=", Wanted::Distinct),
        "IS NOT DISTINCT FROM" => ("=", Wanted::NotDistinct),
        "LIKE" => ("~~", Wanted::Plain),
        "NOT LIKE" => ("!~~", Wanted::Plain),
        "ILIKE" => ("~~*", Wanted::Plain),
        "NOT ILIKE" => ("!~~*", Wanted::Plain),
        "!=" => ("<>", Wanted::Plain),
        other => (other, Wanted::Plain),
    }
}

/// Finds the operator for the operands' types; a left type of 0 asks for a prefix operator.
fn find(op: &str, types: [u32; 2]) -> Result<&'static Operator> {
    let named = table::named(op);
    let prefix = types[0] == 0;
    let candidates: Vec<&'static Operator> = named.iter().filter(|operator| (operator.left == 0) == prefix).collect();
    // An unknown operand beside a known one is first taken to have the same type.
    let exact = match types {
        [oid::UNKNOWN, right] if right != oid::UNKNOWN => [right, right],
        [left, oid::UNKNOWN] if left != oid::UNKNOWN && left != 0 => [left, left],
        other => other,
    };
    if let Some(found) = candidates.iter().find(|operator| [operator.left, operator.right] == exact) {
        return Ok(found);
    }
    let (arguments, declared): (Vec<u32>, Vec<Vec<u32>>) = if prefix {
        (vec![types[1]], candidates.iter().map(|operator| vec![operator.right]).collect())
    } else {
        (types.to_vec(), candidates.iter().map(|operator| vec![operator.left, operator.right]).collect())
    };
    match choose(&arguments, &declared) {
        Choice::One(index) => candidates.get(index).copied().ok_or_else(|| undefined(op, types)),
        Choice::None => Err(undefined(op, types)),
        Choice::Ambiguous => Err(ambiguous(op, types)),
    }
}

/// `integer + text`, for errors.
fn signature(op: &str, [left, right]: [u32; 2]) -> String {
    let right = type_words(right);
    if left == 0 { format!("{op} {right}") } else { format!("{} {op} {right}", type_words(left)) }
}

fn undefined(op: &str, types: [u32; 2]) -> Error {
    let hint = if types[0] == 0 {
        "No operator matches the given name and argument type. You might need to add an explicit type cast."
    } else {
        "No operator matches the given name and argument types. You might need to add explicit type casts."
    };
    Error::new(SqlState::UndefinedFunction, format!("operator does not exist: {}", signature(op, types)))
        .with_hint(hint)
}

fn ambiguous(op: &str, types: [u32; 2]) -> Error {
    Error::new(SqlState::AmbiguousFunction, format!("operator is not unique: {}", signature(op, types)))
        .with_hint("Could not choose a best candidate operator. You might need to add explicit type casts.")
}
