//! The running predictions of a set of rows, and the gradients at them.

use super::grow::Leaf;
use super::objective::{LIMIT, Objective, ROWS, Rounding, Scale, Totals, quantile, weighted_quantile};
use super::split::Units;
use super::{CodeTree, Columns, Target};
use crate::models::tree::control::{Pulse, Stopped};
use crate::models::tree::rng::Rng;
use crate::models::tree::team::Team;
use crate::models::tree::{Bins, Error, Matrix, Tree};

/// Rows of a piece of work.
const CHUNK: usize = 8192;

/// Sums of absolute gradients and of hessians that a scale aims at; twice as much still fits 31 bits.
const AIM: f64 = (1_u64 << 30) as f64;

/// With more rows a row has so few units (at most 256 if all are alike) that rounding to the nearest one would tell.
const ROWS_NEAREST_MAX: usize = 1 << 22;

/// Rows in codes.
#[derive(Clone, Copy)]
pub(super) struct Coded<'a> {
    pub(super) bins: &'a [Bins],
    pub(super) matrix: &'a Matrix,
}

pub(super) struct Scores<'a> {
    objective: Objective,
    target: Target<'a>,
    /// By output, then by row.
    scores: Vec<Vec<f64>>,
    packed: Vec<Vec<u64>>,
    scales: Vec<Scale>,
}

impl<'a> Scores<'a> {
    pub(super) fn new(objective: Objective, target: Target<'a>, base: &[f64]) -> Self {
        let rows = target.labels.len();
        Self {
            objective,
            target,
            scores: base.iter().map(|&base| vec![base; rows]).collect(),
            packed: vec![Vec::new(); base.len()],
            scales: vec![Scale::default(); base.len()],
        }
    }

    /// The packed gradients of an output and what their units are worth.
    pub(super) fn gradients(&self, output: usize) -> (&[u64], Units) {
        let scale = self.scales[output];
        let worth = |scale: f32| if scale > 0.0 { 1.0 / f64::from(scale) } else { 0.0 };
        (&self.packed[output], Units { gradient: worth(scale.gradient), hessian: worth(scale.hessian) })
    }

    /// `random` is the iteration's own.
    ///
    /// # Errors
    /// [`Error::TooMuch`] when no units are so large that the sums over all rows fit.
    pub(super) fn compute_gradients(&mut self, mut random: Rng, team: &Team) -> Result<(), Error> {
        let rows = self.target.labels.len();
        let streams: Vec<Rng> = self.scores.iter().map(|_| Rng::new(random.next(), &[])).collect();
        self.packed.iter_mut().for_each(|packed| packed.resize(rows, 0));
        // The last iteration's scale nearly always fits; the first has none.
        let mut fits = self.scales.iter().all(|scale| scale.hessian > 0.0);
        for attempt in 0..3 {
            let totals = self.pass(&streams, team);
            fits &= totals.iter().all(Totals::fits);
            // Sums shrink while boosting: refine before precision is lost.
            let fine = totals.iter().all(|total| total.gradient == 0.0 || total.gradient_units > LIMIT / 16);
            if fits && (fine || attempt == 2) {
                return Ok(());
            }
            for (scale, total) in self.scales.iter_mut().zip(&totals) {
                let ratio = |sum: f64| if sum > 0.0 { (AIM / sum).min(1e30) as f32 } else { 1.0 };
                *scale = Scale { gradient: ratio(total.gradient), hessian: ratio(total.hessian) };
                if self.objective.is_flat() && self.target.weights.is_none() {
                    // Whole units: rows are counted exactly.
                    scale.hessian = scale.hessian.floor().max(1.0);
                }
            }
            fits = true;
        }
        let why = "they are too many, or their labels or weights too large";
        Err(Error::TooMuch(format!("the gradients of {rows} rows cannot be summed: {why}")))
    }

    /// Packs all rows' gradients; chunks' totals are added in their order.
    fn pass(&mut self, streams: &[Rng], team: &Team) -> Vec<Totals> {
        let outputs = self.scores.len();
        let rows = self.target.labels.len();
        let rounding = |first: usize| {
            if rows > ROWS_NEAREST_MAX { Rounding::Chance { streams, first } } else { Rounding::Nearest }
        };
        let chunks = rows.div_ceil(CHUNK);
        let mut totals = vec![vec![Totals::default(); outputs]; chunks];
        let mut parts: Vec<_> = self.packed.iter_mut().map(|packed| packed.chunks_mut(CHUNK)).collect();
        let jobs: Vec<_> = totals
            .iter_mut()
            .enumerate()
            .map(|(chunk, totals)| {
                let packed: Vec<&mut [u64]> = parts.iter_mut().filter_map(Iterator::next).collect();
                (chunk * CHUNK, packed, totals)
            })
            .collect();
        let (objective, target, scores, scales) = (self.objective, self.target, &self.scores, &self.scales);
        team.each(jobs, |(first, mut packed, totals)| {
            let last = (first + CHUNK).min(rows);
            for start in (first..last).step_by(ROWS) {
                let end = (start + ROWS).min(last);
                let scores: Vec<&[f64]> = scores.iter().map(|scores| &scores[start..end]).collect();
                let mut packed: Vec<&mut [u64]> =
                    packed.iter_mut().map(|packed| &mut packed[start - first..end - first]).collect();
                let weights = target.weights.map(|weights| &weights[start..end]);
                let scales = (scales.as_slice(), rounding(start));
                objective.gradients(&scores, &target.labels[start..end], weights, scales, &mut packed, totals);
            }
        });
        totals.iter().fold(vec![Totals::default(); outputs], |mut sums, totals| {
            sums.iter_mut().zip(totals).for_each(|(sum, total)| sum.add(total));
            sums
        })
    }

