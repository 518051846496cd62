//! Tables that were dropped: a note of each in the warehouse, so that its files go when their time has come, whichever server
//! is there then.
//!
//! The note is written before the table's entry in the catalog goes. Who finds one asks the catalog first: a table that is
//! still there, or there again, keeps its files.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::{Lake, maintain};
use crate::error::Result;

/// Where the notes are in the warehouse.
const FOLDER: &str = "_lakegate/dropped";
/// A note of a table that is still there is taken for a DROP that did not happen after this time.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(1);

/// What is noted of a dropped table.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    /// As the catalog had it.
    location: String,
    at: DateTime<Utc>,
}

/// A table that was dropped.
#[derive(Debug, Clone)]
pub struct DroppedTable {
    file: Path,
    /// The table's place.
    pub place: String,
    pub at: DateTime<Utc>,
}

impl Lake {
    /// Notes that a table is about to be dropped.
    ///
    /// # Errors
    /// The store's: then nothing was noted.
    pub async fn note_drop(&self, location: &str) -> Result<()> {
        let place = self.stores.resolve(location)?;
        let note = Note { location: self.stores.portable(place.location.as_str()), at: Utc::now() };
        let bytes = serde_json::to_vec(&note).map_err(|error| crate::error::Error::internal(error.to_string()))?;
        let folder = self.stores.in_warehouse(FOLDER)?;
        let file = folder.path.join(format!("{}.json", uuid::Uuid::now_v7().simple()));
        folder.store.put(&file, bytes.into()).await?;
        Ok(())
    }

    /// A noted table is gone from the catalog: it is forgotten here, and its files when their time has come.
    pub fn dropped(&self, location: &str) -> Result<()> {
        self.cache.forget(&self.stores.resolve(location)?);
        self.drops.notify_one();
        Ok(())
    }

    /// Waits for the next table to be dropped by this process.
    pub async fn drop_noted(&self) {
        self.drops.notified().await;
    }

    /// All tables that were noted and whose files are still there, as far as anybody knows.
    pub async fn dropped_tables(&self) -> Result<Vec<DroppedTable>> {
        let folder = self.stores.in_warehouse(FOLDER)?;
        let notes: Vec<Path> = folder.store.list(Some(&folder.path)).map_ok(|meta| meta.location).try_collect().await?;
        let mut tables = Vec::with_capacity(notes.len());
        for file in notes {
            let text = match folder.store.get(&file).await {
                Ok(found) => found.bytes().await?,
                // Another server has just done it.
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            match serde_json::from_slice::<Note>(&text) {
                Ok(note) => {
                    let place = self.place(&note.location)?;
                    tables.push(DroppedTable { file, place, at: note.at });
                }
                Err(error) => tracing::warn!(%file, %error, "a note of a dropped table cannot be read"),
            }
        }
        Ok(tables)
    }

    /// Removes a dropped table's files and the note. `is_there` tells whether the catalog has a table at that place. Answers
    /// whether it is done with.
    ///
    /// # Errors
    /// The store's: the note stays, for the next time.
    pub async fn remove_dropped(self: &Arc<Self>, table: &DroppedTable, is_there: bool) -> Result<bool> {
        let location = self.stores.resolve(&table.place)?;
        if is_there {
            let forgotten = Utc::now() - table.at > FORGOTTEN_AFTER;
            if forgotten {
                self.forget_drop(table).await?;
            }
            return Ok(forgotten);
        }
        // Cursors and statements of this process go on to their end.
        if location.live.is_held(location.location.as_str()) {
            self.past.forget(&table.place);
            return Ok(false);
        }
        maintain::remove_table(&location, &self.dropping).await?;
        self.forget_drop(table).await?;
        Ok(true)
    }

    async fn forget_drop(&self, table: &DroppedTable) -> Result<()> {
        let folder = self.stores.in_warehouse(FOLDER)?;
        match folder.store.delete(&table.file).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
