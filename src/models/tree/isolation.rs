//! Isolation forests (Liu, Ting, Zhou, "Isolation forest", ICDM 2008): what few random cuts set apart is an anomaly.
//!
//! Cuts are uniform between a node's least and greatest value, so training needs raw values, not codes; it reads only the rows drawn.
//! A missing value goes to either side, with the chance of a value; a category's cut is a random choice of the node's categories.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::bins::category_code;
use super::control::{Meter, Stopped};
use super::model::{Rule, Split};
use super::rng::Rng;
use super::{Bins, Ensemble, Error, FEATURES_MAX, Feature, Link, MISSING, Tree, Watch};

/// Options of an isolation forest; the defaults are the paper's and scikit-learn's.
#[derive(Debug, Clone, PartialEq)]
pub struct IsolationOptions {
    pub trees: usize,
    /// Rows drawn for a tree, without repetition.
    pub rows_per_tree: usize,
    /// Cuts on a path; the logarithm of the rows drawn where it is smaller.
    pub depth_max: usize,
    pub seed: u64,
    pub threads: usize,
}

impl Default for IsolationOptions {
    fn default() -> Self {
        Self { trees: 100, rows_per_tree: 256, depth_max: usize::MAX, seed: 0, threads: 1 }
    }
}

/// A forest whose output is the anomaly score `2^(-path / c)`: near 1 is odd, well below 0.5 is usual. `columns` are raw features, NaN is missing.
pub fn train_isolation(
    columns: &[&[f64]],
    features: &[Feature],
    options: &IsolationOptions,
    watch: &dyn Watch,
) -> Result<Ensemble, Error> {
    let rows = columns.first().map_or(0, |column| column.len());
    if rows < 2 || u32::try_from(rows).is_err() {
        return Err(Error::Invalid(format!("an isolation forest cannot be made of {rows} rows")));
    }
    if columns.len() != features.len() || columns.len() > FEATURES_MAX || columns.iter().any(|c| c.len() != rows) {
        return Err(Error::Invalid("as many columns of one length as features are needed".into()));
    }
    if options.trees == 0 {
        return Err(Error::Invalid("a forest needs a tree".into()));
    }
    let drawn = options.rows_per_tree.clamp(2, rows);
    let depth_max = options.depth_max.min((drawn as f64).log2().ceil() as usize);
    let grower = Grower { columns, features, drawn, depth_max };
    let trees = Mutex::new(vec![None; options.trees]);
    let (next, done, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut meter = Meter::new(watch, &stop);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= options.trees || meter.spend(drawn * 64).is_err() {
                return;
            }
            let Ok(tree) = grower.grow(rows, &mut Rng::new(options.seed, &[number as u64]), &mut meter) else { return };
            if let Ok(mut trees) = trees.lock() {
                trees[number] = Some(tree);
            }
            watch.progress(done.fetch_add(1, Ordering::Relaxed) + 1, options.trees, None);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.threads.clamp(1, options.trees) {
            // Where the system gives no more threads, those that are there do the work.
            let _ = std::thread::Builder::new().name("model".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
    if stop.into_inner() {
        return Err(Error::Stopped);
    }
    let trees: Vec<Tree> = trees.into_inner().unwrap_or_default().into_iter().flatten().collect();
    Ok(Ensemble {
        features: features.to_vec(),
        outputs: 1,
        base: vec![0.0],
        scale: 1.0 / trees.len() as f64,
        link: Link::Isolation { path: mean_path(drawn) },
        trees,
    })
}

/// Bytes that a training on so many rows takes beside its inputs.
pub fn isolation_bytes(options: &IsolationOptions, rows: usize) -> usize {
    let drawn = options.rows_per_tree.min(rows);
    options.trees * drawn * (2 * 41 + 8) + options.threads * drawn * 64
}

/// The mean length of an unsuccessful search in a binary search tree of so many rows: `c(n)` of the paper.
fn mean_path(rows: usize) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        rows => {
            let rows = rows as f64;
            2.0 * ((rows - 1.0).ln() + EULER) - 2.0 * (rows - 1.0) / rows
        }
    }
}

struct Grower<'a> {
    columns: &'a [&'a [f64]],
    features: &'a [Feature],
    drawn: usize,
    depth_max: usize,
}

