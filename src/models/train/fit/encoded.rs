//! Learners over encoded columns.

use std::collections::BTreeMap;

use super::super::super::cluster::{KMeans, KMeansOptions};
use super::super::super::components::{Keep, Pca, PcaOptions};
use super::super::super::dataset::{Dataset, Target, Values};
use super::super::super::encoder::{Column, EncoderOptions, Features, moment_bytes};
use super::super::super::learned::{Learned, refused};
use super::super::super::linear::logistic::LogisticModel;
use super::super::super::linear::{LinearModel, LinearOptions};
use super::super::super::options::Options;
use super::super::{Control, Fitted};
use super::logged::Logged;
use super::{label_numbers, row_weights};
use crate::error::{Error, Result};

/// Classes that a note names.
const TOLD_MAX: usize = 10;

/// The rows of training as columns.
fn features(dataset: &Dataset) -> (Features<'_>, Vec<String>) {
    let rows = dataset.train_rows;
    let columns = dataset.columns.iter().map(|values| match values {
        Values::Numbers(numbers) => Column::Numeric(numbers.get(..rows).unwrap_or_default()),
        Values::Codes { codes, texts } => Column::Category { codes: codes.get(..rows).unwrap_or_default(), texts },
    });
    let names = dataset.features.iter().map(|feature| feature.name.clone()).collect();
    (Features { rows, columns: columns.collect() }, names)
}

/// What learners over these columns take for moments at most, and `classes` of them for second derivatives.
fn bytes(features: &Features<'_>, categories_max: usize, classes: usize) -> usize {
    let columns = columns(features, categories_max);
    moment_bytes(columns) + LogisticModel::curvature_bytes(columns, classes)
}

/// The encoded columns that these make at most.
fn columns(features: &Features<'_>, categories_max: usize) -> usize {
    let columns = features.columns.iter().map(|column| match column {
        Column::Numeric(_) => 2,
        Column::Category { texts, .. } => texts.len().min(categories_max) + 2,
        Column::Bound { columns, .. } => columns.len() + 2,
    });
    columns.sum::<usize>().min(EncoderOptions::default().columns_max)
}

fn options_of(options: &Options, control: &Control<'_>) -> LinearOptions {
    let default = LinearOptions::default();
    LinearOptions {
        intercept: options.boolean("fit_intercept").unwrap_or(true),
        l1: options.number("l1_reg").unwrap_or(0.0),
        l2: options.number("l2_reg").unwrap_or(0.0),
        standardize: options.boolean("standardize").unwrap_or(false),
        categories_max: options.integer("max_categories").unwrap_or(default.categories_max),
        tolerance: options.number("tolerance").filter(|tolerance| *tolerance > 0.0).unwrap_or(default.tolerance),
        iterations_max: options.integer("max_iterations").unwrap_or(default.iterations_max),
        threads: control.threads,
        ..default
    }
}

pub(super) fn linear(dataset: &Dataset, options: &Options, control: &Control<'_>) -> Result<Fitted> {
    let (features, names) = features(dataset);
    let labels = label_numbers(dataset, 0..dataset.train_rows, control)?;
    let weights = row_weights(dataset, options, control)?;
    let own = options_of(options, control);
    let _memory = control.reserve(bytes(&features, own.categories_max, 0))?;
    let logged = Logged::new(control.watch);
    let model = LinearModel::fit(&features, &names, &labels, weights.as_deref(), &own, &logged);
    let model = model.map_err(refused)?;
    Ok(Fitted {
        log: logged.log(),
        importance: Vec::new(),
        notes: model.notes.clone(),
        metrics: BTreeMap::new(),
        learned: Learned::Linear(model),
        memory: None,
    })
}

