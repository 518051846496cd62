//! What training makes and prediction reads: trees in flat arrays.

use super::bins::category_code;
use super::{Bins, MISSING};

/// The feature of a leaf.
pub const LEAF: u32 = u32::MAX;

/// The category set of a node that splits a number.
pub const NO_SET: u32 = u32::MAX;

/// What a feature's raw values are.
#[derive(Debug, Clone, PartialEq)]
pub enum Feature {
    /// A number; NaN is missing.
    Numeric,
    /// A category's number in the caller's dictionary; `bin_of[category]` is the bit in a node's set.
    Categorical { bin_of: Vec<u8> },
}

impl From<&Bins> for Feature {
    fn from(bins: &Bins) -> Self {
        match bins {
            Bins::Numeric { .. } => Self::Numeric,
            Bins::Categorical { bin_of, .. } => Self::Categorical { bin_of: bin_of.clone() },
        }
    }
}

/// From the sum of the trees to what the user asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Link {
    /// The sum itself: a mean, a probability (forests).
    Identity,
    /// `1 / (1 + e^-x)`.
    Logistic,
    /// `e^x_k / Σ e^x`.
    Softmax,
    /// `2^(-x / path)`: the isolation forest's score, with the mean path length of an unsuccessful search.
    Isolation { path: f64 },
}

/// A binary tree, its root at 0. A child's index is greater than its parent's. All per-node arrays have one length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    /// The first output that the leaves add to.
    pub output: u32,
    /// Values of a leaf: they go to the outputs `output..output + width`.
    pub width: u32,
    /// The feature that a node asks for, or [`LEAF`].
    pub feature: Vec<u32>,
    /// A number goes left when `value <= threshold`.
    pub threshold: Vec<f64>,
    /// The set in `sets` of a node that splits a category, or [`NO_SET`].
    pub set: Vec<u32>,
    /// A missing value goes left.
    pub default_left: Vec<bool>,
    /// The left child; of a leaf, its place in `values`: `values[left * width..][..width]`.
    pub left: Vec<u32>,
    /// The right child; of a leaf, 0.
    pub right: Vec<u32>,
    /// What the split gained in the learner's own criterion, not negative.
    pub gain: Vec<f64>,
    /// The weight of the training rows that came here.
    pub cover: Vec<f64>,
    /// Sets of bins that go left: bit `b % 64` of word `b / 64`.
    pub sets: Vec<[u64; 4]>,
    /// Leaf values.
    pub values: Vec<f64>,
}

/// Where a node sends its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    /// Codes up to this one go left.
    Upto(u8),
    /// Codes in this set go left.
    In([u64; 4]),
}

impl Rule {
    /// For every code whether it goes left, [`MISSING`] among them.
    pub(crate) fn table(&self, default_left: bool) -> [u8; 256] {
        let mut table = [0; 256];
        match self {
            Self::Upto(code) => table[..=usize::from(*code)].fill(1),
            Self::In(set) => (0..255_usize).for_each(|code| table[code] = ((set[code / 64] >> (code % 64)) & 1) as u8),
        }
        table[usize::from(MISSING)] = u8::from(default_left);
        table
    }
}

