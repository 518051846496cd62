//! One model of a dataset with options that are all known.

mod encoded;
mod logged;
mod series;
mod trees;

use super::super::dataset::{Dataset, Target};
use super::super::kind::ModelType;
use super::super::options::{Options, weights};
use super::super::refusal::OfOption;
use super::{Control, Fitted};
use crate::error::{Error, Result, SqlState};

/// Fits a model to the rows that are not held out.
pub(super) fn fit(
    dataset: &Dataset,
    options: &Options,
    control: &Control<'_>,
    positive: Option<usize>,
) -> Result<Fitted> {
    match options.model_type {
        ModelType::RandomForestClassifier | ModelType::RandomForestRegressor => {
            trees::forest(dataset, options, control, positive)
        }
        ModelType::BoostedTreeClassifier | ModelType::BoostedTreeRegressor => trees::boosted(dataset, options, control),
        ModelType::LinearRegression => encoded::linear(dataset, options, control),
        ModelType::LogisticRegression => encoded::logistic(dataset, options, control),
        ModelType::Kmeans => encoded::kmeans(dataset, options, control),
        ModelType::Pca => encoded::components(dataset, options, control),
        ModelType::IsolationForest => trees::isolation(dataset, options, control),
        ModelType::ExponentialSmoothing => series::smoothing(dataset, options, control),
    }
}

/// What rows of each class count for, `None` where all count alike.
fn class_weights(dataset: &Dataset, options: &Options) -> Result<Option<Vec<f64>>> {
    let Target::Classes { codes, classes } = &dataset.target else { return Ok(None) };
    let Some(text) = options.text("class_weights") else { return Ok(None) };
    if text != "balanced" {
        let given = weights(text).unwrap_or_default();
        if let Some(unknown) = given.keys().find(|name| !classes.contains(name)) {
            let message = format!("option \"class_weights\" names class \"{unknown}\", which the label has not");
            return Err(Error::new(SqlState::InvalidParameterValue, message)
                .with_detail(format!("Its classes are {}.", classes.join(", ")))
                .with_source(OfOption("class_weights")));
        }
        return Ok(Some(classes.iter().map(|class| given.get(class).copied().unwrap_or(1.0)).collect()));
    }
    let mut counts = vec![0.0; classes.len()];
    for (row, code) in codes.iter().take(dataset.train_rows).enumerate() {
        if let Some(count) = counts.get_mut(*code as usize) {
            *count += dataset.weights.as_ref().and_then(|weights| weights.get(row)).copied().unwrap_or(1.0);
        }
    }
    let seen = counts.iter().filter(|count| **count > 0.0).count() as f64;
    let all: f64 = counts.iter().sum();
    Ok(Some(counts.iter().map(|count| if *count > 0.0 { all / (seen * count) } else { 0.0 }).collect()))
}

/// What each row of training counts for, its class included; `None` where all count alike.
fn row_weights(dataset: &Dataset, options: &Options) -> Result<Option<Vec<f64>>> {
    let own = dataset.weights.as_ref().map(|weights| weights.get(..dataset.train_rows).unwrap_or_default().to_vec());
    let (Some(of_classes), Target::Classes { codes, .. }) = (class_weights(dataset, options)?, &dataset.target) else {
        return Ok(own);
    };
    let class = |row: usize| codes.get(row).and_then(|code| of_classes.get(*code as usize)).copied().unwrap_or(1.0);
    let weight = |row: usize| own.as_ref().and_then(|own| own.get(row)).copied().unwrap_or(1.0) * class(row);
    Ok(Some((0..dataset.train_rows).map(weight).collect()))
}

/// The labels of the rows of training as numbers.
fn label_numbers(dataset: &Dataset) -> Vec<f64> {
    match &dataset.target {
        Target::Numbers(labels) => labels.get(..dataset.train_rows).unwrap_or_default().to_vec(),
        Target::Classes { codes, .. } => codes.iter().take(dataset.train_rows).map(|code| f64::from(*code)).collect(),
        Target::None => Vec::new(),
    }
}
