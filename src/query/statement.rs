//! What kind of statement it is, for the rules of transactions: may it run in a failed block, does it write, what is its tag.

use crate::error::{Error, Result, SqlState};
use crate::sql::{AlterKind, Care, DropKind, Expecting, Modelling, Statement};

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
        // It runs what it explains.
        Statement::Explain(explain) if explain.analyze => access(&explain.statement),
        Statement::Query(_)
        | Statement::Explain(_)
        | Statement::CopyTo(_)
        | Statement::Declare(_)
        | Statement::Inspect(_) => Access::Reads,
        Statement::Insert(_) => Access::Writes("INSERT"),
        Statement::Update(_) => Access::Writes("UPDATE"),
        Statement::Delete(_) => Access::Writes("DELETE"),
        Statement::Merge(_) => Access::Writes("MERGE"),
        Statement::Truncate(_) => Access::Writes("TRUNCATE TABLE"),
        Statement::CreateTable(table) if table.materialized.is_some() => Access::Writes("CREATE MATERIALIZED VIEW"),
        Statement::CreateExternalTable(_) => Access::Writes("CREATE EXTERNAL TABLE"),
        Statement::Convert(_) => Access::Writes("CONVERT TO DELTA"),
        Statement::Refresh(_) => Access::Writes("REFRESH MATERIALIZED VIEW"),
        Statement::CreateTable(table) if table.query.is_some() => Access::Writes("CREATE TABLE AS"),
        Statement::CreateTable(_) => Access::Writes("CREATE TABLE"),
        Statement::Alter(alter) if alter.kind == AlterKind::View => Access::Writes("ALTER VIEW"),
        Statement::Alter(alter) if alter.kind == AlterKind::MaterializedView => {
            Access::Writes("ALTER MATERIALIZED VIEW")
        }
        Statement::Alter(_) => Access::Writes("ALTER TABLE"),
        Statement::AlterSchema(_) => Access::Writes("ALTER SCHEMA"),
        Statement::Comment(_) => Access::Writes("COMMENT"),
        Statement::CreateSchema(_) => Access::Writes("CREATE SCHEMA"),
        Statement::CreateView(_) => Access::Writes("CREATE VIEW"),
        Statement::Drop(drop) => Access::Writes(match drop.kind {
            DropKind::Table => "DROP TABLE",
            DropKind::View => "DROP VIEW",
            DropKind::MaterializedView => "DROP MATERIALIZED VIEW",
            DropKind::Schema => "DROP SCHEMA",
        }),
        Statement::CopyFrom(_) => Access::Writes("COPY FROM"),
        Statement::Care(care) => match care {
            // As in PostgreSQL: VACUUM and ANALYZE change nothing that a query could tell.
            Care::History { .. } | Care::Detail(_) | Care::Vacuum(_) | Care::Analyze(_) => Access::Reads,
            Care::Restore { .. } => Access::Writes("RESTORE"),
            Care::Optimize(_) => Access::Writes("OPTIMIZE"),
            Care::Purge(_) => Access::Writes("REORG"),
        },
        Statement::CopyInto(_) => Access::Writes("COPY INTO"),
        Statement::Expecting(expecting) => match expecting {
            Expecting::Create(_) => Access::Writes("CREATE EXPECTATION"),
            Expecting::Alter(_) => Access::Writes("ALTER EXPECTATION"),
            Expecting::Drop(_) => Access::Writes("DROP EXPECTATION"),
            Expecting::Validate(_) => Access::Reads,
        },
        Statement::Modelling(modelling) => match modelling {
            Modelling::Create(_) => Access::Writes("CREATE MODEL"),
            Modelling::Alter(_) => Access::Writes("ALTER MODEL"),
            Modelling::Drop(_) => Access::Writes("DROP MODEL"),
            Modelling::Grant(grant) => Access::Writes(if grant.revokes { "REVOKE" } else { "GRANT" }),
            Modelling::Export(_) => Access::Reads,
            Modelling::Import(_) => Access::Writes("IMPORT MODEL"),
        },
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
    matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. } | Statement::RollbackTo(_))
}

/// Refuses in a transaction what it could not take back.
pub(crate) fn check_staged(statement: &Statement, tag: &str) -> Result<()> {
    if !matches!(statement, Statement::Care(_) | Statement::Convert(_)) {
        return Ok(());
    }
    let message = format!("{tag} cannot run inside a transaction block");
    Err(Error::new(SqlState::ActiveSqlTransaction, message))
}
