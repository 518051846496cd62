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
    /// A block of about 256 KiB, which stays in a core's cache, and of 128 rows at least, which are worth a tile of products.
    pub(super) fn new(dense: usize, hot: usize, width: usize) -> Self {
        let padded = dense.div_ceil(LANES) * LANES;
        let capacity = (32_768 / padded.max(LANES)).clamp(128, 1024);
        Self {
            rows: 0,
            capacity,
            dense,
            width,
            panels: vec![0.0; padded * capacity],
            hot: vec![vec![NONE; capacity]; hot],
        }
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
        self.add_dense::<false>(coefficients, sums);
        for columns in self.hot() {
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum += coefficients.get(*column as usize).copied().unwrap_or(0.0);
            }
        }
    }

    /// Adds the squared distance from `centre`, which has `width` elements, to each of `sums`.
    pub fn add_distances(&self, centre: &[f64], sums: &mut [f64]) {
        self.add_dense::<true>(centre, sums);
        // A row of zeros is this far; a one at `c` changes c² to (1 - c)².
        let zeros: f64 = centre[self.dense..].iter().map(|value| value * value).sum();
        sums.iter_mut().take(self.rows).for_each(|sum| *sum += zeros);
        for columns in self.hot() {
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum += centre.get(*column as usize).map_or(0.0, |value| 1.0 - 2.0 * value);
            }
        }
    }

    /// Adds the sum over the dense columns of `x · other`, or of `(x - other)²`.
    fn add_dense<const DISTANCE: bool>(&self, others: &[f64], sums: &mut [f64]) {
        let padded: Vec<[f64; LANES]> = others[..self.dense]
            .chunks(LANES)
            .map(|chunk| {
                let mut lanes = [0.0; LANES];
                lanes[..chunk.len()].copy_from_slice(chunk);
                lanes
            })
            .collect();
        let panels: Vec<&[[f64; LANES]]> = self.panels().collect();
        // The same bits with and without AVX2: Rust never fuses a multiplication and an addition.
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            unsafe { add_lanes_avx2::<DISTANCE>(&panels, &padded, &mut sums[..self.rows]) };
            return;
        }
        add_lanes::<DISTANCE>(&panels, &padded, &mut sums[..self.rows]);
    }

    /// Adds `factor` times one row to `sums`, which has `width` elements.
    pub fn add_row(&self, index: usize, factor: f64, sums: &mut [f64]) {
        for (panel, sums) in self.panels().zip(sums[..self.dense].chunks_mut(LANES)) {
            sums.iter_mut().zip(&panel[index]).for_each(|(sum, x)| *sum += factor * x);
        }
        for columns in self.hot() {
            if let Some(sum) = sums.get_mut(columns[index] as usize) {
                *sum += factor;
            }
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

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_lanes_avx2<const DISTANCE: bool>(panels: &[&[[f64; LANES]]], others: &[[f64; LANES]], sums: &mut [f64]) {
    add_lanes::<DISTANCE>(panels, others, sums);
}

/// Lanes are summed by row and then added in a fixed order.
#[inline(always)]
fn add_lanes<const DISTANCE: bool>(panels: &[&[[f64; LANES]]], others: &[[f64; LANES]], sums: &mut [f64]) {
    for (row, sum) in sums.iter_mut().enumerate() {
        let mut lanes = [0.0; LANES];
        for (panel, others) in panels.iter().zip(others) {
            let values = &panel[row];
            for lane in 0..LANES {
                let (x, other) = (values[lane], others[lane]);
                lanes[lane] += if DISTANCE { (x - other) * (x - other) } else { x * other };
            }
        }
        let l = lanes;
        *sum += ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
    }
}
