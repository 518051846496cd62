//! Forests and boosted trees.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use datafusion::execution::memory_pool::MemoryReservation;

use super::super::super::algebra::parallel::in_order;
use super::super::super::anomaly::between;
use super::super::super::dataset::{Dataset, Target, Values};
use super::super::super::header::{Importance, LogEntry};
use super::super::super::learned::Learned;
use super::super::super::options::{Options, Value};
use super::super::super::tree::{
    self, Bins, BoostOptions, Ensemble, FeaturesPerNode, Forest, ForestOptions, IsolationOptions, Losses, Matrix,
    Objective,
};
use super::super::super::trees::{Trees, Watched, number_of, refused};
use super::super::{Control, Fitted, observe};
use super::logged::Logged;
use super::{class_weights, label_numbers, row_weights};
use crate::error::{Error, Result};

/// Rows that bounds of bins are taken from.
const SAMPLE_ROWS: usize = 200_000;
/// The score above which the paper takes rows for anomalies.
const ISOLATION_THRESHOLD: f64 = 0.5;
/// Splits on a path where no option says otherwise.
const DEPTH_MAX: usize = 64;
/// Values that become codes between two questions whether to go on.
const CODED_ROWS: usize = 65_536;

/// The features in one-byte codes.
struct Coded {
    bins: Vec<Bins>,
    train: Matrix,
    /// Held for what the matrices take.
    _memory: MemoryReservation,
}

impl Coded {
    fn new(dataset: &Dataset, options: &Options, control: &Control<'_>, rows_min: usize) -> Result<Self> {
        let memory = control.reserve(dataset.rows * dataset.columns.len())?;
        let bins_max = options.integer("max_bins").unwrap_or(tree::BINS_MAX);
        let categories_max = options.integer("max_categories").unwrap_or(tree::BINS_MAX);
        let sample = dataset.train_rows.min(SAMPLE_ROWS);
        // Each thread sorts the sample of one feature.
        let _sorted = control.reserve(sample * 8 * control.threads.min(dataset.columns.len()))?;
        let coded = in_order(control.threads, dataset.columns.len(), |at| {
            observe::go_on(control)?;
            let values = dataset.columns.get(at).ok_or_else(|| Error::internal("a feature without values"))?;
            let bins = match values {
                Values::Numbers(numbers) => {
                    let sample = observe::spaced(0..dataset.train_rows, SAMPLE_ROWS);
                    let mut sample: Vec<f64> = sample.filter_map(|row| numbers.get(row)).copied().collect();
                    Bins::numeric(&mut sample, bins_max, rows_min)
                }
                Values::Codes { codes, texts } => {
                    let mut counts = vec![0_u64; texts.len()];
                    for code in codes.iter().take(dataset.train_rows) {
                        if let Some(count) = counts.get_mut(*code as usize) {
                            *count += 1;
                        }
                    }
                    Bins::categories(&counts, categories_max)
                }
            };
            let codes = coded(values, &bins, 0..dataset.train_rows, control)?;
            Ok::<_, Error>((bins, codes))
        });
        let (bins, columns) = coded?.into_iter().unzip();
        Ok(Self { bins, train: Matrix::new(columns).map_err(refused)?, _memory: memory })
    }
}

/// The codes of some rows of a feature.
fn coded(values: &Values, bins: &Bins, rows: Range<usize>, control: &Control<'_>) -> Result<Vec<u8>> {
    let mut codes = Vec::with_capacity(rows.len());
    let end = rows.end;
    for start in rows.step_by(CODED_ROWS) {
        observe::go_on(control)?;
        let rows = start..(start + CODED_ROWS).min(end);
        match values {
            Values::Numbers(numbers) => bins.encode(numbers.get(rows).unwrap_or_default(), &mut codes),
            Values::Codes { codes: given, .. } => {
                let given = given.get(rows).unwrap_or_default();
                bins.encode(&given.iter().map(|code| number_of(*code)).collect::<Vec<f64>>(), &mut codes);
            }
        }
    }
    Ok(codes)
}

fn importance(dataset: &Dataset, ensemble: &Ensemble) -> Vec<Importance> {
    let found = ensemble.importance();
    dataset
        .features
        .iter()
        .zip(found)
        .map(|(feature, found)| Importance {
            feature: feature.name.clone(),
            gain: Some(found.gain),
            splits: Some(found.splits),
            permutation: None,
        })
        .collect()
}

