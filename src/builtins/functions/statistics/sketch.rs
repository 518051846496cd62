//! Quantiles of any number of values in bounded memory.

/// Values a level holds before it is halved; so many are kept exactly.
const LEVEL_VALUES_MAX: usize = 8192;

/// Sorted samples by levels: a value of level i stands for 2^i values. A full level is sorted and every other value moves up
/// (Munro and Paterson 1980; Manku, Rajagopalan and Lindsay 1998), the first or the second of each pair by turns. A rank is
/// off by at most n·L/8192 after L levels, which is 0.2 % of a billion values and nothing up to 8192.
#[derive(Debug, Default, Clone)]
pub(super) struct Sketch {
    levels: Vec<Vec<f64>>,
    /// Whether the next halving keeps the second of each pair.
    second: bool,
}

impl Sketch {
    pub(super) fn add(&mut self, value: f64) {
        self.insert(0, value);
    }

    /// Adds what stands for 2^`level` values.
    pub(super) fn insert(&mut self, level: usize, value: f64) {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        let Some(values) = self.levels.get_mut(level) else { return };
        values.push(value);
        if values.len() >= LEVEL_VALUES_MAX {
            self.halve(level);
        }
    }

    fn halve(&mut self, level: usize) {
        let Some(values) = self.levels.get_mut(level) else { return };
        let mut values = std::mem::take(values);
        values.sort_unstable_by(f64::total_cmp);
        let skipped = usize::from(self.second);
        self.second = !self.second;
        for value in values.iter().skip(skipped).step_by(2) {
            self.insert(level + 1, *value);
        }
    }

    /// The values and the number that each stands for, by levels.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, f64)> {
        self.levels.iter().enumerate().flat_map(|(level, values)| values.iter().map(move |value| (level, *value)))
    }

    /// Values in order, each with the number of values that it stands for.
    pub(super) fn sorted(&self) -> Sorted {
        let mut values: Vec<(f64, u64)> = self.parts().map(|(level, value)| (value, 1 << level.min(62))).collect();
        values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let count = values.iter().map(|(_, weight)| weight).sum();
        Sorted { values, count }
    }

    /// Bytes.
    pub(super) fn size(&self) -> usize {
        self.levels.iter().map(|values| values.capacity() * size_of::<f64>()).sum()
    }
}

pub(super) struct Sorted {
    values: Vec<(f64, u64)>,
    count: u64,
}

impl Sorted {
    /// The first value whose share of the values reaches each fraction; the fractions ascend.
    pub(super) fn quantiles(&self, fractions: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut values = self.values.iter();
        let mut current = values.next();
        let mut reached = current.map_or(0, |(_, weight)| *weight);
        let mut quantiles = Vec::new();
        for fraction in fractions {
            let wanted = (fraction * self.count as f64).ceil().max(1.0) as u64;
            while reached < wanted {
                let Some(next) = values.next() else { break };
                reached += next.1;
                current = Some(next);
            }
            quantiles.extend(current.map(|(value, _)| *value));
        }
        quantiles
    }

    /// The share of the values in each bin `[edge, next edge)`, the last one closed, values outside in the outer ones.
    pub(super) fn shares(&self, edges: &[f64]) -> Vec<f64> {
        let mut counts = vec![0_u64; edges.len().saturating_sub(1)];
        for (value, weight) in &self.values {
            let bin = edges.partition_point(|edge| edge <= value).saturating_sub(1);
            let last = counts.len().saturating_sub(1);
            if let Some(count) = counts.get_mut(bin.min(last)) {
                *count += weight;
            }
        }
        counts.into_iter().map(|count| count as f64 / self.count as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_many_values_are_near_and_of_few_exact() {
        let mut sketch = Sketch::default();
        let mut random = 1_u64;
        for _ in 0..1_000_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sketch.add((random >> 33) as f64 / f64::from(1_u32 << 31));
        }
        for (found, wanted) in sketch.sorted().quantiles([0.1, 0.5, 0.99]).into_iter().zip([0.1, 0.5, 0.99]) {
            assert!((found - wanted).abs() < 0.002, "{found} {wanted}");
        }
        assert!(sketch.size() < 2 << 20);
        let mut few = Sketch::default();
        (0..1000).rev().for_each(|value| few.add(f64::from(value)));
        assert_eq!(few.sorted().quantiles([0.0, 0.25, 0.5, 1.0]), [0.0, 249.0, 499.0, 999.0]);
        assert_eq!(few.sorted().shares(&[0.0, 250.0, 999.0]), [0.25, 0.75]);
    }
}
