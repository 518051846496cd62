//! Batches to a dataset.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::compute::sort_to_indices;
use arrow::record_batch::RecordBatch;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};

use super::dictionary::{Dictionary, MISSING};
use super::{Dataset, Target, Values, hash};
use crate::error::{Error, Result, SqlState};
use crate::models::algebra::parallel;
use crate::models::feature::{Feature, FeatureKind, class_values, numbers, texts, values};
use crate::models::refusal::OfOption;
use crate::models::watch::{Stopped, Watch};

/// Rows that are moved between two questions whether to go on.
const WATCHED_ROWS: usize = 1 << 18;

/// What the columns of the batches are for, by their places.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub features: Vec<(usize, Feature)>,
    pub label: Option<(usize, Feature)>,
    /// The label is one of some classes, not a number.
    pub classes: bool,
    pub weight: Option<(usize, Feature)>,
    /// A row without a value here is left out: there is no time to put it at.
    pub time: Option<usize>,
    /// A boolean column that says what is held out.
    pub split: Option<(usize, Feature)>,
    /// The share of rows that is held out otherwise.
    pub eval_fraction: f64,
    pub seed: u64,
    /// Classes at most.
    pub classes_max: usize,
}

/// The dataset while rows come.
pub struct Builder {
    plan: Plan,
    columns: Vec<Growing>,
    label: Option<Growing>,
    weights: Vec<f64>,
    held_out: Vec<bool>,
    hashes: Vec<u64>,
    skipped: BTreeMap<&'static str, u64>,
    memory: MemoryReservation,
}

enum Growing {
    Numbers(Vec<f64>),
    Codes(Vec<u32>, Dictionary),
}

impl Growing {
    fn new(kind: FeatureKind, classes: bool) -> Self {
        if kind.is_category() || classes {
            Self::Codes(Vec::new(), Dictionary::default())
        } else {
            Self::Numbers(Vec::new())
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.capacity() * 8,
            Self::Codes(codes, dictionary) => codes.capacity() * 4 + dictionary.bytes(),
        }
    }

    /// What it is once it is settled.
    fn settled_bytes(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len() * 8,
            Self::Codes(codes, dictionary) => codes.len() * 4 + dictionary.bytes(),
        }
    }

    /// Adds the values of the rows that stay, and mixes them into the rows' hashes.
    fn push(&mut self, array: &ArrayRef, feature: &Feature, kept: &[u32], hashes: &mut [u64]) -> Result<()> {
        match self {
            Self::Numbers(values) => {
                let array = numbers(array, feature.kind)?;
                let given = array.values();
                values.reserve(kept.len());
                for (row, hash) in kept.iter().zip(hashes) {
                    let value = given.get(*row as usize).copied().unwrap_or(f64::NAN);
                    *hash = hash::with(*hash, hash::of_number(value));
                    values.push(value);
                }
            }
            Self::Codes(codes, dictionary) => {
                let array = texts(array, feature.ty())?;
                codes.reserve(kept.len());
                for (row, hash) in kept.iter().zip(hashes) {
                    let row = *row as usize;
                    if array.is_null(row) {
                        *hash = hash::with(*hash, u64::MAX);
                        codes.push(MISSING);
                        continue;
                    }
                    let text = array.value(row);
                    *hash = hash::with(*hash, hash::of_text(text));
                    codes.push(dictionary.code(text, &feature.name)?);
                }
            }
        }
        Ok(())
    }

    fn settled(self, order: &[u32], watch: &dyn Watch) -> Result<Values, Stopped> {
        Ok(match self {
            Self::Numbers(numbers) => Values::Numbers(gathered(&numbers, order, f64::NAN, watch)?),
            Self::Codes(codes, dictionary) => {
                let (texts, places) = dictionary.settled(true);
                Values::Codes { codes: renamed(&codes, &places, order, watch)?, texts }
            }
        })
    }
}

fn gathered<T: Copy>(values: &[T], order: &[u32], absent: T, watch: &dyn Watch) -> Result<Vec<T>, Stopped> {
    moved(order, watch, |row| values.get(row).copied().unwrap_or(absent))
}

