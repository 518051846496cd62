//! Tails of the distributions that test statistics follow.

use std::f64::consts::PI;

/// P(X > `statistic`) of the chi-square distribution with `degrees` of freedom.
///
/// Q(a, x) with a = degrees / 2 is a finite sum of positive terms (DLMF 8.4.8 to 8.4.10), each kept as its logarithm.
pub(super) fn chi_square(statistic: f64, degrees: usize) -> f64 {
    if statistic.is_infinite() || degrees == 0 {
        return if statistic > 0.0 { 0.0 } else { 1.0 };
    }
    let x = statistic / 2.0;
    if x <= 0.0 {
        return 1.0;
    }
    let terms = |mut exponent: f64, mut log: f64, count: usize| {
        let mut sum = 0.0;
        for _ in 0..count {
            sum += log.exp();
            exponent += 1.0;
            log += x.ln() - exponent.ln();
        }
        sum
    };
    let tail = if degrees.is_multiple_of(2) {
        // e^-x Σ x^k / k!
        terms(0.0, -x, degrees / 2)
    } else {
        // erfc(√x) + e^-x Σ x^(k + 1/2) / Γ(k + 3/2)
        let first = 0.5 * x.ln() - x - (PI.sqrt() / 2.0).ln();
        libm::erfc(x.sqrt()) + terms(0.5, first, degrees / 2)
    };
    tail.min(1.0)
}

/// P(K > `lambda`) of Kolmogorov's distribution, by whichever of its two series is short there.
pub(super) fn kolmogorov(lambda: f64) -> f64 {
    if lambda <= 0.0 {
        return 1.0;
    }
    let square = lambda * lambda;
    let tail = if lambda < 1.18 {
        let term = |k: i32| (-f64::from(2 * k - 1).powi(2) * PI * PI / (8.0 * square)).exp();
        1.0 - (2.0 * PI).sqrt() / lambda * (1..=4).map(term).sum::<f64>()
    } else {
        let term = |k: i32| f64::from(if k % 2 == 1 { 2 } else { -2 }) * (-2.0 * f64::from(k * k) * square).exp();
        (1..=6).map(term).sum()
    };
    tail.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.chi2.sf` and `scipy.stats.kstwobign.sf`.
    #[test]
    fn tails_are_those_of_scipy() {
        let near = |found: f64, wanted: f64| assert!((found / wanted - 1.0).abs() < 1e-10, "{found} {wanted}");
        near(chi_square(3.84, 1), 0.05004352124870519);
        near(chi_square(4.605, 2), 0.10000850966145562);
        near(chi_square(30.0, 9), 0.00043872177097947936);
        near(chi_square(1700.0, 1500), 0.00022170799704285967);
        near(chi_square(1700.0, 1501), 0.00023710269633233868);
        near(kolmogorov(0.5), 0.9639452436648751);
        near(kolmogorov(1.0), 0.26999967167735456);
        near(kolmogorov(1.5), 0.022217962616525127);
        assert_eq!(chi_square(f64::INFINITY, 3), 0.0);
        assert_eq!((chi_square(0.0, 3), kolmogorov(0.0)), (1.0, 1.0));
    }
}
