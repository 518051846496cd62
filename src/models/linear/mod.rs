//! Linear and logistic regression over encoded features.
//!
//! ```text
//! features ─ encoder ─ design ─┬ X′X, X′y ─ Cholesky (none, l2) or coordinate descent (l1) ─> LinearModel
//!                              └ loss, gradient, Hessian by blocks ─ Newton or L-BFGS ─────> LogisticModel
//! ```
//!
//! Both minimise a *sum* over rows, so that weights and penalties mean the same in both:
//! `Σ wᵢ ½ (yᵢ - ŷᵢ)²` or `Σ wᵢ logloss` `+ l1 Σ|β| + ½ l2 Σ β²`, the intercept free. In scikit-learn's words: `Ridge(alpha = l2)`,
//! `Lasso(alpha = l1 / n)`, `LogisticRegression(C = 1 / (l1 + l2), l1_ratio = l1 / (l1 + l2))`. With `standardize` the penalty is on
//! coefficients of standardised numbers (a pipeline with `StandardScaler`), without on those of the numbers as they are.
//!
//! It does not split, weight classes or evaluate.

mod coordinate;
mod least_squares;
pub mod logistic;
mod model;
#[cfg(test)]
mod tests;

pub use model::{LinearModel, Weight};

use crate::models::encoder::{Encoder, EncoderOptions};
use crate::models::refusal::Refusal;

/// What both regressions can be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearOptions {
    pub intercept: bool,
    /// Factor of the sum of absolute values, ≥ 0.
    pub l1: f64,
    /// Factor of half the sum of squares, ≥ 0.
    pub l2: f64,
    /// Penalties are on coefficients of standardised numbers.
    pub standardize: bool,
    /// Missing numbers are told to the model by a column of their own.
    pub indicators: bool,
    pub categories_max: usize,
    pub columns_max: usize,
    /// Logistic: the largest element of the gradient of the mean loss at the end. Linear with l1: the largest change of a coefficient
    /// in a round, in standard deviations of the label.
    pub tolerance: f64,
    pub iterations_max: usize,
    pub threads: usize,
}

impl Default for LinearOptions {
    fn default() -> Self {
        let EncoderOptions { categories_max, columns_max, .. } = EncoderOptions::default();
        Self {
            intercept: true,
            l1: 0.0,
            l2: 0.0,
            standardize: true,
            indicators: false,
            categories_max,
            columns_max,
            tolerance: 1e-9,
            iterations_max: 1000,
            threads: 1,
        }
    }
}

impl LinearOptions {
    fn check(&self) -> Result<(), Refusal> {
        for (name, value) in [("l1_reg", self.l1), ("l2_reg", self.l2)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Refusal::option(name, "must be a number of at least 0"));
            }
        }
        if !(self.tolerance > 0.0 && self.tolerance.is_finite()) {
            return Err(Refusal::option("tolerance", "must be positive"));
        }
        Ok(())
    }

    fn penalised(&self) -> bool {
        self.l1 > 0.0 || self.l2 > 0.0
    }

    /// Numbers are always standardised inside, for the sake of precision; without an intercept they must not be centred. All levels of a
    /// category have columns when the penalty (or the dropping of collinear columns) settles what they are.
    fn encoder(&self) -> EncoderOptions {
        EncoderOptions {
            centre: self.intercept,
            scale: true,
            indicators: self.indicators,
            reference: self.intercept && !self.penalised(),
            categories_max: self.categories_max,
            columns_max: self.columns_max,
        }
    }

    /// The penalties of each encoded column: (l1, l2).
    fn penalties(&self, encoder: &Encoder) -> (Vec<f64>, Vec<f64>) {
        let scales = encoder.scales().0;
        let scale = |scale: &f64| if self.standardize { 1.0 } else { *scale };
        let l1 = scales.iter().map(|column| self.l1 / scale(column)).collect();
        (l1, scales.iter().map(|column| self.l2 / scale(column).powi(2)).collect())
    }
}
