//! INSERT INTO … VALUES | SELECT | DEFAULT VALUES.

use super::output::Output;
use super::road::Road;
use crate::error::Result;
use crate::lake::{Input, WriteMode};
use crate::plan::Changing;
use crate::sql::{Insert, Replaces};

pub(crate) async fn run(road: &mut Road<'_>, statement: &Insert) -> Result<Output> {
    if !is_plain(statement) {
        return super::change::run(road, Changing::Insert(statement)).await;
    }
    let target = road.target(&statement.table, "insert into").await?;
    target.table.check_storable()?;
    let bound = road.bind_insert(&target, statement).await?;
    let gate = road.gate(&target)?;
    let (plan, context) = road.physical(bound.plan).await?;
    let written = road.write(WriteMode::Append(target.table), Input::Plan(plan, context), gate, "WRITE").await?;
    Ok(Output::Done(format!("INSERT 0 {}", written.rows)))
}

/// Whether it only adds rows and tells their number.
pub(crate) fn is_plain(statement: &Insert) -> bool {
    statement.on_conflict.is_none() && statement.returning.is_empty() && matches!(statement.replaces, Replaces::None)
}
