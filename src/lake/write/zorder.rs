//! Rows near each other in several columns at once: the order of a Z-curve over the ranks of the columns' values.
//!
//! ```text
//! a sample of each column → bounds of equally full ranges → a row's ranks, one for each column → their bits interleaved
//! ```

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use futures::StreamExt;

use crate::error::{Error, Result};
use crate::lake::scan::LakeScan;

/// Columns that one order can be of: each gets fewer bits of the key the more there are.
pub(super) const COLUMNS_MAX: usize = 8;
/// Bits of a rank: 1024 ranges of a column.
const RANK_BITS_MAX: u32 = 10;
/// Sampled values of a column, and bytes of each that are compared.
const SAMPLE_MAX: usize = 16_384;
const VALUE_BYTES_MAX: usize = 64;
const KEY: &str = "lakegate:order";

/// The rows of some files of a scan in the order of columns, as one stream: memory is the pool's, the rest is spilled.
pub(super) async fn ordered(
    scan: &LakeScan,
    state: &Arc<SessionState>,
    files: &[usize],
    columns: &[usize],
) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = scan.files(state.as_ref(), files).await?;
    let schema = plan.schema();
    let named = |index: usize| -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(schema.fields().get(index).map_or("", |field| field.name()), index))
    };
    let (plan, key) = match columns {
        [column] => (plan, named(*column)),
        _ => {
            let curve = Curve::of(scan, state, files, columns).await?;
            let arguments = columns.iter().map(|column| named(*column)).collect();
            let field = Arc::new(Field::new(KEY, DataType::UInt64, false));
            let options = Arc::clone(state.config().options());
            let key = ScalarFunctionExpr::new(KEY, Arc::new(ScalarUDF::from(curve)), arguments, field, options);
            let mut expressions: Vec<(Arc<dyn PhysicalExpr>, String)> =
                schema.fields().iter().enumerate().map(|(index, field)| (named(index), field.name().clone())).collect();
            let at = expressions.len();
            expressions.push((Arc::new(key), KEY.to_owned()));
            let with_key: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(expressions, plan)?);
            (with_key, Arc::new(Column::new(KEY, at)) as Arc<dyn PhysicalExpr>)
        }
    };
    let options = SortOptions { descending: false, nulls_first: false };
    let Some(ordering) = LexOrdering::new([PhysicalSortExpr::new(key, options)]) else {
        return Err(Error::internal("an order without columns"));
    };
    let sorted: Arc<dyn ExecutionPlan> =
        Arc::new(SortExec::new(ordering.clone(), plan).with_preserve_partitioning(true));
    let merged: Arc<dyn ExecutionPlan> = Arc::new(SortPreservingMergeExec::new(ordering, sorted));
    let expressions: Vec<(Arc<dyn PhysicalExpr>, String)> =
        schema.fields().iter().enumerate().map(|(index, field)| (named(index), field.name().clone())).collect();
    Ok(Arc::new(ProjectionExec::try_new(expressions, merged)?))
}

/// The key of a row: a function of the ordering columns.
#[derive(Debug)]
struct Curve {
    signature: Signature,
    columns: Vec<Ranks>,
    bits: u32,
}

/// The ranges of one column's values.
#[derive(Debug)]
struct Ranks {
    converter: RowConverter,
    /// Where each range but the first begins, as comparable bytes.
    bounds: Vec<Box<[u8]>>,
}

impl Curve {
    /// Learns the ranges from a sample of the rows.
    async fn of(scan: &LakeScan, state: &Arc<SessionState>, files: &[usize], columns: &[usize]) -> Result<Self> {
        let plan = scan.columns(state.as_ref(), files, columns).await?;
        let mut samples = plan
            .schema()
            .fields()
            .iter()
            .map(|field| Ok(Sample::new(RowConverter::new(vec![SortField::new(field.data_type().clone())])?)))
            .collect::<Result<Vec<_>>>()?;
        let context = Arc::new(TaskContext::from(state.as_ref()));
        for mut stream in execute_stream_partitioned(plan, context)? {
            while let Some(batch) = stream.next().await {
                for (sample, values) in samples.iter_mut().zip(batch?.columns()) {
                    sample.take(values)?;
                }
            }
        }
        let bits = (u64::BITS / u32::try_from(columns.len().max(1)).unwrap_or(1)).min(RANK_BITS_MAX);
        let columns = samples.into_iter().map(|sample| sample.ranks(1 << bits)).collect();
        Ok(Self { signature: Signature::variadic_any(Volatility::Immutable), columns, bits })
    }
}

