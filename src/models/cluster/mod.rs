//! K-means over encoded features.
//!
//! ```text
//! features ─ encoder ─ design ─ k-means++ (greedy) ─ Lloyd's rounds, some restarts ─ the least inertia ─> KMeans
//! ```
//!
//! Numbers are standardised or only centred; each level of a category is a column of 0 and 1. One seed gives one model for any number of
//! threads. It does not choose the number of clusters.

mod evaluate;
mod fit;
mod model;
mod start;

pub use evaluate::ClusterMetrics;
pub use model::{Assigned, KMeans};

use crate::models::encoder::EncoderOptions;
use crate::models::refusal::Refusal;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KMeansOptions {
    pub clusters: usize,
    /// Numbers are divided by their standard deviations.
    pub standardize: bool,
    /// Starts, of which the best end is kept.
    pub restarts: usize,
    pub iterations_max: usize,
    /// Rounds end when the squared moves of the centroids sum to at most this share of the columns' mean variance (scikit-learn's `tol`).
    pub tolerance: f64,
    pub seed: u64,
    pub categories_max: usize,
    pub columns_max: usize,
    pub threads: usize,
}

impl Default for KMeansOptions {
    fn default() -> Self {
        let EncoderOptions { categories_max, columns_max, .. } = EncoderOptions::default();
        Self {
            clusters: 8,
            standardize: true,
            restarts: 3,
            iterations_max: 300,
            tolerance: 1e-4,
            seed: 0,
            categories_max,
            columns_max,
            threads: 1,
        }
    }
}

impl KMeansOptions {
    fn check(&self) -> Result<(), Refusal> {
        if self.clusters == 0 || self.clusters > 10_000 {
            return Err(Refusal::option("num_clusters", "must be between 1 and 10000"));
        }
        if !(self.tolerance >= 0.0 && self.tolerance.is_finite()) {
            return Err(Refusal::option("tolerance", "must be a number of at least 0"));
        }
        if self.restarts == 0 {
            return Err(Refusal::option("num_restarts", "must be at least 1"));
        }
        Ok(())
    }

    fn encoder(&self) -> EncoderOptions {
        EncoderOptions {
            centre: true,
            scale: self.standardize,
            indicators: false,
            reference: false,
            categories_max: self.categories_max,
            columns_max: self.columns_max,
        }
    }
}
