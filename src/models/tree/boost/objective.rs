//! What boosting minimises: gradients and hessians by row, starting values, losses.

use super::exp::exp;
use super::histogram::pack;
use crate::models::tree::control::{Pulse, Stopped};
use crate::models::tree::rng::Rng;

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

/// Sums in units stay below.
pub(super) const LIMIT: u64 = 1 << 31;

/// From real gradients to whole numbers: multiply by these.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scale {
    pub(super) gradient: f32,
    pub(super) hessian: f32,
}

/// Where rounding ends, row by row: at the nearest unit, or by chance. A row has few units where rows are many; then the nearest one loses
/// what small values have in common, while chance keeps their sum.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rounding<'a> {
    Nearest,
    /// By a number of each row's own from the output's stream, so that threads change nothing; `first` is the number of the first row.
    Chance {
        streams: &'a [Rng],
        first: usize,
    },
}

impl Rounding<'_> {
    /// What is added to the gradients' and the hessians' sizes before they are cut off.
    #[inline(always)]
    fn offsets(self, output: usize, rows: usize) -> [[f32; ROWS]; 2] {
        let mut offsets = [[0.5_f32; ROWS]; 2];
        if let Self::Chance { streams, first } = self {
            let [gradients, hessians] = &mut offsets;
            for row in 0..rows {
                let bits = streams[output].at((first + row) as u64);
                // Steps of 2^-22 whose mean is a half: single precision holds them below 2.
                let offset = |bits: u32| ((bits >> 10) as f32 + 0.5) / (1_u32 << 22) as f32;
                (gradients[row], hessians[row]) = (offset((bits >> 32) as u32), offset(bits as u32));
            }
        }
        offsets
    }
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
    /// Whether the sums over all rows, and so those over any of them, can be packed.
    pub(super) fn fits(&self) -> bool {
        let real = self.gradient.is_finite() && self.hessian.is_finite();
        real && self.gradient_units < LIMIT && self.hessian_units < LIMIT
    }

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
        (scales, rounding): (&[Scale], Rounding<'_>),
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
            let mut offsets = rounding.offsets(output, rows);
            if self.is_flat() && weights.is_none() {
                // Whole units already: rows are counted exactly.
                offsets[1] = [0.5; ROWS];
            }
            let by_chance = matches!(rounding, Rounding::Chance { .. });
            let (gradient, hessian) = (&gradient[..rows], &hessian[..rows]);
            let rounded = Rounded { scale: scales[output], offsets: &offsets, least: u32::from(!by_chance) };
            quantise(gradient, hessian, &weight, rounded, packed[output], &mut totals[output]);
        }
    }

    /// Where all rows start. Weights are not all zero.
    pub(super) fn start(self, labels: &[f64], weights: Option<&[f64]>, pulse: Pulse<'_>) -> Result<Vec<f64>, Stopped> {
        pulse.check()?;
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
        Ok(match self {
            Self::Squared => {
                vec![labels.iter().enumerate().map(|(row, label)| label * (weight(row) / total)).sum()]
            }
            Self::Quantile { alpha } => vec![match weights {
                Some(weights) => {
                    weighted_quantile(labels.iter().copied().zip(weights.iter().copied()).collect(), alpha, pulse)?
                }
                None => quantile(&mut labels.to_vec(), alpha),
            }],
            Self::Logistic => shares(2).skip(1).map(|share| (share / (1.0 - share)).ln()).collect(),
            Self::Softmax { classes } => shares(classes).map(f64::ln).collect(),
        })
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

/// How real numbers become whole ones.
struct Rounded<'a> {
    scale: Scale,
    offsets: &'a [[f32; ROWS]; 2],
    /// The least hessian of a row that has a weight.
    least: u32,
}

#[inline(always)]
fn quantise(
    gradient: &[f32],
    hessian: &[f32],
    weight: &[f32; ROWS],
    Rounded { scale, offsets: [offset, hessian_offset], least }: Rounded<'_>,
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
        whole[row] = (gradient * scale.gradient + offset[row].copysign(gradient)) as i32;
        // Of few rows none without a hessian, unless it has no weight: counts are estimated from it.
        let least = if weight[row] > 0.0 { least } else { 0 };
        whole_hessian[row] = ((hessian * scale.hessian + hessian_offset[row]) as u32).max(least);
    }
    for row in 0..rows {
        packed[row] = pack(whole[row], whole_hessian[row]);
        totals.gradient_units += u64::from(whole[row].unsigned_abs());
        totals.hessian_units += u64::from(whole_hessian[row]);
    }
    totals.gradient += sum.iter().sum::<f64>();
    totals.hessian += sum_hessian.iter().sum::<f64>();
}

