//! Plan to output: one file for each statement. The only module that commits.
//!
//! ```text
//! query ─ Road + Statement ─→ bind (plan) ─→ engine or lake or catalog ─→ Output
//! ```
//! A [`Road`] is what one statement may use: the server's [`Ground`], the session, one catalog snapshot and the tables pinned
//! so far. Nothing here knows messages, portals or prepared statements.

mod ground;
mod road;

pub(crate) mod alter;
mod alter_draft;
pub(crate) mod alter_schema;
mod alter_table;
pub(crate) mod care;
pub(crate) mod change;
pub(crate) mod comment;
pub(crate) mod copy_from;
pub(crate) mod copy_into;
mod copy_into_options;
mod copy_options;
mod copy_rows;
pub(crate) mod copy_to;
pub(crate) mod create_schema;
pub(crate) mod create_table;
pub(crate) mod create_view;
mod dependents;
pub(crate) mod drop;
mod evolve;
pub(crate) mod expectation;
pub(crate) mod explain;
pub(crate) mod external;
pub(crate) mod insert;
pub(crate) mod inspect;
mod loaded;
mod location;
pub mod maintenance;
pub(crate) mod model;
pub mod output;
mod properties;
mod quarantine;
mod quarantined;
pub(crate) mod refresh;
mod rejected_rows;
pub(crate) mod role;
mod row_rules;
mod row_text;
mod rule_renames;
pub(crate) mod select;
pub(crate) mod setting;
pub(crate) mod standing;
mod stored;
pub(crate) mod temporary;
pub(crate) mod transaction;
pub(crate) mod truncate;
pub(crate) mod watched;

pub use ground::{Asked, FileAccess, Ground};
pub(crate) use road::{Road, statement_context};
pub use transaction::{Decisions, complete};

use futures::future::BoxFuture;

use crate::error::{Error, Result};
use crate::plan::Changing;
use crate::sql::Statement;
use output::Output;

/// Runs a statement that reads or writes the lake, the catalog or a setting. What belongs to a conversation (transactions,
/// prepared statements, cursors) never comes here.
///
/// The future is boxed: it is the largest of all, and most statements need a small part of it.
pub(crate) fn run<'a>(road: &'a mut Road<'_>, statement: &'a Statement) -> BoxFuture<'a, Result<Output>> {
    Box::pin(dispatch(road, statement))
}

async fn dispatch(road: &mut Road<'_>, statement: &Statement) -> Result<Output> {
    match statement {
        Statement::Query(query) => select::run(road, query).await,
        Statement::Explain(explain) => explain::run(road, explain).await,
        Statement::Insert(insert) => insert::run(road, insert).await,
        Statement::Update(update) => change::run(road, Changing::Update(update)).await,
        Statement::Delete(delete) => change::run(road, Changing::Delete(delete)).await,
        Statement::Merge(merge) => change::run(road, Changing::Merge(merge)).await,
        Statement::Truncate(truncate) => truncate::run(road, truncate).await,
        Statement::CreateTable(table) => create_table::run(road, table).await,
        Statement::Alter(alter) => alter::run(road, alter).await,
        Statement::AlterSchema(schema) => alter_schema::run(road, schema).await,
        Statement::CreateExternalTable(table) => external::create(road, table).await,
        Statement::Convert(convert) => external::convert(road, convert).await,
        Statement::Refresh(refresh) => refresh::run(road, refresh).await,
        Statement::Comment(comment) => comment::run(road, comment).await,
        Statement::CreateSchema(schema) => create_schema::run(road, schema).await,
        Statement::CreateView(view) => create_view::run(road, view).await,
        Statement::Drop(drop) => drop::run(road, drop).await,
        Statement::CopyFrom(copy) => copy_from::run(road, copy).await,
        Statement::CopyInto(copy) => copy_into::run(road, copy).await,
        Statement::CopyTo(copy) => copy_to::run(road, copy).await,
        Statement::Set(set) => setting::set(road, set),
        Statement::Inspect(inspect) => inspect::run(road, inspect).await,
        Statement::Show(show) => setting::show(road, show),
        Statement::Reset(name) => setting::reset(road, name.as_ref()),
        Statement::Care(care) => care::run(road, care).await,
        Statement::Expecting(statement) => expectation::run(road, statement).await,
        Statement::Modelling(statement) => model::run(road, statement).await,
        Statement::CreateRole(role) => role::create(road, role).await,
        Statement::AlterRole(role) => role::alter(road, role).await,
        Statement::DropRole(roles) => role::drop(road, roles).await,
        Statement::Empty
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
        | Statement::Close(_) => Err(Error::internal("a statement of the conversation reached the road")),
    }
}
