//! Times brought to a regular grid.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, NaiveTime};
use serde::{Deserialize, Serialize};

use crate::models::refusal::{Refusal, sound};

pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// Steps of a series; more are refused, for gaps may be wide.
pub const STEPS_MAX: usize = 10_000_000;

/// The distance of two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Microseconds, at least 1.
    Micros(i64),
    /// Calendar months, at least 1: the day of the month stays that of the first step, or the month's last.
    Months(u32),
    /// As many months, each step on the last day of its month.
    MonthEnds(u32),
}

/// Where the steps of a series are: microseconds since 1970 in UTC, as Arrow's timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    pub start: i64,
    pub step: Step,
}

/// Values by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// NaN where there is none.
    pub values: Vec<f64>,
    /// Steps without a value, for want of a row or because it is NULL.
    pub gaps: usize,
    /// Rows whose time is not on the grid: they went to the step before.
    pub off_grid: usize,
}

fn date(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc())
}

impl Step {
    /// Periods that series with this step usually have, in steps.
    pub fn periods(self) -> Vec<usize> {
        match self {
            Self::Months(1) | Self::MonthEnds(1) => vec![12],
            Self::Months(3) | Self::MonthEnds(3) => vec![4],
            Self::Months(_) | Self::MonthEnds(_) => Vec::new(),
            Self::Micros(micros) => {
                let whole = [HOUR, DAY, 7 * DAY].into_iter().filter(|long| micros < *long && long % micros == 0);
                let mut periods: Vec<usize> =
                    whole.map(|long| (long / micros) as usize).filter(|count| *count <= 400).collect();
                if micros == 7 * DAY {
                    periods.push(52);
                }
                periods
            }
        }
    }
}

impl Grid {
    /// The grid of ascending `times`: months, quarters or years when all are whole months apart, else the most frequent distance. Times that
    /// all are on the last day of their months stay there, for the first month may be a short one.
    /// `None` with fewer than two times or when two are equal or they descend.
    pub fn detect(times: &[i64]) -> Option<Self> {
        let start = *times.first()?;
        let mut distances: Vec<i64> = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
        distances.sort_unstable();
        if *distances.first()? <= 0 {
            return None;
        }
        if let Some(months) = months(times) {
            let ends = Self { start, step: Step::MonthEnds(months) };
            let same = Self { start, step: Step::Months(months) };
            for grid in [ends, same] {
                if times.iter().all(|time| grid.index(*time).and_then(|index| grid.time(index)) == Some(*time)) {
                    return Some(grid);
                }
            }
        }
        let runs = distances.chunk_by(|a, b| a == b);
        // Of equally frequent ones the smaller.
        let usual = runs.rev().max_by_key(|run| run.len()).and_then(|run| run.first())?;
        Some(Self { start, step: Step::Micros(*usual) })
    }

    /// The grid of steps of the calendar (hours, days, weeks from Monday, months …) that begins at or before `first`.
    pub fn of_calendar(step: Step, first: i64) -> Option<Self> {
        let start = match step {
            Step::Micros(micros) => {
                // 1970 began on a Thursday.
                let monday = if micros == 7 * DAY { 4 * DAY } else { 0 };
                first.checked_sub(monday)?.div_euclid(micros.max(1)) * micros + monday
            }
            Step::Months(months) | Step::MonthEnds(months) => {
                let months = i64::from(months.max(1));
                let number = month_number(first)?.div_euclid(months) * months;
                let year = i32::try_from(number.div_euclid(12)).ok()?;
                let month = u32::try_from(number.rem_euclid(12)).ok()? + 1;
                NaiveDate::from_ymd_opt(year, month, 1)?.and_time(NaiveTime::MIN).and_utc().timestamp_micros()
            }
        };
        Some(Self { start, step })
    }

    /// The time of step `index`; `None` beyond the calendar.
    pub fn time(&self, index: usize) -> Option<i64> {
        match self.step {
            Step::Micros(micros) => i64::try_from(index).ok()?.checked_mul(micros)?.checked_add(self.start),
            Step::Months(months) => {
                let ahead = Months::new(u32::try_from(index).ok()?.checked_mul(months)?);
                Some(date(self.start)?.checked_add_months(ahead)?.and_utc().timestamp_micros())
            }
            Step::MonthEnds(months) => {
                let months = u32::try_from(index).ok()?.checked_mul(months)?;
                // A day that every month has, and from there to the next month's first.
                let start = date(self.start)?.with_day(1)?;
                let next = start.checked_add_months(Months::new(months.checked_add(1)?))?;
                Some(next.and_utc().timestamp_micros() - DAY)
            }
        }
    }

    /// The step at or before `time`; `None` before the first.
    pub fn index(&self, time: i64) -> Option<usize> {
        match self.step {
            Step::Micros(micros) => usize::try_from(time.checked_sub(self.start)?.div_euclid(micros.max(1))).ok(),
            Step::Months(months) | Step::MonthEnds(months) => {
                let whole = month_number(time)?.checked_sub(month_number(self.start)?)?;
                let index = usize::try_from(whole.div_euclid(i64::from(months.max(1)))).ok()?;
                // The day of the month may not have come yet.
                if self.time(index)? > time { index.checked_sub(1) } else { Some(index) }
            }
        }
    }

