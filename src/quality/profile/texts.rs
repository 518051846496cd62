//! A column of texts, or of what is only known by its text or its bytes.
//!
//! Each value is hashed once: the hash finds its count and feeds the estimate of distinct ones. While all distinct values are
//! counted, lengths, order and patterns follow from these; after that each value tells its own.

use std::hash::BuildHasher as _;

use datafusion::common::hash_utils::HLL_RANDOM_STATE;

use super::distinct::HyperLogLog;
use super::frequent::{CAPACITY_MAX, Frequent};
use super::pattern::Patterns;

/// Bytes of a value that are kept, to show it and to tell its pattern.
const KEPT_BYTES_MAX: usize = 256;

#[inline]
pub(super) fn hash_of(bytes: &[u8]) -> u64 {
    HLL_RANDOM_STATE.hash_one(bytes)
}

/// What is wanted of a column besides its counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextTraits {
    /// Its values have an order, that of their bytes.
    pub is_ordered: bool,
    /// Their lengths mean something: characters, or bytes of `is_binary`.
    pub is_measured: bool,
    pub is_binary: bool,
    /// Blanks at the end do not count (`char(n)`).
    pub is_padded: bool,
    pub has_patterns: bool,
}

/// The beginning of a value, in the arena.
#[derive(Debug, Clone, Copy)]
struct Kept {
    start: u32,
    kept: u32,
    bytes: u32,
    length: u32,
}

#[derive(Debug)]
pub(super) struct Texts {
    traits: TextTraits,
    rows: u64,
    values: Frequent<Kept>,
    arena: Vec<u8>,
    sketch: Option<Box<Sketch>>,
    ends: Option<Ends>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Ends {
    least: Vec<u8>,
    greatest: Vec<u8>,
}

#[derive(Debug)]
struct Sketch {
    distinct: HyperLogLog,
    lengths: Lengths,
    patterns: Patterns,
}

#[derive(Debug, Clone, Copy)]
struct Lengths {
    least: u32,
    greatest: u32,
    sum: u128,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { least: u32::MAX, greatest: 0, sum: 0 }
    }
}

impl Lengths {
    #[inline]
    fn add(&mut self, length: u32, times: u64) {
        self.least = self.least.min(length);
        self.greatest = self.greatest.max(length);
        self.sum += u128::from(length) * u128::from(times);
    }
}

/// A value, or its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub bytes: Vec<u8>,
    pub is_cut: bool,
}

#[derive(Debug)]
pub(super) struct TextsSummary {
    pub distinct: u64,
    pub is_exact: bool,
    pub ends: Option<(Vec<u8>, Vec<u8>)>,
    pub top: Vec<(Shown, u64)>,
    pub top_error: u64,
    /// Least, greatest, mean.
    pub lengths: Option<(u32, u32, f64)>,
    /// Each with its count.
    pub patterns: Option<Vec<(String, u64)>>,
    pub patterns_error: u64,
    pub patterns_number: Option<usize>,
    pub patterns_are_ascii: bool,
}

impl Texts {
    pub(super) fn new(traits: TextTraits) -> Self {
        let values = Frequent::new(CAPACITY_MAX);
        Self { traits, rows: 0, values, arena: Vec::new(), sketch: None, ends: None }
    }

    pub(super) fn size(&self) -> usize {
        let ends = self.ends.as_ref().map_or(0, |ends| ends.least.capacity() + ends.greatest.capacity());
        let sketch = self.sketch.as_ref().map_or(0, |sketch| sketch.distinct.size() + sketch.patterns.size());
        self.values.size() + self.arena.capacity() + ends + sketch
    }

    #[inline]
    pub(super) fn push(&mut self, value: &[u8]) {
        self.rows += 1;
        let value = if self.traits.is_padded { without_padding(value) } else { value };
        let hash = hash_of(value);
        let arena = &self.arena;
        let found = self.values.find(hash, |kept| kept.is(value, arena));
        if self.sketch.is_none() {
            if let Some(entry) = found {
                entry.count += 1;
                return;
            }
            if !self.values.is_full() {
                return self.keep(value, hash, 1);
            }
            self.begin_sketch();
            return self.push_sketched(value, hash, false);
        }
        let is_known = found.map(|entry| entry.count += 1).is_some();
        self.push_sketched(value, hash, is_known);
    }