fn per_node(options: &Options, classes: bool, features: usize) -> FeaturesPerNode {
    match options.get("max_features") {
        Some(Value::Number(share)) => FeaturesPerNode::Share(*share),
        Some(Value::Text(word)) if word == "all" => FeaturesPerNode::Share(1.0),
        Some(Value::Text(word)) if word == "log2" => {
            FeaturesPerNode::Count((features.max(1) as f64).log2().floor().max(1.0) as usize)
        }
        Some(Value::Text(_)) => FeaturesPerNode::Sqrt,
        _ if classes => FeaturesPerNode::Sqrt,
        _ => FeaturesPerNode::Share(1.0),
    }
}

pub(super) fn forest(
    dataset: &Dataset,
    options: &Options,
    control: &Control<'_>,
    positive: Option<usize>,
) -> Result<Fitted> {
    let coded = Coded::new(dataset, options, control, 1)?;
    let rows = dataset.train_rows;
    let bootstrap = options.boolean("bootstrap").unwrap_or(true);
    let held_out = dataset.rows > rows;
    let of = |name: &str| options.integer(name);
    let classes = match &dataset.target {
        Target::Classes { classes, .. } => classes.len(),
        Target::None | Target::Numbers(_) => 0,
    };
    let own = ForestOptions {
        trees: of("num_trees").unwrap_or(100),
        depth_max: of("max_depth").unwrap_or(DEPTH_MAX),
        rows_split_min: of("min_samples_split").unwrap_or(2),
        rows_leaf_min: of("min_samples_leaf").unwrap_or(1),
        gain_min: options.number("min_gain").unwrap_or(0.0),
        features_per_node: per_node(options, classes > 0, dataset.features.len()),
        bootstrap,
        sample_share: options.number("subsample").unwrap_or(1.0),
        out_of_bag: bootstrap && options.boolean("oob_score").unwrap_or(!held_out),
        seed: options.seed(),
        threads: control.threads,
    };
    let memory = control.reserve(tree::forest_bytes(rows, dataset.features.len(), classes, &own))?;
    let logged = Logged::new(control.watch);
    let watched = Watched::new(&logged, &memory);
    let trained: Forest = match &dataset.target {
        Target::Classes { codes, classes } => {
            let _labels = control.reserve(rows * size_of::<u16>())?;
            let labels: Vec<u16> = codes.iter().take(rows).map(|code| *code as u16).collect();
            let of_classes = class_weights(dataset, options)?;
            let weights = dataset.weights.as_ref().map(|weights| weights.get(..rows).unwrap_or_default());
            tree::train_forest_classifier(
                &coded.train,
                &coded.bins,
                &labels,
                classes.len(),
                weights,
                of_classes.as_deref(),
                &own,
                &watched,
            )
        }
        Target::Numbers(_) => {
            let labels = label_numbers(dataset, 0..rows, control)?;
            let weights = dataset.weights.as_ref().map(|weights| weights.get(..rows).unwrap_or_default());
            tree::train_forest_regressor(&coded.train, &coded.bins, &labels, weights, &own, &watched)
        }
        Target::None => return Err(Error::internal("a forest without labels")),
    }
    .map_err(|error| watched.refused(error))?;
    drop(coded);
    let Forest { ensemble, out_of_bag } = trained;
    let mut metrics = BTreeMap::new();
    if let Some(scores) = out_of_bag {
        // All else that trees are grown with is gone.
        memory.try_resize(ensemble.bytes() + scores.len() * 8)?;
        let found = observe::evaluation_of(dataset, &scores, ensemble.outputs as usize, positive, control)?;
        metrics.extend(found.into_iter().map(|(name, value)| (format!("oob_{name}"), value)));
    }
    let log = logged.log();
    let (learned, memory) = held(ensemble, classes, f64::INFINITY, memory)?;
    Ok(Fitted {
        importance: importance(dataset, &learned.ensemble),
        learned: Learned::Trees(learned),
        log,
        notes: Vec::new(),
        metrics,
        memory,
    })
}

