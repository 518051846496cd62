//! The recursion of level, slope and season, its likelihood, and the derivatives of that (by the adjoint recursion, backwards).

use super::{ErrorKind, Season, Shape, State};
use crate::models::watch::{Stopped, Watch};

/// Smoothing parameters as the recursion uses them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Smoothing {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) gamma: f64,
    pub(super) phi: f64,
}

/// One step of the recursion, kept for the way back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    /// The slope before, level and slope together, the seasonal.
    slope: f64,
    pub(super) base: f64,
    pub(super) seasonal: f64,
    pub(super) mean: f64,
    /// Value less mean; NaN without a value.
    pub(super) error: f64,
}

/// What the errors come to.
pub(super) struct Likelihood {
    /// ln(mean square) + 2 · mean ln|mean|, the latter for multiplicative errors: minus twice the log likelihood by the number of
    /// values, less constants.
    pub(super) value: f64,
    pub(super) mean_square: f64,
    pub(super) observed: usize,
}

/// Derivatives of the likelihood's value.
#[derive(Clone, Debug, Default)]
pub(super) struct Slopes {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) gamma: f64,
    pub(super) phi: f64,
    pub(super) level: f64,
    pub(super) slope: f64,
    pub(super) seasonal: Vec<f64>,
}

/// Squares below this, of values of about 1, are no error at all: it keeps the logarithm finite for a series without noise.
const LEAST_SQUARE: f64 = 1e-16;

/// Steps between two questions whether to go on.
const WATCHED_STEPS: usize = 1 << 18;

/// One step: `state` becomes the one after it; its seasonals stay in place (step `t` has number `t mod period`). Of a value that is NaN the
/// state goes on by its own prediction.
pub(super) fn pass(shape: Shape, smoothing: Smoothing, state: &mut State, step: usize, value: f64) -> Passed {
    let Smoothing { alpha, beta, gamma, phi } = smoothing;
    let slope = state.slope;
    let base = state.level + phi * slope;
    let place = step % state.seasonal.len().max(1);
    let slot = state.seasonal.get_mut(place);
    let seasonal = slot.as_ref().map_or(0.0, |slot| **slot);
    let mean = if shape.season == Season::Multiplicative { base * seasonal } else { base + seasonal };
    let error = value - mean;
    let felt = if error.is_nan() { 0.0 } else { error };
    let (of_level, of_season) =
        if shape.season == Season::Multiplicative { (felt / seasonal, felt / base) } else { (felt, felt) };
    state.level = base + alpha * of_level;
    state.slope = phi * slope + beta * of_level;
    if let Some(slot) = slot {
        *slot = seasonal + gamma * of_season;
    }
    Passed { slope, base, seasonal, mean, error }
}

/// Passes over `values`, which are of about 1. `state` becomes the state after the last. `None` when a mean or state of a multiplicative
/// shape leaves the positive numbers.
pub(super) fn run(
    shape: Shape,
    smoothing: Smoothing,
    state: &mut State,
    values: &[f64],
    watch: &dyn Watch,
) -> Result<Option<Vec<Passed>>, Stopped> {
    let mut passed = Vec::with_capacity(values.len());
    for (step, value) in values.iter().enumerate() {
        if step.is_multiple_of(WATCHED_STEPS) {
            watch.check()?;
        }
        let now = pass(shape, smoothing, state, step, *value);
        let positive = shape.error == ErrorKind::Additive || now.mean > 1e-9;
        let apart = shape.season != Season::Multiplicative || (now.base > 1e-9 && now.seasonal > 1e-9);
        if !(positive && apart && now.mean.is_finite()) {
            return Ok(None);
        }
        passed.push(now);
    }
    Ok(Some(passed))
}

pub(super) fn likelihood(shape: Shape, passed: &[Passed]) -> Likelihood {
    let (mut squares, mut logs, mut observed) = (0.0, 0.0, 0);
    for step in passed.iter().filter(|step| !step.error.is_nan()) {
        observed += 1;
        match shape.error {
            ErrorKind::Additive => squares += step.error * step.error,
            ErrorKind::Multiplicative => {
                squares += (step.error / step.mean).powi(2);
                logs += step.mean.ln();
            }
        }
    }
    let mean_square = squares / observed as f64;
    Likelihood { value: (mean_square + LEAST_SQUARE).ln() + 2.0 * logs / observed as f64, mean_square, observed }
}

