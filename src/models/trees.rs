//! Ensembles of trees between the dataset, the artifact and predictions.

use std::sync::OnceLock;

use datafusion::execution::memory_pool::MemoryReservation;

use super::artifact::{Sections, damaged};
use super::dataset::MISSING;
use super::inputs::{Input, Inputs};
use super::tree::{self, Ensemble, Error as TreeError, Explainer, Feature, Link, Outline, Predictor, Tree, Unwatched};
use super::watch::Watch;
use crate::error::{Error, Result, SqlState};

/// Trees that answer.
#[derive(Debug)]
pub struct Trees {
    pub ensemble: Ensemble,
    predictor: Predictor,
    /// Of a classifier; 0 of others.
    classes: usize,
    /// Of an isolation forest: scores above it are of anomalies.
    pub threshold: f64,
    /// Once an explanation was asked for.
    outline: OnceLock<Outline>,
}

/// The watch as the kernel asks it, and the memory that trees are put into.
pub struct Watched<'a> {
    watch: &'a dyn Watch,
    memory: &'a MemoryReservation,
    /// Why there was no room.
    full: OnceLock<Error>,
}

impl<'a> Watched<'a> {
    pub fn new(watch: &'a dyn Watch, memory: &'a MemoryReservation) -> Self {
        Self { watch, memory, full: OnceLock::new() }
    }

    /// The kernel's error as a statement's.
    pub fn refused(self, error: TreeError) -> Error {
        match (error, self.full.into_inner()) {
            (TreeError::Stopped, Some(full)) => full,
            (error, _) => refused(error),
        }
    }
}

impl tree::Watch for Watched<'_> {
    fn check(&self) -> std::result::Result<(), tree::Stopped> {
        self.watch.check().map_err(|_| tree::Stopped)
    }

    fn grown(&self, bytes: usize) -> std::result::Result<(), tree::Stopped> {
        self.memory.try_grow(bytes).map_err(|error| {
            let _ = self.full.set(error.into());
            tree::Stopped
        })
    }

    fn progress(&self, done: usize, total: usize, loss: Option<f64>) {
        self.watch.progress(done, total, loss);
    }
}

/// An error of the kernel as a statement's.
pub fn refused(error: TreeError) -> Error {
    match error {
        TreeError::Stopped => Error::new(SqlState::QueryCanceled, "canceling statement due to user request"),
        TreeError::Invalid(text) => Error::new(SqlState::InvalidParameterValue, text),
        TreeError::TooMuch(text) => Error::new(SqlState::ProgramLimitExceeded, text),
        TreeError::Damaged(text) => damaged(&text),
    }
}

impl Trees {
    /// # Errors
    /// XX001 for trees that cannot be.
    pub fn new(ensemble: Ensemble, classes: usize, threshold: f64) -> Result<Self> {
        let outputs = ensemble.outputs as usize;
        let fits = match classes {
            0 => outputs == 1,
            2 => outputs == 1,
            classes => outputs == classes,
        };
        if !fits {
            return Err(damaged("other outputs than classes"));
        }
        let predictor = Predictor::new(&ensemble).map_err(refused)?;
        Ok(Self { ensemble, predictor, classes, threshold, outline: OnceLock::new() })
    }

    pub fn width(&self) -> usize {
        if self.classes > 0 { self.classes } else { 1 }
    }

    pub fn bytes(&self) -> usize {
        self.ensemble.bytes() * 2
    }

    /// The numbers of each row: probabilities of all classes, or one number.
    ///
    /// # Errors
    /// XX000 for inputs that are not the features'.
    pub fn scores(&self, inputs: &Inputs) -> Result<Vec<f64>> {
        let owned: Vec<Vec<f64>> = inputs.columns.iter().map(coded).collect();
        self.answered(&columns(inputs, &owned), 1, &Unwatched)
    }

