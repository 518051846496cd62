//! Gini impurity of any number of classes, with weights: per bin one weight for each class, then the rows.

use super::criterion::{Best, Criterion, Entry, ROUNDING, TOGETHER};

pub(super) struct Classes<'a> {
    pub(super) labels: &'a [u16],
    pub(super) classes: usize,
    pub(super) class_weights: Vec<f64>,
    pub(super) weights: Option<&'a [f64]>,
    /// Two classes have one value in a leaf: the share of the second.
    pub(super) outputs: usize,
    /// Each class's share of the weight of all rows: what a tree says that drew no row with a weight.
    pub(super) prior: Vec<f64>,
}

impl Classes<'_> {
    #[inline(always)]
    fn weight_of(&self, entry: Entry) -> f64 {
        let class = self.class_weights[entry.class() as usize] * entry.count() as f64;
        self.weights.map_or(class, |weights| class * weights[entry.row()])
    }
}

impl Criterion for Classes<'_> {
    type Cell = f64;

    fn stride(&self) -> usize {
        self.classes + 1
    }

    fn class(&self, row: usize) -> u16 {
        self.labels[row]
    }

    fn is_of_entries(&self) -> bool {
        self.weights.is_none()
    }

    fn fill(&self, code: impl Fn(usize) -> u8, entries: &[Entry], cells: &mut [f64]) {
        let stride = self.stride();
        for &entry in entries {
            let cell = &mut cells[usize::from(code(entry.row())) * stride..][..stride];
            cell[entry.class() as usize] += self.weight_of(entry);
            cell[stride - 1] += entry.count() as f64;
        }
    }

    fn fill_together(
        &self,
        codes: impl Fn(usize) -> [u8; TOGETHER],
        entries: &[Entry],
        mut cells: [&mut [f64]; TOGETHER],
    ) {
        let stride = self.stride();
        for &entry in entries {
            let (class, weight, count) = (entry.class() as usize, self.weight_of(entry), entry.count() as f64);
            for (cells, code) in cells.iter_mut().zip(codes(entry.row())) {
                let cell = &mut cells[usize::from(code) * stride..][..stride];
                cell[class] += weight;
                cell[stride - 1] += count;
            }
        }
    }

    fn total(&self, entries: &[Entry], total: &mut [f64]) {
        for &entry in entries {
            total[entry.class() as usize] += self.weight_of(entry);
            total[self.classes] += entry.count() as f64;
        }
    }

    fn rows(&self, cell: &[f64]) -> u64 {
        cell[self.classes] as u64
    }

    fn weight(&self, cell: &[f64]) -> f64 {
        cell[..self.classes].iter().sum()
    }

    fn is_exact(&self) -> bool {
        self.weights.is_none() && self.class_weights.iter().all(|weight| *weight == 1.0)
    }

    fn pure(&self, total: &[f64], entries: &[Entry]) -> bool {
        // Not by comparing sums: those of weights are not exact.
        let first = entries.first().map(|entry| entry.class());
        self.weight(total) <= 0.0 || entries.iter().all(|entry| Some(entry.class()) == first)
    }

    /// By the share of the node's heaviest class: exact for two classes, a heuristic for more.
    fn key(&self, cell: &[f64], total: &[f64]) -> f64 {
        let heaviest = (0..self.classes).fold(0, |best, class| if total[class] > total[best] { class } else { best });
        cell[heaviest] / self.weight(cell)
    }

    fn scan(
        &self,
        cells: &[f64],
        order: &[u8],
        missing: Option<&[f64]>,
        total: &[f64],
        rows_min: u64,
        best: &mut Best,
    ) {
        let stride = self.stride();
        let rows_max = self.rows(total).saturating_sub(rows_min);
        let mut left = missing.map_or_else(|| vec![0.0; stride], <[f64]>::to_vec);
        let all = self.weight(total);
        let before = total[..self.classes].iter().map(|weight| weight * weight).sum::<f64>() / all;
        for (place, &bin) in order.iter().enumerate() {
            let cell = &cells[usize::from(bin) * stride..][..stride];
            let (mut weight, mut left_squares, mut right_squares) = (0.0, 0.0, 0.0);
            for class in 0..self.classes {
                let sum = left[class] + cell[class];
                left[class] = sum;
                weight += sum;
                left_squares += sum * sum;
                right_squares += (total[class] - sum) * (total[class] - sum);
            }
            left[self.classes] += cell[self.classes];
            let rows = left[self.classes] as u64;
            if rows < rows_min || rows > rows_max {
                continue;
            }
            let gain = left_squares / weight + right_squares / (all - weight) - before;
            // Below this the sums' rounding speaks.
            let least = all * ROUNDING;
            if gain > best.gain && gain > least && weight > least && all - weight > least {
                *best = Best { gain, place, missing_left: missing.is_some() };
            }
        }
    }

    /// Anew from the rows: a total that came by subtractions has a dust of weight where there is none.
    fn leaf(&self, total: &[f64], entries: &[Entry], values: &mut Vec<f64>) {
        let mut anew = vec![0.0; self.stride()];
        let total = if self.is_exact() {
            total
        } else {
            self.total(entries, &mut anew);
            &anew
        };
        let weight: f64 = total[..self.classes].iter().sum();
        let share = |class: usize| if weight > 0.0 { total[class] / weight } else { self.prior[class] };
        if self.outputs == 1 {
            values.push(share(1));
        } else {
            values.extend((0..self.classes).map(share));
        }
    }
}
