//! How good clusters are: Davies and Bouldin's index, silhouettes, squared distances.

use serde::{Deserialize, Serialize};

use super::fit::Rows;
use super::model::{KMeans, nearest};
use crate::models::algebra::parallel::in_order;
use crate::models::algebra::random::Random;
use crate::models::encoder::Pass;
use crate::models::refusal::Refusal;

/// Rows up to which silhouettes are exact; beyond, of so many rows chosen by the seed (fewer when rows are wide).
const SILHOUETTE_ROWS_MAX: usize = 4000;
/// Numbers of the chosen rows in memory.
const SILHOUETTE_NUMBERS_MAX: usize = 8_000_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterMetrics {
    pub rows: usize,
    /// The rows' weights by cluster.
    pub sizes: Vec<f64>,
    pub mean_squared_distance: f64,
    /// Lower is better; `None` with fewer than two clusters that have rows.
    pub davies_bouldin: Option<f64>,
    /// The mean silhouette, in [-1, 1]; `None` with fewer than two clusters that have rows.
    pub silhouette: Option<f64>,
    /// The rows that the silhouette is the mean of.
    pub silhouette_rows: usize,
}

impl KMeans {
    /// With the metrics and radii of the training rows. `seed` chooses the rows of the silhouette. Errors: `Stopped`.
    pub(super) fn evaluated(mut self, rows: &Rows<'_>, seed: u64) -> Result<Self, Refusal> {
        let (metrics, radii) = self.measure(rows, seed)?;
        (self.metrics, self.radii) = (Some(metrics), radii);
        Ok(self)
    }

    fn measure(&self, rows: &Rows<'_>, seed: u64) -> Result<(ClusterMetrics, Vec<f64>), Refusal> {
        let count = self.centroids.len();
        // By cluster: weight, distances, squared distances.
        let new = || vec![[0.0; 3]; count];
        let parts = rows.pass.fold(rows.design, 0, new, |sums, block, range| {
            for (row, (cluster, squared)) in range.zip(nearest(block, &self.centroids)) {
                let weight = rows.weight(row);
                for (sum, value) in sums[cluster].iter_mut().zip([1.0, squared.sqrt(), squared]) {
                    *sum += weight * value;
                }
            }
            Ok(())
        })?;
        let sums = parts.into_iter().fold(new(), |mut total, part| {
            total.iter_mut().zip(part).for_each(|(sum, more)| (0..3).for_each(|index| sum[index] += more[index]));
            total
        });
        let weight: f64 = sums.iter().map(|sum| sum[0]).sum();
        let chosen = self.chosen(rows, seed);
        let silhouette = silhouette(&chosen, &self.centroids, rows.pass)?;
        let metrics = ClusterMetrics {
            rows: rows.design.rows(),
            sizes: sums.iter().map(|sum| sum[0]).collect(),
            mean_squared_distance: sums.iter().map(|sum| sum[2]).sum::<f64>() / weight,
            davies_bouldin: self.davies_bouldin(&sums, rows.pass)?,
            silhouette,
            silhouette_rows: chosen.len(),
        };
        let radius = |sum: &[f64; 3]| if sum[0] > 0.0 { (sum[2] / sum[0]).sqrt() } else { 0.0 };
        Ok((metrics, sums.iter().map(radius).collect()))
    }

    fn davies_bouldin(&self, sums: &[[f64; 3]], pass: Pass<'_>) -> Result<Option<f64>, Refusal> {
        let filled: Vec<usize> = (0..sums.len()).filter(|cluster| sums[*cluster][0] > 0.0).collect();
        if filled.len() < 2 {
            return Ok(None);
        }
        let spread = |cluster: usize| sums[cluster][1] / sums[cluster][0];
        let likeness = |a: usize, b: usize| {
            let apart = distance(&self.centroids[a], &self.centroids[b]);
            // Of centroids at one place, as scikit-learn.
            if apart > 0.0 { (spread(a) + spread(b)) / apart } else { 0.0 }
        };
        let worst = in_order(pass.threads, filled.len(), |index| {
            pass.watch.check()?;
            let a = filled[index];
            let others = filled.iter().filter(|b| **b != a);
            Ok::<_, Refusal>(others.map(|b| likeness(a, *b)).fold(0.0, f64::max))
        })?;
        Ok(Some(worst.iter().sum::<f64>() / filled.len() as f64))
    }

    fn chosen(&self, rows: &Rows<'_>, seed: u64) -> Vec<Vec<f64>> {
        let sample = Random::new(seed, u64::MAX).sample(rows.design.rows(), silhouette_rows(self.encoder.width()));
        let mut block = rows.design.block();
        sample.into_iter().map(|row| rows.encoded_in(&mut block, row)).collect()
    }

    /// What the rows of the silhouette take.
    pub(super) fn silhouette_bytes(rows: usize, columns: usize) -> usize {
        8 * columns * silhouette_rows(columns).min(rows)
    }
}

fn silhouette_rows(columns: usize) -> usize {
    SILHOUETTE_ROWS_MAX.min(SILHOUETTE_NUMBERS_MAX / columns.max(1)).max(100)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// The mean of (b - a) / max(a, b), where a is the mean distance from the other rows of the cluster and b the least mean distance from
/// another cluster's; 0 for a row alone in its cluster (Rousseeuw 1987).
fn silhouette(rows: &[Vec<f64>], centroids: &[Vec<f64>], pass: Pass<'_>) -> Result<Option<f64>, Refusal> {
    let near = |row: &Vec<f64>| {
        let distances = centroids.iter().map(|centroid| distance(row, centroid));
        distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(cluster, _)| cluster)
    };
    let clusters = in_order(pass.threads, rows.len(), |index| {
        pass.watch.check()?;
        Ok::<_, Refusal>(near(&rows[index]))
    })?;
    let mut sizes = vec![0_usize; centroids.len()];
    clusters.iter().for_each(|cluster| sizes[*cluster] += 1);
    if sizes.iter().filter(|size| **size > 0).count() < 2 {
        return Ok(None);
    }
    let each = in_order(pass.threads, rows.len(), |index| {
        pass.watch.check()?;
        let own = clusters[index];
        if sizes[own] < 2 {
            return Ok::<_, Refusal>(0.0);
        }
        let mut sums = vec![0.0; sizes.len()];
        rows.iter().zip(&clusters).for_each(|(other, cluster)| sums[*cluster] += distance(&rows[index], other));
        let a = sums[own] / (sizes[own] - 1) as f64;
        let others = (0..sizes.len()).filter(|cluster| *cluster != own && sizes[*cluster] > 0);
        let b = others.map(|cluster| sums[cluster] / sizes[cluster] as f64).fold(f64::INFINITY, f64::min);
        Ok(if a.max(b) > 0.0 { (b - a) / a.max(b) } else { 0.0 })
    })?;
    Ok(Some(each.iter().sum::<f64>() / rows.len() as f64))
}
