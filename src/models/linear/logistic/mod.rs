//! Logistic regression with two or more classes.
//!
//! Two classes have one row of coefficients (for the second class); more have one a class, whose sum over the classes is 0 wherever the
//! penalty leaves it free, as scikit-learn's. Few coefficients: Newton's method, with l1 as a sequence of quadratic problems
//! (glmnet's way). More: L-BFGS, with l1 in its orthant-wise form, and Newton's method for the last steps; very many: L-BFGS alone.

mod model;
mod newton;
mod problem;

pub use model::{ClassWeight, LogisticModel};

use std::borrow::Cow;

use newton::newton;
use problem::Problem;

use super::LinearOptions;
use crate::models::algebra::minimise::{Limits, minimise};
use crate::models::encoder::{Encoder, Features, Pass, check_weights};
use crate::models::refusal::Refusal;
use crate::models::watch::Watch;

/// Coefficients (with intercepts, of all classes) up to which Newton's method makes all steps, and up to which it makes the last ones.
const NEWTON_MAX: usize = 300;
const NEWTON_LAST_MAX: usize = 1500;
/// The gradient's largest element where the last steps begin.
const NEARLY: f64 = 1e-5;
/// The intercept of a class without rows: its probability is 0 whatever the others' scores are, and it is a number that a file can hold.
const ABSENT: f64 = -1e300;
/// A mean loss this small is that of separated classes.
const SEPARATED_LOSS: f64 = 1e-6;

/// Where a search ended.
struct End {
    at: Vec<f64>,
    loss: f64,
    iterations: usize,
    converged: bool,
    separated: bool,
}

impl LogisticModel {
    /// Fits `labels`, each below `classes`. Classes without a row that has a positive weight get the probability 0: such rows may all be
    /// among those held out.
    ///
    /// Classes that the features separate have no finite optimum without penalty: the search ends where the loss is next to nothing, with a
    /// note. One pass over the rows for each iteration; memory some
    /// 8 · coefficients² bytes a segment up to 1,500 coefficients, little above.
    /// Coefficients do not depend on `threads`. Errors: no rows, one class, bad weights, what [`Encoder::fit`] refuses, `Stopped`.
    pub fn fit(
        features: &Features<'_>,
        names: &[String],
        labels: &[u32],
        classes: usize,
        weights: Option<&[f64]>,
        options: &LinearOptions,
        watch: &dyn Watch,
    ) -> Result<Self, Refusal> {
        options.check()?;
        check_weights(weights, features.rows)?;
        let present = present(labels, classes, weights, features.rows)?;
        let encoder = Encoder::fit(features, names, weights, &options.encoder(), watch)?;
        let design = encoder.bind(features)?;
        let rows = if classes == 2 { 1 } else { present.len() };
        let labels = among(labels, &present, classes);
        let (l1, l2) = options.penalties(&encoder);
        let pass = Pass { threads: options.threads, watch };
        let problem = Problem::new(&design, &labels, weights, rows, options.intercept, (l1, l2), pass);
        let end = search(&problem, options, watch)?;
        let mut notes = encoder.notes();
        if end.separated {
            notes.push(format!(
                "the features separate the classes: without l2_reg the coefficients have no finite optimum; these are after {} iterations",
                end.iterations
            ));
        } else if !end.converged {
            notes.push(format!("the coefficients still changed after {} iterations", end.iterations));
        }
        if end.at.iter().any(|value| !value.is_finite()) {
            return Err(Refusal::Overflow("a coefficient"));
        }
        let (mut intercepts, mut coefficients) = problem.split(end.at);
        if present.len() < classes {
            let width = encoder.width();
            let all = (0..classes).map(|class| match present.binary_search(&class) {
                Ok(place) => (intercepts[place], std::mem::take(&mut coefficients[place])),
                Err(_) => (ABSENT, vec![0.0; width]),
            });
            (intercepts, coefficients) = all.collect();
        }
        let means = design.means(weights, pass)?;
        Ok(Self {
            means,
            encoder,
            classes,
            has_intercept: options.intercept,
            intercepts,
            coefficients,
            loss: end.loss,
            iterations: end.iterations,
            converged: end.converged,
            separated: end.separated,
            notes,
        })
    }
}

