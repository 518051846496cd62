//! Metrics of predicted numbers.

use super::quantile::Median;

/// Weighted sums over rows.
#[derive(Clone, Debug, Default)]
pub struct Regression {
    rows: usize,
    labels: Spread,
    errors: Spread,
    absolute: f64,
    squares: f64,
    /// Squared differences of logarithms; `None` once a number below 0 was seen.
    logs: Logs,
    median: Median,
}

#[derive(Clone, Copy, Debug, Default)]
struct Logs {
    sum: f64,
    undefined: bool,
}

/// Weight, mean and squared distance from the mean (Welford 1962; merged by Chan 1979).
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    weight: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn merge(&mut self, other: Self) {
        let weight = self.weight + other.weight;
        if other.weight > 0.0 {
            let away = other.mean - self.mean;
            self.squares += other.squares + away * away * self.weight * other.weight / weight;
            self.mean += away * other.weight / weight;
            self.weight = weight;
        }
    }

    fn add(&mut self, value: f64, weight: f64) {
        self.merge(Self { weight, mean: value, squares: 0.0 });
    }
}

/// What `ML.EVALUATE` tells of a regression. `None` where a metric is not defined.
#[derive(Clone, Debug, PartialEq)]
pub struct RegressionMetrics {
    pub rows: usize,
    pub mean_absolute_error: f64,
    pub mean_squared_error: f64,
    pub root_mean_squared_error: f64,
    /// Without negative labels and predictions.
    pub mean_squared_log_error: Option<f64>,
    /// Right to 1/8,000 of itself beyond [`super::EXACT_ROWS_MAX`] rows.
    pub median_absolute_error: Option<f64>,
    /// 1 - errors' squares / labels' variance; when labels are all equal, 1 if there is no error and else 0 (as scikit-learn).
    pub r2_score: Option<f64>,
    pub explained_variance: Option<f64>,
}

impl Regression {
    /// The most bytes that it takes for so many rows, but for bins of a median.
    pub fn bytes_max(&self, rows: usize) -> usize {
        self.median.bytes_max(rows)
    }

    /// `label` and `prediction` are finite.
    pub fn add(&mut self, label: f64, prediction: f64, weight: f64) {
        if weight <= 0.0 {
            return;
        }
        let error = label - prediction;
        self.rows += 1;
        self.labels.add(label, weight);
        self.errors.add(error, weight);
        self.absolute += weight * error.abs();
        self.squares += weight * error * error;
        self.median.add(error.abs(), weight);
        // Defined above -1, but scikit-learn refuses all below 0.
        if label < 0.0 || prediction < 0.0 {
            self.logs.undefined = true;
        } else {
            self.logs.sum += weight * (label.ln_1p() - prediction.ln_1p()).powi(2);
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.labels.merge(other.labels);
        self.errors.merge(other.errors);
        self.absolute += other.absolute;
        self.squares += other.squares;
        self.logs.sum += other.logs.sum;
        self.logs.undefined |= other.logs.undefined;
        self.median.merge(other.median);
    }

    /// `None` without rows.
    pub fn metrics(&self) -> Option<RegressionMetrics> {
        let weight = self.labels.weight;
        if weight <= 0.0 {
            return None;
        }
        let explained = |rest: f64| {
            let whole = self.labels.squares;
            (self.rows > 1).then(|| if whole > 0.0 { 1.0 - rest / whole } else { f64::from(u8::from(rest == 0.0)) })
        };
        Some(RegressionMetrics {
            rows: self.rows,
            mean_absolute_error: self.absolute / weight,
            mean_squared_error: self.squares / weight,
            root_mean_squared_error: (self.squares / weight).sqrt(),
            mean_squared_log_error: (!self.logs.undefined).then_some(self.logs.sum / weight),
            median_absolute_error: self.median.value(),
            r2_score: explained(self.squares),
            explained_variance: explained(self.errors.squares),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [f64; 5] = [3.0, 0.5, 2.0, 7.0, 4.25];
    const PREDICTIONS: [f64; 5] = [2.5, 0.0, 2.0, 8.0, 5.0];
    const WEIGHTS: [f64; 5] = [1.0, 2.0, 0.5, 1.0, 3.0];

    fn accumulated(weights: [f64; 5], cut: usize) -> RegressionMetrics {
        let mut parts = [Regression::default(), Regression::default()];
        for row in 0..5 {
            parts[usize::from(row >= cut)].add(LABELS[row], PREDICTIONS[row], weights[row]);
        }
        let [mut first, second] = parts;
        first.merge(second);
        first.metrics().unwrap()
    }

    fn same(metrics: &RegressionMetrics, expected: [f64; 7]) {
        let found = [
            metrics.mean_absolute_error,
            metrics.mean_squared_error,
            metrics.root_mean_squared_error,
            metrics.mean_squared_log_error.unwrap(),
            metrics.median_absolute_error.unwrap(),
            metrics.r2_score.unwrap(),
            metrics.explained_variance.unwrap(),
        ];
        for (index, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            assert!((found - expected).abs() < 1e-12, "{index} {found} {expected}");
        }
    }

    #[test]
    fn equal_to_scikit_learn() {
        for cut in [0, 2, 5] {
            same(
                &accumulated([1.0; 5], cut),
                [
                    0.55,
                    0.412_5,
                    0.642_261_628_933_256_4,
                    0.042_787_212_602_817_44,
                    0.5,
                    0.914_772_727_272_727_3,
                    0.919_421_487_603_305_8,
                ],
            );
            same(
                &accumulated(WEIGHTS, cut),
                [
                    0.633_333_333_333_333_3,
                    0.458_333_333_333_333_3,
                    0.677_003_200_386_33,
                    0.055_199_904_338_632_18,
                    0.75,
                    0.895_872_775_463_839_5,
                    0.908_241_827_590_559_2,
                ],
            );
        }
        assert_eq!(Regression::default().metrics(), None);
        let mut negative = Regression::default();
        negative.add(-1.0, 2.0, 1.0);
        let metrics = negative.metrics().unwrap();
        assert_eq!((metrics.mean_squared_log_error, metrics.r2_score), (None, None));
    }
}
