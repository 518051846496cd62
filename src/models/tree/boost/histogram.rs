//! Sums of gradients per bin, in whole numbers.
//!
//! A row's gradient and hessian are rounded to multiples of a unit such that their sums over all rows fit 31 bits; the pair is one `u64`
//! (gradient in the high half, hessian in the low). One addition serves both, sums are exact, and the order of rows or threads cannot matter
//! (after Shi et al., "Quantized training of gradient boosting decision trees", NeurIPS 2022, with about 2^31 / rows levels instead of a few).

use super::blocks::{Block, Blocks};
use crate::models::tree::control::{Pulse, Stopped};
use crate::models::tree::team::Team;

/// Cells of a feature.
pub(super) const CELLS: usize = 256;

/// Additions below which waking another thread costs more than it saves.
const WORK_MIN: usize = 150_000;

/// Rows gathered before they are added.
const GATHER: usize = 64;

/// Gradient and hessian of a packed cell, in units.
#[inline(always)]
pub(super) fn unpack(cell: u64) -> (i64, u64) {
    ((cell as i64) >> 32, cell & 0xffff_ffff)
}

#[inline(always)]
pub(super) fn pack(gradient: i32, hessian: u32) -> u64 {
    ((i64::from(gradient) as u64) << 32).wrapping_add(u64::from(hessian))
}

/// Rows of a block between two questions to the watch: a few milliseconds.
const ROWS_PER_CHECK: usize = 131_072;

/// What histograms are filled from. Blocks for which `wanted` is false are left as they are.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) blocks: &'a Blocks,
    pub(super) wanted: &'a [bool],
    pub(super) gradients: &'a [u64],
    pub(super) pulse: Pulse<'a>,
}

/// Fills `histogram` (of all features, [`CELLS`] each) from `rows`. `partials` are histograms for helpers.
pub(super) fn fill(
    source: Source<'_>,
    rows: &[u32],
    team: &Team,
    histogram: &mut [u64],
    partials: &mut Vec<Vec<u64>>,
) -> Result<(), Stopped> {
    let Source { blocks, wanted, .. } = source;
    let threads = if rows.len() * histogram.len() / CELLS < WORK_MIN { 1 } else { team.threads() };
    let all = rows.len() == blocks.rows;
    if blocks.blocks.len() >= 2 * threads || threads == 1 {
        let jobs = jobs(blocks, wanted, histogram);
        let task = |(block, cells): (&Block, &mut [u64])| {
            cells.fill(0);
            source.add(block, rows, all, cells);
        };
        if threads == 1 {
            jobs.into_iter().for_each(task);
        } else {
            team.each(jobs, task);
        }
        return source.pulse.stopped();
    }
    partials.resize_with(threads - 1, Vec::new);
    partials.iter_mut().for_each(|partial| partial.resize(histogram.len(), 0));
    let part = rows.len().div_ceil(threads);
    let targets = std::iter::once(&mut *histogram).chain(partials.iter_mut().map(Vec::as_mut_slice));
    let work: Vec<(&[u32], &mut [u64])> = rows.chunks(part).zip(targets).collect();
    let used = work.len();
    team.each(work, |(rows, target)| {
        for (block, cells) in jobs(blocks, wanted, target) {
            cells.fill(0);
            source.add(block, rows, all, cells);
        }
    });
    for partial in partials.iter().take(used - 1) {
        histogram.iter_mut().zip(partial).for_each(|(cell, other)| *cell = cell.wrapping_add(*other));
    }
    source.pulse.stopped()
}

fn jobs<'a>(blocks: &'a Blocks, wanted: &[bool], histogram: &'a mut [u64]) -> Vec<(&'a Block, &'a mut [u64])> {
    let cells = histogram.chunks_mut(super::blocks::WIDTH * CELLS);
    let pairs = blocks.blocks.iter().zip(cells).zip(wanted);
    pairs.filter_map(|(pair, &wanted)| wanted.then_some(pair)).collect()
}

impl Source<'_> {
    /// `all`: the rows are consecutive. Ends early when the training is stopped.
    fn add(self, block: &Block, rows: &[u32], all: bool, cells: &mut [u64]) {
        for rows in rows.chunks(ROWS_PER_CHECK) {
            match block.width {
                4 => add_wide::<4>(block, rows, all, self.gradients, cells),
                8 => add_wide::<8>(block, rows, all, self.gradients, cells),
                _ => add_wide::<16>(block, rows, all, self.gradients, cells),
            }
            if rows.len() == ROWS_PER_CHECK && self.pulse.check().is_err() {
                return;
            }
        }
    }
}

fn add_wide<const WIDE: usize>(block: &Block, rows: &[u32], all: bool, gradients: &[u64], cells: &mut [u64]) {
    let own = cells.as_chunks_mut::<CELLS>().0;
    if own.len() >= WIDE {
        return add_rows::<WIDE>(block, rows, all, gradients, own);
    }
    // The columns beyond the features have no cells of their own.
    let mut padded = vec![[0_u64; CELLS]; WIDE];
    add_rows::<WIDE>(block, rows, all, gradients, &mut padded);
    own.iter_mut().zip(&padded).for_each(|(own, padded)| {
        own.iter_mut().zip(padded).for_each(|(own, padded)| *own = own.wrapping_add(*padded));
    });
}

#[inline(always)]
fn add_rows<const WIDE: usize>(block: &Block, rows: &[u32], all: bool, gradients: &[u64], cells: &mut [[u64; CELLS]]) {
    let Some(cells) = cells.first_chunk_mut::<WIDE>() else { return };
    let codes = block.codes.as_chunks::<WIDE>().0;
    let mut one = |codes: &[u8; WIDE], gradient: u64| {
        for lane in 0..WIDE {
            let cell = &mut cells[lane][usize::from(codes[lane])];
            *cell = cell.wrapping_add(gradient);
        }
    };
    if let (true, Some(&first)) = (all, rows.first()) {
        let first = first as usize;
        codes[first..][..rows.len()]
            .iter()
            .zip(&gradients[first..])
            .for_each(|(codes, &gradient)| one(codes, gradient));
    } else {
        // Gathered first: loads that miss the cache overlap when no stores stand between them.
        let mut gathered = [([0_u8; WIDE], 0_u64); GATHER];
        for rows in rows.chunks(GATHER) {
            for (slot, &row) in gathered.iter_mut().zip(rows) {
                *slot = (codes[row as usize], gradients[row as usize]);
            }
            gathered[..rows.len()].iter().for_each(|(codes, gradient)| one(codes, *gradient));
        }
    }
}
