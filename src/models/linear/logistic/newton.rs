//! Newton's method for few coefficients; with absolute values, each step is the minimum of the quadratic model by coordinate descent.

use super::super::coordinate::Quadratic;
use super::problem::{Curved, Problem};
use super::{End, LinearOptions};
use crate::models::algebra::cholesky::Cholesky;
use crate::models::algebra::{add_scaled, dot};
use crate::models::refusal::Refusal;
use crate::models::watch::Watch;

const COLLINEAR: f64 = 1e-11;
const HALVINGS_MAX: usize = 40;

/// From `at` until no element of the gradient is larger than the tolerance. `shown` is told each iteration and ends the search by `false`.
pub(super) fn newton(
    problem: &Problem<'_>,
    options: &LinearOptions,
    mut at: Vec<f64>,
    shown: &mut dyn FnMut(usize, f64) -> bool,
    watch: &dyn Watch,
) -> Result<End, Refusal> {
    let absolute = problem.absolute();
    let total = |at: &[f64], loss: f64| loss + at.iter().zip(&absolute).map(|(x, l1)| l1 * x.abs()).sum::<f64>();
    let mut curved = problem.curved(&at)?;
    let mut loss = total(&at, curved.loss);
    let (mut iterations, mut converged) = (0, false);
    while iterations < options.iterations_max {
        let slope = slope(&at, &curved.gradient, &absolute);
        converged = slope.iter().all(|slope| slope.abs() <= options.tolerance);
        if converged {
            break;
        }
        let step = if options.l1 > 0.0 {
            quadratic_step(&at, &curved, &absolute, options.tolerance, watch)?
        } else {
            let cholesky = Cholesky::factorise(curved.hessian.clone(), at.len(), COLLINEAR, watch)?;
            cholesky.solve(&curved.gradient).iter().map(|value| -value).collect()
        };
        let ahead: Vec<f64> = at.iter().zip(&step).map(|(x, d)| x + d).collect();
        let descent = dot(&curved.gradient, &step) + total(&ahead, 0.0) - total(&at, 0.0);
        let Some((next, found, value)) = line(problem, &at, &step, (loss, descent), &total)? else { break };
        (at, curved, loss) = (next, found, value);
        iterations += 1;
        if !shown(iterations, loss) {
            converged = true;
            break;
        }
    }
    let separated = !options.penalised() && unsettled(problem, &at, &curved, options, watch)?;
    Ok(End { at, loss, iterations, converged, separated })
}

fn slope(at: &[f64], gradient: &[f64], absolute: &[f64]) -> Vec<f64> {
    let slope = |((x, g), l1): ((&f64, &f64), &f64)| {
        if *x != 0.0 { g + l1 * x.signum() } else { g.signum() * (g.abs() - l1).max(0.0) }
    };
    at.iter().zip(gradient).zip(absolute).map(slope).collect()
}

/// The step to the minimum of the quadratic model with absolute values.
fn quadratic_step(
    at: &[f64],
    curved: &Curved,
    absolute: &[f64],
    tolerance: f64,
    watch: &dyn Watch,
) -> Result<Vec<f64>, Refusal> {
    let size = at.len();
    let rows = curved.hessian.chunks_exact(size);
    let linear: Vec<f64> = rows.zip(&curved.gradient).map(|(row, slope)| dot(row, at) - slope).collect();
    let none = vec![0.0; size];
    let quadratic = Quadratic { matrix: &curved.hessian, linear: &linear, l1: absolute, l2: &none };
    let mut x = at.to_vec();
    quadratic.descend(&mut x, tolerance * 1e-2, 2000, watch)?;
    Ok(x.iter().zip(at).map(|(x, at)| x - at).collect())
}

type Found = Option<(Vec<f64>, Curved, f64)>;

/// The first of the steps 1, ½, ¼, … that lowers the loss enough.
fn line(
    problem: &Problem<'_>,
    at: &[f64],
    step: &[f64],
    (loss, descent): (f64, f64),
    total: &dyn Fn(&[f64], f64) -> f64,
) -> Result<Found, Refusal> {
    let rounding = 4.0 * f64::EPSILON * loss.abs();
    let mut length = 1.0;
    for _ in 0..HALVINGS_MAX {
        let mut next = at.to_vec();
        add_scaled(&mut next, length, step);
        let curved = problem.curved(&next)?;
        let value = total(&next, curved.loss);
        if value <= loss + 1e-4 * length * descent.min(0.0) + rounding {
            return Ok((next != at).then_some((next, curved, value)));
        }
        length *= 0.5;
    }
    Ok(None)
}

/// Whether a coefficient is large but the rows say next to nothing about it: it was on its way to infinity.
fn unsettled(
    problem: &Problem<'_>,
    at: &[f64],
    curved: &Curved,
    options: &LinearOptions,
    watch: &dyn Watch,
) -> Result<bool, Refusal> {
    let cholesky = Cholesky::factorise(curved.hessian.clone(), problem.size(), COLLINEAR, watch)?;
    let inverse = cholesky.inverse_diagonal(watch)?;
    let first = usize::from(!options.intercept);
    Ok(at.iter().zip(inverse).skip(first).any(|(x, inverse)| x.abs() > 5.0 && inverse / problem.weight() > x * x))
}
