//! How odd rows are: a number for each, and which of them are anomalies.

use super::inputs::{Categories, Inputs};
use super::learned::{Learned, encoded, refused};
use crate::error::{Error, Result};

/// Places in the upper half of the training rows' numbers that a model keeps, so that a share of up to a half can be asked for later.
pub const PLACES: usize = 2_000;

/// How odd a row is, and its cluster (from 0) where there are clusters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Odd {
    /// The distance to the nearest centroid by its cluster's radius, the mean squared error of what components leave, the score of an
    /// isolation forest.
    pub measure: f64,
    pub cluster: Option<usize>,
}

impl Learned {
    /// How odd each row is.
    ///
    /// # Errors
    /// XX000 for inputs that are not the features', and for a model that cannot tell.
    pub fn oddity(&self, inputs: &Inputs, categories: &Categories) -> Result<Vec<Odd>> {
        match self {
            Self::Trees(trees) => {
                Ok(trees.scores(inputs)?.into_iter().map(|measure| Odd { measure, cluster: None }).collect())
            }
            Self::KMeans(model) => {
                let assigned = model.assign(&encoded(inputs, categories, &model.encoder)).map_err(refused)?;
                Ok(assigned.iter().map(|row| Odd { measure: row.normalized, cluster: Some(row.cluster) }).collect())
            }
            Self::Components(model) => {
                let width = model.encoder.width().max(1) as f64;
                let left = model.transform(&encoded(inputs, categories, &model.encoder)).map_err(refused)?.errors;
                Ok(left.into_iter().map(|error| Odd { measure: error / width, cluster: None }).collect())
            }
            Self::Linear(_) | Self::Logistic(_) | Self::Series(_) => Err(Error::internal("a model without anomalies")),
        }
    }
}

/// The measure that this share of ascending ones does not exceed, interpolated between two.
pub fn quantile(ascending: &[f64], share: f64) -> f64 {
    let last = ascending.len().saturating_sub(1);
    let at = share.clamp(0.0, 1.0) * last as f64;
    let below = ascending.get(at.floor() as usize).copied().unwrap_or(f64::NAN);
    let above = ascending.get(at.ceil() as usize).copied().unwrap_or(below);
    below + (above - below) * at.fract()
}

/// What is kept of the training rows' measures: those of the upper half, by places.
pub fn kept(mut measures: Vec<f64>) -> Vec<f64> {
    measures.retain(|measure| measure.is_finite());
    measures.sort_unstable_by(f64::total_cmp);
    if measures.is_empty() {
        return Vec::new();
    }
    (0..=PLACES).map(|place| quantile(&measures, 0.5 + 0.5 * place as f64 / PLACES as f64)).collect()
}

/// The measure above which rows are anomalies, for a threshold that is one of training's measures: sums in another order, of other rows or by
/// another program, differ from it by some 1e-13 of it, and what differs by so little is equal.
pub fn bound(threshold: f64) -> f64 {
    threshold + 1e-11 * threshold.abs()
}

/// Midway between those of ascending measures that a share of all does not exceed and the next greater one, so that neither is near to it.
pub fn between(ascending: &[f64], share: f64) -> f64 {
    let greatest = bound(quantile(ascending, share));
    let normal = ascending.partition_point(|measure| *measure <= greatest);
    let last = normal.checked_sub(1).and_then(|place| ascending.get(place)).copied().unwrap_or(greatest);
    ascending.get(normal).map_or(last, |next| last + (next - last) / 2.0)
}

/// The measure above which this share of the training rows is.
pub fn threshold(kept: &[f64], contamination: f64) -> f64 {
    quantile(kept, 1.0 - 2.0 * contamination)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_rows_is_above_the_threshold() {
        let measures: Vec<f64> = (0..1001).rev().map(f64::from).collect();
        let kept = kept(measures.clone());
        for share in [0.0, 0.01, 0.25, 0.5] {
            let above = measures.iter().filter(|measure| **measure > threshold(&kept, share) + 1e-9).count();
            assert_eq!(above, (1000.0 * share) as usize);
        }
        assert!(threshold(&super::kept(Vec::new()), 0.1).is_nan());
        assert!(between(&[], 0.1).is_nan());
        assert_eq!(quantile(&[7.0], 0.3), 7.0);
    }

    #[test]
    fn equal_measures_are_on_one_side_of_the_threshold() {
        assert!(0.500_000_000_000_000_6 < bound(0.5) && 0.500_001 > bound(0.5));
        let near = 0.4 + 2e-13;
        // Five rows of three kinds; the quantile stands at the second kind, or between it and the third.
        let measures = [0.3, 0.4, 0.4, near, 0.6];
        for share in [0.25, 0.5, 0.75, 0.9] {
            let threshold = between(&measures, share);
            assert!((threshold - 0.5).abs() < 1e-12, "{threshold}");
        }
        assert!((between(&measures, 0.1) - 0.35).abs() < 1e-12);
        assert_eq!(between(&measures, 1.0), 0.6);
    }
}
