//! Work on a table's folder that nobody waits for: checkpoints, files that are no longer needed.

use std::collections::HashSet;
use std::sync::Arc;

use deltalake::DeltaTable;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::log;
use super::stores::Resolved;
use super::table::Table;

/// Writes a checkpoint of the loaded version in the background, so that opening the table stays cheap.
pub(super) fn checkpoint(table: DeltaTable) {
    tokio::spawn(async move {
        if let Err(error) = deltalake::checkpoints::create_checkpoint(&table, None).await {
            tracing::warn!(table = %table.table_url(), %error, "could not write a checkpoint");
        }
    });
}

/// Removes a table's folder in the background.
pub(super) fn drop_files(location: Resolved, dropping: Arc<Mutex<HashSet<String>>>) {
    tokio::spawn(async move {
        if let Err(error) = remove_table(&location, &dropping).await {
            tracing::warn!(table = %location.location, %error, "could not remove the files of a table");
        }
    });
}

/// Removes the table alone from a folder that may hold more, in the background.
pub(super) fn drop_named_files(location: Resolved, dropping: Arc<Mutex<HashSet<String>>>) {
    tokio::spawn(async move {
        if let Err(error) = remove_named(&location).await {
            tracing::warn!(table = %location.location, %error, "could not remove a table that was rolled back");
        }
        if let Ok(folder) = location.location.to_file_path() {
            let _ = tokio::task::spawn_blocking(move || remove_empty_folders(&folder)).await;
        }
        dropping.lock().remove(location.location.as_str());
    });
}

async fn remove_named(location: &Resolved) -> crate::error::Result<()> {
    let Some(delta) = log::load(location).await? else { return Ok(()) };
    let table = Table::read(location.clone(), delta, None).await?;
    let folder = location.path.clone().join("_delta_log");
    // The log goes first: without it nobody takes the remaining files for a table.
    let of_log: Vec<Path> = location.store.list(Some(&folder)).map_ok(|meta| meta.location).try_collect().await?;
    let files = table.files.iter().map(|file| file.path.clone());
    let all = of_log.into_iter().chain(files).collect();
    remove(location, all, &CancellationToken::new()).await
}

/// Removes a table's folder. The place is in `dropping` until it is done.
pub(super) async fn remove_table(location: &Resolved, dropping: &Mutex<HashSet<String>>) -> object_store::Result<()> {
    dropping.lock().insert(location.location.to_string());
    let removed = remove_all(location).await;
    if let Ok(folder) = location.location.to_file_path() {
        // Only empty folders are left; one that somebody is using stays.
        let _ = tokio::task::spawn_blocking(move || remove_empty_folders(&folder)).await;
    }
    dropping.lock().remove(location.location.as_str());
    removed
}

/// Removes the files that are there now. They are listed once: a folder that is empty in between may be given to a new table.
async fn remove_all(location: &Resolved) -> object_store::Result<()> {
    let log = location.path.clone().join("_delta_log");
    let mut found: Vec<Path> =
        location.store.list(Some(&location.path)).map_ok(|meta| meta.location).try_collect().await?;
    let inner: HashSet<Path> = found.iter().filter_map(|path| inner_table(path, &location.path)).collect();
    found.retain(|path| !lies_in_any(path, &location.path, &inner));
    // The log goes first: without it nobody takes the remaining files for a table.
    let (of_log, others): (Vec<Path>, Vec<Path>) = found.into_iter().partition(|path| path.prefix_matches(&log));
    for paths in [of_log, others] {
        let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
        let removed = location.store.delete_stream(paths).filter(|result| {
            let gone_already = matches!(result, Err(object_store::Error::NotFound { .. }));
            std::future::ready(!gone_already)
        });
        removed.try_for_each(|_| std::future::ready(Ok(()))).await?;
    }
    Ok(())
}

/// Removes files as fast as the store takes it; those that are gone already are no error.
pub(super) async fn remove(
    location: &Resolved,
    files: Vec<Path>,
    cancel: &CancellationToken,
) -> crate::error::Result<()> {
    let paths = futures::stream::iter(files.into_iter().map(Ok)).boxed();
    let mut removed = location.store.delete_stream(paths);
    while let Some(result) = removed.next().await {
        match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if cancel.is_cancelled() {
            let message = "canceling statement due to user request";
            return Err(crate::error::Error::new(crate::error::SqlState::QueryCanceled, message));
        }
    }
    Ok(())
}

fn remove_empty_folders(folder: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_folders(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(folder);
}

/// Removes files that were staged for a commit that did not come.
pub(super) fn remove_staged(location: Resolved, files: Vec<Path>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        let paths = futures::stream::iter(files.into_iter().map(Ok)).boxed();
        let mut removed = location.store.delete_stream(paths);
        while let Some(result) = removed.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(table = %location.location, %error, "could not remove a staged file"),
            }
        }
    });
}

/// The folder of another table below the root, if the path is one of that table's log.
pub(super) fn inner_table(path: &Path, root: &Path) -> Option<Path> {
    let parts: Vec<_> = path.prefix_match(root)?.collect();
    let log = parts.iter().position(|part| part.as_ref() == "_delta_log").filter(|at| *at > 0)?;
    Some(root.parts().chain(parts.into_iter().take(log)).collect())
}

/// Whether the path lies in one of these folders below the root.
pub(super) fn lies_in_any(path: &Path, root: &Path, folders: &HashSet<Path>) -> bool {
    if folders.is_empty() {
        return false;
    }
    let mut above: Path = root.clone();
    for part in path.prefix_match(root).into_iter().flatten() {
        above = above.join(part);
        if folders.contains(&above) {
            return true;
        }
    }
    false
}
