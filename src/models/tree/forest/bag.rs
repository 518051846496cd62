//! The rows that a tree is grown on.

use super::criterion::Entry;
use crate::models::tree::rng::Rng;

/// How often every row was drawn, and the entries of those drawn, in row order.
pub(super) struct Bag {
    counts: Vec<u16>,
    pub(super) entries: Vec<Entry>,
}

impl Bag {
    pub(super) fn new(rows: usize) -> Self {
        Self { counts: vec![0; rows], entries: Vec::new() }
    }

    /// Draws `draws` rows with (bootstrap) or without repetition. Rows for which `weighs` is false are drawn but not learnt from.
    pub(super) fn draw(
        &mut self,
        rng: &mut Rng,
        draws: usize,
        bootstrap: bool,
        class: impl Fn(usize) -> u16,
        weighs: impl Fn(usize) -> bool,
    ) {
        let rows = self.counts.len();
        if bootstrap {
            self.counts.fill(0);
            for _ in 0..draws / 2 {
                // Two draws from one number: the halves are independent.
                let random = rng.next();
                for half in [random >> 32, random & 0xffff_ffff] {
                    let count = &mut self.counts[((half * rows as u64) >> 32) as usize];
                    *count = count.saturating_add(1);
                }
            }
            if draws % 2 == 1 {
                let count = &mut self.counts[rng.below(rows as u32) as usize];
                *count = count.saturating_add(1);
            }
        } else if draws >= rows {
            self.counts.fill(1);
        } else {
            // Selection sampling (Knuth, volume 2, algorithm S): exactly `draws` rows.
            let mut wanted = draws;
            for (row, count) in self.counts.iter_mut().enumerate() {
                let take = (rng.below((rows - row) as u32) as usize) < wanted;
                *count = u16::from(take);
                wanted -= usize::from(take);
            }
        }
        self.entries.clear();
        let drawn = self.counts.iter().enumerate().filter(|&(row, &count)| count > 0 && weighs(row));
        self.entries.extend(drawn.map(|(row, &count)| Entry::new(row as u32, count, class(row))));
    }

    /// The rows that were not drawn.
    pub(super) fn out(&self) -> impl Iterator<Item = usize> {
        self.counts.iter().enumerate().filter(|&(_, &count)| count == 0).map(|(row, _)| row)
    }
}
