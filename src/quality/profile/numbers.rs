//! A column of numbers, or of what is stored as one: dates, times, booleans.
//!
//! ```text
//! values ─→ counted exactly, while no more than 4,096 are distinct: everything follows from the counts
//!        └→ then sketched: HyperLogLog, t-digest, moments, the frequent ones
//! ```

use std::cmp::Ordering;

use datafusion_functions_aggregate_common::tdigest::{Centroid, TDigest};

use super::QUANTILES;
use super::distinct::HyperLogLog;
use super::frequent::{CAPACITY_MAX, Entry, Frequent, Full};
use super::moments::Moments;
use super::spread::{BUCKETS_MAX, Bucket, of_counts, of_digest, percentile};

/// Centroids of a digest: quantiles are off by about 0.5 % of the rows in the middle, much less at the ends.
const CENTROIDS_MAX: usize = 200;
/// Numbers that are gathered before they are sorted into the digest.
const GATHERED_MAX: usize = 16_384;

/// Murmur3's finaliser.
#[inline]
pub(in crate::quality) fn mixed(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// Where a value stands among those that can be computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Below,
    Finite,
    Above,
    NotANumber,
}

/// What a column's values are held as.
pub(super) trait Value: Copy + std::fmt::Debug + Send {
    fn hash(self) -> u64;
    /// PostgreSQL's order: NaN is the greatest and like itself, -0 is like 0.
    fn order(self, other: Self) -> Ordering;
    fn is_same(self, other: Self) -> bool;
    /// `endless`: the greatest and the least value stand for infinity.
    fn place(self, endless: bool) -> Place;
    fn number(self) -> f64;
    fn of_number(number: f64) -> Self;
    /// For sums without rounding.
    fn whole(self) -> Option<i128>;
}

impl Value for i64 {
    #[inline]
    fn hash(self) -> u64 {
        mixed(self as u64)
    }

    #[inline]
    fn order(self, other: Self) -> Ordering {
        self.cmp(&other)
    }

    #[inline]
    fn is_same(self, other: Self) -> bool {
        self == other
    }

    #[inline]
    fn place(self, endless: bool) -> Place {
        match self {
            Self::MIN if endless => Place::Below,
            Self::MAX if endless => Place::Above,
            _ => Place::Finite,
        }
    }

    #[inline]
    fn number(self) -> f64 {
        self as f64
    }

    fn of_number(number: f64) -> Self {
        number.round() as Self
    }

    #[inline]
    fn whole(self) -> Option<i128> {
        Some(i128::from(self))
    }
}

impl Value for i128 {
    #[inline]
    fn hash(self) -> u64 {
        mixed(self as u64 ^ mixed((self >> 64) as u64).rotate_left(32))
    }

    #[inline]
    fn order(self, other: Self) -> Ordering {
        self.cmp(&other)
    }

    #[inline]
    fn is_same(self, other: Self) -> bool {
        self == other
    }

    #[inline]
    fn place(self, _: bool) -> Place {
        Place::Finite
    }

    #[inline]
    fn number(self) -> f64 {
        self as f64
    }

    fn of_number(number: f64) -> Self {
        number.round() as Self
    }

    #[inline]
    fn whole(self) -> Option<i128> {
        Some(self)
    }
}

impl Value for f64 {
    #[inline]
    fn hash(self) -> u64 {
        mixed(if self.is_nan() { Self::NAN.to_bits() } else { (self + 0.0).to_bits() })
    }

    #[inline]
    fn order(self, other: Self) -> Ordering {
        self.partial_cmp(&other).unwrap_or_else(|| self.is_nan().cmp(&other.is_nan()))
    }

    #[inline]
    fn is_same(self, other: Self) -> bool {
        self == other || (self.is_nan() && other.is_nan())
    }

    #[inline]
    fn place(self, _: bool) -> Place {
        if self.is_finite() {
            Place::Finite
        } else if self.is_nan() {
            Place::NotANumber
        } else if self > 0.0 {
            Place::Above
        } else {
            Place::Below
        }
    }