/// The value below which `alpha` of them lie, between neighbours in proportion; 0 of nothing.
pub(super) fn quantile(values: &mut [f64], alpha: f64) -> f64 {
    let last = match &*values {
        [] => return 0.0,
        [only] => return *only,
        several => several.len() - 1,
    };
    let wanted = alpha * last as f64;
    let low = (wanted.ceil() as usize).clamp(1, last) - 1;
    let (below, above, _) = values.select_nth_unstable_by(low + 1, f64::total_cmp);
    let (below, above) = (below.iter().copied().max_by(f64::total_cmp).unwrap_or(*above), *above);
    below + (above - below) * (wanted - low as f64)
}

/// The value below which `alpha` of the weight lies, between neighbours in proportion; 0 of nothing. A pair is a value and its weight.
///
/// Values stand one after the other, each as wide as its weight. The quantile is the mean of a window as wide as the least weight,
/// which with `alpha` goes from the first value to the last: of equal weights that is [`quantile`], and a value of twice the
/// least weight is one that is there twice.
pub(super) fn weighted_quantile(mut pairs: Vec<(f64, f64)>, alpha: f64, pulse: Pulse<'_>) -> Result<f64, Stopped> {
    // They would stand between others as if they were there.
    pairs.retain(|pair| pair.1 > 0.0);
    sort(&mut pairs, pulse)?;
    let Some(last) = pairs.last() else { return Ok(0.0) };
    let total: f64 = pairs.iter().map(|pair| pair.1).sum();
    // A narrower one would be lost in rounding.
    let width = pairs.iter().fold(f64::INFINITY, |least, pair| pair.1.min(least)).max(total * 1e-9);
    let start = alpha * (total - width);
    let end = start + width;
    let (mut below, mut found, mut away) = (0.0, None, 0.0);
    for (value, weight) in &pairs {
        let above = below + weight;
        let within = end.min(above) - start.max(below);
        if within > 0.0 {
            // Around the first value, so that equal values have it as their mean, to the last digit.
            away += (value - *found.get_or_insert(*value)) * within;
        }
        if above >= end {
            break;
        }
        below = above;
    }
    Ok(found.map_or(last.0, |first| first + away / width))
}

/// Pairs that are sorted between two questions whether to go on.
const SORTED_MAX: usize = if cfg!(test) { 64 } else { 1 << 18 };

