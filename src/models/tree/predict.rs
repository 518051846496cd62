//! Prediction for many rows: blocks of rows become codes once, then every tree walks the block.
//!
//! A feature's codes here count the model's own thresholds below a value, so they decide exactly as the raw thresholds do.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::bins::{BINS_MAX, SearchTable, category_code};
use super::codes::{CodeTree, Flat, LANES};
use super::control::Meter;
use super::raw::RawTree;
use super::{Ensemble, Error, Feature, LEAF, Link, NO_SET, Watch};

/// Rows of a block: their codes and a tree stay in the first-level cache.
const BLOCK: usize = 1024;

/// An ensemble made ready to predict; make it once and share it between threads.
#[derive(Debug)]
pub struct Predictor {
    features: Vec<Feature>,
    outputs: usize,
    base: Vec<f64>,
    scale: f64,
    link: Link,
    trees: Vec<Leaves>,
    walk: Walk,
}

/// A tree's outputs.
#[derive(Debug)]
struct Leaves {
    output: usize,
    width: usize,
    values: Vec<f64>,
}

#[derive(Debug)]
enum Walk {
    /// The features that some node asks for, and how their values become codes.
    Codes {
        encoders: Vec<(usize, Encoder)>,
        trees: Vec<CodeTree>,
    },
    Raw(Vec<RawTree>),
}

#[derive(Debug)]
enum Encoder {
    Numeric(Box<SearchTable>),
    Categorical(Vec<u8>),
}

impl Predictor {
    /// An error if the ensemble is not valid ([`Ensemble::validate`]).
    pub fn new(ensemble: &Ensemble) -> Result<Self, Error> {
        ensemble.validate()?;
        let thresholds = thresholds(ensemble);
        let walk = if thresholds.iter().all(|thresholds| thresholds.len() <= BINS_MAX) {
            let code = |feature: usize, threshold: f64| {
                thresholds[feature].partition_point(|&smaller| smaller < threshold) as u8
            };
            Walk::Codes {
                encoders: encoders(ensemble, &thresholds),
                trees: ensemble.trees.iter().map(|tree| CodeTree::new(tree, code)).collect(),
            }
        } else {
            Walk::Raw(ensemble.trees.iter().map(RawTree::new).collect())
        };
        let leaves = ensemble.trees.iter().map(|tree| Leaves {
            output: tree.output as usize,
            width: tree.width as usize,
            values: tree.values.clone(),
        });
        Ok(Self {
            features: ensemble.features.clone(),
            outputs: ensemble.outputs as usize,
            base: ensemble.base.clone(),
            scale: ensemble.scale,
            link: ensemble.link,
            trees: leaves.collect(),
            walk,
        })
    }

    /// Numbers per row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The linked outputs of all rows, row after row (`rows × outputs`). `columns` are the raw features in training order, of one length; NaN
    /// is missing, an unknown category too.
    pub fn predict(&self, columns: &[&[f64]], threads: usize, watch: &dyn Watch) -> Result<Vec<f64>, Error> {
        let mut sums = self.sums(columns, threads, watch)?;
        sums.chunks_mut(self.outputs).for_each(|outputs| self.link.apply(outputs));
        Ok(sums)
    }