impl Grower<'_> {
    fn grow(&self, rows: usize, rng: &mut Rng, meter: &mut Meter<'_>) -> Result<Tree, Stopped> {
        let mut sample = sample(rows, self.drawn, rng);
        let mut features: Vec<u32> = (0..self.features.len() as u32).collect();
        let mut tree = Tree::new(0, 1);
        let root = tree.push(sample.len() as f64);
        let mut open = vec![(root, 0, sample.len(), 0)];
        while let Some((node, start, end, depth)) = open.pop() {
            let rows = &mut sample[start..end];
            let cut = match depth < self.depth_max && rows.len() > 1 {
                true => self.cut(rows, &mut features, rng, meter)?,
                false => None,
            };
            let Some((split, threshold)) = cut else {
                tree.set_leaf(node, &[depth as f64 + mean_path(rows.len())]);
                continue;
            };
            let middle = start + self.partition(rows, &split, threshold);
            // The threshold is not a bin's: set it after the split.
            let bins = Bins::Numeric { bounds: Vec::new() };
            let left = tree.split(node, &split, &bins, [(middle - start) as f64, (end - middle) as f64]);
            tree.threshold[node] = threshold;
            open.push((left + 1, middle, end, depth + 1));
            open.push((left, start, middle, depth + 1));
        }
        Ok(tree)
    }

    /// A random cut through a random feature that has two values at least; `None` when none has.
    fn cut(
        &self,
        rows: &[u32],
        features: &mut [u32],
        rng: &mut Rng,
        meter: &mut Meter<'_>,
    ) -> Result<Option<(Split, f64)>, Stopped> {
        for visited in 0..features.len() {
            meter.spend(rows.len())?;
            rng.shuffle_front(&mut features[visited..], 1);
            let feature = features[visited];
            let values = || rows.iter().map(|&row| self.columns[feature as usize][row as usize]);
            let cut = match &self.features[feature as usize] {
                Feature::Numeric => numeric_cut(values(), rng),
                Feature::Categorical { bin_of } => {
                    category_cut(values().map(|value| category_code(bin_of, value)), rng)
                }
            };
            if let Some((rule, default_left, threshold)) = cut {
                return Ok(Some((Split { feature, rule, default_left, gain: 1.0 }, threshold)));
            }
        }
        Ok(None)
    }

    fn partition(&self, rows: &mut [u32], split: &Split, threshold: f64) -> usize {
        let column = self.columns[split.feature as usize];
        let table = split.rule.table(split.default_left);
        let left = |row: u32| {
            let value = column[row as usize];
            match &self.features[split.feature as usize] {
                Feature::Categorical { bin_of } => table[usize::from(category_code(bin_of, value))] == 1,
                Feature::Numeric if value.is_nan() => split.default_left,
                Feature::Numeric => value <= threshold,
            }
        };
        let (mut lefts, rights): (Vec<u32>, Vec<u32>) = rows.iter().partition(|&&row| left(row));
        let middle = lefts.len();
        lefts.extend(rights);
        rows.copy_from_slice(&lefts);
        middle
    }
}

/// `count` of `0..rows` without repetition, in random order (Floyd's algorithm needs no list of all rows).
fn sample(rows: usize, count: usize, rng: &mut Rng) -> Vec<u32> {
    let mut chosen = std::collections::HashSet::with_capacity(count);
    let mut sample = Vec::with_capacity(count);
    for last in rows - count..rows {
        let row = rng.below(last as u32 + 1);
        let row = if chosen.insert(row) { row } else { last as u32 };
        chosen.insert(row);
        sample.push(row);
    }
    sample
}

/// A rule, where missing values go, and a threshold.
type Cut = (Rule, bool, f64);

fn numeric_cut(values: impl Iterator<Item = f64>, rng: &mut Rng) -> Option<Cut> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut missing = false;
    for value in values {
        missing |= value.is_nan();
        low = low.min(value);
        high = high.max(value);
    }
    if low < high {
        // Infinities are beyond all numbers: a cut is drawn between the greatest finite ones.
        let (bottom, top) = (low.max(f64::MIN), high.min(f64::MAX));
        let at = rng.unit();
        let threshold = bottom * (1.0 - at) + top * at;
        let threshold = if low <= threshold && threshold < high { threshold } else { low };
        return Some((Rule::Upto(0), rng.unit() < 0.5, threshold));
    }
    // One value and missing ones: they part.
    (missing && low == high).then_some((Rule::Upto(0), false, f64::INFINITY))
}

fn category_cut(codes: impl Iterator<Item = u8>, rng: &mut Rng) -> Option<Cut> {
    let mut seen = [false; 256];
    codes.for_each(|code| seen[usize::from(code)] = true);
    let mut present: Vec<usize> = (0..256).filter(|&code| seen[code]).collect();
    if present.len() < 2 {
        return None;
    }
    let count = 1 + rng.below(present.len() as u32 - 1) as usize;
    rng.shuffle_front(&mut present, count);
    let mut set = [0_u64; 4];
    present[..count].iter().for_each(|&code| set[code / 64] |= 1 << (code % 64));
    let default_left =
        if seen[usize::from(MISSING)] { (set[3] >> 63) == 1 } else { rng.unit() < count as f64 / present.len() as f64 };
    set[3] &= !(1 << 63);
    Some((Rule::In(set), default_left, 0.0))
}
