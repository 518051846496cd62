//! Exponential smoothing in its state space form (ETS; Hyndman, Koehler, Ord, Snyder 2008): one model for each series.
//!
//! ```text
//! times, values ─ Grid ─> values on a regular grid, NaN where there is none
//!               ─ season::detect ─> period
//!               ─ Ets::fit: every shape that suits the values, the smallest AICc ─> Ets ─┬ forecast: values and intervals
//!                                                                                        └ fitted: one step ahead, for anomalies
//! ```
//!
//! Why not the crate `augurs`: its ETS has no seasonality (`unimplemented!`, version 0.10.3), and its MSTL brings a decomposition by
//! LOESS instead of one likelihood to choose models by.

mod fit;
mod grid;
mod predict;
mod recursion;
mod season;
#[cfg(test)]
mod tests;
mod variance;

pub use grid::{DAY, Grid, HOUR, MINUTE, SECOND, STEPS_MAX, Step};
pub use predict::{Fitted, Following, Forecast, HORIZON_MAX};

use serde::{Deserialize, Serialize};

use crate::models::refusal::{Refusal, finite, sound};

/// Whether the variance of errors follows the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    Additive,
    Multiplicative,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trend {
    None,
    Additive,
    Damped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Season {
    None,
    Additive,
    Multiplicative,
}

/// The name of a model: ETS(A,Ad,M) and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub error: ErrorKind,
    pub trend: Trend,
    pub season: Season,
}

/// How the length of a season is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Period {
    /// The strongest of these, if the values show one; see [`season::detect`].
    Among(Vec<usize>),
    /// This many steps; 1 is no season.
    Given(usize),
}

/// `None` leaves the choice to AICc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForecastOptions {
    pub period: Period,
    pub error: Option<ErrorKind>,
    pub trend: Option<Trend>,
    pub season: Option<Season>,
    pub iterations_max: usize,
}

impl Default for ForecastOptions {
    fn default() -> Self {
        Self { period: Period::Among(Vec::new()), error: None, trend: None, season: None, iterations_max: 300 }
    }
}

/// Level, slope, and one season; the next step's seasonal first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub level: f64,
    pub slope: f64,
    /// Empty without a season.
    pub seasonal: Vec<f64>,
}

/// A fitted series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ets {
    pub shape: Shape,
    /// Steps of a season; 1 without.
    pub period: usize,
    pub alpha: f64,
    pub beta: f64,
    pub gamma: f64,
    /// 1 unless damped.
    pub phi: f64,
    /// Before the first step.
    pub start: State,
    /// After the last one.
    pub end: State,
    /// Steps of the series, and how many of them had a value.
    pub steps: usize,
    pub observed: usize,
    /// Of the errors (relative ones, when they are multiplicative): their squares by the values less the parameters.
    pub variance: f64,
    pub log_likelihood: f64,
    pub aicc: f64,
}

impl Shape {
    /// "ETS(A,Ad,M)".
    pub fn name(self) -> String {
        let error = match self.error {
            ErrorKind::Additive => "A",
            ErrorKind::Multiplicative => "M",
        };
        let trend = match self.trend {
            Trend::None => "N",
            Trend::Additive => "A",
            Trend::Damped => "Ad",
        };
        let season = match self.season {
            Season::None => "N",
            Season::Additive => "A",
            Season::Multiplicative => "M",
        };
        format!("ETS({error},{trend},{season})")
    }

    fn has_trend(self) -> bool {
        self.trend != Trend::None
    }

    fn has_season(self) -> bool {
        self.season != Season::None
    }

    /// Parameters and starting states, without the variance.
    fn parameters(self, period: usize) -> usize {
        let trend = match self.trend {
            Trend::None => 0,
            Trend::Additive => 2,
            Trend::Damped => 3,
        };
        2 + trend + if self.has_season() { period } else { 0 }
    }
}

impl Ets {
    /// `Damaged` when the parts do not fit together.
    pub fn validate(&self) -> Result<(), Refusal> {
        finite(&[self.alpha, self.beta, self.gamma, self.phi, self.variance], "a smoothing parameter")?;
        sound(self.variance >= 0.0 && self.period >= 1, "the variance or period")?;
        let seasonals = if self.shape.has_season() { self.period } else { 0 };
        for state in [&self.start, &self.end] {
            finite(&[state.level, state.slope], "a state")?;
            finite(&state.seasonal, "a seasonal state")?;
            sound(state.seasonal.len() == seasonals, "the number of seasonal states")?;
        }
        sound(self.observed <= self.steps, "the number of steps")
    }
}
