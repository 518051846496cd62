//! The variance of a number: weight and weighted sum per bin, and the rows too when rows have weights.

use super::criterion::{Best, Criterion, Entry, ROUNDING, TOGETHER};

/// `LANES` is 2, or 3 when `weights` are given.
pub(super) struct Variance<'a, const LANES: usize> {
    /// Labels less their mean, so that sums of squares do not cancel.
    pub(super) labels: &'a [f64],
    pub(super) weights: Option<&'a [f64]>,
    pub(super) mean: f64,
}

impl<const LANES: usize> Variance<'_, LANES> {
    #[inline(always)]
    fn lanes(&self, entry: Entry) -> [f64; LANES] {
        let count = entry.count() as f64;
        let weight = self.weights.map_or(count, |weights| count * weights[entry.row()]);
        let mut lanes = [count; LANES];
        lanes[0] = weight;
        lanes[1] = weight * self.labels[entry.row()];
        lanes
    }
}

fn add<const LANES: usize>(cell: &mut [f64; LANES], other: &[f64; LANES]) {
    cell.iter_mut().zip(other).for_each(|(lane, other)| *lane += other);
}

impl<const LANES: usize> Criterion for Variance<'_, LANES> {
    type Cell = f64;

    fn stride(&self) -> usize {
        LANES
    }

    fn class(&self, _row: usize) -> u16 {
        0
    }

    fn is_of_entries(&self) -> bool {
        false
    }

    fn fill(&self, code: impl Fn(usize) -> u8, entries: &[Entry], cells: &mut [f64]) {
        let cells = cells.as_chunks_mut::<LANES>().0;
        for &entry in entries {
            add(&mut cells[usize::from(code(entry.row()))], &self.lanes(entry));
        }
    }

    fn fill_together(&self, codes: impl Fn(usize) -> [u8; TOGETHER], entries: &[Entry], cells: [&mut [f64]; TOGETHER]) {
        let cells = cells.map(|cells| cells.as_chunks_mut::<LANES>().0.first_chunk_mut::<256>());
        let [Some(a), Some(b), Some(c), Some(d)] = cells else { return };
        for &entry in entries {
            let lanes = self.lanes(entry);
            let [i, j, k, l] = codes(entry.row());
            add(&mut a[usize::from(i)], &lanes);
            add(&mut b[usize::from(j)], &lanes);
            add(&mut c[usize::from(k)], &lanes);
            add(&mut d[usize::from(l)], &lanes);
        }
    }

    fn total(&self, entries: &[Entry], total: &mut [f64]) {
        for &entry in entries {
            total.iter_mut().zip(self.lanes(entry)).for_each(|(lane, other)| *lane += other);
        }
    }

    fn rows(&self, cell: &[f64]) -> u64 {
        cell[if LANES == 2 { 0 } else { 2 }] as u64
    }

    fn weight(&self, cell: &[f64]) -> f64 {
        cell[0]
    }

    fn is_exact(&self) -> bool {
        LANES == 2
    }

    fn pure(&self, _total: &[f64], entries: &[Entry]) -> bool {
        let first = entries.first().map(|entry| self.labels[entry.row()]);
        entries.iter().all(|entry| Some(self.labels[entry.row()]) == first)
    }

    fn key(&self, cell: &[f64], _total: &[f64]) -> f64 {
        cell[1] / cell[0]
    }

    fn scan(
        &self,
        cells: &[f64],
        order: &[u8],
        missing: Option<&[f64]>,
        total: &[f64],
        rows_min: u64,
        best: &mut Best,
    ) {
        let cells = cells.as_chunks::<LANES>().0;
        let mut left = [0.0; LANES];
        missing.into_iter().flatten().zip(&mut left).for_each(|(&missing, lane)| *lane = missing);
        let rows_max = self.rows(total).saturating_sub(rows_min);
        let (all, sum) = (total[0], total[1]);
        for (place, &bin) in order.iter().enumerate() {
            add(&mut left, &cells[usize::from(bin)]);
            let rows = self.rows(&left);
            if rows < rows_min || rows > rows_max {
                continue;
            }
            if LANES > 2 && (left[0] <= all * ROUNDING || all - left[0] <= all * ROUNDING) {
                continue;
            }
            // sₗ²/nₗ + sᵣ²/nᵣ − s²/n without the cancelling.
            let distance = left[1] * all - sum * left[0];
            let gain = distance * distance / (all * left[0] * (all - left[0]));
            if gain > best.gain {
                *best = Best { gain, place, missing_left: missing.is_some() };
            }
        }
    }

    /// Anew from the labels: a total that came by subtractions is not exact.
    fn leaf(&self, _total: &[f64], entries: &[Entry], values: &mut Vec<f64>) {
        let mut total = [0.0; LANES];
        entries.iter().for_each(|&entry| add(&mut total, &self.lanes(entry)));
        values.push(self.mean + if total[0] > 0.0 { total[1] / total[0] } else { 0.0 });
    }
}
