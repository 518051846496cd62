//! Exponential smoothing of each series of a dataset: its features are the time, and after it what tells series apart.

use std::collections::{BTreeMap, HashMap};

use chrono::DateTime;

use super::super::super::dataset::{Dataset, MISSING, Target, Values};
use super::super::super::feature::FeatureKind;
use super::super::super::forecast::{
    DAY, ErrorKind, Ets, ForecastOptions, Grid, HOUR, MINUTE, Period, SECOND, STEPS_MAX, Season, Step, Trend,
};
use super::super::super::learned::{Learned, refused};
use super::super::super::options::Options;
use super::super::super::refusal::{OfOption, Refusal};
use super::super::super::series::{Series, SeriesSet};
use super::super::{Control, Fitted, observe};
use super::logged::Logged;
use crate::error::{Error, Result, SqlState};

/// Series of a model at most.
const SERIES_MAX: usize = 100_000;
/// Where steps are not given, a series with fewer values than this share of its steps is not regular.
const VALUES_SHARE_MIN: f64 = 0.1;
/// Steps with which a series may have any gaps.
const STEPS_FREE: usize = 20;
/// Bytes a row that its place among the others takes.
const ROW_BYTES: usize = 40;
/// Rows that are sorted between two questions whether to go on.
const SORTED_ROWS: usize = 1 << 18;
/// Bytes a step that a fit takes while it runs.
const STEP_BYTES: usize = 400;
/// Series that a note names.
const TOLD_MAX: usize = 5;

/// The rows of a dataset by series and time.
struct Rows<'a> {
    dataset: &'a Dataset,
    /// Microseconds of a unit of the times.
    unit: i64,
    times: &'a [f64],
    values: &'a [f64],
    ids: Vec<(&'a [u32], &'a [String])>,
}

/// A series that is to be fitted.
struct Placed {
    key: Vec<u32>,
    grid: Grid,
    values: Vec<f64>,
    gaps: usize,
}

/// The steps that an option names; `None` where they are found.
fn step(options: &Options) -> Option<Step> {
    match options.text("data_frequency")? {
        "per_minute" => Some(Step::Micros(MINUTE)),
        "hourly" => Some(Step::Micros(HOUR)),
        "daily" => Some(Step::Micros(DAY)),
        "weekly" => Some(Step::Micros(7 * DAY)),
        "monthly" => Some(Step::Months(1)),
        "quarterly" => Some(Step::Months(3)),
        "yearly" => Some(Step::Months(12)),
        _ => None,
    }
}

/// A step in words.
fn distance(step: Step) -> String {
    match step {
        Step::Months(1) | Step::MonthEnds(1) => "a month".to_owned(),
        Step::Months(months) | Step::MonthEnds(months) => format!("{months} months"),
        Step::Micros(DAY) => "a day".to_owned(),
        Step::Micros(micros) if micros % DAY == 0 => format!("{} days", micros / DAY),
        Step::Micros(SECOND) => "a second".to_owned(),
        Step::Micros(micros) => format!("{} seconds", micros as f64 / SECOND as f64),
    }
}

fn shape_options(options: &Options, step: Step) -> ForecastOptions {
    ForecastOptions {
        period: match options.integer("period") {
            Some(period) => Period::Given(period.max(1)),
            None => Period::Among(step.periods()),
        },
        error: match options.text("error") {
            Some("additive") => Some(ErrorKind::Additive),
            Some("multiplicative") => Some(ErrorKind::Multiplicative),
            _ => None,
        },
        trend: match options.text("trend") {
            Some("none") => Some(Trend::None),
            Some("additive") => Some(Trend::Additive),
            Some("damped") => Some(Trend::Damped),
            _ => None,
        },
        season: match options.text("seasonal") {
            Some("none") => Some(Season::None),
            Some("additive") => Some(Season::Additive),
            Some("multiplicative") => Some(Season::Multiplicative),
            _ => None,
        },
        ..ForecastOptions::default()
    }
}

