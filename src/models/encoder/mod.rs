//! Columns of numbers and categories → the rows of numbers that linear models, k-means and PCA compute with.
//!
//! ```text
//! Features (borrowed columns) ── Encoder::fit ──> Encoder (stored in the model)
//! Features ── Encoder::bind ──> Design ── fill(range) ──> Block of some hundred rows: dense columns and one-hot positions
//! ```
//!
//! Nothing holds all encoded columns of all rows: learners read blocks, and one-hot columns stay positions. It does not read SQL values,
//! split, sample or know labels. Used by `linear`, `cluster` and `components`.

mod block;
mod design;
mod fit;
mod gram;
mod pass;

pub(in crate::models) use block::LANES;
pub use block::{Block, NONE};
pub use design::Design;
pub(in crate::models) use fit::check_weights;
pub use gram::{Gram, Moments};
pub use pass::{Pass, moment_bytes, partial_bytes, weights_of};

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::models::notes::listed;
use crate::models::refusal::{Refusal, sound};

/// The code of a missing category.
pub const MISSING: u32 = u32::MAX;

/// One column of the rows, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum Column<'a> {
    /// NaN is missing.
    Numeric(&'a [f64]),
    /// Indices into `texts`; [`MISSING`] is missing. `texts` may have entries that no row uses.
    Category { codes: &'a [u32], texts: &'a [String] },
    /// The same where the encoded column of each code is known: see [`Encoder::columns_of`].
    Bound { codes: &'a [u32], columns: &'a [u32] },
}

impl Column<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Numeric(values) => values.len(),
            Self::Category { codes, .. } | Self::Bound { codes, .. } => codes.len(),
        }
    }
}

/// Rows by column; all columns have `rows` elements.
#[derive(Clone, Debug)]
pub struct Features<'a> {
    pub rows: usize,
    pub columns: Vec<Column<'a>>,
}

/// How columns are encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderOptions {
    /// Subtract the mean of numbers; without it a missing number still becomes the mean. With it a column of one value says nothing and is
    /// dropped; without it, it may be the constant.
    pub centre: bool,
    /// Divide numbers by their standard deviation (of the population, as scikit-learn's `StandardScaler`).
    pub scale: bool,
    /// A numeric column with missing values gets a second one that is 1 where they are.
    pub indicators: bool,
    /// The first level of a category has no column, so that columns and intercept are not collinear (dummy coding, as in R and BigQuery).
    pub reference: bool,
    /// The most frequent levels that are kept (of equal frequency, the first by text); the rest are one level "other".
    pub categories_max: usize,
    /// More encoded columns than this are refused.
    pub columns_max: usize,
}

impl Default for EncoderOptions {
    fn default() -> Self {
        Self { centre: true, scale: true, indicators: false, reference: false, categories_max: 1000, columns_max: 4096 }
    }
}

/// Means, deviations and levels of the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    features: Vec<Encoding>,
    /// Of each feature, once it was asked for; see [`Encoder::columns_of`].
    #[serde(skip)]
    columns_of: OnceLock<Vec<Vec<u32>>>,
}

/// What becomes of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encoding {
    pub name: String,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// `(x - shift) / scale`; missing is taken for `mean`.
    Numeric {
        mean: f64,
        shift: f64,
        scale: f64,
        indicator: bool,
    },
    Category(Levels),
    /// Without influence: always missing in training, or always the same value where that says nothing.
    Dropped {
        numeric: bool,
        only_missing: bool,
    },
}

/// The slots of a category: its levels, then "other", then "missing". Training rows in no slot do not exist; at prediction an unseen text is
/// "other" if there is such a slot, and a missing one "missing"; what has no slot is all zeros.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Levels {
    /// By frequency in training, then by text.
    pub texts: Vec<String>,
    pub other: bool,
    pub missing: bool,
    /// Whether the first slot has no column.
    pub reference: bool,
}

impl Levels {
    fn width(&self) -> usize {
        self.texts.len() + usize::from(self.other) + usize::from(self.missing) - usize::from(self.reference)
    }
}

/// What an encoded column says about its feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Value,
    /// 1 where the number is missing.
    Indicator,
    Level(String),
    Other,
    Missing,
}

/// An encoded column: the index of its feature, and what it says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedColumn {
    pub feature: usize,
    pub part: Part,
}

impl Encoder {
    pub fn features(&self) -> &[Encoding] {
        &self.features
    }

    /// Whether its categories are the features that have texts here.
    pub fn fits(&self, texts: &[Option<Vec<String>>]) -> bool {
        let fits = |(feature, texts): (&Encoding, &Option<Vec<String>>)| match feature.kind {
            Kind::Numeric { .. } | Kind::Dropped { numeric: true, .. } => texts.is_none(),
            Kind::Category(_) | Kind::Dropped { numeric: false, .. } => texts.is_some(),
        };
        self.features.iter().zip(texts).all(fits)
    }

