//! The kinds of models.

use serde::{Deserialize, Serialize};

/// What a model is. Its names are those of `model_type`, and the words in artifacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelType {
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
}

/// What is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A label out of several.
    Classification,
    /// A number.
    Regression,
    /// Which rows belong together.
    Clustering,
    /// Few columns for many.
    Components,
    /// Which rows are unlike the others.
    Anomalies,
    /// Values to come.
    Forecast,
}

/// Each kind with its name and BigQuery's.
const NAMES: &[(ModelType, &str, &[&str])] = &[
    (ModelType::LinearRegression, "linear_regression", &["linear_reg"]),
    (ModelType::LogisticRegression, "logistic_regression", &["logistic_reg"]),
    (ModelType::RandomForestClassifier, "random_forest_classifier", &[]),
    (ModelType::RandomForestRegressor, "random_forest_regressor", &[]),
    (ModelType::BoostedTreeClassifier, "boosted_tree_classifier", &[]),
    (ModelType::BoostedTreeRegressor, "boosted_tree_regressor", &[]),
    (ModelType::Kmeans, "kmeans", &["k_means"]),
    (ModelType::Pca, "pca", &[]),
    (ModelType::IsolationForest, "isolation_forest", &[]),
    (ModelType::ExponentialSmoothing, "exponential_smoothing", &["ets"]),
];

impl ModelType {
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(kind, _, _)| *kind)
    }

    /// The kind of that name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let found = NAMES.iter().find(|(_, own, aliases)| *own == name || aliases.contains(&name.as_str()));
        found.map(|(kind, _, _)| *kind)
    }

    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(kind, _, _)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// Other names of it.
    pub fn aliases(self) -> &'static [&'static str] {
        NAMES.iter().find(|(kind, _, _)| *kind == self).map_or(&[], |(_, _, aliases)| aliases)
    }

    pub fn task(self) -> Task {
        match self {
            Self::LogisticRegression | Self::RandomForestClassifier | Self::BoostedTreeClassifier => {
                Task::Classification
            }
            Self::LinearRegression | Self::RandomForestRegressor | Self::BoostedTreeRegressor => Task::Regression,
            Self::Kmeans => Task::Clustering,
            Self::Pca => Task::Components,
            Self::IsolationForest => Task::Anomalies,
            Self::ExponentialSmoothing => Task::Forecast,
        }
    }

    /// Whether it learns from labels.
    pub fn is_supervised(self) -> bool {
        matches!(self.task(), Task::Classification | Task::Regression)
    }

    pub fn is_of_trees(self) -> bool {
        matches!(
            self,
            Self::RandomForestClassifier
                | Self::RandomForestRegressor
                | Self::BoostedTreeClassifier
                | Self::BoostedTreeRegressor
                | Self::IsolationForest
        )
    }
}