pub(super) fn smoothing(dataset: &Dataset, options: &Options, control: &Control<'_>) -> Result<Fitted> {
    let logged = Logged::new(control.watch);
    let rows = Rows::new(dataset)?;
    // The order of rows, and the values of all series beside the dataset's.
    let memory = control.reserve(dataset.train_rows * ROW_BYTES)?;
    let order = rows.order(control)?;
    let given = step(options);
    if matches!(given, Some(Step::Micros(micros)) if micros < rows.unit) {
        let message = "option \"data_frequency\" has steps of less than a day, the column of times has days";
        return Err(Error::new(SqlState::InvalidParameterValue, message).with_source(OfOption("data_frequency")));
    }
    let mut placed: Vec<Placed> = Vec::new();
    let mut steps = (0, 0);
    for run in order.chunk_by(|one, other| rows.same(*one, *other)) {
        observe::go_on(control)?;
        let series = rows.place(run, given, options, control)?;
        steps = (steps.0 + series.values.len(), series.values.len().max(steps.1));
        memory.try_resize(dataset.train_rows * ROW_BYTES + steps.0 * 8)?;
        placed.push(series);
    }
    let work = control.reserve(steps.1.saturating_mul(STEP_BYTES * control.threads.min(placed.len())))?;
    let mut notes = Vec::new();
    let gaps: usize = placed.iter().map(|series| series.gaps).sum();
    if gaps > 0 {
        notes.push(format!(
            "{gaps} of {} steps have no value: they are gone over as the series lead to expect",
            steps.0
        ));
    }
    let own: Vec<(&[f64], ForecastOptions)> =
        placed.iter().map(|series| (series.values.as_slice(), shape_options(options, series.grid.step))).collect();
    let fitted = Ets::fit_all(&own, control.threads, &logged).map_err(refused)?;
    drop((work, own));
    // A series knows no name of its values.
    let label = options.text("label").unwrap_or("value");
    let named = |refusal| match refusal {
        Refusal::Infinite { .. } => Refusal::Infinite { column: label.to_owned() },
        other => other,
    };
    let mut series = Vec::with_capacity(placed.len());
    let mut left_out = Vec::new();
    let alone = placed.len() == 1;
    for (placed, fitted) in placed.into_iter().zip(fitted) {
        let Placed { key, grid, values, .. } = placed;
        match fitted.map_err(named) {
            Ok(smoothing) => series.push(Series { key, grid, values, smoothing }),
            Err(refusal) if alone => return Err(refused(refusal)),
            Err(refusal) => left_out.push((rows.named(&key), refusal)),
        }
    }
    if let Some((name, refusal)) = left_out.first() {
        if series.is_empty() {
            return Err(Error::new(SqlState::InvalidParameterValue, "no series can be modelled")
                .with_detail(format!("The first, {name}: {refusal}.")));
        }
        let told = left_out.iter().take(TOLD_MAX).map(|(name, refusal)| format!("{name} ({refusal})"));
        let more = left_out.len().saturating_sub(TOLD_MAX);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        notes.push(format!("series without a model: {}{rest}", told.collect::<Vec<_>>().join(", ")));
    }
    let mut metrics = BTreeMap::from([("series".to_owned(), series.len() as f64)]);
    if let [only] = series.as_slice() {
        let Ets { aicc, log_likelihood, variance, period, .. } = &only.smoothing;
        let of_one = [("aicc", *aicc), ("log_likelihood", *log_likelihood), ("variance", *variance)];
        metrics.extend(of_one.map(|(name, value)| (name.to_owned(), value)));
        metrics.insert("period".to_owned(), *period as f64);
        metrics.retain(|_, value| value.is_finite());
    }
    let set = SeriesSet::new(rows.ids.len(), rows.unit, given.is_some(), series);
    // As they are, as sections of the artifact and as its bytes.
    memory.try_resize(set.bytes() * 3)?;
    Ok(Fitted {
        learned: Learned::Series(set),
        importance: Vec::new(),
        log: logged.log(),
        notes,
        metrics,
        memory: Some(memory),
    })
}

impl<'a> Rows<'a> {
    fn new(dataset: &'a Dataset) -> Result<Self> {
        let unexpected = || Error::internal("a series without times or values");
        let Some((Values::Numbers(times), ids)) = dataset.columns.split_first() else { return Err(unexpected()) };
        let Target::Numbers(values) = &dataset.target else { return Err(unexpected()) };
        let kind = dataset.features.first().map(|time| time.kind);
        let ids = ids.iter().map(|column| match column {
            Values::Codes { codes, texts } => Ok((codes.as_slice(), texts.as_slice())),
            Values::Numbers(_) => Err(unexpected()),
        });
        let unit = if kind == Some(FeatureKind::Date) { DAY } else { SECOND };
        Ok(Self { dataset, unit, times, values, ids: ids.collect::<Result<_>>()? })
    }

    fn code(&self, id: usize, row: u32) -> u32 {
        self.ids.get(id).and_then(|(codes, _)| codes.get(row as usize)).copied().unwrap_or(MISSING)
    }

