//! The tree learners: random forests, gradient boosting and isolation forests on histograms of one-byte codes, their prediction and
//! their explanation. Standard library only; it knows nothing of SQL, Arrow or files.
//!
//! ```text
//! raw f64 columns ── Bins::encode ──▶ Matrix (u8 codes) ── train_… ──▶ Ensemble (raw thresholds) ──▶ Predictor, explain
//! ```
//!
//! The same data in the same row order, options and seed give the same trees on any machine with any number of threads: random numbers
//! belong to a tree, sums are whole numbers or are taken in a fixed order.

mod bins;
mod boost;
mod codes;
mod control;
mod explain;
mod forest;
mod isolation;
mod matrix;
mod model;
mod predict;
mod raw;
mod rng;
mod team;
mod validate;

pub use bins::{BINS_MAX, Bins, MISSING};
pub use boost::{BoostOptions, Boosted, Losses, Objective, Target, boost_bytes, train_boosting};
pub use control::{Error, Stopped, Unwatched, Watch};
pub use explain::{Explainer, Outline};
pub use forest::{
    FeaturesPerNode, Forest, ForestOptions, forest_bytes, train_forest_classifier, train_forest_regressor,
};
pub use isolation::{IsolationOptions, isolation_bytes, train_isolation};
pub use matrix::Matrix;
pub use model::{Ensemble, Feature, Importance, LEAF, Link, NO_SET, Tree};
pub use predict::Predictor;
pub(crate) use rng::Rng;

/// What every learner asks of its data.
pub(crate) fn check_data(matrix: &Matrix, bins: &[Bins], labels: usize, weights: Option<&[f64]>) -> Result<(), Error> {
    if matrix.rows() == 0 {
        return Err(Error::Invalid("there are no rows to learn from".into()));
    }
    if matrix.features() == 0 || matrix.features() > FEATURES_MAX {
        return Err(Error::Invalid(format!("trees need from 1 to {FEATURES_MAX} features, not {}", matrix.features())));
    }
    if labels != matrix.rows() || weights.is_some_and(|weights| weights.len() != labels) {
        return Err(Error::Invalid("as many labels and weights as rows are needed".into()));
    }
    if let Some(weights) = weights {
        check_weights(weights)?;
    }
    matrix.check(bins)
}

pub(crate) fn check_weights(weights: &[f64]) -> Result<(), Error> {
    if weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0) {
        return Err(Error::Invalid("a weight is negative or not finite".into()));
    }
    if weights.iter().all(|&weight| weight == 0.0) {
        return Err(Error::Invalid("all weights are zero".into()));
    }
    Ok(())
}

/// The most features of a model: a node keeps their number in 16 bits.
pub const FEATURES_MAX: usize = 65_535;

#[cfg(test)]
mod tests;