    /// Adds a new tree's leaves to the rows that it was grown on; `rows` are in the order of the leaves, ascending within each.
    pub(super) fn add_leaves(&mut self, output: usize, leaves: &[Leaf], rate: f64, rows: &[u32], team: &Team) {
        let jobs: Vec<_> = self.scores[output].chunks_mut(CHUNK).enumerate().collect();
        team.each(jobs, |(chunk, scores)| {
            let first = (chunk * CHUNK) as u32;
            let last = first + scores.len() as u32;
            for leaf in leaves {
                let rows = &rows[leaf.start..leaf.end];
                let start = rows.partition_point(|&row| row < first);
                let end = start + rows[start..].partition_point(|&row| row < last);
                let value = leaf.value * rate;
                rows[start..end].iter().for_each(|&row| scores[(row - first) as usize] += value);
            }
        });
    }

    /// Adds a tree to all rows of a matrix but those in the ascending `bag`.
    pub(super) fn add_tree(&mut self, output: usize, tree: &Tree, data: Coded<'_>, bag: &[u32], team: &Team) {
        let Coded { bins, matrix } = data;
        let codes = CodeTree::new(tree, |feature, threshold| bins[feature].code_of(threshold));
        let columns: Vec<&[u8]> = (0..matrix.features()).map(|feature| matrix.column(feature)).collect();
        let jobs: Vec<_> = self.scores[output].chunks_mut(CHUNK).enumerate().collect();
        team.each(jobs, |(chunk, scores)| {
            let first = chunk * CHUNK;
            let mut bag = bag[bag.partition_point(|&row| (row as usize) < first)..].iter().peekable();
            let others = |row: &usize| bag.next_if(|&&next| next as usize == *row).is_none();
            let rows: Vec<usize> = (first..first + scores.len()).filter(others).collect();
            let mut leaves = Vec::with_capacity(rows.len());
            codes.leaves(&Columns(&columns), rows.iter().copied(), &mut leaves);
            for (&row, &leaf) in rows.iter().zip(&leaves) {
                scores[row - first] += tree.values[leaf as usize];
            }
        });
    }

    /// The quantile of what is left to explain in these rows.
    pub(super) fn residual_quantile(&self, rows: &[u32], alpha: f64, pulse: Pulse<'_>) -> Result<f64, Stopped> {
        pulse.check()?;
        let residual = |row: usize| self.target.labels[row] - self.scores[0][row];
        let rows = rows.iter().map(|&row| row as usize);
        match self.target.weights {
            Some(weights) => weighted_quantile(rows.map(|row| (residual(row), weights[row])).collect(), alpha, pulse),
            None => Ok(quantile(&mut rows.map(residual).collect::<Vec<f64>>(), alpha)),
        }
    }

    /// The weighted mean loss of up to `rows_max` evenly spaced rows; sums of chunks are added in their order.
    pub(super) fn loss(&self, rows_max: usize, team: &Team) -> f64 {
        let rows = self.target.labels.len();
        let step = rows.div_ceil(rows_max).max(1);
        let mut sums = vec![(0.0, 0.0); rows.div_ceil(CHUNK * step)];
        let jobs: Vec<_> = sums.iter_mut().enumerate().collect();
        team.each(jobs, |(chunk, (sum, total))| {
            let mut scores = vec![0.0; self.scores.len()];
            let first = chunk * CHUNK * step;
            for row in (first..(first + CHUNK * step).min(rows)).step_by(step) {
                scores.iter_mut().zip(&self.scores).for_each(|(score, scores)| *score = scores[row]);
                let weight = self.target.weights.map_or(1.0, |weights| weights[row]);
                *sum += weight * self.objective.loss(&scores, self.target.labels[row]);
                *total += weight;
            }
        });
        let (sum, total) = sums.iter().fold((0.0, 0.0), |(sum, total), part| (sum + part.0, total + part.1));
        if total > 0.0 { sum / total } else { 0.0 }
    }
}