    fn time(&self, row: u32) -> f64 {
        self.times.get(row as usize).copied().unwrap_or(f64::NAN)
    }

    fn same(&self, one: u32, other: u32) -> bool {
        (0..self.ids.len()).all(|id| self.code(id, one) == self.code(id, other))
    }

    /// By the texts of the series, NULL last, then by time.
    fn order(&self, control: &Control<'_>) -> Result<Vec<u32>> {
        let numbers = self.numbers(control)?;
        // Where the rows of each series begin, and then where its next one goes.
        let mut starts = vec![0_usize; numbers.iter().max().map_or(0, |last| *last as usize + 2)];
        for number in &numbers {
            if let Some(count) = starts.get_mut(*number as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let ends: Vec<usize> = starts.iter().skip(1).copied().collect();
        let mut order = vec![0_u32; numbers.len()];
        for (row, number) in (0_u32..).zip(&numbers) {
            if let Some(next) = starts.get_mut(*number as usize) {
                if let Some(place) = order.get_mut(*next) {
                    *place = row;
                }
                *next += 1;
            }
        }
        let mut start = 0;
        for end in ends {
            let Some(rows) = order.get_mut(start..end) else { return Err(Error::internal("rows without a series")) };
            self.sort(rows, control)?;
            start = end;
        }
        Ok(order)
    }

    /// For each row the number of its series, in the order of their texts.
    fn numbers(&self, control: &Control<'_>) -> Result<Vec<u32>> {
        let mut numbers = vec![0_u32; self.dataset.train_rows];
        for (id, (_, texts)) in self.ids.iter().enumerate() {
            observe::go_on(control)?;
            let mut sorted: Vec<u32> = (0..texts.len() as u32).collect();
            sorted.sort_unstable_by_key(|code| texts.get(*code as usize));
            let mut ranks = vec![0_u32; texts.len()];
            for (rank, code) in (0_u32..).zip(sorted) {
                if let Some(slot) = ranks.get_mut(code as usize) {
                    *slot = rank;
                }
            }
            let rank = |row: u32| ranks.get(self.code(id, row) as usize).copied().unwrap_or(u32::MAX);
            // Those with the same texts up to here, in the order of all of these.
            let mut pairs: HashMap<(u32, u32), u32> = HashMap::new();
            for (row, number) in (0_u32..).zip(&numbers) {
                if (row as usize).is_multiple_of(SORTED_ROWS) {
                    observe::go_on(control)?;
                }
                pairs.entry((*number, rank(row))).or_default();
                if pairs.len() > SERIES_MAX {
                    let message = format!("there are more than {SERIES_MAX} series");
                    return Err(Error::new(SqlState::ProgramLimitExceeded, message));
                }
            }
            let mut sorted: Vec<(u32, u32)> = pairs.keys().copied().collect();
            sorted.sort_unstable();
            pairs = sorted.into_iter().zip(0..).collect();
            for (row, number) in (0_u32..).zip(&mut numbers) {
                *number = pairs.get(&(*number, rank(row))).copied().unwrap_or_default();
            }
        }
        Ok(numbers)
    }

    /// Puts rows into the order of their times.
    fn sort(&self, rows: &mut [u32], control: &Control<'_>) -> Result<()> {
        let mut timed: Vec<(f64, u32)> = rows.iter().map(|row| (self.time(*row), *row)).collect();
        let earlier = |one: &(f64, u32), other: &(f64, u32)| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1));
        for part in timed.chunks_mut(SORTED_ROWS) {
            observe::go_on(control)?;
            part.sort_unstable_by(earlier);
        }
        // What is in order already is only merged.
        timed.sort_by(earlier);
        rows.iter_mut().zip(timed).for_each(|(place, (_, row))| *place = row);
        Ok(())
    }

    fn named(&self, key: &[u32]) -> String {
        if key.is_empty() {
            return "the series".to_owned();
        }
        let text = |(code, (_, texts)): (&u32, &(&[u32], &[String]))| {
            texts.get(*code as usize).map_or_else(|| "(null)".to_owned(), |text| format!("\"{text}\""))
        };
        let texts: Vec<String> = key.iter().zip(&self.ids).map(text).collect();
        format!("series {}", texts.join(", "))
    }

    fn shown(&self, time: i64) -> String {
        let Some(time) = DateTime::from_timestamp_micros(time) else { return time.to_string() };
        let time = time.naive_utc();
        if self.unit == DAY { time.date().to_string() } else { time.format("%Y-%m-%d %H:%M:%S%.f").to_string() }
    }

