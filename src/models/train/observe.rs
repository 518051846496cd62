//! What is said of the data beside the model, and how a model does on rows.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::algebra::parallel::{in_order, in_turn};
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
use crate::error::{Error, Result};

/// Rows that are predicted at a time.
const ROWS: usize = 65_536;
/// Values of features or scores at a time: wide rows come in smaller blocks.
const VALUES: usize = 1 << 22;
/// Answers of a model's parts between two questions whether to go on.
const ANSWERS: usize = if cfg!(test) { 1 << 14 } else { 1 << 24 };
/// Rows whose sums are taken together.
const STATISTICS_ROWS: usize = 1_024;
/// Rows and features up to which permutation importance is taken.
const PERMUTED_ROWS_MAX: usize = 5_000;
const PERMUTED_FEATURES_MAX: usize = 100;

/// The values of each feature, of all rows.
pub(super) fn statistics(dataset: &Dataset, control: &Control<'_>) -> Result<Vec<FeatureStatistics>> {
    in_order(control.threads, dataset.columns.len(), |at| {
        go_on(control)?;
        Ok::<_, Error>(dataset.columns.get(at).map(of_values).unwrap_or_default())
    })
}

fn of_values(values: &Values) -> FeatureStatistics {
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

/// The most bytes that an answer takes for each row: inputs, codes as numbers too, and scores with what they are made of.
fn row_bytes(dataset: &Dataset, learned: &Learned) -> usize {
    let input = |values: &Values| match values {
        Values::Numbers(_) => 8,
        Values::Codes { .. } => 12,
    };
    dataset.columns.iter().map(input).sum::<usize>() + learned.width() * 16 + 32
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
        let _gathered = control.reserve(set.metrics_bytes_max())?;
        return Ok((set.metrics(|| go_on(control))?, Evaluation::default()));
    }
    let mut gathered = gathering(dataset, positive);
    if matches!(gathered, Gathering::Nothing) {
        return Ok(gathered.finish());
    }
    let rows = evaluated(dataset);
    let _gathered = control.reserve(gathered.bytes_max(rows.len()))?;
    let blocks: Vec<Range<usize>> = blocks(rows, dataset, learned).collect();
    let block_bytes = blocks.first().map_or(0, |rows| rows.len()) * row_bytes(dataset, learned);
    let (_blocks, at_once) = control.reserve_times(block_bytes, control.threads.min(blocks.len()))?;
    let rows = |at: usize| blocks.get(at).cloned().unwrap_or_default();
    // Answers are made by several threads, and gathered in one place in the order of the rows: of many classes that takes much memory.
    let answer = |at: usize| {
        go_on(control)?;
        learned.scores(&inputs(dataset, rows(at)), categories)
    };
    in_turn(at_once, blocks.len(), answer, |at, scores| {
        add(&mut gathered, dataset, rows(at), &scores, learned.width());
        Ok(())
    })?;
    Ok(gathered.finish())
}

