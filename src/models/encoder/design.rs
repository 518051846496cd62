//! An encoder bound to rows: fills blocks of encoded rows, or multiplies by coefficients without encoding.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::fit::is_missing;
use super::{Block, Column, Encoder, Features, Kind, Levels, NONE};
use crate::models::refusal::Refusal;

/// The encoded rows of some features, made when they are asked for.
pub struct Design<'a> {
    rows: usize,
    dense: Vec<Dense<'a>>,
    hot: Vec<Hot<'a>>,
    width: usize,
}

/// A dense column: the value, or the indicator of its missing values.
struct Dense<'a> {
    values: &'a [f64],
    /// What a missing value is encoded as.
    missing: f64,
    shift: f64,
    /// 1 / scale; `None` for an indicator.
    factor: Option<f64>,
}

struct Hot<'a> {
    codes: &'a [u32],
    /// The encoded column of each code, or [`NONE`].
    columns: Cow<'a, [u32]>,
    missing: u32,
}

impl Encoder {
    /// Binds the encoder to rows with the columns of the training, in their order. Texts are matched with the levels by value, so the
    /// codes may be others than in training. Errors: other columns, an infinite value.
    pub fn bind<'a>(&self, features: &Features<'a>) -> Result<Design<'a>, Refusal> {
        if features.columns.len() != self.features.len() {
            return Err(Refusal::Mismatch(format!("{} features", self.features.len())));
        }
        let mut design = Design { rows: features.rows, dense: Vec::new(), hot: Vec::new(), width: self.width() };
        let mut next = self.dense();
        for (encoding, column) in self.features.iter().zip(&features.columns) {
            match (&encoding.kind, *column) {
                (Kind::Numeric { mean, shift, scale, indicator }, Column::Numeric(values)) => {
                    if values.iter().any(|value| value.is_infinite()) {
                        return Err(Refusal::Infinite { column: encoding.name.clone() });
                    }
                    let (shift, missing) = (*shift, (mean - shift) / scale);
                    check_rows(values.len(), features.rows, &encoding.name)?;
                    design.dense.push(Dense { values, missing, shift, factor: Some(1.0 / scale) });
                    if *indicator {
                        design.dense.push(Dense { values, missing: 1.0, shift: 0.0, factor: None });
                    }
                }
                (Kind::Category(levels), Column::Category { codes, texts }) => {
                    check_rows(codes.len(), features.rows, &encoding.name)?;
                    let slots = Slots { levels, first: next };
                    design.hot.push(Hot { codes, columns: slots.of(texts).into(), missing: slots.missing() });
                    next += levels.width();
                }
                (Kind::Category(levels), Column::Bound { codes, columns }) => {
                    check_rows(codes.len(), features.rows, &encoding.name)?;
                    let missing = Slots { levels, first: next }.missing();
                    design.hot.push(Hot { codes, columns: columns.into(), missing });
                    next += levels.width();
                }
                (Kind::Dropped { numeric: true, .. }, Column::Numeric(_))
                | (Kind::Dropped { numeric: false, .. }, Column::Category { .. } | Column::Bound { .. }) => {}
                (Kind::Numeric { .. } | Kind::Dropped { .. }, Column::Category { .. } | Column::Bound { .. }) => {
                    return Err(Refusal::Mismatch(format!("numbers in feature \"{}\"", encoding.name)));
                }
                (Kind::Category(_) | Kind::Dropped { .. }, Column::Numeric(_)) => {
                    return Err(Refusal::Mismatch(format!("texts in feature \"{}\"", encoding.name)));
                }
            }
        }
        Ok(design)
    }

    /// Of each feature the encoded column of each of its texts, or [`NONE`], and after them that of all other texts: what
    /// [`Column::Bound`] is made of. A model's texts may be many more than its levels, so they are matched once, at the first call: `texts`
    /// are to be the same for each.
    pub fn columns_of<'t>(&self, texts: impl Fn(usize) -> &'t [String]) -> &[Vec<u32>] {
        self.columns_of.get_or_init(|| {
            let mut next = self.dense();
            let columns = self.features.iter().enumerate().map(|(at, encoding)| {
                let Kind::Category(levels) = &encoding.kind else { return Vec::new() };
                let slots = Slots { levels, first: next };
                next += levels.width();
                let mut columns = slots.of(texts(at));
                columns.push(slots.other());
                columns
            });
            columns.collect()
        })
    }
}

pub(super) fn check_rows(found: usize, rows: usize, name: &str) -> Result<(), Refusal> {
    if found == rows { Ok(()) } else { Err(Refusal::Mismatch(format!("{rows} rows in feature \"{name}\""))) }
}

/// The encoded columns of a category's slots, from the first one on.
struct Slots<'a> {
    levels: &'a Levels,
    first: usize,
}

