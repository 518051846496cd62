//! A stored distribution: what `distribution` writes, and what Great Expectations calls a partition object.
//!
//! `{"bins": [0, 10, 20], "weights": [0.4, 0.6]}` for numbers, `{"values": ["a", "b"], "weights": [0.5, 0.4], "rest": 0.1}` for
//! categories. Weights are shares or counts: they are divided by their sum.

use std::collections::HashMap;

use crate::builtins::functions::json_text::{Kind, field, items, kind, plain};
use crate::error::{Error, Result, SqlState};

/// Most bins or categories.
pub(super) const BINS_MAX: usize = 1000;

#[derive(Debug)]
pub(super) struct Baseline {
    shape: Shape,
    /// The expected share of each bin.
    shares: Vec<f64>,
    /// How many values it was made of, if that is known.
    pub count: Option<f64>,
    text: String,
}

#[derive(Debug)]
enum Shape {
    /// Ascending edges of bins `[edge, next edge)`, the last one closed. `tails`: what lies outside has bins of its own, at
    /// both ends; otherwise the outer bins are open.
    Bins { edges: Vec<f64>, tails: bool },
    /// Values, by their text and, if they are numbers, by their bits; what is none of them has the last bin.
    Values { texts: HashMap<String, usize>, numbers: HashMap<u64, usize> },
}

/// A constant is compared as what was written.
impl PartialEq for Baseline {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl Eq for Baseline {}
impl std::hash::Hash for Baseline {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::new(SqlState::InvalidParameterValue, format!("invalid baseline: {why}"))
        .with_hint("distribution(…) makes a baseline of a column's values")
}

/// A member that is an array of numbers.
fn numbers(object: &str, key: &str) -> Result<Option<Vec<f64>>> {
    let Some(value) = field(object, key) else { return Ok(None) };
    if kind(value) != Kind::Array {
        return Err(invalid(format!("\"{key}\" is no array")));
    }
    let numbers = items(value).map(number).collect::<Option<Vec<_>>>();
    numbers.map(Some).ok_or_else(|| invalid(format!("\"{key}\" holds something that is no number")))
}

fn number(value: &str) -> Option<f64> {
    (kind(value) == Kind::Number).then(|| value.parse().ok())?
}

/// Minus zero is zero.
fn bits(number: f64) -> u64 {
    (number + 0.0).to_bits()
}

impl Shape {
    fn of_values<'t>(values: impl Iterator<Item = &'t str>) -> Result<Self> {
        let (mut texts, mut numbers) = (HashMap::new(), HashMap::new());
        for (bin, value) in values.enumerate() {
            let text = plain(value).filter(|_| kind(value).is_scalar());
            let text = text.ok_or_else(|| invalid("\"values\" holds something that is no text, number or boolean"))?;
            if let Some(number) = number(value) {
                numbers.insert(bits(number), bin);
            }
            if texts.insert(text.into_owned(), bin).is_some() {
                return Err(invalid(format!("{value} is there twice")));
            }
        }
        Ok(Self::Values { texts, numbers })
    }

    /// How many bins are counted: two outer ones around the bins, one behind the values.
    fn counted(&self) -> usize {
        match self {
            Self::Bins { edges, .. } => edges.len() + 1,
            Self::Values { texts, .. } => texts.len() + 1,
        }
    }
}

