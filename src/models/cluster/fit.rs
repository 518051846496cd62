//! Lloyd's rounds.

use super::model::{KMeans, nearest};
use super::{KMeansOptions, start};
use crate::models::algebra::random::Random;
use crate::models::encoder::{Block, Design, Encoder, Features, Pass, check_weights, partial_bytes, weights_of};
use crate::models::refusal::Refusal;
use crate::models::watch::Watch;

/// The rows of a training.
pub(super) struct Rows<'a> {
    pub(super) design: &'a Design<'a>,
    pub(super) weights: Option<&'a [f64]>,
    pub(super) pass: Pass<'a>,
}

impl Rows<'_> {
    pub(super) fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row])
    }

    /// One row's encoded columns.
    pub(super) fn encoded(&self, row: usize) -> Vec<f64> {
        self.encoded_in(&mut self.design.block(), row)
    }

    /// The same with a block of the caller's, for many rows.
    pub(super) fn encoded_in(&self, block: &mut Block, row: usize) -> Vec<f64> {
        let mut encoded = vec![0.0; self.design.width()];
        self.design.fill(row..row + 1, block);
        block.row(0, &mut encoded);
        encoded
    }
}

/// What one round finds.
struct Round {
    /// Clusters × columns.
    sums: Vec<f64>,
    weights: Vec<f64>,
    inertia: f64,
    /// The row that is farthest from its centroid, and how far.
    farthest: (usize, f64),
}

struct End {
    centroids: Vec<Vec<f64>>,
    inertia: f64,
    iterations: usize,
    converged: bool,
}

impl KMeans {
    /// The most memory that finding so many centroids of so many rows takes.
    pub fn training_bytes(rows: usize, columns: usize, options: &KMeansOptions) -> usize {
        let table = 8 * columns * options.clusters.min(rows);
        // Of each row its distance, the next one's, and its chance; the sums of each part of a round; the centroids, those of the best
        // start and, while they are drawn, their keys.
        rows * 24 + partial_bytes(table) + 4 * table + KMeans::silhouette_bytes(rows, columns)
    }

    /// Finds centroids. Each round is a pass over the rows; for its memory see [`KMeans::training_bytes`].
    /// With fewer different rows than clusters there are fewer clusters, with a note.
    /// Errors: fewer rows than clusters, bad weights, what [`Encoder::fit`] refuses, `Stopped`.
    pub fn fit(
        features: &Features<'_>,
        names: &[String],
        weights: Option<&[f64]>,
        options: &KMeansOptions,
        watch: &dyn Watch,
    ) -> Result<Self, Refusal> {
        options.check()?;
        check_weights(weights, features.rows)?;
        let encoder = Encoder::fit(features, names, weights, &options.encoder(), watch)?;
        if features.rows < options.clusters {
            return Err(Refusal::TooFewRows { rows: features.rows, needed: options.clusters });
        }
        let design = encoder.bind(features)?;
        let rows = Rows { design: &design, weights, pass: Pass { threads: options.threads, watch } };
        let (variance, squares) = variance(&rows)?;
        let moves_max = options.tolerance * variance;
        let mut best: Option<End> = None;
        for restart in 0..options.restarts {
            let end = lloyd(&rows, options, restart, (moves_max, squares))?;
            watch.progress(restart + 1, options.restarts, Some(end.inertia));
            if best.as_ref().is_none_or(|best| end.inertia < best.inertia) {
                best = Some(end);
            }
        }
        let Some(End { centroids, inertia, iterations, converged }) = best else { return Err(Refusal::NoRows) };
        let mut notes = encoder.notes();
        if centroids.len() < options.clusters {
            notes.push(format!("there are only {} different rows, and as many clusters", centroids.len()));
        }
        if !converged {
            notes.push(format!("the centroids still moved after {iterations} iterations"));
        }
        KMeans { encoder, centroids, inertia, iterations, converged, notes, metrics: None, radii: Vec::new() }
            .evaluated(&rows, options.seed)
    }
}

