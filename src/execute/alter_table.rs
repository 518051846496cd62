//! ALTER TABLE's changes of the table itself: all actions of a statement are one commit, of the metadata alone or with all
//! rows written anew.
//!
//! ```text
//! actions ─→ Draft ─┬ fits the files: conditions are asked of the rows ─┐
//!                   └ does not: every row through the gate ─→ files ────┴→ one commit ─→ the catalog's entry
//! ```
//! A crash before the catalog's entry leaves the log ahead: the next statement that opens the table records it
//! (`plan::recorded`).

mod columns;
mod rows;
mod rules;

use std::sync::Arc;

use super::alter::{drop_views, owner_oid, rename_in_views};
use super::alter_draft::Draft;
use super::properties;
use super::quarantine;
use super::road::{Road, Target};
use super::{row_rules, rule_renames};
use crate::catalog::Relation;
use crate::error::{Error, Result, Severity, SqlState};
use crate::lake::{self, Input, Operation, WriteMode};
use crate::plan::recorded::{Recorded, relation_mut};
use crate::sql::{AlterAction, AlterChange, Name, QualifiedName};
use columns::{add_column, drop_column, drop_expression, rename_column, set_default, set_not_null, set_type};
use rows::{ask, new_rows, of_old_row};
use rules::{add_check, add_expectation, drop_constraint, rename_constraint, set_properties, unset_properties};

/// Times that a statement is run before other writers' commits end it with 40001.
const ATTEMPTS_MAX: u32 = 10;
/// Keys of the operation's parameters in the log that tell of a renamed column, as Delta's RENAME COLUMN has them.
pub(super) const RENAMED_FROM: &str = "oldColumnPath";
pub(super) const RENAMED_TO: &str = "newColumnPath";

/// What a statement does to the definition.
#[derive(Clone, Copy)]
pub(super) enum Edit<'a> {
    Change(&'a AlterChange),
    /// COMMENT ON the table, or on one of its columns.
    Comment(Option<&'a Name>, Option<&'a str>),
}

/// Commits what the edit makes of the table's definition, again on a newer version when other writers were faster.
pub(super) async fn run(road: &mut Road<'_>, name: &QualifiedName, relation: &Relation, edit: Edit<'_>) -> Result<()> {
    let mut attempt = 1;
    let waiting = road.session.handle().notices_waiting();
    loop {
        let mut target = road.target(name, "alter").await?;
        let turn = road.ground.lake.turn(&target.table).await;
        // Appends do not wait for the turn: the second time they do.
        let held = match attempt > 1 && !road.staged {
            true => Some(road.ground.lake.hold(&target.table).await),
            false => None,
        };
        road.unpin();
        target = road.target(name, "alter").await?;
        let mut draft = Draft::new((&target.schema, &target.name), &target.table);
        match edit {
            Edit::Change(change) => apply(road, &mut draft, relation, change).await?,
            Edit::Comment(column, text) => comment(&mut draft, column, text)?,
        }
        let done = finish(road, &target, relation.oid, &draft, held.is_some()).await;
        drop((held, turn));
        match done {
            Err(error)
                if error.sqlstate() == SqlState::SerializationFailure && attempt < ATTEMPTS_MAX && !road.staged =>
            {
                road.session.handle().forget_notices(waiting);
                attempt += 1;
                tokio::time::sleep(lake::pause(attempt)).await;
            }
            done => return done,
        }
    }
}

fn comment(draft: &mut Draft, column: Option<&Name>, text: Option<&str>) -> Result<()> {
    match column {
        None => draft.set_comment(text.map(str::to_owned)),
        Some(column) => {
            let index = draft.column(&column.value)?;
            draft.spec_mut(index)?.comment = text.map(str::to_owned);
        }
    }
    Ok(())
}

async fn apply(road: &mut Road<'_>, draft: &mut Draft, relation: &Relation, change: &AlterChange) -> Result<()> {
    match change {
        AlterChange::RenameColumn { from, to } => rename_column(draft, relation, from, to),
        AlterChange::RenameConstraint { from, to } => rename_constraint(draft, relation, from, to),
        AlterChange::Actions(actions) => {
            let mut ordered: Vec<&AlterAction> = actions.iter().collect();
            ordered.sort_by_key(|action| pass(action));
            for action in ordered {
                act(road, draft, relation, action).await?;
            }
            Ok(())
        }
        AlterChange::RenameTo(_) | AlterChange::SetSchema(_) | AlterChange::Refresh(_) => Ok(()),
    }
}

/// Whether rules about the rows or the columns may be answered otherwise afterwards.
pub(super) fn changes_rows(change: &AlterChange) -> bool {
    let AlterChange::Actions(actions) = change else { return false };
    actions.iter().any(|action| match action {
        AlterAction::AddColumn { .. }
        | AlterAction::DropColumn { .. }
        | AlterAction::Type { .. }
        | AlterAction::NotNull { .. } => true,
        AlterAction::Default { .. }
        | AlterAction::DropExpression { .. }
        | AlterAction::Comment { .. }
        | AlterAction::AddCheck(_)
        | AlterAction::AddExpectation(_)
        | AlterAction::DropConstraint { .. }
        | AlterAction::Owner(_)
        | AlterAction::SetProperties(_)
        | AlterAction::UnsetProperties { .. }
        | AlterAction::ClusterBy(_) => false,
    })
}

