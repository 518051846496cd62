//! Gini impurity of two classes in whole numbers: a cell is one `u64`, rows in the low half and rows of the second class in the high half.

use super::criterion::{Best, Criterion, Entry, ROUNDING, TOGETHER};

pub(super) struct Binary<'a> {
    pub(super) labels: &'a [u16],
    /// The weight of a row by class.
    pub(super) weights: [f64; 2],
    /// The second class's share of the weight of all rows: what a tree says that drew no row with a weight.
    pub(super) prior: f64,
}

#[inline(always)]
fn packed(entry: Entry) -> u64 {
    let count = entry.count();
    count | (count * entry.class()) << 32
}

/// Rows and rows of the second class.
#[inline(always)]
fn unpacked(cell: u64) -> (f64, f64) {
    (f64::from(cell as u32), f64::from((cell >> 32) as u32))
}

impl Binary<'_> {
    /// Total weight, and that of the second class.
    #[inline(always)]
    fn weighted(&self, cell: u64) -> (f64, f64) {
        let (rows, ones) = unpacked(cell);
        let ones_weight = ones * self.weights[1];
        ((rows - ones) * self.weights[0] + ones_weight, ones_weight)
    }
}

impl Criterion for Binary<'_> {
    type Cell = u64;

    fn stride(&self) -> usize {
        1
    }

    fn class(&self, row: usize) -> u16 {
        self.labels[row]
    }

    fn is_of_entries(&self) -> bool {
        true
    }

    fn fill(&self, code: impl Fn(usize) -> u8, entries: &[Entry], cells: &mut [u64]) {
        let Some(cells) = cells.first_chunk_mut::<256>() else { return };
        for &entry in entries {
            cells[usize::from(code(entry.row()))] += packed(entry);
        }
    }

    fn fill_together(&self, codes: impl Fn(usize) -> [u8; TOGETHER], entries: &[Entry], cells: [&mut [u64]; TOGETHER]) {
        let [Some(a), Some(b), Some(c), Some(d)] = cells.map(|cells| cells.first_chunk_mut::<256>()) else { return };
        for &entry in entries {
            let row = packed(entry);
            let [i, j, k, l] = codes(entry.row());
            a[usize::from(i)] += row;
            b[usize::from(j)] += row;
            c[usize::from(k)] += row;
            d[usize::from(l)] += row;
        }
    }

    fn total(&self, entries: &[Entry], total: &mut [u64]) {
        total[0] += entries.iter().map(|&entry| packed(entry)).sum::<u64>();
    }

    fn rows(&self, cell: &[u64]) -> u64 {
        u64::from(cell[0] as u32)
    }

    fn weight(&self, cell: &[u64]) -> f64 {
        self.weighted(cell[0]).0
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn pure(&self, total: &[u64], _entries: &[Entry]) -> bool {
        let (rows, ones) = unpacked(total[0]);
        ones == 0.0 || ones == rows
    }

    fn key(&self, cell: &[u64], _total: &[u64]) -> f64 {
        let (weight, ones) = self.weighted(cell[0]);
        ones / weight
    }

    fn scan(
        &self,
        cells: &[u64],
        order: &[u8],
        missing: Option<&[u64]>,
        total: &[u64],
        rows_min: u64,
        best: &mut Best,
    ) {
        let mut left = missing.map_or(0, |cell| cell[0]);
        let rows_max = u64::from(total[0] as u32).saturating_sub(rows_min);
        let (all, all_ones) = self.weighted(total[0]);
        // A side below this is the sums' rounding, where one class weighs next to nothing.
        let least = all * ROUNDING;
        for (place, &bin) in order.iter().enumerate() {
            left += cells[usize::from(bin)];
            let rows = u64::from(left as u32);
            if rows < rows_min || rows > rows_max {
                continue;
            }
            // Gini before minus after, times the weight: 2 (pₗ²/nₗ + pᵣ²/nᵣ − p²/n) = 2 (pₗ n − p nₗ)² / (n nₗ nᵣ).
            let (weight, ones) = self.weighted(left);
            let distance = ones * all - all_ones * weight;
            let gain = 2.0 * distance * distance / (all * weight * (all - weight));
            if gain > best.gain && weight > least && all - weight > least {
                *best = Best { gain, place, missing_left: missing.is_some() };
            }
        }
    }

    fn leaf(&self, total: &[u64], _entries: &[Entry], values: &mut Vec<f64>) {
        let (weight, ones) = self.weighted(total[0]);
        values.push(if weight > 0.0 { ones / weight } else { self.prior });
    }
}
