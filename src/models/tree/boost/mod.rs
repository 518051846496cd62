//! Gradient boosting (Friedman, "Greedy function approximation", 2001) as LightGBM does it (Ke et al., 2017): histograms, leaf-wise growth,
//! the larger child's histogram by subtraction. Defaults and formulas are LightGBM's, so that metrics agree.
//!
//! ```text
//! scores ─ gradients (whole numbers) ─▶ grow: histogram → split → partition ─▶ tree ─▶ scores
//! ```

mod blocks;
mod exp;
mod grow;
mod histogram;
mod objective;
mod scores;
mod split;

use std::sync::atomic::AtomicBool;

use super::codes::{CodeTree, Columns};
use super::control::{Meter, Pulse, Stopped};
use super::rng::Rng;
use super::team::Team;
use super::{Bins, Ensemble, Error, Feature, Link, Matrix, Tree, Watch};
use blocks::Blocks;
use grow::{Grower, Leaf, Round, Scratch};
pub use objective::Objective;
use scores::{Coded, Scores};

/// Options of boosting; the defaults are LightGBM's.
#[derive(Debug, Clone, PartialEq)]
pub struct BoostOptions {
    pub iterations: usize,
    pub learning_rate: f64,
    pub leaves_max: usize,
    /// Splits on a path; `usize::MAX` is no limit but that of `leaves_max`.
    pub depth_max: usize,
    /// Rows in a leaf at least (estimated from the hessian, as LightGBM does).
    pub rows_leaf_min: usize,
    pub hessian_leaf_min: f64,
    pub lambda_l1: f64,
    pub lambda_l2: f64,
    pub gain_min: f64,
    /// Features that a tree may use, as a share of all, in `(0, 1]`.
    pub feature_share: f64,
    /// Rows that trees are grown on, as a share of all, in `(0, 1]`, drawn anew every `bagging_every` iterations (0: all rows always).
    pub row_share: f64,
    pub bagging_every: usize,
    /// Stop when the held-out loss has not improved for so many iterations, and keep the best.
    pub early_stopping_rounds: Option<usize>,
    /// Up to so many categories in a leaf are tried one against the rest (`max_cat_to_onehot`).
    pub categories_alone_max: usize,
    /// Categories on the smaller side of a split (`max_cat_threshold`).
    pub categories_side_max: usize,
    /// Rows of a group of categories at least (`min_data_per_group`).
    pub category_group_min: usize,
    /// `cat_smooth` and `cat_l2`.
    pub category_smooth: f64,
    pub category_l2: f64,
    pub seed: u64,
    pub threads: usize,
}

impl Default for BoostOptions {
    fn default() -> Self {
        Self {
            iterations: 100,
            learning_rate: 0.1,
            leaves_max: 31,
            depth_max: usize::MAX,
            rows_leaf_min: 20,
            hessian_leaf_min: 1e-3,
            lambda_l1: 0.0,
            lambda_l2: 0.0,
            gain_min: 0.0,
            feature_share: 1.0,
            row_share: 1.0,
            bagging_every: 0,
            early_stopping_rounds: None,
            categories_alone_max: 4,
            categories_side_max: 32,
            category_group_min: 100,
            category_smooth: 10.0,
            category_l2: 10.0,
            seed: 0,
            threads: 1,
        }
    }
}

/// Labels (classes as whole numbers) and weights of a matrix's rows.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub labels: &'a [f64],
    /// Finite, not negative.
    pub weights: Option<&'a [f64]>,
}

/// The mean losses after an iteration: squared error, pinball loss or log loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Losses {
    /// Of up to 10,000 evenly spaced training rows.
    pub train: f64,
    pub held_out: Option<f64>,
}

/// A boosted ensemble and how it came about.
#[derive(Debug, Clone)]
pub struct Boosted {
    pub ensemble: Ensemble,
    /// One entry per iteration that ran.
    pub log: Vec<Losses>,
    /// Iterations that were kept.
    pub iterations: usize,
}

