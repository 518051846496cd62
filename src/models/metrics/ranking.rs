//! Scores ranked: ROC curve, its area, average precision.

use super::EXACT_ROWS_MAX;

/// Octaves below ½ (and, mirrored, above) that have bins of their own, and bins an octave.
const OCTAVES: usize = 40;

/// Scores in [0, 1] of rows that are or are not of a class.
#[derive(Clone, Debug)]
pub struct Ranking {
    exact: Vec<Scored>,
    exact_max: usize,
    /// Weights of positive and negative rows by bin, ascending; empty while exact.
    bins: Vec<[f64; 2]>,
    octave: usize,
}

#[derive(Clone, Copy, Debug)]
struct Scored {
    score: f64,
    weight: f64,
    positive: bool,
}

/// Rows of one score (or bin).
#[derive(Clone, Copy, Debug)]
struct Group {
    score: f64,
    positive: f64,
    negative: f64,
}

/// The scores in their order.
#[derive(Clone, Debug)]
pub struct Ranked {
    groups: Vec<Group>,
    is_exact: bool,
}

/// An area under a curve, right to `error_max` (0 when exact).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    pub value: f64,
    pub error_max: f64,
}

/// What predicting "positive" for scores of at least `threshold` would do. The first point's threshold is infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RocPoint {
    pub threshold: f64,
    pub true_positives: f64,
    pub false_positives: f64,
    pub true_negatives: f64,
    pub false_negatives: f64,
}

impl RocPoint {
    /// The true positive rate; NaN without positive rows.
    pub fn recall(&self) -> f64 {
        self.true_positives / (self.true_positives + self.false_negatives)
    }

    /// NaN without negative rows.
    pub fn false_positive_rate(&self) -> f64 {
        self.false_positives / (self.false_positives + self.true_negatives)
    }
}

impl Default for Ranking {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Ranking {
    /// One of `siblings` rankings (classes), which share the memory.
    pub fn new(siblings: usize) -> Self {
        let siblings = siblings.max(1);
        Self {
            exact: Vec::new(),
            exact_max: EXACT_ROWS_MAX / siblings,
            bins: Vec::new(),
            octave: (4096 / siblings.next_power_of_two()).max(64),
        }
    }

    /// The most bytes that it holds of so many rows, and the most beside them when they are ranked.
    pub(super) fn bytes_max(&self, rows: usize) -> [usize; 2] {
        // A vector grows by doubling.
        let exact = rows.min(self.exact_max + 1).next_power_of_two() * size_of::<Scored>();
        if rows <= self.exact_max {
            // A copy, what it is sorted by, and groups of one row.
            return [exact, 3 * exact];
        }
        let bins = 2 * (OCTAVES * self.octave + 1);
        let groups = bins.next_power_of_two() * size_of::<Group>();
        // One ranking after the other puts its rows into bins.
        [exact.max(bins * size_of::<[f64; 2]>()), exact.max(groups)]
    }

    /// `score` must be in [0, 1]; a row whose score is not a number counts as 0.
    pub fn add(&mut self, score: f64, positive: bool, weight: f64) {
        let scored = Scored { score: if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) }, weight, positive };
        if self.bins.is_empty() {
            self.exact.push(scored);
            if self.exact.len() > self.exact_max {
                self.spill();
            }
        } else {
            self.bin(scored);
        }
    }

    pub fn merge(&mut self, other: Self) {
        if !other.bins.is_empty() && self.bins.is_empty() {
            self.spill();
        }
        self.bins.iter_mut().zip(&other.bins).for_each(|(bin, more)| (0..2).for_each(|side| bin[side] += more[side]));
        other.exact.into_iter().for_each(|scored| self.add(scored.score, scored.positive, scored.weight));
    }

    fn spill(&mut self) {
        self.bins = vec![[0.0; 2]; 2 * (OCTAVES * self.octave + 1)];
        std::mem::take(&mut self.exact).into_iter().for_each(|scored| self.bin(scored));
    }

    fn bin(&mut self, scored: Scored) {
        let half = self.bins.len() / 2;
        let low = self.low_bin(scored.score.min(1.0 - scored.score));
        let index = if scored.score < 0.5 { low } else { 2 * half - 1 - low };
        if let Some(bin) = self.bins.get_mut(index) {
            bin[usize::from(!scored.positive)] += scored.weight;
        }
    }

    /// The bin of a score up to ½: equal parts of each octave, one bin below them all.
    fn low_bin(&self, score: f64) -> usize {
        let part = (score.log2() + 1.0 + OCTAVES as f64) * self.octave as f64;
        // The conversion saturates: −∞ is 0.
        (part as usize + usize::from(part >= 0.0)).min(OCTAVES * self.octave)
    }

    fn edge(&self, index: usize) -> f64 {
        let half = self.bins.len() / 2;
        let edge = |low: usize| (low as f64 / self.octave as f64 - 1.0 - OCTAVES as f64).exp2();
        if index == 0 {
            0.0
        } else if index < half {
            edge(index - 1)
        } else {
            1.0 - edge(2 * half - 1 - index)
        }
    }

    /// By descending score; rows without weight are left out.
    pub fn ranked(&self) -> Ranked {
        let mut groups: Vec<Group> = Vec::new();
        if self.bins.is_empty() {
            let mut sorted: Vec<Scored> = self.exact.iter().filter(|scored| scored.weight > 0.0).copied().collect();
            sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
            for scored in sorted {
                let (positive, negative) = if scored.positive { (scored.weight, 0.0) } else { (0.0, scored.weight) };
                match groups.last_mut() {
                    Some(group) if group.score == scored.score => {
                        group.positive += positive;
                        group.negative += negative;
                    }
                    _ => groups.push(Group { score: scored.score, positive, negative }),
                }
            }
        } else {
            let bins = self.bins.iter().enumerate().rev().filter(|(_, bin)| bin[0] + bin[1] > 0.0);
            groups.extend(bins.map(|(i, bin)| Group { score: self.edge(i), positive: bin[0], negative: bin[1] }));
        }
        Ranked { groups, is_exact: self.bins.is_empty() }
    }
}

