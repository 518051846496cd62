//! One tree of a boosted ensemble, leaf by leaf: the leaf whose split gains most is split next.

use super::BoostOptions;
use super::blocks::Blocks;
use super::histogram::{CELLS, Source, fill};
use super::split::{Candidate, Finder, Sums, Units, leaf_value};
use crate::models::tree::control::{Meter, Stopped};
use crate::models::tree::model::Tree;
use crate::models::tree::team::Team;
use crate::models::tree::validate::DEPTH_MAX;
use crate::models::tree::{Bins, Matrix};

/// Work below which one thread is faster.
const PARALLEL_ROWS_MIN: usize = 50_000;
const PARALLEL_FEATURES_MIN: usize = 64;

/// What the trees of a training share.
pub(super) struct Grower<'a> {
    pub(super) matrix: &'a Matrix,
    pub(super) blocks: &'a Blocks,
    pub(super) bins: &'a [Bins],
    pub(super) options: &'a BoostOptions,
    pub(super) team: &'a Team,
}

/// What one tree is grown from.
#[derive(Clone, Copy)]
pub(super) struct Round<'a> {
    /// Packed, by row.
    pub(super) gradients: &'a [u64],
    pub(super) units: Units,
    /// The features that may be split.
    pub(super) used: &'a [bool],
}

/// Memory kept from tree to tree.
#[derive(Default)]
pub(super) struct Scratch {
    histograms: Vec<Vec<u64>>,
    partials: Vec<Vec<u64>>,
    rows: Vec<u32>,
}

/// A leaf of the growing tree; its rows are `rows[start..end]`, ascending.
pub(super) struct Leaf {
    pub(super) node: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Before the learning rate.
    pub(super) value: f64,
    depth: usize,
    sums: Sums,
    histogram: Option<Vec<u64>>,
    best: Option<Candidate>,
}

impl Leaf {
    fn gain(&self) -> f64 {
        self.best.map_or(f64::NEG_INFINITY, |best| best.split.gain)
    }
}

