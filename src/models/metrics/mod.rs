//! Evaluation metrics from streams of labels and predictions: accumulators that are added to row by row and merged in a fixed order.
//!
//! The numbers are scikit-learn's. Memory is bounded: rankings (ROC AUC, average precision, curves) and medians are exact up to a number of
//! rows and then go on in fine fixed bins, with a bound of the error beside the value. It does not predict, and it knows no model.

mod classification;
mod quantile;
mod ranking;
mod regression;

pub use classification::Classification;
pub use regression::Regression;

/// Rows of scores that a ranking (all classes together) or a median keeps exactly: 24 bytes each.
pub const EXACT_ROWS_MAX: usize = 4_000_000;
