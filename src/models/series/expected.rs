//! What is expected of rows, some steps at a time: series may be long, and rows may ask about many of them.
//!
//! ```text
//! inputs ─ SeriesSet::asked ─> Asked: rows by series ─ go_on, go_on, … ─> what is expected of each row
//!                                      Known: what earlier rows had computed ─┘
//! ```

use std::collections::{BTreeMap, HashMap};

use super::{Expected, Series, SeriesSet};
use crate::error::{Error, Result};
use crate::models::dataset::MISSING;
use crate::models::forecast::{Following, HORIZON_MAX};
use crate::models::inputs::{Input, Inputs};

/// Steps that are gone between two questions whether to go on: some milliseconds.
const STEPS: usize = 1 << 18;
/// Beyond so many bytes all is forgotten, and computed again where it is asked for again.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// Rows that wait for an answer.
#[derive(Debug)]
pub struct Asked {
    /// By series: rows and the steps that they ask about.
    waiting: BTreeMap<usize, Vec<(usize, usize)>>,
    found: Vec<Option<Expected>>,
}

/// What was computed for the rows of a statement.
#[derive(Debug)]
pub struct Known {
    /// Whether anybody wants to know how far values are from what is expected.
    errors: bool,
    series: HashMap<usize, Walked>,
    bytes: usize,
}

/// What is known of a series.
#[derive(Debug)]
struct Walked {
    following: Following,
    /// Of the steps from the first on.
    fitted: Vec<f64>,
    /// Of the steps after the last.
    ahead: Vec<Expected>,
}

impl Walked {
    fn new(series: &Series) -> Self {
        Self { following: series.smoothing.following(), fitted: Vec::new(), ahead: Vec::new() }
    }

    fn bytes(&self) -> usize {
        self.following.bytes() + self.fitted.capacity() * 8 + self.ahead.capacity() * size_of::<Expected>()
    }

    /// Goes on up to this step of the series, or as far as so many steps lead; how many it went.
    fn follow(&mut self, series: &Series, step: usize, steps_max: usize) -> usize {
        let next = self.fitted.len();
        let values = series.values.get(next..=step).unwrap_or_default();
        let values = values.iter().take(steps_max);
        self.fitted.extend(values.map(|value| self.following.next(&series.smoothing, *value).expected));
        self.fitted.len() - next
    }

    /// Looks so many steps ahead; how many it had to compute.
    fn look(&mut self, series: &Series, horizon: usize, errors: bool) -> Result<usize> {
        if horizon <= self.ahead.len() {
            return Ok(0);
        }
        // Up to twice as far, for rows may ask for one step after the other.
        let horizon = horizon.next_power_of_two().min(HORIZON_MAX);
        self.ahead = if errors {
            let ahead = series.forecast(horizon, 0.0)?;
            ahead.into_iter().map(|step| Expected { value: step.value, error: step.error }).collect()
        } else {
            let ahead = series.smoothing.ahead(horizon);
            ahead.into_iter().map(|value| Expected { value, error: f64::NAN }).collect()
        };
        Ok(horizon)
    }

    fn at(&self, series: &Series, step: usize) -> Option<Expected> {
        let found = match step.checked_sub(series.values.len()) {
            Some(ahead) => *self.ahead.get(ahead)?,
            None => series.expected(*self.fitted.get(step)?),
        };
        Some(found).filter(|found| found.value.is_finite())
    }
}

