//! What is asked of the rows for a rule.

use std::collections::HashMap;

use sqlparser::ast::Expr;

use super::anomaly::{self, Anomaly, Usual};
use super::tree::{both, count_if, count_of_rows, filtered, inner, is_constant, nested, quoted, relation_text};
use crate::error::Result;
use crate::quality::{Expectation, ExpectationRule, SchemaColumn};
use crate::sql;

/// Where the answer for a rule comes from.
#[derive(Debug, Clone)]
pub enum Asked<'a> {
    /// Each row is asked: counts of the one scan.
    Rows(Box<RowCounts>),
    /// All rows are asked: a condition of the one scan.
    Condition(Box<Condition>),
    /// A query of its own, whose row has the counts of checked and of failed rows.
    Query(String),
    /// The table's definition.
    Schema { columns: &'a [SchemaColumn], exact: bool },
}

/// The numbers of rows that a rule is asked of and that pass.
#[derive(Debug, Clone)]
pub struct RowCounts {
    pub checked: Expr,
    pub passed: Expr,
}

/// A condition over all rows that the rule is about.
#[derive(Debug, Clone)]
pub struct Condition {
    pub holds: Expr,
    /// How many rows there are.
    pub rows: Expr,
    /// The side of a comparison that depends on the rows.
    pub value: Option<Expr>,
    /// The other side.
    pub threshold: Option<String>,
}

/// Rows that a rule was asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub checked: u64,
    pub failed: u64,
}

fn of_rows(condition: &str) -> Result<Expr> {
    Ok(nested(sql::parse_expression(condition)?))
}

/// The rows that pass a rule about each row, as [`asked`] counts them.
///
/// # Errors
/// Those of the parser.
pub fn rows_passed(condition: &str) -> Result<Expr> {
    count_if(of_rows(condition)?)
}

/// What the table's rows are to be asked for a rule. `other` is schema and name of the table that a foreign key refers to;
/// `usual` tells what the values of is_anomaly were.
///
/// # Errors
/// Those of the parser: the texts were written by something else.
pub fn asked<'a>(
    rule: &'a Expectation,
    (schema, table): (&str, &str),
    other: Option<(&str, &str)>,
    mut usual: impl FnMut(&Anomaly) -> Option<Usual>,
) -> Result<Asked<'a>> {
    let filter = rule.filter.as_deref().map(sql::parse_expression).transpose()?;
    let from = relation_text(schema, table);
    let rows = filtered(count_of_rows()?, filter.as_ref());
    Ok(match &rule.rule {
        ExpectationRule::Row { condition } => {
            let condition = of_rows(condition)?;
            let known = Expr::IsNotNull(Box::new(condition.clone()));
            let checked = match (rule.options.ignore_nulls, filter) {
                (false, None) => count_of_rows()?,
                (false, Some(filter)) => count_if(filter)?,
                (true, None) => count_if(known)?,
                (true, Some(filter)) => count_if(both(filter, known))?,
            };
            let passed = match rule.filter.as_deref().map(sql::parse_expression).transpose()? {
                Some(filter) => both(filter, condition),
                None => condition,
            };
            Asked::Rows(Box::new(RowCounts { checked, passed: count_if(passed)? }))
        }
        ExpectationRule::Aggregate { condition } => {
            let mut condition = sql::parse_expression(condition)?;
            let mut limits = None;
            let anomaly = anomaly::taken(&mut condition, "", |anomaly| {
                limits = usual(anomaly);
                limits
            })?;
            let (value, threshold) = match anomaly {
                Some(anomaly) => (Some(anomaly.value), limits.map(Usual::text)),
                None => sides(&condition).unzip(),
            };
            let value = value.map(|value| filtered(value, filter.as_ref()));
            let holds = filtered(condition, filter.as_ref());
            Asked::Condition(Box::new(Condition { holds, rows, value, threshold }))
        }
        ExpectationRule::RowCount { comparison } => {
            let condition = sql::parse_expression(&format!("count(*) {comparison}"))?;
            let (value, threshold) = sides(&condition).unzip();
            let value = value.map(|value| filtered(value, filter.as_ref()));
            let holds = filtered(condition, filter.as_ref());
            Asked::Condition(Box::new(Condition { holds, rows, value, threshold }))
        }
        ExpectationRule::Freshness { expression, limit } => {
            // What is infinitely far away has no distance that an interval could tell.
            let newest = format!("max(({expression})::timestamptz)");
            let case = |future: &str, past: &str, other: &str| {
                let whens = format!("WHEN {newest} = 'infinity' THEN {future} WHEN {newest} = '-infinity' THEN {past}");
                sql::parse_expression(&format!("CASE {whens} ELSE {other} END"))
            };
            let holds = case("true", "false", &format!("(now() - {newest}) < ({limit})"))?;
            let value = case(
                "'-infinity'::double precision",
                "'infinity'::double precision",
                &format!("extract(epoch FROM (now() - {newest}))::double precision"),
            )?;
            Asked::Condition(Box::new(Condition {
                holds: filtered(holds, filter.as_ref()),
                rows,
                value: Some(filtered(value, filter.as_ref())),
                threshold: Some(limit.clone()),
            }))
        }
        ExpectationRule::Unique { columns } => {
            let list = list(columns);
            let known = known(columns, rule.filter.as_deref());
            Asked::Query(format!(
                "SELECT coalesce(sum(n), 0)::bigint, coalesce(sum(n) FILTER (WHERE n > 1), 0)::bigint \
                 FROM (SELECT count(*) AS n FROM {from} WHERE {known} GROUP BY {list}) AS groups"
            ))
        }
        ExpectationRule::ForeignKey { columns, referenced, .. } => {
            let (schema, table) = other.unwrap_or_default();
            let known = known(columns, rule.filter.as_deref());
            let named = |prefix: &'static str, columns: &[String]| -> String {
                let columns = columns.iter().enumerate();
                columns.map(|(at, column)| format!("{} AS {prefix}{at}", quoted(column))).collect::<Vec<_>>().join(", ")
            };
            let equal: Vec<String> = (0..columns.len()).map(|at| format!("own.c{at} = other.r{at}")).collect();
            // The join keeps no row of the other table twice, and asks for none of them.
            Asked::Query(format!(
                "SELECT (SELECT count(*) FROM {from} WHERE {known}), \
                 (SELECT count(*) FROM (SELECT {} FROM {from} WHERE {known}) AS own \
                 WHERE NOT EXISTS (SELECT 1 FROM (SELECT {} FROM {}) AS other WHERE {}))",
                named("c", columns),
                named("r", referenced),
                relation_text(schema, table),
                equal.join(" AND ")
            ))
        }
        ExpectationRule::Schema { columns, exact } => Asked::Schema { columns, exact: *exact },
    })
}

