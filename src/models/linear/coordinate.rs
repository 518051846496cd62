//! Coordinate descent on a quadratic function with absolute values (Friedman, Hastie, Tibshirani 2010: covariance updates).

use crate::models::algebra::add_scaled;
use crate::models::refusal::Refusal;
use crate::models::watch::Watch;

/// ½ x′Ax - b′x + Σ l1ⱼ |xⱼ| + ½ Σ l2ⱼ xⱼ².
pub(super) struct Quadratic<'a> {
    /// Symmetric, row-major.
    pub(super) matrix: &'a [f64],
    pub(super) linear: &'a [f64],
    pub(super) l1: &'a [f64],
    pub(super) l2: &'a [f64],
}

pub(super) struct Rounds {
    pub(super) rounds: usize,
    pub(super) converged: bool,
}

impl Quadratic<'_> {
    /// Moves `x` to the minimum: until a round over all coordinates changes none by more than `change_max` in `|Δxⱼ| √Aⱼⱼ`.
    /// Rounds over the coordinates that are not zero come between.
    pub(super) fn descend(
        &self,
        x: &mut [f64],
        change_max: f64,
        rounds_max: usize,
        watch: &dyn Watch,
    ) -> Result<Rounds, Refusal> {
        let size = x.len();
        // What is left of the linear part: b - Ax.
        let mut rest = self.linear.to_vec();
        for (j, x) in x.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            add_scaled(&mut rest, -x, &self.matrix[j * size..(j + 1) * size]);
        }
        let mut rounds = 0;
        let mut all = true;
        while rounds < rounds_max {
            watch.check()?;
            rounds += 1;
            let mut change = 0.0_f64;
            for j in 0..size {
                if all || x[j] != 0.0 {
                    change = change.max(self.update(j, x, &mut rest));
                }
            }
            if change <= change_max {
                if all {
                    return Ok(Rounds { rounds, converged: true });
                }
                all = true;
            } else {
                all = false;
            }
        }
        Ok(Rounds { rounds, converged: false })
    }

    fn update(&self, j: usize, x: &mut [f64], rest: &mut [f64]) -> f64 {
        let size = x.len();
        let row = &self.matrix[j * size..(j + 1) * size];
        let curvature = row[j];
        if !(curvature + self.l2[j] > 0.0) {
            return 0.0;
        }
        let pull = rest[j] + curvature * x[j];
        let value = pull.signum() * (pull.abs() - self.l1[j]).max(0.0) / (curvature + self.l2[j]);
        let change = value - x[j];
        if change != 0.0 {
            x[j] = value;
            add_scaled(rest, -change, row);
        }
        change.abs() * curvature.sqrt()
    }
}