    /// A new value, with all that is told by each value once.
    fn keep(&mut self, value: &[u8], hash: u64, times: u64) {
        if self.traits.is_ordered {
            self.stretch(value);
        }
        let length = self.length_of(value);
        self.insert(value, hash, length, times);
    }

    fn insert(&mut self, value: &[u8], hash: u64, length: u32, times: u64) {
        let kept = beginning(value, self.traits.is_binary);
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(kept);
        let bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.values.insert(hash, times, Kept { start, kept: kept.len() as u32, bytes, length });
    }

    fn push_sketched(&mut self, value: &[u8], hash: u64, is_known: bool) {
        let length = if self.traits.is_measured { self.length_of(value) } else { 0 };
        if let Some(sketch) = self.sketch.as_deref_mut() {
            sketch.distinct.add(hash);
            sketch.lengths.add(length, 1);
            if self.traits.has_patterns {
                let kept = beginning(value, false);
                sketch.patterns.add(kept, kept.len() < value.len(), 1);
            }
        }
        if is_known {
            return;
        }
        if self.traits.is_ordered {
            self.stretch(value);
        }
        if self.values.is_full() {
            self.purge();
        }
        self.insert(value, hash, length, 1);
    }

    fn length_of(&self, value: &[u8]) -> u32 {
        let length = match self.traits.is_binary || value.is_ascii() {
            true => value.len(),
            // Bytes that continue a character are 10xxxxxx.
            false => value.iter().filter(|byte| **byte & 0xc0 != 0x80).count(),
        };
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    #[inline]
    fn stretch(&mut self, value: &[u8]) {
        let Some(ends) = &mut self.ends else {
            self.ends = Some(Ends { least: value.to_vec(), greatest: value.to_vec() });
            return;
        };
        if value < ends.least.as_slice() {
            ends.least.clear();
            ends.least.extend_from_slice(value);
        }
        if value > ends.greatest.as_slice() {
            ends.greatest.clear();
            ends.greatest.extend_from_slice(value);
        }
    }

    fn purge(&mut self) {
        self.values.purge();
        let mut arena = Vec::with_capacity(self.arena.capacity());
        for entry in self.values.entries_mut() {
            let start = arena.len() as u32;
            arena.extend_from_slice(entry.value.of(&self.arena));
            entry.value.start = start;
        }
        self.arena = arena;
    }

    /// Goes on with sketches, which take over what was counted.
    fn begin_sketch(&mut self) {
        if self.sketch.is_some() {
            return;
        }
        let mut distinct = HyperLogLog::new();
        for entry in self.values.entries() {
            distinct.add(entry.hash());
        }
        self.sketch = Some(Box::new(Sketch { distinct, lengths: self.lengths(), patterns: self.patterns() }));
    }

    fn lengths(&self) -> Lengths {
        let mut lengths = Lengths::default();
        for entry in self.values.entries() {
            lengths.add(entry.value.length, entry.count);
        }
        lengths
    }

    fn patterns(&self) -> Patterns {
        let mut patterns = Patterns::new();
        if self.traits.has_patterns {
            for entry in self.values.entries() {
                patterns.add(entry.value.of(&self.arena), entry.value.is_cut(), entry.count);
            }
        }
        patterns
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        if other.rows == 0 {
            return;
        }
        if self.rows == 0 {
            *self = other;
            return;
        }
        let distinct = |one: &Self, other: &Self| one.values.entries().len() + other.values.entries().len();
        let is_counted = self.sketch.is_none() && other.sketch.is_none();
        // Values that both have may make it fewer.
        if !is_counted || (distinct(self, &other) > CAPACITY_MAX && self.number_with(&other) > CAPACITY_MAX) {
            self.begin_sketch();
            other.begin_sketch();
        }
        self.rows += other.rows;
        for entry in other.values.entries() {
            let (kept, bytes) = (entry.value, entry.value.of(&other.arena));
            let arena = &self.arena;
            if let Some(known) = self.values.find(entry.hash(), |known| known.is_like(kept, bytes, arena)) {
                known.count += entry.count;
                continue;
            }
            if self.values.is_full() {
                self.purge();
            }
            let start = self.arena.len() as u32;
            self.arena.extend_from_slice(bytes);
            self.values.insert(entry.hash(), entry.count, Kept { start, ..kept });
        }
        self.values.add_error(&other.values);
        if let Some(ends) = other.ends.take() {
            self.stretch(&ends.least);
            self.stretch(&ends.greatest);
        }
        if let (Some(own), Some(other)) = (self.sketch.as_deref_mut(), other.sketch.as_deref()) {
            own.distinct.merge(&other.distinct);
            own.patterns.merge(&other.patterns);
            own.lengths.least = own.lengths.least.min(other.lengths.least);
            own.lengths.greatest = own.lengths.greatest.max(other.lengths.greatest);
            own.lengths.sum += other.lengths.sum;
        }
    }

    /// How many distinct values there are in both.
    fn number_with(&mut self, other: &Self) -> usize {
        let arena = &self.arena;
        let values = &mut self.values;
        let mut number = values.entries().len();
        for entry in other.values.entries() {
            let (kept, bytes) = (entry.value, entry.value.of(&other.arena));
            number += usize::from(values.find(entry.hash(), |known| known.is_like(kept, bytes, arena)).is_none());
        }
        number
    }

    /// `None` when there was no value.
    pub(super) fn finish(mut self) -> Option<TextsSummary> {
        if self.rows == 0 {
            return None;
        }
        let is_exact = self.sketch.is_none();
        self.begin_sketch();
        let sketch = self.sketch.take()?;
        let arena = &self.arena;
        let shown = |kept: Kept| Shown { bytes: kept.of(arena).to_vec(), is_cut: kept.is_cut() };
        let top = self.values.top(super::TOP_MAX, |one, other| one.of(arena).cmp(other.of(arena)));
        let top = top.iter().map(|entry| (shown(entry.value), entry.count)).collect();
        let top_patterns = sketch.patterns.top(super::PATTERNS_SHOWN_MAX);
        let top_patterns = top_patterns.iter().map(|entry| (entry.value.to_string(), entry.count)).collect();
        let patterns = self.traits.has_patterns.then_some(top_patterns);
        let lengths = sketch.lengths;
        let mean = lengths.sum as f64 / self.rows as f64;
        Some(TextsSummary {
            distinct: match is_exact {
                true => self.values.entries().len() as u64,
                false => sketch.distinct.estimate().clamp(1, self.rows),
            },
            is_exact,
            ends: self.ends.take().map(|ends| (ends.least, ends.greatest)),
            top,
            top_error: self.values.error(),
            lengths: self.traits.is_measured.then_some((lengths.least, lengths.greatest, mean)),
            patterns,
            patterns_error: sketch.patterns.error(),
            patterns_number: sketch.patterns.number(),
            patterns_are_ascii: sketch.patterns.is_ascii(),
        })
    }
}

impl Kept {
    fn of(self, arena: &[u8]) -> &[u8] {
        arena.get(self.start as usize..(self.start + self.kept) as usize).unwrap_or_default()
    }

    fn is_cut(self) -> bool {
        self.kept < self.bytes
    }

    /// Whether it is the beginning of the value, and the value is as long: the hash has told the rest.
    #[inline]
    fn is(self, value: &[u8], arena: &[u8]) -> bool {
        self.bytes as usize == value.len() && value.starts_with(self.of(arena))
    }

    fn is_like(self, other: Self, bytes: &[u8], arena: &[u8]) -> bool {
        self.bytes == other.bytes && self.of(arena) == bytes
    }
}

/// What is kept of a value: whole characters.
fn beginning(value: &[u8], is_binary: bool) -> &[u8] {
    let Some(mut cut) = value.get(..KEPT_BYTES_MAX) else { return value };
    if !is_binary && value.get(KEPT_BYTES_MAX).is_some_and(|next| next & 0xc0 == 0x80) {
        let start = cut.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or_default();
        cut = cut.get(..start).unwrap_or_default();
    }
    cut
}

fn without_padding(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    value.get(..end).unwrap_or_default()
}