/// An isolation forest: it cuts raw values, and says above which score rows are anomalies.
pub(super) fn isolation(dataset: &Dataset, options: &Options, control: &Control<'_>) -> Result<Fitted> {
    let rows = dataset.train_rows;
    let codes = dataset.columns.iter().filter(|values| matches!(values, Values::Codes { .. })).count();
    let categories_max = options.integer("max_categories").unwrap_or(tree::BINS_MAX);
    let own = IsolationOptions {
        trees: options.integer("num_trees").unwrap_or(100),
        rows_per_tree: options.integer("max_samples").unwrap_or(256),
        depth_max: options.integer("max_depth").unwrap_or(usize::MAX),
        seed: options.seed(),
        threads: control.threads,
    };
    // Codes as numbers, and a score a row.
    let memory = control.reserve(tree::isolation_bytes(&own, rows) + (codes + 1) * rows * 8)?;
    let mut features = Vec::with_capacity(dataset.columns.len());
    let mut numbers: Vec<Vec<f64>> = Vec::with_capacity(dataset.columns.len());
    for values in &dataset.columns {
        observe::go_on(control)?;
        match values {
            Values::Numbers(_) => {
                features.push(tree::Feature::Numeric);
                numbers.push(Vec::new());
            }
            Values::Codes { codes, texts } => {
                let mut counts = vec![0_u64; texts.len()];
                for code in codes.iter().take(rows) {
                    if let Some(count) = counts.get_mut(*code as usize) {
                        *count += 1;
                    }
                }
                features.push(tree::Feature::from(&Bins::categories(&counts, categories_max)));
                numbers.push(codes.iter().take(rows).map(|code| number_of(*code)).collect());
            }
        }
    }
    let columns: Vec<&[f64]> = dataset
        .columns
        .iter()
        .zip(&numbers)
        .map(|(values, numbers)| match values {
            Values::Numbers(values) => values.get(..rows).unwrap_or_default(),
            Values::Codes { .. } => numbers.as_slice(),
        })
        .collect();
    let logged = Logged::new(control.watch);
    let ensemble =
        tree::train_isolation(&columns, &features, &own, &Watched::new(&logged, &memory)).map_err(refused)?;
    // The columns and the scores stay a while.
    let (mut trees, kept) = held(ensemble, 0, ISOLATION_THRESHOLD, control.reserve(0)?)?;
    if let Some(share) = options.number("contamination") {
        let mut scores = trees.answered(&columns, control.threads, &Watched::new(control.watch, &memory))?;
        scores.sort_unstable_by(f64::total_cmp);
        trees.threshold = between(&scores, 1.0 - share);
    }
    Ok(Fitted {
        importance: Vec::new(),
        log: logged.log(),
        notes: Vec::new(),
        metrics: BTreeMap::from([("threshold".to_owned(), trees.threshold)]),
        learned: Learned::Trees(trees),
        memory: kept,
    })
}

/// Trees that answer, and the memory for them until they are stored: as they were grown, as they answer, as sections of the artifact and
/// in its bytes.
fn held(
    ensemble: Ensemble,
    classes: usize,
    threshold: f64,
    memory: MemoryReservation,
) -> Result<(Trees, Option<MemoryReservation>)> {
    memory.try_resize(ensemble.bytes() * 4)?;
    Ok((Trees::new(ensemble, classes, threshold)?, Some(memory)))
}

