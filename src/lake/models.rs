//! Artifacts of models: one object each, written once, below the warehouse's own folder.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions};

use parking_lot::Mutex;

use super::Lake;
use crate::error::{Error, Result, SqlState};
use crate::models::{Model, artifact};

/// The folder below the warehouse.
const FOLDER: &str = "_lakegate/models";
const SUFFIX: &str = ".lgmodel";
/// Bytes of models that are kept in memory.
const CACHE_BYTES_MAX: usize = 256 << 20;

/// An artifact that was written.
#[derive(Debug, Clone)]
pub struct StoredModel {
    /// Below the warehouse.
    pub artifact: String,
    pub checksum: String,
    pub bytes: u64,
}

/// Models that were used last, by the checksums of their artifacts.
#[derive(Debug, Default)]
pub(super) struct ModelCache {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_checksum: HashMap<String, (Arc<Model>, u64)>,
    bytes: usize,
    clock: u64,
}

impl ModelCache {
    fn get(&self, checksum: &str) -> Option<Arc<Model>> {
        let mut entries = self.entries.lock();
        entries.clock += 1;
        let clock = entries.clock;
        let (model, used) = entries.by_checksum.get_mut(checksum)?;
        *used = clock;
        Some(Arc::clone(model))
    }

    /// Keeps a model; those that were not used for longest go. One that is too large stays with who asked for it.
    fn put(&self, checksum: &str, model: &Arc<Model>) {
        if model.bytes > CACHE_BYTES_MAX {
            return;
        }
        let mut entries = self.entries.lock();
        entries.clock += 1;
        let clock = entries.clock;
        if entries.by_checksum.insert(checksum.to_owned(), (Arc::clone(model), clock)).is_none() {
            entries.bytes += model.bytes;
        }
        while entries.bytes > CACHE_BYTES_MAX {
            let oldest = entries.by_checksum.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(checksum, _)| checksum.clone()) else { break };
            if let Some((model, _)) = entries.by_checksum.remove(&oldest) {
                entries.bytes = entries.bytes.saturating_sub(model.bytes);
            }
        }
    }
}

impl Lake {
    /// The model of an artifact.
    ///
    /// # Errors
    /// XX001 when the artifact is not what was written or not there, and the store's.
    pub async fn model(&self, artifact: &str, checksum: &str) -> Result<Arc<Model>> {
        if let Some(model) = self.models.get(checksum) {
            return Ok(model);
        }
        let bytes = self.read_model(artifact, checksum).await?;
        let model = Arc::new(Model::decode(&bytes)?);
        self.models.put(checksum, &model);
        Ok(model)
    }

    /// Writes an artifact under a new name.
    ///
    /// # Errors
    /// The store's.
    pub async fn store_model(&self, id: &str, bytes: Vec<u8>) -> Result<StoredModel> {
        let artifact = format!("{FOLDER}/{id}{SUFFIX}");
        let place = self.stores().in_warehouse(&artifact)?;
        let stored = StoredModel { artifact, checksum: artifact::checksum(&bytes), bytes: bytes.len() as u64 };
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        place.store.put_opts(&place.path, Bytes::from(bytes).into(), options).await?;
        Ok(stored)
    }

    /// Reads an artifact whole.
    ///
    /// # Errors
    /// XX001 when it is not what was written or not there, and the store's.
    pub async fn read_model(&self, artifact: &str, checksum: &str) -> Result<Bytes> {
        let place = self.stores().in_warehouse(artifact)?;
        let bytes = match place.store.get(&place.path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Err(artifact::damaged("it is missing")),
            Err(error) => return Err(error.into()),
        };
        if artifact::checksum(&bytes) != checksum {
            return Err(artifact::damaged("the checksum does not fit"));
        }
        Ok(bytes)
    }

    /// All artifacts, each with the time of its writing.
    ///
    /// # Errors
    /// The store's.
    pub async fn stored_models(&self) -> Result<Vec<(String, chrono::DateTime<chrono::Utc>)>> {
        let place = self.stores().in_warehouse(FOLDER)?;
        let found: Vec<_> = place.store.list(Some(&place.path)).try_collect().await?;
        let named = found.into_iter().filter_map(|object| {
            let name = object.location.filename().filter(|name| name.ends_with(SUFFIX))?;
            Some((format!("{FOLDER}/{name}"), object.last_modified))
        });
        Ok(named.collect())
    }

    /// Removes an artifact.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_model(&self, artifact: &str) -> Result<()> {
        if !artifact.starts_with(FOLDER) {
            return Err(Error::new(SqlState::InternalError, "no artifact of a model"));
        }
        let place = self.stores().in_warehouse(artifact)?;
        match place.store.delete(&place.path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