impl Tree {
    pub(crate) fn new(output: u32, width: u32) -> Self {
        Self { output, width, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.feature.len()
    }

    pub fn is_empty(&self) -> bool {
        self.feature.is_empty()
    }

    pub fn leaves(&self) -> usize {
        self.feature.iter().filter(|&&feature| feature == LEAF).count()
    }

    /// Gives back what the arrays were grown beyond their content.
    pub(crate) fn shrink(&mut self) {
        let Self { feature, threshold, set, default_left, left, right, gain, cover, sets, values, .. } = self;
        [feature, set, left, right].into_iter().for_each(Vec::shrink_to_fit);
        [threshold, gain, cover, values].into_iter().for_each(Vec::shrink_to_fit);
        default_left.shrink_to_fit();
        sets.shrink_to_fit();
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.len() * 41 + self.sets.len() * 32 + self.values.len() * 8
    }

    /// Adds a node that is a leaf without values until it is split or valued, and returns its index.
    pub(crate) fn push(&mut self, cover: f64) -> usize {
        self.feature.push(LEAF);
        self.threshold.push(0.0);
        self.set.push(NO_SET);
        self.default_left.push(false);
        self.left.push(0);
        self.right.push(0);
        self.gain.push(0.0);
        self.cover.push(cover);
        self.feature.len() - 1
    }

    pub(crate) fn set_leaf(&mut self, node: usize, values: &[f64]) {
        self.left[node] = (self.values.len() / (self.width as usize).max(1)) as u32;
        self.values.extend_from_slice(values);
    }

    /// Splits a node; its children are new and neighbours. Returns the left one.
    pub(crate) fn split(&mut self, node: usize, split: &Split, bins: &Bins, covers: [f64; 2]) -> usize {
        let left = self.push(covers[0]);
        let right = self.push(covers[1]);
        self.feature[node] = split.feature;
        self.default_left[node] = split.default_left;
        self.gain[node] = split.gain.max(0.0);
        match split.rule {
            Rule::Upto(code) => self.threshold[node] = bins.threshold(code),
            Rule::In(set) => {
                self.set[node] = self.sets.len() as u32;
                self.sets.push(set);
            }
        }
        self.left[node] = left as u32;
        self.right[node] = right as u32;
        left
    }

    /// The child that a raw value goes to. Only for a node that is not a leaf, in a valid tree.
    pub(crate) fn child(&self, node: usize, kind: &Feature, value: f64) -> usize {
        let left = match kind {
            Feature::Categorical { bin_of } => match category_code(bin_of, value) {
                MISSING => self.default_left[node],
                code => (self.sets[self.set[node] as usize][usize::from(code) / 64] >> (code % 64)) & 1 == 1,
            },
            Feature::Numeric if value.is_nan() => self.default_left[node],
            Feature::Numeric => value <= self.threshold[node],
        };
        (if left { self.left[node] } else { self.right[node] }) as usize
    }

    /// A leaf's values.
    pub(crate) fn leaf(&self, node: usize) -> &[f64] {
        let width = self.width as usize;
        &self.values[self.left[node] as usize * width..][..width]
    }
}

/// A split that a learner chose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Split {
    pub(crate) feature: u32,
    pub(crate) rule: Rule,
    pub(crate) default_left: bool,
    pub(crate) gain: f64,
}

/// Trees whose sum, scaled and linked, is the prediction: `link(base + scale · Σ trees)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// The features in training order; prediction takes their columns in this order.
    pub features: Vec<Feature>,
    /// Numbers per row: 1 for two classes (the probability or log-odds of the second), a number, a score; else one per class.
    pub outputs: u32,
    /// Added to the trees' sum, one per output.
    pub base: Vec<f64>,
    /// `1 / trees` for forests, 1 for boosting (the learning rate is in the leaves).
    pub scale: f64,
    pub link: Link,
    pub trees: Vec<Tree>,
}

/// A feature's part in the splits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Importance {
    /// Its share of the gain of all splits; the shares add up to 1 if anything was split. In forests every tree counts alike (as in scikit-learn).
    pub gain: f64,
    /// The number of splits.
    pub splits: u64,
}

impl Ensemble {
    /// One for every feature.
    pub fn importance(&self) -> Vec<Importance> {
        let mut importance = vec![Importance::default(); self.features.len()];
        let per_tree = self.scale != 1.0;
        for tree in &self.trees {
            let total: f64 = if per_tree { tree.gain.iter().sum() } else { 1.0 };
            for (&feature, &gain) in tree.feature.iter().zip(&tree.gain) {
                if let Some(entry) = importance.get_mut(feature as usize) {
                    entry.splits += 1;
                    entry.gain += if total > 0.0 { gain / total } else { 0.0 };
                }
            }
        }
        let total: f64 = importance.iter().map(|entry| entry.gain).sum();
        if total > 0.0 {
            importance.iter_mut().for_each(|entry| entry.gain /= total);
        }
        importance
    }

    /// Bytes that the trees take in memory.
    pub fn bytes(&self) -> usize {
        self.trees.iter().map(Tree::bytes).sum()
    }
}
