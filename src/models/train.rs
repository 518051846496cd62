//! A dataset and options to what is learned, and how good it is.

mod fit;
mod observe;
mod search;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};

use super::dataset::{Dataset, Target, Values};
use super::header::{Evaluation, FeatureStatistics, Importance, LogEntry, Trial};
use super::inputs::Categories;
use super::kind::Task;
use super::learned::Learned;
use super::options::{Options, Value};
use super::refusal::OfOption;
use super::watch::Watch;
use crate::error::{Error, Result, SqlState};

/// What a training may use.
pub struct Control<'a> {
    pub watch: &'a dyn Watch,
    pub pool: &'a Arc<dyn MemoryPool>,
    pub threads: usize,
}

impl Control<'_> {
    /// Takes so many bytes of the pool until the reservation is dropped.
    fn reserve(&self, bytes: usize) -> Result<MemoryReservation> {
        let memory = MemoryConsumer::new("training").register(self.pool);
        memory.try_grow(bytes)?;
        Ok(memory)
    }

    /// Takes so many bytes as many times as is wanted, or half as many times and so on where the pool has no room; once at least.
    fn reserve_times(&self, bytes: usize, wanted: usize) -> Result<(MemoryReservation, usize)> {
        let mut times = wanted.max(1);
        loop {
            match self.reserve(bytes.saturating_mul(times)) {
                Ok(memory) => return Ok((memory, times)),
                Err(full) if times == 1 => return Err(full),
                Err(_) => times /= 2,
            }
        }
    }
}

/// What a training gives.
pub struct Outcome {
    pub learned: Learned,
    pub categories: Categories,
    /// Of a classifier, in order.
    pub classes: Vec<String>,
    pub positive: Option<usize>,
    pub metrics: BTreeMap<String, f64>,
    pub statistics: Vec<FeatureStatistics>,
    pub evaluation: Evaluation,
    pub importance: Vec<Importance>,
    pub oddities: Vec<f64>,
    pub log: Vec<LogEntry>,
    pub trials: Vec<Trial>,
    /// What a search chose.
    pub chosen: BTreeMap<String, Value>,
    pub notes: Vec<String>,
    /// Of the pool, for the model until it is stored.
    pub memory: Option<MemoryReservation>,
}

/// What one fit gives, before it is evaluated.
struct Fitted {
    learned: Learned,
    importance: Vec<Importance>,
    log: Vec<LogEntry>,
    notes: Vec<String>,
    /// Figures of training itself, e.g. the out-of-bag score.
    metrics: BTreeMap<String, f64>,
    /// Of the pool, for what was learned, where that may be much.
    memory: Option<MemoryReservation>,
}

/// Trains a model, or several and keeps the best.
///
/// # Errors
/// 22023 for data that cannot be learned from, 57014 when the watch says so, 53200 when the pool is full.
pub fn train(dataset: &Dataset, options: &Options, control: &Control<'_>) -> Result<Outcome> {
    let classes = match &dataset.target {
        Target::Classes { classes, .. } => classes.clone(),
        Target::None | Target::Numbers(_) => Vec::new(),
    };
    check(dataset, options, &classes)?;
    let positive = positive(options, &classes)?;
    let mut notes = observe::notes(dataset, options);
    let categories = Categories::new(
        dataset
            .columns
            .iter()
            .map(|column| match column {
                Values::Numbers(_) => None,
                Values::Codes { texts, .. } => Some(texts.clone()),
            })
            .collect(),
    );
    let searched = search::best(dataset, options, control, &categories, positive)?;
    let Fitted { learned, mut importance, log, notes: of_fit, metrics: of_training, memory } = searched.fitted;
    notes.extend(of_fit);
    let (mut metrics, evaluation) = (searched.metrics, searched.evaluation);
    metrics.extend(of_training);
    if options.model_type.is_supervised() {
        observe::permutation(dataset, &learned, &categories, control, &mut importance)?;
        if dataset.train_rows == dataset.rows && options.number("eval_fraction") != Some(0.0) {
            notes.push("no rows were held out: the metrics are of the rows that the model was made of".to_owned());
        }
    }
    let oddities = observe::oddities(dataset, &learned, &categories, options.model_type.task(), control)?;
    Ok(Outcome {
        oddities,
        learned,
        categories,
        classes,
        positive,
        metrics,
        statistics: observe::statistics(dataset, control)?,
        evaluation,
        importance,
        log,
        trials: searched.trials,
        chosen: searched.chosen,
        notes,
        memory,
    })
}

fn check(dataset: &Dataset, options: &Options, classes: &[String]) -> Result<()> {
    if dataset.train_rows == 0 {
        let message = "there are no rows to train a model with".to_owned();
        let error = Error::new(SqlState::InvalidParameterValue, message);
        return Err(match dataset.skipped.iter().next() {
            Some((reason, count)) => error.with_detail(format!("{count} rows were left out: {reason}.")),
            None if dataset.rows > 0 => error.with_detail("All rows are held out to evaluate the model."),
            None => error,
        });
    }
    if options.model_type.task() != Task::Classification {
        return Ok(());
    }
    let Target::Classes { codes, .. } = &dataset.target else {
        return Err(Error::internal("a classifier without classes"));
    };
    let mut seen = vec![false; classes.len()];
    for code in codes.iter().take(dataset.train_rows) {
        if let Some(seen) = seen.get_mut(*code as usize) {
            *seen = true;
        }
    }
    if seen.iter().filter(|seen| **seen).count() < 2 {
        let only = classes.iter().zip(&seen).find(|(_, seen)| **seen).map_or("", |(class, _)| class);
        let message = format!("all rows to train with have the same label, \"{only}\"");
        return Err(Error::new(SqlState::InvalidParameterValue, message).with_source(OfOption("label")));
    }
    Ok(())
}

/// Of two classes the one that probabilities are about: the option's, or the larger one.
fn positive(options: &Options, classes: &[String]) -> Result<Option<usize>> {
    let Some(name) = options.text("positive") else { return Ok((classes.len() == 2).then_some(1)) };
    let refused =
        |message: String| Error::new(SqlState::InvalidParameterValue, message).with_source(OfOption("positive"));
    if classes.len() != 2 {
        let message = format!("option \"positive\" is for two classes, the label has {}", classes.len());
        return Err(refused(message));
    }
    match classes.iter().position(|class| class == name) {
        Some(place) => Ok(Some(place)),
        None => {
            let message = format!("the label has no class \"{name}\"");
            Err(refused(message).with_detail(format!("Its classes are {}.", classes.join(", "))))
        }
    }
}
