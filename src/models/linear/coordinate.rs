//! Coordinate descent on a quadratic function with absolute values (Friedman, Hastie, Tibshirani 2010: covariance updates).

use crate::models::algebra::cholesky::Cholesky;
use crate::models::algebra::{add_scaled, dot};
use crate::models::refusal::Refusal;
use crate::models::watch::Watch;

/// Rounds over the coordinates that are not zero between those over all.
const ROUNDS_BETWEEN: usize = 9;
const COLLINEAR: f64 = 1e-11;

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
    /// Moves `x` to the minimum: until the linear system of the coordinates that are not zero proves to give it, or until a round over all
    /// coordinates changes none by more than `change_max` in `|Δxⱼ| √Aⱼⱼ`. Rounds over the coordinates that are not zero come between.
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
        let mut end = Rounds { rounds: 0, converged: false };
        let mut support = self.support(x);
        // Solving for the support is dear, so failures make it rarer.
        let (mut patience, mut stable) = (1, 0);
        while end.rounds < rounds_max && !end.converged {
            let mut change = 0.0_f64;
            for all in std::iter::once(true).chain([false; ROUNDS_BETWEEN]) {
                watch.check()?;
                end.rounds += 1;
                let coordinates = (0..size).filter(|j| all || support[*j]);
                let largest = coordinates.fold(0.0_f64, |largest, j| largest.max(self.update(j, x, &mut rest)));
                if all {
                    change = largest;
                    let now = self.support(x);
                    stable = if now == support { stable + 1 } else { 0 };
                    support = now;
                }
                if largest <= change_max {
                    break;
                }
            }
            end.converged = change <= change_max;
            if (stable >= patience || end.converged) && self.solve(x, &support, watch)? {
                end.converged = true;
            } else if stable >= patience {
                (patience, stable) = (2 * patience, 0);
            }
        }
        Ok(end)
    }

    /// Coordinates that are not zero, or have no reason to be.
    fn support(&self, x: &[f64]) -> Vec<bool> {
        let size = x.len();
        let free = |j: usize| self.l1[j] == 0.0 && self.matrix[j * size + j] > 0.0;
        x.iter().enumerate().map(|(j, x)| *x != 0.0 || free(j)).collect()
    }

    /// If the optimum has these coordinates with these signs, it solves a linear system: puts it in `x` if it proves to be the optimum.
    fn solve(&self, x: &mut [f64], support: &[bool], watch: &dyn Watch) -> Result<bool, Refusal> {
        let size = x.len();
        let chosen: Vec<usize> = (0..size).filter(|j| support[*j]).collect();
        let row = |i: usize| &self.matrix[i * size..(i + 1) * size];
        let mut matrix: Vec<f64> = chosen.iter().flat_map(|i| chosen.iter().map(|j| row(*i)[*j])).collect();
        (0..chosen.len()).for_each(|i| matrix[i * chosen.len() + i] += self.l2[chosen[i]]);
        let cholesky = Cholesky::factorise(matrix, chosen.len(), COLLINEAR, watch)?;
        if cholesky.kept().iter().any(|kept| !kept) {
            return Ok(false);
        }
        let sign = |value: f64| if value == 0.0 { 0.0 } else { value.signum() };
        let linear: Vec<f64> = chosen.iter().map(|j| self.linear[*j] - self.l1[*j] * sign(x[*j])).collect();
        let solved = cholesky.solve(&linear);
        let agrees = |(j, value): (&usize, &f64)| self.l1[*j] == 0.0 || value * x[*j] > 0.0;
        if !chosen.iter().zip(&solved).all(agrees) {
            return Ok(false);
        }
        let mut found = vec![0.0; size];
        chosen.iter().zip(&solved).for_each(|(j, value)| found[*j] = *value);
        let pull = |j: usize| self.linear[j] - dot(row(j), &found);
        let largest = self.linear.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let optimal = (0..size).filter(|j| !support[*j]).all(|j| pull(j).abs() <= self.l1[j] + 1e-12 * largest);
        if optimal {
            x.copy_from_slice(&found);
        }
        Ok(optimal)
    }

    fn update(&self, j: usize, x: &mut [f64], rest: &mut [f64]) -> f64 {
        let size = x.len();
        let row = &self.matrix[j * size..(j + 1) * size];
        let curvature = row[j];
        let whole = curvature + self.l2[j];
        if whole.is_nan() || whole <= 0.0 {
            return 0.0;
        }
        let pull = rest[j] + curvature * x[j];
        let value = pull.signum() * (pull.abs() - self.l1[j]).max(0.0) / whole;
        let change = value - x[j];
        if change != 0.0 {
            x[j] = value;
            add_scaled(rest, -change, row);
        }
        change.abs() * curvature.sqrt()
    }
}
