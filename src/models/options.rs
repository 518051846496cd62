//! OPTIONS of CREATE MODEL: one table of names, meanings, bounds and defaults, from which errors and the documentation come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::kind::ModelType::{self, *};
use crate::error::{Error, Result, SqlState};

#[cfg(test)]
mod tests;

/// A value, as artifacts keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Value>),
}

/// Values that a search tries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tried {
    /// From the first to the second.
    Range(f64, f64),
    OneOf(Vec<Value>),
}

/// What an option may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// From the first to the second.
    Integer(i64, i64),
    Number(f64, f64),
    Boolean,
    Text,
    Texts,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// One of some words, or a number between two.
    ChoiceOr(&'static [&'static str], f64, f64),
    /// `balanced`, or weights of classes as JSON: `{"a": 1, "b": 10}`.
    Weights,
}

/// An option of CREATE MODEL.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    pub name: &'static str,
    /// Names of other systems for the same.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    /// The kinds of models that know it.
    pub types: &'static [ModelType],
    /// As it would be written; empty for none.
    pub default: &'static str,
    pub about: &'static str,
}

const ALL: &[ModelType] = &[
    LinearRegression,
    LogisticRegression,
    RandomForestClassifier,
    RandomForestRegressor,
    BoostedTreeClassifier,
    BoostedTreeRegressor,
    Kmeans,
    Pca,
    IsolationForest,
    ExponentialSmoothing,
];
const ROWS: &[ModelType] = &[
    LinearRegression,
    LogisticRegression,
    RandomForestClassifier,
    RandomForestRegressor,
    BoostedTreeClassifier,
    BoostedTreeRegressor,
    Kmeans,
    Pca,
    IsolationForest,
];
const SUPERVISED: &[ModelType] = &[
    LinearRegression,
    LogisticRegression,
    RandomForestClassifier,
    RandomForestRegressor,
    BoostedTreeClassifier,
    BoostedTreeRegressor,
];
const LABELLED: &[ModelType] = &[
    LinearRegression,
    LogisticRegression,
    RandomForestClassifier,
    RandomForestRegressor,
    BoostedTreeClassifier,
    BoostedTreeRegressor,
    ExponentialSmoothing,
];
const CLASSIFIERS: &[ModelType] = &[LogisticRegression, RandomForestClassifier, BoostedTreeClassifier];
const TREES: &[ModelType] =
    &[RandomForestClassifier, RandomForestRegressor, BoostedTreeClassifier, BoostedTreeRegressor, IsolationForest];
const GROWN: &[ModelType] =
    &[RandomForestClassifier, RandomForestRegressor, BoostedTreeClassifier, BoostedTreeRegressor];
const FORESTS: &[ModelType] = &[RandomForestClassifier, RandomForestRegressor];
const BAGGED: &[ModelType] = &[RandomForestClassifier, RandomForestRegressor, IsolationForest];
const BOOSTED: &[ModelType] = &[BoostedTreeClassifier, BoostedTreeRegressor];
const PENALISED: &[ModelType] = &[LinearRegression, LogisticRegression, BoostedTreeClassifier, BoostedTreeRegressor];
const LINEAR: &[ModelType] = &[LinearRegression, LogisticRegression];
const SCALED: &[ModelType] = &[LinearRegression, LogisticRegression, Kmeans, Pca];
const ITERATED: &[ModelType] = &[LinearRegression, LogisticRegression, Kmeans];

