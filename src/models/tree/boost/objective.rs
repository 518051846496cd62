//! What boosting minimises: gradients and hessians by row, starting values, losses.

use super::exp::exp;
use super::histogram::pack;

/// The loss that trees are boosted against. LightGBM's names: `regression`, `quantile`, `binary`, `multiclass`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Objective {
    /// Squared error of a number.
    Squared,
    /// The pinball loss of a number's quantile `alpha`, in `(0, 1)`.
    Quantile { alpha: f64 },
    /// Log loss of two classes; labels are 0 and 1.
    Logistic,
    /// Log loss of several classes; labels are `0..classes`.
    Softmax { classes: usize },
}

/// From real gradients to whole numbers: multiply by these.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scale {
    pub(super) gradient: f32,
    pub(super) hessian: f32,
}

/// Sums over rows of one output: of the absolute gradients and of the hessians, real and rounded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) gradient: f64,
    pub(super) hessian: f64,
    pub(super) gradient_units: u64,
    pub(super) hessian_units: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.gradient += other.gradient;
        self.hessian += other.hessian;
        self.gradient_units += other.gradient_units;
        self.hessian_units += other.hessian_units;
    }
}

/// Rows worked on together, so that loops over them become vector instructions.
pub(super) const ROWS: usize = 256;

impl Objective {
    /// Trees of an iteration, and outputs.
    pub(super) fn outputs(self) -> usize {
        if let Self::Softmax { classes } = self { classes } else { 1 }
    }

    /// Writes the packed gradients of up to [`ROWS`] rows: `scores` and `packed` by output, `labels` and `weights` by row.
    pub(super) fn gradients(
        self,
        scores: &[&[f64]],
        labels: &[f64],
        weights: Option<&[f64]>,
        scales: &[Scale],
        packed: &mut [&mut [u64]],
        totals: &mut [Totals],
    ) {
        let rows = labels.len().min(ROWS);
        let mut weight = [1.0_f32; ROWS];
        if let Some(weights) = weights {
            weight.iter_mut().zip(weights).for_each(|(weight, &given)| *weight = given as f32);
        }
        let (mut gradient, mut hessian) = ([0.0_f32; ROWS], [1.0_f32; ROWS]);
        let mut greatest = [0.0_f32; ROWS];
        let mut sum = [0.0_f32; ROWS];
        if matches!(self, Self::Softmax { .. }) {
            greatest.fill(f32::NEG_INFINITY);
            for scores in scores {
                greatest.iter_mut().zip(*scores).for_each(|(greatest, &score)| *greatest = greatest.max(score as f32));
            }
            for scores in scores {
                for row in 0..rows {
                    sum[row] += exp(scores[row] as f32 - greatest[row]);
                }
            }
        }
        for (output, scores) in scores.iter().enumerate() {
            let scores = &scores[..rows];
            match self {
                Self::Squared => {
                    for row in 0..rows {
                        gradient[row] = (scores[row] - labels[row]) as f32;
                    }
                }
                Self::Quantile { alpha } => {
                    for row in 0..rows {
                        gradient[row] = if scores[row] > labels[row] { 1.0 - alpha as f32 } else { -alpha as f32 };
                    }
                }
                Self::Logistic => {
                    for row in 0..rows {
                        let share = 1.0 / (1.0 + exp(-scores[row] as f32));
                        gradient[row] = share - labels[row] as f32;
                        hessian[row] = share * (1.0 - share);
                    }
                }
                Self::Softmax { classes } => {
                    let factor = classes as f32 / (classes as f32 - 1.0);
                    for row in 0..rows {
                        let share = exp(scores[row] as f32 - greatest[row]) / sum[row];
                        gradient[row] = share - if labels[row] == output as f64 { 1.0 } else { 0.0 };
                        hessian[row] = factor * share * (1.0 - share);
                    }
                }
            }
            quantise(&gradient[..rows], &hessian[..rows], &weight, scales[output], packed[output], &mut totals[output]);
        }
    }