    /// What explains; the passes over all nodes that it needs are made once for a model, not for each batch.
    pub fn explainer(&self) -> Explainer<'_> {
        Explainer::new(&self.ensemble, self.outline.get_or_init(|| Outline::new(&self.ensemble)))
    }

    /// Of each row the sums of the trees before their link (rows × outputs), and their SHAP values (rows × outputs × features).
    ///
    /// # Errors
    /// XX000 for inputs that are not the features'.
    pub fn explained(&self, explainer: &Explainer<'_>, inputs: &Inputs) -> Result<(Vec<f64>, Vec<f64>)> {
        let owned: Vec<Vec<f64>> = inputs.columns.iter().map(coded).collect();
        let columns = columns(inputs, &owned);
        let sums = self.predictor.sums(&columns, 1, &Unwatched).map_err(refused)?;
        Ok((sums, explainer.explain(&columns, 1, &Unwatched).map_err(refused)?))
    }

    /// Of a classifier; 0 of others.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// As [`scores`](Self::scores) over raw columns: numbers, and codes of categories as numbers.
    ///
    /// # Errors
    /// XX000 for columns that are not the features', 57014 when the watch says so.
    pub fn answered(&self, columns: &[&[f64]], threads: usize, watch: &dyn tree::Watch) -> Result<Vec<f64>> {
        let given = self.predictor.predict(columns, threads, watch).map_err(refused)?;
        if self.classes != 2 {
            return Ok(given);
        }
        Ok(given.iter().flat_map(|positive| [1.0 - positive, *positive]).collect())
    }

    pub fn write(&self, sections: &mut Sections) {
        let Ensemble { features, outputs, base, scale, link, trees } = &self.ensemble;
        let (code, path) = match link {
            Link::Identity => (0, 0.0),
            Link::Logistic => (1, 0.0),
            Link::Softmax => (2, 0.0),
            Link::Isolation { path } => (3, *path),
        };
        sections.put_u32s("trees.shape", vec![*outputs, code, features.len() as u32, trees.len() as u32]);
        sections.put_f64s("trees.base", base.clone());
        sections.put_f64s("trees.scale", vec![*scale, path, self.threshold]);
        let mut bins = (Vec::new(), Vec::new());
        for feature in features {
            match feature {
                Feature::Numeric => bins.0.push(u32::MAX),
                Feature::Categorical { bin_of } => {
                    bins.0.push(bin_of.len() as u32);
                    bins.1.extend_from_slice(bin_of);
                }
            }
        }
        sections.put_u32s("trees.categories", bins.0);
        sections.put_bytes("trees.bins", bins.1);
        let mut counts = Vec::with_capacity(trees.len() * 5);
        for tree in trees {
            let parts = [tree.output, tree.width, tree.len() as u32, tree.sets.len() as u32, tree.values.len() as u32];
            counts.extend_from_slice(&parts);
        }
        sections.put_u32s("trees.counts", counts);
        let all = |of: fn(&Tree) -> &Vec<u32>| trees.iter().flat_map(|tree| of(tree).iter().copied()).collect();
        sections.put_u32s("nodes.feature", all(|tree| &tree.feature));
        sections.put_u32s("nodes.set", all(|tree| &tree.set));
        sections.put_u32s("nodes.left", all(|tree| &tree.left));
        sections.put_u32s("nodes.right", all(|tree| &tree.right));
        let all = |of: fn(&Tree) -> &Vec<f64>| trees.iter().flat_map(|tree| of(tree).iter().copied()).collect();
        sections.put_f64s("nodes.threshold", all(|tree| &tree.threshold));
        sections.put_f64s("nodes.gain", all(|tree| &tree.gain));
        sections.put_f64s("nodes.cover", all(|tree| &tree.cover));
        sections.put_f64s("leaves.values", all(|tree| &tree.values));
        let missing = trees.iter().flat_map(|tree| tree.default_left.iter().map(|left| u8::from(*left)));
        sections.put_bytes("nodes.default_left", missing.collect());
        sections.put_u64s("sets", trees.iter().flat_map(|tree| tree.sets.iter().flatten().copied()).collect());
    }

    /// What [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// XX001 for anything else.
    pub fn read(sections: &Sections, classes: usize) -> Result<Self> {
        let [outputs, code, feature_count, tree_count] = sections.u32s("trees.shape")? else {
            return Err(damaged("the trees' shape"));
        };
        let [scale, path, threshold] = sections.f64s("trees.scale")? else { return Err(damaged("the trees' scale")) };
        let link = match code {
            0 => Link::Identity,
            1 => Link::Logistic,
            2 => Link::Softmax,
            3 => Link::Isolation { path: *path },
            _ => return Err(damaged("the trees' link")),
        };
        let mut bins = Parts { rest: sections.bytes("trees.bins")? };
        let features = sections.u32s("trees.categories")?.iter().map(|count| match *count {
            u32::MAX => Ok(Feature::Numeric),
            count => Ok(Feature::Categorical { bin_of: bins.take(count as usize)?.to_vec() }),
        });
        let features = features.collect::<Result<Vec<_>>>()?;
        let counts = sections.u32s("trees.counts")?;
        if features.len() != *feature_count as usize || counts.len() != *tree_count as usize * 5 {
            return Err(damaged("the number of trees"));
        }
        let mut feature = Parts { rest: sections.u32s("nodes.feature")? };
        let mut set = Parts { rest: sections.u32s("nodes.set")? };
        let mut left = Parts { rest: sections.u32s("nodes.left")? };
        let mut right = Parts { rest: sections.u32s("nodes.right")? };
        let mut thresholds = Parts { rest: sections.f64s("nodes.threshold")? };
        let mut gain = Parts { rest: sections.f64s("nodes.gain")? };
        let mut cover = Parts { rest: sections.f64s("nodes.cover")? };
        let mut values = Parts { rest: sections.f64s("leaves.values")? };
        let mut missing = Parts { rest: sections.bytes("nodes.default_left")? };
        let mut sets = Parts { rest: sections.u64s("sets")? };
        let mut trees = Vec::with_capacity(counts.len() / 5);
        for counts in counts.chunks_exact(5) {
            let [output, width, nodes, set_count, value_count] = *counts else { return Err(damaged("a tree")) };
            let nodes = nodes as usize;
            let words = sets.take((set_count as usize).saturating_mul(4))?;
            trees.push(Tree {
                output,
                width,
                feature: feature.take(nodes)?.to_vec(),
                threshold: thresholds.take(nodes)?.to_vec(),
                set: set.take(nodes)?.to_vec(),
                default_left: missing.take(nodes)?.iter().map(|left| *left != 0).collect(),
                left: left.take(nodes)?.to_vec(),
                right: right.take(nodes)?.to_vec(),
                gain: gain.take(nodes)?.to_vec(),
                cover: cover.take(nodes)?.to_vec(),
                sets: words.chunks_exact(4).filter_map(|words| words.try_into().ok()).collect(),
                values: values.take(value_count as usize)?.to_vec(),
            });
        }
        let base = sections.f64s("trees.base")?.to_vec();
        let ensemble = Ensemble { features, outputs: *outputs, base, scale: *scale, link, trees };
        Self::new(ensemble, classes, *threshold)
    }
}

/// Raw columns: numbers as they are, and the codes of categories from `owned`.
fn columns<'a>(inputs: &'a Inputs, owned: &'a [Vec<f64>]) -> Vec<&'a [f64]> {
    let column = |(input, owned): (&'a Input, &'a Vec<f64>)| match input {
        Input::Numbers(values) => values.values().as_ref(),
        Input::Codes(_) => owned.as_slice(),
    };
    inputs.columns.iter().zip(owned).map(column).collect()
}

/// The codes of categories as numbers; nothing of numbers, which are used where they are.
fn coded(input: &Input) -> Vec<f64> {
    match input {
        Input::Numbers(_) => Vec::new(),
        Input::Codes(codes) => codes.iter().map(|code| number_of(*code)).collect(),
    }
}

pub fn number_of(code: u32) -> f64 {
    if code == MISSING { f64::NAN } else { f64::from(code) }
}

/// An array that is taken piece by piece.
struct Parts<'a, T> {
    rest: &'a [T],
}

impl<'a, T> Parts<'a, T> {
    fn take(&mut self, count: usize) -> Result<&'a [T]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| damaged("a tree ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }
}