/// Every option, in the order of the documentation.
pub const SPECS: &[Spec] = &[
    Spec {
        name: "model_type",
        aliases: &[],
        kind: Kind::Text,
        types: ALL,
        default: "",
        about: "The kind of model; must be given.",
    },
    Spec {
        name: "label",
        aliases: &["input_label_cols", "label_col", "target", "time_series_data_col"],
        kind: Kind::Text,
        types: LABELLED,
        default: "",
        about: "The column to predict; must be given, unless a column is called `label`.",
    },
    Spec {
        name: "weight",
        aliases: &["weight_col", "weight_column", "sample_weight"],
        kind: Kind::Text,
        types: SUPERVISED,
        default: "",
        about: "A column of numbers that rows count for, no feature.",
    },
    Spec {
        name: "exclude",
        aliases: &["exclude_columns", "ignored_columns"],
        kind: Kind::Texts,
        types: ROWS,
        default: "",
        about: "Columns of the query that are no features.",
    },
    Spec {
        name: "seed",
        aliases: &["random_state", "random_seed"],
        kind: Kind::Integer(0, i64::MAX),
        types: ALL,
        default: "42",
        about: "What all random choices follow from, and the split.",
    },
    Spec {
        name: "eval_fraction",
        aliases: &["data_split_eval_fraction", "test_size"],
        kind: Kind::Number(0.0, 0.9),
        types: SUPERVISED,
        default: "0.2",
        about: "The share of rows that is held out to evaluate the model; 0: it is evaluated on the rows that it was made of.",
    },
    Spec {
        name: "split_column",
        aliases: &["data_split_col"],
        kind: Kind::Text,
        types: SUPERVISED,
        default: "",
        about: "A boolean column, no feature: true for rows to evaluate with. Instead of `eval_fraction`.",
    },
    Spec {
        name: "positive",
        aliases: &["positive_class"],
        kind: Kind::Text,
        types: CLASSIFIERS,
        default: "",
        about: "Of two classes the one that `predict_proba` is about; otherwise the larger one, `true`.",
    },
    Spec {
        name: "class_weights",
        aliases: &["class_weight"],
        kind: Kind::Weights,
        types: CLASSIFIERS,
        default: "",
        about: "What rows of each class count: `balanced`, or JSON such as `{\"yes\": 10, \"no\": 1}`.",
    },
    Spec {
        name: "max_categories",
        aliases: &[],
        kind: Kind::Integer(2, 10_000),
        types: ROWS,
        default: "",
        about: "Distinct texts of a column that count by themselves, the most frequent ones; all others are one. At most 254 of trees, which is their default; otherwise 1000.",
    },
    Spec {
        name: "threads",
        aliases: &["num_threads", "n_jobs"],
        kind: Kind::Integer(1, 1024),
        types: ROWS,
        default: "",
        about: "Threads that train; otherwise one a core. The model is the same with any number.",
    },
    Spec {
        name: "num_trees",
        aliases: &["num_parallel_tree", "n_estimators"],
        kind: Kind::Integer(1, 10_000),
        types: BAGGED,
        default: "100",
        about: "Trees of the forest.",
    },
    Spec {
        name: "max_depth",
        aliases: &["max_tree_depth"],
        kind: Kind::Integer(1, 64),
        types: TREES,
        default: "",
        about: "Splits from the root to a leaf at most: 64 at most in any case; without it `num_leaves` alone bounds boosted trees, and the logarithm of `max_samples` those of an isolation forest.",
    },
    Spec {
        name: "num_leaves",
        aliases: &["max_leaves"],
        kind: Kind::Integer(2, 65_536),
        types: BOOSTED,
        default: "31",
        about: "Leaves of a tree at most; the best leaf is split first.",
    },
    Spec {
        name: "min_samples_leaf",
        aliases: &["min_data_in_leaf", "min_child_samples"],
        kind: Kind::Integer(1, 1_000_000_000),
        types: GROWN,
        default: "",
        about: "Rows in a leaf at least: 1 in a forest, 20 with boosting.",
    },
    Spec {
        name: "min_samples_split",
        aliases: &[],
        kind: Kind::Integer(2, 1_000_000_000),
        types: FORESTS,
        default: "2",
        about: "Rows in a node that is split at least.",
    },
    Spec {
        name: "min_gain",
        aliases: &["min_split_loss", "min_gain_to_split", "gamma"],
        kind: Kind::Number(0.0, 1e300),
        types: GROWN,
        default: "0",
        about: "What a split must gain at least.",
    },
    Spec {
        name: "max_features",
        aliases: &["colsample_bynode"],
        kind: Kind::ChoiceOr(&["sqrt", "log2", "all"], 0.0, 1.0),
        types: FORESTS,
        default: "",
        about: "Features that a node looks at: a word or a share. `sqrt` for a forest of classes, otherwise `all`.",
    },
    Spec {
        name: "feature_fraction",
        aliases: &["colsample_bytree"],
        kind: Kind::Number(0.0, 1.0),
        types: BOOSTED,
        default: "1",
        about: "The share of features that a tree looks at.",
    },
    Spec {
        name: "subsample",
        aliases: &["bagging_fraction"],
        kind: Kind::Number(0.0, 1.0),
        types: GROWN,
        default: "1",
        about: "The share of rows that a tree is made of.",
    },
    Spec {
        name: "bootstrap",
        aliases: &[],
        kind: Kind::Boolean,
        types: FORESTS,
        default: "true",
        about: "Whether a tree's rows are drawn with replacement. Rows that were not drawn give the out-of-bag score.",
    },
    Spec {
        name: "oob_score",
        aliases: &[],
        kind: Kind::Boolean,
        types: FORESTS,
        default: "",
        about: "Whether the forest is asked about the rows that its trees were not made of; otherwise only where no rows are held out.",
    },
    Spec {
        name: "max_bins",
        aliases: &["max_bin"],
        kind: Kind::Integer(2, 254),
        types: GROWN,
        default: "254",
        about: "Intervals that the values of a number are put into.",
    },
    Spec {
        name: "max_samples",
        aliases: &[],
        kind: Kind::Integer(2, 1_000_000),
        types: &[IsolationForest],
        default: "256",
        about: "Rows that a tree is made of.",
    },
    Spec {
        name: "contamination",
        aliases: &[],
        kind: Kind::Number(0.0, 0.5),
        types: &[IsolationForest],
        default: "",
        about: "The share of rows that are anomalies; otherwise those whose score is above 0.5.",
    },
    Spec {
        name: "num_iterations",
        aliases: &["max_iterations", "num_rounds", "n_estimators", "num_boost_round"],
        kind: Kind::Integer(1, 100_000),
        types: BOOSTED,
        default: "100",
        about: "Rounds of boosting, each with a tree, or one a class.",
    },
    Spec {
        name: "learning_rate",
        aliases: &["learn_rate", "eta"],
        kind: Kind::Number(0.0, 10.0),
        types: BOOSTED,
        default: "0.1",
        about: "How much each tree counts.",
    },
    Spec {
        name: "early_stopping_rounds",
        aliases: &["early_stopping"],
        kind: Kind::Integer(0, 100_000),
        types: BOOSTED,
        default: "0",
        about: "Rounds without a better loss on the rows held out after which training ends, and the best round counts; 0: never.",
    },
    Spec {
        name: "objective",
        aliases: &["loss"],
        kind: Kind::Choice(&["squared_error", "quantile"]),
        types: &[BoostedTreeRegressor],
        default: "squared_error",
        about: "What is made small.",
    },
    Spec {
        name: "quantile",
        aliases: &["alpha", "quantile_alpha"],
        kind: Kind::Number(0.0, 1.0),
        types: &[BoostedTreeRegressor],
        default: "0.5",
        about: "The quantile to predict, where `objective` is `quantile`.",
    },
    Spec {
        name: "l1_reg",
        aliases: &["reg_alpha", "lambda_l1"],
        kind: Kind::Number(0.0, 1e300),
        types: PENALISED,
        default: "0",
        about: "Penalty on absolute weights.",
    },
    Spec {
        name: "l2_reg",
        aliases: &["reg_lambda", "lambda_l2"],
        kind: Kind::Number(0.0, 1e300),
        types: PENALISED,
        default: "0",
        about: "Penalty on squared weights.",
    },
    Spec {
        name: "fit_intercept",
        aliases: &[],
        kind: Kind::Boolean,
        types: LINEAR,
        default: "true",
        about: "Whether there is a constant.",
    },
    Spec {
        name: "standardize",
        aliases: &["standardize_features", "scale_features"],
        kind: Kind::Boolean,
        types: SCALED,
        default: "",
        about: "Whether numbers are brought to mean 0 and deviation 1 first: true for k-means and components, otherwise false.",
    },
    Spec {
        name: "max_iterations",
        aliases: &["max_iter"],
        kind: Kind::Integer(1, 1_000_000),
        types: ITERATED,
        default: "",
        about: "Steps at most: 1000, of k-means 300.",
    },
    Spec {
        name: "tolerance",
        aliases: &["tol", "min_rel_progress"],
        kind: Kind::Number(0.0, 1.0),
        types: ITERATED,
        default: "",
        about: "Progress below which training ends.",
    },
    Spec {
        name: "num_clusters",
        aliases: &["n_clusters", "k"],
        kind: Kind::Integer(1, 10_000),
        types: &[Kmeans],
        default: "8",
        about: "Clusters.",
    },
    Spec {
        name: "init",
        aliases: &["kmeans_init_method"],
        kind: Kind::Choice(&["kmeans++", "random"]),
        types: &[Kmeans],
        default: "kmeans++",
        about: "How the first centroids are chosen.",
    },
    Spec {
        name: "restarts",
        aliases: &["n_init"],
        kind: Kind::Integer(1, 1000),
        types: &[Kmeans],
        default: "10",
        about: "Times that it begins anew; the best counts.",
    },
    Spec {
        name: "num_components",
        aliases: &["num_principal_components", "n_components"],
        kind: Kind::Integer(1, 10_000),
        types: &[Pca],
        default: "",
        about: "Components; otherwise as many as there are.",
    },
    Spec {
        name: "explained_variance",
        aliases: &["pca_explained_variance_ratio"],
        kind: Kind::Number(0.0, 1.0),
        types: &[Pca],
        default: "",
        about: "As many components as explain that share of the variance, instead of `num_components`.",
    },
    Spec {
        name: "time",
        aliases: &["time_series_timestamp_col", "timestamp"],
        kind: Kind::Text,
        types: &[ExponentialSmoothing],
        default: "",
        about: "The column of dates or timestamps; must be given.",
    },
    Spec {
        name: "series",
        aliases: &["time_series_id_col", "id"],
        kind: Kind::Texts,
        types: &[ExponentialSmoothing],
        default: "",
        about: "Columns that tell series apart: each has a forecast of its own.",
    },
    Spec {
        name: "data_frequency",
        aliases: &["frequency"],
        kind: Kind::Choice(&[
            "auto_frequency",
            "per_minute",
            "hourly",
            "daily",
            "weekly",
            "monthly",
            "quarterly",
            "yearly",
        ]),
        types: &[ExponentialSmoothing],
        default: "auto_frequency",
        about: "The steps of the series: times are brought to the start of theirs. Otherwise the distance that times mostly have, and all must be on that grid.",
    },
    Spec {
        name: "horizon",
        aliases: &[],
        kind: Kind::Integer(1, 10_000),
        types: &[ExponentialSmoothing],
        default: "3",
        about: "Steps that `ML.FORECAST` tells where it names no other number.",
    },
    Spec {
        name: "error",
        aliases: &[],
        kind: Kind::Choice(&["auto", "additive", "multiplicative"]),
        types: &[ExponentialSmoothing],
        default: "auto",
        about: "Whether errors grow with the values.",
    },
    Spec {
        name: "trend",
        aliases: &[],
        kind: Kind::Choice(&["auto", "none", "additive", "damped"]),
        types: &[ExponentialSmoothing],
        default: "auto",
        about: "The form of the trend.",
    },
    Spec {
        name: "seasonal",
        aliases: &[],
        kind: Kind::Choice(&["auto", "none", "additive", "multiplicative"]),
        types: &[ExponentialSmoothing],
        default: "auto",
        about: "The form of the season.",
    },
    Spec {
        name: "period",
        aliases: &["seasonal_periods"],
        kind: Kind::Integer(0, 100_000),
        types: &[ExponentialSmoothing],
        default: "",
        about: "Steps of a season, 1 for none; otherwise found in the data.",
    },
    Spec {
        name: "num_trials",
        aliases: &[],
        kind: Kind::Integer(1, 1000),
        types: SUPERVISED,
        default: "10",
        about: "Models that a search makes, where an option has `HPARAM_RANGE` or `HPARAM_CANDIDATES`.",
    },
    Spec {
        name: "hparam_algorithm",
        aliases: &["hparam_tuning_algorithm"],
        kind: Kind::Choice(&["random", "grid"]),
        types: SUPERVISED,
        default: "random",
        about: "How a search goes: by chance, or through all combinations of candidates.",
    },
    Spec {
        name: "hparam_objective",
        aliases: &["hparam_tuning_objectives"],
        kind: Kind::Text,
        types: SUPERVISED,
        default: "",
        about: "The metric that a search makes best; otherwise `roc_auc` of classes, `r2_score` of numbers.",
    },
];

