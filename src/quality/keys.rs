//! Keys of a table's rows, seen batch by batch from several threads: whether one of them occurs twice, and how many are not
//! among those of another table.
//!
//! ```text
//! batches ─→ a hash of 64 bits for each key ─→ parts by their first bits ─→ a table for each part: seen before?
//! ```
//! Equal keys have equal hashes, so hashes that all differ prove that no key occurs twice. Two that are the same prove nothing:
//! whoever asks then counts the keys themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

use super::profile::mixed;
use super::witness::Witness;
use crate::error::{Error, Result};

/// The hashes are kept in as many parts as a byte has values: a table for one of some millions of rows fits a core's cache.
const PARTS: usize = 256;
/// Bytes that a kept hash takes at most: vectors grow by doubling.
const HASH_BYTES: usize = 2 * size_of::<u64>();
/// Hashes that differ fill the parts evenly. Many keys that are the same fill one, and a part's table is not in the memory
/// pool: it may take no more than a small share of what the hashes take.
const PART_SHARES_MAX: usize = 4;
/// A part of few hashes may be any share of them.
const PART_HASHES_MIN: usize = 1 << 12;
const SEED: u64 = 0x2545_f491_4f6c_dd1d;
/// A bitmap is built where it has no more bits for a key than this.
const BITS_PER_KEY_MAX: u128 = 64;

/// Whether keys of columns of these types can be told apart by their bits.
pub fn is_hashable(ty: &DataType) -> bool {
    is_integral(ty)
        || matches!(
            ty,
            DataType::Boolean | DataType::Decimal128(..) | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        )
}

/// Whether values of the type are integers of up to 64 bits, as they are stored.
fn is_integral(ty: &DataType) -> bool {
    matches!(ty, DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(..))
}

/// Whether values of both types are the same exactly if they are stored as the same integer.
pub fn are_comparable(one: &DataType, other: &DataType) -> bool {
    let is_integer = |ty: &DataType| matches!(ty, DataType::Int16 | DataType::Int32 | DataType::Int64);
    is_integral(one) && one == other || is_integer(one) && is_integer(other)
}

/// Sees the keys of all rows, and tells whether one of them occurs twice.
#[derive(Debug)]
pub struct UniqueKeys {
    /// What a thread works on while it sees a batch.
    places: Mutex<Vec<Hashes>>,
    memory: Mutex<Option<MemoryReservation>>,
    bytes_max: usize,
    /// Rows whose key is known.
    rows: AtomicU64,
    /// There is no memory for the keys.
    is_lost: AtomicBool,
}

#[derive(Debug)]
struct Hashes {
    parts: Vec<Vec<u64>>,
    /// Of the batch.
    hashes: Vec<u64>,
}

impl UniqueKeys {
    /// At most so many bytes of the pool are taken: others need it too.
    pub fn new(pool: &Arc<dyn MemoryPool>, bytes_max: usize) -> Self {
        Self {
            places: Mutex::default(),
            bytes_max,
            memory: Mutex::new(Some(MemoryConsumer::new("UniqueKeys").register(pool))),
            rows: AtomicU64::new(0),
            is_lost: AtomicBool::new(false),
        }
    }

    /// Reserves memory; without it what was seen is given up.
    fn hold(&self, bytes: usize) -> bool {
        let mut memory = self.memory.lock();
        let fits =
            |memory: &MemoryReservation| memory.size() + bytes <= self.bytes_max && memory.try_grow(bytes).is_ok();
        let held = memory.as_ref().is_some_and(fits);
        if !held {
            self.is_lost.store(true, Ordering::Relaxed);
            self.places.lock().clear();
            *memory = None;
        }
        held
    }

    /// Rows whose key is known, all rows having been seen.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// What was seen, all rows having been seen; `None` if it did not fit the memory.
    pub fn seen(&self) -> Option<SeenKeys> {
        let memory = self.memory.lock().take()?;
        let places = std::mem::take(&mut *self.places.lock());
        (!self.is_lost.load(Ordering::Relaxed)).then_some(SeenKeys { places, _memory: memory })
    }
}

