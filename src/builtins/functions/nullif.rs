//! NULLIF of values that the engine itself compares, with one mention of the first.

use arrow::array::{ArrayRef, Scalar};
use arrow::compute::kernels::{cmp, nullif as nulls};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

use super::Volatility;
use super::kernel::{Call, Kernel, Returns, Run};
use super::numeric::same_type;
use crate::encode::cast;
use crate::error::Result;

/// `value`, or NULL where it equals `other`; both are of one type, whose equality is Arrow's.
pub fn nullif(value: Expr, other: Expr) -> Result<Expr> {
    let run: Run = null_where_equal;
    Kernel::new("nullif", 0, Volatility::Immutable, Returns::Of(same_type), run).call(vec![value, other])
}

fn null_where_equal(call: &Call) -> Result<ArrayRef> {
    let values = if call.is_constant(0) {
        ScalarValue::try_from_array(call.raw(0)?, 0)?.to_array_of_size(call.rows)?
    } else {
        cast(call.raw(0)?, call.returns)?
    };
    let others = cast(call.raw(1)?, values.data_type())?;
    let equal = if call.is_constant(1) { cmp::eq(&values, &Scalar::new(others))? } else { cmp::eq(&values, &others)? };
    Ok(nulls::nullif(&values, &equal)?)
}
