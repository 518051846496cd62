//! Figures and suggestions as rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

use crate::encode::input::{jsonb, write_json_string as write_string};
use crate::encode::types::{self, PgType, format_type};
use crate::error::Result;
use crate::quality::profile::{
    ColumnProfile, Kind, ProfiledColumn, QUANTILES, TextBucket, TextPatterns, ValuesProfile, Wanted,
};
use crate::quality::suggest::Suggestion;

/// Most frequent values in a row.
const TOP_SHOWN: usize = 10;
const ELLIPSIS: char = '…';

pub const PROFILE_COLUMNS: &[(&str, PgType)] = &[
    ("column_name", PgType::TEXT),
    ("data_type", PgType::TEXT),
    ("rows", PgType::INT8),
    ("nulls", PgType::INT8),
    ("null_fraction", PgType::FLOAT8),
    ("distinct_estimate", PgType::INT8),
    ("is_exact", PgType::BOOL),
    ("min", PgType::TEXT),
    ("max", PgType::TEXT),
    ("mean", PgType::FLOAT8),
    ("stddev", PgType::FLOAT8),
    ("q05", PgType::FLOAT8),
    ("q25", PgType::FLOAT8),
    ("q50", PgType::FLOAT8),
    ("q75", PgType::FLOAT8),
    ("q95", PgType::FLOAT8),
    ("top_values", PgType::JSONB),
    ("histogram", PgType::JSONB),
    ("patterns", PgType::JSONB),
    ("min_length", PgType::INT4),
    ("max_length", PgType::INT4),
    ("avg_length", PgType::FLOAT8),
];

pub const SUGGESTION_COLUMNS: &[(&str, PgType)] = &[
    ("rule", PgType::TEXT),
    ("statement", PgType::TEXT),
    ("kind", PgType::TEXT),
    ("evidence", PgType::TEXT),
    ("confidence", PgType::FLOAT8),
];

/// Columns of a profile that need nothing but counts of rows and nulls.
const COUNTED: [&str; 5] = ["column_name", "data_type", "rows", "nulls", "null_fraction"];

/// What these columns of a profile need.
pub(super) fn wanted(shown: &[usize]) -> Wanted {
    let mut names = shown.iter().filter_map(|at| PROFILE_COLUMNS.get(*at)).map(|(name, _)| *name);
    let values = names.clone().any(|name| !COUNTED.contains(&name));
    Wanted { values, patterns: names.any(|name| name == "patterns") }
}

pub(super) fn figures(columns: &[ProfiledColumn], types: &[PgType], profiles: &[ColumnProfile]) -> Result<RecordBatch> {
    let values = |of: &dyn Fn(&ValuesProfile) -> Option<f64>| -> ArrayRef {
        let numbers = profiles.iter().map(|profile| profile.values.as_ref().and_then(of));
        Arc::new(numbers.collect::<Float64Array>())
    };
    let texts = |of: &dyn Fn(&ValuesProfile) -> Option<&String>| -> ArrayRef {
        let texts = profiles.iter().map(|profile| profile.values.as_ref().and_then(of));
        Arc::new(texts.collect::<StringArray>())
    };
    let counts = |of: &dyn Fn(&ColumnProfile) -> u64| -> ArrayRef {
        Arc::new(profiles.iter().map(|profile| i64::try_from(of(profile)).ok()).collect::<Int64Array>())
    };
    let lengths = |of: &dyn Fn(&ValuesProfile) -> Option<u32>| -> ArrayRef {
        let numbers = profiles.iter().map(|profile| profile.values.as_ref().and_then(of));
        Arc::new(numbers.map(|number| number.and_then(|number| i32::try_from(number).ok())).collect::<Int32Array>())
    };
    let json = |of: &dyn Fn(&ProfiledColumn, &ValuesProfile) -> Option<String>| -> Result<ArrayRef> {
        let texts = columns.iter().zip(profiles).map(|(column, profile)| {
            let text = profile.values.as_ref().and_then(|values| of(column, values));
            text.map(|text| jsonb(&text)).transpose()
        });
        Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
    };
    let fraction = |profile: &ColumnProfile| (profile.rows > 0).then(|| profile.nulls as f64 / profile.rows as f64);
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(columns.iter().map(|column| Some(column.name.as_str())).collect::<StringArray>()),
        Arc::new(types.iter().map(|ty| Some(format_type(*ty))).collect::<StringArray>()),
        counts(&|profile| profile.rows),
        counts(&|profile| profile.nulls),
        Arc::new(profiles.iter().map(fraction).collect::<Float64Array>()),
        counts(&|profile| profile.values.as_ref().map_or(0, |values| values.distinct)),
        Arc::new(BooleanArray::from_iter(
            profiles.iter().map(|profile| Some(profile.values.as_ref().is_none_or(|values| values.is_exact))),
        )),
        texts(&|values| values.least.as_ref()),
        texts(&|values| values.greatest.as_ref()),
        values(&|values| values.mean),
        values(&|values| values.deviation),
    ];
    for quantile in 0..QUANTILES.len() {
        arrays.push(values(&|values| values.quantiles.and_then(|quantiles| quantiles.get(quantile).copied())));
    }
    arrays.extend([
        json(&|column, values| Some(top_json(column, values)))?,
        json(&|column, values| values.buckets.as_ref().map(|buckets| buckets_json(column, buckets)))?,
        json(&|_, values| values.patterns.as_ref().map(patterns_json))?,
        lengths(&|values| values.lengths.map(|lengths| lengths.least)),
        lengths(&|values| values.lengths.map(|lengths| lengths.greatest)),
        values(&|values| values.lengths.map(|lengths| lengths.mean)),
    ]);
    batch(PROFILE_COLUMNS, arrays)
}

