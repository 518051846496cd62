//! The best split of a leaf from its histogram: LightGBM's gain, its treatment of categories, its estimate of counts.

use super::BoostOptions;
use super::histogram::{CELLS, unpack};
use crate::models::tree::model::{Rule, Split};
use crate::models::tree::{Bins, MISSING};

/// The real sizes of a gradient's and a hessian's unit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Units {
    pub(super) gradient: f64,
    pub(super) hessian: f64,
}

/// Sums over the rows of a side, in units.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) gradient: i64,
    pub(super) hessian: u64,
}

impl Sums {
    pub(super) fn of(cell: u64) -> Self {
        let (gradient, hessian) = unpack(cell);
        Self { gradient, hessian }
    }

    fn add(self, cell: u64) -> Self {
        let (gradient, hessian) = unpack(cell);
        Self { gradient: self.gradient + gradient, hessian: self.hessian + hessian }
    }

    pub(super) fn less(self, other: Self) -> Self {
        Self { gradient: self.gradient - other.gradient, hessian: self.hessian.saturating_sub(other.hessian) }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) split: Split,
    pub(super) left: Sums,
    /// Added to lambda_l2 for the children's values.
    pub(super) extra_l2: f64,
}

/// A leaf that is to be split. Sums stay in units while cuts are compared; `worth` of gain is one in the end.
pub(super) struct Finder<'a> {
    options: &'a BoostOptions,
    units: Units,
    total: Sums,
    rows: usize,
    l1: f64,
    l2: f64,
    worth: f64,
}

/// A leaf's value before the learning rate: `-G / (H + l2)`, `G` drawn to zero by l1.
pub(super) fn leaf_value(sums: Sums, units: Units, options: &BoostOptions, extra_l2: f64) -> f64 {
    let hessian = sums.hessian as f64 * units.hessian + options.lambda_l2 + extra_l2;
    if hessian > 0.0 { -soft(sums.gradient as f64 * units.gradient, options.lambda_l1) / hessian } else { 0.0 }
}

fn soft(gradient: f64, l1: f64) -> f64 {
    if l1 > 0.0 { gradient.signum() * (gradient.abs() - l1).max(0.0) } else { gradient }
}

/// What a scan keeps.
struct Best {
    gain: f64,
    place: usize,
    left: Sums,
    missing_left: bool,
    from_above: bool,
}

impl<'a> Finder<'a> {
    /// `total` is that of the leaf's `rows`; its hessian is not 0.
    pub(super) fn new(options: &'a BoostOptions, units: Units, total: Sums, rows: usize) -> Self {
        Self {
            options,
            units,
            total,
            rows,
            l1: options.lambda_l1 / units.gradient,
            l2: options.lambda_l2 / units.hessian,
            worth: units.gradient * units.gradient / units.hessian,
        }
    }

    fn gain(&self, sums: Sums, l2: f64) -> f64 {
        let gradient = soft(sums.gradient as f64, self.l1);
        gradient * gradient / (sums.hessian as f64 + l2)
    }

    /// The gains of both sides, with one division; both have a hessian.
    #[inline(always)]
    fn gains(&self, left: Sums, right: Sums, l2: f64) -> f64 {
        let (left_gradient, right_gradient) =
            (soft(left.gradient as f64, self.l1), soft(right.gradient as f64, self.l1));
        let (left_hessian, right_hessian) = (left.hessian as f64 + l2, right.hessian as f64 + l2);
        (left_gradient * left_gradient * right_hessian + right_gradient * right_gradient * left_hessian)
            / (left_hessian * right_hessian)
    }

    /// Rows of a side, from its share of the hessian.
    #[inline(always)]
    fn rows_of(&self, sums: Sums) -> f64 {
        sums.hessian as f64 * (self.rows as f64 / self.total.hessian as f64)
    }

    /// The best split of one feature; `cells` are its own.
    pub(super) fn best(&self, feature: usize, bins: &Bins, cells: &[u64]) -> Option<Candidate> {
        let cells = cells.first_chunk::<CELLS>()?;
        if bins.is_categorical() { self.best_category(feature, cells) } else { self.best_number(feature, bins, cells) }
    }

    fn best_number(&self, feature: usize, bins: &Bins, cells: &[u64; CELLS]) -> Option<Candidate> {
        let shift = self.gain(self.total, self.l2) + self.options.gain_min / self.worth;
        let mut best =
            Best { gain: shift, place: usize::MAX, left: Sums::default(), missing_left: false, from_above: false };
        let missing = cells[usize::from(MISSING)];
        let cells = &cells[..bins.len()];
        self.scan(cells, Sums::default(), false, &mut best);
        if missing != 0 {
            self.scan(cells, Sums::of(missing), true, &mut best);
        }
        let low = best.place;
        if low >= cells.len() || best.gain - shift <= 1e-12 * shift.abs() {
            return None;
        }
        // Empty bins between the sides are shared between them.
        let high = cells.iter().skip(low + 1).position(|&cell| cell != 0).map(|empty| low + 1 + empty);
        let code = high.map_or(cells.len() - 1, |high| (low + high - 1) / 2);
        let default_left =
            if missing != 0 { best.missing_left } else { best.left.hessian > self.total.less(best.left).hessian };
        let split = Split {
            feature: feature as u32,
            rule: Rule::Upto(code as u8),
            default_left,
            gain: (best.gain - shift) * self.worth,
        };
        Some(Candidate { split, left: best.left, extra_l2: 0.0 })
    }

