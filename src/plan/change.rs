//! Statements that change rows: what they read, and their plan.

use std::sync::Arc;

use super::Parameters;
use super::bind::Binder;
use super::bind::change::BoundChange;
use super::relations::{NamesOf, RelationName, Relations, ResolvedTable};
use crate::builtins::Context;
use crate::encode::types::PgType;
use crate::error::Result;
use crate::lake::TableCheck;
use crate::sql::{
    Assignment, ConflictAction, Delete, Insert, Merge, MergeAction, MergeClause, QualifiedName, Replaces, Update,
};

/// Binds an UPDATE, DELETE or MERGE, or an INSERT that is more than new rows. `target` is the changed table with two more
/// columns than it tells: [`crate::lake::Table::tagged_provider`]. `checks` are its constraints.
pub fn bind_change(
    statement: Changing<'_>,
    (target, checks): (&ResolvedTable, &[TableCheck]),
    context: &Arc<Context>,
    relations: &Relations,
    source: &str,
    parameters: &mut Parameters,
) -> Result<BoundChange> {
    let values = parameters.values.clone();
    let mut bound = parameters.with(context, |typing| {
        let binder = Binder::new(typing, relations, source).with_values(values);
        match statement {
            Changing::Insert(insert) => binder.bind_insert_change(target, checks, insert),
            Changing::Update(update) => binder.bind_update(target, update),
            Changing::Delete(delete) => binder.bind_delete(target, delete),
            Changing::Merge(merge) => binder.bind_merge(target, merge),
        }
    })?;
    bound.plan = parameters.fill_plan(bound.plan)?;
    Ok(bound)
}

/// The columns that a MERGE WITH SCHEMA EVOLUTION adds to its table: names and types.
pub fn merge_news(
    merge: &Merge,
    target: &ResolvedTable,
    context: &Arc<Context>,
    relations: &Relations,
    source: &str,
    parameters: &mut Parameters,
) -> Result<Vec<(String, PgType)>> {
    parameters.with(context, |typing| Binder::new(typing, relations, source).merge_news(target, merge))
}

/// A statement that changes rows.
#[derive(Debug, Clone, Copy)]
pub enum Changing<'s> {
    Insert(&'s Insert),
    Update(&'s Update),
    Delete(&'s Delete),
    Merge(&'s Merge),
}

impl Changing<'_> {
    pub fn table(self) -> QualifiedName {
        match self {
            Self::Insert(insert) => insert.table.clone(),
            Self::Update(update) => update.table.clone(),
            Self::Delete(delete) => delete.table.clone(),
            Self::Merge(merge) => merge.table.clone(),
        }
    }

    /// The relations that it reads, without the changed table.
    pub fn names(self, source: &str) -> Vec<RelationName> {
        let names = NamesOf::new(source);
        match self {
            Self::Insert(insert) => {
                let names = names.and(&insert.source).and(&insert.returning);
                let names = match &insert.replaces {
                    Replaces::Where(condition) => names.and(condition),
                    Replaces::None | Replaces::All | Replaces::Partitions(_) => names,
                };
                match insert.on_conflict.as_ref().map(|conflict| &conflict.action) {
                    Some(ConflictAction::Update { assignments, condition }) => {
                        of_assignments(names, assignments).and(condition).names()
                    }
                    Some(ConflictAction::Nothing) | None => names.names(),
                }
            }
            Self::Update(update) => {
                let names = names.and(&update.with).and(&update.from).and(&update.condition).and(&update.returning);
                of_assignments(names, &update.assignments).names()
            }
            Self::Delete(delete) => {
                names.and(&delete.with).and(&delete.using).and(&delete.condition).and(&delete.returning).names()
            }
            Self::Merge(merge) => {
                let names = names.and(&merge.with).and(&merge.source).and(&merge.condition).and(&merge.returning);
                merge.clauses.iter().fold(names, of_clause).names()
            }
        }
    }
}

fn of_assignments(names: NamesOf, assignments: &[Assignment]) -> NamesOf {
    assignments.iter().fold(names, |names, assignment| names.and(&assignment.value))
}

fn of_clause(names: NamesOf, clause: &MergeClause) -> NamesOf {
    let names = names.and(&clause.condition);
    match &clause.action {
        MergeAction::Update(assignments) => of_assignments(names, assignments),
        MergeAction::Insert { values, .. } => names.and(values),
        MergeAction::DoNothing | MergeAction::Delete | MergeAction::UpdateAll | MergeAction::InsertAll => names,
    }
}