impl Slots<'_> {
    /// A slot's column; the reference has none.
    fn column(&self, slot: usize) -> u32 {
        match slot.checked_sub(usize::from(self.levels.reference)) {
            Some(place) => u32::try_from(self.first + place).unwrap_or(NONE),
            None => NONE,
        }
    }

    fn other(&self) -> u32 {
        if self.levels.other { self.column(self.levels.texts.len()) } else { NONE }
    }

    fn missing(&self) -> u32 {
        let slot = self.levels.texts.len() + usize::from(self.levels.other);
        if self.levels.missing { self.column(slot) } else { NONE }
    }

    /// The column of each text.
    fn of(&self, texts: &[String]) -> Vec<u32> {
        let slots: HashMap<&str, usize> =
            self.levels.texts.iter().enumerate().map(|(slot, text)| (text.as_str(), slot)).collect();
        let other = self.other();
        texts.iter().map(|text| slots.get(text.as_str()).map_or(other, |slot| self.column(*slot))).collect()
    }
}

impl Hot<'_> {
    fn column(&self, code: u32) -> u32 {
        match self.columns.get(code as usize) {
            Some(column) if !is_missing(code) => *column,
            _ => self.missing,
        }
    }
}

impl Dense<'_> {
    fn encode(&self, value: f64) -> f64 {
        match self.factor {
            _ if value.is_nan() => self.missing,
            Some(factor) => (value - self.shift) * factor,
            None => 0.0,
        }
    }
}

impl Design<'_> {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of encoded columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of dense columns among them: the first.
    pub fn dense(&self) -> usize {
        self.dense.len()
    }

    /// An empty block of the right size for [`Design::fill`].
    pub fn block(&self) -> Block {
        Block::new(self.dense.len(), self.hot.len(), self.width)
    }

    /// Encodes rows `range`, at most as many as the block holds, into `block`.
    pub fn fill(&self, range: Range<usize>, block: &mut Block) {
        block.resize(range.len());
        for (index, column) in self.dense.iter().enumerate() {
            block.set_dense(index, column.values[range.clone()].iter().map(|value| column.encode(*value)));
        }
        for (index, column) in self.hot.iter().enumerate() {
            block.set_hot(index, column.codes[range.clone()].iter().map(|code| column.column(*code)));
        }
    }

    /// What each of so many features adds to `coefficients · (row - means)`: rows × features. `features`: that of each encoded column.
    pub fn contributions(&self, coefficients: &[f64], means: &[f64], features: &[usize], count: usize) -> Vec<f64> {
        let part = |column: usize| {
            (coefficients.get(column).copied().unwrap_or(0.0), means.get(column).copied().unwrap_or(0.0))
        };
        let mut usual = vec![0.0; count];
        for (column, feature) in features.iter().enumerate() {
            let (coefficient, mean) = part(column);
            if let Some(usual) = usual.get_mut(*feature) {
                *usual += coefficient * mean;
            }
        }
        let mut all = Vec::with_capacity(self.rows * count);
        (0..self.rows).for_each(|_| all.extend(usual.iter().map(|usual| -usual)));
        for (at, column) in self.dense.iter().enumerate() {
            let places = all.iter_mut().skip(features.get(at).copied().unwrap_or(usize::MAX)).step_by(count.max(1));
            let coefficient = part(at).0;
            places.zip(column.values).for_each(|(place, value)| *place += column.encode(*value) * coefficient);
        }
        for column in &self.hot {
            for (row, code) in column.codes.iter().enumerate() {
                let at = column.column(*code) as usize;
                if let Some(place) = features.get(at).and_then(|feature| all.get_mut(row * count + feature)) {
                    *place += part(at).0;
                }
            }
        }
        all
    }

    /// Adds `coefficients · row` of each of the rows `range` to `sums`, column by column: the cheap way to predict.
    pub fn add_products(&self, range: Range<usize>, coefficients: &[f64], sums: &mut [f64]) {
        for (column, coefficient) in self.dense.iter().zip(coefficients) {
            let values = column.values[range.clone()].iter();
            // A number's own loop has no branch, so that it runs in lanes.
            if let Some(factor) = column.factor {
                let (slope, missing) = (factor * coefficient, column.missing * coefficient);
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += if value.is_nan() { missing } else { (value - column.shift) * slope };
                }
            } else {
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += if value.is_nan() { *coefficient } else { 0.0 };
                }
            }
        }
        for column in &self.hot {
            for (sum, code) in sums.iter_mut().zip(&column.codes[range.clone()]) {
                *sum += coefficients.get(column.column(*code) as usize).copied().unwrap_or(0.0);
            }
        }
    }
}
