//! Sums and products of encoded columns: X′WX.

use super::{Block, Design, LANES, Pass, weights_of};
use crate::models::refusal::Refusal;

/// Weighted sums of products, while they are added. Takes about 8 · width² bytes.
pub struct Gram {
    dense: usize,
    width: usize,
    /// Dense columns, filled up to whole panels.
    padded: usize,
    weight: f64,
    sums: Vec<f64>,
    /// Dense by dense: tiles of panels on and above the diagonal.
    tiles: Vec<f64>,
    /// One-hot by dense.
    cross: Vec<f64>,
    /// One-hot by one-hot.
    pairs: Vec<f64>,
}

/// Σw, Σw·x and Σw·x·x′.
pub struct Moments {
    pub weight: f64,
    pub sums: Vec<f64>,
    /// Symmetric, row-major, width × width.
    pub products: Vec<f64>,
}

impl Gram {
    pub fn new(design: &Design<'_>) -> Self {
        let (dense, width) = (design.dense(), design.width());
        let padded = dense.div_ceil(LANES) * LANES;
        let hot = width - dense;
        Self {
            dense,
            width,
            padded,
            weight: 0.0,
            sums: vec![0.0; width],
            tiles: vec![0.0; padded * padded],
            cross: vec![0.0; hot * padded],
            pairs: vec![0.0; hot * hot],
        }
    }

    /// The memory of one, for [`Pass::fold`].
    pub fn bytes(design: &Design<'_>) -> usize {
        8 * (design.width() + LANES).pow(2)
    }

    /// The moments of all rows.
    pub fn moments(design: &Design<'_>, weights: Option<&[f64]>, pass: Pass<'_>) -> Result<Moments, Refusal> {
        let add = |gram: &mut Self, block: &Block, range: std::ops::Range<usize>| {
            gram.add(block, &weights_of(weights, range));
            Ok(())
        };
        let grams = pass.fold(design, Self::bytes(design), || Self::new(design), add)?;
        Ok(Self::total(grams).map_or_else(|| Self::new(design).finish(), Self::finish))
    }

    /// Their sum, in order.
    pub fn total(grams: impl IntoIterator<Item = Self>) -> Option<Self> {
        grams.into_iter().reduce(|mut total, gram| {
            total.weight += gram.weight;
            let pairs = [(&mut total.sums, gram.sums), (&mut total.tiles, gram.tiles)];
            let more = [(&mut total.cross, gram.cross), (&mut total.pairs, gram.pairs)];
            for (sums, others) in pairs.into_iter().chain(more) {
                sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
            }
            total
        })
    }

    /// Adds the rows of `block`, each with a weight.
    pub fn add(&mut self, block: &Block, weights: &[f64]) {
        self.weight += weights.iter().sum::<f64>();
        block.add_combination(weights, &mut self.sums);
        for (first, a) in block.panels().enumerate() {
            for (second, b) in block.panels().enumerate().skip(first) {
                let products = tile(a, b, weights);
                for (lane, row) in products.iter().enumerate() {
                    let place = (first * LANES + lane) * self.padded + second * LANES;
                    self.tiles[place..place + LANES].iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
            }
        }
        self.add_hot(block, weights);
    }

    fn add_hot(&mut self, block: &Block, weights: &[f64]) {
        let hot = self.width - self.dense;
        let place = |column: u32| (column as usize).checked_sub(self.dense).filter(|place| *place < hot);
        for (index, columns) in block.hot().enumerate() {
            for (number, panel) in block.panels().enumerate() {
                for ((column, weight), row) in columns.iter().zip(weights).zip(panel) {
                    if let Some(place) = place(*column) {
                        let start = place * self.padded + number * LANES;
                        self.cross[start..start + LANES].iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * x);
                    }
                }
            }
            for others in block.hot().skip(index) {
                for ((a, b), weight) in columns.iter().zip(others).zip(weights) {
                    if let (Some(a), Some(b)) = (place(*a), place(*b)) {
                        self.pairs[a * hot + b] += weight;
                    }
                }
            }
        }
    }

    /// The symmetric matrix.
    pub fn finish(self) -> Moments {
        let (width, dense, hot) = (self.width, self.dense, self.width - self.dense);
        let mut products = vec![0.0; width * width];
        let mut set = |i: usize, j: usize, value: f64| {
            products[i * width + j] = value;
            products[j * width + i] = value;
        };
        for i in 0..dense {
            (i..dense).for_each(|j| set(i, j, self.tiles[i * self.padded + j]));
        }
        for i in 0..hot {
            (0..dense).for_each(|j| set(dense + i, j, self.cross[i * self.padded + j]));
            (i..hot).for_each(|j| set(dense + i, dense + j, self.pairs[i * hot + j]));
        }
        Moments { weight: self.weight, sums: self.sums, products }
    }
}

impl Moments {
    /// Products of the differences from the weighted means, in place of products of the values.
    pub fn centre(&mut self) {
        let width = self.sums.len();
        for (row, sum) in self.products.chunks_exact_mut(width.max(1)).zip(&self.sums) {
            let mean = sum / self.weight;
            row.iter_mut().zip(&self.sums).for_each(|(value, other)| *value -= mean * other);
        }
    }
}

type Tile = [[f64; LANES]; LANES];

/// Σ weight · aᵀ b over the rows of two panels. The same bits with and without AVX2: Rust never fuses a multiplication and an addition.
fn tile(a: &[[f64; LANES]], b: &[[f64; LANES]], weights: &[f64]) -> Tile {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { tile_avx2(a, b, weights) };
    }
    tile_lanes(a, b, weights)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn tile_avx2(a: &[[f64; LANES]], b: &[[f64; LANES]], weights: &[f64]) -> Tile {
    tile_lanes(a, b, weights)
}

#[inline(always)]
fn tile_lanes(a: &[[f64; LANES]], b: &[[f64; LANES]], weights: &[f64]) -> Tile {
    const HALF: usize = LANES / 2;
    let mut sums = [[0.0; LANES]; LANES];
    // Half a tile at a time fits the registers.
    for half in 0..2 {
        let mut part = [[0.0; LANES]; HALF];
        for ((a, b), weight) in a.iter().zip(b).zip(weights) {
            for i in 0..HALF {
                let factor = weight * a[half * HALF + i];
                for lane in 0..LANES {
                    part[i][lane] += factor * b[lane];
                }
            }
        }
        sums[half * HALF..(half + 1) * HALF].copy_from_slice(&part);
    }
    sums
}
