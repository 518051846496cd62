//! Random forests (Breiman, "Random forests", Machine Learning 45, 2001) for classes and for a number.
//!
//! A tree is grown by one thread from its own stream of random numbers, so the number of threads changes nothing but the time.
//! Per node the histograms of a few randomly chosen features are filled from the node's rows; nothing is kept between nodes.

mod bag;
mod binary;
mod classes;
mod criterion;
mod grow;
mod out_of_bag;
mod rows;
mod variance;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::codes::{CodeTree, Columns};
use super::control::Meter;
use super::rng::Rng;
use super::validate::DEPTH_MAX;
use super::{Bins, Ensemble, Error, Feature, Link, Matrix, Stopped, Tree, Watch, check_weights};
use bag::Bag;
use criterion::Criterion;
use grow::{Grower, Scratch};
use out_of_bag::OutOfBag;
use rows::ByRow;

/// How many features a node chooses from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FeaturesPerNode {
    /// The square root of their number: usual for classes.
    Sqrt,
    /// This share of them, in `(0, 1]`; 1 is scikit-learn's default for numbers, 1/3 Breiman's.
    Share(f64),
    /// So many.
    Count(usize),
}

impl FeaturesPerNode {
    fn of(self, features: usize) -> usize {
        let count = match self {
            Self::Sqrt => (features as f64).sqrt() as usize,
            Self::Share(share) => (features as f64 * share) as usize,
            Self::Count(count) => count,
        };
        count.clamp(1, features.max(1))
    }
}

/// Options of both forests. The defaults are scikit-learn's, but for `depth_max`.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestOptions {
    pub trees: usize,
    /// Splits on a path; scikit-learn has no limit, here it is 64.
    pub depth_max: usize,
    /// A node with fewer drawn rows (with repetition) is a leaf.
    pub rows_split_min: usize,
    /// A leaf has so many drawn rows at least.
    pub rows_leaf_min: usize,
    /// A split must lower the weighted impurity by more.
    pub gain_min: f64,
    pub features_per_node: FeaturesPerNode,
    /// Draw rows with repetition.
    pub bootstrap: bool,
    /// Rows drawn for a tree, as a share of all, in `(0, 1]`.
    pub sample_share: f64,
    /// Predict the rows that a tree did not draw.
    pub out_of_bag: bool,
    pub seed: u64,
    pub threads: usize,
}

impl Default for ForestOptions {
    fn default() -> Self {
        Self {
            trees: 100,
            depth_max: 64,
            rows_split_min: 2,
            rows_leaf_min: 1,
            gain_min: 0.0,
            features_per_node: FeaturesPerNode::Sqrt,
            bootstrap: true,
            sample_share: 1.0,
            out_of_bag: false,
            seed: 0,
            threads: 1,
        }
    }
}

/// A forest and, if asked for, what it says about rows it has not seen.
#[derive(Debug, Clone)]
pub struct Forest {
    pub ensemble: Ensemble,
    /// `ensemble.outputs` numbers per row, row after row; NaN for a row that every tree saw. Rows that share the label's row number.
    pub out_of_bag: Option<Vec<f64>>,
}

/// A forest whose output is the probability of the second class when `classes` is 2, else one probability per class: the mean of the leaves'
/// shares. `labels` are classes `0..classes`, `weights` (per row) and `class_weights` are finite and not negative.
pub fn train_forest_classifier(
    matrix: &Matrix,
    bins: &[Bins],
    labels: &[u16],
    classes: usize,
    weights: Option<&[f64]>,
    class_weights: Option<&[f64]>,
    options: &ForestOptions,
    watch: &dyn Watch,
) -> Result<Forest, Error> {
    check(matrix, bins, labels.len(), weights, options)?;
    if classes < 2 || classes > usize::from(u16::MAX) {
        return Err(Error::Invalid(format!("a classifier needs from 2 to 65535 classes, not {classes}")));
    }
    if labels.iter().any(|&label| usize::from(label) >= classes) {
        return Err(Error::Invalid(format!("a label is not one of the {classes} classes")));
    }
    let class_weights = class_weights.map_or_else(|| vec![1.0; classes], <[f64]>::to_vec);
    if class_weights.len() != classes {
        return Err(Error::Invalid(format!("{} class weights for {classes} classes", class_weights.len())));
    }
    check_weights(&class_weights)?;
    let outputs = if classes == 2 { 1 } else { classes };
    let weighs =
        |row: usize| class_weights[usize::from(labels[row])] > 0.0 && weights.is_none_or(|weights| weights[row] > 0.0);
    let mut prior = vec![0.0; classes];
    for (row, label) in labels.iter().enumerate() {
        let class = usize::from(*label);
        prior[class] += class_weights[class] * weights.map_or(1.0, |weights| weights[row]);
    }
    let all: f64 = prior.iter().sum();
    prior.iter_mut().for_each(|share| *share = if all > 0.0 { *share / all } else { 1.0 / classes as f64 });
    let out_of_bag = options.out_of_bag.then(|| OutOfBag::new(matrix.rows(), outputs, 0.0, 1.0));
    let job = Job { matrix, bins, options, outputs, out_of_bag, watch };
    match weights {
        None if classes == 2 => {
            let weights = [class_weights[0], class_weights[1]];
            job.train(&binary::Binary { labels, weights, prior: prior[1] }, weighs)
        }
        weights => {
            let class_weights = class_weights.clone();
            job.train(&classes::Classes { labels, classes, class_weights, weights, outputs, prior }, weighs)
        }
    }
}