impl Witness for UniqueKeys {
    fn see(&self, columns: &[ArrayRef]) -> Result<()> {
        let known = known(columns);
        let rows = columns.first().map_or(0, |column| column.len());
        let count = rows - known.as_ref().map_or(0, NullBuffer::null_count);
        self.rows.fetch_add(count as u64, Ordering::Relaxed);
        if self.is_lost.load(Ordering::Relaxed) || !self.hold(count * HASH_BYTES) {
            return Ok(());
        }
        let place = self.places.lock().pop();
        let mut place = place.unwrap_or_else(|| Hashes { parts: vec![Vec::new(); PARTS], hashes: Vec::new() });
        place.hashes.clear();
        place.hashes.resize(rows, SEED);
        columns.iter().try_for_each(|column| hash(column, &mut place.hashes))?;
        let Hashes { parts, hashes } = &mut place;
        match known.filter(|known| known.null_count() > 0) {
            None => hashes.iter().for_each(|hash| keep(parts, *hash)),
            Some(known) => known.valid_indices().filter_map(|row| hashes.get(row)).for_each(|hash| keep(parts, *hash)),
        }
        self.places.lock().push(place);
        Ok(())
    }
}

/// The keys of all rows.
#[derive(Debug)]
pub struct SeenKeys {
    places: Vec<Hashes>,
    _memory: MemoryReservation,
}

impl SeenKeys {
    /// Whether the keys of one of so many shares are proved to differ from each other. The shares can be asked at the same
    /// time; together they tell of all keys.
    pub fn differ(&self, share: usize, shares: usize) -> bool {
        let mut table = Vec::new();
        (share..PARTS).step_by(shares.max(1)).all(|part| {
            let Some(count) = self.count(part) else { return false };
            table.clear();
            table.resize((2 * count).next_power_of_two(), 0);
            let mut has_zero = false;
            self.hashes(part).flatten().all(|hash| match hash {
                0 => !std::mem::replace(&mut has_zero, true),
                hash => put(&mut table, *hash),
            })
        })
    }

    fn hashes(&self, part: usize) -> impl Iterator<Item = &Vec<u64>> {
        self.places.iter().filter_map(move |place| place.parts.get(part))
    }

    /// The number of a part's hashes; `None` if there are too many for all of them to differ.
    fn count(&self, part: usize) -> Option<usize> {
        let all: usize = self.places.iter().flat_map(|place| &place.parts).map(Vec::len).sum();
        let count = self.hashes(part).map(Vec::len).sum();
        (count <= PART_HASHES_MIN.max(PART_SHARES_MAX * all / PARTS)).then_some(count)
    }
}

/// Puts a hash that is not 0 into a table with room; false if it is there.
fn put(table: &mut [u64], hash: u64) -> bool {
    let mask = table.len() - 1;
    // The first bits are the same in all of the part.
    let mut at = hash as usize & mask;
    while let Some(slot) = table.get_mut(at) {
        match *slot {
            0 => {
                *slot = hash;
                return true;
            }
            known if known == hash => return false,
            _ => at = (at + 1) & mask,
        }
    }
    false
}

fn keep(parts: &mut [Vec<u64>], hash: u64) {
    if let Some(part) = parts.get_mut((hash >> (u64::BITS - PARTS.ilog2())) as usize) {
        part.push(hash);
    }
}

/// The rows where no column is NULL; `None`: all.
fn known(columns: &[ArrayRef]) -> Option<NullBuffer> {
    columns.iter().fold(None, |known, column| NullBuffer::union(known.as_ref(), column.logical_nulls().as_ref()))
}

