//! The rows that break a rule, as a query.

use super::asked::{known, list};
use super::tree::{quoted, relation_text};
use crate::error::{Error, Result, SqlState};
use crate::quality::{Expectation, ExpectationRule};

/// The text of the query over the table, of a rule about each row over [`broken_rows`](crate::plan::broken_rows); `other` as [`asked`](super::asked) has it.
///
/// # Errors
/// 42809 for a rule that no single row breaks.
pub fn violations(rule: &Expectation, (schema, table): (&str, &str), other: Option<(&str, &str)>) -> Result<String> {
    let from = relation_text(schema, table);
    Ok(match &rule.rule {
        ExpectationRule::Row { .. } => format!("SELECT * FROM {from}"),
        ExpectationRule::Unique { columns } => {
            let (list, known) = (list(columns), known(columns, rule.filter.as_deref()));
            let same: Vec<String> =
                (0..columns.len()).map(|at| format!("own.{} = twice.c{at}", quoted_at(columns, at))).collect();
            let named: Vec<String> =
                columns.iter().enumerate().map(|(at, column)| format!("{} AS c{at}", quoted(column))).collect();
            // The keys first: they are few, and what is joined to them need not be held.
            format!(
                "SELECT own.* FROM (SELECT {} FROM {from} WHERE {known} GROUP BY {list} HAVING count(*) > 1) AS twice \
                 JOIN (SELECT * FROM {from} WHERE {known}) AS own ON {}",
                named.join(", "),
                same.join(" AND ")
            )
        }
        ExpectationRule::ForeignKey { columns, referenced, .. } => {
            let (schema, table) = other.unwrap_or_default();
            let known = known(columns, rule.filter.as_deref());
            let equal = columns.iter().zip(referenced);
            let equal: Vec<String> =
                equal.map(|(own, other)| format!("other.{} = own.{}", quoted(other), quoted(own))).collect();
            format!(
                "SELECT own.* FROM (SELECT * FROM {from} WHERE {known}) AS own \
                 WHERE NOT EXISTS (SELECT 1 FROM {} AS other WHERE {})",
                relation_text(schema, table),
                equal.join(" AND ")
            )
        }
        ExpectationRule::Aggregate { .. }
        | ExpectationRule::Freshness { .. }
        | ExpectationRule::RowCount { .. }
        | ExpectationRule::Schema { .. } => {
            let message = format!("expectation \"{}\" is about all rows together: no row breaks it alone", rule.name);
            return Err(Error::new(SqlState::WrongObjectType, message)
                .with_hint("Rows can break CONSTRAINT … EXPECT, UNIQUE and FOREIGN KEY."));
        }
    })
}

fn quoted_at(columns: &[String], at: usize) -> String {
    columns.get(at).map(|column| quoted(column)).unwrap_or_default()
}
