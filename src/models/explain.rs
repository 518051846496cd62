//! Why a model predicts what it does: what each feature adds to each prediction.
//!
//! Of trees these are SHAP values, of linear models weight × (value - mean), which are the SHAP values of independent features. They add up
//! to the prediction before its link (log-odds of a logistic model or boosted trees, a probability of a forest) less the baseline.

use super::inputs::{Categories, Inputs};
use super::learned::{Learned, encoded, refused};
use super::tree::Link;
use super::trees::Trees;
use crate::error::{Error, Result};

/// Steps of the tree kernel's explanation in about 20 ms.
const STEPS: usize = 10_000_000;
/// Rows that are explained together at most, and numbers that are held for them.
const ROWS_MAX: usize = 1_024;
const VALUES_MAX: usize = 1 << 20;

/// A prediction and its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// Of a classifier the place of the class that is predicted, and its probability.
    pub class: Option<(usize, f64)>,
    /// The mean prediction: over the training rows of trees, of the features' means of linear models.
    pub baseline: f64,
    /// Of that class.
    pub prediction: f64,
    /// By feature.
    pub parts: Vec<f64>,
}

impl Learned {
    /// Whether predictions can be explained.
    pub fn explains(&self) -> bool {
        match self {
            Self::Trees(trees) => !matches!(trees.ensemble.link, Link::Isolation { .. }),
            Self::Linear(_) | Self::Logistic(_) => true,
            Self::KMeans(_) | Self::Components(_) | Self::Series(_) => false,
        }
    }

    /// Rows that are explained in some 20 ms.
    pub fn explained_rows(&self) -> usize {
        match self {
            Self::Trees(trees) => {
                let nodes = trees.ensemble.trees.iter().map(|tree| {
                    let depth = tree.len().ilog2() as usize + 1;
                    tree.len() * depth
                });
                let values = trees.ensemble.features.len() * trees.ensemble.outputs as usize;
                (STEPS / nodes.sum::<usize>().max(1)).min(VALUES_MAX / values.max(1)).clamp(1, ROWS_MAX)
            }
            Self::Linear(model) => (VALUES_MAX / model.encoder.features().len().max(1)).clamp(1, ROWS_MAX),
            Self::Logistic(model) => {
                let values = model.encoder.features().len() * model.intercepts.len();
                (VALUES_MAX / values.max(1)).clamp(1, ROWS_MAX)
            }
            Self::KMeans(_) | Self::Components(_) | Self::Series(_) => ROWS_MAX,
        }
    }

    /// The prediction of each row and its parts.
    ///
    /// # Errors
    /// XX000 for inputs that are not the features', and for a model that cannot be explained.
    pub fn explain(&self, inputs: &Inputs, categories: &Categories) -> Result<Vec<Explained>> {
        match self {
            Self::Trees(trees) => of_trees(trees, inputs),
            Self::Linear(model) => {
                let encoded = encoded(inputs, categories, &model.encoder);
                let (baseline, parts) = model.explain(&encoded).map_err(refused)?;
                let predictions = model.predict(&encoded).map_err(refused)?;
                let features = inputs.columns.len().max(1);
                let rows = predictions.into_iter().zip(parts.chunks(features));
                let row = |(prediction, parts): (f64, &[f64])| Explained {
                    class: None,
                    baseline,
                    prediction,
                    parts: parts.to_vec(),
                };
                Ok(rows.map(row).collect())
            }
            Self::Logistic(model) => {
                let features = encoded(inputs, categories, &model.encoder);
                let scores = model.explain(&features).map_err(refused)?;
                let probabilities = model.probabilities(&features).map_err(refused)?;
                let width = inputs.columns.len();
                let explained = probabilities.chunks_exact(model.classes.max(1)).enumerate().map(|(row, classes)| {
                    let output = |output: usize| {
                        let (baseline, parts) = scores.get(output)?;
                        let parts = parts.get(row * width..(row + 1) * width)?;
                        let prediction = baseline + parts.iter().sum::<f64>();
                        Some((*baseline, prediction, parts))
                    };
                    of_class(classes, scores.len(), Link::Logistic, output)
                });
                explained.collect()
            }
            Self::KMeans(_) | Self::Components(_) | Self::Series(_) => {
                Err(Error::internal("a model that cannot be explained"))
            }
        }
    }
}

fn of_trees(trees: &Trees, inputs: &Inputs) -> Result<Vec<Explained>> {
    let explainer = trees.explainer();
    let (sums, values) = trees.explained(&explainer, inputs)?;
    let scores = trees.scores(inputs)?;
    let outputs = trees.ensemble.outputs as usize;
    let features = inputs.columns.len();
    let explained = scores.chunks_exact(trees.width().max(1)).enumerate().map(|(row, scores)| {
        let output = |output: usize| {
            let first = (row * outputs + output) * features;
            let baseline = explainer.expected().get(output)?;
            Some((*baseline, *sums.get(row * outputs + output)?, values.get(first..first + features)?))
        };
        if trees.classes() == 0 {
            let (baseline, prediction, parts) = output(0).ok_or_else(missing)?;
            return Ok(Explained { class: None, baseline, prediction, parts: parts.to_vec() });
        }
        of_class(scores, outputs, trees.ensemble.link, output)
    });
    explained.collect()
}

/// The explanation of the most probable class, as a prediction chooses it. Where two classes have one number, it is the second one's: the
/// first one's is the same with other signs, or of probabilities what is left to 1.
fn of_class<'a>(
    probabilities: &[f64],
    outputs: usize,
    link: Link,
    output: impl Fn(usize) -> Option<(f64, f64, &'a [f64])>,
) -> Result<Explained> {
    let mut class = 0;
    for (place, probability) in probabilities.iter().enumerate() {
        if *probability > probabilities.get(class).copied().unwrap_or(f64::NAN) {
            class = place;
        }
    }
    let probability = probabilities.get(class).copied().unwrap_or(f64::NAN);
    let (baseline, prediction, parts) = output(if outputs == 1 { 0 } else { class }).ok_or_else(missing)?;
    let class_of = Some((class, probability));
    if outputs > 1 || class == 1 {
        return Ok(Explained { class: class_of, baseline, prediction, parts: parts.to_vec() });
    }
    let whole = if link == Link::Identity { 1.0 } else { 0.0 };
    Ok(Explained {
        class: class_of,
        baseline: whole - baseline,
        prediction: whole - prediction,
        parts: parts.iter().map(|part| -part).collect(),
    })
}

fn missing() -> Error {
    Error::internal("an explanation without its output")
}
