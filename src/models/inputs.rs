//! Columns of a batch as a model reads them.

use std::hash::{BuildHasher as _, RandomState};

use arrow::array::{Array as _, ArrayRef, Float64Array};

use super::dataset::MISSING;
use super::feature::{Feature, numbers, texts};
use crate::error::{Error, Result};

/// The texts that a model knows of its category features.
#[derive(Debug, Clone, Default)]
pub struct Categories {
    /// For each feature; `None` for one that is no category.
    texts: Vec<Option<Vec<String>>>,
    places: Vec<Places>,
}

/// The places of texts in their list, found by hash and without a second copy of them: a table with open addresses, at most half full.
#[derive(Debug, Clone)]
struct Places {
    slots: Vec<u32>,
    hasher: RandomState,
}

/// A slot that no text has: lists are shorter.
const FREE: u32 = u32::MAX;

impl Places {
    fn new(texts: &[String]) -> Self {
        let slots = vec![FREE; (texts.len() * 2).next_power_of_two()];
        let mut places = Self { slots, hasher: RandomState::new() };
        for (place, text) in texts.iter().enumerate() {
            let slot = places.slot(texts, text);
            if let Some(slot) = places.slots.get_mut(slot) {
                *slot = place as u32;
            }
        }
        places
    }

    /// The slot of the text, or the free one where it would be.
    fn slot(&self, texts: &[String], text: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(text) as usize & mask;
        while self.text(texts, slot).is_some_and(|known| known != text) {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn text<'t>(&self, texts: &'t [String], slot: usize) -> Option<&'t String> {
        texts.get(*self.slots.get(slot)? as usize)
    }

    fn place(&self, texts: &[String], text: &str) -> Option<u32> {
        self.slots.get(self.slot(texts, text)).copied().filter(|place| *place != FREE)
    }
}

impl Categories {
    pub fn new(texts: Vec<Option<Vec<String>>>) -> Self {
        let places = texts.iter().map(|texts| Places::new(texts.as_deref().unwrap_or_default())).collect();
        Self { texts, places }
    }

    pub fn texts(&self) -> &[Option<Vec<String>>] {
        &self.texts
    }

    /// The texts of a feature; none of one that is no category.
    pub fn of(&self, feature: usize) -> &[String] {
        self.texts.get(feature).and_then(Option::as_deref).unwrap_or_default()
    }

    /// The text's place; of one that was not seen in training the number of all that were.
    fn place(&self, feature: usize, text: &str) -> u32 {
        let texts = self.of(feature);
        match self.places.get(feature) {
            Some(places) => places.place(texts, text).unwrap_or(texts.len() as u32),
            None => MISSING,
        }
    }

    /// In memory, about, with the column of each text that an encoder keeps.
    pub fn bytes(&self) -> usize {
        let of_texts =
            |texts: &Vec<String>| texts.iter().map(|text| text.len() + size_of::<String>() + 4).sum::<usize>();
        let slots = self.places.iter().map(|places| places.slots.len() * 4).sum::<usize>();
        self.texts.iter().flatten().map(of_texts).sum::<usize>() + slots
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_at_their_places_and_held_once() {
        let texts: Vec<String> = (0..10_000).map(|number| format!("text {number}")).collect();
        let categories = Categories::new(vec![None, Some(texts.clone()), Some(Vec::new())]);
        assert!(texts.iter().enumerate().all(|(place, text)| categories.place(1, text) == place as u32));
        assert_eq!(
            [categories.place(1, "text"), categories.place(2, "text"), categories.place(3, "text")],
            [10_000, 0, MISSING]
        );
        let own: usize = texts.iter().map(|text| text.len() + size_of::<String>()).sum();
        assert!((own + 8 * 10_000..own + 24 * 10_000).contains(&categories.bytes()), "{}", categories.bytes());
    }
}
