//! The model of k-means: assignment and distances.

use serde::{Deserialize, Serialize};

use super::evaluate::ClusterMetrics;
use crate::models::algebra::parallel::segments;
use crate::models::encoder::{Block, EncodedColumn, Encoder, Features};
use crate::models::refusal::{Refusal, finite, sound};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KMeans {
    pub encoder: Encoder,
    /// In encoded columns.
    pub centroids: Vec<Vec<f64>>,
    /// The weighted sum of squared distances of the training rows.
    pub inertia: f64,
    pub iterations: usize,
    pub converged: bool,
    pub notes: Vec<String>,
    /// Of the training rows.
    pub metrics: Option<ClusterMetrics>,
    /// The root of the mean squared distance of each cluster's training rows: what is far for it.
    pub radii: Vec<f64>,
}

/// A row's nearest centroid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assigned {
    pub cluster: usize,
    /// From its centroid, in encoded columns.
    pub distance: f64,
    /// Distance by the cluster's radius: large for anomalies. Infinite outside a cluster of equal rows.
    pub normalized: f64,
}

/// For each row of the block the nearest centroid (of equally near ones the first) and its squared distance.
pub(super) fn nearest(block: &Block, centroids: &[Vec<f64>]) -> Vec<(usize, f64)> {
    let mut best = vec![(0, f64::INFINITY); block.rows()];
    let mut distances = vec![0.0; block.rows()];
    for (cluster, centroid) in centroids.iter().enumerate() {
        distances.fill(0.0);
        block.add_distances(centroid, &mut distances);
        for (best, distance) in best.iter_mut().zip(&distances) {
            let distance = distance.max(0.0);
            if distance < best.1 {
                *best = (cluster, distance);
            }
        }
    }
    best
}

impl KMeans {
    /// The nearest centroid of each row. Errors: other columns than in training, an infinite value.
    pub fn assign(&self, features: &Features<'_>) -> Result<Vec<Assigned>, Refusal> {
        let mut assigned = Vec::with_capacity(features.rows);
        self.each_block(features, |block| {
            assigned.extend(nearest(block, &self.centroids).into_iter().map(|(cluster, squared)| {
                let distance = squared.sqrt();
                let radius = self.radii.get(cluster).copied().unwrap_or(0.0);
                let normalized = if distance == 0.0 { 0.0 } else { distance / radius };
                Assigned { cluster, distance, normalized }
            }));
        })?;
        Ok(assigned)
    }

    fn each_block(&self, features: &Features<'_>, mut use_block: impl FnMut(&Block)) -> Result<(), Refusal> {
        let design = self.encoder.bind(features)?;
        let mut block = design.block();
        for range in segments(features.rows, features.rows.div_ceil(block.capacity()), block.capacity()) {
            design.fill(range, &mut block);
            use_block(&block);
        }
        Ok(())
    }

    /// One row of `ML.CENTROIDS` for each cluster and encoded column: a number's mean in its own unit, a level's share of the rows.
    pub fn centroid_values(&self) -> Vec<(usize, EncodedColumn, f64)> {
        let (scales, shifts) = self.encoder.scales();
        let columns = self.encoder.columns();
        let values = |(cluster, centroid): (usize, &Vec<f64>)| {
            let each = columns.iter().cloned().zip(centroid).zip(scales.iter().zip(&shifts));
            each.map(|((column, value), (scale, shift))| (cluster, column, value * scale + shift)).collect::<Vec<_>>()
        };
        self.centroids.iter().enumerate().flat_map(values).collect()
    }

    /// `Damaged` when the parts do not fit together.
    pub fn validate(&self) -> Result<(), Refusal> {
        self.encoder.validate()?;
        let width = self.encoder.width();
        sound(!self.centroids.is_empty() && self.radii.len() == self.centroids.len(), "the number of clusters")?;
        sound(self.centroids.iter().all(|centroid| centroid.len() == width), "the number of a centroid's columns")?;
        finite(&self.radii, "a radius")?;
        self.centroids.iter().try_for_each(|centroid| finite(centroid, "a centroid"))
    }
}
