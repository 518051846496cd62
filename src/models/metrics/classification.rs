//! Metrics of predicted classes.

use super::ranking::{Area, Ranking};

/// Probabilities are taken to be at least this, as scikit-learn's `log_loss`.
const LEAST: f64 = f64::EPSILON;

/// Weighted sums over rows.
#[derive(Clone, Debug)]
pub struct Classification {
    classes: usize,
    positive: usize,
    rows: usize,
    /// Labels × predictions, row-major.
    confusion: Vec<f64>,
    log_loss: f64,
    brier: f64,
    /// Of the positive class, or of each class when there are not two.
    rankings: Vec<Ranking>,
}

/// What `ML.EVALUATE` tells of a classification. With two classes precision, recall, F1, ROC AUC and average precision are those of the
/// positive class, else means over the classes that rows have.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassificationMetrics {
    pub rows: usize,
    pub accuracy: f64,
    pub precision: f64,
    pub recall: f64,
    pub f1_score: f64,
    pub log_loss: f64,
    /// `None` unless there are rows of the class and of others.
    pub roc_auc: Option<Area>,
    pub average_precision: Option<f64>,
    /// Two classes: the mean squared error of the positive class's probability; more: summed over classes.
    pub brier_score: f64,
}

impl Classification {
    /// `positive` is that of two classes. The most probable class is predicted, of equal ones the first.
    pub fn new(classes: usize, positive: usize) -> Self {
        let count = if classes == 2 { 1 } else { classes };
        Self {
            classes,
            positive,
            rows: 0,
            confusion: vec![0.0; classes * classes],
            log_loss: 0.0,
            brier: 0.0,
            rankings: vec![Ranking::new(count); count],
        }
    }

    /// The most bytes that it takes for so many rows.
    pub fn bytes_max(&self, rows: usize) -> usize {
        let [held, ranked] = self.rankings.first().map_or([0; 2], |ranking| ranking.bytes_max(rows));
        self.confusion.len() * 16 + self.rankings.len() * held + ranked
    }

    /// `probabilities` has one finite number a class. Rows of an unknown label (`label` ≥ classes) are not counted.
    pub fn add(&mut self, label: usize, probabilities: &[f64], weight: f64) {
        if weight <= 0.0 || label >= self.classes || probabilities.len() != self.classes {
            return;
        }
        let own = |class: usize| f64::from(u8::from(class == label));
        let predicted = self.predicted(probabilities);
        self.rows += 1;
        self.confusion[label * self.classes + predicted] += weight;
        self.log_loss -= weight * probabilities[label].clamp(LEAST, 1.0 - LEAST).ln();
        if self.classes == 2 {
            let score = probabilities.get(self.positive).copied().unwrap_or(0.0);
            self.brier += weight * (score - own(self.positive)).powi(2);
            let positive = label == self.positive;
            self.rankings.iter_mut().for_each(|ranking| ranking.add(score, positive, weight));
        } else {
            for (class, (ranking, score)) in self.rankings.iter_mut().zip(probabilities).enumerate() {
                self.brier += weight * (score - own(class)).powi(2);
                ranking.add(*score, class == label, weight);
            }
        }
    }

    fn predicted(&self, probabilities: &[f64]) -> usize {
        (1..self.classes).fold(0, |best, class| if probabilities[class] > probabilities[best] { class } else { best })
    }

