//! What is said of the data beside the model, and how a model does on rows.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::algebra::parallel::in_order;
use super::super::anomaly;
use super::super::dataset::{Dataset, MISSING, Target, Values};
use super::super::evaluate::{Gathering, Truth};
use super::super::header::{Evaluation, FeatureStatistics, Importance};
use super::super::inputs::{Categories, Input, Inputs};
use super::super::kind::Task;
use super::super::learned::Learned;
use super::super::notes::listed;
use super::super::options::Options;
use super::Control;
use crate::error::{Error, Result, SqlState};

/// Rows that are predicted at a time.
const ROWS: usize = 65_536;
/// Values of features or scores at a time: wide rows come in smaller blocks.
const VALUES: usize = 1 << 22;
/// Answers of single trees between two questions whether to go on.
const ANSWERS: usize = 1 << 24;
/// Rows whose sums are taken together.
const STATISTICS_ROWS: usize = 1_024;
/// Rows and features up to which permutation importance is taken.
const PERMUTED_ROWS_MAX: usize = 5_000;
const PERMUTED_FEATURES_MAX: usize = 100;

/// The values of a feature, of all rows.
pub(super) fn statistics(values: &Values) -> FeatureStatistics {
    match values {
        Values::Codes { codes, texts } => FeatureStatistics {
            nulls: codes.iter().filter(|code| **code == MISSING).count() as u64,
            categories: Some(texts.len() as u64),
            ..FeatureStatistics::default()
        },
        Values::Numbers(numbers) => {
            let mut statistics = FeatureStatistics::default();
            let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
            let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
            // A division a block and not a row; the sums of blocks are merged as Chan and others do.
            for block in numbers.chunks(STATISTICS_ROWS) {
                let given = || block.iter().copied().filter(|number| !number.is_nan());
                let own_count = given().count() as f64;
                statistics.nulls += block.len() as u64 - own_count as u64;
                if own_count == 0.0 {
                    continue;
                }
                // Around the first value, so that equal values have it as their mean, to the last digit.
                let first = given().next().unwrap_or_default();
                let own_mean = first + given().map(|number| number - first).sum::<f64>() / own_count;
                let own_squares = given().map(|number| (number - own_mean).powi(2)).sum::<f64>();
                (min, max) = given().fold((min, max), |(min, max), number| (min.min(number), max.max(number)));
                let away = own_mean - mean;
                let all = count + own_count;
                squares += own_squares + away * away * count * own_count / all;
                mean += away * own_count / all;
                count = all;
            }
            let finite = |value: f64| (count > 0.0 && value.is_finite()).then_some(value);
            statistics.min = finite(min);
            statistics.max = finite(max);
            statistics.mean = finite(mean);
            statistics.stddev = finite((squares / count).sqrt());
            statistics
        }
    }
}

/// What a user should know of the features.
pub(super) fn notes(dataset: &Dataset, options: &Options) -> Vec<String> {
    let mut notes = Vec::new();
    let named = |wanted: &dyn Fn(usize, &Values) -> bool| -> Vec<&str> {
        let columns = dataset.columns.iter().enumerate().zip(&dataset.features);
        columns.filter(|((at, values), _)| wanted(*at, values)).map(|(_, feature)| feature.name.as_str()).collect()
    };
    if options.model_type.task() == Task::Forecast {
        notes.extend(skipped(dataset));
        return notes;
    }
    // Where columns are encoded, the encoder tells which it left out.
    let is_told = options.model_type.is_of_trees() && dataset.rows > 1;
    let constant = named(&|_, values| is_told && values.is_constant());
    if !constant.is_empty() {
        notes.push(format!("features that never differ say nothing: {}", listed(&constant)));
    }
    let same = named(&|_, values| dataset.rows > 1 && !values.is_constant() && tells_label(values, &dataset.target));
    if !same.is_empty() {
        notes.push(format!("features that are the label in other words: {}", listed(&same)));
    }
    notes.extend(skipped(dataset));
    notes
}

fn skipped(dataset: &Dataset) -> impl Iterator<Item = String> {
    dataset.skipped.iter().map(|(reason, count)| format!("{count} rows were left out: {reason}"))
}

/// Whether each value of the feature stands for one label and each label for one value.
fn tells_label(values: &Values, target: &Target) -> bool {
    match (values, target) {
        (Values::Numbers(numbers), Target::Numbers(labels)) => numbers == labels,
        (Values::Codes { codes, .. }, Target::Classes { codes: labels, classes }) => {
            pairs(codes.iter().map(|code| u64::from(*code)), labels, classes.len())
        }
        (Values::Numbers(numbers), Target::Classes { codes: labels, classes }) => {
            pairs(numbers.iter().map(|number| number.to_bits()), labels, classes.len())
        }
        _ => false,
    }
}