    #[inline]
    fn number(self) -> f64 {
        self
    }

    fn of_number(number: f64) -> Self {
        number
    }

    #[inline]
    fn whole(self) -> Option<i128> {
        None
    }
}

#[derive(Debug)]
pub(super) struct Numbers<V> {
    endless: bool,
    rows: u64,
    values: Frequent<V>,
    sketch: Option<Box<Sketch<V>>>,
}

#[derive(Debug)]
struct Sketch<V> {
    distinct: HyperLogLog,
    digest: TDigest,
    gathered: Vec<f64>,
    moments: Moments,
    least: V,
    greatest: V,
    below: u64,
    above: u64,
    not_a_number: u64,
}

/// What is known of the values in the end.
#[derive(Debug)]
pub(super) struct NumbersSummary<V> {
    pub distinct: u64,
    pub is_exact: bool,
    pub least: V,
    pub greatest: V,
    pub mean: f64,
    pub deviation: Option<f64>,
    pub quantiles: [f64; QUANTILES.len()],
    pub top: Vec<(V, u64)>,
    pub top_error: u64,
    pub buckets: Vec<Bucket<V>>,
}

impl<V: Value> Numbers<V> {
    pub(super) fn new(endless: bool) -> Self {
        Self { endless, rows: 0, values: Frequent::new(CAPACITY_MAX), sketch: None }
    }

    pub(super) fn size(&self) -> usize {
        let sketch = |sketch: &Sketch<V>| {
            size_of::<Sketch<V>>()
                + sketch.distinct.size()
                + sketch.digest.size()
                + sketch.gathered.capacity() * size_of::<f64>()
        };
        self.values.size() + self.sketch.as_deref().map_or(0, sketch)
    }

    pub(super) fn push(&mut self, values: &[V]) {
        self.rows += values.len() as u64;
        let rest = if self.sketch.is_none() { self.count(values) } else { values };
        if rest.is_empty() {
            return;
        }
        self.begin_sketch();
        let Some(sketch) = self.sketch.as_deref_mut() else { return };
        each_run(rest, |value, times| {
            let hash = value.hash();
            sketch.distinct.add(hash);
            while self.values.add(hash, times, |known| known.is_same(value), || value).is_err() {
                self.values.purge();
            }
            true
        });
        sketch.take(rest, self.endless);
    }

