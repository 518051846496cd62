//! Cholesky's factorisation of a positive semidefinite matrix that drops what depends on earlier columns.

use super::{add_scaled, dot};
use crate::models::refusal::Refusal;
use crate::models::watch::Watch;

/// `A = L Lᵀ` over the columns that are kept; rows and columns of dropped ones are zero in `L`.
pub struct Cholesky {
    size: usize,
    lower: Vec<f64>,
    kept: Vec<bool>,
}

impl Cholesky {
    /// Factorises the symmetric row-major `matrix` (its lower triangle is read) in place. A column is dropped when what earlier columns
    /// leave of its diagonal is at most `tolerance` times the diagonal: so of collinear columns the first stay, as in R's `lm`.
    pub fn factorise(mut matrix: Vec<f64>, size: usize, tolerance: f64, watch: &dyn Watch) -> Result<Self, Refusal> {
        let mut kept = vec![true; size];
        for i in 0..size {
            watch.check()?;
            let (above, rest) = matrix.split_at_mut(i * size);
            let row = &mut rest[..size];
            for j in 0..i {
                let other = &above[j * size..j * size + size];
                row[j] = if kept[j] { (row[j] - dot(&row[..j], &other[..j])) / other[j] } else { 0.0 };
            }
            let diagonal = row[i];
            let left = diagonal - dot(&row[..i], &row[..i]);
            kept[i] = diagonal > 0.0 && left > tolerance * diagonal;
            if kept[i] {
                row[i] = left.sqrt();
            } else {
                row[..=i].fill(0.0);
            }
            row[i + 1..].fill(0.0);
        }
        Ok(Self { size, lower: matrix, kept })
    }

    /// Whether each column was kept.
    pub fn kept(&self) -> &[bool] {
        &self.kept
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.lower[i * self.size..(i + 1) * self.size]
    }

    /// `x` with `A x = b` over the kept columns, 0 at the dropped ones.
    pub fn solve(&self, b: &[f64]) -> Vec<f64> {
        let mut x = self.forward(b);
        for i in (0..self.size).rev().filter(|i| self.kept[*i]) {
            let row = self.row(i);
            x[i] /= row[i];
            let factor = -x[i];
            add_scaled(&mut x[..i], factor, &row[..i]);
        }
        x
    }

    /// `L⁻¹ b`: its squared length is `bᵀ A⁻¹ b`.
    pub fn forward(&self, b: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; self.size];
        for i in (0..self.size).filter(|i| self.kept[*i]) {
            let row = self.row(i);
            x[i] = (b[i] - dot(&row[..i], &x[..i])) / row[i];
        }
        x
    }

    /// The diagonal of `A⁻¹`; 0 at the dropped columns. Costs `size³ / 6` steps.
    pub fn inverse_diagonal(&self, watch: &dyn Watch) -> Result<Vec<f64>, Refusal> {
        let mut diagonal = vec![0.0; self.size];
        let mut column = vec![0.0; self.size];
        for j in (0..self.size).filter(|j| self.kept[*j]) {
            watch.check()?;
            column[j] = 1.0 / self.row(j)[j];
            let mut sum = column[j] * column[j];
            for i in (j + 1..self.size).filter(|i| self.kept[*i]) {
                let row = self.row(i);
                let value = -dot(&row[j..i], &column[j..i]) / row[i];
                column[i] = value;
                sum += value * value;
            }
            diagonal[j] = sum;
            column[j..].fill(0.0);
        }
        Ok(diagonal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::watch::Unwatched;

    #[test]
    fn solves_and_drops_what_is_collinear() {
        // Columns a, 2a, b: the second goes.
        let matrix = vec![4.0, 8.0, 2.0, 8.0, 16.0, 4.0, 2.0, 4.0, 3.0];
        let cholesky = Cholesky::factorise(matrix, 3, 1e-11, &Unwatched).unwrap();
        assert_eq!(cholesky.kept(), [true, false, true]);
        let x = cholesky.solve(&[10.0, 20.0, 9.0]);
        assert!((x[0] - 1.5).abs() < 1e-12 && x[1] == 0.0 && (x[2] - 2.0).abs() < 1e-12, "{x:?}");
        let diagonal = cholesky.inverse_diagonal(&Unwatched).unwrap();
        assert!((diagonal[0] - 0.375).abs() < 1e-12 && diagonal[1] == 0.0 && (diagonal[2] - 0.5).abs() < 1e-12);
    }
}
