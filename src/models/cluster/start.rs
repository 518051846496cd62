//! Greedy k-means++ (Arthur and Vassilvitskii 2007): each further centroid is, of some rows drawn by squared distance, the one that leaves
//! the least.

use std::collections::HashSet;

use super::fit::Rows;
use crate::models::algebra::random::Random;
use crate::models::encoder::Block;
use crate::models::refusal::Refusal;

/// Squared distances below this share of the rows' own squares are what rounding leaves of none.
const ROUNDING: f64 = f64::EPSILON * f64::EPSILON;

/// At most `clusters` centroids; fewer when there are not so many different rows. `squares` is the weighted sum of those of all rows.
pub(super) fn centroids(
    rows: &Rows<'_>,
    clusters: usize,
    squares: f64,
    random: &mut Random,
) -> Result<Vec<Vec<f64>>, Refusal> {
    let count = rows.design.rows();
    let mut potential: Vec<f64> = (0..count).map(|row| rows.weight(row)).collect();
    let mut nearest = vec![f64::INFINITY; count];
    let first = draw(&potential, random);
    let mut chosen = vec![rows.encoded(first)];
    closer(rows, &chosen[0], &mut nearest)?;
    let trials = 2 + (clusters as f64).ln() as usize;
    while chosen.len() < clusters {
        let weighted = |row: usize| rows.weight(row) * nearest[row];
        potential.iter_mut().enumerate().for_each(|(row, place)| *place = weighted(row));
        let total: f64 = potential.iter().sum();
        if total.is_nan() || total <= squares * ROUNDING {
            break;
        }
        let candidates: Vec<Vec<f64>> = (0..trials).map(|_| rows.encoded(draw(&potential, random))).collect();
        let left = left_by(rows, &candidates, &nearest)?;
        let best = (0..trials).min_by(|a, b| left[*a].total_cmp(&left[*b])).unwrap_or(0);
        closer(rows, &candidates[best], &mut nearest)?;
        chosen.extend(candidates.into_iter().nth(best));
    }
    Ok(chosen)
}

/// Different rows, drawn without repetition; fewer than `clusters` when there are not so many that have a weight.
pub(super) fn drawn(rows: &Rows<'_>, clusters: usize, random: &mut Random) -> Result<Vec<Vec<f64>>, Refusal> {
    let count = rows.design.rows();
    let mut chances = Chances::new((0..count).map(|row| rows.weight(row)).collect());
    let mut chosen: Vec<Vec<f64>> = Vec::with_capacity(clusters.min(count));
    let mut known = HashSet::with_capacity(clusters.min(count));
    let mut block = rows.design.block();
    while chosen.len() < clusters {
        rows.pass.watch.check()?;
        let Some(row) = chances.take(random) else { break };
        let centroid = rows.encoded_in(&mut block, row);
        // Adding 0 makes the two zeros one.
        if known.insert(centroid.iter().map(|value| (value + 0.0).to_bits()).collect::<Vec<u64>>()) {
            chosen.push(centroid);
        }
    }
    Ok(chosen)
}

/// Chances of rows, from which one is taken in logarithmic time (Fenwick 1994): `sums[i]` is that of the chances of the last `i & -i` rows
/// before row `i`.
struct Chances {
    chances: Vec<f64>,
    sums: Vec<f64>,
    total: f64,
}

impl Chances {
    fn new(chances: Vec<f64>) -> Self {
        let total = chances.iter().sum();
        let mut sums = vec![0.0];
        sums.extend_from_slice(&chances);
        for place in 1..sums.len() {
            let above = place + (place & place.wrapping_neg());
            if above < sums.len() {
                sums[above] += sums[place];
            }
        }
        Self { chances, sums, total }
    }

    /// A row, with probability proportional to its chance, which is 0 from then on; `None` when no row has one.
    fn take(&mut self, random: &mut Random) -> Option<usize> {
        let mut left = random.unit() * self.total;
        let (mut before, mut step) = (0, self.sums.len().next_power_of_two());
        while step > 0 {
            let place = before + step;
            if place < self.sums.len() && self.sums[place] <= left {
                left -= self.sums[place];
                before = place;
            }
            step /= 2;
        }
        // Rounding may lead beyond the last row, or to one that was taken: it is the next one then.
        let row = (before..self.chances.len()).chain(0..before).find(|row| self.chances[*row] > 0.0)?;
        let chance = std::mem::take(&mut self.chances[row]);
        self.total -= chance;
        let mut place = row + 1;
        while place < self.sums.len() {
            self.sums[place] -= chance;
            place += place & place.wrapping_neg();
        }
        Some(row)
    }
}

/// A row, drawn with probability proportional to its potential.
fn draw(potential: &[f64], random: &mut Random) -> usize {
    let mut left = random.unit() * potential.iter().sum::<f64>();
    let mut last = 0;
    for (row, weight) in potential.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = row;
        if left < *weight {
            break;
        }
        left -= weight;
    }
    last
}

/// Lowers each row's squared distance to that from `centroid`.
fn closer(rows: &Rows<'_>, centroid: &[f64], nearest: &mut [f64]) -> Result<(), Refusal> {
    let add = |found: &mut Vec<f64>, block: &Block, _| {
        let start = found.len();
        found.resize(start + block.rows(), 0.0);
        block.add_distances(centroid, &mut found[start..]);
        Ok(())
    };
    let distances = rows.pass.fold(rows.design, 0, Vec::new, add)?;
    nearest
        .iter_mut()
        .zip(distances.into_iter().flatten())
        .for_each(|(near, distance)| *near = near.min(distance.max(0.0)));
    Ok(())
}

/// For each candidate, the weighted sum of squared distances if it were chosen.
fn left_by(rows: &Rows<'_>, candidates: &[Vec<f64>], nearest: &[f64]) -> Result<Vec<f64>, Refusal> {
    let none = || vec![0.0; candidates.len()];
    let sums = rows.pass.fold(rows.design, 0, none, |sums, block, range| {
        let mut distances = vec![0.0; range.len()];
        for (sum, candidate) in sums.iter_mut().zip(candidates) {
            distances.fill(0.0);
            block.add_distances(candidate, &mut distances);
            let each = range.clone().zip(&distances);
            *sum += each.map(|(row, distance)| rows.weight(row) * distance.max(0.0).min(nearest[row])).sum::<f64>();
        }
        Ok(())
    })?;
    Ok(sums.into_iter().fold(none(), |mut total, part| {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        total
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_once_and_by_their_chances() {
        let chances: Vec<f64> = (0..1000).map(|row| f64::from(row % 5)).collect();
        let (mut random, mut slow) = (Random::new(7, 1), Random::new(7, 1));
        let (mut taken, mut left) = (Chances::new(chances.clone()), chances);
        // What can be taken.
        for _ in 0..800 {
            let row = draw(&left, &mut slow);
            left[row] = 0.0;
            assert_eq!(taken.take(&mut random), Some(row));
        }
        assert_eq!(taken.take(&mut random), None);
    }

    #[test]
    fn rows_of_any_weights_are_all_taken() {
        let chances: Vec<f64> = (0..500).map(|row| 10_f64.powi(row % 40 - 20)).collect();
        let (mut random, mut taken) = (Random::new(7, 2), Chances::new(chances));
        let mut rows: Vec<usize> = std::iter::from_fn(|| taken.take(&mut random)).collect();
        rows.sort_unstable();
        assert_eq!(rows, (0..500).collect::<Vec<_>>());
        assert_eq!(Chances::new(Vec::new()).take(&mut random), None);
    }
}