    /// Puts the rows of one series, in order of time, on its grid.
    fn place(&self, rows: &[u32], given: Option<Step>, options: &Options, control: &Control<'_>) -> Result<Placed> {
        let times: Vec<i64> = rows.iter().map(|row| (self.time(*row) * self.unit as f64).round() as i64).collect();
        let first = rows.first().copied().unwrap_or(0);
        let key: Vec<u32> = (0..self.ids.len()).map(|id| self.code(id, first)).collect();
        let refuse = |message: String| Error::new(SqlState::InvalidParameterValue, message);
        let (Some(start), Some(end)) = (times.first(), times.last()) else {
            return Err(Error::internal("a series without rows"));
        };
        for bound in [start, end] {
            if DateTime::from_timestamp_micros(*bound).is_none() {
                let message = format!("{} has a time that is infinite or outside the calendar", self.named(&key));
                return Err(
                    Error::new(SqlState::DatetimeFieldOverflow, message).with_hint("Leave such rows out in the query.")
                );
            }
        }
        let grid = match given {
            Some(step) => Grid::of_calendar(step, *start),
            None => Grid::detect(&times),
        };
        // One time has no distance: any grid does, for it has too few values anyway.
        let grid = match (grid, times.len()) {
            (Some(grid), _) => grid,
            (None, 1) => Grid { start: *start, step: Step::Micros(DAY) },
            (None, _) => {
                let twice = times.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first());
                return Err(self.twice(&key, *twice.unwrap_or(start), None));
            }
        };
        let mut before = None;
        let mut off_grid = 0;
        for (row, time) in times.iter().enumerate() {
            if row.is_multiple_of(SORTED_ROWS) {
                observe::go_on(control)?;
            }
            let index = grid.index(*time).filter(|index| *index < STEPS_MAX);
            let index = index.ok_or_else(|| {
                refuse(format!("{} has more than {STEPS_MAX} steps from its first to its last time", self.named(&key)))
            })?;
            if let Some((_, other)) = before.replace((index, *time)).filter(|(other, _)| *other == index) {
                let Some(frequency) = given.and(options.text("data_frequency")) else {
                    let detail = format!(
                        "Most are {} apart, but between {} and {} is less.",
                        distance(grid.step),
                        self.shown(other),
                        self.shown(*time)
                    );
                    return Err(self.irregular(&key, detail));
                };
                return Err(self.twice(&key, grid.time(index).unwrap_or(*time), Some(frequency)));
            }
            off_grid += usize::from(grid.time(index) != Some(*time));
        }
        let steps = before.map_or(0, |(last, _)| last + 1);
        let sparse = steps > STEPS_FREE && (times.len() as f64) < VALUES_SHARE_MIN * steps as f64;
        if given.is_none() && (off_grid > 0 || sparse) {
            let found = distance(grid.step);
            let detail = if off_grid > 0 {
                let all = times.len();
                format!(
                    "Most are {found} apart, but {off_grid} of {all} are no such steps from {}.",
                    self.shown(*start)
                )
            } else {
                format!("Most are {found} apart, but of {steps} such steps only {} have a value.", times.len())
            };
            return Err(self.irregular(&key, detail));
        }
        let values: Vec<f64> =
            rows.iter().map(|row| self.values.get(*row as usize).copied().unwrap_or(f64::NAN)).collect();
        let placed = grid.place(&times, &values).map_err(refused)?;
        Ok(Placed { key, grid, values: placed.values, gaps: placed.gaps })
    }

    fn irregular(&self, key: &[u32], detail: String) -> Error {
        let message = format!("the times of {} are not regular", self.named(key));
        Error::new(SqlState::InvalidParameterValue, message).with_detail(detail).with_hint(
            "Name the steps by the option data_frequency, or have the query put the times on a grid, for example by date_trunc.",
        )
    }

    fn twice(&self, key: &[u32], time: i64, frequency: Option<&str>) -> Error {
        let message = match frequency {
            Some(frequency) => {
                format!("{} has two rows for the {frequency} step of {}", self.named(key), self.shown(time))
            }
            None => format!("{} has two rows for {}", self.named(key), self.shown(time)),
        };
        Error::new(SqlState::InvalidParameterValue, message).with_hint(
            "Have the query make one row of them by GROUP BY, or tell series apart by the option time_series_id_col.",
        )
    }
}
