//! `sum` and `avg` of floats. An infinity that none of the values is, is an overflow, as in PostgreSQL.

use std::collections::HashSet;
use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::floats::overflow;
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    /// Sum of float4: kept in doubles, and out of range where it is no float4.
    RealSum,
    Average,
}

/// `sum` or `avg`. The engine widens float4 to float8 for it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatTotal {
    kind: Kind,
    signature: Signature,
}

pub(super) fn sum() -> Arc<AggregateUDF> {
    total(Kind::Sum)
}
pub(super) fn real_sum() -> Arc<AggregateUDF> {
    total(Kind::RealSum)
}
pub(super) fn average() -> Arc<AggregateUDF> {
    total(Kind::Average)
}

fn total(kind: Kind) -> Arc<AggregateUDF> {
    let signature = Signature::exact(vec![DataType::Float64], Volatility::Immutable);
    Arc::new(AggregateUDF::from(FloatTotal { kind, signature }))
}

impl Kind {
    /// The sum of no values: of -0 alone it is -0, where an average starts with 0.
    fn start(self) -> f64 {
        match self {
            Self::Sum | Self::RealSum => -0.0,
            Self::Average => 0.0,
        }
    }

    fn finished(self, sum: f64, count: i64) -> Result<Option<f64>> {
        if count == 0 {
            return Ok(None);
        }
        match self {
            Self::Sum => Ok(Some(sum)),
            Self::RealSum if sum.is_finite() && (sum as f32).is_infinite() => Err(overflow()),
            Self::RealSum => Ok(Some(sum)),
            Self::Average => Ok(Some(sum / count as f64)),
        }
    }
}

fn added(sum: f64, value: f64) -> Result<f64> {
    let total = sum + value;
    if total.is_infinite() && sum.is_finite() && value.is_finite() {
        return Err(overflow());
    }
    Ok(total)
}

fn raise(error: Error) -> DataFusionError {
    error.into_datafusion()
}

fn shape() -> DataFusionError {
    raise(Error::internal("a total of floats was given other columns"))
}

fn floats_of(array: Option<&ArrayRef>) -> DataFusionResult<&Float64Array> {
    array.and_then(|array| array.as_primitive_opt::<Float64Type>()).ok_or_else(shape)
}

/// Sums and numbers of values.
fn parts_of(states: &[ArrayRef]) -> DataFusionResult<(&Float64Array, &Int64Array)> {
    let counts = states.get(1).and_then(|counts| counts.as_primitive_opt::<Int64Type>());
    Ok((floats_of(states.first())?, counts.ok_or_else(shape)?))
}

