//! Loaded tables by location: each is loaded once however many ask, refreshed as freshly as asked, and forgotten when there
//! are too many.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::stores::Resolved;
use super::table::Table;
use super::{Freshness, log};
use crate::error::Result;

/// Asking for the next version alone would miss it if the log was cleaned meanwhile; after this time the log is listed.
const LIST_AFTER: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct TableCache {
    entries: Mutex<HashMap<String, Arc<Entry>>>,
    tables_max: usize,
    files_max: usize,
    clock: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Default)]
struct Entry {
    loaded: Mutex<Option<Loaded>>,
    /// Held while somebody loads or refreshes: all others wait for that one answer.
    loading: tokio::sync::Mutex<()>,
    used: AtomicU64,
}

#[derive(Debug, Clone)]
struct Loaded {
    table: Arc<Table>,
    /// When the question was asked whose answer `table` is.
    checked: Instant,
    listed: Instant,
}

impl TableCache {
    pub(super) fn new(tables_max: usize, files_max: usize) -> Self {
        Self {
            entries: Mutex::default(),
            tables_max,
            files_max,
            clock: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The table at least as new as asked.
    pub(super) async fn table(&self, location: &Resolved, freshness: Freshness) -> Result<Arc<Table>> {
        let asked = Instant::now();
        let entry = self.entry(location);
        if let Some(table) = entry.good_enough(asked, freshness) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(table);
        }
        let _one_loads = entry.loading.lock().await;
        if let Some(table) = entry.good_enough(asked, freshness) {
            return Ok(table);
        }
        let loaded = entry.loaded.lock().clone();
        let known = loaded.as_ref().map(|loaded| Arc::clone(&loaded.table));
        let loaded = match loaded {
            Some(loaded) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                Box::pin(refresh(location, loaded)).await
            }
            None => {
                self.misses.fetch_add(1, Ordering::Relaxed);
                Box::pin(load(location)).await
            }
        };
        match loaded {
            Ok(loaded) => {
                let table = entry.keep(loaded);
                if !known.is_some_and(|known| Arc::ptr_eq(&known, &table)) {
                    self.evict();
                }
                Ok(table)
            }
            Err(error) => {
                // Whatever is there now is not what we hold.
                self.forget(location);
                Err(error)
            }
        }
    }

    /// Takes over what an own commit made, which was the newest version when its put began: nobody has to ask the store.
    pub(super) fn put(&self, table: Arc<Table>, put_began: Instant) {
        let entry = self.entry(&table.location);
        entry.keep(Loaded { table, checked: put_began, listed: put_began });
        self.evict();
    }

    /// Tables found loaded, tables that had to be loaded, and tables that are kept.
    pub(super) fn figures(&self) -> [u64; 3] {
        let entries = self.entries.lock().len() as u64;
        [self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed), entries]
    }

    /// Forgets a table that was dropped.
    pub(super) fn forget(&self, location: &Resolved) {
        self.entries.lock().remove(location.location.as_str());
    }

    fn entry(&self, location: &Resolved) -> Arc<Entry> {
        let mut entries = self.entries.lock();
        let entry = match entries.get(location.location.as_str()) {
            Some(entry) => Arc::clone(entry),
            None => Arc::clone(entries.entry(location.location.to_string()).or_default()),
        };
        entry.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        entry
    }

    /// Forgets the tables that were used least lately. Statements that hold one keep it.
    fn evict(&self) {
        let mut entries = self.entries.lock();
        let files = |entry: &Entry| entry.loaded.lock().as_ref().map_or(0, |loaded| loaded.table.num_files());
        let mut total: usize = entries.values().map(|entry| files(entry)).sum();
        while entries.len() > 1 && (entries.len() > self.tables_max || total > self.files_max) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used.load(Ordering::Relaxed));
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { return };
            if let Some(entry) = entries.remove(&key) {
                total = total.saturating_sub(files(&entry));
            }
        }
    }
}

impl Entry {
    fn good_enough(&self, asked: Instant, freshness: Freshness) -> Option<Arc<Table>> {
        let loaded = self.loaded.lock();
        let loaded = loaded.as_ref()?;
        let good = match freshness {
            Freshness::Latest => loaded.checked >= asked,
            Freshness::Within(age) => loaded.checked >= asked || asked - loaded.checked <= age,
            Freshness::AtLeast(version) => loaded.table.version() >= version,
        };
        good.then(|| Arc::clone(&loaded.table))
    }

    /// Keeps the newer of what is loaded and what is known already.
    fn keep(&self, new: Loaded) -> Arc<Table> {
        let mut loaded = self.loaded.lock();
        match loaded.as_mut() {
            // A lower version of a table that is there means that it was dropped and made again.
            Some(known) if known.table.version() > new.table.version() && known.checked >= new.checked => {
                Arc::clone(&known.table)
            }
            Some(_) | None => {
                let table = Arc::clone(&new.table);
                *loaded = Some(new);
                table
            }
        }
    }
}

async fn load(location: &Resolved) -> Result<Loaded> {
    let asked = Instant::now();
    let delta = log::load(location).await?.ok_or_else(|| log::missing(location))?;
    let table = Arc::new(Table::read(location.clone(), delta, None).await?);
    Ok(Loaded { table, checked: asked, listed: asked })
}

async fn refresh(location: &Resolved, loaded: Loaded) -> Result<Loaded> {
    let asked = Instant::now();
    let (stands, next) = futures::try_join!(loaded.table.stands(), log::mark(location, loaded.table.version() + 1))?;
    if !stands {
        // Another table lies there now, or the log was cleaned.
        return load(location).await;
    }
    let list = asked.saturating_duration_since(loaded.listed) > LIST_AFTER;
    if !list && next.is_none() {
        return Ok(Loaded { checked: asked, ..loaded });
    }
    let mut delta = loaded.table.delta.clone();
    delta.update_state().await?;
    let table = Arc::new(Table::read(location.clone(), delta, Some(&loaded.table)).await?);
    Ok(Loaded { table, checked: asked, listed: asked })
}
