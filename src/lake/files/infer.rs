//! What columns files have, from a bounded sample.

use std::sync::Arc;

use futures::StreamExt;
use serde_json::Value;

use super::columnar::{columns_of, footers};
use super::format::{FileFormat, FileOptions, HeaderChoice};
use super::headers::{has_only_names, is_header, names_of, no_columns, united};
use super::hive::PathColumns;
use super::json;
use super::json_text::Record;
use super::scan::{Cutting, Sources};
use super::table::FileSet;
use crate::encode::copy::{Chunk, Header, Spelling, sample_rows};
use crate::encode::input::{self, InputContext};
use crate::encode::types::PgType;
use crate::error::{Error, Result};

/// Names and types of the files' columns.
///
/// CSV: boolean, bigint, double precision, date, timestamp, timestamptz, else text; JSON the same, with nested values as
/// jsonb; both from a sample (`FileOptions::sample_…`), so a later value may still be refused. Parquet and Avro: the files'
/// own schemas, merged by name. Errors: the store's, 22P04 and 22P02 for what cannot be parsed, 42804 for schemas at odds.
pub async fn infer(set: &FileSet, format: FileFormat, options: &FileOptions) -> Result<Vec<(String, PgType)>> {
    let mut columns = match format {
        FileFormat::Parquet | FileFormat::Avro => columns_of(&footers(set, format, options.any_case).await?.schema),
        FileFormat::Csv | FileFormat::Json => infer_text(set, format, options, None).await?.columns,
    };
    if options.path_columns {
        let paths = PathColumns::of(set, &[], &context())?;
        columns.retain(|(name, _)| !paths.has(name));
        columns.extend(paths.columns);
    }
    Ok(columns)
}

/// The columns of text files, and whether the first line names them.
#[derive(Debug)]
pub(super) struct TextColumns {
    pub(super) columns: Vec<(String, PgType)>,
    pub(super) has_header: bool,
    /// Of the header, the names being just what it says: other files' can be compared with it.
    pub(super) verbatim: bool,
    /// Of each file the columns that it has, in its order; empty when all files have all of them.
    pub(super) by_file: Vec<Arc<[String]>>,
}

impl TextColumns {
    fn same(columns: Vec<(String, PgType)>, has_header: bool) -> Self {
        Self { columns, has_header, verbatim: false, by_file: Vec::new() }
    }
}

/// Samples the files unless everything is known already.
pub(super) async fn infer_text(
    set: &FileSet,
    format: FileFormat,
    options: &FileOptions,
    known: Option<Vec<(String, PgType)>>,
) -> Result<TextColumns> {
    let has_header = format == FileFormat::Csv && options.header == HeaderChoice::Present;
    let may_differ = format == FileFormat::Csv && options.union_by_name && set.files.len() > 1;
    if may_differ
        && options.header != HeaderChoice::Absent
        && let Some(united) = united(set, options, known.clone()).await?
    {
        return Ok(united);
    }
    let told = format == FileFormat::Json || options.header != HeaderChoice::Detect;
    match known {
        Some(columns) if told => Ok(TextColumns::same(columns, has_header)),
        known => {
            let chunks = sample(set, format, options).await?;
            let found = match format {
                FileFormat::Json => TextColumns::same(typed(json_columns(&chunks, options)?), false),
                FileFormat::Csv | FileFormat::Parquet | FileFormat::Avro => csv_columns(&chunks, options)?.typed(),
            };
            let verbatim = found.verbatim && known.is_none();
            Ok(TextColumns { columns: known.unwrap_or(found.columns), verbatim, ..found })
        }
    }
}

pub(super) fn typed(columns: Vec<(String, Kind)>) -> Vec<(String, PgType)> {
    columns.into_iter().map(|(name, kind)| (name, kind.pg_type())).collect()
}

