//! `variance` and `stddev` of integers and numerics: exact sums of squares over 256 bits, one division at the end.

use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Int64Type, i256};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::numeric::{self, SIGNIFICANT_DIGITS_MIN, decimal_type, overflow};
use crate::error::{Error, Result};

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
        Ok(Box::new(Moments { measure: self.measure, scale, to, sum: i256::ZERO, squares: i256::ZERO, count: 0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let wide = DataType::Decimal256(76, 0);
        Ok(vec![
            Arc::new(Field::new(format!("{}[sum]", args.name), wide.clone(), true)),
            Arc::new(Field::new(format!("{}[squares]", args.name), wide, true)),
            Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true)),
        ])
    }
}

#[derive(Debug)]
struct Moments {
    measure: Measure,
    /// Scale of the values, and of the result.
    scale: i8,
    to: i8,
    sum: i256,
    squares: i256,
    count: i64,
}

impl Moments {
    fn change(&mut self, values: &[ArrayRef], add: bool) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        let values = arrow::compute::cast(values, &decimal_type(values.data_type()))?;
        for value in values.as_primitive::<Decimal128Type>().iter().flatten() {
            let value = i256::from_i128(value);
            let square = value.checked_mul(value).ok_or_else(overflow)?;
            let (sum, squares) = if add {
                (self.sum.checked_add(value), self.squares.checked_add(square))
            } else {
                (self.sum.checked_sub(value), self.squares.checked_sub(square))
            };
            (self.sum, self.squares) = sum.zip(squares).ok_or_else(overflow)?;
            self.count += if add { 1 } else { -1 };
        }
        Ok(())
    }

    fn result(&self) -> Result<Option<i128>> {
        let count = i256::from_i128(self.count.into());
        let others = if self.measure.population { self.count } else { self.count - 1 };
        if others <= 0 {
            return Ok(None);
        }
        let divisor = count.checked_mul(i256::from_i128(others.into())).ok_or_else(overflow)?;
        let exact = |()| -> Option<i256> {
            count.checked_mul(self.squares)?.checked_sub(self.sum.checked_mul(self.sum)?)
        };
        let spread = exact(()).ok_or_else(overflow)?;
        let places = i32::from(self.to) * if self.measure.deviation { 2 } else { 1 };
        let Some(variance) = scaled_quotient(spread, divisor, places - 2 * i32::from(self.scale)) else {
            return self.nearly(spread, divisor).map(Some);
        };
        let result = if self.measure.deviation { square_root(variance) } else { variance };
        result.to_i128().ok_or_else(overflow).and_then(numeric::bounded).map(Some)
    }

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

impl Accumulator for Moments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.change(values, true).map_err(Error::into_datafusion)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.change(values, false).map_err(Error::into_datafusion)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let result = self.result().map_err(Error::into_datafusion)?;
        Ok(ScalarValue::Decimal128(result, numeric::DIGITS_MAX, self.to))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let wide = |value| ScalarValue::Decimal256(Some(value), 76, 0);
        Ok(vec![wide(self.sum), wide(self.squares), ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let [sums, squares, counts] = states else { return Ok(()) };
        let parts = sums
            .as_primitive::<Decimal256Type>()
            .iter()
            .zip(squares.as_primitive::<Decimal256Type>().iter())
            .zip(counts.as_primitive::<Int64Type>().iter());
        for ((sum, squares), count) in parts {
            let (Some(sum), Some(squares), Some(count)) = (sum, squares, count) else { continue };
            let merged = self.sum.checked_add(sum).zip(self.squares.checked_add(squares));
            (self.sum, self.squares) = merged.ok_or_else(|| overflow().into_datafusion())?;
            self.count += count;
        }
        Ok(())
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
