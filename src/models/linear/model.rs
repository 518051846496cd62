//! The linear model: prediction, weights, and the statistics of least squares.

use serde::{Deserialize, Serialize};

use super::LinearOptions;
use super::least_squares::Parts;
use crate::models::algebra::cholesky::Cholesky;
use crate::models::algebra::dot;
use crate::models::algebra::special::student_p;
use crate::models::encoder::{EncodedColumn, Encoder, Features};
use crate::models::refusal::{Refusal, finite, sound};
use crate::models::watch::Watch;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearModel {
    pub encoder: Encoder,
    /// The prediction where all encoded columns are 0.
    pub intercept: f64,
    pub has_intercept: bool,
    /// Of the encoded (standardised) columns.
    pub coefficients: Vec<f64>,
    /// Of the encoded columns, over the rows of training.
    pub means: Vec<f64>,
    /// Columns that follow from earlier ones.
    pub dropped: Vec<bool>,
    /// Without penalties, and with more rows than columns.
    pub statistics: Option<Statistics>,
    /// The mean squared error of the training rows.
    pub loss: f64,
    pub iterations: usize,
    pub converged: bool,
    pub notes: Vec<String>,
}

/// What ordinary least squares says about its coefficients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Rows with a positive weight.
    pub rows: usize,
    /// Rows less coefficients.
    pub freedom: usize,
    /// Σw r² / freedom.
    pub residual_variance: f64,
    /// Of the label's variance, or without an intercept of its square.
    pub r_squared: f64,
    pub adjusted_r_squared: f64,
    /// Of the intercept for features as they are.
    pub intercept_error: Option<f64>,
    /// Of each encoded column, for the feature as it is; NaN for dropped columns is kept as `None`.
    pub errors: Vec<Option<f64>>,
}

/// One row of `ML.WEIGHTS`.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// `None` for the intercept.
    pub column: Option<EncodedColumn>,
    /// Change of the prediction for one unit of the feature as it is; for the intercept, the prediction where all features are 0.
    pub weight: f64,
    /// Change of the prediction for one standard deviation.
    pub standardized: f64,
    pub error: Option<f64>,
    pub t: Option<f64>,
    /// Of "the weight is 0", two-sided.
    pub p: Option<f64>,
}

impl Statistics {
    /// `None` when there are not more rows than coefficients.
    pub(super) fn new(
        encoder: &Encoder,
        rows: usize,
        parts: &Parts<'_>,
        cholesky: &Cholesky,
        options: &LinearOptions,
        watch: &dyn Watch,
    ) -> Result<Option<Self>, Refusal> {
        let kept = cholesky.kept();
        let intercept = usize::from(options.intercept);
        let coefficients = kept.iter().filter(|kept| **kept).count() + intercept;
        let Some(freedom) = rows.checked_sub(coefficients).filter(|freedom| *freedom > 0) else { return Ok(None) };
        let variance = parts.squares / freedom as f64;
        let (scales, shifts) = encoder.scales();
        let inverse = cholesky.inverse_diagonal(watch)?;
        let error = |j: usize| kept[j].then(|| (variance * inverse[j]).sqrt() / scales[j]);
        // The intercept of the features as they are is the fit at this point of the encoded space.
        let origin: Vec<f64> = (0..kept.len()).map(|j| parts.means[j] + shifts[j] / scales[j]).collect();
        let spread = cholesky.forward(&origin);
        let r_squared = if parts.label > 0.0 { 1.0 - parts.squares / parts.label } else { 0.0 };
        Ok(Some(Self {
            rows,
            freedom,
            residual_variance: variance,
            r_squared,
            adjusted_r_squared: 1.0 - (1.0 - r_squared) * (rows - intercept) as f64 / freedom as f64,
            intercept_error: options
                .intercept
                .then(|| (variance * (1.0 / parts.weight + dot(&spread, &spread))).sqrt()),
            errors: (0..kept.len()).map(error).collect(),
        }))
    }
}

impl LinearModel {
    /// The predictions of the rows, in order. Errors: other columns than in training, an infinite value.
    pub fn predict(&self, features: &Features<'_>) -> Result<Vec<f64>, Refusal> {
        let mut sums = vec![self.intercept; features.rows];
        self.encoder.bind(features)?.add_products(0..features.rows, &self.coefficients, &mut sums);
        Ok(sums)
    }

    /// What is predicted where all encoded columns have their means, and what each feature adds to it: rows × features. Errors: other
    /// columns than in training, an infinite value.
    pub fn explain(&self, features: &Features<'_>) -> Result<(f64, Vec<f64>), Refusal> {
        let (of_columns, count) = (self.encoder.feature_of_columns(), self.encoder.features().len());
        let parts = self.encoder.bind(features)?.contributions(&self.coefficients, &self.means, &of_columns, count);
        Ok((self.intercept + dot(&self.coefficients, &self.means), parts))
    }

    /// The intercept (if there is one), then each encoded column.
    pub fn weights(&self) -> Vec<Weight> {
        let (scales, shifts) = self.encoder.scales();
        let away: f64 = (0..scales.len()).map(|j| self.coefficients[j] * shifts[j] / scales[j]).sum();
        let statistics = self.statistics.as_ref();
        let freedom = statistics.map_or(0.0, |statistics| statistics.freedom as f64);
        let weigh = |column, weight: f64, standardized, error: Option<f64>| {
            let t = error.map(|error| if error > 0.0 { weight / error } else { f64::INFINITY.copysign(weight) });
            Weight { column, weight, standardized, error, t, p: t.map(|t| student_p(t, freedom)) }
        };
        let first = self.has_intercept.then(|| {
            let error = statistics.and_then(|statistics| statistics.intercept_error);
            weigh(None, self.intercept - away, self.intercept, error)
        });
        let rest = self.encoder.columns().into_iter().enumerate().map(|(j, column)| {
            let error = statistics.and_then(|statistics| statistics.errors.get(j).copied().flatten());
            weigh(Some(column), self.coefficients[j] / scales[j], self.coefficients[j], error)
        });
        first.into_iter().chain(rest).collect()
    }

    /// `Damaged` when the parts do not fit together.
    pub fn validate(&self) -> Result<(), Refusal> {
        self.encoder.validate()?;
        let width = self.encoder.width();
        sound(self.coefficients.len() == width && self.dropped.len() == width, "the number of coefficients")?;
        sound(self.means.len() == width, "the number of means")?;
        finite(&self.means, "a mean")?;
        finite(&self.coefficients, "a coefficient")?;
        finite(&[self.intercept, self.loss], "the intercept")?;
        let errors = self.statistics.as_ref().map_or(width, |statistics| statistics.errors.len());
        sound(errors == width, "the number of standard errors")
    }
}