/// The first chunks of the first files; one list a file.
pub(super) async fn sample(set: &FileSet, format: FileFormat, options: &FileOptions) -> Result<Vec<Vec<Chunk>>> {
    let mut csv = options.csv.clone();
    csv.header = Header::Absent;
    let cutting = if format == FileFormat::Json { Cutting::Json } else { Cutting::Csv(csv) };
    let sources = Sources::of(set, cutting, options);
    let files = set.files.len().clamp(1, options.sample_files_max.max(1));
    let (bytes_max, rows_max) = (options.sample_bytes_max / files, options.sample_rows_max.div_ceil(files));
    let mut samples = Vec::new();
    for file in sources.files.iter().take(files) {
        let (mut chunks, mut bytes, mut lines) = (Vec::new(), 0, 0);
        let stream = sources.file_chunks(file);
        futures::pin_mut!(stream);
        while bytes < bytes_max.max(1) && lines < rows_max.max(1) {
            let Some(chunk) = stream.next().await else { break };
            let chunk = chunk?.into_chunk();
            bytes += chunk.bytes.len();
            lines += memchr::memchr_iter(b'\n', &chunk.bytes).count();
            chunks.push(chunk);
        }
        samples.push(chunks);
    }
    Ok(samples)
}

/// What the values of a column have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// Only NULLs so far.
    #[default]
    Nothing,
    Bool,
    BigInt,
    /// A whole number beyond bigint.
    Numeric,
    Double,
    Date,
    Timestamp,
    Timestamptz,
    Text,
    Jsonb,
}

/// Digits that a numeric has room for.
const DIGITS_MAX: usize = 38;

impl Kind {
    /// What a text looks like. A number that begins with a zero is a code, not a number.
    pub(super) fn of(text: &str, context: &InputContext) -> Self {
        let text = text.trim_ascii();
        let bytes = text.as_bytes();
        match bytes {
            [b't' | b'T' | b'f' | b'F', ..] if matches!(text.to_ascii_lowercase().as_str(), "true" | "false") => {
                Self::Bool
            }
            [b'0'..=b'9' | b'-' | b'+' | b'.', ..] => Self::of_digits(text, context),
            _ => Self::Text,
        }
    }

    fn of_digits(text: &str, context: &InputContext) -> Self {
        let digits = text.trim_start_matches(['-', '+']).as_bytes();
        if matches!(digits, [b'0', b'0'..=b'9', ..]) && !looks_like_date(text) {
            return Self::Text;
        }
        if text.parse::<i64>().is_ok() {
            return Self::BigInt;
        }
        // A double would drop digits.
        if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
            return if digits.len() <= DIGITS_MAX { Self::Numeric } else { Self::Text };
        }
        let number = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
        if number && text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Self::Double;
        }
        if !looks_like_date(text) {
            return Self::Text;
        }
        match text.get(10..) {
            Some("") if input::date(text, context).is_ok() => Self::Date,
            Some(time) if time.starts_with([' ', 'T']) && input::timestamp(text, -1, context).is_ok() => {
                if time.ends_with(['Z', 'z']) || time.contains(['+', '-']) {
                    Self::Timestamptz
                } else {
                    Self::Timestamp
                }
            }
            _ => Self::Text,
        }
    }

    /// What a text in a file of that spelling looks like.
    fn spelled(text: &str, spelling: &Spelling, context: &InputContext) -> Self {
        if spelling.date(text).is_some() {
            return Self::Date;
        }
        match spelling.timestamp(text) {
            Some((_, true)) => return Self::Timestamptz,
            Some((_, false)) => return Self::Timestamp,
            None => {}
        }
        let kind = match spelling.number(text).filter(|_| spelling.respells_numbers()) {
            Some(number) => Self::of(&number, context),
            None => Self::of(text, context),
        };
        match kind {
            // A spelling that was told is the only one.
            Self::Date if !spelling.dates.is_empty() => Self::Text,
            Self::Timestamp | Self::Timestamptz if !spelling.timestamps.is_empty() => Self::Text,
            Self::BigInt | Self::Numeric | Self::Double
                if spelling.respells_numbers() && spelling.number(text).is_none() =>
            {
                Self::Text
            }
            kind => kind,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (left, right) if left == right => left,
            (Self::Nothing, known) | (known, Self::Nothing) => known,
            (Self::BigInt, Self::Numeric) | (Self::Numeric, Self::BigInt) => Self::Numeric,
            (Self::BigInt | Self::Numeric, Self::Double) | (Self::Double, Self::BigInt | Self::Numeric) => Self::Double,
            (Self::Date, Self::Timestamp) | (Self::Timestamp, Self::Date) => Self::Timestamp,
            (Self::Date, Self::Timestamptz) | (Self::Timestamptz, Self::Date) => Self::Timestamptz,
            (Self::Jsonb, _) | (_, Self::Jsonb) => Self::Jsonb,
            _ => Self::Text,
        }
    }

    pub(super) fn pg_type(self) -> PgType {
        match self {
            Self::Nothing | Self::Text => PgType::TEXT,
            Self::Bool => PgType::BOOL,
            Self::BigInt => PgType::INT8,
            Self::Numeric => PgType::numeric(DIGITS_MAX as u8, 0),
            Self::Double => PgType::FLOAT8,
            Self::Date => PgType::DATE,
            Self::Timestamp => PgType::TIMESTAMP,
            Self::Timestamptz => PgType::TIMESTAMPTZ,
            Self::Jsonb => PgType::JSONB,
        }
    }
}