impl Grower<'_> {
    /// Grows a tree on `rows` (ascending; on return in the order of the leaves) from their packed gradients. The tree's leaves have no values
    /// yet: they are in the leaves returned.
    pub(super) fn grow(
        &self,
        rows: &mut [u32],
        round: Round<'_>,
        scratch: &mut Scratch,
        meter: &mut Meter<'_>,
    ) -> Result<(Tree, Vec<Leaf>), Stopped> {
        let Round { gradients, units, .. } = round;
        let mut tree = Tree::new(0, 1);
        let sums = rows.iter().fold(Sums::default(), |sums, &row| {
            let one = Sums::of(gradients[row as usize]);
            Sums { gradient: sums.gradient + one.gradient, hessian: sums.hessian + one.hessian }
        });
        let value = leaf_value(sums, units, self.options, 0.0);
        let node = tree.push(rows.len() as f64);
        let mut leaves =
            vec![Leaf { node, start: 0, end: rows.len(), value, depth: 0, sums, histogram: None, best: None }];
        self.measure(&mut leaves, 0, None, rows, round, scratch, meter)?;
        while leaves.len() < self.options.leaves_max.max(2) {
            // The first of equal gains: the order of leaves is fixed.
            let chosen = (0..leaves.len()).fold(
                0,
                |best, leaf| {
                    if leaves[leaf].gain() > leaves[best].gain() { leaf } else { best }
                },
            );
            let Some(candidate) = leaves[chosen].best.take() else { break };
            let parent = &mut leaves[chosen];
            let (start, end) = (parent.start, parent.end);
            meter.spend(3 * (end - start))?;
            let table = candidate.split.rule.table(candidate.split.default_left);
            let middle = start + self.partition(&mut rows[start..end], &candidate, &table, &mut scratch.rows);
            if middle == start || middle == end {
                // Rounded hessians promised rows where there are none.
                continue;
            }
            let covers = [(middle - start) as f64, (end - middle) as f64];
            let feature = candidate.split.feature as usize;
            let node = tree.split(parent.node, &candidate.split, &self.bins[feature], covers);
            let depth = parent.depth + 1;
            let histogram = parent.histogram.take();
            let child = |node: usize, start: usize, end: usize, sums: Sums| Leaf {
                node,
                start,
                end,
                value: leaf_value(sums, units, self.options, candidate.extra_l2),
                depth,
                sums,
                histogram: None,
                best: None,
            };
            let right = child(node + 1, middle, end, parent.sums.less(candidate.left));
            leaves[chosen] = child(node, start, middle, candidate.left);
            leaves.push(right);
            if leaves.len() < self.options.leaves_max {
                self.measure(&mut leaves, chosen, histogram, rows, round, scratch, meter)?;
            }
        }
        for leaf in &mut leaves {
            scratch.histograms.extend(leaf.histogram.take());
        }
        Ok((tree, leaves))
    }

    /// Finds the best splits of the root, or of the leaf `first` and the last one, whose parent had `histogram`.
    fn measure(
        &self,
        leaves: &mut [Leaf],
        first: usize,
        histogram: Option<Vec<u64>>,
        rows: &[u32],
        round: Round<'_>,
        scratch: &mut Scratch,
        meter: &mut Meter<'_>,
    ) -> Result<(), Stopped> {
        let Round { gradients, units, used } = round;
        let wanted: Vec<bool> =
            used.chunks(super::blocks::WIDTH).map(|features| features.iter().any(|&used| used)).collect();
        let last = leaves.len() - 1;
        let divisible = |leaf: &Leaf| {
            leaf.end - leaf.start >= 2 * self.options.rows_leaf_min.max(1)
                && leaf.depth < self.options.depth_max.min(DEPTH_MAX)
        };
        if !divisible(&leaves[first]) && !divisible(&leaves[last]) {
            scratch.histograms.extend(histogram);
            return Ok(());
        }
        let [small, large] = if leaves[last].end - leaves[last].start <= leaves[first].end - leaves[first].start {
            [last, first]
        } else {
            [first, last]
        };
        let mut counted = scratch.histograms.pop().unwrap_or_default();
        counted.resize(used.len() * CELLS, 0);
        let Leaf { start, end, .. } = leaves[small];
        meter.spend((end - start) * used.len() / 2 + used.len() * CELLS)?;
        let source = Source { blocks: self.blocks, wanted: &wanted, gradients, pulse: meter.pulse };
        fill(source, &rows[start..end], self.team, &mut counted, &mut scratch.partials)?;
        if let Some(mut parent) = histogram {
            parent.iter_mut().zip(&counted).for_each(|(cell, small)| *cell = cell.wrapping_sub(*small));
            leaves[large].histogram = Some(parent);
        }
        leaves[small].histogram = Some(counted);
        let targets = if small == large { vec![small] } else { vec![first, last] };
        for target in targets {
            if divisible(&leaves[target]) {
                leaves[target].best = self.best_split(&leaves[target], units, used);
            }
        }
        Ok(())
    }

    fn best_split(&self, leaf: &Leaf, units: Units, used: &[bool]) -> Option<Candidate> {
        let histogram = leaf.histogram.as_deref()?;
        if leaf.sums.hessian == 0 {
            return None;
        }
        let finder = Finder::new(self.options, units, leaf.sums, leaf.end - leaf.start);
        let search = |(first, found): (usize, &mut [Option<Candidate>])| {
            for (offset, found) in found.iter_mut().enumerate() {
                let feature = first + offset;
                if used[feature] {
                    *found = finder.best(feature, &self.bins[feature], &histogram[feature * CELLS..][..CELLS]);
                }
            }
        };
        let mut found = vec![None; used.len()];
        let part =
            if used.len() < PARALLEL_FEATURES_MIN { used.len() } else { used.len().div_ceil(self.team.threads()) };
        let parts: Vec<_> = found.chunks_mut(part).enumerate().map(|(number, found)| (number * part, found)).collect();
        self.team.each(parts, search);
        // The first feature of equal gains.
        found.into_iter().flatten().fold(None, |best: Option<Candidate>, candidate| match best {
            Some(best) if best.split.gain >= candidate.split.gain => Some(best),
            _ => Some(candidate),
        })
    }

    /// Brings the rows that go left to the front, both sides in their order. Returns how many went left.
    fn partition(&self, rows: &mut [u32], candidate: &Candidate, table: &[u8; 256], scratch: &mut Vec<u32>) -> usize {
        // The column and not its block: a byte a row stays in the cache.
        let codes = self.matrix.column(candidate.split.feature as usize);
        scratch.resize(rows.len().max(scratch.len()), 0);
        let scratch = &mut scratch[..rows.len()];
        let threads = if rows.len() < PARALLEL_ROWS_MIN { 1 } else { self.team.threads() };
        let part = rows.len().div_ceil(threads).max(1);
        // Each part by itself: its left rows to its front, its right rows to the scratch.
        let mut lefts = vec![0; threads];
        let parts: Vec<_> = rows.chunks_mut(part).zip(scratch.chunks_mut(part)).zip(&mut lefts).collect();
        self.team.each(parts, |((rows, right), lefts)| {
            let (mut left_rows, mut right_rows) = (0, 0);
            for place in 0..rows.len() {
                let row = rows[place];
                let left = usize::from(table[usize::from(codes[row as usize])]);
                rows[left_rows] = row;
                right[right_rows] = row;
                left_rows += left;
                right_rows += 1 - left;
            }
            *lefts = left_rows;
        });
        let mut middle = lefts[0];
        for (number, &lefts) in lefts.iter().enumerate().skip(1) {
            rows.copy_within((number * part).min(rows.len())..(number * part).min(rows.len()) + lefts, middle);
            middle += lefts;
        }
        let mut end = middle;
        for (part, lefts) in scratch.chunks(part).zip(&lefts) {
            let rights = part.len() - lefts;
            rows[end..end + rights].copy_from_slice(&part[..rights]);
            end += rights;
        }
        middle
    }
}