/// Boosts trees. `held_out` has codes of the same bins; it is needed for early stopping. `on_iteration` sees every iteration's number (from 0)
/// and losses.
pub fn train_boosting(
    matrix: &Matrix,
    bins: &[Bins],
    target: Target<'_>,
    held_out: Option<(&Matrix, Target<'_>)>,
    objective: Objective,
    options: &BoostOptions,
    watch: &dyn Watch,
    on_iteration: &mut dyn FnMut(usize, &Losses),
) -> Result<Boosted, Error> {
    check(matrix, bins, target, objective, options)?;
    if held_out.is_none() && options.early_stopping_rounds.is_some() {
        return Err(Error::Invalid("early stopping needs held-out rows".into()));
    }
    // Rows that all count for nothing have no loss: the training rows' tells when to stop, as if none were held out.
    let counts = |target: &Target<'_>| target.weights.is_none_or(|weights| weights.iter().any(|weight| *weight != 0.0));
    let held_out = held_out.filter(|(_, target)| counts(target));
    if let Some((matrix, target)) = held_out {
        check(matrix, bins, target, objective, options)?;
    }
    let team = Team::new(options.threads);
    let blocks = Blocks::new(matrix, &team);
    let base = objective.start(target.labels, target.weights, Pulse::new(watch, &AtomicBool::new(false)))?;
    let training = Training { matrix, bins, target, objective, options, base, watch };
    training.run(&team, &blocks, held_out, on_iteration)
}

/// Bytes that a training takes beside its inputs (matrix, labels, weights) and finished trees, of which [`Watch::grown`] tells one by one:
/// ask for them beforehand. `held_out_rows` may be 0.
pub fn boost_bytes(
    rows: usize,
    held_out_rows: usize,
    features: usize,
    objective: Objective,
    options: &BoostOptions,
) -> usize {
    let outputs = objective.outputs();
    let leaves = options.leaves_max.min(rows / options.rows_leaf_min.max(1)).max(2);
    let histograms = leaves + options.threads;
    // Per row: score and gradient of every output; row numbers, their partition, the bag.
    let row = outputs * 16 + 3 * 4;
    // What is left to explain, with weights.
    let residual = if let Objective::Quantile { .. } = objective { 16 } else { 0 };
    blocks::bytes(rows, features)
        + rows * (row + residual)
        + held_out_rows * (outputs * 8 + 4)
        + histograms * features * histogram::CELLS * 8
}

fn check(
    matrix: &Matrix,
    bins: &[Bins],
    target: Target<'_>,
    objective: Objective,
    options: &BoostOptions,
) -> Result<(), Error> {
    super::check_data(matrix, bins, target.labels.len(), target.weights)?;
    let invalid = |what: String| Err(Error::Invalid(what));
    let class = |label: f64, classes: usize| label >= 0.0 && label < classes as f64 && label.fract() == 0.0;
    let (sound, what) = match objective {
        Objective::Squared => (true, ""),
        Objective::Quantile { alpha } => (alpha > 0.0 && alpha < 1.0, "alpha is not between 0 and 1"),
        Objective::Logistic => (target.labels.iter().all(|&label| class(label, 2)), "a label is not 0 or 1"),
        Objective::Softmax { classes } => {
            (classes >= 2 && target.labels.iter().all(|&label| class(label, classes)), "a label is not a class")
        }
    };
    if !sound {
        return invalid(what.into());
    }
    if target.labels.iter().any(|label| !label.is_finite() || label.abs() > 1e30) {
        return invalid("a label is not finite or beyond 1e30".into());
    }
    let share = |share: f64| share > 0.0 && share <= 1.0;
    if !share(options.feature_share) || !share(options.row_share) {
        return invalid("a share of rows or features is not in (0, 1]".into());
    }
    let penalties = [options.lambda_l1, options.lambda_l2, options.gain_min, options.hessian_leaf_min];
    let categories = [options.category_smooth, options.category_l2];
    if penalties.iter().chain(&categories).any(|&value| !value.is_finite() || value < 0.0) {
        return invalid("a penalty is negative or not finite".into());
    }
    if !options.learning_rate.is_finite() || options.learning_rate <= 0.0 || options.iterations == 0 {
        return invalid("boosting needs a positive learning rate and an iteration".into());
    }
    Ok(())
}

struct Training<'a> {
    matrix: &'a Matrix,
    bins: &'a [Bins],
    target: Target<'a>,
    objective: Objective,
    options: &'a BoostOptions,
    base: Vec<f64>,
    watch: &'a dyn Watch,
}