pub(super) fn boosted(dataset: &Dataset, options: &Options, control: &Control<'_>) -> Result<Fitted> {
    let coded_rows = Coded::new(dataset, options, control, 3)?;
    let rows = dataset.train_rows;
    let of = |name: &str| options.integer(name);
    let rounds = of("early_stopping_rounds").filter(|rounds| *rounds > 0);
    let (objective, classes) = match &dataset.target {
        Target::Classes { classes, .. } if classes.len() == 2 => (Objective::Logistic, 2),
        Target::Classes { classes, .. } => (Objective::Softmax { classes: classes.len() }, classes.len()),
        _ if options.text("objective") == Some("quantile") => {
            (Objective::Quantile { alpha: options.number("quantile").unwrap_or(0.5) }, 0)
        }
        _ => (Objective::Squared, 0),
    };
    let row_share = options.number("subsample").unwrap_or(1.0);
    let own = BoostOptions {
        iterations: of("num_iterations").unwrap_or(100),
        learning_rate: options.number("learning_rate").unwrap_or(0.1),
        leaves_max: of("num_leaves").unwrap_or(31),
        depth_max: of("max_depth").unwrap_or(usize::MAX),
        rows_leaf_min: of("min_samples_leaf").unwrap_or(20),
        lambda_l1: options.number("l1_reg").unwrap_or(0.0),
        lambda_l2: options.number("l2_reg").unwrap_or(0.0),
        gain_min: options.number("min_gain").unwrap_or(0.0),
        feature_share: options.number("feature_fraction").unwrap_or(1.0),
        row_share,
        bagging_every: usize::from(row_share < 1.0),
        early_stopping_rounds: rounds,
        seed: options.seed(),
        threads: control.threads,
        ..BoostOptions::default()
    };
    let held_out_rows = dataset.rows - rows;
    let bytes = tree::boost_bytes(rows, held_out_rows, dataset.features.len(), objective, &own);
    let memory = control.reserve(bytes)?;
    let watched = Watched::new(control.watch, &memory);
    let labels = label_numbers(dataset, 0..rows, control)?;
    let weights = row_weights(dataset, options, control)?;
    let held_out = if held_out_rows > 0 {
        let codes = in_order(control.threads, dataset.columns.len(), |at| {
            match (dataset.columns.get(at), coded_rows.bins.get(at)) {
                (Some(values), Some(bins)) => coded(values, bins, rows..dataset.rows, control),
                _ => Err(Error::internal("a feature without values")),
            }
        });
        Some((
            Matrix::new(codes?).map_err(refused)?,
            label_numbers(dataset, rows..dataset.rows, control)?,
            dataset.weights.as_ref().map(|weights| weights.get(rows..).unwrap_or_default()),
        ))
    } else {
        None
    };
    let started = Instant::now();
    let mut log = Vec::new();
    let mut note = |iteration: usize, losses: &Losses| {
        log.push(LogEntry {
            iteration: iteration as u64 + 1,
            train_loss: Some(losses.train),
            eval_loss: losses.held_out,
            ms: started.elapsed().as_secs_f64() * 1e3,
        });
    };
    let target = tree::Target { labels: &labels, weights: weights.as_deref() };
    let eval = held_out.as_ref().map(|(matrix, labels, weights)| (matrix, tree::Target { labels, weights: *weights }));
    let boosted =
        tree::train_boosting(&coded_rows.train, &coded_rows.bins, target, eval, objective, &own, &watched, &mut note)
            .map_err(|error| watched.refused(error))?;
    let mut notes = Vec::new();
    if boosted.iterations < own.iterations {
        notes.push(format!("training ended early: {} of {} rounds were kept", boosted.iterations, own.iterations));
    }
    let (learned, memory) = held(boosted.ensemble, classes, f64::INFINITY, memory)?;
    Ok(Fitted {
        importance: importance(dataset, &learned.ensemble),
        learned: Learned::Trees(learned),
        log,
        notes,
        metrics: BTreeMap::new(),
        memory,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};

    use super::*;
    use crate::encode::types::PgType;
    use crate::error::SqlState;
    use crate::models::Feature;
    use crate::models::kind::ModelType;
    use crate::models::watch::{StopAfter, Stopped, Watch};

    /// Stops when all trees are grown.
    struct AfterTrees(AtomicBool);

    impl Watch for AfterTrees {
        fn check(&self) -> std::result::Result<(), Stopped> {
            if self.0.load(Ordering::Relaxed) { Err(Stopped) } else { Ok(()) }
        }

        fn progress(&self, done: usize, total: usize, _loss: Option<f64>) {
            self.0.fetch_or(done == total, Ordering::Relaxed);
        }
    }

    #[test]
    fn values_become_codes_until_told_to_stop() {
        let rows = 3 * CODED_ROWS + 7;
        let numbers = Values::Numbers((0..rows).map(|row| (row % 50) as f64).collect());
        let texts = (0..50).map(|text: u32| text.to_string()).collect();
        let codes = Values::Codes { codes: (0..rows).map(|row| (row % 50) as u32).collect(), texts };
        let bins = Bins::numeric(&mut (0..50).map(f64::from).collect(), tree::BINS_MAX, 1);
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        for (values, bins) in [(numbers, bins), (codes, Bins::categories(&[1; 50], tree::BINS_MAX))] {
            let of = |rows: Range<usize>, questions: usize| {
                let watch = StopAfter::new(questions);
                let found = coded(&values, &bins, rows, &Control { watch: &watch, pool: &pool, threads: 1 });
                found.map_err(|error| error.sqlstate())
            };
            let whole = of(0..rows, 4).unwrap();
            assert!(whole.len() == rows && whole.iter().enumerate().all(|(row, code)| usize::from(*code) == row % 50));
            assert_eq!(of(5..rows, 4).unwrap(), whole[5..]);
            assert_eq!(of(0..rows, 3), Err(SqlState::QueryCanceled));
        }
    }

    #[test]
    fn scores_for_the_contamination_end_when_told() {
        let rows = 20_000;
        let dataset = Dataset {
            features: vec![Feature::new("x", PgType::FLOAT8).unwrap()],
            columns: vec![Values::Numbers((0..rows).map(|row| (row * 37 % 1009) as f64).collect())],
            target: Target::None,
            weights: None,
            rows,
            train_rows: rows,
            skipped: BTreeMap::new(),
            memory: None,
        };
        let mut options = Options::new(ModelType::IsolationForest);
        options.set(options.spec("contamination").unwrap(), Value::Number(0.1)).unwrap();
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let watch = AfterTrees(AtomicBool::new(false));
        let stopped = isolation(&dataset, &options, &Control { watch: &watch, pool: &pool, threads: 1 });
        assert_eq!(stopped.err().map(|error| error.sqlstate()), Some(SqlState::QueryCanceled));
    }
}
