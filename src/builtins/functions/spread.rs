//! `variance` and `stddev` of integers and numerics: exact sums of squares over 256 bits, one division at the end.

use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Decimal256Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Int64Type, i256};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::numeric::{self, SIGNIFICANT_DIGITS_MIN, decimal_type, overflow};
use crate::error::{Error, Result};

/// Digits of the sums of squares.
const WIDE_DIGITS: u8 = 76;

/// Which measure of spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Measure {
    pub name: &'static str,
    /// The square root of the variance.
    pub deviation: bool,
    /// Of the whole population, not of a sample of it.
    pub population: bool,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Spread {
    measure: Measure,
    signature: Signature,
}

pub(super) fn spread(measure: Measure) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Spread { measure, signature: Signature::any(1, Volatility::Immutable) }))
}

fn raise(error: Error) -> DataFusionError {
    error.into_datafusion()
}

fn precision_and_scale(input: &DataType) -> (i16, i8) {
    match decimal_type(input) {
        DataType::Decimal128(precision, scale) => (precision.into(), scale),
        _ => (38, 0),
    }
}

impl AggregateUDFImpl for Spread {
    fn name(&self) -> &str {
        self.measure.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Sixteen digits behind the point, fewer when the digits before it need the room.
    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        let (precision, scale) = arguments.first().map_or((38, 0), precision_and_scale);
        let whole = (precision - i16::from(scale)) * if self.measure.deviation { 1 } else { 2 };
        let room = (37 - whole).clamp(i16::from(scale).max(6), i16::from(SIGNIFICANT_DIGITS_MIN.max(scale)));
        Ok(DataType::Decimal128(numeric::DIGITS_MAX, room as i8))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        let input = args.expr_fields.first().map_or(DataType::Int64, |field| field.data_type().clone());
        let (_, scale) = precision_and_scale(&input);
        let to = numeric::scale_of(args.return_type());
        if args.is_distinct {
            return Err(Error::unsupported(format!("{}(DISTINCT)", self.measure.name)).into_datafusion());
        }
        let scales = Scales { measure: self.measure, scale, to };
        Ok(Box::new(Single { scales, moments: Moments::default() }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        let input = args.expr_fields.first().map_or(DataType::Int64, |field| field.data_type().clone());
        let (_, scale) = precision_and_scale(&input);
        let to = numeric::scale_of(args.return_type());
        let scales = Scales { measure: self.measure, scale, to };
        Ok(Box::new(Groups { scales, moments: Vec::new() }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let wide = DataType::Decimal256(WIDE_DIGITS, 0);
        Ok(vec![
            Arc::new(Field::new(format!("{}[sum]", args.name), wide.clone(), true)),
            Arc::new(Field::new(format!("{}[squares]", args.name), wide, true)),
            Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true)),
        ])
    }
}

/// What is measured, and at which scales.
#[derive(Debug, Clone, Copy)]
struct Scales {
    measure: Measure,
    /// Of the values, and of the result.
    scale: i8,
    to: i8,
}

/// Sum, sum of squares and number of values.
#[derive(Debug, Clone, Copy)]
struct Moments {
    sum: i256,
    squares: i256,
    count: i64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { sum: i256::ZERO, squares: i256::ZERO, count: 0 }
    }
}

fn decimals(values: &ArrayRef) -> Result<Decimal128Array> {
    let exact = crate::encode::cast(values, &decimal_type(values.data_type()))?;
    Ok(exact.as_primitive::<Decimal128Type>().clone())
}

impl Moments {
    fn of(value: i128) -> Result<Self> {
        let sum = i256::from_i128(value);
        Ok(Self { sum, squares: sum.checked_mul(sum).ok_or_else(overflow)?, count: 1 })
    }

    /// Of values whose sums 128 bits hold; `None` for others.
    fn of_small(values: &Decimal128Array) -> Option<Self> {
        const VALUE_MAX: i128 = 1 << 48;
        const ROWS_MAX: usize = 1 << 24;
        let is_small = values.null_count() == 0
            && values.len() <= ROWS_MAX
            && values.values().iter().fold(true, |all, value| all & (*value <= VALUE_MAX) & (*value >= -VALUE_MAX));
        is_small.then(|| {
            let of = |part: fn(i128) -> i128| i256::from_i128(values.values().iter().map(|value| part(*value)).sum());
            // 2^24 squares of 2^96 each.
            let (sum, squares) = (of(|value| value), of(|value| i128::from(value as i64) * i128::from(value as i64)));
            Self { sum, squares, count: values.len() as i64 }
        })
    }

