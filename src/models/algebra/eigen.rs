//! All eigenvalues and eigenvectors of a symmetric matrix: Householder's reduction to three diagonals, then QL steps with implicit shifts
//! (EISPACK's tred2 and tql2; Golub and Van Loan, 8.3). About 10 size³ operations: 2,000 columns take some tens of seconds.

use super::{add_scaled, dot};
use crate::models::refusal::Refusal;
use crate::models::watch::Watch;

/// Eigenvalues in descending order; row `k` of `vectors` (row-major, size × size) belongs to `values[k]` and has length 1.
pub struct Eigen {
    pub values: Vec<f64>,
    pub vectors: Vec<f64>,
}

/// Decomposes the symmetric row-major `matrix`.
pub fn symmetric(mut matrix: Vec<f64>, size: usize, watch: &dyn Watch) -> Result<Eigen, Refusal> {
    let (mut diagonal, mut beside) = (vec![0.0; size], vec![0.0; size]);
    let factors = reduce(&mut matrix, size, &mut diagonal, &mut beside, watch)?;
    let mut vectors = reflections(&matrix, size, &factors, watch)?;
    diagonalise(&mut diagonal, &mut beside, &mut vectors, size, watch)?;
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|a, b| diagonal[*b].total_cmp(&diagonal[*a]));
    let rows = order.iter().flat_map(|k| vectors[k * size..(k + 1) * size].iter().copied()).collect();
    Ok(Eigen { values: order.iter().map(|k| diagonal[*k]).collect(), vectors: rows })
}

/// Householder's reduction from the last row up. Row `i` of `matrix` keeps the reflection's vector in `..i`; its factor is returned.
/// `beside[i]` is the element at `(i, i - 1)`.
fn reduce(
    matrix: &mut [f64],
    size: usize,
    diagonal: &mut [f64],
    beside: &mut [f64],
    watch: &dyn Watch,
) -> Result<Vec<f64>, Refusal> {
    let mut factors = vec![0.0; size];
    let mut product = vec![0.0; size];
    for i in (1..size).rev() {
        watch.check()?;
        let (above, rest) = matrix.split_at_mut(i * size);
        let vector = &mut rest[..i];
        let scale = vector.iter().fold(0.0_f64, |scale, value| scale.max(value.abs()));
        if i == 1 || vector[..i - 1].iter().all(|value| *value == 0.0) || scale == 0.0 {
            beside[i] = vector[i - 1];
            continue;
        }
        vector.iter_mut().for_each(|value| *value /= scale);
        let length = dot(vector, vector).sqrt();
        let shifted = if vector[i - 1] > 0.0 { -length } else { length };
        beside[i] = shifted * scale;
        let half = length * length - vector[i - 1] * shifted;
        vector[i - 1] -= shifted;
        factors[i] = 1.0 / half;
        // p = A v / half over the leading i × i block, of which the lower triangle is kept.
        product[..i].fill(0.0);
        for j in 0..i {
            let row = &above[j * size..j * size + j];
            product[j] += dot(row, &vector[..j]) + above[j * size + j] * vector[j];
            add_scaled(&mut product[..j], vector[j], row);
        }
        product[..i].iter_mut().for_each(|value| *value /= half);
        let along = dot(&product[..i], vector) / (2.0 * half);
        add_scaled(&mut product[..i], -along, vector);
        for j in 0..i {
            let row = &mut above[j * size..=j * size + j];
            add_scaled(row, -vector[j], &product[..=j]);
            add_scaled(row, -product[j], &vector[..=j]);
        }
    }
    for (i, value) in diagonal.iter_mut().enumerate() {
        *value = matrix[i * size + i];
    }
    Ok(factors)
}

/// The product of the reflections, transposed: row `k` is the image of the `k`th axis of the three-diagonal basis.
fn reflections(matrix: &[f64], size: usize, factors: &[f64], watch: &dyn Watch) -> Result<Vec<f64>, Refusal> {
    let mut vectors = vec![0.0; size * size];
    for i in 0..size {
        watch.check()?;
        vectors[i * size + i] = 1.0;
        if factors[i] != 0.0 {
            let vector = &matrix[i * size..i * size + i];
            for k in 0..i {
                let row = &mut vectors[k * size..k * size + i];
                let along = dot(row, vector) * factors[i];
                add_scaled(row, -along, vector);
            }
        }
    }
    Ok(vectors)
}

fn diagonalise(
    d: &mut [f64],
    e: &mut [f64],
    vectors: &mut [f64],
    size: usize,
    watch: &dyn Watch,
) -> Result<(), Refusal> {
    e.rotate_left(1.min(size));
    let norm = d.iter().chain(e.iter()).fold(0.0_f64, |norm, value| norm.max(value.abs()));
    let mut rounds = 0;
    for l in 0..size {
        loop {
            watch.check()?;
            let small =
                |m: usize| e[m].abs() <= f64::EPSILON * (d[m].abs() + d[m + 1].abs()) || e[m].abs() <= 1e-300 * norm;
            let m = (l..size - 1).find(|m| small(*m)).unwrap_or(size - 1);
            if m == l {
                break;
            }
            rounds += 1;
            if rounds > 60 * size {
                return Err(Refusal::Overflow("an eigenvalue"));
            }
            let g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let r = g.hypot(1.0).copysign(g);
            let mut g = d[m] - d[l] + e[l] / (g + r);
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    split = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                let r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                rotate(&mut vectors[i * size..(i + 2) * size], size, s, c);
            }
            if !split {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
    Ok(())
}

fn rotate(rows: &mut [f64], size: usize, s: f64, c: f64) {
    let (first, second) = rows.split_at_mut(size);
    for (a, b) in first.iter_mut().zip(second) {
        (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::algebra::random::Random;
    use crate::models::watch::Unwatched;

    #[test]
    fn vectors_and_values_give_the_matrix_back() {
        for size in [1, 2, 3, 30] {
            let mut random = Random::new(7, size as u64);
            let mut matrix = vec![0.0; size * size];
            for i in 0..size {
                for j in 0..=i {
                    // Every third row is empty: zero eigenvalues and equal ones.
                    let value = if i % 3 == 2 || j % 3 == 2 { 0.0 } else { random.unit() - 0.3 };
                    (matrix[i * size + j], matrix[j * size + i]) = (value, value);
                }
            }
            let Eigen { values, vectors } = symmetric(matrix.clone(), size, &Unwatched).unwrap();
            assert!(values.is_sorted_by(|a, b| a >= b));
            for i in 0..size {
                for j in 0..size {
                    let column = |k: usize, j: usize| vectors[k * size + j];
                    let back: f64 = (0..size).map(|k| column(k, i) * values[k] * column(k, j)).sum();
                    assert!((back - matrix[i * size + j]).abs() < 1e-13, "{size} {i} {j}");
                    let along = dot(&vectors[i * size..(i + 1) * size], &vectors[j * size..(j + 1) * size]);
                    assert!((along - f64::from(u8::from(i == j))).abs() < 1e-13);
                }
            }
        }
    }
}
