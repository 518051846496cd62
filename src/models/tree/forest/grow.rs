//! One tree of a forest, depth first, on one thread.

use super::criterion::{Best, Criterion, Entry, TOGETHER};
use super::rows::{ByRow, Near};
use crate::models::tree::control::{Meter, Stopped};
use crate::models::tree::model::{Rule, Split, Tree};
use crate::models::tree::rng::Rng;
use crate::models::tree::{Bins, MISSING, Matrix};

/// What the trees of a forest share.
pub(super) struct Grower<'a, C: Criterion> {
    pub(super) matrix: &'a Matrix,
    /// The same codes, where nodes with few of the rows copy theirs from.
    pub(super) by_row: Option<ByRow>,
    pub(super) bins: &'a [Bins],
    pub(super) criterion: &'a C,
    pub(super) features_per_node: usize,
    pub(super) depth_max: usize,
    pub(super) rows_split_min: u64,
    pub(super) rows_leaf_min: u64,
    pub(super) gain_min: f64,
    pub(super) outputs: usize,
}

/// A node whose rows are `entries[start..end]`.
struct Open<Cell> {
    node: usize,
    start: usize,
    end: usize,
    depth: usize,
    total: Vec<Cell>,
}

/// A feature's histogram and the bins that have rows.
struct Histogram<Cell> {
    cells: Vec<Cell>,
    order: [u8; 256],
    occupied: usize,
    has_missing: bool,
}

/// One thread's memory, kept from tree to tree.
pub(super) struct Scratch<Cell> {
    right: Vec<Entry>,
    features: Vec<u32>,
    now: [Histogram<Cell>; TOGETHER],
    best: Histogram<Cell>,
    /// The rows of the subtree that grows.
    near: Near,
}

