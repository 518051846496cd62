//! Which files COPY INTO has loaded into a table: never one twice, whoever loads and whatever crashes.
//!
//! ```text
//! Delta log   txn { appId: "lakegate.copy_into", version: 17… }  ← in the commit that adds the rows
//!                                     │
//! <table>/_lakegate/copy/17….json     ▼  manifest: the newest keys, and the segments with the others
//! <table>/_lakegate/copy/<uuid>.keys     segment: sorted keys of 16 bytes, merged as they grow in number
//! ```
//! A load reads the manifest that the table's version names, writes the next one under a new name, and commits its name with
//! the rows. Whoever finds at the commit that another manifest has become the table's has lost, and starts again. What no
//! commit names means nothing and is swept away after a day. Delta keeps the txn action through checkpoints and clean-up of
//! the log, OPTIMIZE and RESTORE; engines leave folders alone whose names begin with an underscore.
//!
//! A key is a hash of the file's URL, size, and ETag or time of change: 16 MB for a million files, read once by a server.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{Duration, Utc};
use deltalake::kernel::{Action, Transaction};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use parking_lot::Mutex;
use rand::Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::table::Table;
use super::{Lake, Resolved};
use crate::error::{Error, Result, SqlState};

const APP_ID: &str = "lakegate.copy_into";
const FORMAT: u32 = 1;
/// Keys that a manifest holds itself.
const RECENT_MAX: usize = 256;
/// Segments of one order of magnitude that are merged into one of the next.
const SEGMENTS_MERGED: usize = 8;
/// Of every so many loads one sweeps.
const SWEEP_LOADS: u64 = 64;
/// Nothing younger is swept: its load may still be under way.
const SWEEP_AGE: Duration = Duration::days(1);
/// Segments kept in memory, all tables together.
const CACHED_BYTES_MAX: usize = 64 << 20;
const NAMES_TRIED_MAX: u32 = 10;

/// What identifies a version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey([u8; 16]);

impl FileKey {
    /// The file of that URL. On a local disk the time of change tells versions apart, elsewhere the ETag where there is one.
    pub fn new(url: &str, file: &ObjectMeta, is_local: bool) -> Self {
        let modified = file.last_modified.timestamp_micros().to_string();
        let version = file.e_tag.as_deref().filter(|_| !is_local).unwrap_or(&modified);
        let hash = Sha256::digest(format!("{url}\0{}\0{version}", file.size));
        let mut key = [0; 16];
        key.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(key)
    }
}

/// Sorted keys.
#[derive(Debug)]
pub(super) struct Segment(Bytes);

impl Segment {
    fn parse(bytes: Bytes) -> Option<Self> {
        bytes.len().is_multiple_of(16).then_some(Self(bytes))
    }

    fn of(mut keys: Vec<FileKey>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        Self(keys.iter().flat_map(|key| key.0).collect::<Vec<u8>>().into())
    }

    fn keys(&self) -> impl Iterator<Item = FileKey> {
        self.0.chunks_exact(16).filter_map(|key| key.try_into().ok()).map(FileKey)
    }

    fn len(&self) -> usize {
        self.0.len() / 16
    }

    fn contains(&self, key: &FileKey) -> bool {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.0.get(middle * 16..middle * 16 + 16).map(|found| found.cmp(&key.0)) {
                Some(std::cmp::Ordering::Less) => low = middle + 1,
                Some(std::cmp::Ordering::Equal) => return true,
                Some(std::cmp::Ordering::Greater) | None => high = middle,
            }
        }
        false
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// Loads so far.
    loads: u64,
    segments: Vec<SegmentEntry>,
    /// In hexadecimal.
    recent: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SegmentEntry {
    name: String,
    keys: usize,
}

impl SegmentEntry {
    /// Its order of magnitude, to the base of [`SEGMENTS_MERGED`].
    fn order(&self) -> u32 {
        (self.keys / RECENT_MAX).max(1).ilog(SEGMENTS_MERGED)
    }
}

/// Segments that were read, the latest last. They never change.
#[derive(Debug, Default)]
pub(super) struct SegmentCache(Mutex<Vec<(Path, Arc<Segment>)>>);

impl SegmentCache {
    fn get(&self, path: &Path) -> Option<Arc<Segment>> {
        let mut cached = self.0.lock();
        let at = cached.iter().position(|(known, _)| known == path)?;
        let entry = cached.remove(at);
        let segment = Arc::clone(&entry.1);
        cached.push(entry);
        Some(segment)
    }

