//! Small dense linear algebra, an optimiser, special functions and random numbers for the numeric learners.
//!
//! Everything gives the same bits for any number of threads: sums are made in segments whose bounds depend on the data alone and are
//! added in order. It does not know features, models or options.
//!
//! Why not a crate: the learners need one factorisation (Cholesky with dropped columns), one eigen-decomposition and one optimiser;
//! nalgebra has no dropped columns and its unblocked eigen-decomposition is no faster than this one, faer brings two dozen crates.

pub mod cholesky;
pub mod eigen;
pub mod minimise;
pub mod parallel;
pub mod random;
pub mod special;

/// The dot product in four lanes, added in a fixed order.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 4];
    let (a4, a1) = a.as_chunks::<4>();
    let (b4, b1) = b.as_chunks::<4>();
    for (x, y) in a4.iter().zip(b4) {
        for lane in 0..4 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    let rest: f64 = a1.iter().zip(b1).map(|(x, y)| x * y).sum();
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]) + rest
}

/// `y += factor * x`.
pub fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}
