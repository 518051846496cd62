//! The matrix once more, row by row, and the rows of one subtree.
//!
//! Deep in a tree a node has few of the rows, and they lie far apart: in columns each code is a line of its own that has to come from
//! memory. So a subtree that is small enough for a core's cache takes copies of its rows, which is one line a row, and grows on these.

use super::criterion::{Entry, TOGETHER};
use crate::models::algebra::parallel::each;
use crate::models::tree::Matrix;

/// Features up to which a row is a line of the cache.
const FEATURES_MAX: usize = 64;
/// Below so many rows the columns stay in the cache.
const ROWS_MIN: usize = if cfg!(test) { 1_000 } else { 200_000 };
/// Bytes of a subtree's rows: they are to stay in a core's own cache.
const NEAR_BYTES: usize = if cfg!(test) { 4 << 10 } else { 1 << 20 };
/// Fewer rows than these are not worth a copy: they have few levels to go.
const NEAR_ROWS_MIN: usize = if cfg!(test) { 16 } else { 512 };
/// Rows of a piece of work.
const CHUNK: usize = 16_384;

pub(super) struct ByRow {
    features: usize,
    codes: Vec<u8>,
}

impl ByRow {
    /// Nothing where columns are as good.
    pub(super) fn new(matrix: &Matrix, threads: usize) -> Option<Self> {
        let (rows, features) = (matrix.rows(), matrix.features());
        if bytes(rows, features) == 0 {
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
        Some(Self { features, codes })
    }

    /// Whether so many rows are to be copied before they are looked at.
    pub(super) fn is_to_be_near(&self, rows: usize) -> bool {
        (NEAR_ROWS_MIN..=NEAR_BYTES / self.features).contains(&rows)
    }
}

/// The codes of a subtree's rows.
#[derive(Default)]
pub(super) struct Near {
    features: usize,
    codes: Vec<u8>,
}

impl Near {
    /// Copies the rows, which are numbered anew from 0, in the place of what was there.
    pub(super) fn take(&mut self, from: &ByRow, entries: &mut [Entry]) {
        self.features = from.features;
        self.codes.clear();
        for (number, entry) in (0_u32..).zip(entries) {
            self.codes.extend_from_slice(&from.codes[entry.row() * self.features..][..self.features]);
            *entry = entry.numbered(number);
        }
    }

    #[inline(always)]
    pub(super) fn of(&self, row: usize) -> &[u8] {
        &self.codes[row * self.features..][..self.features]
    }

    #[inline(always)]
    pub(super) fn some(&self, row: usize, features: [usize; TOGETHER]) -> [u8; TOGETHER] {
        let codes = self.of(row);
        features.map(|feature| codes[feature])
    }
}

/// Bytes that the rows take, 0 where there are none.
pub(super) fn bytes(rows: usize, features: usize) -> usize {
    if features <= FEATURES_MAX && rows >= ROWS_MIN { rows * features } else { 0 }
}
