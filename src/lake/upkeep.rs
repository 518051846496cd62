//! What background maintenance asks: which tables were written, whether they have many small files, when all were last looked
//! after.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use serde::{Deserialize, Serialize};

use super::Lake;
use super::table::Table;
use crate::error::{Error, Result};

/// When files were last removed from all tables, by whichever server.
const SWEPT: &str = "_lakegate/maintenance/vacuum.json";

#[derive(Debug, Serialize, Deserialize)]
struct Swept {
    at: DateTime<Utc>,
}

impl Lake {
    /// The places of tables that this process has written since it was asked last.
    pub fn take_written(&self) -> Vec<String> {
        std::mem::take(&mut *self.written.lock()).into_iter().collect()
    }

    /// The table wants another look.
    pub fn note_written(&self, table: &Table) {
        self.written.lock().insert(table.location().to_owned());
    }

    /// How many files of the partition that has the most are smaller than that.
    pub fn small_files(&self, table: &Table, bytes: u64) -> usize {
        let mut partitions: HashMap<&[ScalarValue], usize> = HashMap::new();
        for file in table.files.iter().filter(|file| file.bytes < bytes) {
            *partitions.entry(&file.partition).or_default() += 1;
        }
        partitions.into_values().max().unwrap_or(0)
    }

    /// Whether a transaction has the table's newest rows for its own, or a statement is changing rows: its files should stay.
    pub fn is_being_changed(&self, table: &Arc<Table>) -> bool {
        let name = format!("changes of {}", table.location());
        table.location.live.is_in_transaction(table.location()) || self.queue_named(name).try_lock().is_err()
    }

    /// Takes the turn to remove files from all tables if nobody has within that time. One server of several gets it.
    pub async fn take_sweep(&self, every: std::time::Duration) -> Result<bool> {
        let location = self.stores.in_warehouse(SWEPT)?;
        let now = Utc::now();
        let every = chrono::TimeDelta::from_std(every).unwrap_or(chrono::TimeDelta::MAX);
        let mode = match location.store.get(&location.path).await {
            Ok(found) => {
                let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
                let swept: Option<Swept> = serde_json::from_slice(&found.bytes().await?).ok();
                if swept.is_some_and(|swept| now - swept.at < every) {
                    return Ok(false);
                }
                // A disk cannot compare; two servers on one would do the same work twice, which does no harm.
                if location.is_local() { PutMode::Overwrite } else { PutMode::Update(version) }
            }
            Err(object_store::Error::NotFound { .. }) => PutMode::Create,
            Err(error) => return Err(error.into()),
        };
        let bytes = serde_json::to_vec(&Swept { at: now }).map_err(|error| Error::internal(error.to_string()))?;
        let options = PutOptions { mode, ..PutOptions::default() };
        match location.store.put_opts(&location.path, bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(object_store::Error::NotImplemented { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
