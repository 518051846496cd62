//! One model of a dataset with options that are all known.

mod encoded;
mod logged;
mod series;
mod trees;

use std::borrow::Cow;
use std::ops::{Deref, Range};

use datafusion::execution::memory_pool::MemoryReservation;

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

/// A number for each of some rows: the dataset's own, or made of something else and counted as long as they live.
struct Numbers<'a> {
    values: Cow<'a, [f64]>,
    _memory: Option<MemoryReservation>,
}

impl<'a> Numbers<'a> {
    fn of_dataset(values: &'a [f64]) -> Self {
        Self { values: values.into(), _memory: None }
    }

    fn made(values: impl ExactSizeIterator<Item = f64>, control: &Control<'_>) -> Result<Self> {
        let memory = control.reserve(values.len() * 8)?;
        Ok(Self { values: values.collect::<Vec<f64>>().into(), _memory: Some(memory) })
    }
}

impl Deref for Numbers<'_> {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.values
    }
}

/// What each row of training counts for, its class included; `None` where all count alike.
fn row_weights<'a>(dataset: &'a Dataset, options: &Options, control: &Control<'_>) -> Result<Option<Numbers<'a>>> {
    let own = dataset.weights.as_ref().map(|weights| weights.get(..dataset.train_rows).unwrap_or_default());
    let (Some(of_classes), Target::Classes { codes, .. }) = (class_weights(dataset, options)?, &dataset.target) else {
        return Ok(own.map(Numbers::of_dataset));
    };
    let class = |row: usize| codes.get(row).and_then(|code| of_classes.get(*code as usize)).copied().unwrap_or(1.0);
    let weight = |row: usize| own.and_then(|own| own.get(row)).copied().unwrap_or(1.0) * class(row);
    Ok(Some(Numbers::made((0..dataset.train_rows).map(weight), control)?))
}

/// The labels of some rows as numbers.
fn label_numbers<'a>(dataset: &'a Dataset, rows: Range<usize>, control: &Control<'_>) -> Result<Numbers<'a>> {
    match &dataset.target {
        Target::Numbers(labels) => Ok(Numbers::of_dataset(labels.get(rows).unwrap_or_default())),
        Target::Classes { codes, .. } => {
            let codes = codes.get(rows).unwrap_or_default();
            Numbers::made(codes.iter().map(|code| f64::from(*code)), control)
        }
        Target::None => Ok(Numbers::of_dataset(&[])),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};

    use super::*;
    use crate::models::options::Value;
    use crate::models::watch::Unwatched;

    fn dataset(target: Target) -> Dataset {
        Dataset {
            features: Vec::new(),
            columns: Vec::new(),
            target,
            weights: Some((0..1000).map(f64::from).collect()),
            rows: 1000,
            train_rows: 800,
            skipped: BTreeMap::new(),
            memory: None,
        }
    }

    #[test]
    fn numbers_that_are_made_are_counted() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(8 * 800));
        let control = Control { watch: &Unwatched, pool: &pool, threads: 1 };
        let mut options = Options::new(ModelType::BoostedTreeClassifier);
        let codes = (0..1000).map(|row| row % 2).collect();
        let classes = dataset(Target::Classes { codes, classes: vec!["a".to_owned(), "b".to_owned()] });
        let labels = label_numbers(&classes, 0..800, &control).unwrap();
        assert_eq!((labels.len(), labels[3], pool.reserved()), (800, 1.0, 8 * 800));
        let refused = |error: Error| error.sqlstate();
        assert_eq!(
            label_numbers(&classes, 800..1000, &control).map(|_| ()).map_err(refused),
            Err(SqlState::OutOfMemory)
        );
        drop(labels);
        // Weights of classes are of no column.
        let weights = row_weights(&classes, &options, &control).unwrap().unwrap();
        assert_eq!((weights.len(), weights[3], pool.reserved()), (800, 3.0, 0));
        options.set(options.spec("class_weights").unwrap(), Value::Text("balanced".to_owned())).unwrap();
        let weights = row_weights(&classes, &options, &control).unwrap().unwrap();
        assert_eq!((weights.len(), pool.reserved()), (800, 8 * 800));
        drop(weights);
        let numbers = dataset(Target::Numbers((0..1000).map(f64::from).collect()));
        let labels = label_numbers(&numbers, 800..1000, &control).unwrap();
        assert_eq!((labels.len(), labels[0], pool.reserved()), (200, 800.0, 0));
    }
}