fn renamed(codes: &[u32], places: &[u32], order: &[u32], watch: &dyn Watch) -> Result<Vec<u32>, Stopped> {
    let place = |code: u32| places.get(code as usize).copied().unwrap_or(MISSING);
    moved(order, watch, |row| place(codes.get(row).copied().unwrap_or(MISSING)))
}

/// What stands in these rows, in their order.
fn moved<T>(order: &[u32], watch: &dyn Watch, value: impl Fn(usize) -> T) -> Result<Vec<T>, Stopped> {
    let mut values = Vec::with_capacity(order.len());
    for rows in order.chunks(WATCHED_ROWS) {
        watch.check()?;
        values.extend(rows.iter().map(|row| value(*row as usize)));
    }
    Ok(values)
}

impl Builder {
    pub fn new(plan: Plan, pool: &Arc<dyn MemoryPool>) -> Self {
        let columns = plan.features.iter().map(|(_, feature)| Growing::new(feature.kind, false)).collect();
        let label = plan.label.as_ref().map(|(_, feature)| Growing::new(feature.kind, plan.classes));
        Self {
            plan,
            columns,
            label,
            weights: Vec::new(),
            held_out: Vec::new(),
            hashes: Vec::new(),
            skipped: BTreeMap::new(),
            memory: MemoryConsumer::new("training").register(pool),
        }
    }

    pub fn rows(&self) -> usize {
        self.hashes.len()
    }

