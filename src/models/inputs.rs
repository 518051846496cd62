//! Columns of a batch as a model reads them.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;

use arrow::array::{Array as _, ArrayRef, Float64Array};

use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};

use super::artifact::damaged;
use super::dataset::{MISSING, TEXTS_MAX};
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

    /// What the artifact's section of these features says. It is refused where it has more entries than features, before they are built.
    ///
    /// # Errors
    /// XX001 for what cannot be theirs.
    pub fn read(section: &str, features: &[Feature]) -> Result<Self> {
        let wrong = || damaged("the categories");
        let mut json = serde_json::Deserializer::from_str(section);
        let texts = Entries(features).deserialize(&mut json).map_err(|_| wrong())?;
        json.end().map_err(|_| wrong())?;
        let read = Self::new(texts);
        read.check(features)?;
        Ok(read)
    }

    /// # Errors
    /// XX001 unless each feature has its entry: a category its texts, once each, and another feature none.
    pub fn check(&self, features: &[Feature]) -> Result<()> {
        let fits = |(texts, feature): (&Option<Vec<String>>, &Feature)| texts.is_some() == feature.kind.is_category();
        let distinct = |(texts, places): (&Option<Vec<String>>, &Places)| {
            texts.as_ref().is_none_or(|texts| texts.len() == places.slots.iter().filter(|slot| **slot != FREE).count())
        };
        let each = self.texts.len() == features.len() && self.texts.iter().zip(features).all(fits);
        if !each || !self.texts.iter().zip(&self.places).all(distinct) {
            return Err(damaged("the categories"));
        }
        Ok(())
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

/// The list of all features' entries.
struct Entries<'a>(&'a [Feature]);

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = Vec<Option<Vec<String>>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> std::result::Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = Vec<Option<Vec<String>>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an entry for each feature")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> std::result::Result<Self::Value, A::Error> {
        let mut entries = Vec::with_capacity(self.0.len());
        for _ in self.0 {
            let entry = from.next_element_seed(Entry)?;
            entries.push(entry.ok_or_else(|| A::Error::custom("an entry is missing"))?);
        }
        Ok(entries)
    }
}

/// The entry of one feature: null, or its texts.
struct Entry;

impl<'de> DeserializeSeed<'de> for Entry {
    type Value = Option<Vec<String>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> std::result::Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entry {
    type Value = Option<Vec<String>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("null or a list of texts")
    }

    fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> std::result::Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = from.next_element::<String>()? {
            if texts.len() >= TEXTS_MAX {
                return Err(A::Error::custom("more texts than a training takes"));
            }
            texts.push(text);
        }
        Ok(Some(texts))
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

impl Input {
    /// Some of the rows, which are there.
    pub fn part(&self, rows: Range<usize>) -> Self {
        match self {
            Self::Numbers(values) => Self::Numbers(values.slice(rows.start, rows.len())),
            Self::Codes(codes) => Self::Codes(codes.get(rows).unwrap_or_default().to_vec()),
        }
    }
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
                let texts = texts(array, feature.ty())?;
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
    use crate::encode::types::PgType;
    use crate::error::SqlState;

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

    #[test]
    fn a_section_that_is_not_of_the_features_is_refused() {
        let features = [Feature::new("x", PgType::FLOAT8).unwrap(), Feature::new("c", PgType::TEXT).unwrap()];
        let read = Categories::read(r#"[null, ["b", "a"]]"#, &features).unwrap();
        assert_eq!(read.of(1), ["b", "a"]);
        assert_eq!((read.place(1, "a"), read.place(1, "c")), (1, 2));
        let many = format!("[{}null]", "null,".repeat(100_000));
        let wrong = [
            "[]",
            "[null]",
            "[null, null]",
            r#"[["a"], ["b"]]"#,
            r#"[null, ["a", "a"]]"#,
            r#"[null, ["a"], null]"#,
            r#"[null, ["a"]] 1"#,
            r#"[null, ["a", null]]"#,
            r#"[null, "a"]"#,
            "{}",
            &many,
        ];
        for section in wrong {
            assert_eq!(Categories::read(section, &features).unwrap_err().sqlstate(), SqlState::DataCorrupted);
        }
    }
}
