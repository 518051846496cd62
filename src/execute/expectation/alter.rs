//! ALTER and DROP EXPECTATION, of rules of both kinds.

use super::{check_free, missing, table_of};
use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::drop::require_owner;
use crate::execute::output::Output;
use crate::execute::road::Road;
use crate::sql::{AlterExpectation, DropExpectation, ExpectationChange, Name, QualifiedName};

pub(super) async fn alter(road: &mut Road<'_>, statement: &AlterExpectation) -> Result<Output> {
    let oid = owned(road, &statement.table)?;
    let (relation, name) = (statement.table.name.clone(), statement.name.value.clone());
    let position = statement.name.position;
    let change = statement.change.clone();
    // Who commits rows after this one's end knows of the rule.
    let held = match (&change, road.staged) {
        (ExpectationChange::Enable(true), false) => {
            let target = road.target(&statement.table, "alter").await?;
            Some(road.ground.lake.hold(&target.table).await)
        }
        _ => None,
    };
    let changed = road.define(move |document| {
        let table = table_of(document, oid, &relation)?;
        if let ExpectationChange::RenameTo(to) = &change {
            check_free(table, &relation, &to.value).map_err(|error| error.at(to.position))?;
        }
        let found = table.expectations.iter_mut().find(|rule| rule.name == name);
        let rule = found.ok_or_else(|| missing(&name, &relation).at(position))?;
        match &change {
            ExpectationChange::Enable(enable) => rule.enabled = *enable,
            ExpectationChange::RenameTo(Name { value, .. }) => rule.name.clone_from(value),
        }
        Ok(())
    });
    let changed = changed.await;
    std::mem::drop(held);
    changed?;
    Ok(Output::Done("ALTER EXPECTATION".into()))
}

pub(super) async fn drop(road: &mut Road<'_>, statement: &DropExpectation) -> Result<Output> {
    let skipping = |road: &Road<'_>, message: String| {
        let message = format!("{message}, skipping");
        road.notice(Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message));
        Ok(Output::Done("DROP EXPECTATION".into()))
    };
    let oid = match owned(road, &statement.table) {
        Err(error) if statement.if_exists && error.sqlstate() == SqlState::UndefinedTable => {
            return skipping(road, error.message().to_owned());
        }
        oid => oid?,
    };
    let (relation, name) = (statement.table.name.clone(), statement.name.value.clone());
    let found = road.define(move |document| {
        let table = table_of(document, oid, &relation)?;
        let before = table.expectations.len();
        table.expectations.retain(|rule| rule.name != name);
        Ok(table.expectations.len() < before)
    });
    if found.await? {
        return Ok(Output::Done("DROP EXPECTATION".into()));
    }
    let error = missing(&statement.name.value, &statement.table.name);
    if statement.if_exists {
        skipping(road, error.message().to_owned())
    } else {
        Err(error.at(statement.name.position))
    }
}

/// The OID of a table that the role may change.
fn owned(road: &Road<'_>, name: &QualifiedName) -> Result<u32> {
    let (_, relation) = road.find(name)?;
    let noun = relation.kind.noun();
    require_owner((road.session.superuser, road.role_oid()), relation.owner, noun, &name.name)?;
    Ok(relation.oid)
}
