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

pub use model::KMeans;

use crate::models::encoder::EncoderOptions;
use crate::models::refusal::Refusal;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KMeansOptions {
    pub clusters: usize,
    /// Numbers are divided by their standard deviations.
    pub standardize: bool,
    /// A start is rows drawn by chance alone, not k-means++.
    pub by_chance: bool,
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
            by_chance: false,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::encoder::{Column, Features};
    use crate::models::watch::{Stopped, Unwatched, Watch};

    const X: [f64; 8] = [1.0, 1.2, 0.8, 1.1, 8.0, 8.3, 7.7, 8.1];
    const Y: [f64; 8] = [2.0, 2.2, 1.9, 2.1, 2.0, -5.0, 2.1, -5.2];

    fn fit(features: &Features<'_>, options: &KMeansOptions) -> Result<KMeans, Refusal> {
        let names: Vec<String> = (0..features.columns.len()).map(|index| format!("x{index}")).collect();
        let model = KMeans::fit(features, &names, None, options, &Unwatched)?;
        model.validate()?;
        Ok(model)
    }

    #[test]
    fn finds_the_groups_and_measures_them_as_scikit_learn() {
        let features = Features { rows: 8, columns: vec![Column::Numeric(&X), Column::Numeric(&Y)] };
        let options = KMeansOptions { clusters: 3, ..KMeansOptions::default() };
        let model = fit(&features, &options).unwrap();
        let clusters: Vec<usize> = model.assign(&features).unwrap().iter().map(|row| row.cluster).collect();
        let same = |a: usize, b: usize| clusters[a] == clusters[b];
        assert!(same(0, 3) && same(4, 6) && same(5, 7) && !same(0, 4) && !same(4, 5), "{clusters:?}");
        let metrics = model.metrics.clone().unwrap();
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        close(model.inertia, 0.020_230_842_405_7);
        close(metrics.silhouette.unwrap(), 0.957_791_293_618_9);
        close(metrics.davies_bouldin.unwrap(), 0.045_114_879_481_3);
        assert_eq!(model, fit(&features, &KMeansOptions { threads: 3, ..options }).unwrap());
    }

    #[test]
    fn starts_by_chance_are_different_rows_and_end_when_told() {
        let columns: Vec<f64> = (0..3000).map(|row| f64::from(row % 600)).collect();
        let features = Features { rows: 3000, columns: vec![Column::Numeric(&columns)] };
        let options = KMeansOptions { clusters: 500, by_chance: true, restarts: 1, ..KMeansOptions::default() };
        let model = fit(&features, &options).unwrap();
        assert_eq!((model.centroids.len(), model.notes.len()), (500, 0));
        let bytes = KMeans::training_bytes(3000, 1, &options);
        assert!((3000 * 24 + 3 * 500 * 8..1 << 20).contains(&bytes), "{bytes}");

        /// Lets the encoder, the variance and some of the drawing pass.
        struct Later(std::sync::atomic::AtomicUsize);
        impl Watch for Later {
            fn check(&self) -> Result<(), Stopped> {
                let asked = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if asked < 100 { Ok(()) } else { Err(Stopped) }
            }
            fn progress(&self, _done: usize, _total: usize, _loss: Option<f64>) {
                panic!("no start has come to its end");
            }
        }
        let watch = Later(0.into());
        let stopped = KMeans::fit(&features, &["x0".to_owned()], None, &options, &watch);
        assert_eq!((stopped, watch.0.into_inner()), (Err(Refusal::Stopped), 101));
    }

    #[test]
    fn starts_by_chance_find_the_rows_that_differ_among_many_equal_ones() {
        let columns: Vec<f64> = (0..5000).map(|row| if row % 500 == 7 { f64::from(row) } else { 0.0 }).collect();
        let features = Features { rows: 5000, columns: vec![Column::Numeric(&columns)] };
        for (clusters, notes) in [(11, 0), (12, 1)] {
            let options = KMeansOptions { clusters, by_chance: true, restarts: 1, ..KMeansOptions::default() };
            let model = fit(&features, &options).unwrap();
            assert_eq!((model.centroids.len(), model.notes.len()), (11, notes), "{:?}", model.notes);
        }
    }

    #[test]
    fn small_distances_are_distances() {
        // By a power of two, which rounds nothing.
        let small: Vec<f64> = X.iter().map(|x| x * 0.5_f64.powi(50)).collect();
        let options = KMeansOptions { clusters: 4, standardize: false, ..KMeansOptions::default() };
        let [usual, small] = [X.as_slice(), small.as_slice()].map(|columns| {
            let features = Features { rows: 8, columns: vec![Column::Numeric(columns)] };
            let model = fit(&features, &options).unwrap();
            assert_eq!((model.centroids.len(), model.notes.len()), (4, 0), "{:?}", model.notes);
            model.assign(&features).unwrap().iter().map(|row| row.cluster).collect::<Vec<_>>()
        });
        assert_eq!(usual, small);
    }

    #[test]
    fn an_evaluation_asks_for_each_cluster_and_row() {
        /// Counts the questions since the last start.
        struct Since(std::sync::atomic::AtomicUsize);
        impl Watch for Since {
            fn check(&self) -> Result<(), Stopped> {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(())
            }
            fn progress(&self, _done: usize, _total: usize, _loss: Option<f64>) {
                self.0.store(0, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let features = Features { rows: 8, columns: vec![Column::Numeric(&X), Column::Numeric(&Y)] };
        let names = ["x0".to_owned(), "x1".to_owned()];
        let watch = Since(0.into());
        let options = KMeansOptions { clusters: 3, ..KMeansOptions::default() };
        KMeans::fit(&features, &names, None, &options, &watch).unwrap();
        // A pass over a block of rows, three clusters, and eight rows twice.
        assert_eq!(watch.0.into_inner(), 1 + 3 + 8 + 8);
    }

    #[test]
    fn equal_rows_make_fewer_clusters() {
        let columns = [1.0, 1.0, 2.0, 2.0];
        let features = Features { rows: 4, columns: vec![Column::Numeric(&columns)] };
        let model = fit(&features, &KMeansOptions { clusters: 3, ..KMeansOptions::default() }).unwrap();
        assert_eq!((model.centroids.len(), model.notes.len()), (2, 1));
        let refused = fit(&features, &KMeansOptions { clusters: 5, ..KMeansOptions::default() });
        assert_eq!(refused.unwrap_err(), Refusal::TooFewRows { rows: 4, needed: 5 });
    }
}