    fn put(&self, path: Path, segment: Arc<Segment>) {
        let mut cached = self.0.lock();
        cached.push((path, segment));
        let mut bytes: usize = cached.iter().map(|(_, segment)| segment.0.len()).sum();
        while bytes > CACHED_BYTES_MAX && cached.len() > 1 {
            let (_, oldest) = cached.remove(0);
            bytes -= oldest.0.len();
        }
    }
}

/// The files that a version of a table has loaded.
#[derive(Debug)]
pub struct Loads {
    location: Resolved,
    head: Option<i64>,
    manifest: Manifest,
    recent: HashSet<FileKey>,
    segments: Vec<Arc<Segment>>,
}

/// From one manifest to the next: part of the commit that adds the rows.
#[derive(Debug, Clone, Copy)]
pub struct LoadStep {
    before: Option<i64>,
    after: i64,
}

impl LoadStep {
    /// Refuses a version into which somebody else has loaded meanwhile.
    pub(super) async fn check(&self, base: &Table) -> Result<()> {
        if load_head(base).await? == self.before {
            return Ok(());
        }
        Err(Error::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
            .with_detail("Another COPY INTO has loaded files into the table.")
            .with_hint("Try the statement again."))
    }

    pub(super) fn action(&self) -> Action {
        // Without a time: a table's retention of transactions applies to those that have one.
        Action::Txn(Transaction::new(APP_ID, self.after))
    }

    /// What a transaction did as one step, if it loaded files.
    pub(super) async fn between(before: &Table, after: &Table) -> Result<Option<Self>> {
        let (before, after) = (load_head(before).await?, load_head(after).await?);
        Ok((before != after).then(|| Self { before, after: after.unwrap_or(0) }))
    }

    /// A table that replaces one has loaded nothing.
    pub(super) async fn forgetting(base: &Table) -> Result<Option<Self>> {
        Ok(load_head(base).await?.map(|head| Self { before: Some(head), after: 0 }))
    }
}

/// The manifest that a version of a table names.
async fn load_head(table: &Table) -> Result<Option<i64>> {
    let log = table.delta.log_store();
    let head = table.delta.snapshot()?.transaction_version(log.as_ref(), APP_ID).await?;
    Ok(head.filter(|head| *head != 0))
}

fn folder(location: &Resolved) -> Path {
    location.path.clone().join("_lakegate").join("copy")
}

fn manifest_path(location: &Resolved, name: i64) -> Path {
    folder(location).join(format!("{name:019}.json"))
}

fn segment_path(location: &Resolved, name: &str) -> Path {
    folder(location).join(format!("{name}.keys"))
}

impl Lake {
    /// A place in the queue of this process's loads of a table: two would read the same files for nothing.
    pub async fn load_turn(&self, table: &Table) -> tokio::sync::OwnedMutexGuard<()> {
        self.queue_named(format!("loads of {}", table.location())).lock_owned().await
    }

    /// The files that this version of the table has loaded.
    ///
    /// # Errors
    /// The store's; XX001 for a record that cannot be read; 40001 when it was swept, which takes a newer one.
    pub async fn loads(&self, table: &Table) -> Result<Loads> {
        let location = table.location.clone();
        let head = load_head(table).await?;
        let manifest = match head {
            Some(head) => read_manifest(&location, head).await?,
            None => Manifest { format: FORMAT, loads: 0, segments: Vec::new(), recent: Vec::new() },
        };
        let recent = manifest.recent.iter().map(|text| from_hex(text).ok_or_else(|| unreadable(&location)));
        let recent = recent.collect::<Result<_>>()?;
        let mut segments = Vec::with_capacity(manifest.segments.len());
        for entry in &manifest.segments {
            segments.push(self.segment(&location, entry).await?);
        }
        Ok(Loads { location, head, manifest, recent, segments })
    }

