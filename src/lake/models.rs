//! Artifacts of models: one object each, written once, below the warehouse's own folder. Those that no catalog names are of
//! dropped models, or of a server that ended before its commit: [`Lake::clear_models`] removes them after their time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use futures::TryStreamExt as _;
use object_store::{GetResult, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions};

use parking_lot::Mutex;

use super::{Lake, Resolved};
use crate::error::{Error, Result, SqlState};
use crate::models::{Model, artifact};

/// The folder below the warehouse.
const FOLDER: &str = "_lakegate/models";
const SUFFIX: &str = ".lgmodel";
/// Since when artifacts are known that nothing names.
const UNNAMED: &str = "_lakegate/maintenance/models.json";
/// Bytes of models that are kept in memory.
const CACHE_BYTES_MAX: usize = 256 << 20;
/// What reading an artifact takes, as a multiple of its bytes.
pub const READ_TIMES: u64 = 4;
/// Younger artifacts stay whatever the retention: another server may have written one and be about to enter it.
const AGE_MIN: TimeDelta = TimeDelta::hours(1);

/// An artifact that was written. As long as this is held, the catalog may come to name it, and it stays.
#[derive(Debug)]
pub struct StoredModel {
    /// Below the warehouse.
    pub artifact: String,
    pub checksum: String,
    pub bytes: u64,
    staged: Arc<Staged>,
}

impl Drop for StoredModel {
    fn drop(&mut self) {
        self.staged.lock().remove(&self.artifact);
    }
}

/// Artifacts on their way into the catalog.
type Staged = Mutex<HashSet<String>>;

/// Models that were used last, by the checksums of their artifacts.
#[derive(Debug, Default)]
pub(super) struct ModelCache {
    entries: Mutex<Entries>,
    staged: Arc<Staged>,
    /// Whose memory artifacts are read into.
    pool: OnceLock<Arc<dyn MemoryPool>>,
}

/// A model's file that was found and not read yet.
#[derive(Debug)]
pub struct ModelFile {
    /// How many it has.
    pub bytes: u64,
    found: GetResult,
}

impl ModelFile {
    /// # Errors
    /// The store's.
    pub async fn read(self) -> Result<Bytes> {
        Ok(self.found.bytes().await?)
    }
}

/// Work over many bytes, away from the threads that talk to clients.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Error::internal("a task that reads a model failed"))?
}

async fn checksum_of(bytes: &Bytes) -> Result<String> {
    let bytes = bytes.clone();
    blocking(move || Ok(artifact::checksum(&bytes))).await
}

#[derive(Debug, Default)]
struct Entries {
    by_checksum: HashMap<String, (Arc<Model>, u64)>,
    /// Those that somebody uses, kept or too large for that: nobody reads one a second time.
    in_use: HashMap<String, Weak<Model>>,
    bytes: usize,
    clock: u64,
}

impl ModelCache {
    /// Memory for an artifact, its sections, and what is made of them.
    fn held(&self, bytes: u64) -> Result<Option<MemoryReservation>> {
        let Some(pool) = self.pool.get() else { return Ok(None) };
        let held = MemoryConsumer::new("a model that is read").register(pool);
        held.try_grow(usize::try_from(bytes.saturating_mul(READ_TIMES)).unwrap_or(usize::MAX))?;
        Ok(Some(held))
    }

    fn get(&self, checksum: &str) -> Option<Arc<Model>> {
        let mut entries = self.entries.lock();
        entries.clock += 1;
        let clock = entries.clock;
        if let Some((model, used)) = entries.by_checksum.get_mut(checksum) {
            *used = clock;
            return Some(Arc::clone(model));
        }
        entries.in_use.get(checksum).and_then(Weak::upgrade)
    }