/// `dddd-dd-dd`, and whatever follows.
fn looks_like_date(text: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() >= 10 && text.bytes().take(10).enumerate().all(shape)
}

pub(super) fn context() -> InputContext {
    // Only shapes are asked for here: the clock and the zone decide nothing.
    InputContext::utc(chrono::DateTime::UNIX_EPOCH)
}

/// What a sample of CSV tells.
pub(super) struct Sampled {
    pub(super) columns: Vec<(String, Kind)>,
    has_header: bool,
    verbatim: bool,
}

impl Sampled {
    fn typed(self) -> TextColumns {
        let Self { columns, has_header, verbatim } = self;
        TextColumns { columns: typed(columns), has_header, verbatim, by_file: Vec::new() }
    }
}

pub(super) fn csv_columns(files: &[Vec<Chunk>], options: &FileOptions) -> Result<Sampled> {
    let (mut first_row, mut first_kinds, mut kinds) = (None, Vec::new(), Vec::new());
    let rows_max = options.sample_rows_max.div_ceil(files.len().max(1)).max(2);
    let context = context();
    for file in files {
        let (mut left, mut is_first) = (rows_max, true);
        for chunk in file {
            let sample = sample_rows(chunk, &options.csv, left);
            if let Some((field, error)) = sample.broken {
                let first = first_row.as_deref().or_else(|| sample.rows.first().map(Vec::as_slice)).unwrap_or_default();
                return Err(place_of_field(error, first, field, options.header));
            }
            let rows = sample.rows;
            left = left.saturating_sub(rows.len());
            for row in rows {
                // Each file's first row is judged apart: it may be a header.
                let target = if is_first { &mut first_kinds } else { &mut kinds };
                note(target, &row, &options.csv.spelling, &context);
                if std::mem::take(&mut is_first) && first_row.is_none() {
                    first_row = Some(row);
                }
            }
        }
    }
    let Some(first_row) = first_row else {
        return Err(no_columns());
    };
    let has_header = match options.header {
        HeaderChoice::Present => true,
        HeaderChoice::Absent => false,
        HeaderChoice::Detect => is_header(&first_row, &kinds),
    };
    if !has_header {
        let width = first_kinds.len().max(kinds.len());
        kinds.resize(width, Kind::Nothing);
        kinds.iter_mut().zip(&first_kinds).for_each(|(kind, first)| *kind = kind.and(*first));
    }
    let names = names_of(&first_row, has_header);
    let verbatim =
        has_header && first_row.iter().map(Option::as_deref).eq(names.iter().map(|name| Some(name.as_str())));
    let columns = names.into_iter().enumerate();
    let columns = columns.map(|(at, name)| (name, kinds.get(at).copied().unwrap_or_default())).collect();
    Ok(Sampled { columns, has_header, verbatim })
}

