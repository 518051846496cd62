//! Metrics of predictions by name, as artifacts keep them and ML.EVALUATE tells them.

use std::collections::BTreeMap;

use super::header::{Evaluation, RocPoint};
use super::metrics::{Classification, Regression};

/// Points of a ROC curve that are kept.
const ROC_POINTS_MAX: usize = 500;

/// The names of a classifier's metrics.
pub const OF_CLASSES: &[&str] = &[
    "accuracy",
    "precision",
    "recall",
    "f1_score",
    "log_loss",
    "roc_auc",
    "average_precision",
    "brier_score",
];
/// The names of a regression's metrics.
pub const OF_NUMBERS: &[&str] = &[
    "mean_absolute_error",
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_squared_log_error",
    "median_absolute_error",
    "r2_score",
    "explained_variance",
];

/// Metrics where less is better.
pub fn is_loss(metric: &str) -> bool {
    metric == "log_loss" || metric == "brier_score" || metric.ends_with("_error")
}

type Metrics = BTreeMap<String, f64>;

/// Of what was gathered of classes; nothing without rows.
pub fn of_classes(found: &Classification, two: bool) -> (Metrics, Evaluation) {
    let Some(metrics) = found.metrics() else { return (Metrics::new(), Evaluation::default()) };
    let values = [
        Some(metrics.accuracy),
        Some(metrics.precision),
        Some(metrics.recall),
        Some(metrics.f1_score),
        Some(metrics.log_loss),
        metrics.roc_auc.map(|area| area.value),
        metrics.average_precision,
        Some(metrics.brier_score),
    ];
    let confusion = found.confusion().map(<[f64]>::to_vec).collect();
    let roc = if two { found.ranking(0).map(|ranking| ranking.roc_curve()).unwrap_or_default() } else { Vec::new() };
    let step = roc.len().div_ceil(ROC_POINTS_MAX).max(1);
    let last = roc.len().saturating_sub(1);
    let kept = roc.iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last);
    let roc = kept.map(|(_, point)| RocPoint {
        // What is infinite has no place in JSON: nobody's probability is above 1.
        threshold: point.threshold.min(1.0 + f64::EPSILON),
        true_positives: point.true_positives,
        false_positives: point.false_positives,
        true_negatives: point.true_negatives,
        false_negatives: point.false_negatives,
    });
    (named(OF_CLASSES, &values), Evaluation { confusion, roc: roc.collect() })
}

/// Of what was gathered of numbers; nothing without rows.
pub fn of_numbers(found: &Regression) -> Metrics {
    let Some(metrics) = found.metrics() else { return Metrics::new() };
    let values = [
        Some(metrics.mean_absolute_error),
        Some(metrics.mean_squared_error),
        Some(metrics.root_mean_squared_error),
        metrics.mean_squared_log_error,
        metrics.median_absolute_error,
        metrics.r2_score,
        metrics.explained_variance,
    ];
    named(OF_NUMBERS, &values)
}

fn named(names: &[&str], values: &[Option<f64>]) -> Metrics {
    let finite = |value: &Option<f64>| value.filter(|value| value.is_finite());
    let named = names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), finite(value)?)));
    named.collect()
}
