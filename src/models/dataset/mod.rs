//! Rows to learn from: columns of numbers and of category codes, put into an order that does not depend on where they came from.
//!
//! ```text
//! batches ─ Builder ─→ columns in order of arrival, a hash a row ─ finish ─→ Dataset: rows sorted by their hash, split by it
//! ```
//! Equal rows have equal hashes, to which their number among them is added, and may stand for each other: so the same rows give
//! the same dataset, whatever the order of files and the number of threads. What it holds is reserved in the memory pool: 53200 when that is full.

mod builder;
mod dictionary;
mod hash;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::feature::Feature;

pub use builder::{Builder, Plan};
pub use dictionary::{MISSING, TEXTS_MAX};

/// The values of a feature, in the dataset's order.
#[derive(Debug, Clone)]
pub enum Values {
    /// NaN is NULL.
    Numbers(Vec<f64>),
    /// Places in `texts`, [`MISSING`] for NULL. Texts are in order of frequency, then of their own.
    Codes { codes: Vec<u32>, texts: Vec<String> },
}

impl Values {
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Codes { codes, .. } => codes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no two values differ, NULL counted as a value.
    pub fn is_constant(&self) -> bool {
        match self {
            Self::Numbers(numbers) => {
                numbers.windows(2).all(|pair| pair.first().map(|a| a.to_bits()) == pair.last().map(|b| b.to_bits()))
            }
            Self::Codes { codes, .. } => codes.windows(2).all(|pair| pair.first() == pair.last()),
        }
    }
}

/// What is to be predicted.
#[derive(Debug, Clone)]
pub enum Target {
    None,
    Numbers(Vec<f64>),
    /// Places in `classes`, which are in the order of their type.
    Classes {
        codes: Vec<u32>,
        classes: Vec<String>,
    },
}

/// Rows to learn from.
#[derive(Debug)]
pub struct Dataset {
    pub features: Vec<Feature>,
    /// One for each feature.
    pub columns: Vec<Values>,
    pub target: Target,
    pub weights: Option<Vec<f64>>,
    pub rows: usize,
    /// The rows from here on are held out.
    pub train_rows: usize,
    /// Rows that were left out, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Of the pool, as long as the dataset lives.
    pub(super) memory: Option<datafusion::execution::memory_pool::MemoryReservation>,
}

impl Dataset {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.size())
    }
}
