//! Who sees the rows of one scan, batch by batch, for rules of different kinds.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use parking_lot::Mutex;

use super::watch::Watch;
use crate::error::Result;

/// Sees columns of all rows: each row once, batches in any order and from several threads at a time.
pub trait Witness: Send + Sync + std::fmt::Debug {
    /// # Errors
    /// What ends the scan.
    fn see(&self, columns: &[ArrayRef]) -> Result<()>;
}

/// Rules about each row that are asked while rows are read. None of them leaves rows out.
#[derive(Debug)]
pub struct ReadingWatch {
    pub watch: Arc<Watch>,
    /// Of the rows as they are read.
    pub rows: SchemaRef,
}

impl Witness for ReadingWatch {
    fn see(&self, columns: &[ArrayRef]) -> Result<()> {
        drop(self.watch.ask(&batch(&self.rows, columns)?, None)?);
        Ok(())
    }
}

/// The same counted file by file: the last column is the number of the row's file.
#[derive(Debug)]
pub struct FileWatch {
    watch: Arc<Watch>,
    rows: SchemaRef,
    /// For each rule whether it is asked of a file, by the file's number.
    files: Vec<BooleanBuffer>,
    /// Of the files that were seen, for each rule.
    counts: Mutex<HashMap<usize, Vec<FileCounts>>>,
}

/// Rows of a file that a rule was asked of, and those that passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileCounts {
    pub checked: u64,
    pub passed: u64,
}

impl FileWatch {
    /// `rows` is the schema of the columns before the last.
    pub fn new(watch: Arc<Watch>, rows: SchemaRef, files: Vec<BooleanBuffer>) -> Self {
        Self { watch, rows, files, counts: Mutex::default() }
    }

    /// The files that the rule of that number was asked of. A file without rows has none to count.
    pub fn counts(&self, rule: usize) -> Vec<(usize, FileCounts)> {
        let Some(files) = self.files.get(rule) else { return Vec::new() };
        let all = self.counts.lock();
        let of = |file: usize| all.get(&file).and_then(|counts| counts.get(rule)).copied().unwrap_or_default();
        files.set_indices().map(|file| (file, of(file))).collect()
    }

    /// For each rule the first condition that could not be evaluated.
    pub fn errors(&self) -> Vec<Option<String>> {
        self.watch.results().into_iter().map(|result| result.error).collect()
    }
}

impl Witness for FileWatch {
    fn see(&self, columns: &[ArrayRef]) -> Result<()> {
        let Some((files, columns)) = columns.split_last() else { return Ok(()) };
        let files = cast(files, &DataType::Int32)?;
        let mut start = 0;
        // A batch is of one file, unless something put several together.
        for run in files.as_primitive::<Int32Type>().values().chunk_by(|one, other| one == other) {
            let file = run.first().and_then(|file| usize::try_from(*file).ok()).unwrap_or(usize::MAX);
            let rows: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, run.len())).collect();
            start += run.len();
            let is_asked =
                |rule: usize| self.files.get(rule).is_some_and(|files| file < files.len() && files.value(file));
            let found = self.watch.count_each(&batch(&self.rows, &rows)?, is_asked)?;
            let mut counts = self.counts.lock();
            let counts = counts.entry(file).or_insert_with(|| vec![FileCounts::default(); self.files.len()]);
            for found in found {
                if let Some(counts) = counts.get_mut(found.number) {
                    counts.checked += found.checked;
                    counts.passed += found.checked.saturating_sub(found.failed);
                }
            }
        }
        Ok(())
    }
}

fn batch(schema: &SchemaRef, columns: &[ArrayRef]) -> Result<RecordBatch> {
    let rows = columns.first().map(|column| column.len());
    let options = RecordBatchOptions::new().with_row_count(rows);
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.to_vec(), &options)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, Int64Array};
    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};

    use super::*;
    use crate::quality::{ExpectationOptions, RowRule, ViolationAction};

    #[test]
    fn rows_are_counted_by_their_files() {
        let rule = |oid, op: Operator, value: i64| RowRule {
            oid,
            name: format!("rule{oid}"),
            condition: format!("a {op} {value}"),
            expr: Arc::new(BinaryExpr::new(Arc::new(Column::new("a", 0)), op, lit(value))),
            proof: None,
            action: ViolationAction::Warn,
            options: ExpectationOptions::default(),
        };
        let rows: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let rules = vec![rule(1, Operator::Gt, 2), rule(2, Operator::Lt, 5)];
        let files = vec![BooleanBuffer::from(vec![true, true, false, true]), BooleanBuffer::from(vec![false, true])];
        let watch = FileWatch::new(Arc::new(Watch::new(rules, Arc::clone(&rows))), rows, files);
        let see = |values: Vec<Option<i64>>, files: Vec<i32>| {
            watch.see(&[Arc::new(Int64Array::from(values)), Arc::new(Int32Array::from(files))]).unwrap();
        };
        see(vec![Some(1), Some(3), Some(9), None, Some(4)], vec![0, 0, 1, 1, 0]);
        see(vec![Some(1), Some(1), Some(5)], vec![2, 2, 1]);
        let count = |checked, passed| FileCounts { checked, passed };
        assert_eq!(watch.counts(0), vec![(0, count(3, 2)), (1, count(3, 2)), (3, count(0, 0))]);
        assert_eq!(watch.counts(1), vec![(1, count(3, 0))]);
        assert_eq!(watch.counts(2), Vec::new());
        assert_eq!(watch.errors(), vec![None, None]);
    }
}
