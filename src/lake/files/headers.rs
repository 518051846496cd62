//! The first lines of CSV files: whether they name the columns, and what a table of files has whose names differ.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;

use super::format::{FileFormat, FileOptions, HeaderChoice};
use super::infer::{Kind, TextColumns, context, csv_columns, sample, typed};
use super::scan::{Cutting, Sources};
use super::table::FileSet;
use crate::encode::copy::{Header, sample_rows};
use crate::encode::types::PgType;
use crate::error::{Error, Result, SqlState};

/// Different headers that the files of one table may have.
const HEADERS_MAX: usize = 64;
/// Headers that are read at a time.
const HEADERS_AHEAD: usize = 16;

/// A file's first line; none of an empty file.
type FirstRow = Option<Vec<Option<String>>>;

/// The columns of CSV files whose headers differ, in the order in which they come up. `None` where it was not told that the
/// first lines are headers and one cannot be.
pub(super) async fn united(
    set: &FileSet,
    options: &FileOptions,
    known: Option<Vec<(String, PgType)>>,
) -> Result<Option<TextColumns>> {
    let first_rows = first_rows(set, options).await?;
    if options.header == HeaderChoice::Detect && !first_rows.iter().flatten().all(|row| has_only_names(row)) {
        return Ok(None);
    }
    let mut by_file: Vec<Vec<String>> =
        first_rows.iter().map(|row| names_of(row.as_deref().unwrap_or_default(), true)).collect();
    if options.any_case {
        one_spelling(&mut by_file, set, known.as_deref().unwrap_or_default())?;
    }
    let by_file: Vec<Arc<[String]>> = by_file.into_iter().map(Arc::from).collect();
    let mut groups: Vec<(Arc<[String]>, Vec<ObjectMeta>)> = Vec::new();
    for (header, file) in by_file.iter().zip(set.files.iter()) {
        match groups.iter_mut().find(|(known, _)| known == header) {
            Some((_, files)) => files.push(file.clone()),
            None => groups.push((Arc::clone(header), vec![file.clone()])),
        }
    }
    if groups.len() > HEADERS_MAX {
        let message = format!("the files have more than {HEADERS_MAX} different headers");
        return Err(Error::new(SqlState::ProgramLimitExceeded, message));
    }
    let mut columns: Vec<(String, Kind)> = Vec::new();
    if known.is_none() {
        let sample_files_max = (options.sample_files_max / groups.len().max(1)).max(1);
        let options = FileOptions { sample_files_max, header: HeaderChoice::Present, ..options.clone() };
        for (header, files) in groups.iter().filter(|(header, _)| !header.is_empty()) {
            let part = FileSet { files: Arc::new(files.clone()), ..set.clone() };
            let found = csv_columns(&sample(&part, FileFormat::Csv, &options).await?, &options)?;
            let kinds = found.columns.into_iter().map(|(_, kind)| kind);
            for (name, kind) in header.iter().zip(kinds) {
                match columns.iter_mut().find(|(known, _)| known == name) {
                    Some((_, known)) => *known = known.and(kind),
                    None => columns.push((name.clone(), kind)),
                }
            }
        }
    }
    let columns = known.unwrap_or_else(|| typed(columns));
    if columns.is_empty() {
        return Err(no_columns());
    }
    Ok(Some(TextColumns { columns, has_header: true, verbatim: false, by_file }))
}

/// Spells names that differ only by case like the known columns, or the first file that has them.
fn one_spelling(by_file: &mut [Vec<String>], set: &FileSet, known: &[(String, PgType)]) -> Result<()> {
    let mut spellings: Vec<String> = known.iter().map(|(name, _)| name.clone()).collect();
    for (names, file) in by_file.iter_mut().zip(set.files.iter()) {
        let mut seen = HashSet::new();
        for name in names {
            match spellings.iter().find(|spelling| spelling.eq_ignore_ascii_case(name)) {
                Some(spelling) => name.clone_from(spelling),
                None => spellings.push(name.clone()),
            }
            if !seen.insert(name.as_str()) {
                return Err(repeated(name).with_context(format!("file \"{}\"", set.name(file.location.as_ref()))));
            }
        }
    }
    Ok(())
}

/// 42701 for a name that one file has twice.
pub(super) fn repeated(name: &str) -> Error {
    Error::new(SqlState::DuplicateColumn, format!("column \"{name}\" appears more than once in the file"))
        .with_detail("Names that differ only by case are the same.")
}

async fn first_rows(set: &FileSet, options: &FileOptions) -> Result<Vec<FirstRow>> {
    let mut csv = options.csv.clone();
    csv.header = Header::Absent;
    let sources = Sources::of(set, Cutting::Csv(csv), options);
    let first = |file: ObjectMeta| {
        let (sources, csv) = (sources.clone(), options.csv.clone());
        async move {
            let stream = sources.head_chunks(&file);
            futures::pin_mut!(stream);
            let Some(chunk) = stream.next().await else { return Ok(None) };
            let sample = sample_rows(&chunk?.into_chunk(), &csv, 1);
            match sample.broken {
                Some((_, error)) if sample.rows.is_empty() => Err(error),
                _ => Ok(sample.rows.into_iter().next()),
            }
        }
        .boxed()
    };
    stream::iter(set.files.as_ref().clone()).map(first).buffered(HEADERS_AHEAD).try_collect().await
}

/// The columns' names: the first row's where it is a header, without repetitions.
pub(super) fn names_of(first_row: &[Option<String>], has_header: bool) -> Vec<String> {
    unique(first_row.iter().enumerate().map(|(at, name)| match name {
        Some(name) if has_header => name.trim().to_owned(),
        _ => format!("column{}", at + 1),
    }))
}

pub(super) fn no_columns() -> Error {
    Error::new(SqlState::BadCopyFileFormat, "cannot find the columns of empty files")
        .with_hint("Name the columns and their types.")
}

/// Names over values: the first row is all different texts, and below it something is more than text, or nothing at all.
pub(super) fn is_header(first: &[Option<String>], kinds: &[Kind]) -> bool {
    let typed = kinds.iter().any(|kind| !matches!(kind, Kind::Text | Kind::Nothing));
    (typed || kinds.is_empty()) && has_only_names(first)
}

/// Whether the row could name columns: texts that differ, none of them a number or a date.
pub(super) fn has_only_names(row: &[Option<String>]) -> bool {
    let context = context();
    let is_name = |value: &Option<String>| value.as_ref().is_some_and(|text| Kind::of(text, &context) == Kind::Text);
    let mut names: Vec<&str> = row.iter().flatten().map(String::as_str).collect();
    names.sort_unstable();
    let distinct = names.windows(2).all(|pair| pair.first() != pair.last());
    distinct && row.iter().all(is_name)
}

/// The names, a repeated or empty one with a number behind it.
fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut result = Vec::new();
    for (at, name) in names.enumerate() {
        let base = if name.is_empty() { format!("column{}", at + 1) } else { name };
        let mut candidate = base.clone();
        let mut number = 1;
        while !seen.insert(candidate.clone()) {
            candidate = format!("{base}_{number}");
            number += 1;
        }
        result.push(candidate);
    }
    result
}
