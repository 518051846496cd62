//! Least squares with l1 and l2 penalties: from X′X, then corrected once from the rows themselves.

use super::LinearOptions;
use super::coordinate::Quadratic;
use super::model::{LinearModel, Statistics};
use crate::models::algebra::cholesky::Cholesky;
use crate::models::algebra::dot;
use crate::models::encoder::{Block, Design, Encoder, Features, Gram, Moments, Pass, check_weights, weights_of};
use crate::models::notes::listed;
use crate::models::refusal::Refusal;
use crate::models::watch::Watch;

/// What earlier columns must leave of a column's sum of squares: products of 64 bits know no less.
const COLLINEAR: f64 = 1e-11;

impl LinearModel {
    /// Fits `labels` (finite). Without penalties this is ordinary (weighted) least squares with standard errors as statsmodels' `OLS` and
    /// `WLS`; a column that earlier ones determine gets the coefficient 0 and no error, with a note (as R's `lm`).
    ///
    /// Two passes over the rows; memory [`moment_bytes`](crate::models::encoder::moment_bytes). Coefficients do not depend on `threads`.
    /// Errors: no rows, bad labels or weights, what [`Encoder::fit`] refuses, `Stopped`.
    pub fn fit(
        features: &Features<'_>,
        names: &[String],
        labels: &[f64],
        weights: Option<&[f64]>,
        options: &LinearOptions,
        watch: &dyn Watch,
    ) -> Result<Self, Refusal> {
        options.check()?;
        check_labels(labels, features.rows)?;
        check_weights(weights, features.rows)?;
        let encoder = Encoder::fit(features, names, weights, &options.encoder(), watch)?;
        let design = encoder.bind(features)?;
        let pass = Pass { threads: options.threads, watch };
        let target = Target::new(labels, weights, options.intercept);
        let sums = target.sums(&design, pass)?;
        watch.progress(1, 2, None);
        let solution = solve(&encoder, sums, options, watch)?;
        let rest = target.rest(&design, &solution, pass)?;
        let means = design.means(weights, pass)?;
        let model = finish((encoder, means), &target, solution, rest, options, watch)?;
        watch.progress(2, 2, Some(model.loss));
        Ok(model)
    }
}

fn check_labels(labels: &[f64], rows: usize) -> Result<(), Refusal> {
    if labels.len() != rows {
        return Err(Refusal::Mismatch(format!("{rows} labels")));
    }
    match labels.iter().position(|label| !label.is_finite()) {
        Some(row) => Err(Refusal::BadLabel { row }),
        None => Ok(()),
    }
}

struct Target<'a> {
    labels: &'a [f64],
    weights: Option<&'a [f64]>,
    intercept: bool,
    /// Subtracted from labels before they are multiplied: 0 without an intercept.
    mean: f64,
    rows: usize,
}

struct Sums {
    moments: Moments,
    /// X′W(y - mean).
    with_label: Vec<f64>,
    /// Σw (y - mean)².
    label: f64,
}

/// Coefficients and what is needed to correct them.
struct Solution {
    coefficients: Vec<f64>,
    l2: Vec<f64>,
    weight: f64,
    /// Weighted means of the encoded columns; zeros without an intercept.
    means: Vec<f64>,
    label: f64,
    /// Without l1.
    cholesky: Option<Cholesky>,
    iterations: usize,
    converged: bool,
}

/// Sums of the residuals.
struct Rest {
    gradient: Vec<f64>,
    sum: f64,
    squares: f64,
}

impl<'a> Target<'a> {
    fn new(labels: &'a [f64], weights: Option<&'a [f64]>, intercept: bool) -> Self {
        let (mut sum, mut weight, mut rows) = (0.0, 0.0, 0);
        for (row, label) in labels.iter().enumerate() {
            let w = weights.map_or(1.0, |weights| weights[row]);
            sum += w * label;
            weight += w;
            rows += usize::from(w > 0.0);
        }
        Self { labels, weights, intercept, mean: if intercept { sum / weight } else { 0.0 }, rows }
    }

    fn sums(&self, design: &Design<'_>, pass: Pass<'_>) -> Result<Sums, Refusal> {
        let width = design.width();
        let new = || (Gram::new(design), vec![0.0; width], 0.0);
        let parts = pass.fold(design, Gram::bytes(design), new, |(gram, with_label, label), block, range| {
            let weights = weights_of(self.weights, range.clone());
            gram.add(block, &weights);
            let away: Vec<f64> = self.labels[range].iter().map(|value| value - self.mean).collect();
            *label += away.iter().zip(&*weights).map(|(away, weight)| weight * away * away).sum::<f64>();
            let weighted: Vec<f64> = away.iter().zip(&*weights).map(|(away, weight)| weight * away).collect();
            block.add_combination(&weighted, with_label);
            Ok(())
        })?;
        let (mut with_label, mut label) = (vec![0.0; width], 0.0);
        let mut grams = Vec::with_capacity(parts.len());
        for (gram, part, square) in parts {
            grams.push(gram);
            with_label.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
            label += square;
        }
        let gram = Gram::total(grams).unwrap_or_else(|| Gram::new(design));
        Ok(Sums { moments: gram.finish(), with_label, label })
    }