    /// The number of dense columns: they come first.
    pub fn dense(&self) -> usize {
        self.features.iter().map(Encoding::dense).sum()
    }

    /// The number of encoded columns.
    pub fn width(&self) -> usize {
        self.features.iter().map(|feature| feature.dense() + feature.hot()).sum()
    }

    /// What each encoded column is, in order: numbers and indicators, then the levels, each by feature.
    pub fn columns(&self) -> Vec<EncodedColumn> {
        let each = |hot: bool| {
            let parts = move |feature: &Encoding| if hot { feature.hot_parts() } else { feature.dense_parts() };
            let features = self.features.iter().enumerate();
            features.flat_map(move |(index, feature)| parts(feature).into_iter().map(move |part| (index, part)))
        };
        each(false).chain(each(true)).map(|(feature, part)| EncodedColumn { feature, part }).collect()
    }

    /// The feature of each encoded column.
    pub fn feature_of_columns(&self) -> Vec<usize> {
        let each = |width: fn(&Encoding) -> usize| {
            let features = self.features.iter().enumerate();
            features.flat_map(move |(feature, encoding)| std::iter::repeat_n(feature, width(encoding)))
        };
        each(Encoding::dense).chain(each(Encoding::hot)).collect()
    }

    /// For each encoded column, what an encoded value is multiplied by and added to give the value of the feature: the deviation and the
    /// mean for numbers, 1 and 0 for the rest.
    pub fn scales(&self) -> (Vec<f64>, Vec<f64>) {
        let mut both: (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        for feature in &self.features {
            if let Kind::Numeric { shift, scale, indicator, .. } = feature.kind {
                both.0.push(scale);
                both.1.push(shift);
                if indicator {
                    both.0.push(1.0);
                    both.1.push(0.0);
                }
            }
        }
        both.0.resize(self.width(), 1.0);
        both.1.resize(self.width(), 0.0);
        both
    }

    /// Sentences about features that have no influence: one for those that are always NULL, one for those that never differ.
    pub fn notes(&self) -> Vec<String> {
        let note = |missing: bool, why: &str| {
            let dropped = |feature: &&Encoding| match feature.kind {
                Kind::Dropped { only_missing, .. } => only_missing == missing,
                Kind::Numeric { .. } | Kind::Category(_) => false,
            };
            let names: Vec<&str> = self.features.iter().filter(dropped).map(|feature| feature.name.as_str()).collect();
            (!names.is_empty()).then(|| format!("features that {why} were left out: {}", listed(&names)))
        };
        [note(true, "are always NULL"), note(false, "have one value only")].into_iter().flatten().collect()
    }

    /// `Damaged` when the numbers cannot be those of a fit.
    pub fn validate(&self) -> Result<(), Refusal> {
        for feature in &self.features {
            match &feature.kind {
                Kind::Numeric { mean, shift, scale, indicator: _ } => {
                    let numbers = mean.is_finite() && shift.is_finite() && scale.is_finite() && *scale > 0.0;
                    sound(numbers, "the scale of a feature")?;
                }
                Kind::Category(levels) => {
                    sound(!levels.texts.is_empty() || levels.missing, "a category without levels")?;
                    let mut texts: Vec<&String> = levels.texts.iter().collect();
                    texts.sort_unstable();
                    sound(texts.windows(2).all(|pair| pair[0] != pair[1]), "a level that is there twice")?;
                }
                Kind::Dropped { .. } => {}
            }
        }
        sound(self.width() > 0 && self.width() <= 1 << 20, "the number of encoded columns")
    }
}

impl Encoding {
    fn dense(&self) -> usize {
        match &self.kind {
            Kind::Numeric { indicator, .. } => 1 + usize::from(*indicator),
            Kind::Category(_) | Kind::Dropped { .. } => 0,
        }
    }

    fn hot(&self) -> usize {
        match &self.kind {
            Kind::Category(levels) => levels.width(),
            Kind::Numeric { .. } | Kind::Dropped { .. } => 0,
        }
    }

    fn dense_parts(&self) -> Vec<Part> {
        [Part::Value, Part::Indicator].into_iter().take(self.dense()).collect()
    }

    fn hot_parts(&self) -> Vec<Part> {
        let Kind::Category(levels) = &self.kind else { return Vec::new() };
        let texts = levels.texts.iter().cloned().map(Part::Level);
        let slots = texts.chain(levels.other.then_some(Part::Other)).chain(levels.missing.then_some(Part::Missing));
        slots.skip(usize::from(levels.reference)).collect()
    }
}