/// A forest whose output is the mean of the leaves' means of `labels`, which are finite.
pub fn train_forest_regressor(
    matrix: &Matrix,
    bins: &[Bins],
    labels: &[f64],
    weights: Option<&[f64]>,
    options: &ForestOptions,
    watch: &dyn Watch,
) -> Result<Forest, Error> {
    check(matrix, bins, labels.len(), weights, options)?;
    if labels.iter().any(|label| !label.is_finite()) {
        return Err(Error::Invalid("a label is not a finite number".into()));
    }
    // A running mean: a sum of great labels could be infinite.
    let (mut mean, mut all) = (0.0, 0.0);
    for (row, label) in labels.iter().enumerate() {
        let weight = weights.map_or(1.0, |weights| weights[row]);
        all += weight;
        if weight > 0.0 {
            mean += (label - mean) * weight / all;
        }
    }
    let centred: Vec<f64> = labels.iter().map(|label| label - mean).collect();
    let weighs = |row: usize| weights.is_none_or(|weights| weights[row] > 0.0);
    // What no tree learns from says nothing of the leaves.
    let learnt = centred.iter().enumerate().filter(|(row, _)| weighs(*row));
    let range = learnt.fold(0.0_f64, |range, (_, label)| range.max(label.abs()));
    if range > 1e100 {
        return Err(Error::Invalid("labels are more than 1e100 from their mean".into()));
    }
    let out_of_bag = options.out_of_bag.then(|| OutOfBag::new(matrix.rows(), 1, mean, range));
    let job = Job { matrix, bins, options, outputs: 1, out_of_bag, watch };
    if weights.is_some() {
        job.train(&variance::Variance::<3> { labels: &centred, weights, mean }, weighs)
    } else {
        job.train(&variance::Variance::<2> { labels: &centred, weights, mean }, weighs)
    }
}

/// Bytes that a training takes beside its inputs (matrix, labels, weights) and finished trees, of which [`Watch::grown`] tells one by one:
/// ask for them beforehand. `classes` is 0 for a number.
pub fn forest_bytes(rows: usize, features: usize, classes: usize, options: &ForestOptions) -> usize {
    let lanes = match classes {
        0 => 3,
        2 => 1,
        classes => classes + 1,
    };
    let outputs = if classes <= 2 { 1 } else { classes };
    let threads = options.threads.clamp(1, options.trees.max(1));
    let drawn = (rows as f64 * options.sample_share.clamp(0.0, 1.0)) as usize;
    // Per thread: counts, drawn rows and their partition, histograms, the choice of features, a row list for out-of-bag.
    let histograms = (criterion::TOGETHER + 1) * 256 * 8 * lanes;
    let thread = rows * 2 + drawn * 16 + histograms + features * 4 + rows * 4;
    let by_row = rows::bytes(rows, features);
    let leaves = 1_usize
        .checked_shl(options.depth_max.min(40) as u32)
        .unwrap_or(usize::MAX)
        .min(drawn / options.rows_leaf_min.max(1) + 1);
    // The trees that grow, in arrays that double.
    let trees = threads * 2 * leaves * (2 * 41 + outputs * 8);
    let out_of_bag = if options.out_of_bag { rows * (outputs * 16 + 4) } else { 0 };
    threads * thread + trees + by_row + out_of_bag + if classes == 0 { rows * 8 } else { 0 }
}

fn check(
    matrix: &Matrix,
    bins: &[Bins],
    labels: usize,
    weights: Option<&[f64]>,
    options: &ForestOptions,
) -> Result<(), Error> {
    super::check_data(matrix, bins, labels, weights)?;
    if options.trees == 0 {
        return Err(Error::Invalid("a forest needs a tree".into()));
    }
    if !(options.sample_share > 0.0 && options.sample_share <= 1.0) {
        return Err(Error::Invalid("the share of rows for a tree is not in (0, 1]".into()));
    }
    Ok(())
}

