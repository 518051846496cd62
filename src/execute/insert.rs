//! INSERT INTO … VALUES | SELECT | DEFAULT VALUES.

use super::output::Output;
use super::road::Road;
use crate::error::Result;
use crate::lake::{Input, WriteMode};
use crate::sql::Insert;

pub(crate) async fn run(road: &mut Road<'_>, statement: &Insert) -> Result<Output> {
    let target = road.target(&statement.table, "insert into").await?;
    target.table.check_storable()?;
    let bound = road.bind_insert(&target, statement).await?;
    let gate = road.gate(&target)?;
    let (plan, context) = road.physical(bound.plan).await?;
    let written = road.write(WriteMode::Append(target.table), Input::Plan(plan, context), gate, "WRITE").await?;
    Ok(Output::Done(format!("INSERT 0 {}", written.rows)))
}
