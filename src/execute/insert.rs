//! INSERT INTO … VALUES | SELECT | DEFAULT VALUES.

use super::output::Output;
use super::road::Road;
use crate::error::Result;
use crate::lake::{Input, WriteMode, WriteRequest};
use crate::sql::Insert;

pub(crate) async fn run(road: &mut Road<'_>, statement: &Insert) -> Result<Output> {
    let target = road.target(&statement.table, "insert into").await?;
    let bound = road.bind_insert(&target, statement).await?;
    let gate = road.gate(&target).await?;
    let (plan, context) = road.physical(bound.plan).await?;
    let written = road
        .ground
        .lake
        .write(WriteRequest {
            table: target.table,
            input: Input::Plan(plan, context),
            gate,
            mode: WriteMode::Append,
            cancel: road.token.clone(),
        })
        .await?;
    Ok(Output::Done(format!("INSERT 0 {}", written.rows)))
}