    async fn segment(&self, location: &Resolved, entry: &SegmentEntry) -> Result<Arc<Segment>> {
        let path = segment_path(location, &entry.name);
        if let Some(cached) = self.segments.get(&path) {
            return Ok(cached);
        }
        let bytes = location.store.get(&path).await?.bytes().await?;
        let segment = Segment::parse(bytes).filter(|segment| segment.len() == entry.keys);
        let segment = Arc::new(segment.ok_or_else(|| unreadable(location))?);
        self.segments.put(path, Arc::clone(&segment));
        Ok(segment)
    }
}

impl Loads {
    pub fn contains(&self, key: &FileKey) -> bool {
        self.recent.contains(key) || self.segments.iter().any(|segment| segment.contains(key))
    }

    /// Writes the record of a load that adds these files; it counts once a commit carries the step.
    ///
    /// # Errors
    /// The store's.
    pub async fn step(&self, files: impl IntoIterator<Item = FileKey>) -> Result<LoadStep> {
        let mut recent = self.recent.clone();
        recent.extend(files.into_iter().filter(|key| !self.contains(key)));
        let mut entries = self.manifest.segments.clone();
        if recent.len() > RECENT_MAX {
            let segment = self.merged(recent.drain().collect(), &mut entries);
            let name = uuid::Uuid::now_v7().simple().to_string();
            self.location.store.put(&segment_path(&self.location, &name), segment.0.clone().into()).await?;
            entries.push(SegmentEntry { name, keys: segment.len() });
        }
        let recent = recent.iter().map(|key| to_hex(*key)).collect();
        let manifest = Manifest { format: FORMAT, loads: self.manifest.loads + 1, segments: entries, recent };
        let after = self.put_manifest(&manifest).await?;
        if manifest.loads.is_multiple_of(SWEEP_LOADS) {
            self.sweep(&manifest, after);
        }
        Ok(LoadStep { before: self.head, after })
    }

    /// The keys with those of the segments that they are merged with, whose entries go.
    fn merged(&self, mut keys: Vec<FileKey>, entries: &mut Vec<SegmentEntry>) -> Segment {
        let entry = |keys: usize| SegmentEntry { name: String::new(), keys };
        loop {
            let order = entry(keys.len()).order();
            let peers = entries.iter().filter(|entry| entry.order() <= order).count();
            if peers + 1 < SEGMENTS_MERGED {
                return Segment::of(keys);
            }
            for (entry, segment) in self.manifest.segments.iter().zip(&self.segments) {
                let is_left = entries.iter().any(|left| left.name == entry.name);
                if is_left && entry.order() <= order {
                    keys.extend(segment.keys());
                }
            }
            entries.retain(|entry| entry.order() > order);
        }
    }