    /// Tries every cut; the left side starts with `left`.
    fn scan(&self, cells: &[u64], mut left: Sums, missing_left: bool, best: &mut Best) {
        // Bounds in units of hessian: no conversions in the loop.
        let per_row = self.total.hessian as f64 / self.rows as f64;
        let rows_min = (self.options.rows_leaf_min as f64 - 0.5) * per_row;
        let least = rows_min.max(self.options.hessian_leaf_min / self.units.hessian).max(1.0);
        let most = self.total.hessian as f64 - least;
        for (place, &cell) in cells.iter().enumerate() {
            if cell == 0 {
                continue;
            }
            left = left.add(cell);
            let hessian = left.hessian as f64;
            if hessian < least {
                continue;
            }
            if hessian > most {
                break;
            }
            let gain = self.gains(left, self.total.less(left), self.l2);
            if gain > best.gain {
                *best = Best { gain, place, left, missing_left, from_above: false };
            }
        }
    }

    /// One against the rest when there are few categories; else a prefix of those ordered by gradient over hessian, from either end. A missing
    /// value is a category like any other.
    fn best_category(&self, feature: usize, cells: &[u64; CELLS]) -> Option<Candidate> {
        let options = self.options;
        let mut order: Vec<usize> = (0..CELLS).filter(|&code| cells[code] != 0).collect();
        let alone = order.len() <= options.categories_alone_max;
        let extra_l2 = if alone { 0.0 } else { options.category_l2 };
        let l2 = (options.lambda_l2 + extra_l2) / self.units.hessian;
        let shift = self.gain(self.total, self.l2) + options.gain_min / self.worth;
        let mut best =
            Best { gain: shift, place: usize::MAX, left: Sums::default(), missing_left: false, from_above: false };
        if alone {
            for (place, &code) in order.iter().enumerate() {
                let left = Sums::of(cells[code]);
                self.try_side(left, l2, place, false, &mut best);
            }
        } else {
            let ratio = |code: usize| {
                let sums = Sums::of(cells[code]);
                let hessian = sums.hessian as f64 * self.units.hessian;
                sums.gradient as f64 * self.units.gradient / (hessian + options.category_smooth)
            };
            order.retain(|&code| self.rows_of(Sums::of(cells[code])) >= options.category_smooth);
            order.sort_by(|&a, &b| ratio(a).total_cmp(&ratio(b)).then(a.cmp(&b)));
            let depth = options.categories_side_max.min(order.len().div_ceil(2));
            for from_above in [false, true] {
                let mut left = Sums::default();
                let mut in_group = 0.0;
                for place in 0..depth {
                    let code = order[if from_above { order.len() - 1 - place } else { place }];
                    left = left.add(cells[code]);
                    in_group += self.rows_of(Sums::of(cells[code]));
                    let right_rows = self.rows as f64 - self.rows_of(left);
                    if right_rows < options.category_group_min as f64 {
                        break;
                    }
                    if in_group < options.category_group_min as f64 {
                        continue;
                    }
                    in_group = 0.0;
                    self.try_side(left, l2, place, from_above, &mut best);
                }
            }
        }
        if best.place >= order.len() || best.gain - shift <= 1e-12 * shift.abs() {
            return None;
        }
        let left: Vec<usize> = match (alone, best.from_above) {
            (true, _) => vec![order[best.place]],
            (false, false) => order[..=best.place].to_vec(),
            (false, true) => order[order.len() - 1 - best.place..].to_vec(),
        };
        let mut set = [0_u64; 4];
        left.iter().for_each(|&code| set[code / 64] |= 1 << (code % 64));
        let default_left = left.contains(&usize::from(MISSING));
        set[3] &= !(1 << 63);
        let split = Split {
            feature: feature as u32,
            rule: Rule::In(set),
            default_left,
            gain: (best.gain - shift) * self.worth,
        };
        Some(Candidate { split, left: best.left, extra_l2 })
    }

    fn try_side(&self, left: Sums, l2: f64, place: usize, from_above: bool, best: &mut Best) {
        let right = self.total.less(left);
        let rows_min = self.options.rows_leaf_min as f64 - 0.5;
        let enough = |sums: Sums| {
            self.rows_of(sums) >= rows_min
                && sums.hessian > 0
                && sums.hessian as f64 * self.units.hessian >= self.options.hessian_leaf_min
        };
        if !enough(left) || !enough(right) {
            return;
        }
        let gain = self.gains(left, right, l2);
        if gain > best.gain {
            *best = Best { gain, place, left, missing_left: false, from_above };
        }
    }
}
