//! Forecasts with their intervals, and the steps of a known series.

use super::recursion::{Smoothing, pass};
use super::{ErrorKind, Ets, Season, State};
use crate::models::algebra::special::normal_quantile;
use crate::models::refusal::Refusal;

/// Steps ahead that are forecast at most: nobody looks farther.
pub const HORIZON_MAX: usize = 10_000;

/// One step ahead of the series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    pub value: f64,
    /// The standard deviation of the true value around it.
    pub error: f64,
    pub lower: f64,
    pub upper: f64,
}

/// One step of a known series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    /// Expected from the steps before; also where a value is missing.
    pub expected: f64,
    /// The standard deviation of values around it.
    pub error: f64,
    /// Value less expected, in standard deviations; `None` without a value.
    pub deviation: Option<f64>,
}

impl Ets {
    pub(super) fn smoothing(&self) -> Smoothing {
        Smoothing { alpha: self.alpha, beta: self.beta, gamma: self.gamma, phi: self.phi }
    }

    /// The next `horizon` steps after the series that the model was fitted to, with intervals that hold the true value with probability
    /// `confidence`, if errors are normal. Errors: `horizon` above [`HORIZON_MAX`], `confidence` outside [0, 1).
    pub fn forecast(&self, horizon: usize, confidence: f64) -> Result<Vec<Forecast>, Refusal> {
        if horizon > HORIZON_MAX {
            return Err(Refusal::option("horizon", format!("must be at most {HORIZON_MAX}")));
        }
        if !(0.0..1.0).contains(&confidence) {
            return Err(Refusal::option("confidence_level", "must be at least 0 and below 1"));
        }
        let wide = normal_quantile(0.5 + confidence / 2.0);
        let (bases, seasonals) = self.means(horizon);
        let variances = self.variances(&bases, &seasonals);
        let each = bases.iter().zip(&seasonals).zip(variances);
        Ok(each
            .map(|((base, seasonal), variance)| {
                let (value, error) = (self.mean(*base, *seasonal), variance.sqrt());
                // Of no width at all, even where the error is infinite.
                let wide = if wide == 0.0 { 0.0 } else { wide * error };
                Forecast { value, error, lower: value - wide, upper: value + wide }
            })
            .collect())
    }

    /// Level with slope, and seasonal, of the steps ahead.
    fn means(&self, horizon: usize) -> (Vec<f64>, Vec<f64>) {
        let (mut level, mut slope) = (self.end.level, self.end.slope);
        let seasonal = |step: usize| self.end.seasonal.get(step % self.period.max(1)).copied().unwrap_or(0.0);
        let mut bases = Vec::with_capacity(horizon);
        for _ in 0..horizon {
            slope *= self.phi;
            level += slope;
            bases.push(level);
        }
        (bases, (0..horizon).map(seasonal).collect())
    }

    /// What is expected of the next `horizon` steps, without intervals.
    pub fn ahead(&self, horizon: usize) -> Vec<f64> {
        let (bases, seasonals) = self.means(horizon.min(HORIZON_MAX));
        bases.iter().zip(&seasonals).map(|(base, seasonal)| self.mean(*base, *seasonal)).collect()
    }

    fn mean(&self, base: f64, seasonal: f64) -> f64 {
        if self.shape.season == Season::Multiplicative { base * seasonal } else { base + seasonal }
    }

    /// The standard deviation of values around what was expected of them from the step before.
    pub fn error_around(&self, expected: f64) -> f64 {
        match self.shape.error {
            ErrorKind::Additive => self.variance.sqrt(),
            ErrorKind::Multiplicative => self.variance.sqrt() * expected.abs(),
        }
    }

    /// A walk from the start of the series that the model was fitted to.
    pub fn following(&self) -> Following {
        Following { state: self.start.clone(), step: None }
    }
}

/// A walk along a series, some steps at a time.
#[derive(Clone, Debug)]
pub struct Following {
    state: State,
    /// Steps since the first value; `None` before it.
    step: Option<usize>,
}

impl Following {
    /// What is expected of the next step, whose value is this; NaN is no value. Steps may go on after the training's.
    pub fn next(&mut self, model: &Ets, value: f64) -> Fitted {
        if self.step.is_none() && value.is_nan() {
            return Fitted { expected: f64::NAN, error: f64::NAN, deviation: None };
        }
        let step = self.step.unwrap_or(0);
        self.step = Some(step + 1);
        let passed = pass(model.shape, model.smoothing(), &mut self.state, step, value);
        let (expected, error) = (passed.mean, model.error_around(passed.mean));
        let deviation = if passed.error == 0.0 { 0.0 } else { passed.error / error };
        Fitted { expected, error, deviation: (!passed.error.is_nan()).then_some(deviation) }
    }

    /// In memory, about.
    pub fn bytes(&self) -> usize {
        100 + self.state.seasonal.len() * 8
    }
}