    /// Where all rows start. Weights are not all zero.
    pub(super) fn start(self, labels: &[f64], weights: Option<&[f64]>) -> Vec<f64> {
        let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
        let total: f64 = (0..labels.len()).map(weight).sum();
        // Of each class, in one pass: a label may have a thousand of them.
        let shares = |classes: usize| {
            let mut sums = vec![0.0; classes];
            for (row, label) in labels.iter().enumerate() {
                if let Some(sum) = sums.get_mut(*label as usize) {
                    *sum += weight(row);
                }
            }
            sums.into_iter().map(move |sum: f64| (sum / total).clamp(1e-15, 1.0 - 1e-15))
        };
        match self {
            Self::Squared => {
                vec![labels.iter().enumerate().map(|(row, label)| label * (weight(row) / total)).sum()]
            }
            Self::Quantile { alpha } => {
                let mut pairs: Vec<_> = labels.iter().enumerate().map(|(row, &label)| (label, weight(row))).collect();
                vec![quantile(&mut pairs, alpha)]
            }
            Self::Logistic => shares(2).skip(1).map(|share| (share / (1.0 - share)).ln()).collect(),
            Self::Softmax { classes } => shares(classes).map(f64::ln).collect(),
        }
    }

    /// The loss of one row: squared error, pinball loss, log loss.
    pub(super) fn loss(self, scores: &[f64], label: f64) -> f64 {
        match self {
            Self::Squared => (scores[0] - label) * (scores[0] - label),
            Self::Quantile { alpha } => {
                let above = label - scores[0];
                if above >= 0.0 { alpha * above } else { (alpha - 1.0) * above }
            }
            Self::Logistic => {
                // ln(1 + e^-m) without overflow.
                let margin = if label > 0.0 { scores[0] } else { -scores[0] };
                (-margin).max(0.0) + (-margin.abs()).exp().ln_1p()
            }
            Self::Softmax { .. } => {
                let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = scores.iter().map(|score| (score - greatest).exp()).sum();
                greatest + sum.ln() - scores.get(label as usize).copied().unwrap_or(greatest)
            }
        }
    }

    /// The hessian is the row's weight: leaves count rows exactly.
    pub(super) fn is_flat(self) -> bool {
        matches!(self, Self::Squared | Self::Quantile { .. })
    }
}

#[inline(always)]
fn quantise(
    gradient: &[f32],
    hessian: &[f32],
    weight: &[f32; ROWS],
    scale: Scale,
    packed: &mut [u64],
    totals: &mut Totals,
) {
    let rows = gradient.len();
    let (mut whole, mut whole_hessian) = ([0_i32; ROWS], [0_u32; ROWS]);
    let (mut sum, mut sum_hessian) = ([0.0_f64; 8], [0.0_f64; 8]);
    for row in 0..rows {
        let (gradient, hessian) = (gradient[row] * weight[row], hessian[row] * weight[row]);
        sum[row % 8] += f64::from(gradient.abs());
        sum_hessian[row % 8] += f64::from(hessian);
        // A cast saturates; the totals tell. Rounding is by addition: `round` is a call.
        whole[row] = (gradient * scale.gradient + 0.5_f32.copysign(gradient)) as i32;
        // No row without a hessian, unless it has no weight: counts are estimated from it.
        whole_hessian[row] = ((hessian * scale.hessian + 0.5) as u32).max(u32::from(weight[row] > 0.0));
    }
    for row in 0..rows {
        packed[row] = pack(whole[row], whole_hessian[row]);
        totals.gradient_units += u64::from(whole[row].unsigned_abs());
        totals.hessian_units += u64::from(whole_hessian[row]);
    }
    totals.gradient += sum.iter().sum::<f64>();
    totals.hessian += sum_hessian.iter().sum::<f64>();
}

/// The value below which `alpha` of the weight lies, between neighbours in proportion; 0 of nothing. Sorts the (value, weight) pairs.
pub(super) fn quantile(pairs: &mut [(f64, f64)], alpha: f64) -> f64 {
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (Some(first), Some(last)) = (pairs.first(), pairs.last()) else { return 0.0 };
    // Each value stands in the middle of its weight, the first at 0 and the last at 1.
    let total: f64 = pairs.iter().map(|pair| pair.1).sum();
    let span = total - first.1 / 2.0 - last.1 / 2.0;
    let wanted = alpha * span;
    let mut at = 0.0;
    for pair in pairs.windows(2) {
        let step = (pair[0].1 + pair[1].1) / 2.0;
        if at + step >= wanted && step > 0.0 {
            return pair[0].0 + (pair[1].0 - pair[0].0) * ((wanted - at) / step);
        }
        at += step;
    }
    last.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_start_at_the_shares_of_classes() {
        let labels = [0.0, 2.0, 2.0, 1.0];
        let start = Objective::Softmax { classes: 4 }.start(&labels, Some(&[1.0, 1.0, 3.0, 5.0]));
        assert_eq!(start, [0.1_f64, 0.5, 0.4, 1e-15].map(f64::ln));
        assert_eq!(Objective::Logistic.start(&[0.0, 1.0, 1.0, 1.0], None), [3.0_f64.ln()]);
    }
}
