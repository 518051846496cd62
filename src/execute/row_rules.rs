//! What is expected of a table's rows: how it comes into the catalog, and what becomes of it when the table changes.

use super::properties::quoted;
use super::road::Road;
use super::rule_renames;
use crate::catalog::{Document, Relation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::lake::ColumnSpec;
use crate::plan;
use crate::plan::recorded::relation_mut;
use crate::plan::relations::RelationColumn;
use crate::plan::resolve::column_of;
use crate::quality::{Expectation, ExpectationRule, ExpectationSeverity, ViolationAction};
use crate::sql::{self, RowExpectation, with_own_columns};

/// Columns that a quarantine table adds to those of its table.
pub(super) const QUARANTINE_COLUMNS: [&str; 5] = ["_rules", "_run_id", "_at", "_source", AS_TEXT];
/// The one that it gets when a value does not fit its column there: those values of the row, as a JSON object.
pub(super) const AS_TEXT: &str = "_as_text";

/// 42701 for a column of a table that its quarantine has for itself.
pub(super) fn check_quarantine_name(column: &str) -> Result<()> {
    match QUARANTINE_COLUMNS.iter().find(|name| name.eq_ignore_ascii_case(column)) {
        None => Ok(()),
        Some(_) => {
            let message = format!("column \"{column}\" is one that a quarantine table adds");
            Err(Error::new(SqlState::DuplicateColumn, message))
        }
    }
}

/// The table that rows of another one are put apart in.
pub(super) fn quarantine_name(table: &str) -> String {
    format!("{table}_quarantine")
}

/// A rule about rows as CREATE TABLE has it; `None` for others.
pub(super) fn clause(rule: &Expectation) -> Option<String> {
    let ExpectationRule::Row { condition } = &rule.rule else { return None };
    let name = quoted(&rule.name);
    let mut clause = format!("CONSTRAINT {name} EXPECT ({condition}) ON VIOLATION {}", rule.action.words());
    let mut options = Vec::new();
    options.extend(rule.options.mostly.map(|share| format!("mostly = {share}")));
    if rule.options.severity != ExpectationSeverity::default() {
        options.push(format!("severity = '{}'", rule.options.severity.word()));
    }
    if rule.options.ignore_nulls {
        options.push("ignore_nulls = true".to_owned());
    }
    let described = rule.options.description.as_ref();
    options.extend(described.map(|text| format!("description = '{}'", text.replace('\'', "''"))));
    if !options.is_empty() {
        clause.push_str(&format!(" WITH ({})", options.join(", ")));
    }
    Some(clause)
}

/// A change of a table's expectations.
#[derive(Debug, Clone)]
pub(super) enum RuleEdit {
    Add(Expectation),
    Drop(String),
    Rename { from: String, to: String },
    RenameColumn { from: String, to: String },
}

/// A relation's expectations.
pub(super) fn rules_of(relation: &Relation) -> &[Expectation] {
    match &relation.kind {
        RelationKind::Table(table) => &table.expectations,
        RelationKind::View(_) => &[],
    }
}

/// Binds rules over a table's columns, each with the text that is kept.
///
/// # Errors
/// What a condition may not be, with its position; 42710 for a name that is there twice.
pub(super) fn bound(
    road: &Road<'_>,
    table: &str,
    columns: &[ColumnSpec],
    rules: &[RowExpectation],
) -> Result<Vec<Expectation>> {
    let relation: Vec<RelationColumn> = columns.iter().map(column_of).collect();
    let mut all: Vec<Expectation> = Vec::with_capacity(rules.len());
    for rule in rules {
        if all.iter().any(|other| other.name == rule.name.value) {
            return Err(taken(table, &rule.name.value).at(rule.name.position));
        }
        all.push(bound_rule(road, table, &relation, rule)?);
    }
    Ok(all)
}

fn bound_rule(road: &Road<'_>, table: &str, columns: &[RelationColumn], rule: &RowExpectation) -> Result<Expectation> {
    plan::bind_expectation(table, columns, &rule.expression, &road.context, &road.source)?;
    let text = with_own_columns(&rule.text, (None, table), quoted);
    let condition = plan::settled::condition(table, columns, &text, &road.context);
    let condition = condition.map_err(Error::without_position)?;
    if rule.action == ViolationAction::QuarantineRow {
        let checked = columns.iter().try_for_each(|column| check_quarantine_name(&column.name));
        checked.map_err(|error| error.at(rule.name.position))?;
    }
    let named = sql::column_names(&rule.expression);
    let read = columns.iter().filter(|column| named.contains(&column.name)).map(|column| column.name.clone());
    Ok(Expectation {
        oid: 0,
        name: rule.name.value.clone(),
        rule: ExpectationRule::Row { condition },
        filter: None,
        action: rule.action,
        on_commit: false,
        enabled: true,
        options: rule.options.clone(),
        columns: read.collect(),
        depends_on: Vec::new(),
        renamed: Vec::new(),
    })
}

pub(super) fn taken(table: &str, name: &str) -> Error {
    Error::new(SqlState::DuplicateObject, format!("constraint \"{name}\" for relation \"{table}\" already exists"))
}

fn missing(table: &str, name: &str) -> Error {
    Error::new(SqlState::UndefinedObject, format!("constraint \"{name}\" of relation \"{table}\" does not exist"))
}

/// Writes the changes into the catalog.
///
/// # Errors
/// 42710 and 42704 for names.
pub(super) fn apply(document: &mut Document, oid: u32, edits: &[RuleEdit]) -> Result<()> {
    let name = document.relation_by_oid(oid).map(|(_, name, _)| name.to_owned()).unwrap_or_default();
    for edit in edits {
        let new_oid = if matches!(edit, RuleEdit::Add(_)) { document.take_oid() } else { 0 };
        let Some(RelationKind::Table(table)) = relation_mut(document, oid).map(|relation| &mut relation.kind) else {
            continue;
        };
        let is_taken = |wanted: &str, rules: &[Expectation]| {
            rules.iter().any(|rule| rule.name == wanted) || table.checks.iter().any(|check| check.name == wanted)
        };
        match edit {
            RuleEdit::Add(rule) => {
                if is_taken(&rule.name, &table.expectations) {
                    return Err(taken(&name, &rule.name));
                }
                table.expectations.push(Expectation { oid: new_oid, ..rule.clone() });
            }
            RuleEdit::Drop(dropped) => table.expectations.retain(|rule| rule.name != *dropped),
            RuleEdit::Rename { from, to } => {
                if is_taken(to, &table.expectations) {
                    return Err(taken(&name, to));
                }
                let rule = table.expectations.iter_mut().find(|rule| rule.name == *from);
                rule.ok_or_else(|| missing(&name, from))?.name.clone_from(to);
            }
            RuleEdit::RenameColumn { from, to } => {
                rule_renames::rename_column(document, oid, from, to);
            }
        }
    }
    Ok(())
}
