//! Rules of each row.

use super::spelling::{constant, regular_expression};
use super::{EXCEPTIONS_MAX, Rule, Seen, Spelling, SuggestionKind};
use crate::quality::profile::Kind;

/// A column of texts with no more values than these, each in several rows, has known values.
const KNOWN_VALUES_MAX: u64 = 20;
const ROWS_PER_VALUE_MIN: u64 = 5;
const KNOWN_LENGTH_MAX: usize = 64;
/// Patterns of one rule.
const PATTERNS_MAX: usize = 3;

pub(super) fn rules(seen: &Seen<'_>, now: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = not_null(seen).into_iter().collect();
    rules.extend(
        match seen.column.kind {
            Kind::Number => [positive(seen), range(seen)],
            Kind::Moment => match not_future(seen, now) {
                Some(rule) => [since(seen), Some(rule)],
                None => [range(seen), None],
            },
            Kind::Text | Kind::PaddedText => match known_values(seen) {
                Some(rule) => [Some(rule), None],
                None => [length(seen), pattern(seen)],
            },
            Kind::Flag | Kind::Bytes | Kind::Token | Kind::Opaque => [None, None],
        }
        .into_iter()
        .flatten(),
    );
    rules
}

/// A rule that all values keep. Nulls pass it, where there are any: whether they may be is another rule's.
fn kept(seen: &Seen<'_>, kind: SuggestionKind, condition: String, evidence: String) -> Rule {
    let options = if seen.profile.nulls > 0 { vec!["ignore_nulls = true".to_owned()] } else { Vec::new() };
    Rule { kind, condition, evidence, kept_by: Some(seen.present), options }
}

fn not_null(seen: &Seen<'_>) -> Option<Rule> {
    let (rows, nulls) = (seen.profile.rows, seen.profile.nulls);
    let share = nulls as f64 / rows as f64;
    if seen.column.is_not_null || share > EXCEPTIONS_MAX {
        return None;
    }
    let condition = format!("{} IS NOT NULL", seen.name);
    let evidence = format!("{nulls} nulls in {rows} rows");
    let options = if nulls > 0 { vec![mostly(1.0 - share)] } else { Vec::new() };
    let kept_by = (nulls == 0).then_some(rows);
    Some(Rule { kind: SuggestionKind::NotNull, condition, evidence, kept_by, options })
}

/// The share in whole percents that the rows keep.
fn mostly(share: f64) -> String {
    format!("mostly = {:.2}", (share * 100.0).floor() / 100.0)
}

fn positive(seen: &Seen<'_>) -> Option<Rule> {
    let least = seen.values.least.as_deref()?;
    constant(seen.column.spelling, seen.values.greatest.as_deref()?)?;
    let number: f64 = least.parse().ok().filter(|number: &f64| *number >= 0.0)?;
    let sign = if number > 0.0 { ">" } else { ">=" };
    let evidence = format!("the smallest of {} values is {least}", seen.present);
    Some(kept(seen, SuggestionKind::Positive, format!("{} {sign} 0", seen.name), evidence))
}

/// Keys grow: what is different in every row has no range.
fn range(seen: &Seen<'_>) -> Option<Rule> {
    let (least, greatest) = (seen.values.least.as_deref()?, seen.values.greatest.as_deref()?);
    let (from, to) = (constant(seen.column.spelling, least)?, constant(seen.column.spelling, greatest)?);
    if seen.is_unique {
        return None;
    }
    let evidence = format!("{} values from {least} to {greatest}", seen.present);
    Some(kept(seen, SuggestionKind::Range, format!("{} BETWEEN {from} AND {to}", seen.name), evidence))
}

/// What has been goes on: there is an end at the beginning only.
fn since(seen: &Seen<'_>) -> Option<Rule> {
    let least = seen.values.least.as_deref()?;
    let from = constant(seen.column.spelling, least)?;
    let evidence = format!("the earliest of {} values is {least}", seen.present);
    Some(kept(seen, SuggestionKind::Range, format!("{} >= {from}", seen.name), evidence))
}