/// The error with the column's name: the first line's, as far as that can be known.
fn place_of_field(error: Error, first: &[Option<String>], field: usize, header: HeaderChoice) -> Error {
    let named = match header {
        HeaderChoice::Present => true,
        HeaderChoice::Absent => false,
        HeaderChoice::Detect => has_only_names(first),
    };
    let name = names_of(first, named).into_iter().nth(field).unwrap_or_else(|| format!("column{}", field + 1));
    let place = error.context().map(|place| format!("{place}, column {name}"));
    match place {
        Some(place) => error.with_context(place),
        None => error,
    }
}

fn note(kinds: &mut Vec<Kind>, row: &[Option<String>], spelling: &Spelling, context: &InputContext) {
    if kinds.len() < row.len() {
        kinds.resize(row.len(), Kind::Nothing);
    }
    for (kind, value) in kinds.iter_mut().zip(row) {
        // What is text stays text: no need to look at its other values.
        if let (Some(value), true) = (value, *kind != Kind::Text) {
            *kind = kind.and(Kind::spelled(value, spelling, context));
        }
    }
}

fn json_columns(files: &[Vec<Chunk>], options: &FileOptions) -> Result<Vec<(String, Kind)>> {
    let mut columns: Vec<(String, Kind)> = Vec::new();
    let mut at_name = std::collections::HashMap::new();
    let rows_max = options.sample_rows_max.div_ceil(files.len().max(1)).max(1);
    let context = context();
    for chunks in files {
        let mut left = rows_max;
        for chunk in chunks {
            json::check_encoding(chunk)?;
            let mut values = json::values(&chunk.bytes);
            while left > 0 {
                let start = values.byte_offset();
                let Some(value) = values.next() else { break };
                let value = value.map_err(|error| json::invalid(chunk, start, &error.to_string()))?;
                let Value::Object(members) = value else {
                    return Err(json::invalid(chunk, start, "Each record must be an object."));
                };
                left -= 1;
                let record = Record::new(chunk.bytes.get(start..values.byte_offset()).unwrap_or_default());
                for (name, value) in &members {
                    let key = if options.any_case { name.to_ascii_lowercase() } else { name.clone() };
                    let at = *at_name.entry(key).or_insert_with(|| {
                        columns.push((name.clone(), Kind::Nothing));
                        columns.len() - 1
                    });
                    if let Some((_, kind)) = columns.get_mut(at) {
                        *kind = kind.and(json_kind(value, &record, name, &context));
                    }
                }
            }
        }
    }
    if columns.is_empty() {
        return Err(no_columns());
    }
    Ok(columns)
}

/// A JSON string is a date or timestamp at most: quotes around a number were meant.
fn json_kind(value: &Value, record: &Record<'_>, name: &str, context: &InputContext) -> Kind {
    match value {
        Value::Null => Kind::Nothing,
        Value::Bool(_) => Kind::Bool,
        Value::Number(number) if number.is_i64() => Kind::BigInt,
        Value::Number(number) if number.is_u64() => Kind::Numeric,
        // What the parser made a double of may be a whole number with more digits.
        Value::Number(_) => record.member(name).map_or(Kind::Double, |text| Kind::of(text, context)),
        Value::String(text) if looks_like_date(text) => match Kind::of(text, context) {
            kind @ (Kind::Date | Kind::Timestamp | Kind::Timestamptz) => kind,
            _ => Kind::Text,
        },
        Value::String(_) => Kind::Text,
        Value::Array(_) | Value::Object(_) => Kind::Jsonb,
    }
}