/// PostgreSQL's order of actions: what is dropped makes room for what is added.
fn pass(action: &AlterAction) -> u8 {
    match action {
        AlterAction::DropColumn { .. }
        | AlterAction::DropConstraint { .. }
        | AlterAction::Default { value: None, .. } => 0,
        AlterAction::Type { .. } => 1,
        AlterAction::AddColumn { .. } => 2,
        AlterAction::Default { .. }
        | AlterAction::DropExpression { .. }
        | AlterAction::NotNull { .. }
        | AlterAction::Comment { .. } => 3,
        AlterAction::AddCheck(_) | AlterAction::AddExpectation(_) => 4,
        AlterAction::Owner(_)
        | AlterAction::SetProperties(_)
        | AlterAction::UnsetProperties { .. }
        | AlterAction::ClusterBy(_) => 5,
    }
}

async fn act(road: &mut Road<'_>, draft: &mut Draft, relation: &Relation, action: &AlterAction) -> Result<()> {
    match action {
        AlterAction::AddColumn { column, checks, expectations, if_not_exists } => {
            add_column(road, draft, relation, (column, checks, expectations), *if_not_exists)
        }
        AlterAction::DropColumn { name, if_exists, cascade } => {
            drop_column(road, draft, relation, name, *if_exists, *cascade).await
        }
        AlterAction::Type { column, ty, using, cascade } => {
            set_type(road, draft, relation, column, *ty, (using.as_deref(), *cascade)).await
        }
        AlterAction::NotNull { column, set } => set_not_null(draft, column, *set),
        AlterAction::Default { column, value } => set_default(road, draft, column, value.as_ref()),
        AlterAction::DropExpression { column, if_exists } => drop_expression(road, draft, column, *if_exists),
        AlterAction::Comment { column, text } => {
            let index = draft.column(&column.value)?;
            draft.spec_mut(index)?.comment = Some(text.clone()).filter(|text| !text.is_empty());
            Ok(())
        }
        AlterAction::AddCheck(check) => add_check(road, draft, relation, check),
        AlterAction::AddExpectation(rule) => add_expectation(road, draft, relation, rule),
        AlterAction::DropConstraint { name, if_exists } => drop_constraint(road, draft, relation, name, *if_exists),
        AlterAction::Owner(owner) => {
            draft.owner = Some(owner_oid(road, owner)?);
            Ok(())
        }
        AlterAction::SetProperties(properties) => set_properties(draft, properties),
        AlterAction::UnsetProperties { keys, must_exist } => unset_properties(draft, keys, *must_exist),
        AlterAction::ClusterBy(columns) => {
            let known: Vec<String> = draft.specs().into_iter().map(|spec| spec.name).collect();
            let names = columns.as_deref().unwrap_or_default();
            properties::clustering(names, &known)?;
            draft.cluster_by(names.iter().map(|name| name.value.clone()).collect());
            Ok(())
        }
    }
}

/// Asks or rewrites the rows, commits, and records the new definition in the catalog.
async fn finish(road: &mut Road<'_>, target: &Target, oid: u32, draft: &Draft, alone: bool) -> Result<()> {
    let mut table = Arc::clone(&target.table);
    if draft.changes_table {
        let redefinition = Arc::new(draft.redefinition());
        let gate = road.gate_of(
            (&target.schema, &target.name),
            &draft.specs(),
            &redefinition.engine_schema(),
            draft.checks.clone(),
        );
        let gate = gate.map_err(Error::without_position)?;
        let input = if draft.rewrites {
            target.table.check_storable()?;
            let message = format!("table \"{}\" is being rewritten", draft.name);
            road.notice(
                Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message)
                    .with_detail("The change does not fit its files: all of them are read and written anew."),
            );
            let (plan, context) = road.physical(new_rows(draft)?).await?;
            Input::Plan(plan, context)
        } else {
            for scan in &draft.scans {
                ask(road, draft, scan).await?;
            }
            Input::Streams(Vec::new())
        };
        let renamed = draft.renamed.iter().flat_map(|(from, to)| [(RENAMED_FROM, from), (RENAMED_TO, to)]);
        let parameters = renamed.map(|(key, name)| (key.to_owned(), name.clone())).collect();
        let operation = Operation { alone, parameters, ..Operation::new("ALTER TABLE") };
        let written = road.write(WriteMode::Redefine(redefinition), input, gate, operation).await;
        let written = written.map_err(|error| of_old_row(error, draft))?;
        if let Some(written) = written.table {
            table = written;
        }
    }
    let recorded = Recorded::of(&table);
    let (views, renamed, owner) = (draft.views.iter().cloned().collect::<Vec<_>>(), draft.renamed.clone(), draft.owner);
    let path = road.context.search_path.clone();
    let (rules, unread) = (draft.rules.clone(), draft.unread.clone());
    let parts = draft.puts_apart();
    // Who commits rows after this one's end knows of its rules.
    let held = match alone || road.staged || rules.is_empty() {
        true => None,
        false => Some(road.ground.lake.hold(&table).await),
    };
    let notices = road
        .define(move |document| {
            recorded.apply(document, oid);
            if let (Some(owner), Some(relation)) = (owner, relation_mut(document, oid)) {
                let before = std::mem::replace(&mut relation.owner, owner);
                quarantine::give(document, oid, before, owner);
            }
            if let Some((from, to)) = &renamed {
                rename_in_views(document, oid, from, to);
            }
            unread.iter().for_each(|column| rule_renames::drop_reading(document, oid, column));
            row_rules::apply(document, oid, &rules)?;
            Ok(drop_views(document, &path, &views))
        })
        .await?;
    drop(held);
    notices.into_iter().for_each(|notice| road.notice(notice));
    if parts {
        let owner = road.snapshot.relation(&target.schema, &target.name).map(|relation| relation.owner);
        Box::pin(road.quarantine((&target.schema, &target.name), table.columns(), owner)).await?;
    }
    Ok(())
}