/// Values of one column at about even distances, which grow as there are more rows.
struct Sample {
    converter: RowConverter,
    values: Vec<Box<[u8]>>,
    every: usize,
    skip: usize,
}

impl Sample {
    fn new(converter: RowConverter) -> Self {
        Self { converter, values: Vec::new(), every: 1, skip: 0 }
    }

    fn take(&mut self, values: &ArrayRef) -> Result<()> {
        let rows = self.converter.convert_columns(std::slice::from_ref(values))?;
        let mut at = self.skip;
        while at < rows.num_rows() {
            self.values.push(cut(rows.row(at).as_ref()).into());
            at += self.every;
            if self.values.len() >= SAMPLE_MAX {
                let mut number = 0;
                self.values.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                // Odd, so as not to keep step with what repeats itself in the rows.
                self.every = self.every * 2 + 1;
            }
        }
        self.skip = at - rows.num_rows();
        Ok(())
    }

    fn ranks(mut self, ranges: usize) -> Ranks {
        self.values.sort_unstable();
        let count = self.values.len();
        // A value that fills several ranges stands here several times: ranks of all columns have one scale.
        let bounds = (1..ranges).filter_map(|range| self.values.get(range * count / ranges).cloned()).collect();
        Ranks { converter: self.converter, bounds }
    }
}

fn cut(value: &[u8]) -> &[u8] {
    value.get(..VALUE_BYTES_MAX).unwrap_or(value)
}

/// The bits of the ranks in turns, the highest first.
fn interleaved(ranks: impl Iterator<Item = u64> + Clone, bits: u32) -> u64 {
    let mut key = 0;
    for bit in (0..bits).rev() {
        for rank in ranks.clone() {
            key = key << 1 | rank >> bit & 1;
        }
    }
    key
}

impl PartialEq for Curve {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Curve {}

impl Hash for Curve {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits.hash(state);
    }
}

impl ScalarUDFImpl for Curve {
    fn name(&self) -> &str {
        KEY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::UInt64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let mut ranks: Vec<Vec<u64>> = Vec::with_capacity(self.columns.len());
        for (column, values) in self.columns.iter().zip(args.args) {
            let converted = column.converter.convert_columns(&[values.into_array(rows)?])?;
            let rank = |value: arrow::row::Row<'_>| {
                column.bounds.partition_point(|bound| bound.as_ref() <= cut(value.as_ref())) as u64
            };
            ranks.push(converted.iter().map(rank).collect());
        }
        let keys = (0..rows).map(|row| {
            let of_row = ranks.iter().map(|column| column.get(row).copied().unwrap_or(0));
            interleaved(of_row, self.bits)
        });
        let keys: UInt64Array = keys.map(Some).collect();
        if keys.len() != rows {
            return Err(DataFusionError::Internal("a key for each row".to_owned()));
        }
        Ok(ColumnarValue::Array(Arc::new(keys)))
    }
}

/// The schema's columns of those names.
pub(super) fn columns_of(schema: &Schema, names: &[String]) -> Vec<usize> {
    names.iter().filter_map(|name| schema.index_of(name).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_take_turns() {
        let ranks = [0b101_u64, 0b011];
        assert_eq!(interleaved(ranks.iter().copied(), 3), 0b10_01_11);
    }

    #[test]
    fn a_sample_is_bounded_and_even() {
        let mut sample = Sample::new(RowConverter::new(vec![SortField::new(DataType::Int32)]).unwrap());
        for start in 0..100 {
            let values: ArrayRef =
                Arc::new(arrow::array::Int32Array::from_iter_values(start * 1_000..(start + 1) * 1_000));
            sample.take(&values).unwrap();
        }
        assert!(sample.values.len() < SAMPLE_MAX && sample.values.len() >= SAMPLE_MAX / 4);
        let ranks = sample.ranks(4);
        assert_eq!(ranks.bounds.len(), 3);
    }
}