    /// Under a name that nobody else has: the time, and a number drawn by lot.
    async fn put_manifest(&self, manifest: &Manifest) -> Result<i64> {
        let bytes = serde_json::to_vec(manifest).map_err(|error| Error::internal(error.to_string()))?;
        for _ in 0..NAMES_TRIED_MAX {
            let name = (Utc::now().timestamp_micros() << 10) | rand::rng().random_range(0..1024);
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let path = manifest_path(&self.location, name);
            match self.location.store.put_opts(&path, bytes.clone().into(), options).await {
                Ok(_) => return Ok(name),
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::internal("no name is left for the record of loaded files"))
    }

    /// Removes in the background what neither this record nor its predecessor names.
    fn sweep(&self, manifest: &Manifest, name: i64) {
        let location = self.location.clone();
        let mut kept: HashSet<Path> =
            [self.head, Some(name)].into_iter().flatten().map(|name| manifest_path(&location, name)).collect();
        let entries = manifest.segments.iter().chain(&self.manifest.segments);
        kept.extend(entries.map(|entry| segment_path(&location, &entry.name)));
        drop(tokio::spawn(async move {
            if let Err(error) = sweep(&location, &kept).await {
                tracing::warn!(table = %location.location, %error, "old records of loaded files could not be removed");
            }
        }));
    }
}

async fn sweep(location: &Resolved, kept: &HashSet<Path>) -> Result<()> {
    let before = Utc::now() - SWEEP_AGE;
    let listed = location.store.list(Some(&folder(location)));
    let old: Vec<Path> = listed
        .try_filter(|meta| futures::future::ready(meta.last_modified < before && !kept.contains(&meta.location)))
        .map_ok(|meta| meta.location)
        .try_collect()
        .await?;
    let old = futures::stream::iter(old.into_iter().map(Ok)).boxed();
    location.store.delete_stream(old).try_collect::<Vec<_>>().await?;
    Ok(())
}

async fn read_manifest(location: &Resolved, name: i64) -> Result<Manifest> {
    let bytes = match location.store.get(&manifest_path(location, name)).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => {
            return Err(Error::new(SqlState::SerializationFailure, "the record of loaded files has changed")
                .with_hint("Try the statement again."));
        }
        Err(error) => return Err(error.into()),
    };
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|_| unreadable(location))?;
    if manifest.format > FORMAT {
        return Err(Error::unsupported("loading into a table that a newer Lakegate has loaded into"));
    }
    Ok(manifest)
}

fn unreadable(location: &Resolved) -> Error {
    let message = format!("the record of loaded files of \"{}\" cannot be read", location.location);
    Error::new(SqlState::DataCorrupted, message)
}

fn to_hex(key: FileKey) -> String {
    format!("{:032x}", u128::from_be_bytes(key.0))
}

fn from_hex(text: &str) -> Option<FileKey> {
    u128::from_str_radix(text, 16).ok().map(|key| FileKey(key.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> FileKey {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        FileKey(key)
    }

    #[test]
    fn a_key_survives_its_text() {
        assert_eq!(from_hex(&to_hex(key(7))), Some(key(7)));
    }

    #[test]
    fn a_segment_finds_its_keys_and_no_others() {
        let segment = Segment::of((0..1000).map(key).collect());
        assert_eq!(segment.len(), 1000);
        assert!((0..1000).all(|number| segment.contains(&key(number))));
        assert!((1000..2000).all(|number| !segment.contains(&key(number))));
    }

    #[tokio::test]
    async fn many_small_loads_stay_few_segments() {
        let stores = super::super::Stores::new("memory://loads", std::collections::HashMap::new()).unwrap();
        let location = stores.in_warehouse("t").unwrap();
        let mut manifest = Manifest { format: FORMAT, loads: 0, segments: Vec::new(), recent: Vec::new() };
        let mut segments = Vec::new();
        for load in 0..400_u32 {
            let recent = manifest.recent.iter().filter_map(|text| from_hex(text)).collect();
            let loads = Loads { location: location.clone(), head: None, manifest, recent, segments };
            let step = loads.step((load * 100..load * 100 + 100).map(key)).await.unwrap();
            manifest = read_manifest(&location, step.after).await.unwrap();
            segments = Vec::new();
            for entry in &manifest.segments {
                let bytes = location.store.get(&segment_path(&location, &entry.name)).await.unwrap();
                segments.push(Arc::new(Segment::parse(bytes.bytes().await.unwrap()).unwrap()));
            }
        }
        assert!(manifest.segments.len() < 3 * SEGMENTS_MERGED, "{}", manifest.segments.len());
        let recent = manifest.recent.iter().filter_map(|text| from_hex(text)).collect();
        let loads = Loads { location, head: None, manifest, recent, segments };
        assert!((0..40_000).all(|number| loads.contains(&key(number))));
        assert!((40_000..41_000).all(|number| !loads.contains(&key(number))));
    }
}