/// Sorts by value, then by weight: halves that are parted at their median, until they are small.
fn sort(pairs: &mut [(f64, f64)], pulse: Pulse<'_>) -> Result<(), Stopped> {
    let order = |a: &(f64, f64), b: &(f64, f64)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1));
    pulse.check()?;
    if pairs.len() <= SORTED_MAX {
        pairs.sort_unstable_by(order);
        return Ok(());
    }
    let middle = pairs.len() / 2;
    let (below, _, above) = pairs.select_nth_unstable_by(middle, order);
    sort(below, pulse)?;
    sort(above, pulse)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::models::tree::Unwatched;
    use crate::models::tree::boost::histogram::unpack;

    fn start(objective: Objective, labels: &[f64], weights: Option<&[f64]>) -> Vec<f64> {
        objective.start(labels, weights, Pulse::new(&Unwatched, &AtomicBool::new(false))).unwrap()
    }

    #[test]
    fn scores_start_at_the_shares_of_classes() {
        let labels = [0.0, 2.0, 2.0, 1.0];
        let softmax = start(Objective::Softmax { classes: 4 }, &labels, Some(&[1.0, 1.0, 3.0, 5.0]));
        assert_eq!(softmax, [0.1_f64, 0.5, 0.4, 1e-15].map(f64::ln));
        assert_eq!(start(Objective::Logistic, &[0.0, 1.0, 1.0, 1.0], None), [3.0_f64.ln()]);
    }

    /// The quantile of all values in their order.
    fn slow(mut values: Vec<f64>, alpha: f64) -> f64 {
        values.sort_by(f64::total_cmp);
        let at = alpha * values.len().saturating_sub(1) as f64;
        let value = |place: f64| values.get(place as usize).copied().unwrap_or_default();
        value(at.floor()) + (value(at.ceil()) - value(at.floor())) * at.fract()
    }

    #[test]
    fn quantiles_are_those_of_all_rows_in_order() {
        let mut rng = Rng::new(5, &[]);
        let go_on = AtomicBool::new(false);
        for count in [0, 1, 2, 3, 10, 1000] {
            // Some are equal, and some weigh nothing.
            let values: Vec<f64> = (0..count).map(|_| (rng.unit() * 200.0).round() / 7.0 - 5.0).collect();
            let pairs: Vec<(f64, f64)> = values.iter().map(|value| (*value, f64::from(rng.below(2)) * 0.3)).collect();
            for alpha in [1e-9, 0.1, 0.5, 0.9, 0.999_999] {
                let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} {expected}");
                near(quantile(&mut values.clone(), alpha), slow(values.clone(), alpha));
                let weighted = weighted_quantile(pairs.clone(), alpha, Pulse::new(&Unwatched, &go_on)).unwrap();
                near(weighted, slow(pairs.iter().filter(|pair| pair.1 > 0.0).map(|pair| pair.0).collect(), alpha));
            }
        }
    }

    #[test]
    fn a_heavy_row_has_its_weight_wherever_it_stands() {
        let go_on = AtomicBool::new(false);
        let of = |pairs: &[(f64, f64)], alpha: f64| {
            weighted_quantile(pairs.to_vec(), alpha, Pulse::new(&Unwatched, &go_on)).unwrap()
        };
        let light = |from: i32| (from..from + 10).map(|value| (f64::from(value), 1.0)).collect::<Vec<_>>();
        assert_eq!(of(&[(5.0, 1000.0), (10.0, 1.0)], 0.5), 5.0);
        assert_eq!(of(&[(5.0, 1.0), (10.0, 1000.0)], 0.5), 10.0);
        // Nine tenths of the weight are one value's.
        assert_eq!(of(&[vec![(0.0, 90.0)], light(1)].concat(), 0.8), 0.0);
        assert_eq!(of(&[light(1), vec![(11.0, 90.0)]].concat(), 0.2), 11.0);
        assert_eq!(of(&[light(1), vec![(11.0, 90.0)], light(12)].concat(), 0.5), 11.0);
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        near(of(&[vec![(0.0, 90.0)], light(1)].concat(), 0.95), 5.05);
        // As often as it weighs.
        for alpha in [0.1, 0.3, 0.5, 0.77] {
            let twice = vec![(1.0, 1.0), (2.0, 1.0), (2.0, 1.0), (4.0, 1.0), (7.0, 1.0), (7.0, 1.0), (7.0, 1.0)];
            near(of(&[(1.0, 0.5), (2.0, 1.0), (4.0, 0.5), (7.0, 1.5)], alpha), of(&twice, alpha));
        }
        assert_eq!(of(&[(1.0, 1.0), (2.0, 1e-300), (3.0, 1.0)], 0.75), 3.0);
    }

    #[test]
    fn rows_of_no_weight_do_not_move_the_start() {
        let quantile = Objective::Quantile { alpha: 0.5 };
        let (labels, weights) = ([1.0, 2.0, 3.0, 100.0, 200.0], [1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(start(quantile, &labels, Some(&weights)), [2.0]);
        assert_eq!(start(quantile, &labels[..3], None), [2.0]);
        let stopped = quantile.start(&labels, Some(&weights), Pulse::new(&Unwatched, &AtomicBool::new(true)));
        assert_eq!(stopped, Err(Stopped));
    }

    /// The sums in units of rows that all have this gradient and a hessian of 1, each with a weight.
    fn sums(rows: usize, gradient: f64, weight: f64, streams: Option<&[Rng]>) -> (i64, u64) {
        let (scores, labels, weights) = ([gradient; ROWS], [0.0; ROWS], [weight; ROWS]);
        let scale = Scale { gradient: 1.0, hessian: 1.0 };
        let mut sums = (0, 0);
        for first in (0..rows).step_by(ROWS) {
            let rounding = streams.map_or(Rounding::Nearest, |streams| Rounding::Chance { streams, first });
            let (mut packed, mut totals) = ([0; ROWS], [Totals::default()]);
            let (objective, weights) = (Objective::Squared, Some(weights.as_slice()));
            objective.gradients(&[&scores], &labels, weights, (&[scale], rounding), &mut [&mut packed], &mut totals);
            let row = |cell: &u64| unpack(*cell);
            packed.iter().map(row).for_each(|(gradient, hessian)| sums = (sums.0 + gradient, sums.1 + hessian));
        }
        sums
    }

    #[test]
    fn chance_keeps_the_sum_of_small_values() {
        let rows = 1 << 20;
        let streams = [Rng::new(7, &[3, 0])];
        for value in [0.001, 0.3, 0.49, 1.2, -0.3, -2.7] {
            let (gradient, _) = sums(rows, value, 1.0, Some(&streams));
            let (found, expected) = (gradient as f64 / rows as f64, value);
            assert!((found - expected).abs() < 3e-3, "{found} is not {expected}");
        }
        // A gradient of 3 and a hessian of 1, by weight.
        let (gradient, hessian) = sums(rows, 3.0, 0.05, Some(&streams));
        assert!((gradient as f64 / rows as f64 - 0.15).abs() < 3e-3);
        assert!((hessian as f64 / rows as f64 - 0.05).abs() < 3e-3);
        assert_eq!(sums(rows, 0.3, 1.0, None), (0, rows as u64));
        assert_eq!(sums(4096, 0.3, 1.0, Some(&streams)), sums(4096, 0.3, 1.0, Some(&streams)));
        assert_ne!(sums(4096, 0.3, 1.0, Some(&streams)), sums(4096, 0.3, 1.0, Some(&[Rng::new(7, &[3, 1])])));
    }
}
