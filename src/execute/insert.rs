//! INSERT INTO … VALUES | SELECT | DEFAULT VALUES.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;

use super::change::Explained;
use super::output::Output;
use super::road::{Road, Target};
use crate::error::Result;
use crate::lake::{Input, WriteMode};
use crate::plan::Changing;
use crate::sql::{Insert, Replaces};

pub(crate) async fn run(road: &mut Road<'_>, statement: &Insert) -> Result<Output> {
    Ok(run_planned(road, statement).await?.0)
}

/// The same with the plan that was run, which has its metrics.
pub(crate) async fn run_planned(road: &mut Road<'_>, statement: &Insert) -> Result<(Output, Explained)> {
    if !is_plain(statement) {
        return super::change::run_planned(road, Changing::Insert(statement)).await;
    }
    let (target, plan, context) = planned(road, statement).await?;
    let gate = road.gate(&target)?;
    let explained = Explained { title: format!("Insert on {}", target.name), plan: Arc::clone(&plan) };
    let written = road.write(WriteMode::Append(target.table), Input::Plan(plan, context), gate, "WRITE").await?;
    Ok((Output::Done(format!("INSERT 0 {}", written.rows)), explained))
}

/// The plan alone.
pub(crate) async fn plan(road: &mut Road<'_>, statement: &Insert) -> Result<Explained> {
    if !is_plain(statement) {
        return Box::pin(super::change::plan(road, Changing::Insert(statement))).await;
    }
    let (target, plan, _) = planned(road, statement).await?;
    Ok(Explained { title: format!("Insert on {}", target.name), plan })
}

async fn planned(
    road: &mut Road<'_>,
    statement: &Insert,
) -> Result<(Target, Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
    let target = road.target(&statement.table, "insert into").await?;
    target.table.check_storable()?;
    let bound = road.bind_insert(&target, statement).await?;
    let (plan, context) = road.physical(bound.plan).await?;
    Ok((target, plan, context))
}

/// Whether it only adds rows and tells their number.
pub(crate) fn is_plain(statement: &Insert) -> bool {
    statement.on_conflict.is_none() && statement.returning.is_empty() && matches!(statement.replaces, Replaces::None)
}
