//! What kind of statement it is, for the rules of transactions: may it run in a failed block, does it write, what is its tag.

use crate::error::{Error, Result, SqlState};
use crate::session::Session;
use crate::sql::Statement;

/// How a statement touches what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Neither reads nor writes the lake.
    Control,
    Reads,
    /// Commits to the lake or the catalog; the word is its command tag.
    Writes(&'static str),
}

pub(crate) fn access(statement: &Statement) -> Access {
    match statement {
        Statement::Query(_) | Statement::Explain(_) | Statement::CopyTo(_) | Statement::Declare(_) => Access::Reads,
        Statement::Insert(_) => Access::Writes("INSERT"),
        Statement::Update(_) => Access::Writes("UPDATE"),
        Statement::Delete(_) => Access::Writes("DELETE"),
        Statement::Merge(_) => Access::Writes("MERGE"),
        Statement::Truncate(_) => Access::Writes("TRUNCATE TABLE"),
        Statement::CreateTable(table) if table.query.is_some() => Access::Writes("CREATE TABLE AS"),
        Statement::CreateTable(_) => Access::Writes("CREATE TABLE"),
        Statement::CreateSchema(_) => Access::Writes("CREATE SCHEMA"),
        Statement::CreateView(_) => Access::Writes("CREATE VIEW"),
        Statement::Drop(_) => Access::Writes("DROP"),
        Statement::CopyFrom(_) => Access::Writes("COPY FROM"),
        Statement::CreateRole(_) => Access::Writes("CREATE ROLE"),
        Statement::AlterRole(_) => Access::Writes("ALTER ROLE"),
        Statement::DropRole(_) => Access::Writes("DROP ROLE"),
        Statement::Empty
        | Statement::Set(_)
        | Statement::Show(_)
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
        | Statement::Fetch(_)
        | Statement::Close(_) => Access::Control,
    }
}

/// What a failed block still takes.
pub(crate) fn ends_transaction(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. })
}

/// Where a statement stands among others that PostgreSQL would commit together with it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Company {
    /// Statements of the same message come after it.
    pub(crate) followed: bool,
    /// A statement of the same message or pipeline has committed already.
    pub(crate) committed_before: bool,
}

/// Refuses a write that could not be undone together with its company: nothing pretends to be a transaction.
pub(crate) fn check_write(session: &Session, access: Access, company: Company) -> Result<()> {
    let Access::Writes(tag) = access else { return Ok(()) };
    session.check_writable(tag)?;
    let refuse = |what: &str| {
        Err(Error::new(SqlState::FeatureNotSupported, format!("{tag} {what} is not supported"))
            .with_hint("Send the statement by itself, outside BEGIN and in a message of its own."))
    };
    if session.transaction.in_block() {
        return refuse("inside a transaction block");
    }
    if company.followed {
        return refuse("before other statements of the same message");
    }
    if company.committed_before {
        return refuse("after another write of the same pipeline").map_err(|error: Error| {
            error
                .with_detail("The write before it is committed; PostgreSQL would have committed both together at Sync.")
        });
    }
    Ok(())
}
