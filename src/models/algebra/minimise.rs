//! Minimises a smooth function, optionally with a sum of absolute values: L-BFGS (Nocedal and Wright, 7.2) with weak Wolfe steps, and its
//! orthant-wise form for the absolute values (Andrew and Gao 2007).

use super::{add_scaled, dot};
use crate::models::refusal::Refusal;

const MEMORY: usize = 12;
const STEPS_MAX: usize = 50;
/// Where rounding hides any descent, a gradient this much larger than asked for is small enough.
const STALLED: f64 = 1e4;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub iterations_max: usize,
    /// Converged when no element of the (pseudo-)gradient is larger.
    pub gradient_max: f64,
}

#[derive(Clone, Debug)]
pub struct Minimum {
    pub at: Vec<f64>,
    /// With the absolute values.
    pub value: f64,
    pub iterations: usize,
    pub converged: bool,
}

/// The function: fills the gradient, returns the value; not finite where it is not defined.
pub type Function<'a> = dyn FnMut(&[f64], &mut [f64]) -> Result<f64, Refusal> + 'a;
/// Called after each iteration with its number and value; `false` ends the search there.
pub type Each<'a> = dyn FnMut(usize, &[f64], f64) -> Result<bool, Refusal> + 'a;

struct Point {
    x: Vec<f64>,
    gradient: Vec<f64>,
    value: f64,
}

/// Minimises `function(x) + Σ absolute[i] |x[i]|` from `start`; `absolute` is empty or as long as `start`.
pub fn minimise(
    start: Vec<f64>,
    absolute: &[f64],
    limits: Limits,
    function: &mut Function<'_>,
    each: &mut Each<'_>,
) -> Result<Minimum, Refusal> {
    let mut point = evaluate(start, absolute, function)?;
    if !point.value.is_finite() {
        return Err(Refusal::Overflow("the loss at the start"));
    }
    let mut memory = Memory::default();
    let mut iterations = 0;
    let mut converged = false;
    while iterations < limits.iterations_max {
        let slope = pseudo_gradient(&point, absolute);
        converged = slope.iter().all(|value| value.abs() <= limits.gradient_max);
        if converged {
            break;
        }
        let mut direction = memory.direction(&slope);
        if !absolute.is_empty() {
            for ((value, slope), absolute) in direction.iter_mut().zip(&slope).zip(absolute) {
                if *absolute > 0.0 && *value * slope >= 0.0 {
                    *value = 0.0;
                }
            }
        }
        let mut found = step(&point, &direction, &slope, absolute, memory.is_empty(), function)?;
        if found.is_none() && !memory.is_empty() {
            // The curvature misled: once more along the gradient.
            memory = Memory::default();
            direction = slope.iter().map(|value| -value).collect();
            found = step(&point, &direction, &slope, absolute, true, function)?;
        }
        let Some(next) = found else {
            converged = slope.iter().all(|value| value.abs() <= STALLED * limits.gradient_max);
            break;
        };
        memory.add(&point, &next);
        point = next;
        iterations += 1;
        if !each(iterations, &point.x, point.value)? {
            break;
        }
    }
    Ok(Minimum { value: point.value, at: point.x, iterations, converged })
}

fn evaluate(x: Vec<f64>, absolute: &[f64], function: &mut Function<'_>) -> Result<Point, Refusal> {
    let mut gradient = vec![0.0; x.len()];
    let value = function(&x, &mut gradient)? + x.iter().zip(absolute).map(|(x, factor)| factor * x.abs()).sum::<f64>();
    Ok(Point { x, gradient, value })
}

fn pseudo_gradient(point: &Point, absolute: &[f64]) -> Vec<f64> {
    let mut slope = point.gradient.clone();
    for ((slope, x), factor) in slope.iter_mut().zip(&point.x).zip(absolute) {
        *slope =
            if *x != 0.0 { *slope + factor * x.signum() } else { slope.signum() * (slope.abs() - factor).max(0.0) };
    }
    slope
}

