//! Principal components of encoded features.
//!
//! ```text
//! features ─ encoder ─ design ─ X′X, centred ─ eigenvalues ─> Pca ─ scores, reconstruction error
//! ```
//!
//! Numbers are centred, and divided by their standard deviations if asked; levels of categories are columns of 0 and 1, centred only.
//! Memory `encoder::moment_bytes`, time rows · width² / 2 + 10 width³ operations.

use serde::{Deserialize, Serialize};

use crate::models::algebra::dot;
use crate::models::algebra::eigen::{Eigen, symmetric};
use crate::models::encoder::{EncodedColumn, Encoder, EncoderOptions, Features, Gram, Pass, check_weights};
use crate::models::refusal::{Refusal, finite, sound};
use crate::models::watch::Watch;

/// How many components are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keep {
    Count(usize),
    /// As many as explain this share of the variance, in (0, 1].
    Share(f64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PcaOptions {
    pub keep: Keep,
    pub scale: bool,
    pub categories_max: usize,
    pub columns_max: usize,
    pub threads: usize,
}

impl Default for PcaOptions {
    fn default() -> Self {
        let EncoderOptions { categories_max, columns_max, .. } = EncoderOptions::default();
        Self { keep: Keep::Share(1.0), scale: true, categories_max, columns_max, threads: 1 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pca {
    pub encoder: Encoder,
    /// Of the encoded columns.
    pub means: Vec<f64>,
    /// By descending variance; each of length 1 with its largest element positive (scikit-learn's `svd_flip`).
    pub components: Vec<Vec<f64>>,
    /// Of the training rows along each component (divided by rows - 1).
    pub variances: Vec<f64>,
    pub total_variance: f64,
    pub notes: Vec<String>,
}

/// One row of the model: its scores and what they leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Rows × components, row-major.
    pub scores: Vec<f64>,
    /// The squared distance of each row from its image in the components' space, in encoded columns: large for anomalies.
    pub errors: Vec<f64>,
}

impl Pca {
    /// Finds the components. Errors: fewer than two rows, bad weights, a count or share out of range, what [`Encoder::fit`] refuses, `Stopped`.
    pub fn fit(
        features: &Features<'_>,
        names: &[String],
        weights: Option<&[f64]>,
        options: &PcaOptions,
        watch: &dyn Watch,
    ) -> Result<Self, Refusal> {
        check_weights(weights, features.rows)?;
        let rows = weights.map_or(features.rows, |weights| weights.iter().filter(|weight| **weight > 0.0).count());
        let encode = EncoderOptions {
            centre: true,
            scale: options.scale,
            indicators: false,
            reference: false,
            categories_max: options.categories_max,
            columns_max: options.columns_max,
        };
        let encoder = Encoder::fit(features, names, weights, &encode, watch)?;
        if rows < 2 {
            return Err(Refusal::TooFewRows { rows, needed: 2 });
        }
        let design = encoder.bind(features)?;
        let width = design.width();
        let mut moments = Gram::moments(&design, weights, Pass { threads: options.threads, watch })?;
        moments.centre();
        watch.progress(1, 2, None);
        // Divided by rows - 1; weights only say how rows compare.
        let divisor = moments.weight * (rows - 1) as f64 / rows as f64;
        let mut matrix = moments.products;
        matrix.iter_mut().for_each(|value| *value /= divisor);
        if matrix.iter().any(|value| !value.is_finite()) {
            return Err(Refusal::Overflow("a covariance"));
        }
        let total_variance: f64 = (0..width).map(|j| matrix[j * width + j]).sum();
        let Eigen { values, vectors } = symmetric(matrix, width, watch)?;
        let variances: Vec<f64> = values.into_iter().map(|value| value.max(0.0)).collect();
        let count = options.keep.count(&variances, total_variance)?;
        let mut notes = encoder.notes();
        if let Keep::Count(asked) = options.keep
            && asked > count
        {
            notes.push(format!("there are only {count} encoded columns, and as many components"));
        }
        watch.progress(2, 2, None);
        Ok(Self {
            means: moments.sums.iter().map(|sum| sum / moments.weight).collect(),
            components: vectors.chunks_exact(width).take(count).map(flip).collect(),
            variances: variances[..count].to_vec(),
            total_variance,
            notes,
            encoder,
        })
    }

    /// The share of the variance that each component explains.
    pub fn ratios(&self) -> Vec<f64> {
        self.variances.iter().map(|variance| variance / self.total_variance).collect()
    }

    /// The scores of rows, and what they leave. Errors: other columns than in training, an infinite value.
    pub fn transform(&self, features: &Features<'_>) -> Result<Scores, Refusal> {
        let design = self.encoder.bind(features)?;
        let count = self.components.len();
        let offsets: Vec<f64> = self.components.iter().map(|component| -dot(component, &self.means)).collect();
        let mut block = design.block();
        let mut result = Scores { scores: vec![0.0; features.rows * count], errors: vec![0.0; features.rows] };
        for start in (0..features.rows).step_by(block.capacity()) {
            let range = start..(start + block.capacity()).min(features.rows);
            design.fill(range.clone(), &mut block);
            let errors = &mut result.errors[range.clone()];
            block.add_distances(&self.means, errors);
            let mut sums = vec![0.0; range.len()];
            for (index, (component, offset)) in self.components.iter().zip(&offsets).enumerate() {
                sums.fill(*offset);
                block.add_products(component, &mut sums);
                let places = result.scores[start * count + index..].iter_mut().step_by(count);
                for ((place, error), sum) in places.zip(&mut *errors).zip(&sums) {
                    *place = *sum;
                    *error -= sum * sum;
                }
            }
            errors.iter_mut().for_each(|error| *error = error.max(0.0));
        }
        Ok(result)
    }

    /// The scores along one component, as [`Pca::transform`] has them. Errors: those, and a component that is not there.
    pub fn score(&self, features: &Features<'_>, place: usize) -> Result<Vec<f64>, Refusal> {
        let Some(component) = self.components.get(place) else {
            return Err(Refusal::Mismatch(format!("{} components", place + 1)));
        };
        let design = self.encoder.bind(features)?;
        let mut block = design.block();
        let mut scores = vec![-dot(component, &self.means); features.rows];
        for start in (0..features.rows).step_by(block.capacity()) {
            let range = start..(start + block.capacity()).min(features.rows);
            design.fill(range.clone(), &mut block);
            block.add_products(component, &mut scores[range]);
        }
        Ok(scores)
    }

    /// For each component, what each encoded column weighs in it.
    pub fn loadings(&self) -> Vec<(usize, EncodedColumn, f64)> {
        let columns = self.encoder.columns();
        let each = |(index, component): (usize, &Vec<f64>)| {
            columns.iter().cloned().zip(component).map(|(column, value)| (index, column, *value)).collect::<Vec<_>>()
        };
        self.components.iter().enumerate().flat_map(each).collect()
    }

    /// `Damaged` when the parts do not fit together.
    pub fn validate(&self) -> Result<(), Refusal> {
        self.encoder.validate()?;
        let width = self.encoder.width();
        sound(
            !self.components.is_empty() && self.variances.len() == self.components.len(),
            "the number of components",
        )?;
        sound(self.means.len() == width, "the number of means")?;
        sound(self.components.iter().all(|component| component.len() == width), "the length of a component")?;
        finite(&self.means, "a mean")?;
        finite(&self.variances, "a variance")?;
        sound(self.total_variance > 0.0 && self.total_variance.is_finite(), "the total variance")?;
        self.components.iter().try_for_each(|component| finite(component, "a component"))
    }
}

impl Keep {
    fn count(self, variances: &[f64], total: f64) -> Result<usize, Refusal> {
        match self {
            Self::Count(0) => Err(Refusal::option("num_principal_components", "must be at least 1")),
            Self::Count(count) => Ok(count.min(variances.len())),
            Self::Share(share) if share > 0.0 && share <= 1.0 => {
                // The sum of all may miss the total by rounding.
                let enough = share * total * (1.0 - 1e-12);
                let mut sum = 0.0;
                let reached = variances.iter().position(|variance| {
                    sum += variance;
                    sum >= enough
                });
                Ok(reached.map_or(variances.len(), |last| last + 1))
            }
            Self::Share(_) => Err(Refusal::option("pca_explained_variance_ratio", "must be above 0 and at most 1")),
        }
    }
}

fn flip(component: &[f64]) -> Vec<f64> {
    let largest =
        component.iter().fold(0.0_f64, |largest, value| if value.abs() > largest.abs() { *value } else { largest });
    component.iter().map(|value| value * largest.signum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::encoder::Column;
    use crate::models::watch::Unwatched;

    const X: [[f64; 6]; 3] =
        [[1.0, 2.0, 3.0, 4.0, 5.0, 7.0], [2.0, 1.0, 4.0, 3.0, 6.0, 5.0], [0.5, 0.1, 0.4, 0.9, 0.2, 0.3]];

    fn fit(options: &PcaOptions) -> Result<(Pca, Scores), Refusal> {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let features = Features { rows: 6, columns: X.iter().map(|column| Column::Numeric(column)).collect() };
        let model = Pca::fit(&features, &names, None, options, &Unwatched)?;
        model.validate()?;
        let scores = model.transform(&features)?;
        Ok((model, scores))
    }

    #[test]
    fn equal_to_scikit_learn() {
        let (model, scores) = fit(&PcaOptions { keep: Keep::Count(2), ..PcaOptions::default() }).unwrap();
        let close = |found: &[f64], expected: &[f64]| {
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12)
        };
        assert!(close(&model.ratios(), &[0.603_840_449_275_6, 0.327_246_531_993_9]), "{:?}", model.ratios());
        assert!(
            close(
                &model.components.concat(),
                &[
                    0.696_351_751_370_5,
                    0.700_958_350_364_6,
                    -0.154_115_636_511_4,
                    0.139_551_141_786_5,
                    0.078_395_379_462_4,
                    0.987_106_703_100_0
                ]
            ),
            "{:?}",
            model.components
        );
        assert!(
            close(
                &scores.scores,
                &[-1.616_986_936_822_6, 0.124_741_745_348_1, -1.435_556_415_260_9, -1.379_615_672_648_2]
            ) && close(&scores.errors, &[0.119_792_743_112_4, 0.242_981_231_529_7, 0.198_501_693_323_8]),
            "{scores:?}"
        );
    }

    #[test]
    fn one_component_scores_as_all_do() {
        let (model, scores) = fit(&PcaOptions::default()).unwrap();
        let features = Features { rows: 6, columns: X.iter().map(|column| Column::Numeric(column)).collect() };
        for place in 0..3 {
            let column: Vec<f64> = scores.scores.chunks_exact(3).map(|row| row[place]).collect();
            assert_eq!(model.score(&features, place), Ok(column));
        }
        assert!(model.score(&features, 3).is_err());
    }

    #[test]
    fn a_share_takes_as_many_as_it_needs() {
        let count = |keep| fit(&PcaOptions { keep, ..PcaOptions::default() }).map(|(model, _)| model.components.len());
        assert_eq!([count(Keep::Share(0.5)), count(Keep::Share(1.0)), count(Keep::Count(9))], [Ok(1), Ok(3), Ok(3)]);
        assert!(count(Keep::Count(0)).is_err() && count(Keep::Share(1.5)).is_err());
        let mut damaged = fit(&PcaOptions::default()).unwrap().0;
        damaged.components[0].pop();
        assert!(matches!(damaged.validate(), Err(Refusal::Damaged(_))));
    }
}
