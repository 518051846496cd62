//! `approx_percentile(x, fraction)`: a quantile of any number of values in bounded memory.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility};

use super::sketch::Sketch;
use crate::error::{Error, Result, SqlState};

#[derive(Debug, PartialEq, Eq, Hash)]
struct ApproxPercentile {
    signature: Signature,
}

pub(super) fn of() -> Arc<AggregateUDF> {
    let signature = Signature::new(TypeSignature::VariadicAny, Volatility::Immutable);
    Arc::new(AggregateUDF::from(ApproxPercentile { signature }))
}

fn values_field() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float64, true))
}

impl AggregateUDFImpl for ApproxPercentile {
    fn name(&self) -> &str {
        "approx_percentile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(Error::unsupported("approx_percentile(DISTINCT)").into_datafusion());
        }
        Ok(Box::new(Sampling { fraction: None, sketch: Sketch::default() }))
    }

    /// Values with the levels that they stand at, side by side.
    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let list = |part: &str| Field::new(format!("{}[{part}]", args.name), DataType::List(values_field()), true);
        Ok(vec![
            Arc::new(Field::new(format!("{}[fraction]", args.name), DataType::Float64, true)),
            Arc::new(list("levels")),
            Arc::new(list("values")),
        ])
    }
}

#[derive(Debug)]
struct Sampling {
    fraction: Option<f64>,
    sketch: Sketch,
}

fn floats(array: &ArrayRef) -> DataFusionResult<Float64Array> {
    Ok(crate::encode::cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}

impl Sampling {
    fn quantile(&self) -> Result<Option<f64>> {
        let Some(fraction) = self.fraction else { return Ok(None) };
        if !(0.0..=1.0).contains(&fraction) {
            let message = format!("percentile value {fraction} is not between 0 and 1");
            return Err(Error::new(SqlState::NumericValueOutOfRange, message));
        }
        Ok(self.sketch.sorted().quantiles([fraction]).first().copied())
    }
}

impl Accumulator for Sampling {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let [values, fractions] = values else { return Ok(()) };
        if self.fraction.is_none() {
            self.fraction = floats(fractions)?.iter().flatten().next();
        }
        let finite = floats(values)?;
        finite.iter().flatten().filter(|value| value.is_finite()).for_each(|value| self.sketch.add(value));
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.quantile().map(ScalarValue::Float64).map_err(Error::into_datafusion)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sketch.size()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let list = |values: Vec<Option<f64>>| {
            ScalarValue::List(Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([Some(values)])))
        };
        Ok(vec![
            ScalarValue::Float64(self.fraction),
            list(self.sketch.parts().map(|(level, _)| Some(level as f64)).collect()),
            list(self.sketch.parts().map(|(_, value)| Some(value)).collect()),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let [fractions, levels, values] = states else { return Ok(()) };
        self.fraction = self.fraction.or_else(|| fractions.as_primitive::<Float64Type>().iter().flatten().next());
        let (levels, values) = (levels.as_list::<i32>(), values.as_list::<i32>());
        for row in 0..values.len() {
            if values.is_null(row) || levels.is_null(row) {
                continue;
            }
            let (levels, values) = (levels.value(row), values.value(row));
            let pairs = levels.as_primitive::<Float64Type>().iter().zip(values.as_primitive::<Float64Type>().iter());
            for (level, value) in pairs {
                if let (Some(level), Some(value)) = (level, value) {
                    self.sketch.insert(level as usize, value);
                }
            }
        }
        Ok(())
    }
}
