//! The values of a part of rules for the files of a table, and whence they are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, new_empty_array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;

use crate::encode::types::PgType;
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whence {
    Kept,
    Log,
    Scan,
}

/// The values of a part.
pub(super) struct Found {
    pub name: String,
    pub ty: Option<PgType>,
    pub sources: Vec<(Whence, ArrayRef)>,
    /// For each file its source and the row there.
    pub at: Vec<Option<(usize, usize)>>,
    /// It cannot be computed file by file.
    pub failed: bool,
    /// Some row makes it fail.
    pub breaks: bool,
}

impl Found {
    pub fn missing(&self) -> Vec<usize> {
        self.at.iter().enumerate().filter(|(_, at)| at.is_none()).map(|(file, _)| file).collect()
    }

    pub fn add(&mut self, whence: Whence, values: ArrayRef) -> usize {
        // What does not fit what is known already is no reason to be wrong.
        self.failed |= self.sources.first().is_some_and(|(_, known)| known.data_type() != values.data_type());
        self.sources.push((whence, values));
        self.sources.len() - 1
    }

    pub fn count(&self, wanted: Whence) -> u64 {
        let is_wanted = |at: &&Option<(usize, usize)>| {
            at.and_then(|(source, _)| self.sources.get(source)).is_some_and(|(whence, _)| *whence == wanted)
        };
        self.at.iter().filter(is_wanted).count() as u64
    }

    pub fn values(&self) -> Result<ArrayRef> {
        let lost = || Error::internal("a part of a rule has no values");
        if self.at.is_empty() {
            let (_, known) = self.sources.first().ok_or_else(lost)?;
            return Ok(new_empty_array(known.data_type()));
        }
        let at: Vec<(usize, usize)> = self.at.iter().copied().collect::<Option<_>>().ok_or_else(lost)?;
        let sources: Vec<&dyn Array> = self.sources.iter().map(|(_, values)| values.as_ref()).collect();
        Ok(interleave(&sources, &at)?)
    }

    /// Takes counts for files of which nothing is known.
    pub fn count_scanned(&mut self, counts: impl Iterator<Item = (usize, u64)>) {
        let is_missing = |file: &usize| self.at.get(*file).is_some_and(Option::is_none);
        let (files, counts): (Vec<usize>, Vec<i64>) = counts
            .filter(|(file, _)| is_missing(file))
            .map(|(file, count)| (file, i64::try_from(count).unwrap_or(i64::MAX)))
            .unzip();
        let source = self.add(Whence::Scan, Arc::new(Int64Array::from(counts)));
        for (row, file) in files.into_iter().enumerate() {
            if let Some(at) = self.at.get_mut(file) {
                *at = Some((source, row));
            }
        }
    }

    /// The sum of counts.
    pub fn sum(&self) -> Result<u64> {
        let values = self.values()?;
        let values =
            values.as_primitive_opt::<Int64Type>().ok_or_else(|| Error::internal("counts of rows are no numbers"))?;
        Ok(values.iter().flatten().map(|count| u64::try_from(count).unwrap_or(0)).sum())
    }

    /// Takes the values that there are for files of which nothing is known.
    pub fn tell(&mut self, values: (ArrayRef, Vec<bool>)) {
        let (values, told) = values;
        if self.sources.first().is_some_and(|(_, known)| known.data_type() != values.data_type()) {
            return;
        }
        let source = self.add(Whence::Log, values);
        for (row, (at, told)) in self.at.iter_mut().zip(told).enumerate() {
            if at.is_none() && told {
                *at = Some((source, row));
            }
        }
    }
}

pub(super) fn numbers(values: &[Option<u64>]) -> (ArrayRef, Vec<bool>) {
    let values: Vec<Option<i64>> = values.iter().map(|value| i64::try_from((*value)?).ok()).collect();
    let told = values.iter().map(Option::is_some).collect();
    (Arc::new(Int64Array::from(values)), told)
}

pub(super) fn scalars(found: &Found, values: Vec<Option<ScalarValue>>) -> (ArrayRef, Vec<bool>) {
    let ty = found.sources.first().map_or(DataType::Null, |(_, known)| known.data_type().clone());
    let none = || (new_null_array(&ty, values.len()), vec![false; values.len()]);
    let Ok(null) = ScalarValue::try_from(&ty) else { return none() };
    let fitting = values.iter().map(|value| match value {
        Some(ScalarValue::Null) => Some(null.clone()),
        Some(value) if value.data_type() == ty => Some(value.clone()),
        Some(_) | None => None,
    });
    let fitting: Vec<Option<ScalarValue>> = fitting.collect();
    let told = fitting.iter().map(Option::is_some).collect();
    let array = ScalarValue::iter_to_array(fitting.into_iter().map(|value| value.unwrap_or_else(|| null.clone())));
    array.map_or_else(|_| none(), |array| (array, told))
}

/// The fewest files that hold so many broken rows, or all that there are.
pub(super) fn broken(checked: &Found, passed: &Found, wanted: i64) -> Result<Vec<usize>> {
    let (checked, passed) = (checked.values()?, passed.values()?);
    let (Some(checked), Some(passed)) =
        (checked.as_primitive_opt::<Int64Type>(), passed.as_primitive_opt::<Int64Type>())
    else {
        return Err(Error::internal("counts of rows are no numbers"));
    };
    let failed = checked.iter().zip(passed.iter()).enumerate();
    let failed = failed.map(|(file, (checked, passed))| (checked.unwrap_or(0) - passed.unwrap_or(0), file));
    let mut failed: Vec<(i64, usize)> = failed.filter(|(failed, _)| *failed > 0).collect();
    failed.sort_by_key(|(failed, _)| std::cmp::Reverse(*failed));
    let (mut files, mut rows) = (Vec::new(), 0);
    for (failed, file) in failed {
        if rows >= wanted {
            break;
        }
        files.push(file);
        rows += failed;
    }
    Ok(files)
}
