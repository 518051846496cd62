//! How values are spread: quantiles and histograms of equal height, from counts or from a t-digest.

use datafusion_functions_aggregate_common::tdigest::TDigest;

use super::frequent::Entry;
use super::numbers::Value;

/// Buckets of a histogram. Its bounds are then what 5 %, 10 %, … of the values do not exceed.
pub(super) const BUCKETS_MAX: usize = 20;

/// Values from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket<V> {
    pub from: V,
    pub to: V,
    pub count: u64,
}

/// `percentile_cont` over counted values.
pub(super) fn percentile<V: Value>(sorted: &[&Entry<V>], rows: u64, quantile: f64) -> f64 {
    let rank = quantile * rows.saturating_sub(1) as f64;
    let at = |row: u64| {
        let mut before = 0;
        let found = sorted.iter().find(|entry| {
            before += entry.count;
            before > row
        });
        found.or(sorted.last()).map_or(f64::NAN, |entry| entry.value.number())
    };
    let (low, high) = (at(rank.floor() as u64), at(rank.ceil() as u64));
    if low.is_same(high) { low } else { low + (high - low) * rank.fract() }
}

/// A bucket for each value while these are few, else buckets of whole values that reach equal shares of the rows.
pub(super) fn of_counts<V: Value>(finite: &[&Entry<V>]) -> Vec<Bucket<V>> {
    let rows: u64 = finite.iter().map(|entry| entry.count).sum();
    let is_few = finite.len() <= BUCKETS_MAX;
    let mut buckets: Vec<Bucket<V>> = Vec::with_capacity(BUCKETS_MAX);
    let mut before = 0;
    let mut is_full = true;
    for entry in finite {
        before += entry.count;
        match buckets.last_mut().filter(|_| !is_full) {
            Some(bucket) => {
                bucket.to = entry.value;
                bucket.count += entry.count;
            }
            None => buckets.push(Bucket { from: entry.value, to: entry.value, count: entry.count }),
        }
        let ends = buckets.len() as f64 / BUCKETS_MAX as f64 * rows as f64;
        is_full = is_few || before as f64 >= ends;
    }
    buckets
}

/// Buckets between a digest's quantiles; those of the same bounds are one.
pub(super) fn of_digest<V: Value>(digest: &TDigest, buckets_max: usize) -> Vec<Bucket<V>> {
    if digest.count() < 1.0 {
        return Vec::new();
    }
    let share = |number: usize| number as f64 / buckets_max as f64;
    let mut buckets: Vec<Bucket<V>> = Vec::with_capacity(buckets_max);
    let mut low = digest.min();
    let mut before = 0;
    for number in 1..=buckets_max {
        let high = if number == buckets_max { digest.max() } else { digest.estimate_quantile(share(number)).max(low) };
        let through = (share(number) * digest.count()).round() as u64;
        let (from, to, count) = (V::of_number(low), V::of_number(high), through - before);
        match buckets.last_mut().filter(|last| last.from.is_same(from) && last.to.is_same(to)) {
            Some(last) => last.count += count,
            None => buckets.push(Bucket { from, to, count }),
        }
        (low, before) = (high, through);
    }
    buckets
}
