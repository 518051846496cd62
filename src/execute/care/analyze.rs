//! ANALYZE: statistics for the files that have none in the log.

use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::output::Output;
use crate::execute::road::{Road, Target};
use crate::sql::CaredTable;

pub(super) async fn run(road: &mut Road<'_>, tables: &[CaredTable]) -> Result<Output> {
    for target in targets(road, tables, "analyze").await? {
        analyze(road, &target).await?;
    }
    Ok(Output::Done("ANALYZE".into()))
}

/// In a transaction's block the log is left as it is: plans can do without.
pub(super) async fn analyze(road: &Road<'_>, target: &Target) -> Result<u64> {
    if road.session.transaction.in_block() {
        return Ok(0);
    }
    let operation = road.operation("ANALYZE");
    let (_, files) = road.ground.lake.analyze(&target.table, operation, &road.token).await?;
    Ok(files)
}

/// The tables to look after: those named, or all that the role may. What is no table is passed over with a warning, as in
/// PostgreSQL.
pub(super) async fn targets(road: &mut Road<'_>, tables: &[CaredTable], verb: &str) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    if tables.is_empty() {
        for name in road.own_tables() {
            match road.told(&name).await {
                Ok(target) => targets.push(target),
                // One that cannot be read must not keep the others from being looked after.
                Err(error) => tracing::warn!(table = name.name, %error, "could not {verb} a table"),
            }
        }
        return Ok(targets);
    }
    for table in tables {
        match road.told(&table.name).await {
            Ok(target) => {
                check_columns(&target, table)?;
                targets.push(target);
            }
            Err(error) if error.sqlstate() == SqlState::WrongObjectType => {
                let name = &table.name.name;
                warn(road, format!("skipping \"{name}\" --- cannot {verb} non-tables or special system tables"));
            }
            Err(error) if error.sqlstate() == SqlState::InsufficientPrivilege => {
                warn(road, format!("permission denied to {verb} \"{}\", skipping it", table.name.name));
            }
            Err(error) => return Err(error.without_position()),
        }
    }
    Ok(targets)
}

fn check_columns(target: &Target, table: &CaredTable) -> Result<()> {
    for column in &table.columns {
        if !target.table.columns().iter().any(|known| known.name == column.value) {
            let message = format!("column \"{}\" of relation \"{}\" does not exist", column.value, target.name);
            return Err(Error::new(SqlState::UndefinedColumn, message));
        }
    }
    Ok(())
}

fn warn(road: &Road<'_>, message: String) {
    road.notice(Error::notice(Severity::Warning, SqlState::Warning, message));
}
