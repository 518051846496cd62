//! Constraints and properties that ALTER TABLE sets and removes.

use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::alter_draft::Draft;
use crate::execute::road::Road;
use crate::execute::{create_table, properties};
use crate::plan;
use crate::plan::relations::RelationColumn;
use crate::plan::resolve::column_of;
use crate::sql::{CheckConstraint, Name};

pub(super) fn add_check(road: &Road<'_>, draft: &mut Draft, check: &CheckConstraint) -> Result<()> {
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
    draft.add_check(name, check.text.clone());
    Ok(())
}

pub(super) fn drop_constraint(road: &Road<'_>, draft: &mut Draft, name: &Name, if_exists: bool) -> Result<()> {
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

pub(super) fn rename_constraint(draft: &mut Draft, from: &Name, to: &Name) -> Result<()> {
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
