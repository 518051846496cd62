//! What a table's columns hold: one pass over the rows, in bounded memory whatever their number.
//!
//! ```text
//! partition 1: batches ─→ Profiler ─┐
//! partition 2: batches ─→ Profiler ─┴ merge ─→ finish ─→ a ColumnProfile for each column
//! ```
//! Figures are exact while a column has no more than 4,096 distinct values, and come from sketches after that. It is pure:
//! whoever calls it reads the rows, accounts for the memory and knows how values are written as text.

mod columns;
mod distinct;
mod frequent;
mod moments;
mod numbers;
mod pattern;
mod spread;
mod texts;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use columns::Column;
pub(super) use numbers::mixed;

/// The quantiles that a profile tells.
pub const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];
/// Most frequent values, and patterns, that it tells.
const TOP_MAX: usize = 20;
const PATTERNS_SHOWN_MAX: usize = 10;

/// Writes the values of one column as text.
pub trait ValueTexts: Send + Sync + std::fmt::Debug {
    /// Visits the texts in order; the array has the column's `shown` type.
    fn each(&self, values: &ArrayRef, visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;
}

/// What can be said of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everything.
    Number,
    /// Dates and times: their greatest and least value may stand for infinity. No mean.
    Moment,
    /// true and false.
    Flag,
    /// Characters: lengths and patterns.
    Text,
    /// `char(n)`: blanks at the end do not count.
    PaddedText,
    /// Bytes: lengths.
    Bytes,
    /// Text with an order and nothing else, as of UUIDs.
    Token,
    /// Known by its text alone, without an order: JSON, arrays, intervals.
    Opaque,
}

/// A column as the profiler needs it.
#[derive(Debug, Clone)]
pub struct ProfiledColumn {
    pub name: String,
    pub kind: Kind,
    /// What the batches' arrays are cast to.
    pub stored: DataType,
    /// What values are cast to before they are written.
    pub shown: DataType,
    pub texts: Arc<dyn ValueTexts>,
}

/// What is asked of a profile: the rest costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Anything but the numbers of rows and nulls.
    pub values: bool,
    pub patterns: bool,
}

/// A value, or its beginning, and how often it came at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopValue {
    pub text: String,
    pub is_cut: bool,
    pub count: u64,
}

/// Values from one to another, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextBucket {
    pub from: String,
    pub to: String,
    pub count: u64,
}

/// Lengths of texts in characters, of bytes in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextLengths {
    pub least: u32,
    pub greatest: u32,
    pub mean: f64,
}

/// Frequent patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPatterns {
    pub top: Vec<(String, u64)>,
    /// How much more often a pattern may have come.
    pub error: u64,
    /// How many there are, when all were counted.
    pub number: Option<usize>,
    /// Whether all letters, digits and white space of the texts were ASCII's.
    pub is_ascii: bool,
}

/// What is known of a column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnProfile {
    pub rows: u64,
    pub nulls: u64,
    pub values: Option<ValuesProfile>,
}

/// What is known of the values that are not null.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ValuesProfile {
    pub distinct: u64,
    /// Whether the number of distinct values and all that follows from counts is exact.
    pub is_exact: bool,
    pub least: Option<String>,
    pub greatest: Option<String>,
    pub mean: Option<f64>,
    pub deviation: Option<f64>,
    pub quantiles: Option<[f64; QUANTILES.len()]>,
    pub top: Vec<TopValue>,
    /// How much more often than told the top values may have come.
    pub top_error: u64,
    pub buckets: Option<Vec<TextBucket>>,
    pub lengths: Option<TextLengths>,
    pub patterns: Option<TextPatterns>,
}

/// Profiles the columns of one stream of batches.
#[derive(Debug)]
pub struct Profiler {
    columns: Vec<Column>,
    rows: u64,
}

impl Profiler {
    pub fn new(columns: &Arc<[ProfiledColumn]>, wanted: Wanted) -> Self {
        let columns = (0..columns.len()).map(|at| Column::new(columns, at, wanted)).collect();
        Self { columns, rows: 0 }
    }

    /// Takes a batch whose columns are the profiled ones, in order.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        for (column, values) in self.columns.iter_mut().zip(batch.columns()) {
            column.push(values)?;
        }
        Ok(())
    }

    /// Bytes that it holds.
    pub fn size(&self) -> usize {
        self.columns.iter().map(Column::size).sum()
    }

    /// Takes over what another one has seen.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if self.columns.len() != other.columns.len() {
            return Err(Error::internal("profiles of different columns cannot be merged"));
        }
        self.rows += other.rows;
        for (own, other) in self.columns.iter_mut().zip(other.columns) {
            own.merge(other)?;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<Vec<ColumnProfile>> {
        let rows = self.rows;
        self.columns.into_iter().map(|column| column.finish(rows)).collect()
    }
}
