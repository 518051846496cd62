//! The Delta log of one table: open it, ask for a newer version, put a commit.

mod confined;
mod engine;

use std::sync::Arc;

use deltalake::DeltaTable;
use deltalake::kernel::transaction::TransactionError;
use deltalake::logstore::{
    CommitOrBytes, LogStoreRef, StorageConfig, commit_uri_from_version, default_logstore, object_store,
};
use object_store::ObjectStoreExt;
use object_store::prefix::PrefixStore;

use self::confined::ConfinedLog;
use super::stores::Resolved;
use super::stores::bounds::Folder;
use super::stores::confined::ConfinedStore;
use crate::error::{Error, Result, SqlState};

/// Attempts of a put whose outcome is not known.
const PUT_ATTEMPTS_MAX: u32 = 4;

/// delta-rs' way to the log of the table at that place, and to no other log.
pub(super) fn log_store(location: &Resolved) -> LogStoreRef {
    // A prefix confines too; the other store takes whole keys.
    let prefixed = PrefixStore::new(location.log_store(), location.path.clone());
    let rooted = ConfinedStore::new(location.log_store(), location.path.clone());
    let mut url = location.location.clone();
    // The kernel joins names to this URL, which works on a folder only.
    let folder = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&folder);
    let log = default_logstore(Arc::new(prefixed), Arc::new(rooted), &url, &StorageConfig::default());
    Arc::new(ConfinedLog::new(log, Folder::of(location)))
}

/// The newest version of the table there; `None` when there is no Delta log.
pub(super) async fn load(location: &Resolved) -> Result<Option<DeltaTable>> {
    let mut table = DeltaTable::new(log_store(location));
    if !table.verify_deltatable_existence().await? {
        return Ok(None);
    }
    table.load().await?;
    Ok(Some(table))
}

/// The table there as it was at a version.
pub(super) async fn load_at(location: &Resolved, version: u64) -> Result<Arc<super::Table>> {
    let mut table = DeltaTable::new(log_store(location));
    table.load_version(version).await?;
    Ok(Arc::new(super::Table::read(location.clone(), table, None).await?))
}

/// The error for a place without a table.
pub(super) fn missing(location: &Resolved) -> Error {
    let message = format!("there is no Delta table at \"{}\"", location.location);
    Error::new(SqlState::UndefinedFile, message)
}

/// Tells a commit from another one at the same version: a table can be dropped and made anew at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    e_tag: Option<String>,
    modified: chrono::DateTime<chrono::Utc>,
    bytes: u64,
}

impl Mark {
    /// When the commit was stored.
    pub(super) fn modified(&self) -> chrono::DateTime<chrono::Utc> {
        self.modified
    }
}

/// The commit of that version, `None` when there is none: one small request.
pub(super) async fn mark(location: &Resolved, version: u64) -> Result<Option<Mark>> {
    let path = location.path.parts().chain(commit_uri_from_version(Some(version)).parts()).collect();
    match location.log_store().head(&path).await {
        Ok(meta) => Ok(Some(Mark { e_tag: meta.e_tag, modified: meta.last_modified, bytes: meta.size })),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How a put of a commit ended.
#[derive(Debug)]
pub(super) enum Put {
    Done,
    /// Another commit stands at that version.
    Taken,
    /// There is no commit, and none will appear.
    Failed(Error),
    /// The store gave errors and shows nothing: the commit may still appear.
    Unknown(Error),
}

/// Puts a commit at a version unless there is one. `id` stands in the commit, so that an unclear outcome can be cleared up.
pub(super) async fn put(location: &Resolved, version: u64, commit: bytes::Bytes, id: &str) -> Put {
    let log = log_store(location);
    let mut attempt = 0;
    loop {
        let result =
            log.write_commit_entry(version, CommitOrBytes::LogBytes(commit.clone()), uuid::Uuid::new_v4()).await;
        let error = match result {
            Ok(()) => return Put::Done,
            Err(error) => error,
        };
        match log.read_commit_entry(version).await {
            // Also after "already exists": an earlier attempt, or the client's own retry, may have been ours.
            Ok(Some(standing)) if memchr::memmem::find(&standing, id.as_bytes()).is_some() => return Put::Done,
            Ok(Some(_)) => return Put::Taken,
            // A disk that refused a put is not still working on it.
            Ok(None) if location.is_local() => return Put::Failed(put_error(error)),
            Ok(None) => {}
            Err(error) => tracing::warn!(version, %error, "could not read a commit back"),
        }
        attempt += 1;
        if attempt >= PUT_ATTEMPTS_MAX {
            return Put::Unknown(
                put_error(error)
                    .with_detail("The object store did not tell whether the commit was taken.")
                    .with_hint("Look at the table before the statement is run again."),
            );
        }
        tokio::time::sleep(std::time::Duration::from_millis(20 << attempt)).await;
    }
}

fn put_error(error: TransactionError) -> Error {
    match error {
        TransactionError::ObjectStore { source } => source.into(),
        other => deltalake::DeltaTableError::from(other).into(),
    }
}
