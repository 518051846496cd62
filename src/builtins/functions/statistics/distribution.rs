//! `distribution(x [, bins])`: a column's values as a baseline; `entropy(x)`: of their shares.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::baseline::BINS_MAX;
use super::sketch::Sketch;
use super::tally::Tally;
use crate::encode::input;
use crate::error::{Error, Result, SqlState};

/// Without the second argument: deciles, and so many categories.
const BINS: usize = 10;
const CATEGORIES: usize = 100;

/// What is told of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    Baseline,
    /// −Σ a ln a of the shares of distinct values.
    Entropy,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Distribution {
    told: Told,
    signature: Signature,
}

pub(super) fn of() -> Arc<AggregateUDF> {
    function(Told::Baseline)
}
pub(super) fn entropy() -> Arc<AggregateUDF> {
    function(Told::Entropy)
}

fn function(told: Told) -> Arc<AggregateUDF> {
    let signature = Signature::new(TypeSignature::VariadicAny, Volatility::Immutable);
    Arc::new(AggregateUDF::from(Distribution { told, signature }))
}

impl AggregateUDFImpl for Distribution {
    fn name(&self) -> &str {
        match self.told {
            Told::Baseline => "distribution",
            Told::Entropy => "entropy",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match self.told {
            Told::Baseline => DataType::Utf8,
            Told::Entropy => DataType::Float64,
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(Error::unsupported(format!("{}(DISTINCT)", self.name())).into_datafusion());
        }
        let numeric =
            self.told == Told::Baseline && args.expr_fields.first().is_some_and(|field| field.data_type().is_numeric());
        let values = if numeric { Values::Numbers(Numbers::default()) } else { Values::Categories(Tally::default()) };
        Ok(Box::new(Describing { told: self.told, bins: None, nulls: 0, values }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[state]", args.name), DataType::Binary, true))])
    }
}

/// The values so far.
#[derive(Debug)]
struct Describing {
    told: Told,
    bins: Option<i64>,
    nulls: u64,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Numbers(Numbers),
    Categories(Tally),
}

/// Moments beside the sketch, by Welford's and Chan's updates.
#[derive(Debug, Default)]
struct Numbers {
    sketch: Sketch,
    count: u64,
    mean: f64,
    squares: f64,
    min: f64,
    max: f64,
}

impl Numbers {
    fn add(&mut self, value: f64) {
        self.sketch.add(value);
        self.add_moments(1, value, 0.0, value, value);
    }

    fn add_moments(&mut self, count: u64, mean: f64, squares: f64, min: f64, max: f64) {
        if count == 0 {
            return;
        }
        let (own, other) = (self.count as f64, count as f64);
        (self.min, self.max) = if self.count == 0 { (min, max) } else { (self.min.min(min), self.max.max(max)) };
        let apart = mean - self.mean;
        self.squares += squares + apart * apart * own * other / (own + other);
        self.mean += apart * other / (own + other);
        self.count += count;
    }

    /// Quantiles as edges, the shares of the bins between them, and the moments.
    fn describe(&self, bins: usize, nulls: u64) -> Value {
        let sorted = self.sketch.sorted();
        let mut edges = vec![self.min];
        edges.extend(sorted.quantiles((1..bins).map(|bin| bin as f64 / bins as f64)));
        edges.push(self.max);
        edges.dedup();
        let constant = edges.len() == 1;
        if constant {
            // Whatever is not this value lies outside.
            edges.push(self.max);
        }
        let shares = if constant { vec![1.0] } else { sorted.shares(&edges) };
        let mut described = json!({
            "bins": edges, "weights": shares, "count": self.count, "nulls": nulls, "mean": self.mean,
        });
        if let Some(object) = described.as_object_mut() {
            if self.count > 1 {
                object.insert("stddev".to_owned(), json!((self.squares / (self.count - 1) as f64).sqrt()));
            }
            if constant {
                object.insert("tail_weights".to_owned(), json!([0, 0]));
            }
        }
        described
    }
}

/// The most frequent categories, their shares, and the share of all others.
fn describe_categories(tally: &Tally, categories: usize, nulls: u64) -> Option<Value> {
    let (top, rest) = tally.top(categories);
    let count = top.iter().map(|(_, count)| count).sum::<u64>() + rest;
    let share = |part: u64| part as f64 / count as f64;
    (count > 0).then(|| {
        let weights: Vec<f64> = top.iter().map(|(_, count)| share(*count)).collect();
        let values: Vec<String> = top.into_iter().map(|(value, _)| value).collect();
        json!({"values": values, "weights": weights, "rest": share(rest), "count": count, "nulls": nulls})
    })
}

/// What merges with others of its kind; floats by their bits, which JSON's numbers would round.
#[derive(Serialize, Deserialize)]
struct State {
    bins: Option<i64>,
    nulls: u64,
    values: ValuesState,
}

#[derive(Serialize, Deserialize)]
enum ValuesState {
    Numbers { levels: Vec<(usize, u64)>, count: u64, moments: [u64; 4] },
    Categories { counts: HashMap<String, u64>, rest: u64 },
}

impl Describing {
    fn update(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(array) = values.first() else { return Ok(()) };
        if let Some(bins) = values.get(1)
            && !bins.is_empty()
            && self.bins.is_none()
        {
            self.bins = whole(&ScalarValue::try_from_array(bins, 0)?);
        }
        match &mut self.values {
            Values::Numbers(numbers) => {
                let floats = crate::encode::cast(array, &DataType::Float64)?;
                for value in floats.as_primitive::<Float64Type>() {
                    match value.filter(|value| value.is_finite()) {
                        Some(value) => numbers.add(value),
                        None => self.nulls += 1,
                    }
                }
            }
            Values::Categories(tally) => {
                let texts = crate::encode::cast(&counted_alike(array), &DataType::Utf8)?;
                for text in texts.as_string::<i32>() {
                    match text {
                        Some(text) => tally.add(text, 1),
                        None => self.nulls += 1,
                    }
                }
            }
        }
        Ok(())
    }

    fn describe(&self) -> Result<Option<String>> {
        let bins = |default: usize| match self.bins {
            None => Ok(default),
            Some(bins) => usize::try_from(bins).ok().filter(|bins| (1..=BINS_MAX).contains(bins)).ok_or_else(|| {
                let message = format!("the number of bins must be between 1 and {BINS_MAX}");
                Error::new(SqlState::InvalidParameterValue, message)
            }),
        };
        let described = match &self.values {
            Values::Numbers(numbers) if numbers.count == 0 => None,
            Values::Numbers(numbers) => Some(numbers.describe(bins(BINS)?, self.nulls)),
            Values::Categories(tally) => describe_categories(tally, bins(CATEGORIES)?, self.nulls),
        };
        described.map(|described| input::jsonb(&described.to_string())).transpose()
    }

    fn state(&self) -> State {
        let values = match &self.values {
            Values::Numbers(numbers) => ValuesState::Numbers {
                levels: numbers.sketch.parts().map(|(level, value)| (level, value.to_bits())).collect(),
                count: numbers.count,
                moments: [numbers.mean, numbers.squares, numbers.min, numbers.max].map(f64::to_bits),
            },
            Values::Categories(tally) => ValuesState::Categories {
                counts: tally.counts().map(|(category, count)| (category.clone(), *count)).collect(),
                rest: tally.rest,
            },
        };
        State { bins: self.bins, nulls: self.nulls, values }
    }

    fn merge(&mut self, state: State) {
        self.bins = self.bins.or(state.bins);
        self.nulls += state.nulls;
        match (&mut self.values, state.values) {
            (Values::Numbers(numbers), ValuesState::Numbers { levels, count, moments }) => {
                let [mean, squares, min, max] = moments.map(f64::from_bits);
                numbers.add_moments(count, mean, squares, min, max);
                levels.into_iter().for_each(|(level, value)| numbers.sketch.insert(level, f64::from_bits(value)));
            }
            (Values::Categories(tally), ValuesState::Categories { counts, rest }) => {
                tally.rest += rest;
                counts.into_iter().for_each(|(category, count)| tally.add(&category, count));
            }
            (Values::Numbers(_) | Values::Categories(_), _) => {}
        }
    }
}

/// Floats that are counted as categories: one zero, and NULL for what is no number.
fn counted_alike(array: &ArrayRef) -> ArrayRef {
    let Some(floats) = array.as_primitive_opt::<Float64Type>() else { return Arc::clone(array) };
    let counted = floats.iter().map(|value| value.filter(|value| value.is_finite()).map(|value| value + 0.0));
    Arc::new(counted.collect::<Float64Array>())
}

fn whole(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(number)) => number,
        _ => None,
    }
}

impl Accumulator for Describing {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.update(values).map_err(Error::into_datafusion)
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        match (self.told, &self.values) {
            (Told::Entropy, Values::Categories(tally)) => Ok(ScalarValue::Float64(tally.entropy())),
            (Told::Baseline | Told::Entropy, _) => {
                self.describe().map(ScalarValue::Utf8).map_err(Error::into_datafusion)
            }
        }
    }

    fn size(&self) -> usize {
        let values = match &self.values {
            Values::Numbers(numbers) => numbers.sketch.size(),
            Values::Categories(tally) => tally.size(),
        };
        size_of::<Self>() + values
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let state = serde_json::to_vec(&Describing::state(self)).map_err(|error| Error::internal(error.to_string()));
        Ok(vec![ScalarValue::Binary(Some(state.map_err(Error::into_datafusion)?))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let Some(states) = states.first() else { return Ok(()) };
        let states = crate::encode::cast(states, &DataType::Binary)?;
        for bytes in states.as_binary::<i32>().iter().flatten() {
            let state = serde_json::from_slice(bytes).map_err(|error| Error::internal(error.to_string()));
            self.merge(state.map_err(Error::into_datafusion)?);
        }
        Ok(())
    }
}
