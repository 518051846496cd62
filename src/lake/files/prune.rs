//! Which files a filter leaves to read: it is evaluated on what is known of each file without opening it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, cast::AsArray};
use arrow::datatypes::{Field, Schema};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::Expr;

/// Whether the filter speaks of these columns only.
pub(super) fn concerns(filter: &Expr, fields: &[Field]) -> bool {
    let known = |name: &str| fields.iter().any(|field| field.name() == name);
    !filter.is_volatile() && filter.column_refs().iter().all(|column| known(&column.name))
}

/// Of each row of values whether it passes the filters that speak of the fields only. The filters stay in the plan too.
pub(super) fn kept(
    state: &dyn Session,
    filters: &[Expr],
    fields: &[Field],
    rows: &[Vec<ScalarValue>],
) -> DataFusionResult<Vec<bool>> {
    let mut kept = vec![true; rows.len()];
    let filters: Vec<&Expr> = filters.iter().filter(|filter| concerns(filter, fields)).collect();
    if filters.is_empty() || rows.is_empty() {
        return Ok(kept);
    }
    let column = |at: usize| ScalarValue::iter_to_array(rows.iter().filter_map(|row| row.get(at).cloned()));
    let arrays = (0..fields.len()).map(column).collect::<DataFusionResult<Vec<ArrayRef>>>()?;
    let nullable = fields.iter().map(|field| field.clone().with_nullable(true));
    let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    let schema = DFSchema::try_from(schema)?;
    for filter in filters {
        let filter = state.create_physical_expr(filter.clone(), &schema)?;
        // Another filter may reject the rows that this one fails on.
        let Ok(passes) = filter.evaluate(&batch).and_then(|passes| passes.into_array(rows.len())) else { continue };
        let Some(passes) = passes.as_boolean_opt() else { continue };
        kept.iter_mut().zip(passes).for_each(|(kept, passes)| *kept &= passes.unwrap_or(false));
    }
    Ok(kept)
}
