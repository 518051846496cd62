//! How far counted values are from a baseline.

use super::baseline::Baseline;
use super::tails;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Measure {
    Psi,
    KlDivergence,
    ChiSquare,
    ChiSquareP,
    KsStatistic,
    KsP,
}

/// A share of zero is taken as this one by `psi`, which has no value otherwise.
const PSI_SHARE_MIN: f64 = 1e-4;

impl Measure {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Psi => "psi",
            Self::KlDivergence => "kl_divergence",
            Self::ChiSquare => "chi_square",
            Self::ChiSquareP => "chi_square_p",
            Self::KsStatistic => "ks_statistic",
            Self::KsP => "ks_p",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        let all = [Self::Psi, Self::KlDivergence, Self::ChiSquare, Self::ChiSquareP, Self::KsStatistic, Self::KsP];
        all.into_iter().find(|measure| measure.name() == name)
    }

    /// Whether the order of the bins counts.
    pub(super) fn needs_order(self) -> bool {
        matches!(self, Self::KsStatistic | Self::KsP)
    }

    /// The measure of `counts` by bin; none of no values.
    pub(super) fn value(self, baseline: &Baseline, counts: &[u64]) -> Option<f64> {
        let bins = baseline.compared(counts);
        let count: f64 = bins.iter().map(|(_, count)| count).sum();
        if count == 0.0 {
            return None;
        }
        let chi_square = || -> f64 { bins.iter().map(|(expected, found)| deviation(expected * count, *found)).sum() };
        Some(match self {
            Self::Psi => bins.iter().map(|(expected, found)| stability(*expected, found / count)).sum(),
            Self::KlDivergence => {
                let sum: f64 = bins.iter().map(|(expected, found)| divergence(*expected, found / count)).sum();
                // Rounding may leave less than nothing of equal distributions.
                sum.max(0.0)
            }
            Self::ChiSquare => chi_square(),
            Self::ChiSquareP => {
                let possible = bins.iter().filter(|(expected, _)| *expected > 0.0).count();
                tails::chi_square(chi_square(), possible.saturating_sub(1))
            }
            Self::KsStatistic => distance(&bins, count),
            Self::KsP => {
                let size = baseline.count.map_or(count, |other| count * other / (count + other));
                tails::kolmogorov(distance(&bins, count) * size.sqrt())
            }
        })
    }
}

/// (a − e) ln(a / e)
fn stability(expected: f64, found: f64) -> f64 {
    let (expected, found) = (expected.max(PSI_SHARE_MIN), found.max(PSI_SHARE_MIN));
    (found - expected) * (found / expected).ln()
}

/// a ln(a / e), infinite where something is that must not be.
fn divergence(expected: f64, found: f64) -> f64 {
    if found == 0.0 { 0.0 } else { found * (found / expected).ln() }
}

/// (O − E)² / E
fn deviation(expected: f64, found: f64) -> f64 {
    if expected == 0.0 && found == 0.0 { 0.0 } else { (found - expected).powi(2) / expected }
}

/// The greatest distance of the cumulative shares, at the edges of the bins.
fn distance(bins: &[(f64, f64)], count: f64) -> f64 {
    let (mut expected, mut found, mut greatest) = (0.0, 0.0, 0.0_f64);
    for (share, bin) in bins {
        expected += share;
        found += bin / count;
        greatest = greatest.max((expected - found).abs());
    }
    greatest
}
