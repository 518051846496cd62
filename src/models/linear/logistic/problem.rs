//! The mean penalised log loss of logistic regression, its gradient and its Hessian, by blocks of rows.

use std::ops::Range;

use crate::models::encoder::{Block, Design, Gram, Pass, weights_of};
use crate::models::refusal::Refusal;

/// A loss over points: for each class (one, when there are two) the intercept, then the coefficients.
pub(super) struct Problem<'a> {
    design: &'a Design<'a>,
    labels: &'a [u32],
    weights: Option<&'a [f64]>,
    /// Rows of coefficients.
    rows: usize,
    intercept: bool,
    /// Of each column, divided by the weight of all rows.
    l1: Vec<f64>,
    l2: Vec<f64>,
    weight: f64,
    pass: Pass<'a>,
}

/// Loss, gradient and Hessian (row-major) at a point.
pub(super) struct Curved {
    pub(super) loss: f64,
    pub(super) gradient: Vec<f64>,
    pub(super) hessian: Vec<f64>,
}

/// Sums over some rows.
struct Part {
    loss: f64,
    gradient: Vec<f64>,
    /// For each pair of classes, first ≤ second.
    grams: Vec<Gram>,
}

impl<'a> Problem<'a> {
    pub(super) fn new(
        design: &'a Design<'a>,
        labels: &'a [u32],
        weights: Option<&'a [f64]>,
        rows: usize,
        intercept: bool,
        (l1, l2): (Vec<f64>, Vec<f64>),
        pass: Pass<'a>,
    ) -> Self {
        let weight = weights.map_or(labels.len() as f64, |weights| weights.iter().sum());
        let mean = |penalties: Vec<f64>| penalties.into_iter().map(|penalty| penalty / weight).collect();
        Self { design, labels, weights, rows, intercept, l1: mean(l1), l2: mean(l2), weight, pass }
    }

    fn stride(&self) -> usize {
        self.design.width() + 1
    }

    /// The number of coefficients of all classes, with intercepts.
    pub(super) fn size(&self) -> usize {
        self.rows * self.stride()
    }

    pub(super) fn weight(&self) -> f64 {
        self.weight
    }

    /// The factors of the absolute values.
    pub(super) fn absolute(&self) -> Vec<f64> {
        (0..self.rows).flat_map(|_| std::iter::once(0.0).chain(self.l1.iter().copied())).collect()
    }

    /// The mean loss with the l2 penalty; fills the gradient.
    pub(super) fn loss(&self, at: &[f64], gradient: &mut [f64]) -> Result<f64, Refusal> {
        let curved = self.evaluate(at, false)?;
        gradient.copy_from_slice(&curved.gradient);
        Ok(curved.loss)
    }

    pub(super) fn curved(&self, at: &[f64]) -> Result<Curved, Refusal> {
        self.evaluate(at, true)
    }

    fn evaluate(&self, at: &[f64], curved: bool) -> Result<Curved, Refusal> {
        let pairs = if curved { self.rows * (self.rows + 1) / 2 } else { 0 };
        let new = || Part {
            loss: 0.0,
            gradient: vec![0.0; self.size()],
            grams: (0..pairs).map(|_| Gram::new(self.design)).collect(),
        };
        let bytes = 8 * self.size() + pairs * Gram::bytes(self.design);
        let add = |part: &mut Part, block: &Block, range: Range<usize>| {
            self.add(at, part, block, range);
            Ok(())
        };
        let parts = self.pass.fold(self.design, bytes, new, add)?;
        let mut loss = 0.0;
        let mut gradient = vec![0.0; self.size()];
        let mut grams: Vec<Vec<Gram>> = (0..pairs).map(|_| Vec::new()).collect();
        for part in parts {
            loss += part.loss;
            gradient.iter_mut().zip(part.gradient).for_each(|(sum, value)| *sum += value);
            grams.iter_mut().zip(part.grams).for_each(|(all, gram)| all.push(gram));
        }
        loss /= self.weight;
        gradient.iter_mut().for_each(|value| *value /= self.weight);
        for (at, gradient) in at.chunks_exact(self.stride()).zip(gradient.chunks_exact_mut(self.stride())) {
            if !self.intercept {
                gradient[0] = 0.0;
            }
            for ((x, slope), l2) in at[1..].iter().zip(&mut gradient[1..]).zip(&self.l2) {
                *slope += l2 * x;
                loss += 0.5 * l2 * x * x;
            }
        }
        let hessian = if curved { self.hessian(grams) } else { Vec::new() };
        Ok(Curved { loss, gradient, hessian })
    }