/// The mean variance of the encoded columns, and the weighted sum of the rows' squares.
fn variance(rows: &Rows<'_>) -> Result<(f64, f64), Refusal> {
    let add = |(weight, sums, squares): &mut (f64, Vec<f64>, f64), block: &Block, range: std::ops::Range<usize>| {
        let weights = weights_of(rows.weights, range.clone());
        block.add_combination(&weights, sums);
        let mut distances = vec![0.0; range.len()];
        block.add_distances(&vec![0.0; block.width()], &mut distances);
        *squares += distances.iter().zip(&*weights).map(|(distance, weight)| distance * weight).sum::<f64>();
        *weight += weights.iter().sum::<f64>();
        Ok(())
    };
    let width = rows.design.width();
    let parts = rows.pass.fold(rows.design, 8 * width, || (0.0, vec![0.0; width], 0.0), add)?;
    let (mut weight, mut sums, mut squares) = (0.0, vec![0.0; width], 0.0);
    for part in parts {
        weight += part.0;
        sums.iter_mut().zip(part.1).for_each(|(sum, value)| *sum += value);
        squares += part.2;
    }
    let of_means: f64 = sums.iter().map(|sum| (sum / weight).powi(2)).sum();
    Ok(((squares / weight - of_means) / width as f64, squares))
}

fn lloyd(
    rows: &Rows<'_>,
    options: &KMeansOptions,
    restart: usize,
    (moves_max, squares): (f64, f64),
) -> Result<End, Refusal> {
    let mut random = Random::new(options.seed, restart as u64);
    let mut centroids = match options.by_chance {
        true => start::drawn(rows, options.clusters, &mut random)?,
        false => start::centroids(rows, options.clusters, squares, &mut random)?,
    };
    let (mut iterations, mut converged) = (0, false);
    while iterations < options.iterations_max && !converged {
        let found = round(rows, &centroids)?;
        iterations += 1;
        let moved = move_centroids(rows, &mut centroids, &found);
        converged = moved <= moves_max;
    }
    let inertia = round(rows, &centroids)?.inertia;
    Ok(End { centroids, inertia, iterations, converged })
}

/// Centroids become the means of their rows; returns the sum of the squared moves. One that has no rows becomes the farthest row.
fn move_centroids(rows: &Rows<'_>, centroids: &mut [Vec<f64>], found: &Round) -> f64 {
    let width = rows.design.width();
    let mut moved = 0.0;
    let mut far = Some(found.farthest.0).filter(|_| found.farthest.1 > 0.0);
    for ((centroid, sums), weight) in centroids.iter_mut().zip(found.sums.chunks_exact(width)).zip(&found.weights) {
        let next: Vec<f64> = if *weight > 0.0 {
            sums.iter().map(|sum| sum / weight).collect()
        } else if let Some(row) = far.take() {
            rows.encoded(row)
        } else {
            continue;
        };
        moved += next.iter().zip(&*centroid).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        *centroid = next;
    }
    moved
}

fn round(rows: &Rows<'_>, centroids: &[Vec<f64>]) -> Result<Round, Refusal> {
    let (count, width) = (centroids.len(), rows.design.width());
    let new = || Round { sums: vec![0.0; count * width], weights: vec![0.0; count], inertia: 0.0, farthest: (0, -1.0) };
    let bytes = 8 * count * width;
    let parts = rows.pass.fold(rows.design, bytes, new, |round, block, range| {
        let near = nearest(block, centroids);
        for (place, (row, (cluster, distance))) in range.zip(near).enumerate() {
            let weight = rows.weight(row);
            if weight > 0.0 {
                block.add_row(place, weight, &mut round.sums[cluster * width..(cluster + 1) * width]);
                round.weights[cluster] += weight;
                round.inertia += weight * distance;
                if distance > round.farthest.1 {
                    round.farthest = (row, distance);
                }
            }
        }
        Ok(())
    })?;
    Ok(parts.into_iter().fold(new(), |mut total, part| {
        total.sums.iter_mut().zip(part.sums).for_each(|(sum, value)| *sum += value);
        total.weights.iter_mut().zip(part.weights).for_each(|(sum, value)| *sum += value);
        total.inertia += part.inertia;
        if part.farthest.1 > total.farthest.1 {
            total.farthest = part.farthest;
        }
        total
    }))
}