pub(super) fn logistic(dataset: &Dataset, options: &Options, control: &Control<'_>) -> Result<Fitted> {
    let Target::Classes { codes, classes } = &dataset.target else {
        return Err(Error::internal("a classifier without classes"));
    };
    let (features, names) = features(dataset);
    let labels = codes.get(..dataset.train_rows).unwrap_or_default();
    let weights = row_weights(dataset, options, control)?;
    let own = options_of(options, control);
    let _memory = control.reserve(bytes(&features, own.categories_max, classes.len()))?;
    let logged = Logged::new(control.watch);
    let model = LogisticModel::fit(&features, &names, labels, classes.len(), weights.as_deref(), &own, &logged);
    let model = model.map_err(refused)?;
    let mut notes = model.notes.clone();
    let absent: Vec<String> =
        model.absent().filter_map(|class| classes.get(class)).map(|class| format!("\"{class}\"")).collect();
    if !absent.is_empty() {
        let told = absent.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>().join(", ");
        let more = absent.len().saturating_sub(TOLD_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        notes.push(format!("classes that no row to train with is of have the probability 0: {told}{more}"));
    }
    Ok(Fitted {
        log: logged.log(),
        importance: Vec::new(),
        notes,
        metrics: BTreeMap::new(),
        learned: Learned::Logistic(model),
        memory: None,
    })
}

pub(super) fn kmeans(dataset: &Dataset, options: &Options, control: &Control<'_>) -> Result<Fitted> {
    let (features, names) = features(dataset);
    let default = KMeansOptions::default();
    let own = KMeansOptions {
        clusters: options.integer("num_clusters").unwrap_or(8),
        standardize: options.boolean("standardize").unwrap_or(true),
        by_chance: options.text("init") == Some("random"),
        restarts: options.integer("restarts").unwrap_or(10),
        iterations_max: options.integer("max_iterations").unwrap_or(300),
        tolerance: options.number("tolerance").unwrap_or(default.tolerance),
        seed: options.seed(),
        categories_max: options.integer("max_categories").unwrap_or(default.categories_max),
        threads: control.threads,
        ..default
    };
    let columns = columns(&features, own.categories_max);
    let _memory = control.reserve(KMeans::training_bytes(dataset.train_rows, columns, &own))?;
    let logged = Logged::new(control.watch);
    let model = KMeans::fit(&features, &names, None, &own, &logged).map_err(refused)?;
    let mut metrics = BTreeMap::from([("inertia".to_owned(), model.inertia)]);
    if let Some(found) = &model.metrics {
        let named = [("silhouette", found.silhouette), ("davies_bouldin_index", found.davies_bouldin)];
        metrics.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    Ok(Fitted {
        log: logged.log(),
        importance: Vec::new(),
        notes: model.notes.clone(),
        metrics,
        learned: Learned::KMeans(model),
        memory: None,
    })
}

pub(super) fn components(dataset: &Dataset, options: &Options, control: &Control<'_>) -> Result<Fitted> {
    let (features, names) = features(dataset);
    let default = PcaOptions::default();
    let own = PcaOptions {
        keep: match (options.integer("num_components"), options.number("explained_variance")) {
            (Some(count), _) => Keep::Count(count),
            (None, Some(share)) => Keep::Share(share),
            (None, None) => default.keep,
        },
        scale: options.boolean("standardize").unwrap_or(true),
        categories_max: options.integer("max_categories").unwrap_or(default.categories_max),
        threads: control.threads,
        ..default
    };
    let _memory = control.reserve(bytes(&features, own.categories_max, 0))?;
    let logged = Logged::new(control.watch);
    let model = Pca::fit(&features, &names, None, &own, &logged).map_err(refused)?;
    let ratios = model.ratios();
    let mut metrics = BTreeMap::from([
        ("total_variance".to_owned(), model.total_variance),
        ("total_explained_variance_ratio".to_owned(), ratios.iter().sum()),
    ]);
    metrics.retain(|_, value| value.is_finite());
    Ok(Fitted {
        log: logged.log(),
        importance: Vec::new(),
        notes: model.notes.clone(),
        metrics,
        learned: Learned::Components(model),
        memory: None,
    })
}
