//! What is expected of a table's rows: how it comes into the catalog, and what becomes of it when the table changes.

use std::collections::BTreeSet;

use super::road::Road;
use crate::catalog::{Document, Relation, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::lake::ColumnSpec;
use crate::plan;
use crate::plan::recorded::relation_mut;
use crate::plan::relations::RelationColumn;
use crate::plan::resolve::column_of;
use crate::quality::{Expectation, ExpectationRule, ExpectationSeverity, ViolationAction};
use crate::sql::{self, RowExpectation, with_column_renamed};

/// Columns that a quarantine table adds to those of its table.
pub(super) const QUARANTINE_COLUMNS: [&str; 4] = ["_rules", "_run_id", "_at", "_source"];

/// The table that rows of another one are put apart in.
pub(super) fn quarantine_name(table: &str) -> String {
    format!("{table}_quarantine")
}

/// A rule about rows as CREATE TABLE has it; `None` for others.
pub(super) fn clause(rule: &Expectation) -> Option<String> {
    let ExpectationRule::Row { condition } = &rule.rule else { return None };
    let name = super::properties::quoted(&rule.name);
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
    let condition = plan::settled::condition(table, columns, &rule.text, &road.context);
    let condition = condition.map_err(Error::without_position)?;
    if rule.action == ViolationAction::QuarantineRow
        && let Some(column) = columns.iter().find(|column| QUARANTINE_COLUMNS.contains(&column.name.as_str()))
    {
        let message = format!("column \"{}\" is one that a quarantine table adds", column.name);
        return Err(Error::new(SqlState::DuplicateColumn, message).at(rule.name.position));
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
                table.expectations.iter_mut().for_each(|rule| rename_column(rule, from, to));
                rename_referenced(document, oid, from, to);
            }
        }
    }
    Ok(())
}

fn rename_column(rule: &mut Expectation, from: &str, to: &str) {
    let quoted = super::properties::quoted(to);
    let text = |text: &mut String| *text = with_column_renamed(text, from, &quoted);
    let name = |name: &mut String| {
        if name == from {
            to.clone_into(name);
        }
    };
    match &mut rule.rule {
        ExpectationRule::Row { condition } | ExpectationRule::Aggregate { condition } => text(condition),
        ExpectationRule::Unique { columns } | ExpectationRule::ForeignKey { columns, .. } => {
            columns.iter_mut().for_each(name);
        }
        ExpectationRule::Freshness { expression, .. } => text(expression),
        // That the columns are called otherwise is what a rule about them is to find.
        ExpectationRule::RowCount { .. } | ExpectationRule::Schema { .. } => {}
    }
    if let Some(filter) = &mut rule.filter {
        text(filter);
    }
    rule.columns.iter_mut().for_each(name);
}

/// The column's new name in the foreign keys of other tables.
fn rename_referenced(document: &mut Document, oid: u32, from: &str, to: &str) {
    for relation in document.schemas.values_mut().flat_map(|schema| schema.relations.values_mut()) {
        let RelationKind::Table(table) = &mut relation.kind else { continue };
        for rule in &mut table.expectations {
            if let ExpectationRule::ForeignKey { table, referenced, .. } = &mut rule.rule
                && *table == oid
            {
                referenced.iter_mut().filter(|name| *name == from).for_each(|name| to.clone_into(name));
            }
        }
    }
}

/// The rules that read the column: name, and the table that each is of.
pub(super) fn reading(document: &Document, relation: &Relation, column: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (name, other) in document.schemas.values().flat_map(|schema| &schema.relations) {
        for rule in rules_of(other) {
            let own = other.oid == relation.oid && rule.columns.iter().any(|read| read == column);
            let referenced = matches!(&rule.rule, ExpectationRule::ForeignKey { table, referenced, .. }
                if *table == relation.oid && referenced.iter().any(|read| read == column));
            if own || referenced {
                found.insert((rule.name.clone(), name.clone()));
            }
        }
    }
    found
}

/// Takes the rules away, wherever they are, that read the column.
pub(super) fn drop_reading(document: &mut Document, oid: u32, column: &str) {
    for relation in document.schemas.values_mut().flat_map(|schema| schema.relations.values_mut()) {
        let own = relation.oid == oid;
        let RelationKind::Table(table) = &mut relation.kind else { continue };
        table.expectations.retain(|rule| {
            let reads = own && rule.columns.iter().any(|read| read == column);
            let referenced = matches!(&rule.rule, ExpectationRule::ForeignKey { table, referenced, .. }
                if *table == oid && referenced.iter().any(|read| read == column));
            !(reads || referenced)
        });
    }
}
