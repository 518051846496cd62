//! Files that no version within the retention time has: found by listing the table's folder, and removed.
//!
//! What stays: the newest version's files, files that were removed from it within the retention time, files younger than that,
//! and all that this process still reads or writes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use deltalake::protocol::DeltaOperation;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use super::feed::FOLDER;
use super::maintain::{inner_table, lies_in_any};
use super::table::Table;
use super::write::Operation;
use super::{Lake, commit, maintain, vectors};
use crate::error::{Error, Result, SqlState};

/// Names that a dry run tells.
const NAMES_MAX: usize = 10_000;

/// What the table's log is told of a removal.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Who does it.
    pub operation: Operation,
    /// Also when there is nothing to remove.
    pub always: bool,
    /// Whether the time was given, and whether a time too short would be refused.
    pub specified: bool,
    pub retention_check: bool,
}

/// What was, or would be, removed.
#[derive(Debug, Clone, Default)]
pub struct Vacuumed {
    pub files: u64,
    pub bytes: u64,
    /// URLs of the first ones, of a dry run.
    pub names: Vec<String>,
}

impl Lake {
    /// How long files stay that the newest version does not have any more.
    pub fn retention_of(&self, table: &Table) -> Duration {
        let own =
            table.snapshot().ok().and_then(|snapshot| snapshot.table_properties().deleted_file_retention_duration);
        own.unwrap_or(self.options.retention)
    }

    /// Removes the files that no version of the last `retention` needs. A dry run only tells them.
    ///
    /// # Errors
    /// 57014 when cancelled; the store's. Files that were removed before stay so.
    pub async fn vacuum(
        self: &Arc<Self>,
        table: &Arc<Table>,
        retention: Duration,
        dry_run: bool,
        cancel: &CancellationToken,
        told: &Told,
    ) -> Result<Vacuumed> {
        let location = &table.location;
        let age = chrono::TimeDelta::from_std(retention).unwrap_or(chrono::TimeDelta::MAX);
        let before: DateTime<Utc> = Utc::now().checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let mut kept: HashSet<Path> = table.files.iter().map(|file| file.path.clone()).collect();
        for file in table.files.iter() {
            kept.extend(file.vector.as_ref().and_then(|vector| vectors::file(location, vector)));
        }
        let mut has_recent = false;
        let log = table.delta.log_store();
        let mut removed = table.delta.snapshot()?.all_tombstones(log.as_ref());
        while let Some(tombstone) = removed.try_next().await? {
            let recent = tombstone.deletion_timestamp().is_some_and(|time| time >= before.timestamp_millis());
            if recent {
                has_recent = true;
                let name = tombstone.path();
                let path = Path::parse(name.as_ref()).unwrap_or_else(|_| Path::from(name.as_ref()));
                kept.insert(location.path.parts().chain(path.parts()).collect());
            }
        }
        drop(removed);
        let partitions = table.partition_columns();
        let mut doomed: Vec<ObjectMeta> = Vec::new();
        let mut inner: HashSet<Path> = HashSet::new();
        let mut listed = location.store.list(Some(&location.path));
        while let Some(meta) = listed.try_next().await? {
            if cancel.is_cancelled() {
                return Err(Error::new(SqlState::QueryCanceled, "canceling statement due to user request"));
            }
            inner.extend(inner_table(&meta.location, &location.path));
            // The log does not tell which vectors of rows the versions before had.
            let is_vector = meta.location.filename().is_some_and(|name| name.starts_with("deletion_vector_"));
            if meta.last_modified >= before
                || kept.contains(&meta.location)
                || is_hidden(&meta.location, &location.path, partitions)
                || is_vector && has_recent
            {
                continue;
            }
            doomed.push(meta);
        }
        doomed.retain(|file| !lies_in_any(&file.location, &location.path, &inner));
        // Asked last: what was listed as unused before may be in use now, never the other way round.
        self.past.forget(table.location());
        let needed = location.live.needed(table.location());
        doomed.retain(|file| !needed.contains(&file.location));
        let (files, bytes) = (doomed.len() as u64, doomed.iter().map(|file| file.size).sum());
        let mut done = Vacuumed { files, bytes, names: Vec::new() };
        if dry_run {
            let name = |file: &ObjectMeta| {
                let name: Vec<_> = file.location.prefix_match(&location.path).into_iter().flatten().collect();
                let name: Vec<&str> = name.iter().map(AsRef::as_ref).collect();
                format!("{}/{}", location.location, name.join("/"))
            };
            done.names = doomed.iter().take(NAMES_MAX).map(name).collect();
            return Ok(done);
        }
        let tells = (told.always || files > 0) && commit::can_write_to(table)?;
        if tells {
            self.tell_start(table, told, retention, &done).await?;
        }
        let removed = maintain::remove(location, doomed.into_iter().map(|file| file.location).collect(), cancel).await;
        if tells {
            self.tell_end(table, told, &done, removed.is_ok()).await?;
        }
        removed?;
        self.clean_log(table).await;
        Ok(done)
    }

