//! Equality that takes NULL for a value, written with plain equalities.
//!
//! DataFusion makes a join that matches NULLs of `IS NOT DISTINCT FROM`, and later adds other conditions, which do not match
//! NULLs, to that join's keys. Of two equalities it makes an ordinary hash join, to which any other may be added.

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, ExprSchemable as _, Operator, binary_expr, lit};

use crate::error::Result;

/// `left IS NOT DISTINCT FROM right`, each over a schema of its own; both have one type.
pub(super) fn equal(left: (Expr, &DFSchema), right: (Expr, &DFSchema)) -> Result<Expr> {
    let nullable = left.0.nullable(left.1)? || right.0.nullable(right.1)?;
    let data_type = left.0.get_type(left.1)?;
    let (left, right) = (left.0, right.0);
    if !nullable {
        return Ok(left.eq(right));
    }
    match ScalarValue::new_default(&data_type) {
        Ok(default) if !default.is_null() && !data_type.is_nested() => {
            let present = |value: &Expr| coalesce(vec![value.clone(), lit(default.clone())]);
            let values = present(&left).eq(present(&right));
            Ok(values.and(left.is_null().eq(right.is_null())))
        }
        _ => Ok(binary_expr(left, Operator::IsNotDistinctFrom, right)),
    }
}
