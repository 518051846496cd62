//! Metrics of predictions by name, as artifacts keep them and ML.EVALUATE tells them.

use std::collections::BTreeMap;

use super::header::{Evaluation, RocPoint};
use super::kind::Task;
use super::metrics::{Classification, Regression};

/// Rows whose scores are kept exactly.
pub const ROWS_KEPT_MAX: usize = super::metrics::EXACT_ROWS_MAX;
/// Points of a ROC curve that are kept.
const ROC_POINTS_MAX: usize = 500;

/// The names of a classifier's metrics.
pub const OF_CLASSES: &[&str] =
    &["accuracy", "precision", "recall", "f1_score", "log_loss", "roc_auc", "average_precision", "brier_score"];
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

pub type Metrics = BTreeMap<String, f64>;

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
    let roc = if two {
        found.ranking(0).map(|ranking| ranking.ranked().roc_curve(ROC_POINTS_MAX)).unwrap_or_default()
    } else {
        Vec::new()
    };
    let roc = roc.iter().map(|point| RocPoint {
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

/// What is gathered of a model's answers, row by row.
#[derive(Debug, Clone)]
pub enum Gathering {
    Classes {
        found: Classification,
        two: bool,
    },
    Numbers(Regression),
    /// Squares of distances to the nearest centroid, and rows.
    Distances(f64, u64),
    Nothing,
}

/// What was true of a row.
#[derive(Debug, Clone, Copy)]
pub enum Truth {
    /// The class's place.
    Class(usize),
    Number(f64),
    None,
}

impl Gathering {
    pub fn new(task: Task, classes: usize, positive: Option<usize>) -> Self {
        match task {
            Task::Classification => {
                Self::Classes { found: Classification::new(classes, positive.unwrap_or(0)), two: positive.is_some() }
            }
            Task::Regression | Task::Forecast => Self::Numbers(Regression::default()),
            Task::Clustering => Self::Distances(0.0, 0),
            Task::Components | Task::Anomalies => Self::Nothing,
        }
    }

    /// The most bytes that so many rows take, as far as it can be told.
    pub fn bytes_max(&self, rows: usize) -> usize {
        match self {
            Self::Classes { found, .. } => found.bytes_max(rows),
            Self::Numbers(found) => found.bytes_max(rows),
            Self::Distances(..) | Self::Nothing => 0,
        }
    }

    pub fn add(&mut self, truth: Truth, scores: &[f64], weight: f64) {
        match (self, truth) {
            (Self::Classes { found, .. }, Truth::Class(class)) => found.add(class, scores, weight),
            (Self::Numbers(found), Truth::Number(number)) => {
                // A forecast has none of series and times that it does not know.
                if let Some(score) = scores.first().filter(|score| number.is_finite() && !score.is_nan()) {
                    found.add(number, *score, weight);
                }
            }
            (Self::Distances(squares, rows), _) => {
                if let Some(nearest) = scores.iter().copied().reduce(f64::min) {
                    *squares += nearest * nearest;
                    *rows += 1;
                }
            }
            _ => {}
        }
    }

    pub fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Classes { found, .. }, Self::Classes { found: other, .. }) => found.merge(other),
            (Self::Numbers(found), Self::Numbers(other)) => found.merge(other),
            (Self::Distances(squares, rows), Self::Distances(more, others)) => {
                *squares += more;
                *rows += others;
            }
            _ => {}
        }
    }

    pub fn finish(&self) -> (Metrics, Evaluation) {
        match self {
            Self::Classes { found, two } => of_classes(found, *two),
            Self::Numbers(found) => (of_numbers(found), Evaluation::default()),
            Self::Distances(squares, rows) if *rows > 0 => {
                let mean = ("mean_squared_distance".to_owned(), squares / *rows as f64);
                (Metrics::from([mean]), Evaluation::default())
            }
            Self::Distances(..) | Self::Nothing => Default::default(),
        }
    }
}

/// The metrics that a model of a kind has, where it is asked about rows.
pub fn names(task: Task) -> &'static [&'static str] {
    match task {
        Task::Classification => OF_CLASSES,
        Task::Regression | Task::Forecast => OF_NUMBERS,
        Task::Clustering => &["mean_squared_distance"],
        Task::Components | Task::Anomalies => &[],
    }
}
