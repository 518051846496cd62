//! What rules name has another name now, or goes: columns of their own table, and what their subqueries and foreign keys read.
//! The texts follow the own table's names; names of other tables stay as they were written, and their meaning is kept beside
//! the text, as views keep it.

use std::collections::BTreeSet;

use super::properties::quoted;
use super::row_rules::rules_of;
use crate::catalog::{Document, Relation, RelationKind};
use crate::quality::{Expectation, ExpectationRule, RenamedColumn};
use crate::sql::{self, with_own_column_renamed, with_own_columns, with_table_renamed};

/// The texts of a rule.
fn texts(rule: &mut Expectation) -> Vec<&mut String> {
    let of_rule = match &mut rule.rule {
        ExpectationRule::Row { condition } | ExpectationRule::Aggregate { condition } => Some(condition),
        ExpectationRule::Freshness { expression, .. } => Some(expression),
        ExpectationRule::RowCount { comparison } => Some(comparison),
        ExpectationRule::Unique { .. } | ExpectationRule::ForeignKey { .. } | ExpectationRule::Schema { .. } => None,
    };
    of_rule.into_iter().chain(&mut rule.filter).collect()
}

/// A table's column has another name: in its own rules, and in those of others.
pub(super) fn rename_column(document: &mut Document, oid: u32, from: &str, to: &str) {
    let names: Vec<(u32, BTreeSet<String>)> = relations(document)
        .map(|(_, relation)| (relation.oid, relation.columns.iter().map(|column| column.name.clone()).collect()))
        .collect();
    for (name, relation) in document.schemas.values_mut().flat_map(|schema| &mut schema.relations) {
        let own = relation.oid == oid;
        let RelationKind::Table(table) = &mut relation.kind else { continue };
        for rule in &mut table.expectations {
            if own {
                let read = names.iter().filter(|(other, _)| rule.depends_on.contains(other));
                let mut others = BTreeSet::new();
                for (other, names) in read {
                    others.extend(names.iter().filter_map(|now| rule.written(*other, now)).map(str::to_owned));
                }
                rename_own(rule, (name, from), to, &others);
            } else if rule.depends_on.contains(&oid) {
                rename_read(rule, oid, from, to);
            }
        }
    }
}

fn rename_own(rule: &mut Expectation, (table, from): (&str, &str), to: &str, others: &BTreeSet<String>) {
    for text in texts(rule) {
        *text = with_own_column_renamed(text, (table, from), &quoted(to), others);
    }
    let rename = |name: &mut String| {
        if name == from {
            to.clone_into(name);
        }
    };
    match &mut rule.rule {
        ExpectationRule::Unique { columns } | ExpectationRule::ForeignKey { columns, .. } => {
            columns.iter_mut().for_each(rename);
        }
        // That the columns are called otherwise is what a rule about them is to find.
        ExpectationRule::Schema { .. } => {}
        ExpectationRule::Row { .. }
        | ExpectationRule::Aggregate { .. }
        | ExpectationRule::Freshness { .. }
        | ExpectationRule::RowCount { .. } => {}
    }
    rule.columns.iter_mut().for_each(rename);
}

/// A column of another relation, of whatever kind, that the rule reads.
pub(super) fn rename_read(rule: &mut Expectation, oid: u32, from: &str, to: &str) {
    if let ExpectationRule::ForeignKey { referenced, .. } = &mut rule.rule {
        referenced.iter_mut().filter(|name| *name == from).for_each(|name| to.clone_into(name));
        return;
    }
    match rule.renamed.iter_mut().find(|renamed| renamed.relation == oid && renamed.now == from) {
        Some(renamed) => to.clone_into(&mut renamed.now),
        None => {
            let (name, now) = (from.to_owned(), to.to_owned());
            rule.renamed.push(RenamedColumn { relation: oid, name, now });
        }
    }
    rule.renamed.retain(|renamed| renamed.name != renamed.now);
}

/// A table has another name: in the subqueries of its own rules.
pub(super) fn rename_table(relation: &mut Relation, from: &str, to: &str) {
    let RelationKind::Table(table) = &mut relation.kind else { return };
    for text in table.expectations.iter_mut().flat_map(texts) {
        *text = with_table_renamed(&with_own_columns(text, (None, from), quoted), from, &quoted(to));
    }
}

/// Whether a rule of that relation reads the column.
fn reads(rule: &Expectation, own: bool, oid: u32, column: &str) -> bool {
    if own {
        return rule.columns.iter().any(|read| read == column);
    }
    if !rule.depends_on.contains(&oid) {
        return false;
    }
    match &rule.rule {
        ExpectationRule::ForeignKey { referenced, .. } => referenced.iter().any(|read| read == column),
        ExpectationRule::Aggregate { condition: text } | ExpectationRule::RowCount { comparison: text } => {
            rule.written(oid, column).is_some_and(|written| sql::names_in_queries(text).contains(written))
        }
        ExpectationRule::Row { .. }
        | ExpectationRule::Unique { .. }
        | ExpectationRule::Freshness { .. }
        | ExpectationRule::Schema { .. } => false,
    }
}

/// The rules that read the column: name, and the table that each is of.
pub(super) fn reading(document: &Document, relation: &Relation, column: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (name, other) in relations(document) {
        let rules = rules_of(other).iter();
        let rules = rules.filter(|rule| reads(rule, other.oid == relation.oid, relation.oid, column));
        found.extend(rules.map(|rule| (rule.name.clone(), name.clone())));
    }
    found
}

/// Takes the rules away, wherever they are, that read the column.
pub(super) fn drop_reading(document: &mut Document, oid: u32, column: &str) {
    for relation in document.schemas.values_mut().flat_map(|schema| schema.relations.values_mut()) {
        let own = relation.oid == oid;
        let RelationKind::Table(table) = &mut relation.kind else { continue };
        table.expectations.retain(|rule| !reads(rule, own, oid, column));
    }
}

fn relations(document: &Document) -> impl Iterator<Item = (&String, &Relation)> {
    document.schemas.values().flat_map(|schema| &schema.relations)
}
