//! What a server does for its tables in the background: small files are put together, files that nobody needs are removed,
//! and those of dropped tables and models after their time.
//!
//! One piece of work at a time, on the threads that may be held up; nothing that a client asked for waits for it. What fails
//! is tried again the next time. It ends with the server, where it next waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::ground::Ground;
use crate::catalog::RelationKind;
use crate::engine::Tuning;
use crate::error::Result;
use crate::lake::kept::Kept;
use crate::lake::{Arrangement, Freshness, Operation, Scope, Table, Told};

/// What is done, and how often.
#[derive(Debug, Clone)]
pub struct Habits {
    /// Time between two looks.
    pub interval: Duration,
    /// Small files in one partition that are worth a compaction; `None` for never.
    pub compaction_files_min: Option<usize>,
    /// Time between two removals of files from all tables; `None` for never.
    pub vacuum_interval: Option<Duration>,
    /// Files of a dropped table stay for this time.
    pub dropped_retention: Duration,
}

/// A file of this part of the target is no small one.
const LARGE_ENOUGH: f64 = 0.75;

/// Looks after the tables until the token is cancelled.
pub async fn run(ground: Arc<Ground>, habits: Habits, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(habits.interval) => {}
            // Without a time to wait for, a dropped table's files go at once.
            () = ground.lake.drop_noted(), if habits.dropped_retention.is_zero() => {}
        }
        let round = async {
            tell("remove the files of dropped tables", clear_dropped(&ground, &habits).await);
            tell("put small files together", compact(&ground, &habits, &shutdown).await);
            tell("remove old files", sweep(&ground, &habits, &shutdown).await);
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = round => {}
        }
    }
}

fn tell(what: &str, outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "could not {what}");
    }
}

/// Removes the files of tables whose time has come and that no catalog names.
async fn clear_dropped(ground: &Arc<Ground>, habits: &Habits) -> Result<()> {
    let mut due = ground.lake.dropped_tables().await?;
    let retention = chrono::TimeDelta::from_std(habits.dropped_retention).unwrap_or(chrono::TimeDelta::MAX);
    due.retain(|table| Utc::now() - table.at >= retention);
    if due.is_empty() {
        return Ok(());
    }
    let places: HashSet<String> = tables(ground).await?.into_iter().map(|table| table.place).collect();
    for table in due {
        if ground.lake.remove_dropped(&table, places.contains(&table.place)).await? {
            tracing::debug!(table = %table.place, "a dropped table is done with");
        }
    }
    Ok(())
}

/// Puts small files of tables together that this server has written.
async fn compact(ground: &Arc<Ground>, habits: &Habits, shutdown: &CancellationToken) -> Result<()> {
    let written = ground.lake.take_written();
    let Some(files_min) = habits.compaction_files_min.filter(|_| !written.is_empty()) else { return Ok(()) };
    let managed: HashSet<String> =
        tables(ground).await?.into_iter().filter(|table| table.managed).map(|table| table.place).collect();
    for place in written.into_iter().filter(|place| managed.contains(place)) {
        let table = match ground.lake.table(&place, Freshness::Latest).await {
            Ok(table) => table,
            // Dropped since.
            Err(_) => continue,
        };
        let small = (ground.lake.options().target_bytes as f64 * LARGE_ENOUGH) as u64;
        if ground.lake.small_files(&table, small) < files_min {
            continue;
        }
        if ground.lake.is_being_changed(&table) {
            ground.lake.note_written(&table);
            continue;
        }
        let done = ground.engine.compute(arranged(Arc::clone(ground), table, shutdown.clone())).await;
        match done {
            Ok(done) => tracing::info!(
                table = %place,
                files_removed = done.removed_files,
                files_added = done.added_files,
                "small files were put together"
            ),
            Err(error) => tracing::warn!(table = %place, %error, "could not put small files together"),
        }
    }
    Ok(())
}

async fn arranged(ground: Arc<Ground>, table: Arc<Table>, cancel: CancellationToken) -> Result<crate::lake::Arranged> {
    let tuning = Tuning { target_partitions: 1, batch_rows: 8192 };
    let order = table.cluster_columns();
    let arrangement = Arrangement {
        table,
        files: None,
        scope: Scope::Small,
        order,
        target_bytes: None,
        state: ground.engine.state(&tuning).0,
        operation: Operation { parameters: vec![("auto".to_owned(), "true".to_owned())], ..Operation::new("OPTIMIZE") },
        memory: Arc::clone(ground.engine.memory_pool()),
        cancel,
    };
    ground.lake.arrange(arrangement).await
}

/// Removes files that no version within its table's retention has, from all tables that are ours.
async fn sweep(ground: &Arc<Ground>, habits: &Habits, shutdown: &CancellationToken) -> Result<()> {
    let Some(every) = habits.vacuum_interval else { return Ok(()) };
    if !ground.lake.take_sweep(every).await? {
        return Ok(());
    }
    tell("remove artifacts of models", clear_models(ground).await);
    for named in tables(ground).await?.into_iter().filter(|table| table.managed) {
        let (lake, cancel, place) = (Arc::clone(&ground.lake), shutdown.clone(), named.place.clone());
        let vacuumed = ground
            .engine
            .compute(async move {
                let table = lake.table(&place, Freshness::Latest).await?;
                let retention = lake.retention_of(&table);
                lake.vacuum(&table, retention, false, &cancel, &Told::default()).await
            })
            .await;
        match vacuumed {
            Ok(done) if done.files > 0 => {
                tracing::info!(table = %named.place, files = done.files, bytes = done.bytes, "old files were removed");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(table = %named.place, %error, "could not remove a table's old files"),
        }
    }
    Ok(())
}

/// Removes artifacts that no version of a model in the catalog has had for the retention of files: models in use are in memory.
async fn clear_models(ground: &Ground) -> Result<()> {
    let mut stored = ground.lake.stored_models().await?;
    // Asked last: what was stored and entered meanwhile is in it.
    let catalog = ground.catalog.fresh(Duration::ZERO).await?;
    let models = catalog.schemas.values().flat_map(|schema| schema.models.values());
    let named: HashSet<&str> =
        models.flat_map(|model| model.versions.values()).map(|version| version.artifact.as_str()).collect();
    stored.retain(|(artifact, _)| !named.contains(artifact.as_str()));
    let removed = ground.lake.clear_models(stored, ground.lake.options().retention).await?;
    if removed > 0 {
        tracing::info!(artifacts = removed, "artifacts of models were removed");
    }
    Ok(())
}

/// A table of the catalog, or one of the server's own logs.
struct Named {
    place: String,
    managed: bool,
}

async fn tables(ground: &Ground) -> Result<Vec<Named>> {
    let catalog = ground.catalog.fresh(Duration::ZERO).await?;
    let mut tables = Vec::new();
    for relation in catalog.schemas.values().flat_map(|schema| schema.relations.values()) {
        if let RelationKind::Table(table) = &relation.kind {
            tables.push(Named { place: ground.lake.place(&table.location)?, managed: table.managed });
        }
    }
    for kept in Kept::ALL {
        if let Some(log) = ground.lake.kept(kept).await? {
            tables.push(Named { place: log.location().to_owned(), managed: true });
        }
    }
    Ok(tables)
}