/// Adds the values of a column to the rows' hashes: the same values to the same hash give the same.
fn hash(column: &ArrayRef, hashes: &mut [u64]) -> Result<()> {
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean().values();
            hashes.iter_mut().zip(values).for_each(|(hash, value)| *hash = mixed(*hash ^ u64::from(value)));
        }
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>().values();
            for (hash, value) in hashes.iter_mut().zip(values) {
                *hash = mixed(mixed(*hash ^ *value as u64) ^ (*value >> u64::BITS) as u64);
            }
        }
        DataType::Utf8 => texts(column.as_string::<i32>().iter(), hashes),
        DataType::LargeUtf8 => texts(column.as_string::<i64>().iter(), hashes),
        DataType::Utf8View => texts(column.as_string_view().iter(), hashes),
        _ => return integers(column, Hashed { hashes }),
    }
    Ok(())
}

fn texts<'a>(texts: impl Iterator<Item = Option<&'a str>>, hashes: &mut [u64]) {
    for (hash, text) in hashes.iter_mut().zip(texts) {
        let bytes = text.unwrap_or_default().as_bytes();
        *hash = mixed(*hash ^ bytes.len() as u64);
        for bytes in bytes.chunks(size_of::<u64>()) {
            let word = bytes.iter().rev().fold(0, |word, byte| word << u8::BITS | u64::from(*byte));
            *hash = mixed(*hash ^ word);
        }
    }
}

/// What is done with a column's values as integers, those of NULLs among them.
trait OnIntegers {
    type Done;
    fn on(self, values: impl Iterator<Item = i64>) -> Self::Done;
}

struct Hashed<'a> {
    hashes: &'a mut [u64],
}

impl OnIntegers for Hashed<'_> {
    type Done = ();

    fn on(self, values: impl Iterator<Item = i64>) {
        self.hashes.iter_mut().zip(values).for_each(|(hash, value)| *hash = mixed(*hash ^ value as u64));
    }
}

fn integers<Done>(column: &ArrayRef, on: impl OnIntegers<Done = Done>) -> Result<Done> {
    fn long<T: ArrowPrimitiveType<Native = i64>>(column: &ArrayRef) -> impl Iterator<Item = i64> {
        column.as_primitive::<T>().values().iter().copied()
    }
    Ok(match column.data_type() {
        DataType::Int16 => on.on(column.as_primitive::<Int16Type>().values().iter().map(|value| i64::from(*value))),
        DataType::Int32 => on.on(column.as_primitive::<Int32Type>().values().iter().map(|value| i64::from(*value))),
        DataType::Date32 => on.on(column.as_primitive::<Date32Type>().values().iter().map(|value| i64::from(*value))),
        DataType::Int64 => on.on(long::<Int64Type>(column)),
        DataType::Timestamp(TimeUnit::Second, _) => on.on(long::<TimestampSecondType>(column)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => on.on(long::<TimestampMillisecondType>(column)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => on.on(long::<TimestampMicrosecondType>(column)),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => on.on(long::<TimestampNanosecondType>(column)),
        other => return Err(Error::internal(format!("keys of type {other}"))),
    })
}

/// The integers that are keys of another table, as they are collected.
#[derive(Debug)]
pub struct KeyCollection {
    keys: Vec<i64>,
    memory: MemoryReservation,
}

impl KeyCollection {
    pub fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        Self { keys: Vec::new(), memory: MemoryConsumer::new("KeySet").register(pool) }
    }

    /// Adds a column's values, but for NULLs; false if they do not fit the memory.
    ///
    /// # Errors
    /// For types that are no integers.
    pub fn add(&mut self, column: &ArrayRef) -> Result<bool> {
        // Most of it for the set that follows.
        if self.memory.try_grow(6 * size_of::<i64>() * column.len()).is_err() {
            return Ok(false);
        }
        integers(column, Added { keys: &mut self.keys, known: column.logical_nulls() })?;
        Ok(true)
    }

    pub fn finish(self) -> KeySet {
        let Self { keys, memory } = self;
        let least = keys.iter().copied().min().unwrap_or(0);
        let span = (i128::from(keys.iter().copied().max().unwrap_or(0)) - i128::from(least)) as u128;
        if span <= BITS_PER_KEY_MAX * keys.len() as u128 {
            let mut bits = vec![0_u64; (span / u128::from(u64::BITS)) as usize + 1];
            for key in keys {
                let (word, bit) = place(key, least);
                if let Some(word) = bits.get_mut(word) {
                    *word |= bit;
                }
            }
            return KeySet { keys: Keys::Bits { least, bits }, _memory: memory };
        }
        let mut slots = vec![0; (2 * keys.len()).next_power_of_two()];
        let mut has_zero = false;
        for key in keys {
            // The finaliser is a bijection: what it makes of a key stands for it.
            match mixed(key as u64) {
                0 => has_zero = true,
                key => drop(put(&mut slots, key)),
            }
        }
        KeySet { keys: Keys::Slots { slots, has_zero }, _memory: memory }
    }
}

struct Added<'a> {
    keys: &'a mut Vec<i64>,
    known: Option<NullBuffer>,
}