    fn add(&self, at: &[f64], part: &mut Part, block: &Block, range: Range<usize>) {
        let count = range.len();
        let weights = weights_of(self.weights, range.clone());
        let labels = &self.labels[range];
        let mut scores = vec![0.0; self.rows * count];
        for (scores, at) in scores.chunks_exact_mut(count).zip(at.chunks_exact(self.stride())) {
            scores.fill(at[0]);
            block.add_products(&at[1..], scores);
        }
        part.loss +=
            if self.rows == 1 { one(&mut scores, labels, &weights) } else { several(&mut scores, labels, &weights) };
        // Scores are probabilities now.
        let mut factors = vec![0.0; count];
        let mut grams = part.grams.iter_mut();
        for first in 0..self.rows {
            let p = &scores[first * count..(first + 1) * count];
            for (second, q) in scores.chunks_exact(count).enumerate().skip(first).take(grams.len()) {
                let same = f64::from(u8::from(first == second));
                for (((factor, p), q), weight) in factors.iter_mut().zip(p).zip(q).zip(&*weights) {
                    *factor = weight * p * (same - q);
                }
                if let Some(gram) = grams.next() {
                    gram.add(block, &factors);
                }
            }
            let class = if self.rows == 1 { 1 } else { first };
            for (((factor, p), label), weight) in factors.iter_mut().zip(p).zip(labels).zip(&*weights) {
                *factor = weight * (p - f64::from(u8::from(*label as usize == class)));
            }
            let gradient = &mut part.gradient[first * self.stride()..(first + 1) * self.stride()];
            gradient[0] += factors.iter().sum::<f64>();
            block.add_combination(&factors, &mut gradient[1..]);
        }
    }

    /// The blocks of the pairs of classes, with the l2 penalty, and with what pins the sum over classes where nothing else does.
    fn hessian(&self, grams: Vec<Vec<Gram>>) -> Vec<f64> {
        let (size, stride, width) = (self.size(), self.stride(), self.design.width());
        let mut hessian = vec![0.0; size * size];
        let mut grams = grams.into_iter();
        for first in 0..self.rows {
            for second in first..self.rows {
                let Some(moments) = grams.next().and_then(Gram::total).map(Gram::finish) else { continue };
                let mut set = |i: usize, j: usize, value: f64| {
                    let (i, j) = (first * stride + i, second * stride + j);
                    hessian[i * size + j] = value / self.weight;
                    hessian[j * size + i] = value / self.weight;
                };
                if self.intercept {
                    set(0, 0, moments.weight);
                    for (j, sum) in moments.sums.iter().enumerate() {
                        set(0, j + 1, *sum);
                        set(j + 1, 0, *sum);
                    }
                }
                for i in 0..width {
                    (0..width).for_each(|j| set(i + 1, j + 1, moments.products[i * width + j]));
                }
            }
        }
        for class in 0..self.rows {
            for (j, l2) in self.l2.iter().enumerate() {
                let place = class * stride + j + 1;
                hessian[place * size + place] += l2;
            }
        }
        self.pin(&mut hessian);
        hessian
    }

    /// Adding a number to one coefficient of all classes changes no prediction. A term in the square of their sum, which is 0 at the
    /// optimum, makes the Hessian regular without moving it; absolute values settle all but the intercepts themselves.
    fn pin(&self, hessian: &mut [f64]) {
        let (size, stride) = (self.size(), self.stride());
        let absolute = self.l1.iter().any(|l1| *l1 > 0.0);
        let pinned = if absolute { 1 } else { stride };
        if self.rows == 1 {
            return;
        }
        for j in usize::from(!self.intercept)..pinned {
            let curvature = hessian[j * size + j];
            for a in 0..self.rows {
                for b in 0..self.rows {
                    hessian[(a * stride + j) * size + b * stride + j] += curvature;
                }
            }
        }
    }

    /// Intercepts and coefficients by class; intercepts of several classes have the sum 0.
    pub(super) fn split(&self, at: Vec<f64>) -> (Vec<f64>, Vec<Vec<f64>>) {
        let mut intercepts: Vec<f64> = at.chunks_exact(self.stride()).map(|row| row[0]).collect();
        if self.rows > 1 {
            let mean = intercepts.iter().sum::<f64>() / self.rows as f64;
            intercepts.iter_mut().for_each(|value| *value -= mean);
        }
        (intercepts, at.chunks_exact(self.stride()).map(|row| row[1..].to_vec()).collect())
    }
}

/// Turns the scores of the second class into its probabilities; returns the weighted loss.
fn one(scores: &mut [f64], labels: &[u32], weights: &[f64]) -> f64 {
    let mut loss = 0.0;
    for ((score, label), weight) in scores.iter_mut().zip(labels).zip(weights) {
        let small = (-score.abs()).exp();
        let wrong = if (*label == 1) == (*score > 0.0) { 0.0 } else { score.abs() };
        loss += weight * (wrong + small.ln_1p());
        *score = if *score > 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
    }
    loss
}

/// Turns the scores of all classes (class by class) into probabilities; returns the weighted loss.
fn several(scores: &mut [f64], labels: &[u32], weights: &[f64]) -> f64 {
    let count = labels.len();
    let mut loss = 0.0;
    for (row, (label, weight)) in labels.iter().zip(weights).enumerate() {
        let places = (row..scores.len()).step_by(count);
        let largest = places.clone().map(|place| scores[place]).fold(f64::NEG_INFINITY, f64::max);
        let own = scores.get(*label as usize * count + row).copied().unwrap_or(largest) - largest;
        let mut sum = 0.0;
        for place in places.clone() {
            scores[place] = (scores[place] - largest).exp();
            sum += scores[place];
        }
        places.for_each(|place| scores[place] /= sum);
        loss += weight * (sum.ln() - own);
    }
    loss
}
