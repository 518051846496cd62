//! A pass over all rows on several threads, with a result that does not depend on their number.

use std::ops::Range;

use super::{Block, Design, LANES};
use crate::models::algebra::parallel::{in_order, segments};
use crate::models::refusal::Refusal;
use crate::models::watch::Watch;

/// Memory that the partial results of one pass may take together.
const PARTIAL_BYTES: usize = 128 << 20;
const SEGMENTS_MAX: usize = 16;

/// How passes run.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    pub threads: usize,
    pub watch: &'a dyn Watch,
}

impl Pass<'_> {
    /// Folds the blocks of each segment of rows into a state of its own; the states in order. How many there are depends on the rows and
    /// on `state_bytes` alone, so sums over them are the same for any number of threads.
    pub fn fold<S: Send>(
        &self,
        design: &Design<'_>,
        state_bytes: usize,
        new: impl Fn() -> S + Sync,
        add: impl Fn(&mut S, &Block, Range<usize>) -> Result<(), Refusal> + Sync,
    ) -> Result<Vec<S>, Refusal> {
        let step = design.block().capacity();
        let segments = segments(design.rows(), parts(state_bytes), step);
        in_order(self.threads, segments.len(), |index| {
            let (mut state, mut block) = (new(), design.block());
            let segment = segments[index].clone();
            for start in segment.clone().step_by(step) {
                self.watch.check()?;
                let range = start..(start + step).min(segment.end);
                design.fill(range.clone(), &mut block);
                add(&mut state, &block, range)?;
            }
            Ok(state)
        })
    }
}

impl Design<'_> {
    /// The weighted means of the encoded columns.
    pub fn means(&self, weights: Option<&[f64]>, pass: Pass<'_>) -> Result<Vec<f64>, Refusal> {
        let width = self.width();
        let new = || (vec![0.0; width], 0.0);
        let parts = pass.fold(self, width * 8, new, |(sums, weight), block, range| {
            let weights = weights_of(weights, range);
            block.add_combination(&weights, sums);
            *weight += weights.iter().sum::<f64>();
            Ok(())
        })?;
        let (mut means, mut weight) = new();
        for (sums, part) in parts {
            means.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum);
            weight += part;
        }
        means.iter_mut().for_each(|mean| *mean /= weight);
        Ok(means)
    }
}

/// The most memory that moments of `columns` encoded columns (and what is solved from them) take: for a caller that reserves it.
pub fn moment_bytes(columns: usize) -> usize {
    let one = 8 * (columns + LANES).pow(2);
    partial_bytes(one) + one
}

/// The most memory that the states of one pass take, with what they are added up to.
pub fn partial_bytes(state_bytes: usize) -> usize {
    state_bytes * (parts(state_bytes) + 1)
}

fn parts(state_bytes: usize) -> usize {
    (PARTIAL_BYTES / state_bytes.max(1)).clamp(2, SEGMENTS_MAX)
}

/// The weights of rows `range`: those given, or ones.
pub fn weights_of(weights: Option<&[f64]>, range: Range<usize>) -> std::borrow::Cow<'_, [f64]> {
    match weights {
        Some(weights) => weights[range].into(),
        None => vec![1.0; range.len()].into(),
    }
}
