//! Hyper-parameter search: models with several options, of which the best on the rows held out stays.

use std::collections::BTreeMap;
use std::time::Instant;

use super::super::dataset::Dataset;
use super::super::evaluate::is_loss;
use super::super::header::{Evaluation, Trial};
use super::super::inputs::Categories;
use super::super::options::{Options, SPECS, Tried, Value, in_kind};
use super::super::tree::Rng;
use super::{Control, Fitted, fit, observe};
use crate::error::{Error, Result, SqlState};

/// Trials of a grid at most.
const GRID_MAX: usize = 1_000;

/// The model that stays.
pub(super) struct Best {
    pub(super) fitted: Fitted,
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) evaluation: Evaluation,
    pub(super) trials: Vec<Trial>,
    /// The values of the options that were searched for.
    pub(super) chosen: BTreeMap<String, Value>,
}

/// Fits the model, or one for each trial.
pub(super) fn best(
    dataset: &Dataset,
    options: &Options,
    control: &Control<'_>,
    categories: &Categories,
    positive: Option<usize>,
) -> Result<Best> {
    if options.tried.is_empty() {
        let fitted = fit::fit(dataset, options, control, positive)?;
        let (metrics, evaluation) = observe::evaluation(dataset, &fitted.learned, categories, positive, control)?;
        return Ok(Best { fitted, metrics, evaluation, trials: Vec::new(), chosen: BTreeMap::new() });
    }
    if dataset.train_rows == dataset.rows {
        let message = "a search for options needs rows that are held out";
        return Err(Error::new(SqlState::InvalidParameterValue, message)
            .with_hint("Set eval_fraction, or name a split_column."));
    }
    let objective = options.objective()?;
    // With its value of the objective and its number.
    let mut best: Option<(f64, usize, Best)> = None;
    let mut trials: Vec<Trial> = Vec::new();
    for (number, tried) in combinations(options)?.into_iter().enumerate() {
        observe::go_on(control)?;
        let started = Instant::now();
        let mut own = Options { tried: BTreeMap::new(), ..options.clone() };
        own.values.extend(tried.clone());
        let mut trial = Trial {
            trial: number as u64 + 1,
            options: tried,
            metrics: BTreeMap::new(),
            ms: 0.0,
            is_best: false,
            error: None,
        };
        match fit::fit(dataset, &own, control, positive) {
            Ok(fitted) => {
                let (metrics, evaluation) =
                    observe::evaluation(dataset, &fitted.learned, categories, positive, control)?;
                let value = metrics.get(objective).copied().unwrap_or(f64::NAN);
                let value = if is_loss(objective) { -value } else { value };
                trial.metrics = metrics.clone();
                if !value.is_nan() && best.as_ref().is_none_or(|(known, ..)| value > *known) {
                    let chosen = trial.options.clone();
                    best = Some((value, number, Best { fitted, metrics, evaluation, trials: Vec::new(), chosen }));
                }
            }
            Err(error) if matches!(error.sqlstate(), SqlState::QueryCanceled | SqlState::OutOfMemory) => {
                return Err(error);
            }
            Err(error) => trial.error = Some(error.message().to_owned()),
        }
        trial.ms = started.elapsed().as_secs_f64() * 1e3;
        trials.push(trial);
    }
    let Some((_, number, best)) = best else {
        return Err(without_best(objective, &trials));
    };
    if let Some(trial) = trials.get_mut(number) {
        trial.is_best = true;
    }
    Ok(Best { trials, ..best })
}

/// Why no model is the best one.
fn without_best(objective: &str, trials: &[Trial]) -> Error {
    let failure = trials.iter().find_map(|trial| trial.error.as_ref());
    let detail = failure.map(|first| format!("The first trial that failed: {first}."));
    let (message, hint) = if trials.iter().all(|trial| trial.error.is_some()) {
        ("no trial of the search came to a model".to_owned(), None)
    } else {
        let hint = "Hold out other rows or more of them, or name another metric by the option hparam_objective.";
        (format!("metric \"{objective}\" is not defined on the rows held out"), Some(hint))
    };
    let error = Error::new(SqlState::InvalidParameterValue, message);
    let error = match detail {
        Some(detail) => error.with_detail(detail),
        None => error,
    };
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The options of each trial.
fn combinations(options: &Options) -> Result<Vec<BTreeMap<String, Value>>> {
    let trials = options.integer("num_trials").unwrap_or(10);
    if options.text("hparam_algorithm") == Some("grid") {
        return grid(options);
    }
    let mut found: Vec<BTreeMap<String, Value>> = Vec::with_capacity(trials);
    for number in 0..trials {
        let mut random = Rng::new(options.seed(), &[u64::MAX, number as u64]);
        let mut chosen = BTreeMap::new();
        for (name, tried) in &options.tried {
            let share = random.unit();
            let value = match tried {
                Tried::OneOf(values) => {
                    let place = (share * values.len() as f64) as usize;
                    values.get(place.min(values.len().saturating_sub(1))).cloned()
                }
                Tried::Range(low, high) => {
                    let spec = SPECS.iter().find(|spec| spec.name == name);
                    // Over several orders of magnitude, each counts alike.
                    let value = if *low > 0.0 && high / low >= 100.0 {
                        (low.ln() + share * (high.ln() - low.ln())).exp()
                    } else {
                        low + share * (high - low)
                    };
                    spec.map(|spec| in_kind(spec, value.clamp(*low, *high)))
                }
            };
            if let Some(value) = value {
                chosen.insert(name.clone(), value);
            }
        }
        if !found.contains(&chosen) {
            found.push(chosen);
        }
    }
    Ok(found)
}

fn grid(options: &Options) -> Result<Vec<BTreeMap<String, Value>>> {
    let mut found = vec![BTreeMap::new()];
    for (name, tried) in &options.tried {
        let Tried::OneOf(values) = tried else {
            let message = format!("a grid needs candidates, option \"{name}\" has a range");
            return Err(Error::new(SqlState::InvalidParameterValue, message)
                .with_hint("Use HPARAM_CANDIDATES, or hparam_algorithm = 'random'."));
        };
        let with = |known: &BTreeMap<String, Value>, value: &Value| {
            let mut known = known.clone();
            known.insert(name.clone(), value.clone());
            known
        };
        found = found.iter().flat_map(|known| values.iter().map(move |value| with(known, value))).collect();
        if found.len() > GRID_MAX {
            let message = format!("the grid has more than {GRID_MAX} combinations");
            return Err(Error::new(SqlState::ProgramLimitExceeded, message));
        }
    }
    Ok(found)
}
