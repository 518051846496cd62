//! The median of non-negative numbers in bounded memory.

use std::collections::BTreeMap;

use super::EXACT_ROWS_MAX;

/// Exact up to [`EXACT_ROWS_MAX`] numbers; then in bins of a relative width of 2⁻¹², so that the median is right to 2⁻¹³ of itself.
#[derive(Clone, Debug)]
pub(super) struct Median {
    exact: Vec<(f64, f64)>,
    exact_max: usize,
    bins: BTreeMap<u64, f64>,
}

/// The bits of a double below those that name its bin.
const CUT: u32 = 40;

impl Default for Median {
    fn default() -> Self {
        Self { exact: Vec::new(), exact_max: EXACT_ROWS_MAX, bins: BTreeMap::new() }
    }
}

impl Median {
    /// The most bytes that so many numbers take as long as they are exact; bins are as many as the numbers differ.
    pub(super) fn bytes_max(&self, rows: usize) -> usize {
        let exact = rows.min(self.exact_max).next_power_of_two() * size_of::<(f64, f64)>();
        // With a copy, and what it is sorted by.
        exact * 2 + exact / 2
    }

    /// `value` ≥ 0 and finite.
    pub(super) fn add(&mut self, value: f64, weight: f64) {
        if weight <= 0.0 {
            return;
        }
        if self.bins.is_empty() && self.exact.len() < self.exact_max {
            self.exact.push((value, weight));
            return;
        }
        for (value, weight) in std::mem::take(&mut self.exact).into_iter().chain([(value, weight)]) {
            *self.bins.entry(value.abs().to_bits() >> CUT).or_default() += weight;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        if !other.bins.is_empty() {
            for (value, weight) in std::mem::take(&mut self.exact) {
                *self.bins.entry(value.abs().to_bits() >> CUT).or_default() += weight;
            }
            other.bins.into_iter().for_each(|(bin, weight)| *self.bins.entry(bin).or_default() += weight);
        }
        other.exact.into_iter().for_each(|(value, weight)| self.add(value, weight));
    }

    /// The number at half of the weight; between two, their mean.
    pub(super) fn value(&self) -> Option<f64> {
        let mut all: Vec<(f64, f64)> = if self.bins.is_empty() {
            self.exact.clone()
        } else {
            let middle = |bin: &u64| f64::from_bits((bin << CUT) | (1 << (CUT - 1)));
            self.bins.iter().map(|(bin, weight)| (middle(bin), *weight)).collect()
        };
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = 0.5 * all.iter().map(|(_, weight)| weight).sum::<f64>();
        let mut below = 0.0;
        for (index, (value, weight)) in all.iter().enumerate() {
            below += weight;
            if (below - half).abs() <= half * 1e-14 {
                let next = all.get(index + 1).map_or(*value, |(next, _)| *next);
                return Some(0.5 * (value + next));
            }
            if below > half {
                return Some(*value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_stay_close_to_the_median() {
        let (mut exact, mut binned) = (Median::default(), Median { exact_max: 10, ..Median::default() });
        for index in 0..1001 {
            let value = f64::from(index * 17 % 1001) / 3.0;
            exact.add(value, 1.0);
            binned.add(value, 1.0);
        }
        assert_eq!(exact.value(), Some(500.0 / 3.0));
        assert!((binned.value().unwrap() * 3.0 / 500.0 - 1.0).abs() < 2e-4);
        assert_eq!(Median::default().value(), None);
    }
}
