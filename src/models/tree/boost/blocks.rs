//! Codes row by row in blocks of up to 16 features: one cache line gives all that a row adds to a block's histograms.

use crate::models::tree::Matrix;
use crate::models::tree::team::Team;

/// Features of a block: their histograms (2 KiB each) stay in the first-level cache.
pub(super) const WIDTH: usize = 16;

/// A block has 4, 8 or 16 columns; those beyond its features are zero.
pub(super) struct Block {
    pub(super) first: usize,
    pub(super) features: usize,
    pub(super) width: usize,
    pub(super) codes: Vec<u8>,
}

pub(super) struct Blocks {
    pub(super) rows: usize,
    pub(super) blocks: Vec<Block>,
}

impl Blocks {
    pub(super) fn new(matrix: &Matrix, team: &Team) -> Self {
        let rows = matrix.rows();
        let mut blocks: Vec<Block> = (0..matrix.features())
            .step_by(WIDTH)
            .map(|first| {
                let features = (matrix.features() - first).min(WIDTH);
                let width = width(features);
                Block { first, features, width, codes: vec![0; rows * width] }
            })
            .collect();
        let chunk = 16_384;
        let mut jobs = Vec::new();
        for block in &mut blocks {
            let (first, features, width) = (block.first, block.features, block.width);
            for (number, codes) in block.codes.chunks_mut(chunk * width).enumerate() {
                jobs.push((first, features, width, number * chunk, codes));
            }
        }
        team.each(jobs, |(first, features, width, row, codes)| {
            for offset in 0..features {
                let column = &matrix.column(first + offset)[row..];
                for (row, &code) in codes.chunks_exact_mut(width).zip(column) {
                    row[offset] = code;
                }
            }
        });
        Self { rows, blocks }
    }
}

/// Bytes of all blocks.
pub(super) fn bytes(rows: usize, features: usize) -> usize {
    let rest = features % WIDTH;
    rows * (features - rest + if rest > 0 { width(rest) } else { 0 })
}

fn width(features: usize) -> usize {
    match features {
        0..=4 => 4,
        5..=8 => 8,
        _ => WIDTH,
    }
}