fn pairs(values: impl Iterator<Item = u64>, labels: &[u32], classes: usize) -> bool {
    let mut label_of: BTreeMap<u64, u32> = BTreeMap::new();
    for (value, label) in values.zip(labels) {
        if *label_of.entry(value).or_insert(*label) != *label || label_of.len() > classes {
            return false;
        }
    }
    label_of.len() == classes
}

/// The columns of some rows.
fn inputs(dataset: &Dataset, rows: Range<usize>) -> Inputs {
    let columns = dataset.columns.iter().map(|values| match values {
        Values::Numbers(numbers) => Input::Numbers(numbers.get(rows.clone()).unwrap_or_default().to_vec().into()),
        Values::Codes { codes, .. } => Input::Codes(codes.get(rows.clone()).unwrap_or_default().to_vec()),
    });
    Inputs { rows: rows.len(), columns: columns.collect() }
}

/// Adds rows of the dataset with what a model answers.
fn add(gathered: &mut Gathering, dataset: &Dataset, rows: Range<usize>, scores: &[f64], width: usize) {
    for (row, scores) in rows.zip(scores.chunks_exact(width.max(1))) {
        let weight = dataset.weights.as_ref().and_then(|weights| weights.get(row)).copied().unwrap_or(1.0);
        let truth = match &dataset.target {
            Target::Classes { codes, .. } => Truth::Class(codes.get(row).map_or(usize::MAX, |code| *code as usize)),
            Target::Numbers(labels) => Truth::Number(labels.get(row).copied().unwrap_or(f64::NAN)),
            Target::None => Truth::None,
        };
        gathered.add(truth, scores, weight);
    }
}

fn gathering(dataset: &Dataset, positive: Option<usize>) -> Gathering {
    match &dataset.target {
        Target::Classes { classes, .. } => Gathering::new(Task::Classification, classes.len(), positive),
        Target::Numbers(_) => Gathering::new(Task::Regression, 0, None),
        Target::None => Gathering::Nothing,
    }
}

/// The metrics of a model on the rows held out, or on all where none are.
pub(super) fn evaluation(
    dataset: &Dataset,
    learned: &Learned,
    categories: &Categories,
    positive: Option<usize>,
    control: &Control<'_>,
) -> Result<(BTreeMap<String, f64>, Evaluation)> {
    if let Learned::Series(set) = learned {
        return Ok((set.metrics(|| go_on(control))?, Evaluation::default()));
    }
    let mut gathered = gathering(dataset, positive);
    if matches!(gathered, Gathering::Nothing) {
        return Ok(gathered.finish());
    }
    let blocks: Vec<Range<usize>> = blocks(evaluated(dataset), dataset, learned).collect();
    // Some at a time, so that no more is held; they are merged in their order, whoever was first.
    for blocks in blocks.chunks(control.threads.max(1)) {
        let found = in_order(control.threads, blocks.len(), |at| {
            go_on(control)?;
            let rows = blocks.get(at).cloned().unwrap_or_default();
            let scores = learned.scores(&inputs(dataset, rows.clone()), categories)?;
            let mut gathered = gathering(dataset, positive);
            add(&mut gathered, dataset, rows, &scores, learned.width());
            Ok::<_, Error>(gathered)
        });
        found?.into_iter().for_each(|found| gathered.merge(found));
    }
    Ok(gathered.finish())
}

/// The same of scores that are known, one row of them for each row of training; rows whose scores are NaN do not count.
pub(super) fn evaluation_of(
    dataset: &Dataset,
    scores: &[f64],
    width: usize,
    positive: Option<usize>,
) -> BTreeMap<String, f64> {
    let mut gathered = gathering(dataset, positive);
    for (row, scores) in (0..dataset.train_rows).zip(scores.chunks_exact(width.max(1))) {
        if scores.iter().all(|score| score.is_finite()) {
            add(&mut gathered, dataset, row..row + 1, scores, width);
        }
    }
    gathered.finish().0
}

fn evaluated(dataset: &Dataset) -> Range<usize> {
    if dataset.train_rows < dataset.rows { dataset.train_rows..dataset.rows } else { 0..dataset.rows }
}

fn blocks(rows: Range<usize>, dataset: &Dataset, learned: &Learned) -> impl Iterator<Item = Range<usize>> {
    let width = learned.width().max(dataset.columns.len()).max(1);
    let size = ROWS.min(VALUES / width).min(ANSWERS / learned.parts().max(1)).max(1);
    let end = rows.end;
    rows.step_by(size).map(move |start| start..(start + size).min(end))
}

/// At most so many rows, at equal distances.
pub(super) fn spaced(rows: Range<usize>, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(rows.len());
    let (start, all) = (rows.start, rows.len());
    (0..count).map(move |number| start + (number as u128 * all as u128 / count as u128) as usize)
}

pub(super) fn go_on(control: &Control<'_>) -> Result<()> {
    control.watch.check().map_err(|_| Error::new(SqlState::QueryCanceled, "canceling statement due to user request"))
}

