//! Forecasts with their intervals, and the steps of a known series.

use super::recursion::{Smoothing, run};
use super::{ErrorKind, Ets, Season, State};
use crate::models::algebra::special::normal_quantile;
use crate::models::refusal::Refusal;

/// Steps ahead that are forecast at most: the variances take a step's square.
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
    fn smoothing(&self) -> Smoothing {
        Smoothing { alpha: self.alpha, beta: self.beta, gamma: self.gamma, phi: self.phi }
    }

    /// The next `horizon` steps after the series that the model was fitted to, with intervals that hold the true value with probability
    /// `confidence`, if errors are normal. Errors: `horizon` above [`HORIZON_MAX`], `confidence` outside [0, 1).
    pub fn forecast(&self, horizon: usize, confidence: f64) -> Result<Vec<Forecast>, Refusal> {
        self.forecast_from(&self.end, horizon, confidence)
    }

    /// The same after a state that [`Ets::follow`] gave.
    pub fn forecast_from(&self, state: &State, horizon: usize, confidence: f64) -> Result<Vec<Forecast>, Refusal> {
        if horizon > HORIZON_MAX {
            return Err(Refusal::option("horizon", format!("must be at most {HORIZON_MAX}")));
        }
        if !(0.0..1.0).contains(&confidence) {
            return Err(Refusal::option("confidence_level", "must be at least 0 and below 1"));
        }
        let wide = normal_quantile(0.5 + confidence / 2.0);
        let (bases, seasonals) = self.means(state, horizon);
        let variances = self.variances(&bases, &seasonals);
        let multiplicative = self.shape.season == Season::Multiplicative;
        let each = bases.iter().zip(&seasonals).zip(variances);
        Ok(each
            .map(|((base, seasonal), variance)| {
                let value = if multiplicative { base * seasonal } else { base + seasonal };
                let error = variance.max(0.0).sqrt();
                Forecast { value, error, lower: value - wide * error, upper: value + wide * error }
            })
            .collect())
    }

    /// Level with slope, and seasonal, of the steps ahead.
    fn means(&self, state: &State, horizon: usize) -> (Vec<f64>, Vec<f64>) {
        let (mut level, mut slope) = (state.level, state.slope);
        let seasonal = |step: usize| state.seasonal.get(step % self.period.max(1)).copied().unwrap_or(0.0);
        let mut bases = Vec::with_capacity(horizon);
        for _ in 0..horizon {
            slope *= self.phi;
            level += slope;
            bases.push(level);
        }
        (bases, (0..horizon).map(seasonal).collect())
    }

    /// Hyndman and others (2008), chapter 6: exact for additive errors and for multiplicative ones with additive parts; with a multiplicative
    /// season their approximation (6.4), which takes the season's own changes for independent of the level's.
    fn variances(&self, bases: &[f64], seasonals: &[f64]) -> Vec<f64> {
        let horizon = bases.len();
        let period = self.period.max(1);
        let multiplicative = self.shape.season == Season::Multiplicative;
        // What an error of 1 does to the step that is `j` later.
        let mut effects = Vec::with_capacity(horizon);
        let (mut damping, mut sum) = (1.0, 0.0);
        for j in 1..horizon {
            damping *= self.phi;
            sum += damping;
            let seasonal = if self.shape.season == Season::Additive && j % period == 0 { self.gamma } else { 0.0 };
            effects.push(self.alpha + self.beta * sum + seasonal);
        }
        if self.shape.error == ErrorKind::Additive && !multiplicative {
            let mut squares = 1.0;
            let mut variances = vec![self.variance; horizon.min(1)];
            variances.extend(effects.iter().map(|effect| {
                squares += effect * effect;
                self.variance * squares
            }));
            return variances;
        }
        // Relative errors. Additive errors on a multiplicative season are taken for relative ones of the same size now.
        let relative = match self.shape.error {
            ErrorKind::Multiplicative => self.variance,
            ErrorKind::Additive => self.variance / bases.first().map_or(1.0, |base| base * seasonals[0]).powi(2),
        };
        let mut second: Vec<f64> = Vec::with_capacity(horizon);
        (0..horizon)
            .map(|h| {
                let mean = if multiplicative { bases[h] } else { bases[h] + seasonals[h] };
                let spread: f64 =
                    effects[..h].iter().zip(second.iter().rev()).map(|(effect, moment)| effect * effect * moment).sum();
                let moment = mean * mean + relative * spread;
                second.push(moment);
                if multiplicative {
                    let turns = (1.0 + self.gamma * self.gamma * relative).powi((h / period) as i32);
                    seasonals[h].powi(2) * (moment * (1.0 + relative) * turns - mean * mean)
                } else {
                    moment * (1.0 + relative) - mean * mean
                }
            })
            .collect()
    }

    /// Follows `values` from the start of the training series with the fitted parameters: what was expected at each step, and the state
    /// after the last. The values may go on after the training's, and NaN is no value. Errors: the model leaves the positive numbers.
    pub fn follow(&self, values: &[f64]) -> Result<(Vec<Fitted>, State), Refusal> {
        let first = values.iter().position(|value| !value.is_nan()).unwrap_or(values.len());
        let mut state = self.start.clone();
        let scale = self.start.level.abs().max(1e-300);
        // The recursion's guards are for values of about 1.
        let additive = self.shape.error == ErrorKind::Additive && self.shape.season != Season::Multiplicative;
        let unit = if additive { 1.0 } else { scale };
        scale_state(&mut state, 1.0 / unit, self.shape.season);
        let scaled: Vec<f64> = values[first..].iter().map(|value| value / unit).collect();
        let passed =
            run(self.shape, self.smoothing(), &mut state, &scaled).ok_or(Refusal::Overflow("an expected value"))?;
        scale_state(&mut state, unit, self.shape.season);
        if !state.seasonal.is_empty() {
            let turn = scaled.len() % state.seasonal.len();
            state.seasonal.rotate_left(turn);
        }
        let deviation = self.variance.sqrt();
        let unknown = Fitted { expected: f64::NAN, error: f64::NAN, deviation: None };
        let mut fitted = vec![unknown; first];
        fitted.extend(passed.iter().map(|step| {
            let expected = step.mean * unit;
            let error = match self.shape.error {
                ErrorKind::Additive => deviation,
                ErrorKind::Multiplicative => deviation * expected.abs(),
            };
            let away = step.error * unit;
            let deviation = if away == 0.0 { 0.0 } else { away / error };
            Fitted { expected, error, deviation: (!away.is_nan()).then_some(deviation) }
        }));
        Ok((fitted, state))
    }
}

fn scale_state(state: &mut State, factor: f64, season: Season) {
    state.level *= factor;
    state.slope *= factor;
    if season == Season::Additive {
        state.seasonal.iter_mut().for_each(|value| *value *= factor);
    }
}
