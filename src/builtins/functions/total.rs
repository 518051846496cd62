//! `sum` and `avg` of integers and numerics: exact, over 128 bits, with an error where they would not fit.

use std::collections::HashSet;
use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray, PrimitiveArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int16Type, Int32Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::arithmetic::out_of_range;
use super::numeric::{SIGNIFICANT_DIGITS_MIN, bounded, decimal_type, overflow, quotient, scale_of};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    /// Sum of int2 and int4, a bigint.
    IntegerSum,
    Average,
}

/// `sum` or `avg`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Total {
    kind: Kind,
    signature: Signature,
}

pub(super) fn sum() -> Arc<AggregateUDF> {
    total(Kind::Sum)
}
pub(super) fn integer_sum() -> Arc<AggregateUDF> {
    total(Kind::IntegerSum)
}
pub(super) fn average() -> Arc<AggregateUDF> {
    total(Kind::Average)
}

fn total(kind: Kind) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Total { kind, signature: Signature::any(1, Volatility::Immutable) }))
}

/// What the states are kept in: sum and number of values.
fn state_type(input: &DataType) -> DataType {
    DataType::Decimal128(38, scale_of(&decimal_type(input)))
}

impl AggregateUDFImpl for Total {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Sum | Kind::IntegerSum => "sum",
            Kind::Average => "avg",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        let scale = arguments.first().map_or(0, |ty| scale_of(&decimal_type(ty)));
        Ok(match self.kind {
            Kind::Sum => DataType::Decimal128(38, scale),
            Kind::IntegerSum => DataType::Int64,
            Kind::Average => DataType::Decimal128(38, scale.max(SIGNIFICANT_DIGITS_MIN)),
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        let input = args.expr_fields.first().map_or(DataType::Int64, |field| field.data_type().clone());
        let totals = Totals::new(self.kind, &input, args.return_type().clone());
        Ok(if args.is_distinct {
            Box::new(Distinct { totals, seen: HashSet::new() })
        } else {
            Box::new(Single { totals })
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let input = args.input_fields.first().map_or(DataType::Int64, |field| field.data_type().clone());
        let state = state_type(&input);
        if args.is_distinct {
            let item = Field::new("item", state, true);
            return Ok(vec![Arc::new(Field::new_list(format!("{}[values]", args.name), item, true))]);
        }
        Ok(vec![
            Arc::new(Field::new(format!("{}[sum]", args.name), state, true)),
            Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true)),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        let input = args.expr_fields.first().map_or(DataType::Int64, |field| field.data_type().clone());
        Ok(Box::new(Totals::new(self.kind, &input, args.return_type().clone())))
    }
}

/// Sums and counts of many groups.
#[derive(Debug)]
struct Totals {
    kind: Kind,
    state: DataType,
    returns: DataType,
    sums: Vec<i128>,
    counts: Vec<i64>,
}

impl Totals {
    fn new(kind: Kind, input: &DataType, returns: DataType) -> Self {
        Self { kind, state: state_type(input), returns, sums: Vec::new(), counts: Vec::new() }
    }

    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.counts.resize(groups, 0);
    }

    fn add(&mut self, group: usize, value: i128, count: i64) -> Result<()> {
        let (Some(sum), Some(so_far)) = (self.sums.get_mut(group), self.counts.get_mut(group)) else {
            return Err(Error::internal("a group is out of range"));
        };
        *sum = sum.checked_add(value).ok_or_else(overflow)?;
        *so_far += count;
        Ok(())
    }

    /// Adds each row that is present and kept to its group.
    fn add_rows<T: ArrowPrimitiveType<Native: Into<i128>>>(
        &mut self,
        values: &PrimitiveArray<T>,
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        if values.null_count() == 0 && filter.is_none() {
            return values
                .values()
                .iter()
                .zip(group_indices)
                .try_for_each(|(v, group)| self.add(*group, (*v).into(), 1));
        }
        for (row, group) in group_indices.iter().enumerate() {
            let kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if kept && values.is_valid(row) {
                self.add(*group, values.value(row).into(), 1)?;
            }
        }
        Ok(())
    }

    /// The input as decimals of the state's scale.
    fn decimals(&self, values: &ArrayRef) -> DataFusionResult<Decimal128Array> {
        let exact = decimal_type(values.data_type());
        let array = if *values.data_type() == exact { values.clone() } else { crate::encode::cast(values, &exact)? };
        Ok(array.as_primitive::<Decimal128Type>().clone())
    }

    fn finished(&self, sum: i128, count: i64) -> Result<Option<i128>> {
        if count == 0 {
            return Ok(None);
        }
        match self.kind {
            Kind::Sum => bounded(sum).map(Some),
            Kind::IntegerSum => Ok(Some(sum)),
            Kind::Average => {
                quotient((sum, scale_of(&self.state)), (count.into(), 0), scale_of(&self.returns)).map(Some)
            }
        }
    }

    fn results(&self, sums: &[i128], counts: &[i64]) -> Result<ArrayRef> {
        let results = sums.iter().zip(counts).map(|(sum, count)| self.finished(*sum, *count));
        if self.kind == Kind::IntegerSum {
            let narrow = |sum: i128| i64::try_from(sum).map_err(|_| out_of_range(&DataType::Int64));
            let values = results.map(|sum| sum?.map(narrow).transpose()).collect::<Result<Int64Array>>()?;
            return Ok(Arc::new(values));
        }
        let values = results.collect::<Result<Decimal128Array>>()?;
        Ok(Arc::new(values.with_data_type(self.returns.clone())))
    }

    fn states(&self, sums: Vec<i128>, counts: Vec<i64>) -> Vec<ArrayRef> {
        let sums = Decimal128Array::from(sums).with_data_type(self.state.clone());
        vec![Arc::new(sums), Arc::new(Int64Array::from(counts))]
    }
}

fn raise(error: Error) -> datafusion::error::DataFusionError {
    error.into_datafusion()
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> DataFusionResult<()> {
        self.resize(groups);
        let Some(values) = values.first() else { return Ok(()) };
        // Integers need no decimals on the way.
        match values.data_type() {
            DataType::Int16 => self.add_rows(values.as_primitive::<Int16Type>(), group_indices, filter),
            DataType::Int32 => self.add_rows(values.as_primitive::<Int32Type>(), group_indices, filter),
            DataType::Int64 => self.add_rows(values.as_primitive::<Int64Type>(), group_indices, filter),
            _ => self.add_rows(&self.decimals(values)?, group_indices, filter),
        }
        .map_err(raise)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DataFusionResult<ArrayRef> {
        let (sums, counts) = (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts));
        self.results(&sums, &counts).map_err(raise)
    }

    fn state(&mut self, emit_to: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        let (sums, counts) = (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts));
        Ok(self.states(sums, counts))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], groups: usize) -> DataFusionResult<()> {
        self.resize(groups);
        let [sums, counts] = states else { return Ok(()) };
        let (sums, counts) = (sums.as_primitive::<Decimal128Type>(), counts.as_primitive::<Int64Type>());
        for (row, group) in group_indices.iter().enumerate() {
            if sums.is_valid(row) && counts.is_valid(row) {
                self.add(*group, sums.value(row), counts.value(row)).map_err(raise)?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> DataFusionResult<Vec<ArrayRef>> {
        let Some(values) = values.first() else { return Ok(Vec::new()) };
        let values = self.decimals(values)?;
        let kept =
            |row: usize| values.is_valid(row) && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        let sums = (0..values.len()).map(|row| if kept(row) { values.value(row) } else { 0 }).collect();
        let counts = (0..values.len()).map(|row| i64::from(kept(row))).collect();
        Ok(self.states(sums, counts))
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.counts.capacity() * size_of::<i64>()
    }
}

/// One group; a moving window frame takes values back.
#[derive(Debug)]
struct Single {
    totals: Totals,
}

impl Single {
    fn change(&mut self, values: &[ArrayRef], sign: i64) -> DataFusionResult<()> {
        self.totals.resize(1);
        let Some(values) = values.first() else { return Ok(()) };
        let sum = match values.data_type() {
            DataType::Int16 => present(values.as_primitive::<Int16Type>()).map(i64::from).sum::<i64>().into(),
            DataType::Int32 => present(values.as_primitive::<Int32Type>()).map(i64::from).sum::<i64>().into(),
            DataType::Int64 => wide_sum(values.as_primitive::<Int64Type>()),
            _ => {
                let decimals = self.totals.decimals(values)?;
                let sum = present(&decimals).try_fold(0_i128, i128::checked_add);
                sum.ok_or_else(|| raise(overflow()))?
            }
        };
        let count = (values.len() - values.null_count()) as i64;
        self.totals.add(0, sum * i128::from(sign), count * sign).map_err(raise)
    }
}

/// The values that are not NULL.
fn present<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>) -> impl Iterator<Item = T::Native> {
    let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
    values.values().iter().enumerate().filter(move |(row, _)| nulls.is_none_or(|n| n.is_valid(*row))).map(|(_, v)| *v)
}

/// The halves of the values are summed apart: neither sum overflows within a batch, and both loops are vectorised.
fn wide_sum(values: &Int64Array) -> i128 {
    if values.null_count() > 0 {
        return present(values).map(i128::from).sum();
    }
    let (mut high, mut low) = (0_i64, 0_u64);
    for value in values.values() {
        high += value >> 32;
        low += u64::from(*value as u32);
    }
    (i128::from(high) << 32) + i128::from(low)
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.change(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.change(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.totals.resize(1);
        let results = self.totals.results(&self.totals.sums, &self.totals.counts).map_err(raise)?;
        ScalarValue::try_from_array(&results, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        self.totals.resize(1);
        let states = self.totals.states(self.totals.sums.clone(), self.totals.counts.clone());
        states.iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let rows = states.first().map_or(0, |state| state.len());
        GroupsAccumulator::merge_batch(&mut self.totals, states, &vec![0; rows], 1)
    }
}

/// One group of distinct values.
#[derive(Debug)]
struct Distinct {
    totals: Totals,
    seen: HashSet<i128>,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let Some(values) = values.first() else { return Ok(()) };
        self.seen.extend(self.totals.decimals(values)?.iter().flatten());
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let mut sum = 0_i128;
        for value in &self.seen {
            sum = sum.checked_add(*value).ok_or_else(|| raise(overflow()))?;
        }
        let results = self.totals.results(&[sum], &[self.seen.len() as i64]).map_err(raise)?;
        ScalarValue::try_from_array(&results, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.seen.capacity() * size_of::<i128>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let values = Decimal128Array::from_iter_values(self.seen.iter().copied());
        let values: ArrayRef = Arc::new(values.with_data_type(self.totals.state.clone()));
        let field = Arc::new(Field::new("item", self.totals.state.clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([values.len()]);
        Ok(vec![ScalarValue::List(Arc::new(ListArray::try_new(field, offsets, values, None)?))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let Some(lists) = states.first() else { return Ok(()) };
        // Row by row: behind a slice of the states stand the values of other groups.
        for list in lists.as_list::<i32>().iter().flatten() {
            self.seen.extend(list.as_primitive::<Decimal128Type>().iter().flatten());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_values_of_another_group_are_none_of_this_one() {
        let totals = || Totals::new(Kind::Sum, &DataType::Int32, DataType::Decimal128(38, 0));
        let empty = || Distinct { totals: totals(), seen: HashSet::new() };
        let mut states: Vec<ArrayRef> = Vec::new();
        for value in [5, 7] {
            let mut part = empty();
            part.update_batch(&[Arc::new(arrow::array::Int32Array::from(vec![value]))]).unwrap();
            states.push(part.state().unwrap().remove(0).to_array().unwrap());
        }
        let lists = arrow::compute::concat(&[states[0].as_ref(), states[1].as_ref()]).unwrap();
        let mut distinct = empty();
        distinct.merge_batch(&[lists.slice(1, 1)]).unwrap();
        assert_eq!(distinct.evaluate().unwrap(), ScalarValue::Decimal128(Some(7), 38, 0));
    }

    #[test]
    fn sums_of_halves_are_sums() {
        for values in
            [vec![], vec![-1], vec![i64::MAX, i64::MAX, 1], vec![i64::MIN, i64::MIN, -7, 3], vec![1 << 33, -5]]
        {
            let expected: i128 = values.iter().map(|value| i128::from(*value)).sum();
            assert_eq!(wide_sum(&Int64Array::from(values.clone())), expected, "{values:?}");
            let with_null: Int64Array = values.iter().copied().map(Some).chain([None]).collect();
            assert_eq!(wide_sum(&with_null), expected, "{values:?} and NULL");
        }
    }
}