/// How odd the rows are, as the header keeps it; nothing of models that do not know anomalies.
pub(super) fn oddities(
    dataset: &Dataset,
    learned: &Learned,
    categories: &Categories,
    task: Task,
    control: &Control<'_>,
) -> Result<Vec<f64>> {
    match task {
        Task::Clustering | Task::Components | Task::Anomalies => {}
        Task::Classification | Task::Regression | Task::Forecast => return Ok(Vec::new()),
    }
    let _memory = control.reserve(dataset.train_rows * 8)?;
    let mut measures = Vec::with_capacity(dataset.train_rows);
    for rows in blocks(0..dataset.train_rows, dataset, learned) {
        go_on(control)?;
        let odd = learned.oddity(&inputs(dataset, rows), categories)?;
        measures.extend(odd.into_iter().map(|odd| odd.measure));
    }
    Ok(anomaly::kept(measures))
}

/// The share of rows whose class is the most probable one, or R²; `None` where there is none.
fn score(dataset: &Dataset, rows: &[usize], scores: &[f64], width: usize) -> Option<f64> {
    let weight = |row: usize| dataset.weights.as_ref().and_then(|weights| weights.get(row)).copied().unwrap_or(1.0);
    let answers = rows.iter().copied().zip(scores.chunks_exact(width.max(1)));
    match &dataset.target {
        Target::Classes { codes, .. } => {
            let (mut hits, mut all) = (0.0, 0.0);
            for (row, scores) in answers {
                let best =
                    (0..scores.len()).reduce(|best, at| if scores.get(at) > scores.get(best) { at } else { best });
                all += weight(row);
                if best.is_some_and(|best| codes.get(row).is_some_and(|code| *code as usize == best)) {
                    hits += weight(row);
                }
            }
            (all > 0.0).then(|| hits / all)
        }
        Target::Numbers(labels) => {
            let label = |row: usize| labels.get(row).copied().unwrap_or(f64::NAN);
            let all: f64 = rows.iter().copied().map(weight).sum();
            let mean = rows.iter().map(|row| weight(*row) * label(*row)).sum::<f64>() / all;
            let (mut errors, mut spread) = (0.0, 0.0);
            for (row, scores) in answers {
                errors += weight(row) * (label(row) - scores.first().copied().unwrap_or(f64::NAN)).powi(2);
                spread += weight(row) * (label(row) - mean).powi(2);
            }
            (spread > 0.0).then(|| 1.0 - errors / spread)
        }
        Target::None => None,
    }
}

/// What the score loses when a feature's values go to other rows: accuracy of classes, R² of numbers.
pub(super) fn permutation(
    dataset: &Dataset,
    learned: &Learned,
    categories: &Categories,
    control: &Control<'_>,
    importance: &mut Vec<Importance>,
) -> Result<()> {
    let rows: Vec<usize> = spaced(evaluated(dataset), PERMUTED_ROWS_MAX).collect();
    if dataset.features.len() > PERMUTED_FEATURES_MAX || rows.len() < 2 {
        return Ok(());
    }
    let of =
        |inputs: &Inputs| Ok::<_, Error>(score(dataset, &rows, &learned.scores(inputs, categories)?, learned.width()));
    let columns = dataset.columns.iter().map(|values| match values {
        Values::Numbers(numbers) => {
            Input::Numbers(rows.iter().filter_map(|row| numbers.get(*row)).copied().collect::<Vec<_>>().into())
        }
        Values::Codes { codes, .. } => Input::Codes(rows.iter().filter_map(|row| codes.get(*row)).copied().collect()),
    });
    let whole = Inputs { rows: rows.len(), columns: columns.collect() };
    // Not all metrics: those about the order of rows cost more than the answers.
    let Some(before) = of(&whole)? else { return Ok(()) };
    // Rows stand in the order of their hashes, so a shift by half of them is as good as a shuffle.
    let shift = rows.len() / 2;
    let lost = in_order(control.threads, dataset.features.len(), |at| {
        go_on(control)?;
        let mut changed = whole.clone();
        match changed.columns.get_mut(at) {
            Some(Input::Numbers(values)) => {
                let mut moved = values.values().to_vec();
                moved.rotate_left(shift);
                *values = moved.into();
            }
            Some(Input::Codes(codes)) => codes.rotate_left(shift),
            None => {}
        }
        Ok::<_, Error>(of(&changed)?.map(|after| before - after))
    });
    for (feature, lost) in dataset.features.iter().zip(lost?) {
        match importance.iter_mut().find(|known| known.feature == feature.name) {
            Some(known) => known.permutation = lost,
            None => importance.push(Importance {
                feature: feature.name.clone(),
                gain: None,
                splits: None,
                permutation: lost,
            }),
        }
    }
    Ok(())
}
