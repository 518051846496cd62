//! Counts of categories in bounded memory.

use std::collections::HashMap;

/// Most categories that are counted, and most bytes that their names have.
const CATEGORIES_MAX: usize = 16_384;
const BYTES_MAX: usize = 4 << 20;

/// Counts by category. When there are too many, the rarer half is counted as the rest from then on: up to 16,384 categories
/// the counts are exact, beyond that a category of less than about 1/8192 of the rows may be missed.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    counts: HashMap<String, u64>,
    bytes: usize,
    pub rest: u64,
}

impl Tally {
    pub(super) fn add(&mut self, category: &str, count: u64) {
        if let Some(so_far) = self.counts.get_mut(category) {
            *so_far += count;
            return;
        }
        self.counts.insert(category.to_owned(), count);
        self.bytes += category.len();
        if self.counts.len() > CATEGORIES_MAX || self.bytes > BYTES_MAX {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let (counts, rest) = self.frequent(CATEGORIES_MAX / 2, BYTES_MAX / 2);
        self.counts = counts.into_iter().collect();
        self.bytes = self.counts.keys().map(String::len).sum();
        self.rest = rest;
    }

    /// The most frequent categories, at most so many of so many bytes, and the count of all others.
    fn frequent(&self, count_max: usize, bytes_max: usize) -> (Vec<(String, u64)>, u64) {
        let mut sorted: Vec<(&String, &u64)> = self.counts.iter().collect();
        sorted.sort_unstable_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let mut bytes = 0;
        let mut rest = self.rest;
        let mut kept = Vec::new();
        for (category, count) in sorted {
            bytes += category.len();
            if kept.len() < count_max && bytes <= bytes_max {
                kept.push((category.clone(), *count));
            } else {
                rest += count;
            }
        }
        (kept, rest)
    }

    /// The most frequent categories, the most frequent one first, and the count of all others.
    pub(super) fn top(&self, count_max: usize) -> (Vec<(String, u64)>, u64) {
        self.frequent(count_max, BYTES_MAX)
    }

    /// −Σ a ln a of the shares, in nats; what is not counted by itself any more is taken as different each time. None of nothing.
    pub(super) fn entropy(&self) -> Option<f64> {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        // In an order that does not depend on how the counts were merged.
        counts.sort_unstable();
        let all = (counts.iter().sum::<u64>() + self.rest) as f64;
        let term = |count: u64| count as f64 / all * (all / count as f64).ln();
        (all > 0.0).then(|| counts.into_iter().map(term).sum::<f64>() + self.rest as f64 * term(1))
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&String, &u64)> {
        self.counts.iter()
    }

    /// Bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes + self.counts.capacity() * size_of::<(String, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_categories_stay_and_nothing_is_lost() {
        let mut tally = Tally::default();
        for number in 0..100_000_u64 {
            tally.add(&number.to_string(), 1);
            tally.add(if number % 3 == 0 { "a" } else { "b" }, 1);
        }
        let (top, rest) = tally.top(2);
        assert_eq!(top, [("b".to_owned(), 66_666), ("a".to_owned(), 33_334)]);
        assert_eq!(rest, 100_000);
        assert!(tally.size() < 8 << 20);
        let wanted =
            0.5 * 200_000_f64.ln() + (200.0_f64 / 66.666).ln() * 0.333_33 + (200.0_f64 / 33.334).ln() * 0.166_67;
        assert!((tally.entropy().unwrap() - wanted).abs() < 1e-6);
    }
}