impl Known {
    /// Nothing yet. Without `errors` the errors of what is expected later than the series are NaN.
    pub fn new(errors: bool) -> Self {
        Self { errors, series: HashMap::new(), bytes: 0 }
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl SeriesSet {
    /// Rows that ask what is expected of them: of a time in the series what its values before it told, of a later one its forecast; nothing
    /// of a series that is not known and a time that is no step of it, before its start or too far ahead.
    ///
    /// # Errors
    /// XX000 for inputs that are not the features'.
    pub fn asked(&self, inputs: &Inputs) -> Result<Asked> {
        let Some((Input::Numbers(times), ids)) = inputs.columns.split_first() else {
            return Err(Error::internal("a series without times"));
        };
        let mut waiting: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        let mut key = Vec::with_capacity(ids.len());
        for (row, time) in times.values().iter().enumerate() {
            key.clear();
            for id in ids {
                let Input::Codes(codes) = id else { return Err(Error::internal("a series without a text")) };
                key.push(codes.get(row).copied().unwrap_or(MISSING));
            }
            let Some(place) = self.places.get(&key) else { continue };
            let step = self.series.get(*place).and_then(|series| self.step(series, *time));
            if let Some(step) = step {
                waiting.entry(*place).or_default().push((row, step));
            }
        }
        Ok(Asked { waiting, found: vec![None; inputs.rows] })
    }

    /// The step that a time belongs to.
    fn step(&self, series: &Series, time: f64) -> Option<usize> {
        if time.is_nan() {
            return None;
        }
        let time = (time * self.unit as f64).round() as i64;
        let step = series.grid.index(time)?;
        let exact = self.truncated || series.grid.time(step) == Some(time);
        (exact && step < series.values.len() + HORIZON_MAX).then_some(step)
    }
}

impl Asked {
    /// Computes for some milliseconds; whether all rows have their answer.
    ///
    /// # Errors
    /// XX000 for a model that looks farther than any.
    pub fn go_on(&mut self, set: &SeriesSet, known: &mut Known) -> Result<bool> {
        let mut steps = STEPS;
        while let Some(entry) = self.waiting.first_entry() {
            let Some(series) = set.series.get(*entry.key()) else {
                entry.remove();
                continue;
            };
            if steps == 0 {
                return Ok(false);
            }
            // The farthest step of each kind has all the others on its way.
            let length = series.values.len();
            let asked = || entry.get().iter().map(|(_, step)| *step);
            let last = asked().filter(|step| *step < length).max();
            let horizon = asked().max().and_then(|step| step.checked_sub(length)).map_or(0, |ahead| ahead + 1);
            let before = known.series.get(entry.key()).map_or(0, Walked::bytes);
            let walked = known.series.entry(*entry.key()).or_insert_with(|| Walked::new(series));
            let followed = last.map_or(0, |last| walked.follow(series, last, steps));
            let looked = walked.look(series, horizon, known.errors)?;
            known.bytes += walked.bytes().saturating_sub(before);
            // What is known costs something too.
            steps = steps.saturating_sub(followed + looked + 1);
            if last.is_some_and(|last| walked.fitted.len() <= last) {
                continue;
            }
            for (row, step) in entry.remove() {
                if let Some(slot) = self.found.get_mut(row) {
                    *slot = walked.at(series, step);
                }
            }
            if known.bytes > KEPT_BYTES_MAX {
                *known = Known::new(known.errors);
            }
        }
        Ok(true)
    }

    /// For each row, when all have their answer.
    pub fn found(self) -> Vec<Option<Expected>> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{DAY, set};
    use super::*;

    fn inputs(times: Vec<f64>, codes: Vec<u32>) -> Inputs {
        Inputs { rows: codes.len(), columns: vec![Input::Numbers(times.into()), Input::Codes(codes)] }
    }

    /// What the steps before tell of this one.
    fn expected(series: &Series, step: usize) -> f64 {
        let mut following = series.smoothing.following();
        let values = series.values.iter().take(step + 1);
        values.map(|value| following.next(&series.smoothing, *value).expected).last().unwrap()
    }

    #[test]
    fn rows_are_expected_by_series_and_step() {
        let (set, _) = set();
        let times = vec![39.0, 40.0, 44.0, 45.5, 3.0, -1.0, f64::NAN, 1e9, 60.0];
        let inputs = inputs(times, vec![1, 1, MISSING, 1, 7, 1, 1, 1, 1]);
        let [first, second] = set.series() else { panic!() };
        for errors in [true, false] {
            let mut known = Known::new(errors);
            let mut asked = set.asked(&inputs).unwrap();
            assert!(asked.go_on(&set, &mut known).unwrap());
            let found = asked.found();
            let close = |found: Option<Expected>, value: f64| assert!((found.unwrap().value - value).abs() < 1e-9);
            close(found[0], expected(first, 39));
            close(found[1], first.forecast(1, 0.5).unwrap()[0].value);
            close(found[2], expected(second, 39));
            assert_eq!(found[3..8], [None; 5]);
            let ahead = first.forecast(21, 0.5).unwrap()[20];
            close(found[8], ahead.value);
            assert!(if errors { found[8].unwrap().error == ahead.error } else { found[8].unwrap().error.is_nan() });
            assert!(known.bytes() > 0);
        }
    }

    #[test]
    fn a_long_series_is_gone_in_parts_and_once() {
        let (short, _) = set();
        let mut series = short.series()[0].clone();
        series.values = (0..STEPS + 10).map(|step| 5.0 + (step % 4) as f64).collect();
        let last = (series.values.len() - 1) as f64;
        let set = SeriesSet::new(1, DAY, false, vec![series]);
        let mut known = Known::new(true);
        let mut asked = set.asked(&inputs(vec![3.0, last], vec![1, 1])).unwrap();
        assert!(!asked.go_on(&set, &mut known).unwrap());
        assert!(asked.go_on(&set, &mut known).unwrap());
        let found = asked.found();
        let series = &set.series()[0];
        assert_eq!(
            found.iter().map(|found| found.unwrap().value).collect::<Vec<_>>(),
            [expected(series, 3), expected(series, STEPS + 9)]
        );
        // All of it is known now.
        let mut again = set.asked(&inputs(vec![last], vec![1])).unwrap();
        assert!(again.go_on(&set, &mut known).unwrap());
    }
}