    /// Keeps a model; those that were not used for longest go. One that is too large stays with who asked for it.
    fn put(&self, checksum: &str, model: &Arc<Model>) {
        let mut entries = self.entries.lock();
        entries.in_use.retain(|_, model| model.strong_count() > 0);
        entries.in_use.insert(checksum.to_owned(), Arc::downgrade(model));
        if model.bytes > CACHE_BYTES_MAX {
            return;
        }
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
    /// Tells which pool has the memory for artifacts while they are read; without one they are not counted.
    pub fn count_models_in(&self, pool: &Arc<dyn MemoryPool>) {
        let _ = self.models.pool.set(Arc::clone(pool));
    }

    /// The model of an artifact of so many bytes. Statements that ask for one at the same time have it read once.
    ///
    /// # Errors
    /// XX001 when the artifact is not what was written or not there, 53200 when there is no memory for it, and the store's.
    pub async fn model(&self, artifact: &str, checksum: &str, bytes: u64) -> Result<Arc<Model>> {
        if let Some(model) = self.models.get(checksum) {
            return Ok(model);
        }
        let _one_reads = self.queue_named(format!("model {checksum}")).lock_owned().await;
        if let Some(model) = self.models.get(checksum) {
            return Ok(model);
        }
        let held = self.models.held(bytes)?;
        let bytes = self.read_model(artifact, checksum).await?;
        let model = blocking(move || {
            let model = Model::decode(&bytes);
            // Counted for as long as it is read, by whoever goes on waiting or not.
            drop(held);
            model
        });
        let model = Arc::new(model.await?);
        self.models.put(checksum, &model);
        Ok(model)
    }

    /// Writes an artifact under a new name.
    ///
    /// # Errors
    /// The store's.
    pub async fn store_model(&self, id: &str, bytes: Bytes) -> Result<StoredModel> {
        let artifact = format!("{FOLDER}/{id}{SUFFIX}");
        let place = self.stores().in_warehouse(&artifact)?;
        self.models.staged.lock().insert(artifact.clone());
        let (checksum, size) = (checksum_of(&bytes).await?, bytes.len() as u64);
        let stored = StoredModel { artifact, checksum, bytes: size, staged: Arc::clone(&self.models.staged) };
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        place.store.put_opts(&place.path, bytes.into(), options).await?;
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
        if checksum_of(&bytes).await? != checksum {
            return Err(artifact::damaged("the checksum does not fit"));
        }
        Ok(bytes)
    }

    /// Opens a model's file, which anybody may have written; messages call it by `location`.
    ///
    /// # Errors
    /// 54000 when it is larger than `bytes_max`, 58P01 when it is not there, and the store's.
    pub async fn open_model(place: &Resolved, location: &str, bytes_max: u64) -> Result<ModelFile> {
        let found = match place.store.get(&place.path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => {
                let message = format!("could not open file \"{location}\" for reading: No such file or directory");
                return Err(Error::new(SqlState::UndefinedFile, message));
            }
            Err(error) => return Err(error.into()),
        };
        let size = found.meta.size;
        if size > bytes_max {
            let message = format!("\"{location}\" has {size} bytes, more than a model that is imported may have");
            return Err(Error::new(SqlState::ProgramLimitExceeded, message)
                .with_hint(format!("The configuration key files.model_bytes_max is {bytes_max} bytes.")));
        }
        Ok(ModelFile { bytes: size, found })
    }

    /// All artifacts that no statement of this process is about to enter into the catalog, each with the time of its writing.
    /// Who removes some of them asks the catalog afterwards.
    ///
    /// # Errors
    /// The store's.
    pub async fn stored_models(&self) -> Result<Vec<(String, DateTime<Utc>)>> {
        let place = self.stores().in_warehouse(FOLDER)?;
        let found: Vec<_> = place.store.list(Some(&place.path)).try_collect().await?;
        let staged = self.models.staged.lock();
        let named = found.into_iter().filter_map(|object| {
            let name = object.location.filename().filter(|name| name.ends_with(SUFFIX))?;
            Some((format!("{FOLDER}/{name}"), object.last_modified))
        });
        Ok(named.filter(|(artifact, _)| !staged.contains(artifact)).collect())
    }

    /// Removes those of the artifacts, which no catalog names, that have been so for `retention` and are older than an hour; how
    /// many they were. When one
    /// was first seen is kept beside the warehouse's other notes, because a model may be dropped long after it was made.
    ///
    /// # Errors
    /// The store's: the next time goes on with the rest.
    pub async fn clear_models(&self, unnamed: Vec<(String, DateTime<Utc>)>, retention: Duration) -> Result<usize> {
        let notes = self.stores().in_warehouse(UNNAMED)?;
        let before: BTreeMap<String, DateTime<Utc>> = match notes.store.get(&notes.path).await {
            Ok(found) => serde_json::from_slice(&found.bytes().await?).unwrap_or_default(),
            Err(object_store::Error::NotFound { .. }) => BTreeMap::new(),
            Err(error) => return Err(error.into()),
        };
        let (now, retention) = (Utc::now(), TimeDelta::from_std(retention).unwrap_or(TimeDelta::MAX));
        let (mut seen, mut removed) = (BTreeMap::new(), 0);
        for (artifact, written) in unnamed {
            let since = before.get(&artifact).copied().unwrap_or(now);
            if now - since.max(written) >= retention && now - written >= AGE_MIN {
                self.remove_model(&artifact).await?;
                removed += 1;
            } else {
                seen.insert(artifact, since);
            }
        }
        if seen != before {
            let bytes = serde_json::to_vec(&seen).map_err(|error| Error::internal(error.to_string()))?;
            notes.store.put(&notes.path, bytes.into()).await?;
        }
        Ok(removed)
    }

    async fn remove_model(&self, artifact: &str) -> Result<()> {
        let place = self.stores().in_warehouse(artifact)?;
        match place.store.delete(&place.path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
