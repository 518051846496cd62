//! Rules that a table's rows keep already, told from its profile, as statements that can be run.
//!
//! ```text
//! ColumnProfile ─┬ rows: not null, ranges, known values, lengths, patterns   → ALTER TABLE … ADD CONSTRAINT … EXPECT (…)
//!                └ sets: unique, numbers of rows and of values, means       → CREATE EXPECTATION … ON … EXPECT (…)
//! ```
//! Each suggestion says which figures it follows from. All warn only: whoever takes one over decides what a violation costs.

mod rows;
mod sets;
mod spelling;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::quality::profile::{ColumnProfile, Kind, ValuesProfile};
use spelling::{identifier, rule_name};

/// Share of nulls, or of other patterns, that still counts as an exception: the rule is suggested with `mostly`.
const EXCEPTIONS_MAX: f64 = 0.05;

/// The table, as statements name it.
#[derive(Debug)]
pub struct SuggestedTable {
    /// Qualified and quoted.
    pub name: String,
    pub columns: Vec<SuggestedColumn>,
    /// Names of constraints and rules that it has.
    pub taken: Vec<String>,
    /// The conditions of its rules, spelled as suggestions are: they are not suggested again.
    pub kept: Vec<String>,
    /// The moment in UTC as ISO 8601 with a blank, to tell what lies in the future.
    pub now: String,
    /// Quotes an identifier where it must be.
    pub quote: fn(&str) -> String,
}

/// How constants of a type are written and what may be said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    Number,
    /// Numbers that are measured, not given: no keys.
    Float,
    /// The same in single precision, whose texts are other numbers in double.
    Real,
    Text,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Other,
}

#[derive(Debug)]
pub struct SuggestedColumn {
    pub name: String,
    pub spelling: Spelling,
    pub kind: Kind,
    /// Declared: nothing to suggest.
    pub is_not_null: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuggestionKind {
    NotNull,
    Range,
    Positive,
    NotFuture,
    KnownValues,
    Length,
    Pattern,
    Unique,
    Distinct,
    Mean,
    RowCount,
}

impl SuggestionKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::NotNull => "not_null",
            Self::Range => "range",
            Self::Positive => "positive",
            Self::NotFuture => "not_future",
            Self::KnownValues => "known_values",
            Self::Length => "length",
            Self::Pattern => "pattern",
            Self::Unique => "unique",
            Self::Distinct => "distinct",
            Self::Mean => "mean",
            Self::RowCount => "row_count",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// The condition.
    pub rule: String,
    pub statement: String,
    pub kind: SuggestionKind,
    pub evidence: String,
    /// The share of further rows that keep the rule with 95 % certainty, if these are like those that were seen.
    pub confidence: Option<f64>,
}

/// What is known of one column.
struct Seen<'a> {
    column: &'a SuggestedColumn,
    /// The column's name, quoted.
    name: String,
    profile: &'a ColumnProfile,
    values: &'a ValuesProfile,
    /// Rows that are not null.
    present: u64,
    is_unique: bool,
}

/// A rule before it has a statement.
struct Rule {
    kind: SuggestionKind,
    condition: String,
    evidence: String,
    /// Rows that keep it without exception.
    kept_by: Option<u64>,
    options: Vec<String>,
}

impl SuggestedTable {
    /// Whether a column's values may be keys, so that it is worth to know that they are all different.
    pub fn may_have_keys(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(SuggestedColumn::may_have_keys)
    }

    /// Suggestions for what the profiles show; `unique` tells which columns were counted to have no value twice.
    pub fn suggestions(&self, profiles: &[ColumnProfile], unique: &[bool]) -> Vec<Suggestion> {
        let Some(rows) = profiles.first().map(|profile| profile.rows).filter(|rows| *rows > 0) else {
            return Vec::new();
        };
        let mut taken: HashSet<String> = self.taken.iter().cloned().collect();
        let mut suggestions = Vec::new();
        let seen = self.columns.iter().zip(profiles).zip(unique);
        let seen = seen.filter_map(|((column, profile), is_unique)| {
            let values = profile.values.as_ref()?;
            let (name, present) = ((self.quote)(&column.name), profile.rows - profile.nulls);
            let is_unique = *is_unique && column.may_have_keys();
            (present > 0).then_some(Seen { column, name, profile, values, present, is_unique })
        });
        let seen: Vec<Seen<'_>> = seen.collect();
        for seen in &seen {
            for rule in rows::rules(seen, &self.now).into_iter().filter(|rule| self.is_news(rule)) {
                let name = self.named(&mut taken, &seen.column.name, rule.kind);
                let statement = format!(
                    "ALTER TABLE {} ADD CONSTRAINT {name} EXPECT ({}) ON VIOLATION WARN{}",
                    self.name,
                    rule.condition,
                    with(&rule.options)
                );
                suggestions.push(rule.suggestion(statement));
            }
        }
        let of_table = std::iter::once(("", sets::row_count(rows)));
        let of_columns =
            seen.iter().flat_map(|seen| sets::rules(seen).into_iter().map(|rule| (seen.column.name.as_str(), rule)));
        for (column, rule) in of_columns.chain(of_table).filter(|(_, rule)| self.is_news(rule)) {
            let name = self.named(&mut taken, column, rule.kind);
            let statement = format!(
                "CREATE EXPECTATION {name} ON {} EXPECT ({}) ON VIOLATION WARN{}",
                self.name,
                rule.condition,
                with(&rule.options)
            );
            suggestions.push(rule.suggestion(statement));
        }
        suggestions
    }

    fn is_news(&self, rule: &Rule) -> bool {
        let is_alike = |kept: &String| match rule.kind {
            // What it allows moves with the rows.
            SuggestionKind::RowCount => kept.starts_with(sets::ROW_COUNT),
            _ => *kept == rule.condition,
        };
        !self.kept.iter().any(is_alike)
    }

    /// A new rule's name, quoted.
    fn named(&self, taken: &mut HashSet<String>, column: &str, kind: SuggestionKind) -> String {
        let mut name = rule_name(column, kind.word(), 0);
        let mut number = 0;
        while !taken.insert(name.clone()) {
            number += 1;
            name = rule_name(column, kind.word(), number);
        }
        identifier(&name, self.quote)
    }
}

impl SuggestedColumn {
    fn may_have_keys(&self) -> bool {
        match self.kind {
            Kind::Number => !matches!(self.spelling, Spelling::Float | Spelling::Real),
            Kind::Text | Kind::Token => true,
            Kind::Moment | Kind::Flag | Kind::PaddedText | Kind::Bytes | Kind::Opaque => false,
        }
    }
}

impl Rule {
    fn suggestion(self, statement: String) -> Suggestion {
        // The rule of three: an event that n trials have not shown has a probability below 3/n with 95 % certainty.
        let confidence = self.kept_by.map(|rows| (1.0 - 3.0 / rows as f64).max(0.0));
        Suggestion { rule: self.condition, statement, kind: self.kind, evidence: self.evidence, confidence }
    }
}

fn with(options: &[String]) -> String {
    if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) }
}