    /// Takes a batch of rows.
    ///
    /// # Errors
    /// 53200 when the pool is full, 54000 for too many rows or texts, 22023 for a weight or a label that cannot be one.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let kept = self.kept(batch)?;
        if self.hashes.len() + kept.len() > u32::MAX as usize {
            let message = format!("a model cannot be trained on more than {} rows", u32::MAX);
            return Err(Error::new(SqlState::ProgramLimitExceeded, message));
        }
        let mut hashes = vec![hash::start(self.plan.seed); kept.len()];
        for (column, (place, feature)) in self.columns.iter_mut().zip(&self.plan.features) {
            column.push(at(batch, *place)?, feature, &kept, &mut hashes)?;
        }
        if let (Some(label), Some((place, feature))) = (&mut self.label, &self.plan.label) {
            let array = at(batch, *place)?;
            let array = if self.plan.classes { &class_values(array) } else { array };
            label.push(array, feature, &kept, &mut hashes)?;
            if let Growing::Codes(_, dictionary) = label
                && dictionary.len() > self.plan.classes_max
            {
                let message = format!("label \"{}\" has more than {} classes", feature.name, self.plan.classes_max);
                return Err(Error::new(SqlState::ProgramLimitExceeded, message)
                    .with_hint("A number is predicted by a regression.")
                    .with_source(OfOption("label")));
            }
        }
        if let Some((place, feature)) = &self.plan.weight {
            let array = numbers(at(batch, *place)?, feature.kind)?;
            for (row, hash) in kept.iter().zip(&mut hashes) {
                let weight = array.values().get(*row as usize).copied().unwrap_or(f64::NAN);
                if !weight.is_finite() || weight < 0.0 {
                    let message = format!("weight \"{}\" must be a number of at least 0", feature.name);
                    return Err(Error::new(SqlState::InvalidParameterValue, message).with_source(OfOption("weight")));
                }
                *hash = hash::with(*hash, hash::of_number(weight));
                self.weights.push(weight);
            }
        }
        if let Some((place, _)) = &self.plan.split {
            let array = at(batch, *place)?.as_boolean();
            let is_held_out = |row: &u32| array.is_valid(*row as usize) && array.value(*row as usize);
            for (row, hash) in kept.iter().zip(&mut hashes) {
                *hash = hash::with(*hash, u64::from(is_held_out(row)));
            }
            self.held_out.extend(kept.iter().map(is_held_out));
        }
        self.hashes.extend_from_slice(&hashes);
        let columns = self.columns.iter().chain(&self.label).map(Growing::bytes).sum::<usize>();
        let bytes = columns + self.hashes.capacity() * 8 + self.weights.capacity() * 8 + self.held_out.capacity();
        self.memory.try_resize(bytes)?;
        Ok(())
    }

    /// The rows that have a label.
    fn kept(&mut self, batch: &RecordBatch) -> Result<Vec<u32>> {
        let all = 0..batch.num_rows() as u32;
        let Some((place, feature)) = &self.plan.label else { return Ok(all.collect()) };
        let array = at(batch, *place)?;
        let mut kept: Vec<u32> = all.collect();
        if let Some(time) = self.plan.time {
            let times = at(batch, time)?;
            kept.retain(|row| times.is_valid(*row as usize));
            let without = batch.num_rows() - kept.len();
            if without > 0 {
                *self.skipped.entry("time is null").or_default() += without as u64;
            }
        }
        let timed = kept.len();
        kept.retain(|row| array.is_valid(*row as usize));
        let without = timed - kept.len();
        if without > 0 {
            *self.skipped.entry("label is null").or_default() += without as u64;
        }
        let before = kept.len();
        if self.plan.classes {
            let values = class_values(array);
            kept.retain(|row| values.is_valid(*row as usize));
        } else {
            let values = numbers(array, feature.kind)?;
            let number = |row: &u32| values.values().get(*row as usize).copied().unwrap_or(f64::NAN);
            if kept.iter().any(|row| number(row).is_infinite()) {
                let message = format!("label \"{}\" is infinite", feature.name);
                return Err(Error::new(SqlState::NumericValueOutOfRange, message)
                    .with_hint("Leave such rows out in the query.")
                    .with_source(OfOption("label")));
            }
            kept.retain(|row| !number(row).is_nan());
        }
        if kept.len() < before {
            *self.skipped.entry("label is NaN").or_default() += (before - kept.len()) as u64;
        }
        Ok(kept)
    }

    /// Puts the rows into their order: those to train with, then those held out, each by hash.
    ///
    /// # Errors
    /// 53200 when the pool is full, 57014 when the watch says so.
    pub fn finish(self, threads: usize, watch: &dyn Watch) -> Result<Dataset> {
        let Self { plan, columns, label, weights, held_out, hashes, skipped, memory } = self;
        let rows = hashes.len();
        let kept_bytes = memory.size().saturating_sub(hashes.capacity() * 8);
        let settled_bytes = columns.iter().chain(&label).map(Growing::settled_bytes).sum::<usize>() + weights.len() * 8;
        // Beside what is there: rows with their hashes, twice while they are sorted.
        memory.try_grow(rows * 2 * size_of::<Place>())?;
        let is_held_out = |hash: u64, row: u32| match &plan.split {
            Some(_) => held_out.get(row as usize).copied().unwrap_or(false),
            None => plan.eval_fraction > 0.0 && hash::share(hash) < plan.eval_fraction,
        };
        let (order, train_rows) = ordered(&hashes, is_held_out, threads, watch)?;
        drop(hashes);
        // A column is there twice while it moves: as many move at once as the pool has room for. What comes out is the same.
        let mut moving = threads.clamp(1, columns.len().max(1));
        while let Err(full) = memory.try_resize(kept_bytes + rows * (4 + 8 * moving)) {
            if moving == 1 {
                return Err(full.into());
            }
            moving /= 2;
        }
        let columns: Vec<Values> = parallel::try_each(moving, columns, |column| column.settled(&order, watch))?;
        let target = match (label, &plan.label) {
            (Some(Growing::Numbers(numbers)), _) => Target::Numbers(gathered(&numbers, &order, f64::NAN, watch)?),
            (Some(Growing::Codes(codes, dictionary)), Some((_, feature))) => {
                let (texts, places) = dictionary.settled(false);
                let (classes, sorted) = in_order_of(texts, feature)?;
                let places: Vec<u32> =
                    places.iter().map(|place| sorted.get(*place as usize).copied().unwrap_or(0)).collect();
                Target::Classes { codes: renamed(&codes, &places, &order, watch)?, classes }
            }
            _ => Target::None,
        };
        let weights = plan.weight.is_some().then(|| gathered(&weights, &order, 0.0, watch)).transpose()?;
        // Vectors had room for more while they grew.
        memory.try_resize(settled_bytes)?;
        let features = plan.features.into_iter().map(|(_, feature)| feature).collect();
        Ok(Dataset { features, columns, target, weights, rows, train_rows, skipped, memory: Some(memory) })
    }
}

/// A row by its hash.
type Place = (u64, u32);

