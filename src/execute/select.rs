//! SELECT, VALUES, TABLE and WITH.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use futures::StreamExt;
use sqlparser::ast;

use super::ground::Ground;
use super::output::{Output, RowsTag};
use super::road::Road;
use crate::encode::types::OutputColumn;
use crate::engine::{Engine, Tuning};
use crate::error::{Error, Result};
use crate::plan::relations;
use crate::session::Session;

pub(crate) async fn run(road: &mut Road<'_>, query: &ast::Query) -> Result<Output> {
    let bound = road.bind_query(query).await?;
    let columns = Arc::from(bound.columns);
    let (plan, context) = road.physical(bound.plan).await?;
    rows(&road.ground.engine, plan, context, columns)
}

/// A plan that is the same in every execution: it reads no relation and nothing of the session.
#[derive(Debug)]
pub(crate) struct Reusable {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    columns: Arc<[OutputColumn]>,
    tuning: Tuning,
}

impl Reusable {
    /// Plans a query for many executions; `None` where each needs a plan of its own.
    pub(crate) async fn plan(road: &mut Road<'_>, query: &ast::Query) -> Result<Option<Self>> {
        if !relations::names(query, &road.source).is_empty() {
            return Ok(None);
        }
        let bound = road.bind_query(query).await?;
        if road.parameters.contextual || !road.parameters.types.is_empty() {
            return Ok(None);
        }
        let (plan, context) = road.physical(bound.plan).await?;
        Ok(Some(Self { plan, context, columns: bound.columns.into(), tuning: road.tuning() }))
    }

    /// Runs it once more, unless the session now tunes its plans otherwise.
    pub(crate) fn run(&self, ground: &Ground, session: &Session) -> Option<Result<Output>> {
        if super::road::tuning(ground, session) != self.tuning {
            return None;
        }
        let fresh = reset_plan_states(Arc::clone(&self.plan)).map_err(Error::from);
        Some(fresh.and_then(|plan| rows(&ground.engine, plan, Arc::clone(&self.context), Arc::clone(&self.columns))))
    }
}

fn rows(
    engine: &Engine,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    columns: Arc<[OutputColumn]>,
) -> Result<Output> {
    let stream = engine.run(plan, context)?;
    let stream = Box::pin(stream.map(|batch| batch.map_err(Error::from)));
    Ok(Output::Rows { columns, stream, tag: RowsTag::Counted("SELECT") })
}
