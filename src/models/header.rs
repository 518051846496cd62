//! What an artifact says of its model beside what was learned.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::feature::Feature;
use super::options::{Options, Value};

/// Settings of a session that say what an expression means, and what they are where an artifact does not name them.
pub const SETTINGS: [(&str, &str); 5] = [
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
];

/// How a model came to be, and what it is asked with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Unique for each training.
    pub id: String,
    /// The program's version.
    pub made_by: String,
    /// RFC 3339.
    pub created_at: String,
    /// The role that trained it.
    pub role: String,
    pub options: Options,
    /// In the order of training.
    pub features: Vec<Feature>,
    #[serde(default)]
    pub label: Option<Label>,
    /// What becomes of the inputs before they are features; empty: nothing, and the inputs are the features.
    #[serde(default)]
    pub transform: Vec<TransformItem>,
    /// With a transform: the columns of the training query that the features are made of.
    #[serde(default)]
    pub inputs: Vec<Feature>,
    /// With a transform: those that the label is made of.
    #[serde(default)]
    pub label_inputs: Vec<Feature>,
    /// With a transform: what [`SETTINGS`] were in training, by name.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The training query, as the user wrote it.
    pub query: String,
    /// Names in the query were looked up in it.
    pub search_path: Vec<String>,
    /// The tables that it read, at their versions.
    #[serde(default)]
    pub sources: Vec<Source>,
    pub rows: Rows,
    pub train_ms: f64,
    /// By name. Those of a model without rows held out are of the rows that it was made of.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// One for each feature.
    #[serde(default)]
    pub statistics: Vec<FeatureStatistics>,
    /// What was found on the rows that `metrics` are of.
    #[serde(default)]
    pub evaluation: Evaluation,
    #[serde(default)]
    pub importance: Vec<Importance>,
    /// Where rows can be anomalies: how odd the rows of training were, of the odder half, ascending; see [`super::anomaly`].
    #[serde(default)]
    pub oddities: Vec<f64>,
    #[serde(default)]
    pub log: Vec<LogEntry>,
    #[serde(default)]
    pub trials: Vec<Trial>,
    /// What the user should know: features that are constant, texts that are no categories.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What is predicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    pub feature: Feature,
    /// Of a classifier, in the order of their type.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Of two classes the place of the one that probabilities are about.
    #[serde(default)]
    pub positive: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformItem {
    pub name: String,
    /// SQL over the inputs, its literals settled.
    pub expression: String,
}

/// A table that the training query read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub schema: String,
    pub name: String,
    pub oid: u32,
    pub version: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    pub train: u64,
    /// Held out.
    pub eval: u64,
    /// Left out, by reason.
    #[serde(default)]
    pub skipped: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    pub feature: String,
    /// What its splits gained, all together 1.
    #[serde(default)]
    pub gain: Option<f64>,
    /// Splits.
    #[serde(default)]
    pub splits: Option<u64>,
    /// What the model's score loses when the feature's values are shuffled.
    #[serde(default)]
    pub permutation: Option<f64>,
}

/// The values of a feature in training; of dates and times as numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureStatistics {
    pub nulls: u64,
    #[serde(default)]
    pub categories: Option<u64>,
    #[serde(default)]
    pub min: Option<f64>,
    #[serde(default)]
    pub max: Option<f64>,
    #[serde(default)]
    pub mean: Option<f64>,
    #[serde(default)]
    pub stddev: Option<f64>,
}

/// More than numbers of a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Of a classifier: rows (by weight) of each class that were predicted to be of each.
    #[serde(default)]
    pub confusion: Vec<Vec<f64>>,
    /// Of two classes.
    #[serde(default)]
    pub roc: Vec<RocPoint>,
}

/// What follows when all rows with at least that probability are taken for positive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RocPoint {
    pub threshold: f64,
    pub true_positives: f64,
    pub false_positives: f64,
    pub true_negatives: f64,
    pub false_negatives: f64,
}

/// A step of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// From 1.
    pub iteration: u64,
    #[serde(default)]
    pub train_loss: Option<f64>,
    #[serde(default)]
    pub eval_loss: Option<f64>,
    /// Since training began.
    pub ms: f64,
}

/// A model of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// From 1.
    pub trial: u64,
    /// The options that were searched for.
    pub options: BTreeMap<String, Value>,
    pub metrics: BTreeMap<String, f64>,
    pub ms: f64,
    /// The one that became the model.
    pub is_best: bool,
    /// Why it came to nothing.
    #[serde(default)]
    pub error: Option<String>,
}

impl Header {
    /// The columns that a prediction asks for, in the order of training.
    pub fn asked(&self) -> &[Feature] {
        if self.transform.is_empty() { &self.features } else { &self.inputs }
    }

    /// All [`SETTINGS`] as they were in training.
    pub fn all_settings(&self) -> BTreeMap<&'static str, &str> {
        let known = |(name, default)| (name, self.settings.get(name).map_or(default, String::as_str));
        SETTINGS.into_iter().map(known).collect()
    }
}