/// The same of scores that are known, so many for each row of training; rows whose scores are NaN do not count.
pub(super) fn evaluation_of(
    dataset: &Dataset,
    scores: &[f64],
    width: usize,
    positive: Option<usize>,
    control: &Control<'_>,
) -> Result<BTreeMap<String, f64>> {
    let mut gathered = gathering(dataset, positive);
    let _gathered = control.reserve(gathered.bytes_max(dataset.train_rows))?;
    let width = width.max(1);
    let size = ROWS.min(VALUES / width).max(1);
    for (row, scores) in (0..dataset.train_rows).zip(scores.chunks_exact(width)) {
        if row.is_multiple_of(size) {
            go_on(control)?;
        }
        if !scores.iter().all(|score| score.is_finite()) {
            continue;
        }
        let rows = row..row + 1;
        match (&dataset.target, scores) {
            // Of two classes it is the second one's.
            (Target::Classes { .. }, [score]) => add(&mut gathered, dataset, rows, &[1.0 - score, *score], 2),
            (Target::Classes { .. } | Target::Numbers(_) | Target::None, scores) => {
                add(&mut gathered, dataset, rows, scores, width);
            }
        }
    }
    Ok(gathered.finish().0)
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
    Ok(control.watch.check()?)
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
    let _measures = control.reserve(dataset.train_rows * 8)?;
    let mut measures = Vec::with_capacity(dataset.train_rows);
    let blocks: Vec<Range<usize>> = blocks(0..dataset.train_rows, dataset, learned).collect();
    let block_bytes = blocks.first().map_or(0, |rows| rows.len()) * row_bytes(dataset, learned);
    let (_blocks, at_once) = control.reserve_times(block_bytes, control.threads.min(blocks.len()))?;
    let odd = |at: usize| {
        go_on(control)?;
        learned.oddity(&inputs(dataset, blocks.get(at).cloned().unwrap_or_default()), categories)
    };
    in_turn(at_once, blocks.len(), odd, |_, odd| {
        measures.extend(odd.into_iter().map(|odd| odd.measure));
        Ok(())
    })?;
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
    // What is permuted, and on each thread its answers.
    let bytes = rows.len() * row_bytes(dataset, learned);
    let _permuted = control.reserve(bytes)?;
    let (_answers, threads) = control.reserve_times(bytes, control.threads.min(dataset.features.len()))?;
    let columns = dataset.columns.iter().map(|values| match values {
        Values::Numbers(numbers) => {
            Input::Numbers(rows.iter().filter_map(|row| numbers.get(*row)).copied().collect::<Vec<_>>().into())
        }
        Values::Codes { codes, .. } => Input::Codes(rows.iter().filter_map(|row| codes.get(*row)).copied().collect()),
    });
    let whole = Inputs { rows: rows.len(), columns: columns.collect() };
    // Not all metrics: those about the order of rows cost more than the answers.
    let score_with = |changed: Option<(usize, &Input)>| {
        let mut scores = Vec::with_capacity(rows.len() * learned.width());
        for block in blocks(0..rows.len(), dataset, learned) {
            go_on(control)?;
            let columns = whole.columns.iter().enumerate().map(|(at, column)| match changed {
                Some((other, moved)) if other == at => moved.part(block.clone()),
                _ => column.part(block.clone()),
            });
            let inputs = Inputs { rows: block.len(), columns: columns.collect() };
            scores.extend(learned.scores(&inputs, categories)?);
        }
        Ok::<_, Error>(score(dataset, &rows, &scores, learned.width()))
    };
    let Some(before) = score_with(None)? else { return Ok(()) };
    // Rows stand in the order of their hashes, so a shift by half of them is as good as a shuffle.
    let shift = rows.len() / 2;
    let lost = in_order(threads, dataset.features.len(), |at| {
        let moved = whole.columns.get(at).map(|column| match column {
            Input::Numbers(values) => {
                let mut moved = values.values().to_vec();
                moved.rotate_left(shift);
                Input::Numbers(moved.into())
            }
            Input::Codes(codes) => {
                let mut moved = codes.clone();
                moved.rotate_left(shift);
                Input::Codes(moved)
            }
        });
        let after = score_with(moved.as_ref().map(|moved| (at, moved)))?;
        Ok::<_, Error>(after.map(|after| before - after))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};

    use super::*;
    use crate::encode::types::PgType;
    use crate::error::SqlState;
    use crate::models::Feature;
    use crate::models::tree::{self, Ensemble, LEAF, Link, NO_SET, Tree};
    use crate::models::trees::Trees;
    use crate::models::watch::{StopAfter, Unwatched, Watch};

    fn x(row: usize) -> f64 {
        (row * 37 % 1009) as f64
    }

    fn dataset(rows: usize, target: Target) -> Dataset {
        Dataset {
            features: vec![Feature::new("x", PgType::FLOAT8).unwrap()],
            columns: vec![Values::Numbers((0..rows).map(x).collect())],
            target,
            weights: None,
            rows,
            train_rows: rows,
            skipped: BTreeMap::new(),
            memory: None,
        }
    }

    /// Trees whose mean is 1 or 2.
    fn learned(trees: usize) -> Learned {
        let tree = Tree {
            output: 0,
            width: 1,
            feature: vec![0, LEAF, LEAF],
            threshold: vec![500.0, 0.0, 0.0],
            set: vec![NO_SET; 3],
            default_left: vec![false; 3],
            left: vec![1, 0, 1],
            right: vec![2, 0, 0],
            gain: vec![1.0, 0.0, 0.0],
            cover: vec![2.0, 1.0, 1.0],
            sets: Vec::new(),
            values: vec![1.0, 2.0],
        };
        let ensemble = Ensemble {
            features: vec![tree::Feature::Numeric],
            outputs: 1,
            base: vec![0.0],
            scale: 1.0 / trees as f64,
            link: Link::Identity,
            trees: vec![tree; trees],
        };
        Learned::Trees(Trees::new(ensemble, 0, f64::INFINITY).unwrap())
    }

    /// With so many bytes in the pool, all of which are given back.
    fn with<T>(
        watch: &dyn Watch,
        bytes: usize,
        threads: usize,
        work: impl FnOnce(&Control<'_>) -> Result<T>,
    ) -> Result<T, SqlState> {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(bytes));
        let done = work(&Control { watch, pool: &pool, threads });
        assert_eq!(pool.reserved(), 0);
        done.map_err(|error| error.sqlstate())
    }

    #[test]
    fn as_many_blocks_are_answered_at_once_as_there_is_room_for() {
        let rows = 60_000;
        let dataset = dataset(rows, Target::Numbers((0..rows).map(|row| (row % 13) as f64 / 7.0).collect()));
        let learned = learned(1);
        let evaluated = |bytes: usize, threads: usize| {
            with(&Unwatched, bytes, threads, |control| {
                Ok(evaluation(&dataset, &learned, &Categories::default(), None, control)?.0)
            })
        };
        let gathered = gathering(&dataset, None).bytes_max(rows);
        let sizes: Vec<usize> = blocks(0..rows, &dataset, &learned).map(|rows| rows.len()).collect();
        let block = sizes[0] * row_bytes(&dataset, &learned);
        let whole = evaluated(usize::MAX, 1).unwrap();
        assert!(sizes.len() > 3 && whole.len() == 7, "{sizes:?} {whole:?}");
        for (bytes, threads) in [(usize::MAX, 8), (gathered + 3 * block, 8), (gathered + block, 8)] {
            assert_eq!(evaluated(bytes, threads), Ok(whole.clone()));
        }
        for bytes in [gathered + block - 1, gathered - 1] {
            assert_eq!(evaluated(bytes, 8), Err(SqlState::OutOfMemory));
        }
    }

    #[test]
    fn what_is_gathered_of_many_classes_is_counted() {
        let classes = |count: usize| {
            let classes = (0..count).map(|class| class.to_string()).collect();
            gathering(&dataset(1, Target::Classes { codes: vec![0], classes }), None)
        };
        // 24 bytes of each row and class.
        assert!((1 << 13) * 24 * 100 < classes(100).bytes_max(8_000));
        assert!(classes(2).bytes_max(1 << 13) <= (1 << 13) * 24 * 4 + 64);
        // Beyond their bound rankings grow no more.
        assert_eq!(classes(1000).bytes_max(10_000), classes(1000).bytes_max(10_000_000));
    }

    #[test]
    fn known_scores_are_gathered_until_told_to_stop() {
        let codes = (0..1000).map(|row| row % 2).collect();
        let dataset = dataset(1000, Target::Classes { codes, classes: vec!["a".to_owned(), "b".to_owned()] });
        let scores: Vec<f64> = (0..1000).map(|row| if row == 7 { f64::NAN } else { (row % 4) as f64 / 4.0 }).collect();
        let found = |watch: &dyn Watch, bytes: usize| {
            with(watch, bytes, 1, |control| evaluation_of(&dataset, &scores, 1, Some(1), control))
        };
        let area = found(&Unwatched, usize::MAX).unwrap().get("roc_auc").copied().unwrap();
        assert!((area - 0.75).abs() < 0.01, "{area}");
        assert_eq!(found(&Unwatched, 1000), Err(SqlState::OutOfMemory));
        assert_eq!(found(&StopAfter::new(0), usize::MAX), Err(SqlState::QueryCanceled));
    }

    #[test]
    fn permutations_ask_between_blocks_of_answers() {
        let rows = 2000;
        let labels = (0..rows).map(|row| if x(row) > 500.0 { 2.0 } else { 1.0 }).collect();
        let dataset = dataset(rows, Target::Numbers(labels));
        let learned = learned(20);
        let permuted = |watch: &dyn Watch| {
            let mut importance = Vec::new();
            with(watch, usize::MAX, 1, |control| {
                permutation(&dataset, &learned, &Categories::default(), control, &mut importance)?;
                Ok(importance.iter().filter_map(|feature| feature.permutation).collect::<Vec<f64>>())
            })
        };
        let watch = StopAfter::new(100);
        assert!(permuted(&watch).unwrap()[0] > 0.0);
        // Before and after, of three blocks each.
        let asked = 100 - watch.left();
        assert_eq!(asked, 6);
        assert_eq!(permuted(&StopAfter::new(asked - 1)), Err(SqlState::QueryCanceled));
    }

    #[test]
    fn statistics_end_when_told() {
        let dataset = dataset(10, Target::None);
        let taken = |watch: &dyn Watch| with(watch, 0, 1, |control| statistics(&dataset, control));
        assert_eq!(taken(&Unwatched).unwrap()[0].nulls, 0);
        assert_eq!(taken(&StopAfter::new(0)).map(|_| ()), Err(SqlState::QueryCanceled));
    }
}
