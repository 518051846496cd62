//! SELECT, VALUES, TABLE and WITH.

use std::sync::Arc;

use sqlparser::ast;

use super::output::{Output, RowsTag};
use super::road::Road;
use crate::error::Result;

pub(crate) async fn run(road: &mut Road<'_>, query: &ast::Query) -> Result<Output> {
    let bound = road.bind_query(query).await?;
    let stream = road.start(bound.plan).await?;
    Ok(Output::Rows { columns: Arc::from(bound.columns), stream, tag: RowsTag::Counted("SELECT") })
}
