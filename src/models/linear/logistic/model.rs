//! The logistic model: probabilities and weights.

use serde::{Deserialize, Serialize};

use super::ABSENT;

use crate::models::algebra::dot;
use crate::models::encoder::{EncodedColumn, Encoder, Features};
use crate::models::refusal::{Refusal, finite, sound};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogisticModel {
    pub encoder: Encoder,
    pub classes: usize,
    pub has_intercept: bool,
    /// One for the second of two classes, else one a class: of the encoded columns.
    pub intercepts: Vec<f64>,
    pub coefficients: Vec<Vec<f64>>,
    /// Of the encoded columns, over the rows of training.
    pub means: Vec<f64>,
    /// The mean training loss with its penalties.
    pub loss: f64,
    pub iterations: usize,
    pub converged: bool,
    /// The features separate the classes, so that the coefficients are arbitrarily large.
    pub separated: bool,
    pub notes: Vec<String>,
}

/// One row of `ML.WEIGHTS`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassWeight {
    /// 1 when there are two classes.
    pub class: usize,
    /// `None` for the intercept.
    pub column: Option<EncodedColumn>,
    /// Change of the score for one unit of the feature as it is; for the intercept, the score where all features are 0.
    pub weight: f64,
    /// Change of the score for one standard deviation.
    pub standardized: f64,
}

impl LogisticModel {
    /// Probabilities, rows × classes, row-major. Errors: other columns than in training, an infinite value.
    pub fn probabilities(&self, features: &Features<'_>) -> Result<Vec<f64>, Refusal> {
        let design = self.encoder.bind(features)?;
        let (rows, classes) = (features.rows, self.classes);
        let mut result = vec![0.0; rows * classes];
        let mut scores = vec![0.0; rows];
        let first = usize::from(classes == 2);
        for (class, (intercept, coefficients)) in self.intercepts.iter().zip(&self.coefficients).enumerate() {
            scores.fill(*intercept);
            design.add_products(0..rows, coefficients, &mut scores);
            let places = result.iter_mut().skip(first + class).step_by(classes);
            places.zip(&scores).for_each(|(place, score)| *place = *score);
        }
        // With two classes the first has the score 0.
        result.chunks_exact_mut(classes.max(1)).for_each(soften);
        Ok(result)
    }

    /// For each score (that of the second of two classes, else one a class): its value where all encoded columns have their means, and what
    /// each feature adds to it, rows × features. Errors: other columns than in training, an infinite value.
    pub fn explain(&self, features: &Features<'_>) -> Result<Vec<(f64, Vec<f64>)>, Refusal> {
        let design = self.encoder.bind(features)?;
        let (of_columns, count) = (self.encoder.feature_of_columns(), self.encoder.features().len());
        let explained = self.intercepts.iter().zip(&self.coefficients).map(|(intercept, coefficients)| {
            let parts = design.contributions(coefficients, &self.means, &of_columns, count);
            (intercept + dot(coefficients, &self.means), parts)
        });
        Ok(explained.collect())
    }

    /// The classes that had no rows.
    pub fn absent(&self) -> impl Iterator<Item = usize> {
        self.intercepts.iter().enumerate().filter(|(_, intercept)| **intercept <= ABSENT).map(|(class, _)| class)
    }

    /// For each class that had rows, the intercept (if there is one), then each encoded column.
    pub fn weights(&self) -> Vec<ClassWeight> {
        let (scales, shifts) = self.encoder.scales();
        let columns = self.encoder.columns();
        let mut weights = Vec::new();
        let each = self.intercepts.iter().zip(&self.coefficients).enumerate();
        for (class, (intercept, coefficients)) in each.filter(|(_, (intercept, _))| **intercept > ABSENT) {
            let class = class + usize::from(self.classes == 2);
            let weigh = |column, weight, standardized| ClassWeight { class, column, weight, standardized };
            let away: f64 = (0..scales.len()).map(|j| coefficients[j] * shifts[j] / scales[j]).sum();
            weights.extend(self.has_intercept.then(|| weigh(None, intercept - away, *intercept)));
            let each = columns.iter().cloned().zip(coefficients).zip(&scales);
            weights.extend(each.map(|((column, value), scale)| weigh(Some(column), value / scale, *value)));
        }
        weights
    }

    /// `Damaged` when the parts do not fit together.
    pub fn validate(&self) -> Result<(), Refusal> {
        self.encoder.validate()?;
        sound(self.classes >= 2, "the number of classes")?;
        let rows = if self.classes == 2 { 1 } else { self.classes };
        sound(self.intercepts.len() == rows && self.coefficients.len() == rows, "the number of classes")?;
        let width = self.encoder.width();
        sound(self.coefficients.iter().all(|row| row.len() == width), "the number of coefficients")?;
        sound(self.means.len() == width, "the number of means")?;
        finite(&self.means, "a mean")?;
        finite(&self.intercepts, "an intercept")?;
        self.coefficients.iter().try_for_each(|row| finite(row, "a coefficient"))
    }
}

/// No score is taken for more, so that the difference of two is a number.
const SCORE_MAX: f64 = f64::MAX / 2.0;

/// Scores to probabilities. A score may have left the numbers; one that did so in both directions says nothing.
fn soften(scores: &mut [f64]) {
    for score in scores.iter_mut() {
        *score = if score.is_nan() { 0.0 } else { score.clamp(-SCORE_MAX, SCORE_MAX) };
    }
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}
