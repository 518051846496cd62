//! Prepared statements: made by Parse, by PREPARE, and for each statement of a simple Query.

use std::sync::{Arc, OnceLock};

use super::statement::{self, Access};
use crate::encode::types::{OutputColumn, PgType};
use crate::error::{Error, Result, SqlState};
use crate::execute::select::Reusable;
use crate::execute::{Road, care, change, copy_into, expectation, explain, insert, inspect, setting};
use crate::plan::Changing;
use crate::sql::{Parsed, Statement};

/// A statement whose text was parsed and whose parameters and columns are known.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) parsed: Parsed,
    /// Types of `$1`, `$2`, ….
    pub(crate) parameters: Vec<PgType>,
    /// Columns of the rows it gives, `None` for none. What FETCH and EXECUTE give is known to the conversation only.
    pub(crate) columns: Option<Arc<[OutputColumn]>>,
    /// Whether the columns were told to a client: then a different result at run time is an error.
    pub(crate) described: bool,
    /// The plan, where it is the same in every execution; made by the first one.
    pub(crate) reusable: OnceLock<Option<Reusable>>,
}

impl Prepared {
    /// Of a simple Query: nothing is bound before it runs.
    pub(crate) fn unbound(parsed: Parsed) -> Self {
        Self { parsed, parameters: Vec::new(), columns: None, described: false, reusable: OnceLock::new() }
    }

    pub(crate) fn access(&self) -> Access {
        statement::access(&self.parsed.statement)
    }
}

/// Binds a statement to learn its parameters and columns. Statements without a plan are told by their kind.
pub(crate) async fn prepare(road: &mut Road<'_>, parsed: Parsed) -> Result<Prepared> {
    // What the transaction has made is what it will be run on.
    road.staged = road.session.transaction.in_block();
    let columns: Option<Arc<[OutputColumn]>> = match &parsed.statement {
        Statement::Query(query) => Some(road.bind_query(query).await?.columns.into()),
        Statement::Insert(insert) if !insert::is_plain(insert) => returning(road, Changing::Insert(insert)).await?,
        Statement::Update(update) => returning(road, Changing::Update(update)).await?,
        Statement::Delete(delete) => returning(road, Changing::Delete(delete)).await?,
        Statement::Merge(merge) => returning(road, Changing::Merge(merge)).await?,
        Statement::Insert(insert) => {
            let target = road.target(&insert.table, "insert into").await?;
            road.bind_insert(&target, insert).await?;
            None
        }
        Statement::Explain(explain) => {
            match explain.statement.as_ref() {
                Statement::Query(query) => drop(road.bind_query(query).await?),
                Statement::Insert(insert) => drop(Box::pin(insert::plan(road, insert)).await?),
                Statement::Update(update) => drop(returning(road, Changing::Update(update)).await?),
                Statement::Delete(delete) => drop(returning(road, Changing::Delete(delete)).await?),
                Statement::Merge(merge) => drop(returning(road, Changing::Merge(merge)).await?),
                _ => {}
            }
            Some(explain::columns(explain.json).into())
        }
        Statement::Care(care) => care::columns(care).map(Into::into),
        Statement::Expecting(statement) => expectation::columns(road, statement).await?.map(Into::into),
        Statement::CopyInto(_) => Some(copy_into::columns().into()),
        Statement::Inspect(statement) => Some(Box::pin(inspect::columns(road, statement)).await?.into()),
        Statement::Show(show) => Some(setting::show_columns(show)?.into()),
        Statement::Empty
        | Statement::Truncate(_)
        | Statement::CreateTable(_)
        | Statement::Alter(_)
        | Statement::AlterSchema(_)
        | Statement::Comment(_)
        | Statement::Refresh(_)
        | Statement::CreateExternalTable(_)
        | Statement::Convert(_)
        | Statement::CreateSchema(_)
        | Statement::CreateView(_)
        | Statement::Drop(_)
        | Statement::CopyFrom(_)
        | Statement::CopyTo(_)
        | Statement::Set(_)
        | Statement::Reset(_)
        | Statement::Begin { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint(_)
        | Statement::Release(_)
        | Statement::RollbackTo(_)
        | Statement::SetTransaction { .. }
        | Statement::Prepare(_)
        | Statement::Execute(_)
        | Statement::Deallocate(_)
        | Statement::Discard(_)
        | Statement::Unlisten
        | Statement::Declare(_)
        | Statement::Fetch(_)
        | Statement::Close(_)
        | Statement::Modelling(_)
        | Statement::CreateRole(_)
        | Statement::AlterRole(_)
        | Statement::DropRole(_) => None,
    };
    let parameters = road.parameters.settled()?;
    Ok(Prepared { parsed, parameters, columns, described: true, reusable: OnceLock::new() })
}

async fn returning(road: &mut Road<'_>, statement: Changing<'_>) -> Result<Option<Arc<[OutputColumn]>>> {
    let columns = Box::pin(change::columns(road, statement)).await?;
    Ok((!columns.is_empty()).then(|| columns.into()))
}

/// 0A000, in the words that drivers look for to prepare anew.
pub(crate) fn check_unchanged(before: &[OutputColumn], now: &[OutputColumn]) -> Result<()> {
    let same = before.len() == now.len() && before.iter().zip(now).all(|(a, b)| a.ty == b.ty && a.name == b.name);
    if same {
        return Ok(());
    }
    Err(Error::new(SqlState::FeatureNotSupported, "cached plan must not change result type"))
}