/// Column names with commas between.
pub(super) fn list(columns: &[String]) -> String {
    columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")
}

/// The condition that the columns are known and the filter is met.
pub(super) fn known(columns: &[String], filter: Option<&str>) -> String {
    let mut known: Vec<String> = columns.iter().map(|column| format!("{} IS NOT NULL", quoted(column))).collect();
    known.extend(filter.map(|filter| format!("({filter})")));
    known.join(" AND ")
}

/// The side of a comparison that depends on the rows, and the text of the other.
fn sides(condition: &Expr) -> Option<(Expr, String)> {
    use sqlparser::ast::BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    match inner(condition) {
        Expr::BinaryOp { left, op: Eq | NotEq | Lt | LtEq | Gt | GtEq, right } => {
            match (is_constant(left), is_constant(right)) {
                (true, true) => None,
                (true, false) => Some((right.as_ref().clone(), left.to_string())),
                (false, _) => Some((left.as_ref().clone(), right.to_string())),
            }
        }
        Expr::Between { expr, low, high, .. } if !is_constant(expr) => {
            Some((expr.as_ref().clone(), format!("{low} AND {high}")))
        }
        _ => None,
    }
}

/// The one SELECT of many rules: what they have in common stands in it once.
#[derive(Debug, Default)]
pub struct ScanItems {
    items: Vec<Expr>,
    known: HashMap<String, usize>,
}

/// Where the answers for a rule stand in the SELECT's row.
#[derive(Debug, Clone, Copy)]
pub enum RowItems {
    Rows { checked: usize, passed: usize },
    Condition { holds: usize, rows: usize, value: Option<usize> },
}

impl ScanItems {
    /// `None` for what the scan cannot answer.
    pub fn add(&mut self, asked: &Asked<'_>) -> Option<RowItems> {
        match asked {
            Asked::Rows(counts) => {
                Some(RowItems::Rows { checked: self.item(&counts.checked), passed: self.item(&counts.passed) })
            }
            Asked::Condition(condition) => Some(RowItems::Condition {
                holds: self.item(&condition.holds),
                rows: self.item(&condition.rows),
                value: condition.value.as_ref().map(|value| self.item(value)),
            }),
            Asked::Query(_) | Asked::Schema { .. } => None,
        }
    }

    /// Counts the rows whose columns are known and that meet the filter.
    ///
    /// # Errors
    /// Those of the parser.
    pub fn known(&mut self, columns: &[String], filter: Option<&str>) -> Result<usize> {
        Ok(self.item(&count_if(sql::parse_expression(&known(columns, filter))?)?))
    }

    fn item(&mut self, expr: &Expr) -> usize {
        let next = self.items.len();
        let index = *self.known.entry(expr.to_string()).or_insert(next);
        if index == next {
            self.items.push(expr.clone());
        }
        index
    }

    /// The items: one at least, as a SELECT without any is none of aggregates.
    ///
    /// # Errors
    /// Those of the parser.
    pub fn into_items(mut self) -> Result<Vec<Expr>> {
        if self.items.is_empty() {
            self.items.push(count_of_rows()?);
        }
        Ok(self.items)
    }
}
