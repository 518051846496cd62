//! Learning the encoder: two passes over each column.

use std::sync::OnceLock;

use super::design::check_rows;
use super::{Column, Encoder, EncoderOptions, Encoding, Features, Kind, Levels, MISSING};
use crate::models::refusal::Refusal;
use crate::models::watch::Watch;

impl Encoder {
    /// Learns means, deviations and levels. `names` has one name a column; `weights`, one finite, non-negative number a row.
    ///
    /// The deviation is that of the column with missing numbers replaced by the mean (as scikit-learn's imputer followed by its scaler).
    /// Columns with one value are dropped where numbers are centred. Errors: no rows, an infinite value, no column left, more columns than allowed.
    pub fn fit(
        features: &Features<'_>,
        names: &[String],
        weights: Option<&[f64]>,
        options: &EncoderOptions,
        watch: &dyn Watch,
    ) -> Result<Self, Refusal> {
        if features.rows == 0 {
            return Err(Refusal::NoRows);
        }
        if names.len() != features.columns.len() {
            return Err(Refusal::Mismatch(format!("{} names of columns", features.columns.len())));
        }
        for (name, column) in names.iter().zip(&features.columns) {
            check_rows(column.len(), features.rows, name)?;
        }
        let mut encoder = Self { features: Vec::with_capacity(names.len()), columns_of: OnceLock::new() };
        let mut width = 0;
        for (name, column) in names.iter().zip(&features.columns) {
            watch.check()?;
            let kind = match *column {
                Column::Numeric(values) => {
                    numeric(values, weights, options).ok_or_else(|| Refusal::Infinite { column: name.clone() })?
                }
                Column::Category { codes, texts } => category(codes, texts, weights, options),
                Column::Bound { .. } => return Err(Refusal::Mismatch(format!("the texts of feature \"{name}\""))),
            };
            let encoding = Encoding { name: name.clone(), kind };
            width += encoding.dense() + encoding.hot();
            encoder.features.push(encoding);
        }
        if width > options.columns_max {
            return Err(Refusal::TooManyColumns { columns: width, limit: options.columns_max });
        }
        if width == 0 { Err(Refusal::NoFeatures) } else { Ok(encoder) }
    }
}

fn weight(weights: Option<&[f64]>, row: usize) -> f64 {
    weights.map_or(1.0, |weights| weights[row])
}

/// `None` when a value is infinite or too large.
fn numeric(values: &[f64], weights: Option<&[f64]>, options: &EncoderOptions) -> Option<Kind> {
    let (mut known, mut all, mut sum) = (0.0, 0.0, 0.0);
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut missing = false;
    for (row, value) in values.iter().enumerate() {
        let weight = weight(weights, row);
        all += weight;
        if value.is_nan() {
            missing = true;
        } else {
            // Rows without weight count for nothing, but what they hold must be usable.
            (low, high) = (low.min(*value), high.max(*value));
            known += weight;
            sum += weight * value;
        }
    }
    if low == f64::NEG_INFINITY || high == f64::INFINITY {
        return None;
    }
    if known == 0.0 {
        return Some(Kind::Dropped { numeric: true, only_missing: true });
    }
    let mean = sum / known;
    let (mut squares, mut rest) = (0.0, 0.0);
    for (row, value) in values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
        let away = value - mean;
        squares += weight(weights, row) * away * away;
        rest += weight(weights, row) * away;
    }
    // The second pass corrects the rounding of the first.
    let mean = mean + rest / known;
    let variance = (squares - rest * rest / known) / all;
    if !(mean.is_finite() && variance.is_finite()) {
        return None;
    }
    let indicator = options.indicators && missing;
    // What rounding alone makes of a constant column (the bound of scikit-learn's scaler).
    let noise = 10.0 * f64::EPSILON * mean.abs();
    let constant = low == high || variance.max(0.0).sqrt() <= noise;
    let says_nothing = options.centre || mean == 0.0;
    if constant && !indicator && says_nothing {
        return Some(Kind::Dropped { numeric: true, only_missing: false });
    }
    let scale = match (constant, options.scale) {
        (true, _) if !says_nothing => mean.abs(),
        (false, true) => variance.sqrt(),
        _ => 1.0,
    };
    if scale == 0.0 || !(1.0 / scale).is_finite() {
        return Some(Kind::Dropped { numeric: true, only_missing: false });
    }
    Some(Kind::Numeric { mean, shift: if options.centre { mean } else { 0.0 }, scale, indicator })
}

fn category(codes: &[u32], texts: &[String], weights: Option<&[f64]>, options: &EncoderOptions) -> Kind {
    let mut counts = vec![0.0; texts.len()];
    let mut missing = false;
    for (row, code) in codes.iter().enumerate() {
        let weight = weight(weights, row);
        match counts.get_mut(*code as usize) {
            Some(count) => *count += weight,
            None => missing |= weight > 0.0,
        }
    }
    let mut levels: Vec<(f64, &String)> = counts.into_iter().zip(texts).filter(|(count, _)| *count > 0.0).collect();
    if levels.is_empty() {
        return Kind::Dropped { numeric: false, only_missing: true };
    }
    if levels.len() == 1 && !missing && options.centre {
        return Kind::Dropped { numeric: false, only_missing: false };
    }
    levels.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let other = levels.len() > options.categories_max.max(1);
    levels.truncate(options.categories_max.max(1));
    let texts = levels.into_iter().map(|(_, text)| text.clone()).collect();
    Kind::Category(Levels { texts, other, missing, reference: options.reference })
}

/// Checks labels or weights before any work: finite, and for weights not negative.
pub(in crate::models) fn check_weights(weights: Option<&[f64]>, rows: usize) -> Result<(), Refusal> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != rows {
        return Err(Refusal::Mismatch(format!("{rows} weights")));
    }
    if let Some(row) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        return Err(Refusal::BadWeight { row });
    }
    if weights.iter().all(|weight| *weight == 0.0) { Err(Refusal::NoRows) } else { Ok(()) }
}

/// Whether `code` stands for a missing category.
pub(super) fn is_missing(code: u32) -> bool {
    code == MISSING
}