impl AggregateUDFImpl for FloatTotal {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Sum | Kind::RealSum => "sum",
            Kind::Average => "avg",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        Ok(if args.is_distinct {
            Box::new(Distinct { kind: self.kind, seen: HashSet::new() })
        } else {
            Box::new(Single { kind: self.kind, ordered: false, sum: self.kind.start(), count: 0 })
        })
    }

    /// Of a window, whose rows have an order. Nothing is taken back here: see [`super::float_frames`].
    fn create_sliding_accumulator(&self, _args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        Ok(Box::new(Single { kind: self.kind, ordered: true, sum: self.kind.start(), count: 0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        if args.is_distinct {
            let item = Field::new("item", DataType::Float64, true);
            return Ok(vec![Arc::new(Field::new_list(format!("{}[values]", args.name), item, true))]);
        }
        Ok(vec![
            Arc::new(Field::new(format!("{}[sum]", args.name), DataType::Float64, true)),
            Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true)),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups { kind: self.kind, sums: Vec::new(), counts: Vec::new() }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// One group.
#[derive(Debug)]
struct Single {
    kind: Kind,
    /// Values are added one after the other, as PostgreSQL does: the same digits.
    ordered: bool,
    sum: f64,
    count: i64,
}

impl Single {
    fn add(&mut self, values: &Float64Array) -> Result<()> {
        self.count += (values.len() - values.null_count()) as i64;
        if !self.ordered {
            let total = self.sum + arrow::compute::sum(values).unwrap_or(-0.0);
            if total.is_finite() {
                self.sum = total;
                return Ok(());
            }
        }
        // Whether an infinity is among the values, or parts of the sum have overflowed that the whole may not.
        for value in values.iter().flatten() {
            self.sum = self.plus(value)?;
        }
        Ok(())
    }

    fn plus(&self, value: f64) -> Result<f64> {
        match self.kind {
            // The sum of two float4 is rounded to float4 as if it had not been rounded to float8 before.
            Kind::RealSum if self.ordered => {
                let total = f64::from(added(self.sum, value)? as f32);
                if total.is_infinite() && self.sum.is_finite() && value.is_finite() {
                    return Err(overflow());
                }
                Ok(total)
            }
            Kind::Sum | Kind::RealSum | Kind::Average => added(self.sum, value),
        }
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(floats_of(values.first())?).map_err(raise)
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.kind.finished(self.sum, self.count).map(ScalarValue::Float64).map_err(raise)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Float64(Some(self.sum)), ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let (sums, counts) = parts_of(states)?;
        for (sum, count) in sums.iter().zip(counts.iter()) {
            if let (Some(sum), Some(count)) = (sum, count) {
                self.sum = added(self.sum, sum).map_err(raise)?;
                self.count += count;
            }
        }
        Ok(())
    }
}

/// Many groups.
#[derive(Debug)]
struct Groups {
    kind: Kind,
    sums: Vec<f64>,
    counts: Vec<i64>,
}

/// Whether the row has a value that the filter lets through.
fn is_kept(row: usize, values: &Float64Array, filter: Option<&BooleanArray>) -> bool {
    values.is_valid(row) && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

impl Groups {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, self.kind.start());
        self.counts.resize(groups, 0);
    }

    fn add(&mut self, group: usize, value: f64, count: i64) -> Result<()> {
        let (Some(sum), Some(so_far)) = (self.sums.get_mut(group), self.counts.get_mut(group)) else {
            return Err(Error::internal("a group is out of range"));
        };
        *sum = added(*sum, value)?;
        *so_far += count;
        Ok(())
    }

    fn add_rows(&mut self, values: &Float64Array, groups: &[usize], filter: Option<&BooleanArray>) -> Result<()> {
        if values.null_count() == 0 && filter.is_none() {
            return values.values().iter().zip(groups).try_for_each(|(value, group)| self.add(*group, *value, 1));
        }
        for (row, group) in groups.iter().enumerate() {
            if is_kept(row, values, filter) {
                self.add(*group, values.value(row), 1)?;
            }
        }
        Ok(())
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> DataFusionResult<()> {
        self.resize(groups);
        self.add_rows(floats_of(values.first())?, group_indices, filter).map_err(raise)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DataFusionResult<ArrayRef> {
        let (sums, counts) = (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts));
        let results = sums.iter().zip(&counts).map(|(sum, count)| self.kind.finished(*sum, *count));
        Ok(Arc::new(results.collect::<Result<Float64Array>>().map_err(raise)?))
    }

    fn state(&mut self, emit_to: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        let (sums, counts) = (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts));
        Ok(vec![Arc::new(Float64Array::from(sums)), Arc::new(Int64Array::from(counts))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], groups: usize) -> DataFusionResult<()> {
        self.resize(groups);
        let (sums, counts) = parts_of(states)?;
        for (row, group) in group_indices.iter().enumerate() {
            if sums.is_valid(row) && counts.is_valid(row) {
                self.add(*group, sums.value(row), counts.value(row)).map_err(raise)?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> DataFusionResult<Vec<ArrayRef>> {
        let values = floats_of(values.first())?;
        let rows = 0..values.len();
        let sum = |row| if is_kept(row, values, filter) { values.value(row) } else { self.kind.start() };
        let sums = Float64Array::from_iter_values(rows.clone().map(sum));
        let counts = Int64Array::from_iter_values(rows.map(|row| i64::from(is_kept(row, values, filter))));
        Ok(vec![Arc::new(sums), Arc::new(counts)])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<f64>() + self.counts.capacity() * size_of::<i64>()
    }
}

/// One group of distinct values, by their bits: 0 and -0 come here as one already.
#[derive(Debug)]
struct Distinct {
    kind: Kind,
    seen: HashSet<u64>,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.seen.extend(floats_of(values.first())?.iter().flatten().map(f64::to_bits));
        Ok(())
    }

    /// Added in their order, as PostgreSQL does, which sorts them to find the distinct ones.
    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let mut values: Vec<f64> = self.seen.iter().copied().map(f64::from_bits).collect();
        values.sort_unstable_by(f64::total_cmp);
        let sum = values.iter().try_fold(self.kind.start(), |sum, value| added(sum, *value));
        let result = sum.and_then(|sum| self.kind.finished(sum, values.len() as i64));
        result.map(ScalarValue::Float64).map_err(raise)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.seen.capacity() * size_of::<u64>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let values = Float64Array::from_iter_values(self.seen.iter().copied().map(f64::from_bits));
        let field = Arc::new(Field::new("item", DataType::Float64, true));
        let offsets = OffsetBuffer::from_lengths([values.len()]);
        Ok(vec![ScalarValue::List(Arc::new(ListArray::try_new(field, offsets, Arc::new(values), None)?))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let lists = states.first().and_then(|lists| lists.as_list_opt::<i32>()).ok_or_else(shape)?;
        for list in lists.iter().flatten() {
            self.seen.extend(floats_of(Some(&list))?.iter().flatten().map(f64::to_bits));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(kind: Kind, ordered: bool, values: &[f64]) -> Result<f64> {
        let mut single = Single { kind, ordered, sum: kind.start(), count: 0 };
        single.add(&Float64Array::from(values.to_vec()))?;
        Ok(kind.finished(single.sum, single.count)?.unwrap())
    }

    /// The lanes of the fast sum overflow where the sum of the values in their order does not.
    #[test]
    fn parts_that_overflow_do_not_make_the_sum_overflow() {
        let values: Vec<f64> = (0..64).map(|row| if row % 2 == 0 { 1e308 } else { -1e308 }).collect();
        assert_eq!(single(Kind::Sum, false, &values).unwrap(), 0.0);
    }

    #[test]
    fn an_infinity_out_of_finite_values_is_refused() {
        for ordered in [false, true] {
            assert!(single(Kind::Sum, ordered, &[1e308, 1e308]).is_err());
            assert!(single(Kind::Average, ordered, &[-1e308, -1e308]).is_err());
            assert!(single(Kind::RealSum, ordered, &[3e38_f32.into(), 3e38_f32.into()]).is_err());
            assert_eq!(single(Kind::Sum, ordered, &[f64::INFINITY, 1e308, 1e308]).unwrap(), f64::INFINITY);
            assert!(single(Kind::Sum, ordered, &[f64::INFINITY, f64::NEG_INFINITY]).unwrap().is_nan());
        }
    }

    #[test]
    fn groups_refuse_what_one_group_refuses() {
        let mut groups = Groups { kind: Kind::Sum, sums: Vec::new(), counts: Vec::new() };
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(1e308), Some(1.0), None, Some(-0.0)]));
        groups.update_batch(&[Arc::clone(&values)], &[0, 1, 1, 2], None, 3).unwrap();
        let states = groups.convert_to_state(&[values], None).unwrap();
        assert!(groups.merge_batch(&states, &[0, 1, 1, 2], 3).is_err());
        let sums = groups.evaluate(EmitTo::All).unwrap();
        let sums = sums.as_primitive::<Float64Type>();
        assert_eq!((sums.value(1), sums.value(2).to_bits()), (1.0, (-0.0_f64).to_bits()));
    }

    #[test]
    fn distinct_values_of_another_group_are_none_of_this_one() {
        let mut other = Distinct { kind: Kind::Sum, seen: HashSet::new() };
        other.update_batch(&[Arc::new(Float64Array::from(vec![5.0, 5.0, 7.0]))]).unwrap();
        let ScalarValue::List(list) = other.state().unwrap().remove(0) else { panic!("no list") };
        let list: ArrayRef = list;
        let lists = arrow::compute::concat(&[list.as_ref(), list.as_ref()]).unwrap();
        let mut distinct = Distinct { kind: Kind::Sum, seen: HashSet::from([1.0_f64.to_bits()]) };
        distinct.merge_batch(&[lists.slice(0, 0)]).unwrap();
        assert_eq!(distinct.evaluate().unwrap(), ScalarValue::Float64(Some(1.0)));
        distinct.merge_batch(&[lists.slice(1, 1)]).unwrap();
        assert_eq!(distinct.evaluate().unwrap(), ScalarValue::Float64(Some(13.0)));
    }
}