/// The derivatives of [`Likelihood::value`] at the end of a run.
pub(super) fn slopes(
    shape: Shape,
    smoothing: Smoothing,
    period: usize,
    passed: &[Passed],
    end: &Likelihood,
    watch: &dyn Watch,
) -> Result<Slopes, Stopped> {
    let Smoothing { alpha, beta, gamma, phi } = smoothing;
    let multiplicative = shape.season == Season::Multiplicative;
    let seasonals = if shape.has_season() { period } else { 0 };
    let mut back = Slopes { seasonal: vec![0.0; seasonals], ..Slopes::default() };
    let count = end.observed as f64;
    let share = 2.0 / (count * (end.mean_square + LEAST_SQUARE));
    for (step, now) in passed.iter().enumerate().rev() {
        if step.is_multiple_of(WATCHED_STEPS) {
            watch.check()?;
        }
        let missing = now.error.is_nan();
        let error = if missing { 0.0 } else { now.error };
        // How the mean itself enters the likelihood.
        let direct = match shape.error {
            _ if missing => 0.0,
            ErrorKind::Additive => -share * error,
            ErrorKind::Multiplicative => {
                let value = now.mean + error;
                -share * (error / now.mean) * value / (now.mean * now.mean) + 2.0 / (count * now.mean)
            }
        };
        let slot = back.seasonal.get_mut(step % period.max(1));
        let later = slot.as_ref().map_or(0.0, |slot| **slot);
        let (level, slope) = (back.level, back.slope);
        let smoothed = alpha * level + beta * slope;
        let (s, q) = if multiplicative { (now.seasonal, now.base) } else { (1.0, 1.0) };
        back.alpha += error / s * level;
        back.beta += error / s * slope;
        back.gamma += error / q * later;
        let of_error = if missing { 0.0 } else { smoothed / s + gamma * later / q };
        let of_mean = direct - of_error;
        let (of_base, of_seasonal) = if multiplicative {
            let base = level + of_mean * s - gamma * error * later / (q * q);
            (base, later + of_mean * q - smoothed * error / (s * s))
        } else {
            (level + of_mean, later + of_mean)
        };
        if let Some(slot) = slot {
            *slot = of_seasonal;
        }
        back.phi += now.slope * (slope + of_base);
        back.level = of_base;
        back.slope = phi * (slope + of_base);
    }
    Ok(back)
}

#[cfg(test)]
mod tests {
    use super::super::Trend;
    use super::*;
    use crate::models::watch::Unwatched;

    #[test]
    fn slopes_equal_differences() {
        let values: Vec<f64> = (0..40)
            .map(|t| {
                if t == 7 { f64::NAN } else { 5.0 + 0.1 * f64::from(t) + f64::from(t * t % 7) * 0.3 + f64::from(t % 4) }
            })
            .collect();
        for error in [ErrorKind::Additive, ErrorKind::Multiplicative] {
            for season in [Season::None, Season::Additive, Season::Multiplicative] {
                let shape = Shape { error, trend: Trend::Damped, season };
                let seasonal = match season {
                    Season::None => vec![],
                    Season::Additive => vec![-1.0, 0.2, 0.3, 0.5],
                    Season::Multiplicative => vec![0.8, 1.0, 1.05, 1.15],
                };
                let at = |x: &[f64]| {
                    let smoothing = Smoothing { alpha: x[0], beta: x[1], gamma: x[2], phi: x[3] };
                    let mut state = State { level: x[4], slope: x[5], seasonal: x[6..].to_vec() };
                    let passed = run(shape, smoothing, &mut state, &values, &Unwatched).unwrap().unwrap();
                    let end = likelihood(shape, &passed);
                    let slopes = slopes(shape, smoothing, 4, &passed, &end, &Unwatched).unwrap();
                    let Slopes { alpha, beta, gamma, phi, level, slope, seasonal } = slopes;
                    (end.value, [vec![alpha, beta, gamma, phi, level, slope], seasonal].concat())
                };
                let x = [vec![0.3, 0.1, 0.2, 0.9, 5.0, 0.2], seasonal].concat();
                let exact = at(&x).1;
                for (index, exact) in exact.iter().enumerate() {
                    let moved = |by: f64| {
                        let mut x = x.clone();
                        x[index] += by;
                        at(&x).0
                    };
                    let difference = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                    assert!(
                        (difference - exact).abs() < 1e-6 * (1.0 + exact.abs()),
                        "{} {index} {difference} {exact}",
                        shape.name()
                    );
                }
            }
        }
    }
}