impl LogisticModel {
    /// The most memory that second derivatives of so many columns take.
    pub fn curvature_bytes(columns: usize, classes: usize) -> usize {
        let rows = if classes == 2 { 1 } else { classes };
        3 * 8 * (rows * (columns + 1)).min(NEWTON_LAST_MAX.max(NEWTON_MAX)).pow(2)
    }
}

/// The classes that have rows, ascending: two at least.
fn present(labels: &[u32], classes: usize, weights: Option<&[f64]>, rows: usize) -> Result<Vec<usize>, Refusal> {
    if rows == 0 {
        return Err(Refusal::NoRows);
    }
    if labels.len() != rows {
        return Err(Refusal::Mismatch(format!("{rows} labels")));
    }
    let mut seen = vec![false; classes];
    for (row, label) in labels.iter().enumerate() {
        let place = seen.get_mut(*label as usize).ok_or(Refusal::BadLabel { row })?;
        *place |= weights.is_none_or(|weights| weights[row] > 0.0);
    }
    let present: Vec<usize> = (0..classes).filter(|class| seen[*class]).collect();
    if present.len() < 2 { Err(Refusal::OneClass) } else { Ok(present) }
}

/// The labels as places among those present.
fn among<'a>(labels: &'a [u32], present: &[usize], classes: usize) -> Cow<'a, [u32]> {
    if present.len() == classes {
        return labels.into();
    }
    // Rows of other classes have no weight: it does not matter where they are.
    let place = |label: &u32| present.binary_search(&(*label as usize)).unwrap_or(0) as u32;
    labels.iter().map(place).collect()
}

fn search(problem: &Problem<'_>, options: &LinearOptions, watch: &dyn Watch) -> Result<End, Refusal> {
    let free = !options.penalised();
    let mut shown = |iteration: usize, loss: f64| {
        watch.progress(iteration, options.iterations_max, Some(loss));
        // Nothing but rounding is left to gain.
        !(free && loss < SEPARATED_LOSS * 1e-2)
    };
    let start = vec![0.0; problem.size()];
    let mut before = 0;
    let mut end = if problem.size() <= NEWTON_MAX {
        newton(problem, options, start, &mut shown, watch)?
    } else {
        let last = problem.size() <= NEWTON_LAST_MAX && options.tolerance < NEARLY;
        let gradient_max = if last { NEARLY } else { options.tolerance };
        let limits = Limits { iterations_max: options.iterations_max, gradient_max };
        let mut function = |at: &[f64], gradient: &mut [f64]| problem.loss(at, gradient);
        let absolute = if options.l1 > 0.0 { problem.absolute() } else { Vec::new() };
        let each = &mut |iteration: usize, _: &[f64], loss: f64| Ok(shown(iteration, loss));
        let end = minimise(start, &absolute, limits, &mut function, each)?;
        // Separated classes have no last steps.
        if last && end.converged && !(free && end.value < SEPARATED_LOSS) {
            before = end.iterations;
            let rest = LinearOptions { iterations_max: options.iterations_max.saturating_sub(before), ..*options };
            newton(problem, &rest, end.at, &mut |iteration, loss| shown(before + iteration, loss), watch)?
        } else {
            End { at: end.at, loss: end.value, iterations: end.iterations, converged: end.converged, separated: false }
        }
    };
    end.iterations += before;
    end.separated |= free && end.loss < SEPARATED_LOSS;
    if end.iterations == 0 {
        // Where it starts there is nothing to gain: that is known too.
        watch.progress(0, options.iterations_max, Some(end.loss));
    }
    Ok(end)
}
