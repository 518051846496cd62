//! The matrix once more, row by row. A node deep in a tree has few of the rows, and they lie far apart: here the codes of a row are one
//! or two lines of the cache, in columns each is a line of its own.

use super::criterion::TOGETHER;
use crate::models::algebra::parallel::each;
use crate::models::tree::Matrix;

/// Features up to which a row is a line of the cache.
const FEATURES_MAX: usize = 64;
/// Below so many rows the columns stay in the cache.
const ROWS_MIN: usize = 100_000;
/// Of so many rows of the matrix a node has one: from there on lines of columns are hardly shared.
const SPARSE: usize = 48;
/// Rows of a piece of work.
const CHUNK: usize = 16_384;

pub(super) struct ByRow {
    rows: usize,
    features: usize,
    codes: Vec<u8>,
}

impl ByRow {
    /// Nothing where columns are as good.
    pub(super) fn new(matrix: &Matrix, features_per_node: usize, threads: usize) -> Option<Self> {
        let (rows, features) = (matrix.rows(), matrix.features());
        if bytes(rows, features, features_per_node) == 0 {
            return None;
        }
        let mut codes = vec![0; rows * features];
        let chunks = codes.chunks_mut(CHUNK * features).enumerate().collect();
        each(threads, chunks, |(chunk, codes): (usize, &mut [u8])| {
            for feature in 0..features {
                let column = &matrix.column(feature)[chunk * CHUNK..];
                codes.chunks_exact_mut(features).zip(column).for_each(|(codes, code)| codes[feature] = *code);
            }
        });
        Some(Self { rows, features, codes })
    }

    /// Whether it is faster to read than columns for so many rows.
    pub(super) fn are_better(&self, rows: usize) -> bool {
        rows < self.rows / SPARSE
    }

    pub(super) fn of(&self, row: usize) -> &[u8] {
        &self.codes[row * self.features..][..self.features]
    }

    #[inline(always)]
    pub(super) fn some(&self, row: usize, features: [usize; TOGETHER]) -> [u8; TOGETHER] {
        let codes = self.of(row);
        features.map(|feature| codes[feature])
    }
}

/// Bytes that it takes, 0 where there is none.
pub(super) fn bytes(rows: usize, features: usize, features_per_node: usize) -> usize {
    if features <= FEATURES_MAX && features_per_node >= TOGETHER && rows >= ROWS_MIN { rows * features } else { 0 }
}
