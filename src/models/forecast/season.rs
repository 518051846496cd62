//! The length of a season from the values' autocorrelation.

use crate::models::watch::{Stopped, Watch};

/// The longest period that is looked for without being named.
const PERIOD_MAX: usize = 366;
/// An autocorrelation below this is no season.
const CORRELATION_MIN: f64 = 0.25;

/// The period of `among` (usual ones for the step, longest series first or not) with the highest autocorrelation; if none shows, the first
/// high peak of any lag. `None` without a season. NaN values are interpolated for this. A period needs two of it in the series.
///
/// Autocorrelation is that of the differences from a centred moving average of the period, so that trends do not look like seasons,
/// and has to pass 0.25 and two and a half of its standard errors.
pub fn detect(values: &[f64], among: &[usize], watch: &dyn Watch) -> Result<Option<usize>, Stopped> {
    let values = interpolate(values);
    if let Some((period, _)) = highest(&scores(&values, among.iter().copied(), watch)?) {
        return Ok(Some(period));
    }
    // Of multiples of a period, which correlate about as well, the shortest.
    let longest = PERIOD_MAX.min(values.len() / 3);
    let scores = scores(&values, 2..=longest, watch)?;
    let Some((_, highest)) = highest(&scores) else { return Ok(None) };
    let near = |(_, score): &&(usize, f64)| *score > 0.9 * highest && *score > 0.5;
    Ok(scores.iter().find(near).map(|(period, _)| *period))
}

/// The periods that show, in their order.
fn scores(
    values: &[f64],
    periods: impl Iterator<Item = usize>,
    watch: &dyn Watch,
) -> Result<Vec<(usize, f64)>, Stopped> {
    let mut scores = Vec::new();
    for period in periods {
        scores.extend(score(values, period, watch)?.map(|score| (period, score)));
    }
    Ok(scores)
}

fn highest(scores: &[(usize, f64)]) -> Option<(usize, f64)> {
    scores.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
}

/// The autocorrelation at `period` of what a moving average of that length leaves, if it is high enough and a peak.
fn score(values: &[f64], period: usize, watch: &dyn Watch) -> Result<Option<f64>, Stopped> {
    if period < 2 || values.len() < 2 * period + 2 {
        return Ok(None);
    }
    watch.check()?;
    let rest = without_average(values, period);
    if rest.len() <= period + 2 {
        // Too short for the average: the trend of a line is taken off instead.
        return peak(&without_line(values), period, values.len(), watch);
    }
    peak(&rest, period, values.len(), watch)
}

fn peak(rest: &[f64], period: usize, count: usize, watch: &dyn Watch) -> Result<Option<f64>, Stopped> {
    watch.check()?;
    let Some(at) = autocorrelation(rest, period) else { return Ok(None) };
    let least = CORRELATION_MIN.max(2.5 / (count as f64).sqrt());
    if at.is_nan() || at <= least {
        return Ok(None);
    }
    for side in [period - 1, period + 1] {
        watch.check()?;
        if period > 2 && autocorrelation(rest, side).is_some_and(|side| side > at) {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

fn autocorrelation(values: &[f64], lag: usize) -> Option<f64> {
    let later = values.get(lag..).filter(|later| later.len() > 1)?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    let product = later.iter().zip(values).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / later.len() as f64;
    (square > 0.0).then(|| product / square)
}

/// Values less the centred average of `period` steps (of an even period, its ends count half), without the ends that have none.
fn without_average(values: &[f64], period: usize) -> Vec<f64> {
    let half = period / 2;
    let mut sums = vec![0.0; values.len() + 1];
    for (index, value) in values.iter().enumerate() {
        sums[index + 1] = sums[index] + value;
    }
    let middle = half..values.len().saturating_sub(half);
    middle
        .map(|index| {
            let (first, last) = (index - half, index + half);
            let whole = sums[last + 1] - sums[first];
            let whole = if period.is_multiple_of(2) { whole - 0.5 * (values[first] + values[last]) } else { whole };
            values[index] - whole / period as f64
        })
        .collect()
}

fn without_line(values: &[f64]) -> Vec<f64> {
    let count = values.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
    let along: f64 = values.iter().enumerate().map(|(step, value)| (step as f64 - middle) * (value - mean)).sum();
    let slope = along / ((count * count - 1.0) * count / 12.0).max(1.0);
    values.iter().enumerate().map(|(step, value)| value - mean - slope * (step as f64 - middle)).collect()
}

/// NaN replaced by the line between its neighbours; at the ends, by the nearest value; all NaN becomes 0.
pub fn interpolate(values: &[f64]) -> Vec<f64> {
    let mut result = values.to_vec();
    let mut before: Option<(usize, f64)> = None;
    for (index, value) in values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
        let start = before.map_or(0, |(place, _)| place + 1);
        for (step, gap) in result[start..index].iter_mut().enumerate() {
            *gap = match before {
                Some((place, from)) => from + (value - from) * (step + 1) as f64 / (index - place) as f64,
                None => *value,
            };
        }
        before = Some((index, *value));
    }
    let (start, last) = before.map_or((0, 0.0), |(place, value)| (place + 1, value));
    result[start..].fill(last);
    result
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::models::algebra::random::Random;
    use crate::models::watch::Unwatched;

    #[test]
    fn finds_weeks_and_years_but_nothing_in_noise() {
        let mut random = Random::new(5, 0);
        let mut series = |period: f64, height: f64, slope: f64| -> Vec<f64> {
            let wave = |t: f64| height * (std::f64::consts::TAU * t / period).sin() + slope * t;
            (0..160).map(|t| wave(f64::from(t)) + random.unit() * 2.0 - 1.0).collect()
        };
        assert_eq!(detect(&series(7.0, 2.0, 0.3), &[7], &Unwatched).unwrap(), Some(7));
        assert_eq!(detect(&series(12.0, 2.0, -1.0), &[], &Unwatched).unwrap(), Some(12));
        assert_eq!(detect(&series(7.0, 0.0, 0.3), &[7], &Unwatched).unwrap(), None);
        assert_eq!(detect(&[1.0; 50], &[7], &Unwatched).unwrap(), None);
        assert_eq!(detect(&[], &[7], &Unwatched).unwrap(), None);
    }

    #[test]
    fn a_search_that_is_told_to_stop_looks_at_no_other_period() {
        struct Once(AtomicUsize);
        impl Watch for Once {
            fn check(&self) -> Result<(), Stopped> {
                if self.0.fetch_add(1, Ordering::Relaxed) == 0 { Ok(()) } else { Err(Stopped) }
            }

            fn progress(&self, _done: usize, _total: usize, _loss: Option<f64>) {}
        }
        let values: Vec<f64> = (0..2_000).map(|t| f64::from(t * t % 101)).collect();
        let watch = Once(AtomicUsize::new(0));
        assert_eq!(detect(&values, &[7], &watch), Err(Stopped));
        assert_eq!(watch.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn gaps_become_lines() {
        let nan = f64::NAN;
        assert_eq!(interpolate(&[nan, 1.0, nan, nan, 4.0, nan]), [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
        assert_eq!(interpolate(&[nan]), [0.0]);
    }
}
