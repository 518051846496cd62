//! Earlier versions of a table: found by number or time, loaded on demand, a few of them kept.
//!
//! A version can be read while the log leads to it and its data files are there. What is missing is found out when it is
//! loaded, not in the middle of its rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use deltalake::DeltaTable;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;

use super::history::{self, Commit};
use super::stores::{Resolved, list_linked};
use super::table::Table;
use super::{Lake, log};
use crate::error::{Error, Result, SqlState};

/// Delta's property for commits that carry their own time.
const COMMIT_TIMES: &str = "delta.enableInCommitTimestamps";
/// Files that are asked for one by one; of more than these the folder is listed.
const ASKED_MAX: usize = 64;
const ASKED_AT_A_TIME: usize = 16;
/// Versions looked at to tell which one is the oldest whose files are there.
const LOOKED_BACK_MAX: u64 = 1_000;

/// What the folder of a table's log holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// When each commit was stored. Each is later than the one before, if by a microsecond.
    pub(super) commits: BTreeMap<u64, DateTime<Utc>>,
    pub(super) checkpoints: BTreeSet<u64>,
}

impl Listing {
    pub(super) async fn read(location: &Resolved) -> Result<Self> {
        let folder: Path = location.path.clone().join("_delta_log");
        let mut listing = Self::default();
        let mut listed = location.store.list(Some(&folder));
        while let Some(meta) = listed.try_next().await? {
            let is_direct = meta.location.prefix_match(&folder).is_some_and(|rest| rest.count() == 1);
            let Some((version, kind)) = meta.location.filename().filter(|_| is_direct).and_then(numbered) else {
                continue;
            };
            if kind == "json" {
                listing.commits.insert(version, meta.last_modified);
            } else if kind.starts_with("checkpoint") {
                listing.checkpoints.insert(version);
            }
        }
        let mut before: Option<DateTime<Utc>> = None;
        for time in listing.commits.values_mut() {
            if let Some(before) = before {
                *time = (*time).max(before + chrono::TimeDelta::microseconds(1));
            }
            before = Some(*time);
        }
        Ok(listing)
    }

    /// The oldest version that the log still leads to.
    pub(super) fn oldest(&self, newest: u64) -> u64 {
        let mut first = newest;
        while first > 0 && self.commits.contains_key(&first) {
            if first == 1 && self.commits.contains_key(&0) {
                return 0;
            }
            first -= 1;
        }
        // `first` has no commit: a checkpoint there or later must do.
        self.checkpoints.range(first..=newest).next().copied().unwrap_or(newest)
    }
}

/// `00000000000000000003.json` is version 3 and `json`.
fn numbered(name: &str) -> Option<(u64, &str)> {
    let (number, rest) = name.split_once('.')?;
    (number.len() == 20).then_some(())?;
    Some((number.parse().ok()?, rest))
}

/// A few earlier versions, the least lately used goes first.
#[derive(Debug, Default)]
pub(super) struct PastCache {
    entries: Mutex<Vec<Arc<Table>>>,
    versions_max: usize,
    files_max: usize,
}

impl PastCache {
    pub(super) fn new(versions_max: usize, files_max: usize) -> Self {
        Self { entries: Mutex::default(), versions_max, files_max }
    }

    fn get(&self, place: &str, version: u64) -> Option<Arc<Table>> {
        let mut entries = self.entries.lock();
        let found = entries.iter().position(|table| table.location() == place && table.version() == version)?;
        let table = entries.remove(found);
        entries.push(Arc::clone(&table));
        Some(table)
    }

    fn put(&self, table: Arc<Table>) {
        let mut entries = self.entries.lock();
        entries.retain(|kept| kept.location() != table.location() || kept.version() != table.version());
        entries.push(table);
        let files = |entries: &[Arc<Table>]| entries.iter().map(|table| table.num_files()).sum::<usize>();
        while entries.len() > self.versions_max || entries.len() > 1 && files(&entries) > self.files_max {
            entries.remove(0);
        }
    }

    /// Forgets the versions of a table: their files may be gone.
    pub(super) fn forget(&self, place: &str) {
        self.entries.lock().retain(|table| table.location() != place);
    }
}

/// The version that others see: of a transaction's own view the one that it began with.
pub(super) fn public(newest: &Arc<Table>) -> Arc<Table> {
    newest.private.as_ref().map_or_else(|| Arc::clone(newest), |private| Arc::clone(&private.base))
}