    /// Counts values as long as there is room for all distinct ones; what is left when there is not.
    fn count<'v>(&mut self, values: &'v [V]) -> &'v [V] {
        let mut counted = 0;
        each_run(values, |value, times| {
            let is_counted = self.values.add(value.hash(), times, |known| known.is_same(value), || value).is_ok();
            counted += if is_counted { times as usize } else { 0 };
            is_counted
        });
        values.get(counted..).unwrap_or_default()
    }

    /// Goes on with sketches, which take over what was counted.
    fn begin_sketch(&mut self) {
        if self.sketch.is_some() {
            return;
        }
        let counted = self.sorted();
        let (Some(first), Some(last)) = (counted.first(), counted.last()) else { return };
        let mut distinct = HyperLogLog::new();
        for entry in &counted {
            distinct.add(entry.hash());
        }
        let placed = |place: Place| {
            let there = counted.iter().filter(|entry| entry.value.place(self.endless) == place);
            there.map(|entry| entry.count).sum::<u64>()
        };
        let sketch = Sketch {
            distinct,
            digest: self.digest_of(&counted),
            gathered: Vec::with_capacity(GATHERED_MAX),
            moments: self.moments_of(&counted),
            least: first.value,
            greatest: last.value,
            below: placed(Place::Below),
            above: placed(Place::Above),
            not_a_number: placed(Place::NotANumber),
        };
        self.sketch = Some(Box::new(sketch));
    }

    fn sorted(&self) -> Vec<&Entry<V>> {
        let mut entries: Vec<&Entry<V>> = self.values.entries().iter().collect();
        entries.sort_unstable_by(|one, other| one.value.order(other.value));
        entries
    }

    fn finite<'e>(&self, sorted: &[&'e Entry<V>]) -> Vec<&'e Entry<V>> {
        sorted.iter().filter(|entry| entry.value.place(self.endless) == Place::Finite).copied().collect()
    }

    fn digest_of(&self, sorted: &[&Entry<V>]) -> TDigest {
        let finite = self.finite(sorted);
        let centroid = |entry: &&Entry<V>| Centroid::new(entry.value.number(), entry.count as f64);
        let centroids: Vec<Centroid> = finite.iter().map(centroid).collect();
        let (Some(first), Some(last)) = (centroids.first(), centroids.last()) else {
            return TDigest::new(CENTROIDS_MAX);
        };
        let sum = centroids.iter().map(|centroid| centroid.mean() * centroid.weight()).sum();
        let count = centroids.iter().map(Centroid::weight).sum();
        let (least, greatest) = (first.mean(), last.mean());
        let whole = TDigest::try_from_parts(CENTROIDS_MAX, sum, count, greatest, least, centroids);
        whole.unwrap_or_else(|_| TDigest::new(CENTROIDS_MAX))
    }

    fn moments_of(&self, sorted: &[&Entry<V>]) -> Moments {
        let mut moments = Moments::default();
        for entry in self.finite(sorted) {
            moments.add_repeated(entry.value.number(), entry.value.whole(), entry.count);
        }
        moments
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        if other.rows == 0 {
            return;
        }
        if self.rows == 0 {
            *self = other;
            return;
        }
        if self.sketch.is_none() && other.sketch.is_none() {
            let mut both = self.values.clone();
            let adds = |entry: &Entry<V>| add(&mut both, entry).is_ok();
            if other.values.entries().iter().all(adds) {
                self.values = both;
                self.rows += other.rows;
                return;
            }
        }
        // Before counts are purged.
        self.begin_sketch();
        other.begin_sketch();
        self.rows += other.rows;
        for entry in other.values.entries() {
            while add(&mut self.values, entry).is_err() {
                self.values.purge();
            }
        }
        self.values.add_error(&other.values);
        if let (Some(own), Some(other)) = (self.sketch.as_deref_mut(), other.sketch.as_deref_mut()) {
            own.merge(other);
        }
    }

    /// `None` when there was no value. `unit`: how many of the column's numbers are 1; the mean is in ones, the rest as it came.
    pub(super) fn finish(mut self, unit: f64) -> Option<NumbersSummary<V>> {
        let top: Vec<(V, u64)> = self
            .values
            .top(super::TOP_MAX, |one, other| one.order(*other))
            .iter()
            .map(|entry| (entry.value, entry.count))
            .collect();
        let top_error = self.values.error();
        if let Some(sketch) = self.sketch.take() {
            return Some(NumbersSummary { top, top_error, ..sketch.finish(self.rows, unit) });
        }
        let counted = self.sorted();
        let (first, last) = (counted.first()?, counted.last()?);
        let (least, greatest) = (first.value, last.value);
        let (finite, moments) = (self.finite(&counted), self.moments_of(&counted));
        let is_finite = finite.len() == counted.len();
        Some(NumbersSummary {
            distinct: counted.len() as u64,
            is_exact: true,
            least,
            greatest,
            mean: if is_finite { moments.mean(unit) } else { mean_of_ends(least, greatest, self.endless) },
            deviation: moments.deviation_of(self.rows, is_finite),
            quantiles: QUANTILES.map(|quantile| percentile(&counted, self.rows, quantile)),
            top,
            top_error,
            buckets: of_counts(&finite),
        })
    }
}

impl<V: Value> Sketch<V> {
    fn take(&mut self, values: &[V], endless: bool) {
        for value in values {
            if value.order(self.least) == Ordering::Less {
                self.least = *value;
            }
            if value.order(self.greatest) == Ordering::Greater {
                self.greatest = *value;
            }
        }
        for values in values.chunks(GATHERED_MAX) {
            if self.gathered.len() + values.len() > GATHERED_MAX {
                self.digest_gathered();
            }
            for value in values {
                match value.place(endless) {
                    Place::Finite => self.gathered.push(value.number()),
                    Place::Below => self.below += 1,
                    Place::Above => self.above += 1,
                    Place::NotANumber => self.not_a_number += 1,
                }
            }
        }
        let finite = values.iter().filter(|value| value.place(endless) == Place::Finite);
        self.moments.add_whole(finite.map(|value| value.whole()));
    }

