//! Series of one model: each with its grid, its values and its exponential smoothing. Between the dataset, the artifact and answers.

mod expected;

use std::collections::HashMap;

use super::algebra::special::{normal_quantile, normal_within};
use super::artifact::{Sections, damaged};
use super::evaluate::{Metrics, of_numbers};
use super::forecast::{ErrorKind, Ets, Forecast, Grid, STEPS_MAX, Season, Shape, State, Step, Trend};
use super::learned::{Weight, refused};
use super::metrics::Regression;
use crate::error::Result;

pub use expected::{Asked, Known};

/// One series.
#[derive(Debug, Clone)]
pub struct Series {
    /// Codes of the columns that tell series apart, [`super::dataset::MISSING`] for NULL.
    pub key: Vec<u32>,
    pub grid: Grid,
    /// By step; NaN where there is none.
    pub values: Vec<f64>,
    pub smoothing: Ets,
}

/// All series, in the order of their keys' texts.
#[derive(Debug)]
pub struct SeriesSet {
    /// Columns that tell series apart.
    pub ids: usize,
    /// Microseconds of a unit of the column of times, as features have it: of days or of seconds.
    pub unit: i64,
    /// A time between two steps belongs to the earlier one; otherwise to none.
    pub truncated: bool,
    series: Vec<Series>,
    places: HashMap<Vec<u32>, usize>,
}

/// What is expected at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    pub value: f64,
    /// The standard deviation of the true value around it.
    pub error: f64,
}

/// Steps of a metric between two questions whether to go on.
const METRICS_STEPS: usize = 1 << 18;
/// Of a value: nearer ones are the same.
const ROUNDING: f64 = 1e-12;

impl Expected {
    /// The bounds that the true value is within with this probability, if errors are normal.
    pub fn bounds(&self, probability: f64) -> (f64, f64) {
        let wide = normal_quantile(0.5 + probability / 2.0);
        // Of no width at all, even where the error is infinite.
        let wide = if wide == 0.0 { 0.0 } else { wide * self.error };
        (self.value - wide, self.value + wide)
    }

    /// The probability that a value is nearer than this one.
    pub fn oddity(&self, value: f64) -> f64 {
        if value.is_infinite() {
            return 1.0;
        }
        let away = value - self.value;
        // Of a series without noise all that is left is rounding.
        let same = away.abs() <= ROUNDING * (value.abs() + self.value.abs());
        if same { 0.0 } else { normal_within(away / self.error) }
    }
}

/// The word of each part of a shape, by its number in artifacts.
const ERRORS: [ErrorKind; 2] = [ErrorKind::Additive, ErrorKind::Multiplicative];
const TRENDS: [Trend; 3] = [Trend::None, Trend::Additive, Trend::Damped];
const SEASONS: [Season; 3] = [Season::None, Season::Additive, Season::Multiplicative];
/// Numbers of a series in `series.numbers`, before its states.
const NUMBERS: usize = 7;
/// In `series.counts`: a series' parts, the kind of its step, its period, observed values and steps.
const COUNTS: usize = 7;

impl SeriesSet {
    pub fn new(ids: usize, unit: i64, truncated: bool, series: Vec<Series>) -> Self {
        let places = series.iter().enumerate().map(|(place, series)| (series.key.clone(), place)).collect();
        Self { ids, unit, truncated, series, places }
    }

    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// In memory, about.
    pub fn bytes(&self) -> usize {
        let one = |series: &Series| {
            let seasonal = series.smoothing.start.seasonal.len() + series.smoothing.end.seasonal.len();
            300 + (series.key.len() + series.values.len() + seasonal) * 8
        };
        self.series.iter().map(one).sum()
    }

    /// The most bytes that [`metrics`](Self::metrics) takes.
    pub fn metrics_bytes_max(&self) -> usize {
        Regression::default().bytes_max(self.series.iter().map(|series| series.values.len()).sum())
    }

