//! Getting a value into a type: implicit, for assignment, by a cast.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use super::candidates::common_of;
use super::categories::{Pathway, category, pathway};
use super::{Coercion, Typed, TypingContext, literal, parameter};
use crate::builtins::functions::casts;
use crate::encode::TextStyle;
use crate::encode::to_text;
use crate::encode::types::{PgType, element_of, oid, type_words};
use crate::error::{Error, Result, SqlState};

pub(super) fn coerce(ctx: &TypingContext, value: Typed, target: PgType, coercion: Coercion) -> Result<Typed> {
    if target.oid == oid::ANY || target.oid == oid::UNKNOWN {
        return if target.oid == oid::ANY { settle(ctx, value) } else { Ok(value) };
    }
    let value = if literal::takes_wide(target) { value } else { literal::narrowed(value)? };
    if value.ty.oid == oid::UNKNOWN {
        return from_unknown(ctx, value, target, coercion);
    }
    let position = value.position;
    if pathway(value.ty.oid, target.oid, coercion).is_none() {
        return Err(cannot_cast(SqlState::DatatypeMismatch, value.ty, target).at(position));
    }
    convert(ctx, value, target, coercion)
}

pub(super) fn cast(ctx: &TypingContext, value: Typed, target: PgType, position: Option<u32>) -> Result<Typed> {
    let start = value.position.or(position);
    let value = if literal::takes_wide(target) { value } else { literal::narrowed(value)? };
    let mut result = if value.ty.oid == oid::UNKNOWN {
        from_unknown(ctx, value, target, Coercion::Explicit)?
    } else {
        if pathway(value.ty.oid, target.oid, Coercion::Explicit).is_none() {
            return Err(cannot_cast(SqlState::CannotCoerce, value.ty, target).at(position));
        }
        convert(ctx, value, target, Coercion::Explicit)?
    };
    result.position = start;
    Ok(result)
}

fn cannot_cast(state: SqlState, source: PgType, target: PgType) -> Error {
    let (source, target) = (type_words(source.oid), type_words(target.oid));
    Error::new(state, format!("cannot cast type {source} to {target}"))
}

/// A literal becomes a constant of the type, a parameter takes the type.
fn from_unknown(ctx: &TypingContext, value: Typed, target: PgType, coercion: Coercion) -> Result<Typed> {
    let position = value.position;
    if let Some(number) = parameter::unsettled(&value) {
        let settled = parameter::settle(ctx, number, target, position)?;
        return convert(ctx, settled, target, coercion);
    }
    let explicit = coercion == Coercion::Explicit;
    let expr = match &value.expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
            let constant =
                casts::constant(ctx.context(), text, target, explicit).map_err(|error| error.at(position))?;
            note_literal(ctx, &constant, target, position)?;
            constant
        }
        Expr::Literal(constant, _) if constant.is_null() => casts::null(target)?,
        _ => casts::cast(ctx.context(), value.expr, PgType::TEXT, target, explicit)?,
    };
    Ok(Typed { expr, ty: target, position })
}

/// Keeps the literal's value in a form that no setting changes, where that is asked for.
fn note_literal(ctx: &TypingContext, constant: &Expr, target: PgType, position: Option<u32>) -> Result<()> {
    let of_settings = |oid| matches!(oid, oid::DATE | oid::TIMETZ | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::INTERVAL);
    let element = element_of(target.oid).unwrap_or(target.oid);
    if let (Some(literals), Some(position), Expr::Literal(value, _)) =
        (ctx.literals.borrow_mut().as_mut(), position, constant)
        && of_settings(element)
    {
        let texts = to_text::texts(&value.to_array()?, target, &Arc::new(TextStyle::default()))?;
        if let Some(text) = texts.as_string_opt::<i32>().filter(|texts| texts.len() == 1) {
            literals.insert(position, text.value(0).to_owned());
        }
    }
    Ok(())
}

/// The cast itself; that it exists is known.
fn convert(ctx: &TypingContext, value: Typed, target: PgType, coercion: Coercion) -> Result<Typed> {
    let Typed { expr, ty, position } = value;
    if ty.oid == target.oid && (target.typmod < 0 || target.typmod == ty.typmod) {
        return Ok(Typed { expr, ty, position });
    }
    let explicit = coercion == Coercion::Explicit;
    let expr = casts::cast(ctx.context(), expr, ty, target, explicit).map_err(|error| error.at(position))?;
    Ok(Typed { expr, ty: target, position })
}

pub(super) fn coerce_to_boolean(ctx: &TypingContext, value: Typed, clause: &str) -> Result<Typed> {
    if value.ty.oid == oid::UNKNOWN {
        return coerce(ctx, value, PgType::BOOL, Coercion::Implicit);
    }
    if value.ty.oid == oid::BOOL {
        return Ok(value);
    }
    let given = type_words(value.ty.oid);
    let message = format!("argument of {clause} must be type boolean, not type {given}");
    Err(Error::new(SqlState::DatatypeMismatch, message).at(value.position))
}

pub(super) fn settle(ctx: &TypingContext, value: Typed) -> Result<Typed> {
    if value.ty.oid == oid::UNKNOWN {
        return from_unknown(ctx, value, PgType::TEXT, Coercion::Implicit);
    }
    literal::narrowed(value)
}

pub(super) fn common_type(_ctx: &TypingContext, values: &[Typed], construct: &str) -> Result<PgType> {
    let mut chosen: Option<PgType> = None;
    let known = values.iter().filter(|value| value.ty.oid != oid::UNKNOWN);
    for value in known.clone() {
        let Some(so_far) = chosen else {
            chosen = Some(value.ty);
            continue;
        };
        let next = common_of(so_far.oid, value.ty.oid).ok_or_else(|| mismatch(construct, so_far, value))?;
        let typmod = if so_far.oid == value.ty.oid && so_far.typmod == value.ty.typmod { so_far.typmod } else { -1 };
        chosen = Some(PgType { oid: next, typmod });
    }
    let mut chosen = chosen.unwrap_or(PgType::TEXT);
    // A literal is of the type without a modifier.
    if values.iter().any(|value| value.ty.oid == oid::UNKNOWN) {
        chosen = PgType::of(chosen.oid);
    }
    for value in known {
        if pathway(value.ty.oid, chosen.oid, Coercion::Implicit).is_none() {
            let (from, to) = (type_words(value.ty.oid), type_words(chosen.oid));
            let message = format!("{construct} could not convert type {from} to {to}");
            return Err(Error::new(SqlState::CannotCoerce, message).at(value.position));
        }
    }
    Ok(chosen)
}

fn mismatch(construct: &str, chosen: PgType, next: &Typed) -> Error {
    let (left, right) = (type_words(chosen.oid), type_words(next.ty.oid));
    let message = format!("{construct} types {left} and {right} cannot be matched");
    Error::new(SqlState::DatatypeMismatch, message).at(next.position)
}

/// Whether calling a type's name like a function is a cast that PostgreSQL takes (`float8(x)`, `text(x)`).
pub(super) fn is_function_style_cast(source: u32, target: u32) -> bool {
    source == oid::UNKNOWN
        || match pathway(source, target, Coercion::Explicit) {
            Some(Pathway::Relabel | Pathway::Function) => true,
            Some(Pathway::InputOutput) => {
                // A conversion through text must not hide functions of composite types, and takes strings on one side only.
                category(source) == 'S' || category(target) == 'S'
            }
            Some(Pathway::Array) => element_of(source).is_some(),
            None => false,
        }
}
