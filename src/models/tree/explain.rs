//! SHAP values of trees: how much each feature moves a row's prediction from the expected one.
//!
//! Path-dependent TreeSHAP (Lundberg, Erion, Lee, "Consistent individualized feature attribution for tree ensembles", 2018, algorithm 2): the
//! Shapley values of the game in which an unknown feature sends a row both ways, in proportion to the training rows. Time per row and tree:
//! leaves × depth². They add up to the prediction before the link less the expected value.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::control::Meter;
use super::{Ensemble, Error, LEAF, Tree, Watch};

/// Rows explained together by one thread.
const BLOCK: usize = 64;

/// An ensemble made ready to explain.
#[derive(Debug)]
pub struct Explainer<'a> {
    ensemble: &'a Ensemble,
    outline: &'a Outline,
}

/// What explanations take of all nodes of an ensemble: made once, it serves any number of them.
#[derive(Debug)]
pub struct Outline {
    expected: Vec<f64>,
    /// By tree: the most features on a path.
    depths: Vec<usize>,
    /// `1 / n`: divisions were most of the time.
    inverse: Vec<f64>,
}

/// A feature on the path: the shares of subsets without it (`zero`) and with it (`one`) that reach the node, and the weight of subsets by size.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    feature: u32,
    zero: f64,
    one: f64,
    weight: f64,
}

impl Outline {
    /// Of an ensemble that is valid ([`Ensemble::validate`]).
    pub fn new(ensemble: &Ensemble) -> Self {
        let mut expected = ensemble.base.clone();
        for tree in &ensemble.trees {
            let means = means(tree);
            for (offset, mean) in means[..tree.width as usize].iter().enumerate() {
                expected[tree.output as usize + offset] += ensemble.scale * mean;
            }
        }
        let depths: Vec<usize> = ensemble.trees.iter().map(depth).collect();
        let deepest = depths.iter().copied().max().unwrap_or(0);
        let inverse = (0..deepest + 3).map(|number| 1.0 / number as f64).collect();
        Self { expected, depths, inverse }
    }
}

impl<'a> Explainer<'a> {
    /// `outline` is that of the ensemble.
    pub fn new(ensemble: &'a Ensemble, outline: &'a Outline) -> Self {
        Self { ensemble, outline }
    }

    /// The mean prediction over the training rows, before the link, one per output.
    pub fn expected(&self) -> &[f64] {
        &self.outline.expected
    }