    /// Metrics of what was expected of each value from those before it.
    ///
    /// # Errors
    /// Those of `go_on`, which is asked every some thousand steps.
    pub fn metrics(&self, go_on: impl Fn() -> Result<()>) -> Result<Metrics> {
        let mut found = Regression::default();
        for series in &self.series {
            let mut following = series.smoothing.following();
            for values in series.values.chunks(METRICS_STEPS) {
                go_on()?;
                for value in values {
                    let expected = following.next(&series.smoothing, *value).expected;
                    if !value.is_nan() && expected.is_finite() {
                        found.add(*value, expected, 1.0);
                    }
                }
            }
        }
        Ok(of_numbers(&found))
    }

    /// The parameters and the last state of each series.
    pub fn weights(&self, texts: &[Option<Vec<String>>]) -> Vec<Weight> {
        let mut weights = Vec::new();
        for series in &self.series {
            let output = (self.ids > 0).then(|| series.name(texts));
            let Ets { shape, alpha, beta, gamma, phi, end, .. } = &series.smoothing;
            let trend = shape.trend != Trend::None;
            let season = shape.season != Season::None;
            let named =
                [("alpha", Some(*alpha)), ("beta", trend.then_some(*beta)), ("gamma", season.then_some(*gamma))];
            let damped = (shape.trend == Trend::Damped).then_some(*phi);
            let states = [("phi", damped), ("level", Some(end.level)), ("slope", trend.then_some(end.slope))];
            let seasons =
                end.seasonal.iter().enumerate().map(|(at, value)| (format!("season_{}", at + 1), Some(*value)));
            let all = named.into_iter().chain(states).map(|(name, value)| (name.to_owned(), value)).chain(seasons);
            weights.extend(all.filter_map(|(input, weight)| {
                Some(Weight {
                    output: output.clone(),
                    input,
                    category: Some(shape.name()),
                    weight: weight?,
                    standard_error: None,
                    p_value: None,
                })
            }));
        }
        weights
    }

    /// # Errors
    /// XX001 for parts that do not fit together.
    pub fn validate(&self, texts: &[Option<Vec<String>>]) -> Result<()> {
        let categories: Vec<usize> = texts.iter().skip(1).map(|texts| texts.as_ref().map_or(0, Vec::len)).collect();
        if categories.len() != self.ids || self.places.len() != self.series.len() || self.unit < 1 {
            return Err(damaged("the names of series"));
        }
        for series in &self.series {
            series.smoothing.validate().map_err(refused)?;
            series.grid.validate().map_err(refused)?;
            let known = |(code, count): (&u32, &usize)| *code == super::dataset::MISSING || (*code as usize) < *count;
            let named = series.key.len() == self.ids && series.key.iter().zip(&categories).all(known);
            let finite = series.values.iter().all(|value| value.is_nan() || value.is_finite());
            if !named || !finite || series.smoothing.steps != series.values.len() {
                return Err(damaged("a series"));
            }
        }
        Ok(())
    }

