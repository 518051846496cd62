//! Columns in paths: `…/year=2024/country=DE/x.parquet`, below the folder that was named. Every file must have them.

use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use object_store::ObjectMeta;

use super::infer::Kind;
use super::table::FileSet;
use crate::encode::input::{self, InputContext};
use crate::encode::types::PgType;
use crate::error::{Error, Result};

/// What Hive calls NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns that the paths of a set of files hold, and each file's values.
#[derive(Debug, Clone, Default)]
pub(super) struct PathColumns {
    pub(super) columns: Vec<(String, PgType)>,
    pub(super) values: Vec<Arc<[ScalarValue]>>,
}

/// Names and texts of a file's path.
fn pairs(file: &ObjectMeta, depth: usize) -> Vec<(String, Option<String>)> {
    let parts: Vec<_> = file.location.parts().skip(depth).collect();
    let folders = parts.split_last().map(|(_, folders)| folders).unwrap_or_default();
    let pair = |part: &object_store::path::PathPart<'_>| {
        let (key, value) = part.as_ref().split_once('=')?;
        let value = decoded(value);
        (!key.is_empty()).then(|| (decoded(key), (value != NULL).then_some(value)))
    };
    folders.iter().filter_map(pair).collect()
}

/// `%20` and the like as the characters that they stand for; what is no such thing stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

impl PathColumns {
    /// The columns in the paths of the files; none where a file lacks what another has. `known` are the types of columns that
    /// the caller knows.
    ///
    /// # Errors
    /// The type's own for a value that is none of a known type.
    pub(super) fn of(set: &FileSet, known: &[(String, PgType)], context: &InputContext) -> Result<Self> {
        let texts: Vec<Vec<(String, Option<String>)>> = set.files.iter().map(|file| pairs(file, set.depth)).collect();
        let Some(first) = texts.first().filter(|first| !first.is_empty()) else { return Ok(Self::none(set)) };
        let names: Vec<&String> = first.iter().map(|(name, _)| name).collect();
        let same = |pairs: &Vec<(String, Option<String>)>| pairs.iter().map(|(name, _)| name).eq(names.iter().copied());
        if !texts.iter().all(same) {
            return Ok(Self::none(set));
        }
        let column = |(at, name): (usize, &&String)| {
            let told = known.iter().find(|(known, _)| known == *name).map(|(_, ty)| *ty);
            let values = texts.iter().filter_map(|pairs| pairs.get(at)?.1.as_deref());
            ((*name).clone(), told.unwrap_or_else(|| type_of(values, context)))
        };
        let columns: Vec<(String, PgType)> = names.iter().enumerate().map(column).collect();
        let mut values = Vec::with_capacity(texts.len());
        for (pairs, file) in texts.iter().zip(set.files.iter()) {
            let row = pairs.iter().zip(&columns).map(|((_, text), (name, ty))| {
                let value = match text {
                    Some(text) => input::parse_scalar(text, *ty, context),
                    None => input::null_scalar(*ty),
                };
                value.map_err(|error| in_path(error, set, file, name))
            });
            values.push(row.collect::<Result<Vec<_>>>()?.into());
        }
        Ok(Self { columns, values })
    }

    pub(super) fn none(set: &FileSet) -> Self {
        Self { columns: Vec::new(), values: vec![Arc::from(Vec::new()); set.files.len()] }
    }

    /// Whether a path holds the column.
    pub(super) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|(column, _)| column == name)
    }
}

fn in_path(error: Error, set: &FileSet, file: &ObjectMeta, column: &str) -> Error {
    error.with_context(format!("path of file \"{}\", column {column}", set.name(file.location.as_ref())))
}

/// Whole numbers (`month=01` too), dates and timestamps; all else is text.
fn type_of<'a>(values: impl Iterator<Item = &'a str>, context: &InputContext) -> PgType {
    let kind = |text: &str| if text.parse::<i64>().is_ok() { Kind::BigInt } else { Kind::of(text, context) };
    match values.map(kind).fold(Kind::Nothing, Kind::and) {
        kind @ (Kind::BigInt | Kind::Numeric | Kind::Date | Kind::Timestamp | Kind::Timestamptz) => kind.pg_type(),
        Kind::Nothing | Kind::Bool | Kind::Double | Kind::Text | Kind::Jsonb => PgType::TEXT,
    }
}
