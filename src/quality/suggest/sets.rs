//! Rules of all rows together.

use super::spelling::rounded;
use super::{Rule, Seen, SuggestionKind};
use crate::quality::profile::Kind;

/// What a mean may move by: this part of the standard deviation.
const MEAN_DRIFT: f64 = 0.25;
/// Values of a column whose number is a rule: no more, and each in several rows.
const DISTINCT_MAX: u64 = 100;
const ROWS_PER_VALUE_MIN: u64 = 5;

pub(super) const ROW_COUNT: &str = "ROW COUNT";

fn rule(kind: SuggestionKind, condition: String, evidence: String) -> Rule {
    Rule { kind, condition, evidence, kept_by: None, options: Vec::new() }
}

/// Half to twice as many rows.
pub(super) fn row_count(rows: u64) -> Rule {
    let condition = format!("{ROW_COUNT} BETWEEN {} AND {}", (rows / 2).max(1), rows.saturating_mul(2));
    rule(SuggestionKind::RowCount, condition, format!("{rows} rows"))
}

pub(super) fn rules(seen: &Seen<'_>) -> Vec<Rule> {
    [unique(seen), distinct(seen), mean(seen)].into_iter().flatten().collect()
}

fn unique(seen: &Seen<'_>) -> Option<Rule> {
    if !seen.is_unique || seen.present < 2 {
        return None;
    }
    let evidence = format!("{} values, counted: none of them twice", seen.present);
    Some(rule(SuggestionKind::Unique, format!("UNIQUE ({})", seen.name), evidence))
}

fn distinct(seen: &Seen<'_>) -> Option<Rule> {
    let distinct = seen.values.distinct;
    let is_few = distinct <= DISTINCT_MAX && distinct * ROWS_PER_VALUE_MIN <= seen.present;
    let is_counted = matches!(seen.column.kind, Kind::Number | Kind::Text | Kind::PaddedText | Kind::Flag);
    if !(seen.values.is_exact && is_few && is_counted) {
        return None;
    }
    let condition = format!("count(DISTINCT {}) = {distinct}", seen.name);
    let evidence = format!("{distinct} distinct values in {} rows", seen.present);
    Some(rule(SuggestionKind::Distinct, condition, evidence))
}

fn mean(seen: &Seen<'_>) -> Option<Rule> {
    let mean = seen.values.mean.filter(|mean| mean.is_finite())?;
    let deviation = seen.values.deviation.filter(|deviation| deviation.is_finite() && *deviation > 0.0)?;
    if seen.is_unique {
        return None;
    }
    let (low, high) = (mean - MEAN_DRIFT * deviation, mean + MEAN_DRIFT * deviation);
    let condition = format!("avg({}) BETWEEN {} AND {}", seen.name, rounded(low, false), rounded(high, true));
    let evidence = format!(
        "{} values with mean {} and standard deviation {}",
        seen.present,
        rounded(mean, false),
        rounded(deviation, false)
    );
    Some(rule(SuggestionKind::Mean, condition, evidence))
}
