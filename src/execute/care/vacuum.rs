//! VACUUM: Delta's removal of files that are no longer needed, under PostgreSQL's name and with its options.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, StringArray};

use super::analyze::{analyze, targets};
use super::optimize::arrange;
use crate::encode::types::PgType;
use crate::error::{Error, Result, Severity, SqlState};
use crate::execute::output::{Output, RowsTag};
use crate::execute::road::{Road, Target};
use crate::lake::{Freshness, Scope, Told};
use crate::sql::Vacuum;

pub(super) const COLUMNS: &[(&str, PgType)] = &[("path", PgType::TEXT)];

const SECONDS_PER_HOUR: f64 = 3600.0;

pub(super) async fn run(road: &mut Road<'_>, statement: &Vacuum) -> Result<Output> {
    road.session.forbid_block("VACUUM")?;
    let mut names: Vec<String> = Vec::new();
    for target in targets(road, &statement.tables, "vacuum").await? {
        let retention = retention(road, &target, statement)?;
        if statement.full && !statement.dry_run {
            arrange(road, &target, None, Scope::Small, Vec::new()).await?;
            road.decision.reopen();
        }
        let lake = Arc::clone(&road.ground.lake);
        let newest = lake.table(target.table.location(), Freshness::Latest).await?;
        let (cancel, dry_run) = (road.token.clone(), statement.dry_run);
        let told = Told {
            operation: road.operation("VACUUM"),
            // Of all tables those alone that lose something.
            always: !statement.tables.is_empty(),
            specified: statement.retain_hours.is_some(),
            retention_check: road.session.settings().retention_check(),
        };
        let vacuumed = async move { lake.vacuum(&newest, retention, dry_run, &cancel, &told).await };
        let vacuumed = road.ground.engine.compute(vacuumed).await?;
        if statement.verbose {
            let verb = if statement.dry_run { "would remove" } else { "removed" };
            let message = format!(
                "vacuuming \"{}.{}\": {verb} {} files of {} bytes",
                target.schema, target.name, vacuumed.files, vacuumed.bytes
            );
            road.notice(Error::notice(Severity::Info, SqlState::SuccessfulCompletion, message));
        }
        names.extend(vacuumed.names);
        if statement.analyze && !statement.dry_run {
            let table = road.ground.lake.table(target.table.location(), Freshness::Latest).await?;
            analyze(road, &Target { table, ..target }).await?;
        }
    }
    if statement.dry_run {
        let values: ArrayRef = Arc::new(StringArray::from(names));
        return super::answer(COLUMNS, vec![values], RowsTag::Counted("VACUUM"));
    }
    Ok(Output::Done("VACUUM".into()))
}

/// How long files stay. Less than what the table promises is refused unless the session says otherwise.
fn retention(road: &Road<'_>, target: &Target, statement: &Vacuum) -> Result<Duration> {
    let promised = road.ground.lake.retention_of(&target.table);
    let Some(hours) = statement.retain_hours else { return Ok(promised) };
    let asked = Duration::try_from_secs_f64(hours * SECONDS_PER_HOUR)
        .map_err(|_| Error::new(SqlState::InvalidParameterValue, format!("RETAIN {hours} HOURS is out of range")))?;
    if asked >= promised || statement.dry_run || !road.session.settings().retention_check() {
        return Ok(asked);
    }
    let promised = promised.as_secs_f64() / SECONDS_PER_HOUR;
    let message = format!("RETAIN {hours} HOURS is less than the {promised} hours that files of this table are kept");
    Err(Error::new(SqlState::InvalidParameterValue, message)
        .with_detail("Statements of other servers that read or write the table could lose files that they need.")
        .with_hint("SET lakegate.retention_check = off if none is running."))
}
