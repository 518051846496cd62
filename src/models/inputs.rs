//! Columns of a batch as a model reads them.

use std::collections::HashMap;

use arrow::array::{Array as _, ArrayRef, Float64Array};

use super::dataset::MISSING;
use super::feature::{Feature, numbers, texts};
use crate::error::{Error, Result};

/// No text of a database: PostgreSQL has no NUL in them.
const UNSEEN: &str = "\0unseen";

/// The texts that a model knows of its category features.
#[derive(Debug, Clone, Default)]
pub struct Categories {
    /// For each feature; `None` for one that is no category.
    texts: Vec<Option<Vec<String>>>,
    /// With one more at the end, which stands for all that were not seen.
    with_unseen: Vec<Vec<String>>,
    places: Vec<HashMap<String, u32>>,
}

impl Categories {
    pub fn new(texts: Vec<Option<Vec<String>>>) -> Self {
        let place = |texts: &Option<Vec<String>>| {
            let texts = texts.iter().flatten();
            texts.enumerate().map(|(place, text)| (text.clone(), place as u32)).collect()
        };
        let places = texts.iter().map(place).collect();
        let unseen = |texts: &Option<Vec<String>>| {
            let mut texts = texts.clone().unwrap_or_default();
            texts.push(UNSEEN.to_owned());
            texts
        };
        let with_unseen = texts.iter().map(unseen).collect();
        Self { texts, with_unseen, places }
    }

    pub fn texts(&self) -> &[Option<Vec<String>>] {
        &self.texts
    }

    /// The texts of a feature, and after them one for all others.
    pub fn with_unseen(&self, feature: usize) -> &[String] {
        self.with_unseen.get(feature).map_or(&[], Vec::as_slice)
    }

    /// The texts of a feature; none of one that is no category.
    pub fn of(&self, feature: usize) -> &[String] {
        self.texts.get(feature).and_then(Option::as_deref).unwrap_or_default()
    }

    /// The text's place; of one that was not seen in training the number of all that were.
    fn place(&self, feature: usize, text: &str) -> u32 {
        match self.places.get(feature) {
            Some(places) => places.get(text).copied().unwrap_or(places.len() as u32),
            None => MISSING,
        }
    }
}

/// A column: its values are those of [`super::dataset::Values`].
#[derive(Debug, Clone)]
pub enum Input {
    /// NaN is NULL.
    Numbers(Float64Array),
    /// [`MISSING`] is NULL; texts that were not seen in training have the code after the last one.
    Codes(Vec<u32>),
}

/// Columns of one length.
#[derive(Debug, Clone)]
pub struct Inputs {
    pub rows: usize,
    pub columns: Vec<Input>,
}

impl Inputs {
    /// Arrays in the order of the features.
    ///
    /// # Errors
    /// XX000 when an array is not of the feature's kind.
    pub fn new(features: &[Feature], categories: &Categories, arrays: &[ArrayRef], rows: usize) -> Result<Self> {
        if features.len() != arrays.len() {
            return Err(Error::internal("a prediction with other than the model's features"));
        }
        let mut columns = Vec::with_capacity(arrays.len());
        for (at, (feature, array)) in features.iter().zip(arrays).enumerate() {
            columns.push(if feature.kind.is_category() {
                let texts = texts(array)?;
                let code = |row: usize| {
                    if texts.is_null(row) { MISSING } else { categories.place(at, texts.value(row)) }
                };
                Input::Codes((0..texts.len()).map(code).collect())
            } else {
                Input::Numbers(numbers(array, feature.kind)?)
            });
        }
        Ok(Self { rows, columns })
    }
}
