//! A dataset and options to what is learned.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryPool;

use super::dataset::Dataset;
use super::inputs::Categories;
use super::header::{Evaluation, FeatureStatistics, Importance, LogEntry, Trial};
use super::learned::Learned;
use super::options::Options;
use super::watch::Watch;
use crate::error::{Error, Result};

/// What a training may use.
pub struct Control<'a> {
    pub watch: &'a dyn Watch,
    pub pool: &'a Arc<dyn MemoryPool>,
    pub threads: usize,
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
    pub log: Vec<LogEntry>,
    pub trials: Vec<Trial>,
    pub notes: Vec<String>,
}

/// Trains a model.
///
/// # Errors
/// 22023 for data that cannot be learned from, 57014 when the watch says so, 53200 when the pool is full.
pub fn train(dataset: &Dataset, options: &Options, control: &Control<'_>) -> Result<Outcome> {
    let _ = (dataset, control);
    Err(Error::unsupported(format!("a model of type {}", options.model_type.name())))
}