impl Ranked {
    /// The area under the ROC curve, ties counted half; `None` unless there are positive and negative rows.
    pub fn roc_auc(&self) -> Option<Area> {
        let (mut above, mut sum, mut tied, mut negative) = (0.0, 0.0, 0.0, 0.0);
        for group in &self.groups {
            sum += group.negative * (above + 0.5 * group.positive);
            tied += 0.5 * group.negative * group.positive;
            above += group.positive;
            negative += group.negative;
        }
        let pairs = above * negative;
        let error_max = if self.is_exact { 0.0 } else { tied / pairs };
        (pairs > 0.0).then(|| Area { value: (sum / pairs).min(1.0), error_max })
    }

    /// Σ (recall - recall before) · precision; `None` without positive rows.
    pub fn average_precision(&self) -> Option<f64> {
        let (mut positive, mut all, mut sum) = (0.0, 0.0, 0.0);
        for group in &self.groups {
            positive += group.positive;
            all += group.positive + group.negative;
            sum += group.positive * positive / all;
        }
        (positive > 0.0).then(|| sum / positive)
    }

    /// The points of the curve by descending threshold: (0, 0), then every score that rows have, or `points_max` (at least 2) of them,
    /// evenly by rank among the scores, the last always there.
    pub fn roc_curve(&self, points_max: usize) -> Vec<RocPoint> {
        let groups = &self.groups;
        let positive: f64 = groups.iter().map(|group| group.positive).sum();
        let negative: f64 = groups.iter().map(|group| group.negative).sum();
        let point = |threshold, true_positives: f64, false_positives: f64| RocPoint {
            threshold,
            true_positives,
            false_positives,
            true_negatives: (negative - false_positives).max(0.0),
            false_negatives: (positive - true_positives).max(0.0),
        };
        let mut points = vec![point(f64::INFINITY, 0.0, 0.0)];
        let (mut tp, mut fp) = (0.0, 0.0);
        let shown = points_max.max(2) - 1;
        let count = groups.len();
        for (index, group) in groups.iter().enumerate() {
            tp += group.positive;
            fp += group.negative;
            if count <= shown || (index + 1) * shown / count != index * shown / count {
                points.push(point(group.score, tp, fp));
            }
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::algebra::random::Random;

    #[test]
    fn ties_and_weights_count_as_in_scikit_learn() {
        let mut ranking = Ranking::default();
        let scores = [0.1, 0.4, 0.35, 0.8, 0.4, 0.4];
        let labels = [false, false, true, true, true, false];
        let weights = [1.0, 2.0, 1.0, 0.5, 3.0, 1.0];
        for ((score, label), weight) in scores.into_iter().zip(labels).zip(weights) {
            ranking.add(score, label, weight);
        }
        // roc_auc_score and average_precision_score with sample_weight.
        assert!((ranking.ranked().roc_auc().unwrap().value - 0.583_333_333_333_333_3).abs() < 1e-12);
        assert!((ranking.ranked().average_precision().unwrap() - 0.603_418_803_418_803_5).abs() < 1e-12);
        let curve = ranking.ranked().roc_curve(100);
        assert_eq!(curve.iter().map(|point| point.threshold).collect::<Vec<_>>(), [f64::INFINITY, 0.8, 0.4, 0.35, 0.1]);
        assert_eq!(curve[2].recall(), 3.5 / 4.5);
        assert_eq!(Ranking::default().ranked().roc_auc(), None);
    }

    #[test]
    fn bins_are_right_within_their_bound() {
        let (mut exact, mut binned) = (Ranking::default(), Ranking { exact_max: 100, ..Ranking::default() });
        let mut random = Random::new(3, 0);
        for _ in 0..20_000 {
            let score = random.unit().powi(6);
            let label = random.unit() < score.powf(0.3);
            exact.add(score, label, 1.0);
            binned.add(score, label, 1.0);
        }
        let (exact_area, area) = (exact.ranked().roc_auc().unwrap(), binned.ranked().roc_auc().unwrap());
        assert!(
            (exact_area.value - area.value).abs() <= area.error_max && area.error_max < 1e-4,
            "{exact_area:?} {area:?}"
        );
        assert!(
            (exact.ranked().average_precision().unwrap() - binned.ranked().average_precision().unwrap()).abs() < 1e-3
        );
        let edges: Vec<f64> = (0..binned.bins.len()).map(|index| binned.edge(index)).collect();
        assert!(edges.is_sorted());
        exact.merge(binned);
        assert!((exact.ranked().roc_auc().unwrap().value - area.value).abs() < 1e-4);
        assert!(exact.ranked().roc_curve(11).len() <= 11);
    }
}
