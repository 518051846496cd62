//! Constraints and properties that ALTER TABLE sets and removes.

use crate::catalog::Relation;
use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::alter_draft::Draft;
use crate::execute::road::Road;
use crate::execute::row_rules::{self, RuleEdit};
use crate::execute::{create_table, properties, quarantine};
use crate::plan;
use crate::plan::relations::RelationColumn;
use crate::plan::resolve::column_of;
use crate::quality::ViolationAction;
use crate::sql::{CheckConstraint, Name, RowExpectation, with_own_columns};

pub(super) fn add_check(
    road: &Road<'_>,
    draft: &mut Draft,
    relation: &Relation,
    check: &CheckConstraint,
) -> Result<()> {
    if let Some(name) = check.name.as_ref().filter(|name| has_rule(draft, relation, &name.value)) {
        return Err(row_rules::taken(&draft.name, &name.value));
    }
    let columns: Vec<RelationColumn> = draft.columns.iter().map(|column| column_of(&column.spec)).collect();
    let bound = plan::bind_condition(&draft.name, &columns, &check.expression, &road.context, &road.source);
    bound.map_err(Error::without_position)?;
    let taken: Vec<(String, String)> =
        draft.checks.iter().map(|check| (check.name.clone(), check.expression.clone())).collect();
    if let Some(name) = check.name.as_ref().filter(|name| taken.iter().any(|(other, _)| *other == name.value)) {
        let message = format!("constraint \"{}\" for relation \"{}\" already exists", name.value, draft.name);
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    let name = create_table::constraint_name(&draft.name, check, &taken)?;
    let text = with_own_columns(&check.text, (None, &draft.name), properties::quoted);
    let text = plan::settled::condition(&draft.name, &columns, &text, &road.context);
    draft.add_check(name, text.map_err(Error::without_position)?);
    Ok(())
}

/// CONSTRAINT … EXPECT: rows that are there are not asked.
pub(super) fn add_expectation(
    road: &Road<'_>,
    draft: &mut Draft,
    relation: &Relation,
    rule: &RowExpectation,
) -> Result<()> {
    let name = &rule.name.value;
    if has_rule(draft, relation, name) || draft.checks.iter().any(|check| check.name == *name) {
        return Err(row_rules::taken(&draft.name, name));
    }
    quarantine::check_no_quarantine(road, &draft.schema, &draft.name)?;
    if rule.action == ViolationAction::QuarantineRow {
        quarantine::check(road, &draft.schema, &draft.name, Some(relation.owner))?;
    }
    let bound = row_rules::bound(road, &draft.name, &draft.specs(), std::slice::from_ref(rule))?;
    draft.rules.extend(bound.into_iter().map(RuleEdit::Add));
    Ok(())
}

/// Whether the table has an expectation of that name after the edits so far.
fn has_rule(draft: &Draft, relation: &Relation, name: &str) -> bool {
    let mut has = row_rules::rules_of(relation).iter().any(|rule| rule.name == name);
    for edit in &draft.rules {
        match edit {
            RuleEdit::Add(rule) => has |= rule.name == name,
            RuleEdit::Drop(dropped) => has &= dropped != name,
            RuleEdit::Rename { from, to } => has = to == name || has && from != name,
            RuleEdit::RenameColumn { .. } => {}
        }
    }
    has
}

pub(super) fn drop_constraint(
    road: &Road<'_>,
    draft: &mut Draft,
    relation: &Relation,
    name: &Name,
    if_exists: bool,
) -> Result<()> {
    if has_rule(draft, relation, &name.value) {
        draft.rules.push(RuleEdit::Drop(name.value.clone()));
        return Ok(());
    }
    if draft.checks.iter().any(|check| check.name == name.value) {
        draft.drop_check(&name.value);
        return Ok(());
    }
    let message = format!("constraint \"{}\" of relation \"{}\" does not exist", name.value, draft.name);
    if if_exists {
        let message = format!("{message}, skipping");
        road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message));
        return Ok(());
    }
    Err(Error::new(SqlState::UndefinedObject, message))
}

pub(super) fn rename_constraint(draft: &mut Draft, relation: &Relation, from: &Name, to: &Name) -> Result<()> {
    if has_rule(draft, relation, &to.value) {
        let message = format!("constraint \"{}\" for relation \"{}\" already exists", to.value, draft.name);
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    if has_rule(draft, relation, &from.value) {
        draft.rules.push(RuleEdit::Rename { from: from.value.clone(), to: to.value.clone() });
        return Ok(());
    }
    let has = |name: &Name| draft.checks.iter().any(|check| check.name == name.value);
    if !has(from) {
        let message = format!("constraint \"{}\" for table \"{}\" does not exist", from.value, draft.name);
        return Err(Error::new(SqlState::UndefinedObject, message));
    }
    if has(to) {
        let message = format!("constraint \"{}\" for relation \"{}\" already exists", to.value, draft.name);
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    draft.rename_check(&from.value, &to.value)
}

pub(super) fn set_properties(draft: &mut Draft, given: &[(String, String)]) -> Result<()> {
    for (key, value) in given {
        properties::check_free(key)?;
        if key.starts_with("delta.constraints.") {
            return Err(Error::unsupported(format!("table property \"{key}\"")).with_hint("Use ADD CONSTRAINT."));
        }
        draft.set_property(key, Some(value));
    }
    Ok(())
}

pub(super) fn unset_properties(draft: &mut Draft, keys: &[String], must_exist: bool) -> Result<()> {
    for key in keys {
        properties::check_free(key)?;
        if key.starts_with("delta.constraints.") {
            return Err(Error::unsupported(format!("table property \"{key}\"")).with_hint("Use DROP CONSTRAINT."));
        }
        if must_exist && !draft.has_property(key) {
            let message = format!("property \"{key}\" of table \"{}\" does not exist", draft.name);
            return Err(Error::new(SqlState::UndefinedObject, message).with_hint("Use UNSET TBLPROPERTIES IF EXISTS."));
        }
        draft.set_property(key, None);
    }
    Ok(())
}