    fn add(&mut self, other: &Self) -> Result<()> {
        let (sum, squares) = (self.sum.checked_add(other.sum), self.squares.checked_add(other.squares));
        (self.sum, self.squares) = sum.zip(squares).ok_or_else(overflow)?;
        self.count += other.count;
        Ok(())
    }

    fn take_back(&mut self, other: &Self) -> Result<()> {
        let (sum, squares) = (self.sum.checked_sub(other.sum), self.squares.checked_sub(other.squares));
        (self.sum, self.squares) = sum.zip(squares).ok_or_else(overflow)?;
        self.count -= other.count;
        Ok(())
    }

    fn result(&self, of: &Scales) -> Result<Option<i128>> {
        let count = i256::from_i128(self.count.into());
        let others = if of.measure.population { self.count } else { self.count - 1 };
        if others <= 0 {
            return Ok(None);
        }
        let divisor = count.checked_mul(i256::from_i128(others.into())).ok_or_else(overflow)?;
        let exact =
            |()| -> Option<i256> { count.checked_mul(self.squares)?.checked_sub(self.sum.checked_mul(self.sum)?) };
        let spread = exact(()).ok_or_else(overflow)?;
        let places = i32::from(of.to) * if of.measure.deviation { 2 } else { 1 };
        let Some(variance) = scaled_quotient(spread, divisor, places - 2 * i32::from(of.scale)) else {
            return of.nearly(spread, divisor).map(Some);
        };
        let result = if of.measure.deviation { square_root(variance) } else { variance };
        result.to_i128().ok_or_else(overflow).and_then(numeric::bounded).map(Some)
    }
}

impl Scales {
    /// Through floats, when 256 bits do not hold the digits asked for.
    fn nearly(&self, spread: i256, divisor: i256) -> Result<i128> {
        let float = |value: i256| value.to_string().parse::<f64>().unwrap_or(f64::NAN);
        let variance = float(spread) / float(divisor) / 10_f64.powi(2 * i32::from(self.scale));
        numeric::from_float(if self.measure.deviation { variance.sqrt() } else { variance }, self.to)
    }
}

/// `value * 10^shift / divisor`, rounded half up; the operands are not negative.
fn scaled_quotient(value: i256, divisor: i256, shift: i32) -> Option<i256> {
    let power = i256::from_i128(10).checked_pow(shift.unsigned_abs())?;
    let (value, divisor) =
        if shift >= 0 { (value.checked_mul(power)?, divisor) } else { (value, divisor.checked_mul(power)?) };
    let rest = value.checked_rem(divisor)?;
    let quotient = value.checked_div(divisor)?;
    Some(if rest >= divisor.wrapping_sub(rest) { quotient.wrapping_add(i256::ONE) } else { quotient })
}

/// The nearest whole root, by Newton's steps from above.
pub(super) fn square_root(value: i256) -> i256 {
    if value <= i256::ZERO {
        return i256::ZERO;
    }
    let two = i256::from_i128(2);
    let digits = value.to_string().len() as u32;
    let mut root = i256::from_i128(10).checked_pow(digits / 2 + 1).unwrap_or(i256::MAX);
    loop {
        let next = root.wrapping_add(value.wrapping_div(root)).wrapping_div(two);
        if next >= root {
            break;
        }
        root = next;
    }
    // Rounds: the rest of root² is at most 2·root.
    let rest = value.wrapping_sub(root.wrapping_mul(root));
    if rest > root { root.wrapping_add(i256::ONE) } else { root }
}

/// The states of a batch as moments; NULL where a part is.
fn merged(states: &[ArrayRef]) -> impl Iterator<Item = Option<Moments>> {
    let parts = match states {
        [sums, squares, counts] => Some((
            sums.as_primitive::<Decimal256Type>(),
            squares.as_primitive::<Decimal256Type>(),
            counts.as_primitive::<Int64Type>(),
        )),
        _ => None,
    };
    parts.into_iter().flat_map(|(sums, squares, counts)| {
        sums.iter()
            .zip(squares.iter())
            .zip(counts.iter())
            .map(|((sum, squares), count)| Some(Moments { sum: sum?, squares: squares?, count: count? }))
    })
}

/// One group; a moving window frame takes values back.
#[derive(Debug)]
struct Single {
    scales: Scales,
    moments: Moments,
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let Some(values) = values.first() else { return Ok(()) };
        let values = decimals(values).map_err(raise)?;
        if let Some(moments) = Moments::of_small(&values) {
            return self.moments.add(&moments).map_err(raise);
        }
        let add = |value| self.moments.add(&Moments::of(value)?);
        values.iter().flatten().try_for_each(add).map_err(raise)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let Some(values) = values.first() else { return Ok(()) };
        let take_back = |value| self.moments.take_back(&Moments::of(value)?);
        decimals(values).map_err(raise)?.iter().flatten().try_for_each(take_back).map_err(raise)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let result = self.moments.result(&self.scales).map_err(raise)?;
        Ok(ScalarValue::Decimal128(result, numeric::DIGITS_MAX, self.scales.to))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let wide = |value| ScalarValue::Decimal256(Some(value), WIDE_DIGITS, 0);
        Ok(vec![wide(self.moments.sum), wide(self.moments.squares), ScalarValue::Int64(Some(self.moments.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        merged(states).flatten().try_for_each(|moments| self.moments.add(&moments)).map_err(raise)
    }
}

/// Many groups.
#[derive(Debug)]
struct Groups {
    scales: Scales,
    moments: Vec<Moments>,
}

impl Groups {
    fn add(&mut self, group: usize, moments: &Moments) -> Result<()> {
        let Some(own) = self.moments.get_mut(group) else { return Err(Error::internal("a group is out of range")) };
        own.add(moments)
    }

    fn states(moments: &[Moments]) -> DataFusionResult<Vec<ArrayRef>> {
        let wide = |value: fn(&Moments) -> i256| -> DataFusionResult<ArrayRef> {
            let values = Decimal256Array::from_iter_values(moments.iter().map(value));
            Ok(Arc::new(values.with_precision_and_scale(WIDE_DIGITS, 0)?))
        };
        let counts = Int64Array::from_iter_values(moments.iter().map(|moments| moments.count));
        Ok(vec![wide(|moments| moments.sum)?, wide(|moments| moments.squares)?, Arc::new(counts)])
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
        self.moments.resize_with(groups, Moments::default);
        let Some(values) = values.first() else { return Ok(()) };
        let values = decimals(values).map_err(raise)?;
        for (row, group) in group_indices.iter().enumerate() {
            let kept = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if kept && values.is_valid(row) {
                Moments::of(values.value(row)).and_then(|moments| self.add(*group, &moments)).map_err(raise)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DataFusionResult<ArrayRef> {
        let moments = emit_to.take_needed(&mut self.moments);
        let results = moments.iter().map(|moments| moments.result(&self.scales));
        let results = results.collect::<Result<Decimal128Array>>().map_err(raise)?;
        Ok(Arc::new(results.with_precision_and_scale(numeric::DIGITS_MAX, self.scales.to)?))
    }

    fn state(&mut self, emit_to: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        Self::states(&emit_to.take_needed(&mut self.moments))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], groups: usize) -> DataFusionResult<()> {
        self.moments.resize_with(groups, Moments::default);
        for (moments, group) in merged(states).zip(group_indices) {
            if let Some(moments) = moments {
                self.add(*group, &moments).map_err(raise)?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> DataFusionResult<Vec<ArrayRef>> {
        let Some(values) = values.first() else { return Ok(Vec::new()) };
        let values = decimals(values).map_err(raise)?;
        let moments_of = |row: usize| {
            let kept = values.is_valid(row) && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if kept { Moments::of(values.value(row)) } else { Ok(Moments::default()) }
        };
        let moments = (0..values.len()).map(moments_of).collect::<Result<Vec<_>>>().map_err(raise)?;
        Self::states(&moments)
    }

    fn size(&self) -> usize {
        self.moments.capacity() * size_of::<Moments>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_rounded() {
        for (value, root) in [(0, 0), (1, 1), (2, 1), (3, 2), (99, 10), (1_000_000, 1000)] {
            assert_eq!(square_root(i256::from_i128(value)), i256::from_i128(root), "{value}");
        }
    }
}