struct Job<'a> {
    matrix: &'a Matrix,
    bins: &'a [Bins],
    options: &'a ForestOptions,
    outputs: usize,
    out_of_bag: Option<OutOfBag>,
    watch: &'a dyn Watch,
}

/// What the workers share: the next tree, the finished ones, the word to stop.
struct Board {
    next: AtomicUsize,
    done: AtomicUsize,
    stop: AtomicBool,
    trees: Mutex<Vec<Option<Tree>>>,
}

impl Job<'_> {
    fn train<C: Criterion>(self, criterion: &C, weighs: impl Fn(usize) -> bool + Sync) -> Result<Forest, Error> {
        let options = self.options;
        let features = self.matrix.features();
        let features_per_node = options.features_per_node.of(features);
        let grower = Grower {
            matrix: self.matrix,
            by_row: criterion.is_of_entries().then(|| ByRow::new(self.matrix, options.threads)).flatten(),
            bins: self.bins,
            criterion,
            features_per_node,
            depth_max: options.depth_max.min(DEPTH_MAX),
            rows_split_min: options.rows_split_min.max(2) as u64,
            rows_leaf_min: options.rows_leaf_min.max(1) as u64,
            gain_min: options.gain_min.max(0.0),
            outputs: self.outputs,
        };
        let board = Board {
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            trees: Mutex::new(vec![None; options.trees]),
        };
        let work = || {
            let stopped = self.work(&grower, &board, &weighs);
            if stopped.is_err() {
                board.stop.store(true, Ordering::Relaxed);
            }
        };
        // The calling thread works too.
        let helpers = options.threads.clamp(1, options.trees) - 1;
        std::thread::scope(|scope| {
            for number in 0..helpers {
                // Fewer when the system gives no more threads.
                let _ = std::thread::Builder::new().name(format!("train-{number}")).spawn_scoped(scope, work);
            }
            work();
        });
        if board.stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let trees: Vec<Tree> = board.trees.into_inner().unwrap_or_default().into_iter().flatten().collect();
        let ensemble = Ensemble {
            features: self.bins.iter().map(Feature::from).collect(),
            outputs: self.outputs as u32,
            base: vec![0.0; self.outputs],
            scale: 1.0 / trees.len() as f64,
            link: Link::Identity,
            trees,
        };
        Ok(Forest { ensemble, out_of_bag: self.out_of_bag.map(|sums| sums.means()) })
    }

    /// One worker: takes trees until none is left.
    fn work<C: Criterion>(
        &self,
        grower: &Grower<'_, C>,
        board: &Board,
        weighs: &impl Fn(usize) -> bool,
    ) -> Result<(), Stopped> {
        let rows = self.matrix.rows();
        let draws = ((rows as f64 * self.options.sample_share).round() as usize).clamp(1, rows);
        let mut meter = Meter::new(self.watch, &board.stop);
        let mut bag = Bag::new(rows);
        let mut scratch = Scratch::new(grower.criterion.stride(), self.matrix.features());
        let mut leaves = Vec::new();
        loop {
            let number = board.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.options.trees {
                return Ok(());
            }
            self.watch.check()?;
            let mut rng = Rng::new(self.options.seed, &[number as u64]);
            meter.spend(draws + rows)?;
            bag.draw(&mut rng, draws, self.options.bootstrap, |row| grower.criterion.class(row), weighs);
            scratch.order_features();
            let mut tree = grower.grow(&mut bag.entries, &mut rng, &mut scratch, &mut meter)?;
            tree.shrink();
            self.watch.grown(tree.bytes())?;
            if let Some(sums) = &self.out_of_bag {
                meter.spend(rows * 4)?;
                self.add_out_of_bag(&tree, &bag, sums, &mut leaves);
            }
            if let Ok(mut trees) = board.trees.lock() {
                trees[number] = Some(tree);
            }
            let done = board.done.fetch_add(1, Ordering::Relaxed) + 1;
            self.watch.progress(done, self.options.trees, None);
        }
    }

    fn add_out_of_bag(&self, tree: &Tree, bag: &Bag, sums: &OutOfBag, leaves: &mut Vec<u32>) {
        let codes = CodeTree::new(tree, |feature, threshold| self.bins[feature].code_of(threshold));
        let columns: Vec<&[u8]> = (0..self.matrix.features()).map(|feature| self.matrix.column(feature)).collect();
        codes.leaves(&Columns(&columns), bag.out(), leaves);
        for (row, &leaf) in bag.out().zip(leaves.iter()) {
            sums.add(row, &tree.values[leaf as usize * self.outputs..][..self.outputs]);
        }
    }
}