impl Training<'_> {
    fn run(
        &self,
        team: &Team,
        blocks: &Blocks,
        held_out: Option<(&Matrix, Target<'_>)>,
        on_iteration: &mut dyn FnMut(usize, &Losses),
    ) -> Result<Boosted, Error> {
        let options = self.options;
        let stop = AtomicBool::new(false);
        let mut meter = Meter::new(self.watch, &stop);
        let grower = Grower { matrix: self.matrix, blocks, bins: self.bins, options, team };
        let mut scratch = Scratch::default();
        let mut scores = Scores::new(self.objective, self.target, &self.base);
        let mut held_scores = held_out.map(|(_, target)| Scores::new(self.objective, target, &self.base));
        let mut bag: Vec<u32> = (0..self.matrix.rows() as u32).collect();
        let mut rows = bag.clone();
        let mut trees: Vec<Tree> = Vec::new();
        let mut log: Vec<Losses> = Vec::new();
        let mut best = (f64::INFINITY, 0);
        for iteration in 0..options.iterations {
            self.watch.check()?;
            let random = |purpose: u64, number: usize| Rng::new(options.seed, &[purpose, number as u64]);
            if options.bagging_every > 0 && options.row_share < 1.0 && iteration % options.bagging_every == 0 {
                bag = draw(self.matrix.rows(), options.row_share, &mut random(1, iteration));
            }
            meter.spend(self.matrix.rows() * self.base.len() * 4)?;
            scores.compute_gradients(random(3, iteration), team)?;
            let mut grown = false;
            for output in 0..self.base.len() {
                let number = trees.len();
                let mut used = vec![options.feature_share >= 1.0; self.matrix.features()];
                if options.feature_share < 1.0 {
                    let chosen = draw(used.len(), options.feature_share, &mut random(2, number));
                    chosen.into_iter().for_each(|feature| used[feature as usize] = true);
                }
                rows.clear();
                rows.extend_from_slice(&bag);
                let (gradients, units) = scores.gradients(output);
                let round = Round { gradients, units, used: &used };
                let (mut tree, mut leaves) = grower.grow(&mut rows, round, &mut scratch, &mut meter)?;
                grown |= leaves.len() > 1;
                if leaves.len() == 1 {
                    leaves[0].value = 0.0;
                }
                tree.output = output as u32;
                self.value_leaves(&mut tree, &mut leaves, &rows, &scores, team, &mut meter)?;
                meter.spend(self.matrix.rows() * 2)?;
                scores.add_leaves(output, &leaves, options.learning_rate, &rows, team);
                if bag.len() < self.matrix.rows() {
                    let data = Coded { bins: self.bins, matrix: self.matrix };
                    scores.add_tree(output, &tree, data, &bag, team);
                }
                if let (Some(scores), Some((matrix, _))) = (&mut held_scores, held_out) {
                    meter.spend(matrix.rows() * 8)?;
                    scores.add_tree(output, &tree, Coded { bins: self.bins, matrix }, &[], team);
                }
                tree.shrink();
                self.watch.grown(tree.bytes())?;
                trees.push(tree);
            }
            let losses = Losses {
                train: scores.loss(10_000, team),
                held_out: held_scores.as_ref().map(|scores| scores.loss(usize::MAX, team)),
            };
            log.push(losses);
            on_iteration(iteration, &losses);
            let loss = losses.held_out.unwrap_or(losses.train);
            self.watch.progress(iteration + 1, options.iterations, Some(loss));
            if loss < best.0 {
                best = (loss, iteration + 1);
            }
            let chance = options.feature_share < 1.0 || bag.len() < self.matrix.rows();
            if !grown && !chance {
                break;
            }
            if options.early_stopping_rounds.is_some_and(|rounds| iteration + 1 >= best.1 + rounds.max(1)) {
                break;
            }
        }
        let iterations = if options.early_stopping_rounds.is_some() { best.1.max(1) } else { log.len() };
        trees.truncate(iterations * self.base.len());
        Ok(Boosted { ensemble: self.ensemble(trees), log, iterations })
    }

    /// Gives the tree its leaves' values, times the learning rate.
    fn value_leaves(
        &self,
        tree: &mut Tree,
        leaves: &mut [Leaf],
        rows: &[u32],
        scores: &Scores<'_>,
        team: &Team,
        meter: &mut Meter<'_>,
    ) -> Result<(), Stopped> {
        if let Objective::Quantile { alpha } = self.objective {
            // The gradient says only the direction: the best step is the residuals' quantile (as LightGBM renews leaves).
            meter.spend(rows.len() * 16)?;
            let pulse = meter.pulse;
            let jobs: Vec<&mut Leaf> = leaves.iter_mut().collect();
            team.each(jobs, |leaf| {
                if let Ok(value) = scores.residual_quantile(&rows[leaf.start..leaf.end], alpha, pulse) {
                    leaf.value = value;
                }
            });
            pulse.stopped()?;
        }
        for leaf in leaves {
            tree.set_leaf(leaf.node, &[leaf.value * self.options.learning_rate]);
        }
        Ok(())
    }

    fn ensemble(&self, trees: Vec<Tree>) -> Ensemble {
        Ensemble {
            features: self.bins.iter().map(Feature::from).collect(),
            outputs: self.base.len() as u32,
            base: self.base.clone(),
            scale: 1.0,
            link: match self.objective {
                Objective::Squared | Objective::Quantile { .. } => Link::Identity,
                Objective::Logistic => Link::Logistic,
                Objective::Softmax { .. } => Link::Softmax,
            },
            trees,
        }
    }
}

/// A share of `0..count`, ascending, at least one, without repetition.
fn draw(count: usize, share: f64, rng: &mut Rng) -> Vec<u32> {
    let mut wanted = ((count as f64 * share) as usize).clamp(1, count);
    let mut chosen = Vec::with_capacity(wanted);
    for number in 0..count {
        if (rng.below((count - number) as u32) as usize) < wanted {
            chosen.push(number as u32);
            wanted -= 1;
        }
    }
    chosen
}