    pub fn write(&self, sections: &mut Sections) {
        let counted = self.series.iter().flat_map(|series| {
            let Ets { shape, period, observed, steps, .. } = &series.smoothing;
            let place = |found: Option<usize>| found.unwrap_or(0) as u64;
            [
                place(ERRORS.iter().position(|kind| *kind == shape.error)),
                place(TRENDS.iter().position(|kind| *kind == shape.trend)),
                place(SEASONS.iter().position(|kind| *kind == shape.season)),
                match series.grid.step {
                    Step::Micros(_) => 0,
                    Step::Months(_) => 1,
                    Step::MonthEnds(_) => 2,
                },
                *period as u64,
                *observed as u64,
                *steps as u64,
            ]
        });
        let head = [self.ids as u64, self.unit as u64, u64::from(self.truncated), self.series.len() as u64];
        sections.put_u64s("series.counts", head.into_iter().chain(counted).collect());
        sections.put_u32s("series.keys", self.series.iter().flat_map(|series| series.key.iter().copied()).collect());
        let times = self.series.iter().flat_map(|series| {
            let step = match series.grid.step {
                Step::Micros(micros) => micros,
                Step::Months(months) | Step::MonthEnds(months) => i64::from(months),
            };
            // Bits of signed numbers.
            [series.grid.start as u64, step as u64]
        });
        sections.put_u64s("series.times", times.collect());
        let mut numbers = Vec::new();
        for series in &self.series {
            let Ets { alpha, beta, gamma, phi, variance, log_likelihood, aicc, start, end, .. } = &series.smoothing;
            numbers.extend([alpha, beta, gamma, phi, variance, log_likelihood, aicc]);
            for state in [start, end] {
                numbers.extend([&state.level, &state.slope].into_iter().chain(&state.seasonal));
            }
        }
        sections.put_f64s("series.numbers", numbers.into_iter().copied().collect());
        sections
            .put_f64s("series.values", self.series.iter().flat_map(|series| series.values.iter().copied()).collect());
    }

    /// What [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// XX001 for anything else.
    pub fn read(sections: &Sections) -> Result<Self> {
        let short = || damaged("a series ends too early");
        let (head, mut counts) = sections.u64s("series.counts")?.split_at_checked(4).ok_or_else(short)?;
        let &[ids, unit, truncated, count] = head else { return Err(short()) };
        let mut keys = sections.u32s("series.keys")?;
        let mut times = sections.u64s("series.times")?;
        let mut numbers = sections.f64s("series.numbers")?;
        let mut values = sections.f64s("series.values")?;
        fn take<'a, T>(from: &mut &'a [T], count: usize) -> Result<&'a [T]> {
            let taken = from.split_at_checked(count).ok_or_else(|| damaged("a series ends too early"))?;
            *from = taken.1;
            Ok(taken.0)
        }
        let mut series = Vec::new();
        for _ in 0..count {
            let &[error, trend, season, kind, period, observed, steps] = take(&mut counts, COUNTS)? else {
                return Err(short());
            };
            let unknown = || damaged("the shape of a series");
            let shape = Shape {
                error: *ERRORS.get(error as usize).ok_or_else(unknown)?,
                trend: *TRENDS.get(trend as usize).ok_or_else(unknown)?,
                season: *SEASONS.get(season as usize).ok_or_else(unknown)?,
            };
            let seasonal = if shape.season == Season::None { 0 } else { period as usize };
            if period == 0 || period as usize > STEPS_MAX || steps as usize > STEPS_MAX {
                return Err(unknown());
            }
            let &[start, step] = take(&mut times, 2)? else { return Err(short()) };
            let months = || u32::try_from(step).map_err(|_| damaged("the step of a series"));
            let step = match kind {
                0 => Step::Micros(step as i64),
                1 => Step::Months(months()?),
                2 => Step::MonthEnds(months()?),
                _ => return Err(damaged("the step of a series")),
            };
            let &[alpha, beta, gamma, phi, variance, log_likelihood, aicc] = take(&mut numbers, NUMBERS)? else {
                return Err(short());
            };
            let mut state = || -> Result<State> {
                let &[level, slope] = take(&mut numbers, 2)? else { return Err(short()) };
                Ok(State { level, slope, seasonal: take(&mut numbers, seasonal)?.to_vec() })
            };
            let (before, after) = (state()?, state()?);
            series.push(Series {
                key: take(&mut keys, ids as usize)?.to_vec(),
                grid: Grid { start: start as i64, step },
                values: take(&mut values, steps as usize)?.to_vec(),
                smoothing: Ets {
                    shape,
                    period: period as usize,
                    alpha,
                    beta,
                    gamma,
                    phi,
                    start: before,
                    end: after,
                    steps: steps as usize,
                    observed: observed as usize,
                    variance,
                    log_likelihood,
                    aicc,
                },
            });
        }
        Ok(Self::new(ids as usize, unit as i64, truncated != 0, series))
    }
}

