//! `count_if`: how often a condition is true. Databricks' and DuckDB's; a count with a FILTER copies every batch for it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use crate::error::Error;

#[derive(Debug, PartialEq, Eq, Hash)]
struct CountIf {
    signature: Signature,
}

pub(super) fn count_if() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(CountIf { signature: Signature::any(1, Volatility::Immutable) }))
}

fn shape() -> DataFusionError {
    Error::internal("count_if was given other columns").into_datafusion()
}

fn conditions(values: &[ArrayRef]) -> Result<&BooleanArray> {
    values.first().and_then(|values| values.as_boolean_opt()).ok_or_else(shape)
}

fn counts(states: &[ArrayRef]) -> Result<&Int64Array> {
    states.first().and_then(|states| states.as_primitive_opt::<Int64Type>()).ok_or_else(shape)
}

impl AggregateUDFImpl for CountIf {
    fn name(&self) -> &str {
        "count_if"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(Error::unsupported("count_if(DISTINCT)").into_datafusion());
        }
        Ok(Box::new(Single(0)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups(Vec::new())))
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true))])
    }
}

#[derive(Debug)]
struct Single(i64);

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0 += conditions(values)?.true_count() as i64;
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0 += counts(states)?.iter().flatten().sum::<i64>();
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0 -= conditions(values)?.true_count() as i64;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(Some(self.0))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.0)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

#[derive(Debug)]
struct Groups(Vec<i64>);

impl Groups {
    fn add(&mut self, groups: &[usize], total: usize, amounts: impl Iterator<Item = i64>) {
        self.0.resize(total.max(self.0.len()), 0);
        for (group, amount) in groups.iter().zip(amounts) {
            if let Some(count) = self.0.get_mut(*group) {
                *count += amount;
            }
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> ArrayRef {
        Arc::new(Int64Array::from(emit_to.take_needed(&mut self.0)))
    }
}

/// 1 for each row whose condition is true and that the filter lets through, 0 for the others.
fn ones(conditions: &BooleanArray, filter: Option<&BooleanArray>) -> impl Iterator<Item = i64> {
    let is_true = |row: usize, of: &BooleanArray| of.is_valid(row) && of.value(row);
    (0..conditions.len())
        .map(move |row| i64::from(is_true(row, conditions) && filter.is_none_or(|filter| is_true(row, filter))))
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let conditions = conditions(values)?;
        // Rows of one file, of one day: bits are counted at once.
        if let (Some(first), None) = (groups.first(), filter)
            && groups.iter().all(|group| group == first)
        {
            self.add(&[*first], total, std::iter::once(conditions.true_count() as i64));
            return Ok(());
        }
        self.add(groups, total, ones(conditions, filter));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.add(groups, total, counts(states)?.iter().map(Option::unwrap_or_default));
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.take(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.take(emit_to)])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let counts: Int64Array = ones(conditions(values)?, filter).map(Some).collect();
        Ok(vec![Arc::new(counts)])
    }

    fn size(&self) -> usize {
        self.0.capacity() * size_of::<i64>()
    }
}