impl Lake {
    /// An earlier version of a table, whose newest one is given.
    ///
    /// # Errors
    /// 22023 for a version that is not there yet, 55000 for one that is gone.
    pub async fn version(&self, newest: &Arc<Table>, version: u64) -> Result<Arc<Table>> {
        let newest = public(newest);
        if version == newest.version() {
            return Ok(newest);
        }
        let location = &newest.location;
        if version > newest.version() {
            let oldest = Listing::read(location).await?.oldest(newest.version());
            let message = format!("version {version} of the table does not exist");
            return Err(Error::new(SqlState::InvalidParameterValue, message).with_detail(range(oldest, &newest)));
        }
        if let Some(known) = self.past.get(newest.location(), version)
            && known.stands().await?
        {
            return Ok(known);
        }
        let mut delta = DeltaTable::new(log::log_store(location));
        if let Err(error) = delta.load_version(version).await {
            let oldest = Listing::read(location).await?.oldest(newest.version());
            if version >= oldest {
                return Err(error.into());
            }
            let message = format!("version {version} of the table cannot be read any more");
            return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message)
                .with_detail(format!("Its commits were removed from the log. {}", range(oldest, &newest))));
        }
        let table = Arc::new(Table::read(location.clone(), delta, Some(&newest)).await?);
        check_files(&table, &newest).await?;
        self.past.put(Arc::clone(&table));
        Ok(table)
    }

    /// The version of a table that was its newest at that time.
    ///
    /// # Errors
    /// 22023 for a time before the oldest version that is left, or one to come.
    pub async fn version_at(&self, newest: &Arc<Table>, time: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64> {
        let newest = public(newest);
        if time > now.max(Utc::now()) {
            let message = format!("timestamp {} lies in the future", shown(time));
            return Err(Error::new(SqlState::InvalidParameterValue, message)
                .with_detail(format!("The newest version of the table is {}.", newest.version())));
        }
        let listing = Listing::read(&newest.location).await?;
        let times = commit_times(&newest, &listing).await?;
        let found = times.iter().rev().find(|(_, at)| **at <= time).map(|(version, _)| *version);
        let oldest = listing.oldest(newest.version());
        match found {
            Some(version) if version >= oldest => Ok(version),
            Some(_) | None => {
                let since = times.get(&oldest).map(|at| format!(", of {}", shown(*at))).unwrap_or_default();
                let message = format!("timestamp {} is before the oldest version of the table", shown(time));
                Err(Error::new(SqlState::InvalidParameterValue, message)
                    .with_detail(format!("The oldest version left is {oldest}{since}.")))
            }
        }
    }
}

impl Lake {
    /// The first version of a table that was made at that time or later.
    ///
    /// # Errors
    /// 22023 when there is none.
    pub async fn version_from(&self, newest: &Arc<Table>, time: DateTime<Utc>) -> Result<u64> {
        let newest = public(newest);
        let listing = Listing::read(&newest.location).await?;
        let times = commit_times(&newest, &listing).await?;
        times.iter().find(|(_, at)| **at >= time).map(|(version, _)| *version).ok_or_else(|| {
            let message = format!("timestamp {} is after the newest version of the table", shown(time));
            Error::new(SqlState::InvalidParameterValue, message)
                .with_detail(format!("The newest version is {}.", newest.version()))
        })
    }
}

/// When the commits up to that version were made.
pub(super) async fn commit_times(newest: &Table, listing: &Listing) -> Result<BTreeMap<u64, DateTime<Utc>>> {
    let mut times: BTreeMap<u64, DateTime<Utc>> =
        listing.commits.range(..=newest.version()).map(|(version, time)| (*version, *time)).collect();
    if newest.properties().get(COMMIT_TIMES).is_none_or(|value| value != "true") {
        return Ok(times);
    }
    let versions: Vec<u64> = times.keys().copied().collect();
    let commits = futures::stream::iter(versions).map(|version| history::read(&newest.location, version));
    let mut commits = commits.buffered(ASKED_AT_A_TIME);
    while let Some(commit) = commits.try_next().await? {
        if let Some(Commit { version, in_commit_time: Some(time), .. }) = commit {
            times.insert(version, time);
        }
    }
    Ok(times)
}

pub(super) fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn range(oldest: u64, newest: &Table) -> String {
    format!("The oldest version left is {oldest}, the newest one {}.", newest.version())
}

/// Refuses a version some of whose files were removed: only what the newest version does not have can be gone.
pub(super) async fn check_files(table: &Table, newest: &Table) -> Result<()> {
    let gone = gone(table, newest).await?;
    if gone == 0 {
        return Ok(());
    }
    let oldest = oldest_whole(newest).await?;
    let message = format!("version {} of the table cannot be read any more", table.version());
    Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message)
        .with_detail(format!("{gone} of its data files were removed. {}", range(oldest, newest)))
        .with_hint("VACUUM removes files that no version within its retention time has."))
}

/// How many files of the version are not in the store.
async fn gone(table: &Table, newest: &Table) -> Result<usize> {
    missing(&table.location, table.files.iter().map(|file| &file.path), newest).await
}

/// How many of these files are not in the store. Those of the newest version are.
pub(super) async fn missing(location: &Resolved, files: impl Iterator<Item = &Path>, newest: &Table) -> Result<usize> {
    let here: HashSet<&Path> = newest.files.iter().map(|file| &file.path).collect();
    let paths: Vec<Path> = files.filter(|path| !here.contains(path)).cloned().collect();
    if paths.len() > ASKED_MAX {
        let stored = stored(location).await?;
        return Ok(paths.iter().filter(|path| !stored.contains(path)).count());
    }
    let store = &location.store;
    let asked = futures::stream::iter(paths).map(|path| async move {
        match store.head(&path).await {
            Ok(_) => Ok(0),
            Err(object_store::Error::NotFound { .. }) => Ok(1),
            Err(error) => Err(Error::from(error)),
        }
    });
    asked.buffer_unordered(ASKED_AT_A_TIME).try_fold(0, |sum, one| std::future::ready(Ok(sum + one))).await
}

/// The files in a table's folder.
async fn stored(location: &Resolved) -> Result<HashSet<Path>> {
    let listed = list_linked(&location.store, &location.url, Some(&location.path));
    Ok(listed.map_ok(|meta| meta.location).try_collect().await?)
}

/// The oldest version whose files are all there, looked for from the newest one back.
async fn oldest_whole(newest: &Table) -> Result<u64> {
    let location = &newest.location;
    let listing = Listing::read(location).await?;
    let stored = stored(location).await?;
    let oldest = listing.oldest(newest.version()).max(newest.version().saturating_sub(LOOKED_BACK_MAX));
    let mut version = newest.version();
    while version > oldest {
        let Some(commit) = history::read(location, version).await? else { break };
        let whole = commit.removes.iter().all(|removed| stored.contains(&removed.stored_at(location)));
        if !whole {
            break;
        }
        version -= 1;
    }
    Ok(version)
}