impl Series {
    /// The texts of the key, by the categories of all features: the first of them is the time.
    pub fn texts<'a>(&'a self, texts: &'a [Option<Vec<String>>]) -> impl Iterator<Item = Option<&'a str>> + 'a {
        self.key
            .iter()
            .zip(texts.iter().skip(1))
            .map(|(code, texts)| texts.as_ref()?.get(*code as usize).map(String::as_str))
    }

    /// What it is called in messages.
    pub fn name(&self, texts: &[Option<Vec<String>>]) -> String {
        self.texts(texts).map(|text| text.unwrap_or("(null)")).collect::<Vec<_>>().join(", ")
    }

    /// With the error of values around what was expected of them from the step before.
    pub fn expected(&self, value: f64) -> Expected {
        Expected { value, error: self.smoothing.error_around(value) }
    }

    /// The steps after the last one.
    ///
    /// # Errors
    /// 22023 for a horizon or a confidence out of bounds.
    pub fn forecast(&self, horizon: usize, confidence: f64) -> Result<Vec<Forecast>> {
        self.smoothing.forecast(horizon, confidence).map_err(refused)
    }

    /// Microseconds since 1970 of a step; those of the forecast follow those of the series. `None` beyond the calendar.
    pub fn time(&self, step: usize) -> Option<i64> {
        self.grid.time(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::forecast::ForecastOptions;
    use crate::models::watch::Unwatched;

    pub(super) const DAY: i64 = 86_400_000_000;

    pub(super) fn set() -> (SeriesSet, Vec<Option<Vec<String>>>) {
        let one = |code: u32, start: i64, slope: f64| {
            let values: Vec<f64> =
                (0..40).map(|t| 5.0 + slope * f64::from(t) + if t % 4 == 0 { 3.0 } else { 0.0 }).collect();
            let smoothing = Ets::fit(&values, &ForecastOptions::default(), &Unwatched).unwrap();
            Series { key: vec![code], grid: Grid { start, step: Step::Micros(DAY) }, values, smoothing }
        };
        let series = vec![one(1, 0, 0.5), one(super::super::dataset::MISSING, 5 * DAY, 1.0)];
        (SeriesSet::new(1, DAY, false, series), vec![None, Some(vec!["b".to_owned(), "a".to_owned()])])
    }

    #[test]
    fn what_is_written_is_read() {
        let (mut set, texts) = set();
        if let Some(second) = set.series.get_mut(1) {
            second.grid.step = Step::MonthEnds(3);
        }
        set.validate(&texts).unwrap();
        let mut sections = Sections::default();
        set.write(&mut sections);
        let read = SeriesSet::read(&Sections::decode(&sections.encode()).unwrap()).unwrap();
        read.validate(&texts).unwrap();
        for (one, other) in set.series().iter().zip(read.series()) {
            assert_eq!(
                (&one.key, one.grid, &one.values, &one.smoothing),
                (&other.key, other.grid, &other.values, &other.smoothing)
            );
        }
        assert_eq!((read.ids, read.unit, read.truncated, read.series().len()), (1, DAY, false, 2));
        assert!(read.validate(&[None]).is_err());
        sections.put_f64s("series.values", vec![1.0]);
        assert!(SeriesSet::read(&sections).is_err());
    }

    #[test]
    fn nothing_is_odder_than_what_is_infinite() {
        let expected = Expected { value: 5.0, error: 0.0 };
        assert_eq!((expected.oddity(5.0), expected.oddity(5.1)), (0.0, 1.0));
        assert_eq!((expected.oddity(f64::INFINITY), expected.oddity(f64::NEG_INFINITY)), (1.0, 1.0));
        assert_eq!(Expected { value: 5.0, error: f64::INFINITY }.bounds(0.0), (5.0, 5.0));
        assert_eq!(Expected { value: 5.0, error: f64::INFINITY }.oddity(f64::INFINITY), 1.0);
    }
}