/// A point that is enough lower along `direction`, if rounding lets one be seen.
fn step(
    from: &Point,
    direction: &[f64],
    slope: &[f64],
    absolute: &[f64],
    first: bool,
    function: &mut Function<'_>,
) -> Result<Option<Point>, Refusal> {
    let descent = dot(direction, slope);
    if descent.is_nan() || descent >= 0.0 {
        return Ok(None);
    }
    let mut length = if first { 1.0 / dot(slope, slope).sqrt().max(1.0) } else { 1.0 };
    let (mut low, mut high) = (0.0, f64::INFINITY);
    // Sums of many rows are right to about this; a rise within it is no rise.
    let rounding = 4.0 * f64::EPSILON * from.value.abs();
    for _ in 0..STEPS_MAX {
        let mut x = from.x.clone();
        add_scaled(&mut x, length, direction);
        for (index, factor) in absolute.iter().enumerate() {
            let orthant = if from.x[index] != 0.0 { from.x[index] } else { -slope[index] };
            if *factor > 0.0 && x[index] * orthant <= 0.0 {
                x[index] = 0.0;
            }
        }
        let next = evaluate(x, absolute, function)?;
        let low_enough = next.value <= from.value + 1e-4 * length * descent + rounding;
        if !(low_enough && next.gradient.iter().all(|value| value.is_finite())) {
            high = length;
        } else if absolute.is_empty() && dot(&next.gradient, direction) < 0.9 * descent {
            low = length;
        } else {
            return Ok((next.x != from.x).then_some(next));
        }
        length = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * low };
    }
    Ok(None)
}

/// The last steps and changes of the gradient.
#[derive(Default)]
struct Memory(std::collections::VecDeque<(Vec<f64>, Vec<f64>, f64)>);

impl Memory {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, from: &Point, to: &Point) {
        let step: Vec<f64> = to.x.iter().zip(&from.x).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = to.gradient.iter().zip(&from.gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&step, &change);
        if curvature > 1e-14 * dot(&change, &change).sqrt() * dot(&step, &step).sqrt() {
            if self.0.len() == MEMORY {
                self.0.pop_front();
            }
            self.0.push_back((step, change, 1.0 / curvature));
        }
    }

    /// Minus the approximate inverse Hessian times the gradient.
    fn direction(&self, slope: &[f64]) -> Vec<f64> {
        let mut direction: Vec<f64> = slope.iter().map(|value| -value).collect();
        let mut alongs = Vec::with_capacity(self.0.len());
        for (step, change, inverse) in self.0.iter().rev() {
            let along = inverse * dot(step, &direction);
            add_scaled(&mut direction, -along, change);
            alongs.push(along);
        }
        if let Some((_, change, inverse)) = self.0.back() {
            let scale = 1.0 / (inverse * dot(change, change));
            direction.iter_mut().for_each(|value| *value *= scale);
        }
        for ((step, change, inverse), along) in self.0.iter().zip(alongs.iter().rev()) {
            let back = inverse * dot(change, &direction);
            add_scaled(&mut direction, along - back, step);
        }
        direction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { iterations_max: 500, gradient_max: 1e-9 };

    #[test]
    fn finds_the_end_of_rosenbrocks_valley() {
        let mut valley = |x: &[f64], gradient: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            gradient.copy_from_slice(&[-2.0 * a - 400.0 * x[0] * b, 200.0 * b]);
            Ok(a * a + 100.0 * b * b)
        };
        let end = minimise(vec![-1.2, 1.0], &[], LIMITS, &mut valley, &mut |_, _, _| Ok(true)).unwrap();
        assert!(end.converged && end.at.iter().all(|x| (x - 1.0).abs() < 1e-8), "{end:?}");
    }

    #[test]
    fn absolute_values_give_exact_zeros() {
        // ½ (x - 3)² + ½ (y - 0.5)² + ½ (x - y)² · 0.1 + |x| + |y|: y is 0 and x is 2 / 1.1.
        let mut bowl = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = x[0] - 3.0 + 0.1 * (x[0] - x[1]);
            gradient[1] = x[1] - 0.5 - 0.1 * (x[0] - x[1]);
            Ok(0.5 * ((x[0] - 3.0).powi(2) + (x[1] - 0.5).powi(2) + 0.1 * (x[0] - x[1]).powi(2)))
        };
        let end = minimise(vec![0.0, 1.0], &[1.0, 1.0], LIMITS, &mut bowl, &mut |_, _, _| Ok(true)).unwrap();
        assert!(end.converged && end.at[1] == 0.0 && (end.at[0] - 2.0 / 1.1).abs() < 1e-9, "{end:?}");
    }
}
