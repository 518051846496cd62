//! The aggregates that compare values with a baseline: counts by bin, and a measure of them at the end.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility};

use super::baseline::Baseline;
use super::measure::Measure;
use crate::error::{Error, Result, SqlState};

#[derive(Debug, PartialEq, Eq, Hash)]
struct Comparison {
    measure: Measure,
    /// A constant one; otherwise it is the second argument.
    baseline: Option<Arc<Baseline>>,
    /// Tells calls with different constants apart.
    name: String,
    signature: Signature,
}

pub(super) fn of(measure: Measure, baseline: Option<Arc<Baseline>>) -> Arc<AggregateUDF> {
    let name = match &baseline {
        Some(baseline) => format!("{}[{}]", measure.name(), baseline.text()),
        None => measure.name().to_owned(),
    };
    let signature = Signature::new(TypeSignature::VariadicAny, Volatility::Immutable);
    Arc::new(AggregateUDF::from(Comparison { measure, baseline, name, signature }))
}

fn counts_field() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::UInt64, true))
}

impl AggregateUDFImpl for Comparison {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(Error::unsupported(format!("{}(DISTINCT)", self.measure.name())).into_datafusion());
        }
        let mut counting = Counting { measure: self.measure, baseline: None, counts: Vec::new(), is_constant: false };
        if let Some(baseline) = &self.baseline {
            counting.take(baseline.clone()).map_err(Error::into_datafusion)?;
            counting.is_constant = true;
        }
        Ok(Box::new(counting))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        Ok(vec![
            Arc::new(Field::new(format!("{}[baseline]", args.name), DataType::Utf8, true)),
            Arc::new(Field::new(format!("{}[counts]", args.name), DataType::List(counts_field()), true)),
        ])
    }
}

/// Values counted by the bins of a baseline.
#[derive(Debug)]
struct Counting {
    measure: Measure,
    baseline: Option<Arc<Baseline>>,
    counts: Vec<u64>,
    is_constant: bool,
}

/// The values, by what bins hold.
enum Values {
    Numbers(Float64Array),
    Texts(StringArray),
}

impl Values {
    fn new(array: &ArrayRef) -> Result<Self> {
        Ok(if array.data_type().is_numeric() {
            Self::Numbers(crate::encode::cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        } else {
            Self::Texts(crate::encode::cast(array, &DataType::Utf8)?.as_string::<i32>().clone())
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// The row's bin; none for what is left out.
    fn bin(&self, row: usize, baseline: &Baseline) -> Result<Option<usize>> {
        Ok(match self {
            Self::Numbers(values) => {
                let counted = values.is_valid(row) && values.value(row).is_finite();
                counted.then(|| baseline.bin_of_number(values.value(row)))
            }
            Self::Texts(values) if values.is_valid(row) => Some(baseline.bin_of_text(values.value(row))?),
            Self::Texts(_) => None,
        })
    }
}

impl Counting {
    fn take(&mut self, baseline: Arc<Baseline>) -> Result<()> {
        if self.measure.needs_order() && !baseline.is_numeric() {
            let message = format!("{} needs a baseline of bins, not of values", self.measure.name());
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        self.counts = vec![0; baseline.bins()];
        self.baseline = Some(baseline);
        Ok(())
    }

    /// The baseline of all rows of the group.
    fn baseline(&mut self, text: &str) -> Result<Arc<Baseline>> {
        match &self.baseline {
            Some(baseline) if baseline.text() == text => Ok(baseline.clone()),
            Some(_) => {
                let message = format!("{} has more than one baseline in a group", self.measure.name());
                Err(Error::new(SqlState::InvalidParameterValue, message))
            }
            None => {
                let baseline = Arc::new(Baseline::parse(text)?);
                self.take(baseline.clone())?;
                Ok(baseline)
            }
        }
    }

    /// Adds the rows' values, or takes them back from a window's frame.
    fn count(&mut self, values: &[ArrayRef], back: bool) -> Result<()> {
        let Some(array) = values.first() else { return Ok(()) };
        if let (Some(texts), Some(baseline), true) = (array.as_string_view_opt(), &self.baseline, self.is_constant) {
            return count_views(&mut self.counts, texts, &Arc::clone(baseline), back);
        }
        let numbers = Values::new(array)?;
        let baselines = match values.get(1) {
            Some(texts) if !self.is_constant => {
                Some(crate::encode::cast(texts, &DataType::Utf8)?.as_string::<i32>().clone())
            }
            _ => None,
        };
        let constant = self.baseline.clone().filter(|_| self.is_constant);
        for row in 0..numbers.len() {
            let baseline = match (&baselines, &constant) {
                (Some(texts), _) if texts.is_valid(row) => self.baseline(texts.value(row))?,
                (None, Some(constant)) => constant.clone(),
                _ => continue,
            };
            let Some(bin) = numbers.bin(row, &baseline)? else { continue };
            if let Some(count) = self.counts.get_mut(bin) {
                *count = if back { count.saturating_sub(1) } else { *count + 1 };
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [texts, lists] = states else { return Ok(()) };
        let texts = crate::encode::cast(texts, &DataType::Utf8)?;
        let (texts, lists) = (texts.as_string::<i32>(), lists.as_list::<i32>());
        for row in 0..texts.len() {
            if texts.is_null(row) || lists.is_null(row) {
                continue;
            }
            self.baseline(texts.value(row))?;
            let other = lists.value(row);
            for (count, more) in self.counts.iter_mut().zip(other.as_primitive::<UInt64Type>().values()) {
                *count += more;
            }
        }
        Ok(())
    }
}

/// Texts where they stand: the few that come again and again are looked up once a batch, by their views.
fn count_views(counts: &mut [u64], texts: &StringViewArray, baseline: &Baseline, back: bool) -> Result<()> {
    const BINS_HELD_MAX: usize = 16;
    let mut held: Vec<(u128, usize)> = Vec::with_capacity(BINS_HELD_MAX);
    for (row, view) in texts.views().iter().enumerate() {
        if texts.is_null(row) {
            continue;
        }
        let bin = match held.iter().find(|(known, _)| known == view) {
            Some((_, bin)) => *bin,
            None => {
                let bin = baseline.bin_of_text(texts.value(row))?;
                if held.len() < BINS_HELD_MAX {
                    held.push((*view, bin));
                }
                bin
            }
        };
        if let Some(count) = counts.get_mut(bin) {
            *count = if back { count.saturating_sub(1) } else { *count + 1 };
        }
    }
    Ok(())
}

impl Accumulator for Counting {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.count(values, false).map_err(Error::into_datafusion)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.count(values, true).map_err(Error::into_datafusion)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let value = self.baseline.as_ref().and_then(|baseline| self.measure.value(baseline, &self.counts));
        Ok(ScalarValue::Float64(value))
    }

    fn size(&self) -> usize {
        let baseline = self.baseline.as_ref().filter(|_| !self.is_constant);
        // Edges and shares, or values and shares, beside the text.
        let baseline = baseline.map_or(0, |baseline| 3 * baseline.text().len() + 64 * baseline.bins());
        size_of::<Self>() + self.counts.capacity() * size_of::<u64>() + baseline
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let counts = ListArray::from_iter_primitive::<UInt64Type, _, _>([Some(self.counts.iter().copied().map(Some))]);
        let text = self.baseline.as_ref().map(|baseline| baseline.text().to_owned());
        Ok(vec![ScalarValue::Utf8(text), ScalarValue::List(Arc::new(counts))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        self.merge(states).map_err(Error::into_datafusion)
    }
}
