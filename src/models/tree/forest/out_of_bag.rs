//! Predictions for rows by the trees that did not see them (Breiman, "Out-of-bag estimation", 1996).

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// Sums in fixed point: whole numbers add up to the same in any order, so threads need not wait for each other.
pub(super) struct OutOfBag {
    sums: Vec<AtomicI64>,
    trees: Vec<AtomicU32>,
    outputs: usize,
    unit: f64,
    offset: f64,
}

impl OutOfBag {
    /// Leaf values are within `offset ± range`.
    pub(super) fn new(rows: usize, outputs: usize, offset: f64, range: f64) -> Self {
        // 2^20 trees of the greatest value fit.
        let unit = if range > 0.0 { range / (1_u64 << 42) as f64 } else { 1.0 };
        Self {
            sums: (0..rows * outputs).map(|_| AtomicI64::new(0)).collect(),
            trees: (0..rows).map(|_| AtomicU32::new(0)).collect(),
            outputs,
            unit,
            offset,
        }
    }

    pub(super) fn add(&self, row: usize, values: &[f64]) {
        self.trees[row].fetch_add(1, Ordering::Relaxed);
        for (sum, value) in self.sums[row * self.outputs..].iter().zip(values) {
            sum.fetch_add(((value - self.offset) / self.unit) as i64, Ordering::Relaxed);
        }
    }

    /// `outputs` numbers per row, row after row; NaN for a row that every tree saw.
    pub(super) fn means(&self) -> Vec<f64> {
        let mean = |(place, sum): (usize, &AtomicI64)| {
            let trees = self.trees[place / self.outputs].load(Ordering::Relaxed);
            let sum = sum.load(Ordering::Relaxed) as f64 * self.unit;
            if trees == 0 { f64::NAN } else { self.offset + sum / f64::from(trees) }
        };
        self.sums.iter().enumerate().map(mean).collect()
    }
}
