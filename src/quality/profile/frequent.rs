//! Values and how often they came: all of them while they are few, else the frequent ones.
//!
//! ```text
//! add ─┬ known ─→ its count
//!      ├ room  ─→ a new entry
//!      └ full  ─→ purge: the median is taken from all counts, and entries without any left go
//! ```
//! What a purge takes away is the same for all values, so a value's true count lies between its count and that plus the sum
//! of all purges (Misra and Gries; purging by the median after Anderson and others, "A high-performance algorithm for
//! identifying frequent items in data streams", IMC 2017). The caller purges: it knows what else to do when exactness ends.

/// Entries at most: 16 bits of a slot tell one of them.
pub(super) const CAPACITY_MAX: usize = 4096;
const SLOTS_MIN: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct Entry<V> {
    hash: u64,
    pub count: u64,
    pub value: V,
}

#[derive(Debug, Clone)]
pub(super) struct Frequent<V> {
    /// Open addressing over a power of two: 0 for free, else 16 bits of the hash above the entry's number plus 1. Small, so
    /// that it stays in the first cache.
    slots: Vec<u32>,
    entries: Vec<Entry<V>>,
    capacity: usize,
    purged: u64,
}

/// There is no room for a new value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl<V> Frequent<V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { slots: vec![0; SLOTS_MIN], entries: Vec::new(), capacity: capacity.min(CAPACITY_MAX), purged: 0 }
    }

    pub(super) fn entries(&self) -> &[Entry<V>] {
        &self.entries
    }

    pub(super) fn entries_mut(&mut self) -> &mut [Entry<V>] {
        &mut self.entries
    }

    /// How much more often than counted a value may have come at most; 0 while counts are exact.
    pub(super) fn error(&self) -> u64 {
        self.purged
    }

    pub(super) fn size(&self) -> usize {
        self.slots.capacity() * size_of::<u32>() + self.entries.capacity() * size_of::<Entry<V>>()
    }

    /// Counts a value `times` more.
    #[inline]
    pub(super) fn add(
        &mut self,
        hash: u64,
        times: u64,
        is_same: impl Fn(&V) -> bool,
        value: impl FnOnce() -> V,
    ) -> Result<(), Full> {
        if let Some(entry) = self.find(hash, is_same) {
            entry.count += times;
            return Ok(());
        }
        if self.is_full() {
            return Err(Full);
        }
        self.insert(hash, times, value());
        Ok(())
    }

    #[inline]
    pub(super) fn find(&mut self, hash: u64, is_same: impl Fn(&V) -> bool) -> Option<&mut Entry<V>> {
        let mut slot = self.home(hash);
        loop {
            let found = self.slots.get(slot).copied().filter(|found| *found != 0)?;
            if found >> 16 == tag(hash) {
                let number = (found & 0xffff) as usize - 1;
                if self.entries.get(number).is_some_and(|entry| entry.hash == hash && is_same(&entry.value)) {
                    return self.entries.get_mut(number);
                }
            }
            slot = self.next(slot);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    /// A value that is not known yet, when there is room.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, times: u64, value: V) {
        self.entries.push(Entry { hash, count: times, value });
        if self.entries.len() * 2 > self.slots.len() {
            self.place_all(self.slots.len() * 2);
        } else {
            self.place(self.home(hash), hash, self.entries.len());
        }
    }

    /// Makes room: at least half of the entries go.
    pub(super) fn purge(&mut self) {
        let mut counts: Vec<u64> = self.entries.iter().map(|entry| entry.count).collect();
        let middle = counts.len() / 2;
        if counts.is_empty() {
            return;
        }
        let (_, median, _) = counts.select_nth_unstable(middle);
        let median = *median;
        self.entries.retain_mut(|entry| {
            entry.count = entry.count.saturating_sub(median);
            entry.count > 0
        });
        self.purged += median;
        self.place_all(self.slots.len());
    }

    /// Takes over the error of another one, whose entries are added one by one.
    pub(super) fn add_error(&mut self, other: &Self) {
        self.purged += other.purged;
    }

    /// Entries that are certain to have come more often than any value that is not among them, most frequent first;
    /// `before` orders those that came equally often.
    pub(super) fn top(&self, number: usize, before: impl Fn(&V, &V) -> std::cmp::Ordering) -> Vec<&Entry<V>> {
        let mut certain: Vec<&Entry<V>> = self.entries.iter().filter(|entry| entry.count > self.purged).collect();
        certain.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| before(&one.value, &other.value)));
        certain.truncate(number);
        certain
    }

    fn home(&self, hash: u64) -> usize {
        // The low bits are the sketch's, the high ones the tag's.
        (hash >> 20) as usize & (self.slots.len() - 1)
    }

    fn next(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    fn place(&mut self, mut slot: usize, hash: u64, number: usize) {
        while self.slots.get(slot).is_some_and(|taken| *taken != 0) {
            slot = self.next(slot);
        }
        if let Some(free) = self.slots.get_mut(slot) {
            *free = (tag(hash) << 16) | number as u32;
        }
    }

    fn place_all(&mut self, slots: usize) {
        self.slots.clear();
        self.slots.resize(slots, 0);
        for number in 0..self.entries.len() {
            let Some(hash) = self.entries.get(number).map(|entry| entry.hash) else { continue };
            self.place(self.home(hash), hash, number + 1);
        }
    }
}

impl<V> Entry<V> {
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 48) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::quality::profile::numbers::mixed;

    fn add(counts: &mut Frequent<u64>, value: u64) {
        while counts.add(mixed(value), 1, |known| *known == value, || value).is_err() {
            counts.purge();
        }
    }

    #[test]
    fn few_values_are_counted_exactly() {
        let mut counts = Frequent::new(CAPACITY_MAX);
        for value in 0..100_000_u64 {
            add(&mut counts, value % 4096);
        }
        assert_eq!((counts.entries().len(), counts.error()), (4096, 0));
        assert!(counts.entries().iter().all(|entry| (24..=25).contains(&entry.count)));
    }

    #[test]
    fn true_counts_lie_within_the_error() {
        let mut counts = Frequent::new(256);
        let mut truth: HashMap<u64, u64> = HashMap::new();
        for number in 0..200_000_u64 {
            // A tenth of the rows have one of five values, the others are rare.
            let value = if number % 10 == 0 { number / 10 % 5 } else { 10 + mixed(number) % 50_000 };
            add(&mut counts, value);
            *truth.entry(value).or_default() += 1;
        }
        assert!(counts.error() > 0 && counts.error() < 200_000 / 100);
        for entry in counts.entries() {
            let count = truth.get(&entry.value).copied().unwrap_or_default();
            assert!(entry.count <= count && count <= entry.count + counts.error());
        }
        let top: Vec<u64> = counts.top(10, Ord::cmp).iter().map(|entry| entry.value).collect();
        assert_eq!(top, [0, 1, 2, 3, 4]);
    }
}