/// Where a node's codes are.
#[derive(Clone, Copy)]
enum Codes<'a> {
    Columns(&'a Matrix),
    Near(&'a Near),
}

impl<Cell: Copy + Default> Scratch<Cell> {
    pub(super) fn new(stride: usize, features: usize) -> Self {
        let histogram = || Histogram {
            cells: vec![Cell::default(); 256 * stride],
            order: [0; 256],
            occupied: 0,
            has_missing: false,
        };
        let now = std::array::from_fn(|_| histogram());
        Self {
            right: Vec::new(),
            features: (0..features as u32).collect(),
            now,
            best: histogram(),
            near: Near::default(),
        }
    }

    /// Before a tree, lest its features depend on the trees that this thread grew before.
    pub(super) fn order_features(&mut self) {
        self.features.iter_mut().zip(0..).for_each(|(feature, number)| *feature = number);
    }
}

impl<C: Criterion> Grower<'_, C> {
    /// Grows a tree on the drawn rows, which end in the order of the leaves.
    pub(super) fn grow(
        &self,
        entries: &mut [Entry],
        rng: &mut Rng,
        scratch: &mut Scratch<C::Cell>,
        meter: &mut Meter<'_>,
    ) -> Result<Tree, Stopped> {
        let stride = self.criterion.stride();
        let mut total = vec![C::Cell::default(); stride];
        self.criterion.total(entries, &mut total);
        let mut tree = Tree::new(0, self.outputs as u32);
        let root = tree.push(self.criterion.weight(&total));
        let mut open = vec![Open { node: root, start: 0, end: entries.len(), depth: 0, total }];
        let mut values = Vec::new();
        // The rows that stand near by. A subtree is grown whole before its sister is, so that they are of one at a time.
        let mut near = 0..0;
        while let Some(Open { node, start, end, depth, total }) = open.pop() {
            let rows = &mut entries[start..end];
            let is_near = near.start <= start && end <= near.end;
            let drawn = self.criterion.rows(&total);
            let closed = depth >= self.depth_max
                || drawn < self.rows_split_min
                || drawn < 2 * self.rows_leaf_min
                || self.criterion.pure(&total, rows);
            let by_row = self.by_row.as_ref().filter(|by_row| !is_near && !closed && by_row.is_to_be_near(rows.len()));
            let is_near = is_near || by_row.is_some();
            if let Some(by_row) = by_row {
                meter.spend(rows.len() * 4)?;
                scratch.near.take(by_row, rows);
                near = start..end;
            }
            let split = if closed { None } else { self.best_split(rows, is_near, &total, rng, scratch, meter)? };
            let Some(split) = split else {
                values.clear();
                self.criterion.leaf(&total, rows, &mut values);
                tree.set_leaf(node, &values);
                continue;
            };
            let table = split.rule.table(split.default_left);
            let [left_total, mut right_total] = sides(&scratch.best, &table, &total);
            meter.spend(2 * rows.len())?;
            let feature = split.feature as usize;
            let lefts = if is_near {
                let codes = &scratch.near;
                partition(rows, |row| codes.of(row)[feature], &table, &mut scratch.right)
            } else {
                let column = self.matrix.column(feature);
                partition(rows, |row| column[row], &table, &mut scratch.right)
            };
            if !self.criterion.is_exact() {
                right_total.fill(C::Cell::default());
                self.criterion.total(&rows[lefts..], &mut right_total);
            }
            let middle = start + lefts;
            let covers = [self.criterion.weight(&left_total), self.criterion.weight(&right_total)];
            let left = tree.split(node, &split, &self.bins[feature], covers);
            open.push(Open { node: left + 1, start: middle, end, depth: depth + 1, total: right_total });
            open.push(Open { node: left, start, end: middle, depth: depth + 1, total: left_total });
        }
        Ok(tree)
    }

    /// The best split among a random choice of features; beyond it, the first that splits at all (as scikit-learn does).
    /// `scratch.best` is left with the histogram of the feature that was chosen.
    fn best_split(
        &self,
        rows: &[Entry],
        is_near: bool,
        total: &[C::Cell],
        rng: &mut Rng,
        scratch: &mut Scratch<C::Cell>,
        meter: &mut Meter<'_>,
    ) -> Result<Option<Split>, Stopped> {
        let Scratch { features, now, best: kept, near, .. } = scratch;
        let codes = if is_near { Codes::Near(near) } else { Codes::Columns(self.matrix) };
        let mut found: Option<Split> = None;
        let mut visited = 0;
        while visited < features.len() && (visited < self.features_per_node || found.is_none()) {
            // As many as are looked at in any case.
            let count = if visited + TOGETHER <= self.features_per_node.min(features.len()) { TOGETHER } else { 1 };
            for place in visited..visited + count {
                rng.shuffle_front(&mut features[place..], 1);
            }
            let chosen = &features[visited..visited + count];
            visited += count;
            meter.spend(count * (rows.len() + 64))?;
            match <[u32; TOGETHER]>::try_from(chosen) {
                Ok(chosen) => self.fill_together(now, chosen, codes, rows),
                Err(_) => self.fill(&mut now[0], chosen[0] as usize, codes, rows),
            }
            for (histogram, feature) in now.iter_mut().zip(chosen) {
                let gain_min = found.map_or(self.gain_min, |split| split.gain);
                if let Some(split) = self.split_of(histogram, *feature, total, gain_min) {
                    found = Some(split);
                    std::mem::swap(histogram, kept);
                }
            }
        }
        Ok(found)
    }

    fn fill(&self, histogram: &mut Histogram<C::Cell>, feature: usize, codes: Codes<'_>, rows: &[Entry]) {
        self.clear(histogram);
        match codes {
            Codes::Columns(matrix) => {
                let column = matrix.column(feature);
                self.criterion.fill(|row| column[row], rows, &mut histogram.cells);
                self.note(histogram, feature, rows, |row| column[row]);
            }
            Codes::Near(near) => {
                self.criterion.fill(|row| near.of(row)[feature], rows, &mut histogram.cells);
                self.note(histogram, feature, rows, |row| near.of(row)[feature]);
            }
        }
    }

    fn fill_together(
        &self,
        histograms: &mut [Histogram<C::Cell>; TOGETHER],
        features: [u32; TOGETHER],
        codes: Codes<'_>,
        rows: &[Entry],
    ) {
        histograms.iter_mut().for_each(|histogram| self.clear(histogram));
        let cells = histograms.each_mut().map(|histogram| histogram.cells.as_mut_slice());
        let features = features.map(|feature| feature as usize);
        match codes {
            Codes::Columns(matrix) => {
                let [a, b, c, d] = features.map(|feature| matrix.column(feature));
                self.criterion.fill_together(|row| [a[row], b[row], c[row], d[row]], rows, cells);
                for (histogram, feature) in histograms.iter_mut().zip(features) {
                    let column = matrix.column(feature);
                    self.note(histogram, feature, rows, |row| column[row]);
                }
            }
            Codes::Near(near) => {
                self.criterion.fill_together(|row| near.some(row, features), rows, cells);
                for (histogram, feature) in histograms.iter_mut().zip(features) {
                    self.note(histogram, feature, rows, |row| near.of(row)[feature]);
                }
            }
        }
    }

    fn clear(&self, histogram: &mut Histogram<C::Cell>) {
        let stride = self.criterion.stride();
        let mut clear = |bin: u8| histogram.cells[usize::from(bin) * stride..][..stride].fill(C::Cell::default());
        histogram.order[..histogram.occupied].iter().for_each(|&bin| clear(bin));
        clear(MISSING);
    }

    /// Notes which bins have rows.
    fn note(&self, histogram: &mut Histogram<C::Cell>, feature: usize, rows: &[Entry], code: impl Fn(usize) -> u8) {
        let stride = self.criterion.stride();
        histogram.occupied = 0;
        let mut push = |bin: u8, occupied: bool| {
            histogram.order[histogram.occupied] = bin;
            histogram.occupied += usize::from(occupied);
        };
        let bins = self.bins[feature].len();
        if rows.len() >= bins {
            for bin in 0..bins {
                push(bin as u8, self.criterion.rows(&histogram.cells[bin * stride..][..stride]) > 0);
            }
        } else {
            // Few rows: cheaper to note the bins that they touch than to look at all.
            let mut seen = [0_u64; 4];
            for entry in rows {
                let code = code(entry.row());
                seen[usize::from(code / 64)] |= 1 << (code % 64);
            }
            seen[3] &= !(1 << 63);
            for (word, mut bits) in seen.into_iter().enumerate() {
                while bits != 0 {
                    push((word * 64) as u8 + bits.trailing_zeros() as u8, true);
                    bits &= bits - 1;
                }
            }
        }
        histogram.has_missing = self.criterion.rows(&histogram.cells[usize::from(MISSING) * stride..][..stride]) > 0;
    }

    fn split_of(
        &self,
        histogram: &mut Histogram<C::Cell>,
        feature: u32,
        total: &[C::Cell],
        gain_min: f64,
    ) -> Option<Split> {
        let stride = self.criterion.stride();
        let cells = &histogram.cells;
        let cell = |bin: u8| &cells[usize::from(bin) * stride..][..stride];
        let order = &mut histogram.order[..histogram.occupied];
        if order.len() + usize::from(histogram.has_missing) < 2 {
            return None;
        }
        let categorical = self.bins[feature as usize].is_categorical();
        let mut sorted = [0_u8; 256];
        let order: &[u8] = if categorical {
            let mut keyed: Vec<(f64, u8)> =
                order.iter().map(|&bin| (self.criterion.key(cell(bin), total), bin)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            sorted.iter_mut().zip(&keyed).for_each(|(slot, &(_, bin))| *slot = bin);
            &sorted[..keyed.len()]
        } else {
            order
        };
        let mut best = Best { gain: gain_min, place: usize::MAX, missing_left: false };
        self.criterion.scan(cells, order, None, total, self.rows_leaf_min, &mut best);
        let missing = histogram.has_missing.then(|| cell(MISSING));
        if missing.is_some() {
            self.criterion.scan(cells, order, missing, total, self.rows_leaf_min, &mut best);
        }
        let (left, right) = order.split_at_checked(best.place.checked_add(1)?)?;
        let rule = if categorical {
            let mut set = [0_u64; 4];
            left.iter().for_each(|&bin| set[usize::from(bin / 64)] |= 1 << (bin % 64));
            Rule::In(set)
        } else {
            // Empty bins between the sides are shared between them. Nothing on the right but missing values: all values go left.
            Rule::Upto(match (left.last(), right.first()) {
                (Some(&low), Some(&high)) => ((u16::from(low) + u16::from(high) - 1) / 2) as u8,
                _ => (self.bins[feature as usize].len() - 1) as u8,
            })
        };
        let default_left = match missing {
            Some(_) => best.missing_left,
            // Never seen here: with the greater side.
            None => {
                let rows = |bins: &[u8]| bins.iter().map(|&bin| self.criterion.rows(cell(bin))).sum::<u64>();
                rows(left) > rows(right)
            }
        };
        Some(Split { feature, rule, default_left, gain: best.gain })
    }
}

/// The totals of the left and of the right rows.
fn sides<Cell>(histogram: &Histogram<Cell>, table: &[u8; 256], total: &[Cell]) -> [Vec<Cell>; 2]
where
    Cell: Copy + Default + std::ops::AddAssign + std::ops::SubAssign,
{
    let stride = total.len();
    let mut left = vec![Cell::default(); stride];
    let mut right = total.to_vec();
    let missing = histogram.has_missing.then_some(MISSING);
    for bin in histogram.order[..histogram.occupied].iter().copied().chain(missing) {
        if table[usize::from(bin)] == 1 {
            for lane in 0..stride {
                left[lane] += histogram.cells[usize::from(bin) * stride + lane];
                right[lane] -= histogram.cells[usize::from(bin) * stride + lane];
            }
        }
    }
    [left, right]
}

/// Brings the rows that go left to the front, both sides in their order: columns are then read forwards. Returns how many went left.
fn partition(rows: &mut [Entry], code: impl Fn(usize) -> u8, table: &[u8; 256], right: &mut Vec<Entry>) -> usize {
    right.resize(rows.len().max(right.len()), Entry::default());
    let right = &mut right[..rows.len()];
    let (mut lefts, mut rights) = (0, 0);
    for place in 0..rows.len() {
        let entry = rows[place];
        let left = usize::from(table[usize::from(code(entry.row()))]);
        rows[lefts] = entry;
        right[rights] = entry;
        lefts += left;
        rights += 1 - left;
    }
    rows[lefts..].copy_from_slice(&right[..rights]);
    lefts
}
