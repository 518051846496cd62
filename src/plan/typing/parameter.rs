//! `$n`: the type comes from the client, or from the first use.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Placeholder;

use super::{Typed, TypingContext};
use crate::builtins::functions::type_names::format_type;
use crate::encode::types::{PgType, arrow_type, oid};
use crate::error::{Error, Result, SqlState};

/// The protocol counts parameters in 16 bits.
const PARAMETERS_MAX: usize = 65_535;

pub(super) fn parameter(ctx: &TypingContext, number: usize, position: Option<u32>) -> Result<Typed> {
    let mut parameters = ctx.parameters.borrow_mut();
    let known = number >= 1 && number <= parameters.len();
    if !known && (!ctx.parameters_allowed || number == 0 || number > PARAMETERS_MAX) {
        let message = format!("there is no parameter ${number}");
        return Err(Error::new(SqlState::UndefinedParameter, message).at(position));
    }
    if number > parameters.len() {
        parameters.resize(number, None);
    }
    let settled = parameters.get(number - 1).copied().flatten().filter(|ty| ty.oid != oid::UNKNOWN);
    Ok(placeholder(number, settled.unwrap_or(PgType::UNKNOWN), position))
}

fn placeholder(number: usize, ty: PgType, position: Option<u32>) -> Typed {
    let field = (ty.oid != oid::UNKNOWN).then(|| Arc::new(Field::new(format!("${number}"), arrow_type(ty), true)));
    let expr = Expr::Placeholder(Placeholder::new_with_field(format!("${number}"), field));
    Typed { expr, ty, position }
}

/// The number of a parameter whose type is not settled.
pub(super) fn unsettled(value: &Typed) -> Option<usize> {
    match &value.expr {
        Expr::Placeholder(placeholder) if value.ty.oid == oid::UNKNOWN => {
            placeholder.id.strip_prefix('$')?.parse().ok()
        }
        _ => None,
    }
}

/// Settles a parameter's type by its use. 42P08 when another use settled it otherwise.
pub(super) fn settle(ctx: &TypingContext, number: usize, target: PgType, position: Option<u32>) -> Result<Typed> {
    let target = PgType::of(target.oid);
    let mut parameters = ctx.parameters.borrow_mut();
    if let Some(slot) = number.checked_sub(1).and_then(|index| parameters.get_mut(index)) {
        match slot {
            Some(other) if other.oid != oid::UNKNOWN && other.oid != target.oid => {
                let message = format!("inconsistent types deduced for parameter ${number}");
                let detail = format!("{} versus {}", format_type(*other), format_type(target));
                return Err(Error::new(SqlState::AmbiguousParameter, message).with_detail(detail).at(position));
            }
            _ => *slot = Some(target),
        }
    }
    Ok(placeholder(number, target, position))
}