    /// As [`Predictor::predict`] before the link: log-odds, mean path lengths.
    pub fn sums(&self, columns: &[&[f64]], threads: usize, watch: &dyn Watch) -> Result<Vec<f64>, Error> {
        let rows = columns.first().map_or(0, |column| column.len());
        if columns.len() != self.features.len() || columns.iter().any(|column| column.len() != rows) {
            let (wanted, given) = (self.features.len(), columns.len());
            return Err(Error::Invalid(format!("the model takes {wanted} columns of one length, not {given}")));
        }
        let mut sums = vec![0.0; rows * self.outputs];
        let blocks = Mutex::new(sums.chunks_mut(BLOCK * self.outputs).enumerate());
        let stop = AtomicBool::new(false);
        let work = || {
            let mut meter = Meter::new(watch, &stop);
            let mut codes = Vec::new();
            loop {
                let next = blocks.lock().ok().and_then(|mut blocks| blocks.next());
                let Some((block, sums)) = next else { return };
                if meter.spend(sums.len() * self.trees.len() * 4).is_err() {
                    return;
                }
                self.add_block(columns, block * BLOCK, sums, &mut codes);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.clamp(1, rows.div_ceil(BLOCK).max(1)) {
                // Where the system gives no more threads, those that are there do the work.
                let _ = std::thread::Builder::new().name("model".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        if stop.into_inner() {
            return Err(Error::Stopped);
        }
        Ok(sums)
    }

    /// `sums` are those of the rows from `first` on, at most a block.
    fn add_block(&self, columns: &[&[f64]], first: usize, sums: &mut [f64], codes: &mut Vec<u8>) {
        let rows = sums.len() / self.outputs;
        match &self.walk {
            Walk::Codes { encoders, trees } => {
                codes.resize(self.features.len() * BLOCK, 0);
                for (feature, encoder) in encoders {
                    let values = &columns[*feature][first..first + rows];
                    encoder.encode(values, &mut codes[feature * BLOCK..][..rows]);
                }
                let flat = Flat { codes, stride: BLOCK };
                let mut leaves = Vec::with_capacity(BLOCK);
                for (tree, Leaves { output, width, values }) in trees.iter().zip(&self.trees) {
                    if self.outputs == 1 {
                        tree.add_values(&flat, values, sums);
                        continue;
                    }
                    tree.leaves(&flat, 0..rows, &mut leaves);
                    for (sums, &leaf) in sums.chunks_mut(self.outputs).zip(&leaves) {
                        add_leaf(&mut sums[*output..*output + *width], values, leaf);
                    }
                }
            }
            Walk::Raw(trees) => {
                for (tree, Leaves { output, width, values }) in trees.iter().zip(&self.trees) {
                    for (group, sums) in sums.chunks_mut(LANES * self.outputs).enumerate() {
                        let count = sums.len() / self.outputs;
                        let leaves = tree.leaves(&self.features, columns, first + group * LANES, count);
                        for (sums, &leaf) in sums.chunks_mut(self.outputs).zip(&leaves) {
                            add_leaf(&mut sums[*output..*output + *width], values, leaf);
                        }
                    }
                }
            }
        }
        for sums in sums.chunks_mut(self.outputs) {
            sums.iter_mut().zip(&self.base).for_each(|(sum, base)| *sum = base + self.scale * *sum);
        }
    }
}

fn add_leaf(sums: &mut [f64], values: &[f64], leaf: u32) {
    let values = &values[leaf as usize * sums.len()..];
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

impl Encoder {
    fn encode(&self, values: &[f64], codes: &mut [u8]) {
        let pairs = codes.iter_mut().zip(values);
        match self {
            Self::Numeric(table) => pairs.for_each(|(code, &value)| *code = table.code(value)),
            Self::Categorical(bin_of) => pairs.for_each(|(code, &value)| *code = category_code(bin_of, value)),
        }
    }
}

impl Link {
    /// Turns one row's sums into its outputs.
    pub fn apply(&self, outputs: &mut [f64]) {
        match *self {
            Self::Identity => {}
            Self::Logistic => outputs.iter_mut().for_each(|output| *output = 1.0 / (1.0 + (-*output).exp())),
            Self::Softmax => {
                let greatest = outputs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                outputs.iter_mut().for_each(|output| *output = (*output - greatest).exp());
                let sum: f64 = outputs.iter().sum();
                outputs.iter_mut().for_each(|output| *output /= sum);
            }
            Self::Isolation { path } => outputs.iter_mut().for_each(|output| *output = (-*output / path).exp2()),
        }
    }
}

/// Every numeric feature's thresholds, ascending, each once. +infinity is none: all values are below.
fn thresholds(ensemble: &Ensemble) -> Vec<Vec<f64>> {
    let mut thresholds = vec![Vec::new(); ensemble.features.len()];
    for tree in &ensemble.trees {
        for ((&feature, &threshold), &set) in tree.feature.iter().zip(&tree.threshold).zip(&tree.set) {
            if feature != LEAF && set == NO_SET && threshold < f64::INFINITY {
                thresholds[feature as usize].push(threshold);
            }
        }
    }
    for thresholds in &mut thresholds {
        thresholds.sort_unstable_by(f64::total_cmp);
        thresholds.dedup();
    }
    thresholds
}

fn encoders(ensemble: &Ensemble, thresholds: &[Vec<f64>]) -> Vec<(usize, Encoder)> {
    let mut used = vec![false; ensemble.features.len()];
    for &feature in ensemble.trees.iter().flat_map(|tree| &tree.feature).filter(|&&feature| feature != LEAF) {
        used[feature as usize] = true;
    }
    let encoder = |feature: usize| match &ensemble.features[feature] {
        Feature::Numeric => Encoder::Numeric(Box::new(SearchTable::new(&thresholds[feature]))),
        Feature::Categorical { bin_of } => Encoder::Categorical(bin_of.clone()),
    };
    (0..used.len()).filter(|&feature| used[feature]).map(|feature| (feature, encoder(feature))).collect()
}
