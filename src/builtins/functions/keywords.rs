//! `pg_get_keywords()`: PostgreSQL's key words, which drivers list and quote by.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};

use crate::encode::types::{PgType, oid};

/// The columns of the set: name, a list with an element for each key word, type of the element.
pub(super) fn lists() -> Vec<(Option<&'static str>, Expr, PgType)> {
    let words: Vec<[&'static str; 3]> = include_str!("keywords.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(' ').collect::<Vec<_>>().try_into().ok())
        .collect();
    let texts = |of: fn(&[&'static str; 3]) -> &'static str| {
        let values: Vec<ScalarValue> = words.iter().map(|word| ScalarValue::from(of(word))).collect();
        lit(ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8)))
    };
    let flags: Vec<ScalarValue> = words.iter().map(|[_, _, bare]| ScalarValue::from(*bare == "1")).collect();
    let flags = lit(ScalarValue::List(ScalarValue::new_list_nullable(&flags, &DataType::Boolean)));
    vec![
        (Some("word"), texts(|[word, ..]| word), PgType::TEXT),
        (Some("catcode"), texts(|[_, category, _]| category), PgType::of(oid::CHAR)),
        (Some("barelabel"), flags, PgType::BOOL),
        (Some("catdesc"), texts(|[_, category, _]| description(category)), PgType::TEXT),
        (
            Some("baredesc"),
            texts(|[_, _, bare]| if *bare == "1" { "can be bare label" } else { "requires AS" }),
            PgType::TEXT,
        ),
    ]
}

fn description(category: &str) -> &'static str {
    match category {
        "C" => "unreserved (cannot be function or type name)",
        "R" => "reserved",
        "T" => "reserved (can be function or type name)",
        _ => "unreserved",
    }
}