    fn digest_gathered(&mut self) {
        self.moments.add_numbers(&self.gathered);
        self.gathered.sort_unstable_by(f64::total_cmp);
        self.digest = self.digest.merge_sorted_f64(&self.gathered);
        self.gathered.clear();
    }

    fn merge(&mut self, other: &mut Self) {
        self.digest_gathered();
        other.digest_gathered();
        self.distinct.merge(&other.distinct);
        if other.digest.count() > 0.0 {
            self.digest = match self.digest.count() > 0.0 {
                true => TDigest::merge_digests([&self.digest, &other.digest]),
                false => other.digest.clone(),
            };
        }
        self.moments.merge(&other.moments);
        if other.least.order(self.least) == Ordering::Less {
            self.least = other.least;
        }
        if other.greatest.order(self.greatest) == Ordering::Greater {
            self.greatest = other.greatest;
        }
        self.below += other.below;
        self.above += other.above;
        self.not_a_number += other.not_a_number;
    }

    fn finish(mut self, rows: u64, unit: f64) -> NumbersSummary<V> {
        self.digest_gathered();
        let is_finite = self.below + self.above + self.not_a_number == 0;
        NumbersSummary {
            distinct: self.distinct.estimate().clamp(1, rows),
            is_exact: false,
            least: self.least,
            greatest: self.greatest,
            mean: if is_finite { self.moments.mean(unit) } else { self.mean_of_specials() },
            deviation: self.moments.deviation_of(rows, is_finite),
            quantiles: QUANTILES.map(|quantile| self.quantile(rows, quantile)),
            top: Vec::new(),
            top_error: 0,
            buckets: of_digest(&self.digest, BUCKETS_MAX),
        }
    }

    /// What is not finite stands at the ends.
    fn quantile(&self, rows: u64, quantile: f64) -> f64 {
        let rank = quantile * rows.saturating_sub(1) as f64;
        let finite = self.digest.count();
        let inside = rank - self.below as f64;
        if inside < 0.0 {
            f64::NEG_INFINITY
        } else if inside <= (finite - 1.0).max(0.0) && finite > 0.0 {
            let place = if finite > 1.0 { inside / (finite - 1.0) } else { 0.5 };
            self.digest.estimate_quantile(place)
        } else if inside < finite + self.above as f64 {
            f64::INFINITY
        } else {
            f64::NAN
        }
    }

    fn mean_of_specials(&self) -> f64 {
        match (self.not_a_number > 0, self.below > 0, self.above > 0) {
            (false, false, true) => f64::INFINITY,
            (false, true, false) => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }
}

fn add<V: Value>(values: &mut Frequent<V>, entry: &Entry<V>) -> Result<(), Full> {
    values.add(entry.hash(), entry.count, |known| known.is_same(entry.value), || entry.value)
}

/// The mean of values that are not all finite follows from the ends alone.
fn mean_of_ends<V: Value>(least: V, greatest: V, endless: bool) -> f64 {
    match (least.place(endless), greatest.place(endless)) {
        (Place::Below, Place::Above) | (_, Place::NotANumber) => f64::NAN,
        (_, Place::Above) => f64::INFINITY,
        _ => f64::NEG_INFINITY,
    }
}

/// Visits values that stand beside each other once. The visit tells whether to go on.
#[inline]
fn each_run<V: Value>(values: &[V], mut visit: impl FnMut(V, u64) -> bool) {
    let mut rest = values.iter();
    let Some(mut value) = rest.next().copied() else { return };
    let mut times = 1;
    for next in rest {
        if next.is_same(value) {
            times += 1;
            continue;
        }
        if !visit(value, times) {
            return;
        }
        (value, times) = (*next, 1);
    }
    visit(value, times);
}
