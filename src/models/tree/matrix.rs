//! The training data in one-byte codes.

use super::{Bins, Error, MISSING};

/// Codes by column: `columns[feature][row]`.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    rows: usize,
    columns: Vec<Vec<u8>>,
}

impl Matrix {
    /// Columns of codes as [`Bins::encode`] makes them; an error when their lengths differ or a row's number needs more than 32 bits.
    pub fn new(columns: Vec<Vec<u8>>) -> Result<Self, Error> {
        let rows = columns.first().map_or(0, Vec::len);
        if columns.iter().any(|column| column.len() != rows) {
            return Err(Error::Invalid("columns of different lengths".into()));
        }
        if u32::try_from(rows).is_err() {
            return Err(Error::Invalid(format!("{rows} rows are more than a tree can be trained on (4294967295)")));
        }
        Ok(Self { rows, columns })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn features(&self) -> usize {
        self.columns.len()
    }

    pub fn column(&self, feature: usize) -> &[u8] {
        &self.columns[feature]
    }

    /// Every code is one that `bins` can give: learners rely on it.
    pub(crate) fn check(&self, bins: &[Bins]) -> Result<(), Error> {
        if bins.len() != self.columns.len() {
            return Err(Error::Invalid(format!("{} columns, but bins of {}", self.columns.len(), bins.len())));
        }
        for (feature, (column, bins)) in self.columns.iter().zip(bins).enumerate() {
            let len = bins.len();
            if column.iter().any(|&code| usize::from(code) >= len && code != MISSING) {
                return Err(Error::Invalid(format!("column {feature} has a code outside of its bins")));
            }
        }
        Ok(())
    }
}