    /// The residuals' products with the columns, in one pass.
    fn rest(&self, design: &Design<'_>, solution: &Solution, pass: Pass<'_>) -> Result<Rest, Refusal> {
        let width = design.width();
        let start = -dot(&solution.means, &solution.coefficients);
        let new = || Rest { gradient: vec![0.0; width], sum: 0.0, squares: 0.0 };
        let add = |rest: &mut Rest, block: &Block, range: std::ops::Range<usize>| {
            let weights = weights_of(self.weights, range.clone());
            let mut fitted = vec![start; range.len()];
            block.add_products(&solution.coefficients, &mut fitted);
            let labels = &self.labels[range];
            for ((value, label), weight) in fitted.iter_mut().zip(labels).zip(&*weights) {
                let away = label - self.mean - *value;
                *value = weight * away;
                rest.sum += *value;
                rest.squares += *value * away;
            }
            block.add_combination(&fitted, &mut rest.gradient);
            Ok(())
        };
        let parts = pass.fold(design, 8 * width, new, add)?;
        Ok(parts.into_iter().fold(new(), |mut total, part| {
            total.gradient.iter_mut().zip(&part.gradient).for_each(|(sum, value)| *sum += value);
            total.sum += part.sum;
            total.squares += part.squares;
            total
        }))
    }
}

fn solve(encoder: &Encoder, mut sums: Sums, options: &LinearOptions, watch: &dyn Watch) -> Result<Solution, Refusal> {
    let weight = sums.moments.weight;
    let width = sums.with_label.len();
    let means = if options.intercept {
        sums.moments.centre();
        sums.moments.sums.iter().map(|sum| sum / weight).collect()
    } else {
        vec![0.0; width]
    };
    let mut matrix = sums.moments.products;
    if !(sums.label.is_finite() && matrix.iter().chain(&sums.with_label).all(|value| value.is_finite())) {
        return Err(Refusal::Overflow("a sum of products"));
    }
    let (l1, l2) = options.penalties(encoder);
    let mut solution = Solution {
        coefficients: vec![0.0; width],
        l2,
        weight,
        means,
        label: sums.label,
        cholesky: None,
        iterations: 1,
        converged: true,
    };
    if options.l1 > 0.0 {
        let quadratic = Quadratic { matrix: &matrix, linear: &sums.with_label, l1: &l1, l2: &solution.l2 };
        let change_max = options.tolerance * sums.label.sqrt();
        let end = quadratic.descend(&mut solution.coefficients, change_max, options.iterations_max.max(1), watch)?;
        (solution.iterations, solution.converged) = (end.rounds, end.converged);
    } else {
        (0..width).for_each(|j| matrix[j * width + j] += solution.l2[j]);
        let cholesky = Cholesky::factorise(matrix, width, COLLINEAR, watch)?;
        solution.coefficients = cholesky.solve(&sums.with_label);
        solution.cholesky = Some(cholesky);
    }
    Ok(solution)
}

fn finish(
    (encoder, means): (Encoder, Vec<f64>),
    target: &Target<'_>,
    mut solution: Solution,
    mut rest: Rest,
    options: &LinearOptions,
    watch: &dyn Watch,
) -> Result<LinearModel, Refusal> {
    let mut notes = encoder.notes();
    let mut dropped = vec![false; encoder.width()];
    let mut statistics = None;
    if let Some(cholesky) = &solution.cholesky {
        // One step of refinement: residuals of the rows are exact where X′X has lost digits.
        for (j, gradient) in rest.gradient.iter_mut().enumerate() {
            *gradient -= solution.means[j] * rest.sum + solution.l2[j] * solution.coefficients[j];
        }
        let correction = cholesky.solve(&rest.gradient);
        solution.coefficients.iter_mut().zip(&correction).for_each(|(value, change)| *value += change);
        rest.squares = (rest.squares - dot(&correction, &rest.gradient)).max(0.0);
        dropped = cholesky.kept().iter().map(|kept| !kept).collect();
        let features = encoder.feature_of_columns();
        let mut following: Vec<usize> =
            features.iter().zip(&dropped).filter(|(_, dropped)| **dropped).map(|(feature, _)| *feature).collect();
        following.sort_unstable();
        following.dedup();
        if !following.is_empty() {
            let names: Vec<&str> = following.iter().map(|feature| encoder.features()[*feature].name.as_str()).collect();
            notes.push(format!("columns that follow from earlier ones have no weight, of features {}", listed(&names)));
        }
        if !options.penalised() {
            let parts = solution.parts(rest.squares);
            statistics = Statistics::new(&encoder, target.rows, &parts, cholesky, options, watch)?;
            if statistics.is_none() {
                notes.push("there are no standard errors: there are not more rows than weights".to_owned());
            }
        }
    }
    if !solution.converged {
        notes.push(format!("the coefficients still changed after {} iterations", solution.iterations));
    }
    if solution.coefficients.iter().any(|value| !value.is_finite()) {
        return Err(Refusal::Overflow("a coefficient"));
    }
    Ok(LinearModel {
        intercept: target.mean - dot(&solution.means, &solution.coefficients),
        has_intercept: target.intercept,
        coefficients: solution.coefficients,
        means,
        dropped,
        statistics,
        loss: rest.squares / solution.weight,
        iterations: solution.iterations,
        converged: solution.converged,
        notes,
        encoder,
    })
}

/// What the statistics are made from.
pub(super) struct Parts<'a> {
    pub(super) means: &'a [f64],
    pub(super) weight: f64,
    /// Σw (y - mean)² before and after the fit.
    pub(super) label: f64,
    pub(super) squares: f64,
}

impl Solution {
    fn parts(&self, squares: f64) -> Parts<'_> {
        Parts { means: &self.means, weight: self.weight, label: self.label, squares }
    }
}
