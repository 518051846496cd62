//! Rules of data quality: CREATE, ALTER and DROP EXPECTATION, VALIDATE.
//!
//! ```text
//! create ─→ catalog ─→ validate ─ check ─→ RuleResult ─→ lakegate.expectation_results
//! ```

mod alter;
mod by_file;
mod check;
mod counting;
mod create;
mod found;
mod kept;
mod on_commit;
mod outcome;
mod past;
mod sight;
mod validate;

pub(crate) use kept::{keep_committed, keep_passed, passed};
pub(crate) use on_commit::{Turns, may_be_asked, on_commit, on_version, tell};

use std::sync::Arc;

use datafusion::datasource::view::ViewTable;
use datafusion::logical_expr::LogicalPlan;

use super::output::Output;
use super::road::{Road, Target};
use crate::catalog::{Document, RelationKind, Table};
use crate::encode::types::OutputColumn;
use crate::error::{Error, Result, SqlState};
use crate::plan::recorded::relation_mut;
use crate::plan::relations::{Relation, RelationColumn, ResolvedTable};
use crate::sql::Expecting;

pub(crate) async fn run(road: &mut Road<'_>, statement: &Expecting) -> Result<Output> {
    match statement {
        Expecting::Create(create) => Box::pin(create::run(road, create)).await,
        Expecting::Alter(alter) => alter::alter(road, alter).await,
        Expecting::Drop(drop) => alter::drop(road, drop).await,
        Expecting::Validate(validate) => Box::pin(validate::run(road, validate)).await,
    }
}

/// The columns of what the statement answers; `None` for a tag alone.
pub(crate) async fn columns(road: &mut Road<'_>, statement: &Expecting) -> Result<Option<Vec<OutputColumn>>> {
    match statement {
        Expecting::Create(_) | Expecting::Alter(_) | Expecting::Drop(_) => Ok(None),
        Expecting::Validate(validate) => Box::pin(validate::columns(road, validate)).await.map(Some),
    }
}

/// The definition of a table that may have gone meanwhile.
fn table_of<'d>(document: &'d mut Document, oid: u32, name: &str) -> Result<&'d mut Table> {
    match relation_mut(document, oid).map(|relation| &mut relation.kind) {
        Some(RelationKind::Table(table)) => Ok(table),
        Some(RelationKind::View(_)) | None => {
            Err(Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist")))
        }
    }
}

/// What rules read by the table's name: a plan's rows.
fn in_place_of(target: &Target, columns: Vec<RelationColumn>, plan: LogicalPlan) -> Relation {
    Relation::Table(ResolvedTable {
        schema: target.schema.clone(),
        name: target.name.clone(),
        oid: 0,
        columns,
        provider: Arc::new(ViewTable::new(plan, None)),
    })
}

/// Refuses a name that another rule or constraint of the table has.
fn check_free(table: &Table, relation: &str, name: &str) -> Result<()> {
    let noun = if table.expectations.iter().any(|other| other.name == name) {
        "expectation"
    } else if table.checks.iter().any(|check| check.name == name) {
        "constraint"
    } else {
        return Ok(());
    };
    let message = format!("{noun} \"{name}\" for relation \"{relation}\" already exists");
    Err(Error::new(SqlState::DuplicateObject, message))
}

/// 42704.
fn missing(name: &str, relation: &str) -> Error {
    let message = format!("expectation \"{name}\" of relation \"{relation}\" does not exist");
    Error::new(SqlState::UndefinedObject, message)
}