fn not_future(seen: &Seen<'_>, now: &str) -> Option<Rule> {
    let greatest = seen.values.greatest.as_deref()?;
    let (moment, length) = match seen.column.spelling {
        Spelling::Date => ("current_date", "2000-01-01".len()),
        Spelling::Timestamp => ("localtimestamp", "2000-01-01 00:00:00".len()),
        Spelling::TimestampTz => ("now()", "2000-01-01 00:00:00".len()),
        Spelling::Number | Spelling::Float | Spelling::Real | Spelling::Text | Spelling::Time | Spelling::Other => {
            return None;
        }
    };
    // Texts of years with four digits are in the order of time.
    let is_plain = greatest.as_bytes().get(4) == Some(&b'-') && !greatest.ends_with("BC");
    if !is_plain || greatest.get(..length)? > now.get(..length)? {
        return None;
    }
    let evidence = format!("the latest of {} values is {greatest}", seen.present);
    Some(kept(seen, SuggestionKind::NotFuture, format!("{} <= {moment}", seen.name), evidence))
}

fn known_values(seen: &Seen<'_>) -> Option<Rule> {
    let values = seen.values;
    let is_short = values.top.iter().all(|value| !value.is_cut && value.text.len() <= KNOWN_LENGTH_MAX);
    let is_few = values.distinct <= KNOWN_VALUES_MAX && values.distinct * ROWS_PER_VALUE_MIN <= seen.present;
    if !(values.is_exact && is_few && is_short && values.top.len() as u64 == values.distinct) {
        return None;
    }
    let mut known: Vec<&str> = values.top.iter().map(|value| value.text.as_str()).collect();
    known.sort_unstable();
    let known: Vec<String> = known.into_iter().map(super::spelling::text).collect();
    let evidence = format!("{} distinct values in {} rows", values.distinct, seen.present);
    let condition = format!("{} IN ({})", seen.name, known.join(", "));
    Some(kept(seen, SuggestionKind::KnownValues, condition, evidence))
}

fn length(seen: &Seen<'_>) -> Option<Rule> {
    let lengths = seen.values.lengths?;
    let (least, greatest) = (lengths.least, lengths.greatest);
    let (condition, evidence) = if least == greatest {
        let evidence = format!("all {} values have {least} characters", seen.present);
        (format!("length({}) = {least}", seen.name), evidence)
    } else {
        let evidence = format!("{} values of {least} to {greatest} characters", seen.present);
        (format!("length({}) BETWEEN {least} AND {greatest}", seen.name), evidence)
    };
    Some(kept(seen, SuggestionKind::Length, condition, evidence))
}

fn pattern(seen: &Seen<'_>) -> Option<Rule> {
    let patterns = seen.values.patterns.as_ref()?;
    let number = patterns.number?;
    if !patterns.is_ascii || seen.column.kind == Kind::PaddedText {
        return None;
    }
    let (most, count) = patterns.top.first()?;
    let share = *count as f64 / seen.present as f64;
    let shown = if number <= PATTERNS_MAX {
        patterns.top.get(..number)?
    } else if share >= 1.0 - EXCEPTIONS_MAX {
        patterns.top.get(..1)?
    } else {
        return None;
    };
    let covered: u64 = shown.iter().map(|(_, count)| count).sum();
    let expressions: Option<Vec<String>> = shown.iter().map(|(pattern, _)| regular_expression(pattern)).collect();
    let expression = match expressions?.as_slice() {
        [only] => format!("^{only}$"),
        several => format!("^({})$", several.join("|")),
    };
    let condition = format!("{} ~ {}", seen.name, super::spelling::text(&expression));
    let evidence = match shown {
        [_] => format!("{covered} of {} values are like {most}", seen.present),
        several => format!("{covered} of {} values have one of {} patterns", seen.present, several.len()),
    };
    let mut rule = kept(seen, SuggestionKind::Pattern, condition, evidence);
    if covered < seen.present {
        rule.kept_by = None;
        rule.options.insert(0, mostly(covered as f64 / seen.present as f64));
    }
    Some(rule)
}