pub(super) fn suggestions(suggestions: &[Suggestion]) -> Result<RecordBatch> {
    let texts = |of: fn(&Suggestion) -> &str| -> ArrayRef {
        Arc::new(suggestions.iter().map(|suggestion| Some(of(suggestion))).collect::<StringArray>())
    };
    let confidence = suggestions.iter().map(|suggestion| suggestion.confidence);
    let arrays = vec![
        texts(|suggestion| &suggestion.rule),
        texts(|suggestion| &suggestion.statement),
        texts(|suggestion| suggestion.kind.word()),
        texts(|suggestion| &suggestion.evidence),
        Arc::new(confidence.collect::<Float64Array>()),
    ];
    batch(SUGGESTION_COLUMNS, arrays)
}

fn batch(columns: &[(&str, PgType)], arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields: Vec<_> = columns.iter().map(|(name, ty)| types::field(*name, *ty, true)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn top_json(column: &ProfiledColumn, values: &ValuesProfile) -> String {
    let top = values.top.iter().take(TOP_SHOWN).map(|value| {
        let mut item = "{\"value\": ".to_owned();
        if value.is_cut {
            write_string(&format!("{}{ELLIPSIS}", value.text), &mut item);
        } else {
            write_value(column.kind, &value.text, &mut item);
        }
        finish_counted(item, value.count, values.top_error)
    });
    listed(top)
}

fn buckets_json(column: &ProfiledColumn, buckets: &[TextBucket]) -> String {
    let buckets = buckets.iter().map(|bucket| {
        let mut item = "{\"from\": ".to_owned();
        write_value(column.kind, &bucket.from, &mut item);
        item.push_str(", \"to\": ");
        write_value(column.kind, &bucket.to, &mut item);
        finish_counted(item, bucket.count, 0)
    });
    listed(buckets)
}

fn patterns_json(patterns: &TextPatterns) -> String {
    let items = patterns.top.iter().map(|(pattern, count)| {
        let mut item = "{\"pattern\": ".to_owned();
        write_string(pattern, &mut item);
        finish_counted(item, *count, patterns.error)
    });
    listed(items)
}

/// Closes an object with a count, which may be too small by the error.
fn finish_counted(mut item: String, count: u64, error: u64) -> String {
    item.push_str(&format!(", \"count\": {count}"));
    if error > 0 {
        item.push_str(&format!(", \"error\": {error}"));
    }
    item.push('}');
    item
}

fn listed(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A value as `to_jsonb` gives it.
fn write_value(kind: Kind, text: &str, out: &mut String) {
    match (kind, text) {
        (Kind::Number, "NaN" | "Infinity" | "-Infinity") => write_string(text, out),
        (Kind::Number, number) => out.push_str(number),
        (Kind::Flag, "t") => out.push_str("true"),
        (Kind::Flag, _) => out.push_str("false"),
        (Kind::Moment | Kind::Text | Kind::PaddedText | Kind::Bytes | Kind::Token | Kind::Opaque, text) => {
            write_string(text, out)
        }
    }
}