impl OnIntegers for Added<'_> {
    type Done = ();

    fn on(self, values: impl Iterator<Item = i64>) {
        match self.known {
            None => self.keys.extend(values),
            Some(known) => self.keys.extend(values.zip(&known).filter_map(|(value, known)| known.then_some(value))),
        }
    }
}

/// The keys of another table, exactly.
#[derive(Debug)]
pub struct KeySet {
    keys: Keys,
    _memory: MemoryReservation,
}

#[derive(Debug)]
enum Keys {
    /// A bit for each integer from the least.
    Bits { least: i64, bits: Vec<u64> },
    /// Mixed keys, in a table at most half full; 0 is an empty slot.
    Slots { slots: Vec<u64>, has_zero: bool },
}

/// Word and bit of a key in a bitmap; far beyond its end for a key below the least.
fn place(key: i64, least: i64) -> (usize, u64) {
    let at = key.wrapping_sub(least) as u64;
    ((at / u64::from(u64::BITS)) as usize, 1 << (at % u64::from(u64::BITS)))
}

impl KeySet {
    fn has(&self, key: i64) -> bool {
        match &self.keys {
            Keys::Bits { least, bits } => {
                let (word, bit) = place(key, *least);
                bits.get(word).is_some_and(|word| word & bit != 0)
            }
            Keys::Slots { slots, has_zero } => match mixed(key as u64) {
                0 => *has_zero,
                key => {
                    let mask = slots.len() - 1;
                    let mut at = key as usize & mask;
                    while let Some(slot) = slots.get(at).filter(|slot| **slot != 0) {
                        if *slot == key {
                            return true;
                        }
                        at = (at + 1) & mask;
                    }
                    false
                }
            },
        }
    }
}

/// Counts the rows that refer to no key of the set.
#[derive(Debug)]
pub struct References {
    keys: Arc<KeySet>,
    rows: AtomicU64,
    missing: AtomicU64,
}

impl References {
    pub fn to(keys: Arc<KeySet>) -> Self {
        Self { keys, rows: AtomicU64::new(0), missing: AtomicU64::new(0) }
    }

    /// Rows that refer to something, all rows having been seen.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Of these, those whose key is not in the set.
    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }
}

impl Witness for References {
    fn see(&self, columns: &[ArrayRef]) -> Result<()> {
        let [column] = columns else { return Err(Error::internal("a reference by several columns")) };
        let known = column.logical_nulls();
        let rows = column.len() - known.as_ref().map_or(0, NullBuffer::null_count);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        let missing = integers(column, Missing { keys: &self.keys, known })?;
        self.missing.fetch_add(missing, Ordering::Relaxed);
        Ok(())
    }
}

struct Missing<'a> {
    keys: &'a KeySet,
    known: Option<NullBuffer>,
}

impl OnIntegers for Missing<'_> {
    type Done = u64;

    fn on(self, values: impl Iterator<Item = i64>) -> u64 {
        let missing = values.map(|value| !self.keys.has(value));
        match self.known {
            None => missing.map(u64::from).sum(),
            Some(known) => missing.zip(&known).map(|(missing, known)| u64::from(missing && known)).sum(),
        }
    }
}

#[cfg(test)]
mod tests;