    /// For every row, output and feature its SHAP value: `rows × outputs × features`. `columns` as for
    /// [`Predictor::predict`](super::Predictor::predict).
    pub fn explain(&self, columns: &[&[f64]], threads: usize, watch: &dyn Watch) -> Result<Vec<f64>, Error> {
        let features = self.ensemble.features.len();
        let rows = columns.first().map_or(0, |column| column.len());
        if columns.len() != features || columns.iter().any(|column| column.len() != rows) {
            return Err(Error::Invalid(format!("the model takes {features} columns of one length")));
        }
        let stride = features * self.outline.expected.len();
        let mut values = vec![0.0; rows * stride];
        let blocks = Mutex::new(values.chunks_mut(BLOCK * stride).enumerate());
        let stop = AtomicBool::new(false);
        let work = || {
            let mut meter = Meter::new(watch, &stop);
            let mut raw = vec![0.0; features];
            let mut memory = Vec::new();
            loop {
                let next = blocks.lock().ok().and_then(|mut blocks| blocks.next());
                let Some((block, values)) = next else { return };
                for (offset, values) in values.chunks_mut(stride).enumerate() {
                    let row = block * BLOCK + offset;
                    raw.iter_mut().zip(columns).for_each(|(raw, column)| *raw = column[row]);
                    for (tree, &depth) in self.ensemble.trees.iter().zip(&self.outline.depths) {
                        if meter.spend(tree.len() * depth * 4).is_err() {
                            return;
                        }
                        self.explain_tree(tree, depth, &raw, &mut memory, values);
                    }
                    values.iter_mut().for_each(|value| *value *= self.ensemble.scale);
                }
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
        Ok(values)
    }

    /// Adds one tree's values for one row: depth first, with the path to each node kept in `memory`, one row of steps per depth.
    fn explain_tree(&self, tree: &Tree, depth: usize, raw: &[f64], memory: &mut Vec<Step>, values: &mut [f64]) {
        let stride = depth + 2;
        let inverse = &self.outline.inverse;
        memory.resize(memory.len().max(stride * (depth + 2)), Step::default());
        memory[0] = Step { feature: LEAF, zero: 1.0, one: 1.0, weight: 1.0 };
        // A node, its depth, the path's length before it, and the step that leads to it.
        let mut open = vec![(0_usize, 0_usize, 0_usize, Step { feature: LEAF, zero: 1.0, one: 1.0, weight: 0.0 })];
        while let Some((node, level, mut length, step)) = open.pop() {
            // A parent's path is at its own level: children copy it, so that the second child finds it untouched.
            if level > 0 {
                let (above, here) = memory.split_at_mut(level * stride);
                here[..=length].copy_from_slice(&above[(level - 1) * stride..][..=length]);
            }
            let path = &mut memory[level * stride..][..stride];
            let (mut zero, mut one) = (step.zero, step.one);
            if level > 0 {
                // A feature that is on the path already is undone and joined with the new condition.
                if let Some(place) = (1..=length).find(|&place| path[place].feature == step.feature) {
                    zero *= path[place].zero;
                    one *= path[place].one;
                    unwind(path, length, place, inverse);
                    length -= 1;
                }
                // Neither this row nor a training row comes here.
                if zero == 0.0 && one == 0.0 {
                    continue;
                }
                length += 1;
                extend(path, length, Step { feature: step.feature, zero, one, weight: 0.0 }, inverse);
            }
            if tree.feature[node] == LEAF {
                self.add_leaf(tree, node, &path[..=length], values);
                continue;
            }
            let feature = tree.feature[node] as usize;
            let hot = tree.child(node, &self.ensemble.features[feature], raw[feature]);
            let shares = shares(tree, node);
            for (child, share) in [tree.right[node] as usize, tree.left[node] as usize].into_iter().zip(shares) {
                let one = if child == hot { 1.0 } else { 0.0 };
                // No row came this way in training, and this one does not either: nothing to add.
                if share == 0.0 && one == 0.0 {
                    continue;
                }
                let step = Step { feature: feature as u32, zero: share, one, weight: 0.0 };
                open.push((child, level + 1, length, step));
            }
        }
    }

    fn add_leaf(&self, tree: &Tree, node: usize, path: &[Step], values: &mut [f64]) {
        let features = self.ensemble.features.len();
        let leaf = tree.leaf(node);
        let inverse = &self.outline.inverse;
        let cold = unwound_cold(path, inverse);
        for &Step { feature, zero, one, .. } in &path[1..] {
            // (one - zero) times the sum of weights without the step; zero cancels where the row does not follow the path.
            let weight = if one == 0.0 { -cold } else { unwound_hot(path, zero, inverse) * (1.0 - zero) };
            for (offset, value) in leaf.iter().enumerate() {
                values[(tree.output as usize + offset) * features + feature as usize] += weight * value;
            }
        }
    }
}

/// The shares of training rows that go right and left.
fn shares(tree: &Tree, node: usize) -> [f64; 2] {
    let (left, right) = (tree.cover[tree.left[node] as usize], tree.cover[tree.right[node] as usize]);
    let sum = left + right;
    // Covers of a model from outside may be absent.
    if sum > 0.0 { [right / sum, left / sum] } else { [0.5, 0.5] }
}

/// Adds a step as the path's last; `length` counts the steps after the root's.
fn extend(path: &mut [Step], length: usize, step: Step, inverse: &[f64]) {
    path[length] = step;
    let share = inverse[length + 1];
    for place in (0..length).rev() {
        path[place + 1].weight += step.one * path[place].weight * (place + 1) as f64 * share;
        path[place].weight *= step.zero * (length - place) as f64 * share;
    }
}

/// Takes the step at `place` out again. Its `one` is 0 or 1; if it is 0, its `zero` is not.
fn unwind(path: &mut [Step], length: usize, place: usize, inverse: &[f64]) {
    let Step { zero, one, .. } = path[place];
    let size = (length + 1) as f64;
    let mut next = path[length].weight;
    for at in (0..length).rev() {
        if one != 0.0 {
            let kept = path[at].weight;
            path[at].weight = next * size * inverse[at + 1];
            next = kept - path[at].weight * zero * (length - at) as f64 * inverse[length + 1];
        } else {
            path[at].weight *= size * inverse[length - at] / zero;
        }
    }
    for at in place..length {
        let Step { feature, zero, one, .. } = path[at + 1];
        path[at] = Step { feature, zero, one, weight: path[at].weight };
    }
}

/// The sum of weights after taking out a step that the row follows.
fn unwound_hot(path: &[Step], zero: f64, inverse: &[f64]) -> f64 {
    let length = path.len() - 1;
    let mut next = path[length].weight;
    let mut sum = 0.0;
    for at in (0..length).rev() {
        let weight = next * inverse[at + 1];
        sum += weight;
        next = path[at].weight - weight * zero * (length - at) as f64;
    }
    sum * (length + 1) as f64
}

/// The sum of weights after taking out a step that the row does not follow, times the step's `zero`: the same for all of them.
fn unwound_cold(path: &[Step], inverse: &[f64]) -> f64 {
    let length = path.len() - 1;
    let sum: f64 = path[..length].iter().enumerate().map(|(at, step)| step.weight * inverse[length - at]).sum();
    sum * (length + 1) as f64
}

/// Every node's mean over the training rows, `width` numbers each.
fn means(tree: &Tree) -> Vec<f64> {
    let width = tree.width as usize;
    let mut means = vec![0.0; tree.len() * width];
    // Children come after their parents.
    for node in (0..tree.len()).rev() {
        if tree.feature[node] == LEAF {
            means[node * width..][..width].copy_from_slice(tree.leaf(node));
            continue;
        }
        let [right_share, left_share] = shares(tree, node);
        for offset in 0..width {
            let of = |child: u32| means[child as usize * width + offset];
            means[node * width + offset] = left_share * of(tree.left[node]) + right_share * of(tree.right[node]);
        }
    }
    means
}

fn depth(tree: &Tree) -> usize {
    let mut depths = vec![0_usize; tree.len()];
    let mut deepest = 0;
    for node in 0..tree.len() {
        deepest = deepest.max(depths[node]);
        if tree.feature[node] != LEAF {
            depths[tree.left[node] as usize] = depths[node] + 1;
            depths[tree.right[node] as usize] = depths[node] + 1;
        }
    }
    deepest
}