    /// Puts values at their steps, up to the last time. Errors: a time before the start, two values at one step, too many steps.
    pub fn place(&self, times: &[i64], values: &[f64]) -> Result<Placed, Refusal> {
        let mut placed = Placed { values: Vec::new(), gaps: 0, off_grid: 0 };
        let mut taken = Vec::new();
        for (row, (time, value)) in times.iter().zip(values).enumerate() {
            let index = self.index(*time).filter(|index| *index < STEPS_MAX);
            let index = index.ok_or_else(|| {
                Refusal::Mismatch(format!("at most {STEPS_MAX} steps between the first and the last time"))
            })?;
            if index >= taken.len() {
                taken.resize(index + 1, false);
                placed.values.resize(index + 1, f64::NAN);
            }
            if std::mem::replace(&mut taken[index], true) {
                return Err(Refusal::Mismatch(format!(
                    "one row for each time of a series (row {row} is a second one)"
                )));
            }
            placed.values[index] = *value;
            placed.off_grid += usize::from(self.time(index) != Some(*time));
        }
        placed.gaps = placed.values.iter().filter(|value| value.is_nan()).count();
        Ok(placed)
    }

    /// `Damaged` unless steps go forward.
    pub fn validate(&self) -> Result<(), Refusal> {
        let forward = match self.step {
            Step::Micros(micros) => micros >= 1,
            Step::Months(months) | Step::MonthEnds(months) => (1..=12_000).contains(&months),
        };
        sound(forward, "the step of a series")
    }
}

fn month_number(micros: i64) -> Option<i64> {
    let date = date(micros)?;
    Some(i64::from(date.year()) * 12 + i64::from(date.month0()))
}

/// The months that divide all distances of the times, if each is in a later month than the one before.
fn months(times: &[i64]) -> Option<u32> {
    let mut common = 0;
    let mut before = month_number(*times.first()?)?;
    for time in times.iter().skip(1) {
        let number = month_number(*time)?;
        let apart = u32::try_from(number - before).ok().filter(|apart| *apart > 0)?;
        common = divisor(common, apart);
        before = number;
    }
    Some(common).filter(|months| *months > 0)
}

/// The greatest that divides both.
fn divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> i64 {
        text.parse::<chrono::NaiveDate>().unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_micros()
    }

    #[test]
    fn months_and_days_are_told_apart() {
        let ends: Vec<i64> = ["2024-01-31", "2024-02-29", "2024-04-30"].map(time).to_vec();
        let grid = Grid::detect(&ends).unwrap();
        assert_eq!(grid.step, Step::MonthEnds(1));
        let placed = grid.place(&ends, &[1.0, 2.0, 4.0]).unwrap();
        assert_eq!((placed.values.len(), placed.gaps, placed.off_grid), (4, 1, 0));
        assert_eq!(grid.time(2), Some(time("2024-03-31")));
        let days: Vec<i64> = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-05"].map(time).to_vec();
        let grid = Grid::detect(&days).unwrap();
        assert_eq!((grid.step, grid.step.periods()), (Step::Micros(DAY), vec![7]));
        assert_eq!(grid.place(&days, &[1.0; 4]).unwrap().gaps, 1);
        assert!(grid.place(&[days[0], days[0]], &[1.0; 2]).is_err());
        assert!(grid.place(&[days[0] - 1], &[1.0]).is_err());
        assert_eq!(Grid::detect(&[5]), None);
        assert_eq!(Grid::detect(&[5, 5]), None);
        assert_eq!(Step::Micros(HOUR).periods(), [24, 168]);
        let of = |step, first| Grid::of_calendar(step, time(first)).map(|grid| grid.start);
        assert_eq!(of(Step::Micros(7 * DAY), "2024-02-29"), Some(time("2024-02-26")));
        assert_eq!(of(Step::Micros(7 * DAY), "1969-12-30"), Some(time("1969-12-29")));
        assert_eq!(of(Step::Months(3), "2024-06-30"), Some(time("2024-04-01")));
        assert_eq!(of(Step::Months(12), "1969-06-30"), Some(time("1969-01-01")));
    }
    #[test]
    fn ends_of_months_stay_ends_wherever_they_begin() {
        let of = |texts: &[&str]| Grid::detect(&texts.iter().map(|text| time(text)).collect::<Vec<_>>()).unwrap();
        for texts in [
            &["2023-04-30", "2023-05-31", "2023-06-30"][..],
            &["2023-02-28", "2023-03-31", "2023-04-30"],
            &["2023-01-31", "2023-02-28", "2023-04-30"],
        ] {
            let grid = of(texts);
            assert_eq!(grid.step, Step::MonthEnds(1));
            assert_eq!(grid.index(time(texts[2])).and_then(|index| grid.time(index)), Some(time(texts[2])));
            assert_eq!(grid.index(time("2024-02-28")).zip(grid.index(time("2024-01-31"))).map(|(a, b)| a - b), Some(0));
            assert_eq!(grid.time(grid.index(time("2024-02-29")).unwrap()), Some(time("2024-02-29")));
        }
        let quarters = of(&["2023-06-30", "2023-09-30", "2024-03-31"]);
        assert_eq!((quarters.step, quarters.time(2)), (Step::MonthEnds(3), Some(time("2023-12-31"))));
        let years = of(&["2023-02-28", "2024-02-29", "2025-02-28"]);
        assert_eq!((years.step, years.step.periods()), (Step::MonthEnds(12), vec![]));
        // Not all of these are the last days.
        assert_eq!(of(&["2023-01-30", "2023-02-28", "2023-03-30"]).step, Step::Months(1));
        assert_eq!(of(&["2023-01-15", "2023-03-15", "2023-06-15"]).step, Step::Months(1));
        assert_eq!(of(&["2023-01-15", "2023-02-16", "2023-03-20"]).step, Step::Micros(32 * DAY));
    }
}