impl Baseline {
    /// Of a valid JSON text.
    pub(super) fn parse(text: &str) -> Result<Self> {
        if kind(text) != Kind::Object {
            return Err(invalid("it is no object"));
        }
        let weights = numbers(text, "weights")?.ok_or_else(|| invalid("\"weights\" is missing"))?;
        if weights.len() > BINS_MAX {
            return Err(invalid(format!("it has more than {BINS_MAX} bins")));
        }
        let (shape, mut shares) = match (numbers(text, "bins")?, field(text, "values")) {
            (Some(edges), None) => {
                let ascending = edges.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
                let constant = matches!(edges.as_slice(), [a, b] if a == b);
                if edges.len() < 2 || !(ascending || constant) {
                    return Err(invalid("the edges of its bins do not ascend"));
                }
                if weights.len() + 1 != edges.len() {
                    return Err(invalid("it needs one weight for each bin"));
                }
                let outer = numbers(text, "tail_weights")?;
                let tails = outer.is_some();
                let outer = outer.unwrap_or_else(|| vec![0.0, 0.0]);
                let [below, above] = outer.as_slice() else {
                    return Err(invalid("it needs two weights for the tails"));
                };
                let shares = std::iter::once(*below).chain(weights).chain([*above]).collect::<Vec<_>>();
                (Shape::Bins { edges, tails }, shares)
            }
            (None, Some(values)) => {
                if kind(values) != Kind::Array || weights.len() != items(values).count() {
                    return Err(invalid("it needs one weight for each value"));
                }
                let rest = field(text, "rest").map_or(Some(0.0), number);
                let rest = rest.ok_or_else(|| invalid("\"rest\" is no number"))?;
                (Shape::of_values(items(values))?, weights.into_iter().chain([rest]).collect())
            }
            _ => return Err(invalid("it needs either \"bins\" or \"values\"")),
        };
        let sum: f64 = shares.iter().sum();
        if shares.iter().any(|share| *share < 0.0) || !sum.is_finite() || sum <= 0.0 {
            return Err(invalid("its weights are negative, or all of them are zero"));
        }
        shares.iter_mut().for_each(|share| *share /= sum);
        let count = field(text, "count").and_then(number).filter(|count| *count > 0.0);
        Ok(Self { shape, shares, count, text: text.to_owned() })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// How many bins are counted.
    pub(super) fn bins(&self) -> usize {
        self.shape.counted()
    }

    /// Whether its bins are in an order that means something.
    pub(super) fn is_numeric(&self) -> bool {
        matches!(self.shape, Shape::Bins { .. })
    }

    /// The bin of a number.
    pub(super) fn bin_of_number(&self, number: f64) -> usize {
        match &self.shape {
            Shape::Bins { edges, .. } => {
                let bin = edges.partition_point(|edge| *edge <= number);
                if edges.last() == Some(&number) { edges.len() - 1 } else { bin }
            }
            Shape::Values { texts, numbers } => numbers.get(&bits(number)).copied().unwrap_or(texts.len()),
        }
    }

    /// The bin of a text.
    pub(super) fn bin_of_text(&self, text: &str) -> Result<usize> {
        match &self.shape {
            Shape::Bins { .. } => Err(invalid("bins of numbers cannot be compared with texts")),
            Shape::Values { texts, .. } => Ok(texts.get(text).copied().unwrap_or(texts.len())),
        }
    }

    /// The expected share and the count of each bin that is compared: open bins have what lies outside.
    pub(super) fn compared(&self, counts: &[u64]) -> Vec<(f64, f64)> {
        let mut pairs: Vec<(f64, f64)> =
            self.shares.iter().copied().zip(counts.iter().map(|count| *count as f64)).collect();
        if let Shape::Bins { tails: false, .. } = self.shape {
            let (above, below) = (pairs.pop(), pairs.first().copied());
            pairs.drain(..usize::from(!pairs.is_empty()));
            if let (Some(first), Some((_, outside))) = (pairs.first_mut(), below) {
                first.1 += outside;
            }
            if let (Some(last), Some((_, outside))) = (pairs.last_mut(), above) {
                last.1 += outside;
            }
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fall_into_half_open_bins() {
        let open = Baseline::parse(r#"{"bins": [0, 1, 2], "weights": [1, 3]}"#).unwrap();
        assert_eq!([-1.0, 0.0, 0.5, 1.0, 2.0, 2.5].map(|x| open.bin_of_number(x)), [0, 1, 1, 2, 2, 3]);
        assert_eq!(open.compared(&[1, 2, 2, 1]), [(0.25, 3.0), (0.75, 3.0)]);
        let closed = Baseline::parse(r#"{"bins": [5, 5], "weights": [1], "tail_weights": [0, 0]}"#).unwrap();
        assert_eq!([4.0, 5.0, 6.0].map(|x| closed.bin_of_number(x)), [0, 1, 2]);
        assert_eq!(closed.compared(&[1, 2, 3]), [(0.0, 1.0), (1.0, 2.0), (0.0, 3.0)]);
    }

    #[test]
    fn values_are_found_by_text_and_by_number() {
        let values = Baseline::parse(r#"{"values": ["a", 1, true], "weights": [2, 1, 1]}"#).unwrap();
        assert_eq!(["a", "1", "true", "b"].map(|text| values.bin_of_text(text).unwrap()), [0, 1, 2, 3]);
        assert_eq!([1.0, 2.0].map(|number| values.bin_of_number(number)), [1, 3]);
    }

    #[test]
    fn what_is_no_baseline_is_refused() {
        for text in [
            "1",
            "{}",
            r#"{"bins": [0, 1]}"#,
            r#"{"bins": [1, 0], "weights": [1]}"#,
            r#"{"bins": [0, 1], "weights": [1, 1]}"#,
            r#"{"bins": [0, 1], "weights": [-1]}"#,
            r#"{"bins": [0, 1], "weights": [1], "tail_weights": [1]}"#,
            r#"{"values": ["a", "a"], "weights": [1, 1]}"#,
            r#"{"values": ["a"], "weights": [0]}"#,
        ] {
            assert_eq!(Baseline::parse(text).unwrap_err().sqlstate(), SqlState::InvalidParameterValue, "{text}");
        }
    }
}
