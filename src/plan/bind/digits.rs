//! Numerics beside each other, in the branches of CASE or UNION, with the digits of all of them.
//!
//! The engine finds these too, but after binding; until then the type of the whole is that of its first branch, and what is
//! decided by it (the columns of a recursive query, the arguments of `lag`) would round the others.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable as _, cast};

use crate::builtins::functions::kernel::{common_decimal, decimals, with_decimal};
use crate::encode::types::{PgType, element_of};

/// Casts the values, which are of type `ty`, to the decimals that hold those of all; a NULL constant takes the others'.
pub(super) fn alike(ty: PgType, values: Vec<(&mut Expr, &DFSchema)>) {
    if element_of(ty.oid).unwrap_or(ty.oid) != PgType::NUMERIC.oid {
        return;
    }
    let types: Result<Vec<_>> = values.iter().map(|(value, schema)| value.get_type(*schema)).collect();
    // The inputs of a model's TRANSFORM are of no plan yet.
    let Ok(types) = types else { return };
    let taking = || values.iter().zip(&types).filter(|((value, _), _)| !is_null(value)).map(|(_, own)| own);
    let first = || taking().find_map(decimals).map(|(precision, scale)| DataType::Decimal128(precision, scale));
    let Some(decimal) = common_decimal(taking()).or_else(first) else { return };
    for ((value, _), own) in values.into_iter().zip(&types) {
        let wanted = with_decimal(own, &decimal);
        if wanted != *own {
            *value = cast(std::mem::take(value), wanted);
        }
    }
}

fn is_null(value: &Expr) -> bool {
    matches!(value, Expr::Literal(constant, _) if constant.is_null())
}
