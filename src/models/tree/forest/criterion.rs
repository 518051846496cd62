//! What a forest's tree minimises, over cells of a histogram.

use std::ops::{AddAssign, SubAssign};

/// A drawn row: its number in the low 32 bits, how often it was drawn in the next 16, its class in the high 16.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry(u64);

impl Entry {
    pub(super) fn new(row: u32, count: u16, class: u16) -> Self {
        Self(u64::from(row) | u64::from(count) << 32 | u64::from(class) << 48)
    }

    /// The same of a row with another number.
    pub(super) fn numbered(self, row: u32) -> Self {
        Self(self.0 & !u64::from(u32::MAX) | u64::from(row))
    }

    #[inline(always)]
    pub(super) fn row(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline(always)]
    pub(super) fn count(self) -> u64 {
        (self.0 >> 32) & 0xffff
    }

    #[inline(always)]
    pub(super) fn class(self) -> u64 {
        self.0 >> 48
    }
}

/// A part of a sum below this share of it is its rounding.
pub(super) const ROUNDING: f64 = 1e-12;

/// The best place to cut the ordered bins of a feature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Best {
    /// The weighted decrease of impurity; a candidate must be greater.
    pub(super) gain: f64,
    /// The last bin of the left side in the order scanned.
    pub(super) place: usize,
    pub(super) missing_left: bool,
}

/// Features whose histograms are filled in one pass.
pub(super) const TOGETHER: usize = 4;

/// Statistics of rows in `stride` cells per bin, added and subtracted lane by lane.
pub(super) trait Criterion: Sync {
    type Cell: Copy + Default + AddAssign + SubAssign + Send;

    fn stride(&self) -> usize;

    /// The class that an entry of this row carries; 0 when there are none.
    fn class(&self, row: usize) -> u16;

    /// Whether entries tell all that there is to know of their rows: these may then have other numbers.
    fn is_of_entries(&self) -> bool;

    /// Adds rows to the cells of their codes.
    fn fill(&self, code: impl Fn(usize) -> u8, entries: &[Entry], cells: &mut [Self::Cell]);

    /// The same for [`TOGETHER`] features at a time: what is known of a row is read once, and sums of one bin do not wait for each other.
    fn fill_together(
        &self,
        codes: impl Fn(usize) -> [u8; TOGETHER],
        entries: &[Entry],
        cells: [&mut [Self::Cell]; TOGETHER],
    );

    /// Adds rows to one total.
    fn total(&self, entries: &[Entry], total: &mut [Self::Cell]);

    /// Rows drawn, with repetition.
    fn rows(&self, cell: &[Self::Cell]) -> u64;

    /// The sum of their weights.
    fn weight(&self, cell: &[Self::Cell]) -> f64;

    /// Whether totals are whole numbers: then what is right of a cut is the rest. Otherwise a light side would drown in the rounding of
    /// the heavy one, and is summed anew.
    fn is_exact(&self) -> bool;

    /// No split can gain anything.
    fn pure(&self, total: &[Self::Cell], entries: &[Entry]) -> bool;

    /// Categories are ordered by this before they are cut (Fisher 1958, Breiman et al. 1984: optimal for two classes and for variance).
    fn key(&self, cell: &[Self::Cell], total: &[Self::Cell]) -> f64;

    /// Tries every cut of `order`, the left side starting with `missing` if given. Both sides have `rows_min` rows at least.
    fn scan(
        &self,
        cells: &[Self::Cell],
        order: &[u8],
        missing: Option<&[Self::Cell]>,
        total: &[Self::Cell],
        rows_min: u64,
        best: &mut Best,
    );

    /// A leaf's values.
    fn leaf(&self, total: &[Self::Cell], entries: &[Entry], values: &mut Vec<f64>);
}