    /// The log says that files are about to go.
    async fn tell_start(&self, table: &Table, told: &Told, retention: Duration, done: &Vacuumed) -> Result<()> {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let described = DeltaOperation::VacuumStart {
            retention_check_enabled: told.retention_check,
            specified_retention_millis: told.specified.then(|| millis(retention)),
            default_retention_millis: millis(self.retention_of(table)),
        };
        let metrics = vec![("numFilesToDelete", done.files), ("sizeOfDataToDelete", done.bytes)];
        self.tell(table, told, "VACUUM START", described, metrics).await
    }

    /// The log says what became of it.
    async fn tell_end(&self, table: &Table, told: &Told, done: &Vacuumed, completed: bool) -> Result<()> {
        let status = if completed { "COMPLETED" } else { "FAILED" };
        let described = DeltaOperation::VacuumEnd { status: status.to_owned() };
        let metrics = if completed { vec![("numDeletedFiles", done.files)] } else { Vec::new() };
        self.tell(table, told, "VACUUM END", described, metrics).await
    }

    async fn tell(
        &self,
        table: &Table,
        told: &Told,
        name: &str,
        described: DeltaOperation,
        metrics: Vec<(&'static str, u64)>,
    ) -> Result<()> {
        let operation = Operation { name: name.to_owned(), metrics, ..told.operation.clone() };
        let committed = commit::tell(self, table, &described, &operation).await;
        // The files that go now are no part of a commit.
        operation.decision.reopen();
        committed.map_err(|failure| failure.error)
    }

    /// Removes commits that a checkpoint stands for and that are older than the table keeps its history.
    async fn clean_log(&self, table: &Table) {
        let wanted = table
            .snapshot()
            .is_ok_and(|snapshot| snapshot.table_properties().enable_expired_log_cleanup.unwrap_or(true));
        if !wanted {
            return;
        }
        if let Err(error) = deltalake::checkpoints::cleanup_metadata(&table.delta, None).await {
            tracing::warn!(table = %table.location(), %error, "could not clean up a table's log");
        }
    }
}

/// The log and what others hide; a partition's folder is none of it.
fn is_hidden(path: &Path, root: &Path, partition_columns: &[String]) -> bool {
    let Some(parts) = path.prefix_match(root) else { return true };
    let mut is_first = true;
    for part in parts {
        let part = part.as_ref();
        let of_partition =
            part.split_once('=').is_some_and(|(name, _)| partition_columns.iter().any(|column| column == name));
        // The log names changed rows only in the commits that made them: they go by their age.
        let of_changes = is_first && part == FOLDER;
        if (part.starts_with('_') || part.starts_with('.')) && !of_partition && !of_changes {
            return true;
        }
        is_first = false;
    }
    false
}