/// Options that a search may vary.
fn is_tunable(spec: &Spec) -> bool {
    let about_data = ["model_type", "label", "weight", "exclude", "seed", "eval_fraction", "split_column", "positive"];
    let of_search = ["num_trials", "hparam_algorithm", "hparam_objective", "threads", "early_stopping_rounds"];
    !about_data.contains(&spec.name) && !of_search.contains(&spec.name)
}

/// The options of one model: all that were given, by their own names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    pub model_type: ModelType,
    pub values: BTreeMap<String, Value>,
    /// Options whose value is searched for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tried: BTreeMap<String, Tried>,
}

impl Options {
    pub fn new(model_type: ModelType) -> Self {
        Self { model_type, values: BTreeMap::new(), tried: BTreeMap::new() }
    }

    /// The option of that name or alias that this kind of model knows.
    ///
    /// # Errors
    /// 22023 with a hint.
    pub fn spec(&self, name: &str) -> Result<&'static Spec> {
        let called = |spec: &&Spec| spec.name == name || spec.aliases.contains(&name);
        let known = || SPECS.iter().filter(|spec| spec.types.contains(&self.model_type));
        if let Some(spec) = known().find(|spec| spec.name == name).or_else(|| known().find(called)) {
            return Ok(spec);
        }
        let message = match SPECS.iter().any(|spec| called(&spec)) {
            true => format!("option \"{name}\" has no meaning for a model of type {}", self.model_type.name()),
            false => format!("unrecognized option \"{name}\""),
        };
        let names: Vec<&str> = known().map(|spec| spec.name).collect();
        let hint = format!("Options of {} are {}.", self.model_type.name(), names.join(", "));
        Err(Error::new(SqlState::InvalidParameterValue, message).with_hint(hint))
    }

    /// Sets an option.
    ///
    /// # Errors
    /// 22023 for a value out of bounds or of another kind.
    pub fn set(&mut self, spec: &Spec, value: Value) -> Result<()> {
        let value = checked(spec, value)?;
        self.values.insert(spec.name.to_owned(), value);
        Ok(())
    }

    /// Has an option searched for.
    ///
    /// # Errors
    /// 22023.
    pub fn search(&mut self, spec: &Spec, tried: Tried) -> Result<()> {
        if !is_tunable(spec) || !self.model_type.is_supervised() {
            let message = format!("option \"{}\" cannot be searched for", spec.name);
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        let tried = match tried {
            Tried::Range(low, high) => {
                let numeric = matches!(spec.kind, Kind::Integer(..) | Kind::Number(..) | Kind::ChoiceOr(..));
                if !numeric || low > high || low.is_nan() || high.is_nan() {
                    let message = format!("invalid range for option \"{}\"", spec.name);
                    return Err(Error::new(SqlState::InvalidParameterValue, message));
                }
                checked(spec, in_kind(spec, low))?;
                checked(spec, in_kind(spec, high))?;
                Tried::Range(low, high)
            }
            Tried::OneOf(values) => {
                if values.is_empty() {
                    let message = format!("option \"{}\" has no candidates", spec.name);
                    return Err(Error::new(SqlState::InvalidParameterValue, message));
                }
                Tried::OneOf(values.into_iter().map(|value| checked(spec, value)).collect::<Result<_>>()?)
            }
        };
        self.tried.insert(spec.name.to_owned(), tried);
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => vec![text],
            Some(Value::List(values)) => values
                .iter()
                .filter_map(|value| match value {
                    Value::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        match self.get(name) {
            Some(Value::Integer(number)) => Some(*number as f64),
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    pub fn integer(&self, name: &str) -> Option<usize> {
        match self.get(name) {
            Some(Value::Integer(number)) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(Value::Boolean(value)) => Some(*value),
            _ => None,
        }
    }

    pub fn seed(&self) -> u64 {
        self.integer("seed").map_or(42, |seed| seed as u64)
    }
}

/// A number as an option of that kind takes it.
pub fn in_kind(spec: &Spec, number: f64) -> Value {
    match spec.kind {
        Kind::Integer(..) => Value::Integer(number.round() as i64),
        _ => Value::Number(number),
    }
}

fn checked(spec: &Spec, value: Value) -> Result<Value> {
    let wrong = |wanted: String| {
        let message = format!("invalid value for option \"{}\": {}", spec.name, shown(&value));
        Error::new(SqlState::InvalidParameterValue, message).with_hint(format!("It is to be {wanted}."))
    };
    match (spec.kind, &value) {
        (Kind::Integer(low, high), Value::Integer(number)) if (low..=high).contains(number) => Ok(value),
        (Kind::Integer(low, i64::MAX), _) => Err(wrong(format!("a whole number of at least {low}"))),
        (Kind::Integer(low, high), _) => Err(wrong(format!("a whole number from {low} to {high}"))),
        (Kind::Number(low, high), Value::Integer(number)) if (low..=high).contains(&(*number as f64)) => {
            Ok(Value::Number(*number as f64))
        }
        (Kind::Number(low, high), Value::Number(number)) if (low..=high).contains(number) => Ok(value),
        (Kind::Number(low, high), _) if high >= 1e300 => Err(wrong(format!("a number of at least {low}"))),
        (Kind::Number(low, high), _) => Err(wrong(format!("a number from {low} to {high}"))),
        (Kind::Boolean, Value::Boolean(_)) => Ok(value),
        (Kind::Boolean, Value::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" => Ok(Value::Boolean(true)),
            "false" | "off" | "no" => Ok(Value::Boolean(false)),
            _ => Err(wrong("true or false".to_owned())),
        },
        (Kind::Boolean, _) => Err(wrong("true or false".to_owned())),
        (Kind::Text, Value::Text(_)) => Ok(value),
        // BigQuery's lists of one.
        (Kind::Text, Value::List(values)) if matches!(values.as_slice(), [Value::Text(_)]) => {
            Ok(values.first().cloned().unwrap_or(Value::Text(String::new())))
        }
        (Kind::Text, Value::Boolean(truth)) if spec.name == "positive" => Ok(Value::Text(truth.to_string())),
        (Kind::Text, Value::Integer(number)) if spec.name == "positive" => Ok(Value::Text(number.to_string())),
        (Kind::Text, _) => Err(wrong("a text".to_owned())),
        (Kind::Texts, Value::Text(_)) => Ok(value),
        (Kind::Texts, Value::List(values)) if values.iter().all(|value| matches!(value, Value::Text(_))) => Ok(value),
        (Kind::Texts, _) => Err(wrong("a list of texts".to_owned())),
        (Kind::Choice(words), Value::Text(text)) if words.contains(&text.to_ascii_lowercase().as_str()) => {
            Ok(Value::Text(text.to_ascii_lowercase()))
        }
        (Kind::Choice(words), _) => Err(wrong(format!("one of {}", words.join(", ")))),
        (Kind::ChoiceOr(words, ..), Value::Text(text)) if words.contains(&text.to_ascii_lowercase().as_str()) => {
            Ok(Value::Text(text.to_ascii_lowercase()))
        }
        (Kind::ChoiceOr(_, low, high), Value::Number(number)) if *number > low && *number <= high => Ok(value),
        (Kind::ChoiceOr(_, low, high), Value::Integer(number)) if *number as f64 > low && *number as f64 <= high => {
            Ok(Value::Number(*number as f64))
        }
        (Kind::ChoiceOr(words, low, high), _) => {
            Err(wrong(format!("one of {}, or a number from {low} to {high}", words.join(", "))))
        }
        (Kind::Weights, Value::Text(text)) if text.eq_ignore_ascii_case("balanced") => {
            Ok(Value::Text("balanced".to_owned()))
        }
        (Kind::Weights, Value::Text(text)) if weights(text).is_some() => Ok(value),
        (Kind::Weights, _) => Err(wrong("balanced, or positive numbers by class as JSON".to_owned())),
    }
}

/// Weights by class: positive numbers.
pub fn weights(text: &str) -> Option<BTreeMap<String, f64>> {
    let given: BTreeMap<String, f64> = serde_json::from_str(text).ok()?;
    given.values().all(|weight| weight.is_finite() && *weight > 0.0).then_some(given)
}

/// A value as it would be written.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::List(values) => format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", ")),
    }
}
