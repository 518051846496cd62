//! Some hundred encoded rows: dense columns in panels, one-hot columns as positions.

/// Columns of a panel: neighbours in memory, so that sums run in lanes.
pub(in crate::models) const LANES: usize = 8;

/// The position of a category that is all zeros.
pub const NONE: u32 = u32::MAX;

/// Rows of encoded columns. Panel `p` holds the dense columns `8 p ..`, row after row; columns that fill the last panel are zero.
#[derive(Clone, Debug)]
pub struct Block {
    rows: usize,
    capacity: usize,
    dense: usize,
    width: usize,
    panels: Vec<f64>,
    hot: Vec<Vec<u32>>,
}

impl Block {
    /// A block of about 256 KiB: it stays in a core's cache.
    pub(super) fn new(dense: usize, hot: usize, width: usize) -> Self {
        let padded = dense.div_ceil(LANES) * LANES;
        let capacity = (32_768 / padded.max(LANES)).clamp(32, 1024);
        Self { rows: 0, capacity, dense, width, panels: vec![0.0; padded * capacity], hot: vec![vec![NONE; capacity]; hot] }
    }

    pub(super) fn resize(&mut self, rows: usize) {
        debug_assert!(rows <= self.capacity);
        self.rows = rows;
    }

    pub(super) fn set_dense(&mut self, index: usize, values: impl Iterator<Item = f64>) {
        let first = index / LANES * LANES * self.capacity + index % LANES;
        for (place, value) in self.panels[first..].iter_mut().step_by(LANES).zip(values) {
            *place = value;
        }
    }

    pub(super) fn set_hot(&mut self, index: usize, columns: impl Iterator<Item = u32>) {
        for (place, column) in self.hot[index].iter_mut().zip(columns) {
            *place = column;
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The most rows it holds.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of dense columns.
    pub fn dense(&self) -> usize {
        self.dense
    }

    /// The number of all columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The rows of each panel.
    pub(in crate::models) fn panels(&self) -> impl Iterator<Item = &[[f64; LANES]]> + Clone {
        self.panels.chunks_exact(LANES * self.capacity).map(|panel| &panel.as_chunks().0[..self.rows])
    }

    /// For each category, the one-hot columns of the rows.
    pub(in crate::models) fn hot(&self) -> impl Iterator<Item = &[u32]> + Clone {
        self.hot.iter().map(|columns| &columns[..self.rows])
    }

    /// Adds `coefficients · row` to each of `sums`. `coefficients` has `width` elements.
    pub fn add_products(&self, coefficients: &[f64], sums: &mut [f64]) {
        self.add_lanes(coefficients, sums, |x, factor| x * factor);
        for columns in self.hot() {
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum += coefficients.get(*column as usize).copied().unwrap_or(0.0);
            }
        }
    }

    /// Adds the squared distance from `centre`, which has `width` elements, to each of `sums`.
    pub fn add_distances(&self, centre: &[f64], sums: &mut [f64]) {
        self.add_lanes(centre, sums, |x, centre| (x - centre) * (x - centre));
        // A row of zeros is this far; a one at `c` changes c² to (1 - c)².
        let zeros: f64 = centre[self.dense..].iter().map(|value| value * value).sum();
        sums.iter_mut().take(self.rows).for_each(|sum| *sum += zeros);
        for columns in self.hot() {
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum += centre.get(*column as usize).map_or(0.0, |value| 1.0 - 2.0 * value);
            }
        }
    }

    /// Adds the sum over the dense columns of `term(x, other)`, in lanes that are added in a fixed order. `term(0, 0)` is 0.
    #[inline(always)]
    fn add_lanes(&self, others: &[f64], sums: &mut [f64], term: impl Fn(f64, f64) -> f64) {
        let mut lanes = vec![[0.0; LANES]; self.rows];
        for (panel, others) in self.panels().zip(others[..self.dense].chunks(LANES)) {
            let mut factors = [0.0; LANES];
            factors[..others.len()].copy_from_slice(others);
            for (lanes, row) in lanes.iter_mut().zip(panel) {
                for lane in 0..LANES {
                    lanes[lane] += term(row[lane], factors[lane]);
                }
            }
        }
        for (sum, l) in sums.iter_mut().zip(&lanes) {
            *sum += ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
        }
    }

    /// Adds `Σ factors[row] · row` to `sums`, which has `width` elements.
    pub fn add_combination(&self, factors: &[f64], sums: &mut [f64]) {
        for (panel, sums) in self.panels().zip(sums[..self.dense].chunks_mut(LANES)) {
            let mut lanes = [0.0; LANES];
            for (row, factor) in panel.iter().zip(factors) {
                for lane in 0..LANES {
                    lanes[lane] += row[lane] * factor;
                }
            }
            for (sum, lane) in sums.iter_mut().zip(lanes) {
                *sum += lane;
            }
        }
        for columns in self.hot() {
            for (column, factor) in columns.iter().zip(factors) {
                if let Some(sum) = sums.get_mut(*column as usize) {
                    *sum += factor;
                }
            }
        }
    }

    /// All columns of one row into `row`, which has `width` elements.
    pub fn row(&self, index: usize, row: &mut [f64]) {
        row.fill(0.0);
        for (panel, row) in self.panels().zip(row[..self.dense].chunks_mut(LANES)) {
            row.copy_from_slice(&panel[index][..row.len()]);
        }
        for columns in self.hot() {
            if let Some(place) = row.get_mut(columns[index] as usize) {
                *place = 1.0;
            }
        }
    }
}