    /// `other` was made with the same arguments.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.confusion.iter_mut().zip(other.confusion).for_each(|(sum, value)| *sum += value);
        self.log_loss += other.log_loss;
        self.brier += other.brier;
        self.rankings.iter_mut().zip(other.rankings).for_each(|(ranking, more)| ranking.merge(more));
    }

    /// Weights by label, then prediction.
    pub fn confusion(&self) -> impl Iterator<Item = &[f64]> {
        self.confusion.chunks_exact(self.classes.max(1))
    }

    /// The ranking of the positive class, or of class `class` when there are not two.
    pub fn ranking(&self, class: usize) -> Option<&Ranking> {
        self.rankings.get(if self.classes == 2 { 0 } else { class })
    }

    /// `None` without rows.
    pub fn metrics(&self) -> Option<ClassificationMetrics> {
        let weight: f64 = self.confusion.iter().sum();
        if weight <= 0.0 {
            return None;
        }
        let hits = |class: usize| self.confusion[class * self.classes + class];
        let labelled = |class: usize| self.confusion[class * self.classes..][..self.classes].iter().sum::<f64>();
        let predicted =
            |class: usize| (0..self.classes).map(|label| self.confusion[label * self.classes + class]).sum::<f64>();
        let counted: Vec<usize> = if self.classes == 2 {
            vec![self.positive.min(1)]
        } else {
            (0..self.classes).filter(|class| labelled(*class) + predicted(*class) > 0.0).collect()
        };
        let mean = |metric: &dyn Fn(usize) -> f64| {
            counted.iter().map(|class| metric(*class)).sum::<f64>() / counted.len() as f64
        };
        // Of nothing predicted or labelled, the share is 0.
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let (mut areas, mut precisions) = (Vec::<Area>::new(), Vec::<f64>::new());
        for ranked in self.rankings.iter().map(Ranking::ranked) {
            areas.extend(ranked.roc_auc());
            precisions.extend(ranked.average_precision());
        }
        let over = |sum: f64, count: usize| sum / count as f64;
        Some(ClassificationMetrics {
            rows: self.rows,
            accuracy: (0..self.classes).map(hits).sum::<f64>() / weight,
            precision: mean(&|class| share(hits(class), predicted(class))),
            recall: mean(&|class| share(hits(class), labelled(class))),
            f1_score: mean(&|class| share(2.0 * hits(class), labelled(class) + predicted(class))),
            log_loss: self.log_loss / weight,
            roc_auc: (!areas.is_empty()).then(|| Area {
                value: over(areas.iter().map(|area| area.value).sum(), areas.len()),
                error_max: over(areas.iter().map(|area| area.error_max).sum(), areas.len()),
            }),
            average_precision: (!precisions.is_empty()).then(|| over(precisions.iter().sum(), precisions.len())),
            brier_score: self.brier / weight,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: [[f64; 3]; 6] =
        [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6], [0.4, 0.4, 0.2], [0.3, 0.4, 0.3], [0.0, 0.0, 1.0]];
    const LABELS: [usize; 6] = [0, 1, 2, 1, 0, 2];
    const WEIGHTS: [f64; 6] = [1.0, 0.5, 2.0, 1.5, 1.0, 3.0];

    fn same(metrics: &ClassificationMetrics, expected: [f64; 8]) {
        let found = [
            metrics.accuracy,
            metrics.precision,
            metrics.recall,
            metrics.f1_score,
            metrics.log_loss,
            metrics.roc_auc.unwrap().value,
            metrics.average_precision.unwrap(),
            metrics.brier_score,
        ];
        for (index, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            assert!((found - expected).abs() < 1e-12, "{index} {found} {expected}");
        }
    }

    #[test]
    fn equal_to_scikit_learn() {
        let (mut two, mut three) = (Classification::new(2, 1), Classification::new(3, 0));
        let mut half = Classification::new(3, 0);
        for row in 0..6 {
            let p = THREE[row][0];
            two.add(usize::from(LABELS[row] == 0), &[1.0 - p, p], WEIGHTS[row]);
            let part = if row < 3 { &mut three } else { &mut half };
            part.add(LABELS[row], &THREE[row], WEIGHTS[row]);
        }
        three.merge(half);
        same(
            &two.metrics().unwrap(),
            [
                0.888_888_888_888_888_8,
                1.0,
                0.5,
                0.666_666_666_666_666_6,
                0.294_353_221_209_601_45,
                0.892_857_142_857_142_8,
                0.785_714_285_714_285_7,
                0.095_555_555_555_555_56,
            ],
        );
        same(
            &three.metrics().unwrap(),
            [
                0.722_222_222_222_222_2,
                0.577_777_777_777_777_8,
                0.583_333_333_333_333_4,
                0.576_719_576_719_576_7,
                0.478_145_409_320_872_9,
                0.946_428_571_428_571_5,
                0.845_238_095_238_095_2,
                0.27,
            ],
        );
        assert_eq!(three.confusion().nth(1), Some(&[1.5, 0.5, 0.0][..]));
    }

    #[test]
    fn one_label_has_no_ranking() {
        let mut rows = Classification::new(2, 1);
        rows.add(0, &[0.6, 0.4], 1.0);
        rows.add(9, &[0.6, 0.4], 1.0);
        let metrics = rows.metrics().unwrap();
        assert_eq!((metrics.rows, metrics.accuracy, metrics.roc_auc), (1, 1.0, None));
        assert_eq!(Classification::new(2, 1).metrics(), None);
    }
}