/// The rows to train with by their hashes, then those held out, and the number of the former.
///
/// Of equal rows each has a hash of its own, by its number among them: they may stand for each other, and are held out and spread as others
/// are. Together they would be all to train with or all held out.
fn ordered(
    hashes: &[u64],
    is_held_out: impl Fn(u64, u32) -> bool,
    threads: usize,
    watch: &dyn Watch,
) -> Result<(Vec<u32>, usize), Stopped> {
    let mut places = sorted(hashes.iter().copied().zip(0..), hashes.len(), threads, watch)?;
    let (mut before, mut number, mut any) = (None, 0, false);
    for places in places.chunks_mut(WATCHED_ROWS) {
        watch.check()?;
        for (hash, _) in places {
            if before == Some(*hash) {
                (number, any) = (number + 1, true);
                *hash = hash::with(*hash, number);
            } else {
                (before, number) = (Some(*hash), 0);
            }
        }
    }
    if any {
        places = sorted(places.iter().copied(), places.len(), threads, watch)?;
    }
    let (mut order, mut rest) = (Vec::with_capacity(places.len()), Vec::new());
    for places in places.chunks(WATCHED_ROWS) {
        watch.check()?;
        for (hash, row) in places {
            if is_held_out(*hash, *row) { rest.push(*row) } else { order.push(*row) }
        }
    }
    let train_rows = order.len();
    order.append(&mut rest);
    Ok((order, train_rows))
}

/// Rows by their hashes. They are dealt into buckets by the first bits, and each bucket is sorted alone: what is sorted stays in the cache,
/// and threads share the buckets.
fn sorted(
    rows: impl Iterator<Item = Place> + Clone,
    count: usize,
    threads: usize,
    watch: &dyn Watch,
) -> Result<Vec<Place>, Stopped> {
    const BUCKET_ROWS: usize = 4096;
    let bits = (count / BUCKET_ROWS).max(2).ilog2().min(16);
    let bucket = |hash: u64| (hash >> (u64::BITS - bits)) as usize;
    let mut sizes = vec![0_usize; 1 << bits];
    for (number, (hash, _)) in rows.clone().enumerate() {
        if number.is_multiple_of(WATCHED_ROWS) {
            watch.check()?;
        }
        if let Some(size) = sizes.get_mut(bucket(hash)) {
            *size += 1;
        }
    }
    let mut nexts: Vec<usize> = Vec::with_capacity(sizes.len());
    let mut start = 0;
    for size in &sizes {
        nexts.push(start);
        start += size;
    }
    let mut places: Vec<Place> = vec![(0, 0); count];
    for (number, (hash, row)) in rows.enumerate() {
        if number.is_multiple_of(WATCHED_ROWS) {
            watch.check()?;
        }
        if let Some(next) = nexts.get_mut(bucket(hash)) {
            if let Some(place) = places.get_mut(*next) {
                *place = (hash, row);
            }
            *next += 1;
        }
    }
    let mut rest = places.as_mut_slice();
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        let (part, others) = rest.split_at_mut(size);
        parts.push(part);
        rest = others;
    }
    parallel::try_each(threads, parts, |part| {
        watch.check()?;
        part.sort_unstable();
        Ok::<_, Stopped>(())
    })?;
    Ok(places)
}

fn at(batch: &RecordBatch, place: usize) -> Result<&ArrayRef> {
    batch.columns().get(place).ok_or_else(|| Error::internal("a column of the training query is missing"))
}

/// Classes in the order of their type, and the place of each.
fn in_order_of(texts: Vec<String>, label: &Feature) -> Result<(Vec<String>, Vec<u32>)> {
    // Texts are in order.
    let order: Vec<usize> = if label.kind.is_category() {
        (0..texts.len()).collect()
    } else {
        let values = values(texts.iter().map(|text| Some(text.as_str())), label.ty())?;
        sort_to_indices(&values, None, None)?.values().iter().map(|place| *place as usize).collect()
    };
    let mut places = vec![0; texts.len()];
    for (place, from) in order.iter().enumerate() {
        if let Some(slot) = places.get_mut(*from) {
            *slot = place as u32;
        }
    }
    let mut sorted = vec![String::new(); texts.len()];
    for (from, text) in texts.into_iter().enumerate() {
        if let Some(slot) = places.get(from).and_then(|place| sorted.get_mut(*place as usize)) {
            *slot = text;
        }
    }
    Ok((sorted, places))
}
