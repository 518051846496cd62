//! Delta tables in object storage: read at a pinned version, written in one commit.
//!
//! ```text
//! stores   URL → object store (one per bucket, counted)
//! Lake     location → Arc<Table>: cache of loaded Delta snapshots, freshness, create, write, drop
//! Table    one version of one table: columns, constraints, statistics, provider() for scans
//! write    partitions of rows → gate → storage encoding → Parquet staged in parallel → one commit by put-if-absent
//! ```
//! Called by `plan`, which pins tables and reads, and by `execute`, which alone may call what commits. It knows no SQL text,
//! no names of the catalog and no session.

mod analyze;
mod cache;
mod change;
mod changes;
pub mod columns;
mod commit;
mod convert;
mod data_file;
mod decided;
mod decision;
mod dropped;
mod evolve;
mod expectation_results;
mod feed;
pub mod files;
mod footers;
mod generation;
mod history;
mod interval;
pub mod kept;
mod live;
mod loads;
mod log;
mod maintain;
mod models;
pub mod parts;
mod past;
mod rearrangement;
mod redefinition;
mod refreshed;
pub mod rejected_rows;
mod scan;
pub mod several;
mod statistics;
pub mod stores;
mod table;
#[cfg(test)]
mod tests;
mod transaction;
mod upkeep;
mod vacuum;
mod vectors;
pub mod write;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::Result;
pub use change::{Change, Counts, Returned, RowAction};
pub use changes::{ChangedFiles, Changes};
pub use columns::{ColumnSpec, TableCheck, TableSpec};
pub use commit::pause;
pub use decision::Decision;
pub use dropped::DroppedTable;
pub use history::{Detail, History, HistoryEntry};
pub use loads::{FileKey, LoadStep, Loads};
pub use models::{ModelFile, READ_TIMES, StoredModel};
pub use rearrangement::Restored;
pub use redefinition::{RedefinedColumn, Redefinition, RowsUnder};
pub use refreshed::{Refreshed, Source};
pub use scan::FILES_SKIPPED;
pub use several::is_transaction_mark;
pub use stores::{Resolved, Stores};
pub use table::{CLUSTER_COLUMNS, Table};
pub use transaction::MadeTable;
pub use vacuum::{Told, Vacuumed};
pub use write::{Arranged, Arrangement, Input, Operation, Scope, Standing, WriteMode, WriteRequest, Written};

/// How new a table must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The newest version there is now: at least one request to the store.
    Latest,
    /// A version that was the newest at most so long ago.
    Within(Duration),
    /// This version or a newer one.
    AtLeast(u64),
}

/// What `create` does where a table is already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateMode {
    /// It is an error; a definition without columns adopts the table.
    New,
    /// Its rows and definition are replaced in one commit; older versions stay readable.
    Replace,
}

/// Limits and habits of a [`Lake`].
#[derive(Debug, Clone)]
pub struct LakeOptions {
    /// Tables kept loaded.
    pub cached_tables_max: usize,
    /// Data files of all loaded tables together; each takes about a kilobyte.
    pub cached_files_max: usize,
    /// Earlier versions kept loaded, of all tables together.
    pub cached_versions_max: usize,
    /// A checkpoint is written after so many commits, unless the table says otherwise.
    pub checkpoint_commits: u64,
    /// Files that a table's newest version does not have any more stay for this time, unless the table says otherwise.
    pub retention: Duration,
    /// 1 (fast) to 22 (small).
    pub zstd_level: i32,
    pub row_group_rows_max: usize,
    pub row_group_bytes_max: usize,
    /// A data file is closed when it is larger.
    pub file_bytes_max: usize,
    /// Files are put together up to this size.
    pub target_bytes: u64,
    /// Files that one stream of rows may have open at a time, one for each partition.
    pub open_partitions_max: usize,
    /// With more partitions than that, a stream's rows are gathered up to so many bytes before they are cut up into files.
    pub gathered_bytes_max: usize,
    /// Tasks that encode the rows of one statement.
    pub writers_max: usize,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self {
            cached_tables_max: 1_000,
            cached_files_max: 200_000,
            cached_versions_max: 16,
            checkpoint_commits: 50,
            retention: Duration::from_secs(7 * 24 * 3600),
            zstd_level: 1,
            row_group_rows_max: 1 << 20,
            row_group_bytes_max: 128 << 20,
            file_bytes_max: 512 << 20,
            target_bytes: 256 << 20,
            open_partitions_max: 64,
            gathered_bytes_max: 64 << 20,
            writers_max: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}

/// The tables of the process: loaded snapshots, and the ways to change them.
#[derive(Debug)]
pub struct Lake {
    stores: Arc<Stores>,
    options: LakeOptions,
    cache: cache::TableCache,
    past: past::PastCache,
    segments: loads::SegmentCache,
    /// One queue for each table that is being written: writers of this process do not race each other in the store.
    queues: Mutex<HashMap<String, std::sync::Weak<tokio::sync::Mutex<()>>>>,
    /// Appends that wait for a commit.
    groups: commit::group::Groups,
    /// Places whose files are being removed: nothing new may go there.
    dropping: Arc<Mutex<HashSet<String>>>,
    /// Where transactions over several tables are decided.
    outcomes: OnceLock<Arc<dyn several::Outcomes>>,
    models: models::ModelCache,
    /// Told of each table that is dropped.
    drops: tokio::sync::Notify,
    /// Places that this process has written to since somebody asked.
    written: Mutex<HashSet<String>>,
    /// Results of expectations on their way into their log.
    waiting: expectation_results::Waiting,
    /// The day for which each log was last rid of old rows.
    expired: Mutex<HashMap<kept::Kept, i32>>,
}

impl Lake {
    pub fn new(stores: Arc<Stores>, options: LakeOptions) -> Arc<Self> {
        let cache = cache::TableCache::new(options.cached_tables_max, options.cached_files_max);
        let past = past::PastCache::new(options.cached_versions_max, options.cached_files_max);
        Arc::new(Self {
            stores,
            options,
            cache,
            past,
            segments: loads::SegmentCache::default(),
            queues: Mutex::default(),
            groups: commit::group::Groups::default(),
            dropping: Arc::default(),
            outcomes: OnceLock::new(),
            models: models::ModelCache::default(),
            drops: tokio::sync::Notify::new(),
            written: Mutex::default(),
            waiting: expectation_results::Waiting::default(),
            expired: Mutex::default(),
        })
    }

    pub fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }

    pub fn options(&self) -> &LakeOptions {
        &self.options
    }

    /// Of the table cache: tables found loaded, tables that had to be loaded, tables kept.
    pub fn cache_figures(&self) -> [u64; 3] {
        self.cache.figures()
    }

    /// The table at a path or URL, pinned at one version.
    ///
    /// # Errors
    /// 58P01 when there is no Delta table; 0A000 when it needs a feature that we cannot read; the store's errors.
    pub async fn table(&self, location: &str, freshness: Freshness) -> Result<Arc<Table>> {
        let table = self.cache.table(&self.stores.resolve(location)?, freshness).await?;
        if table.pending().is_none() {
            return Ok(table);
        }
        Box::pin(self.settled_for_reading(table)).await
    }

    /// The table at an older version than the newest.
    ///
    /// # Errors
    /// As [`Lake::table`], and when the version is no longer there.
    pub async fn table_at(&self, location: &str, version: u64) -> Result<Arc<Table>> {
        log::load_at(&self.stores.resolve(location)?, version).await
    }

    /// The place that a path or URL means, as [`Table::location`] has it: the same text for the same place.
    pub fn place(&self, location: &str) -> Result<String> {
        Ok(self.stores.resolve(location)?.location.to_string())
    }

    /// The same text for all spellings of a place that the schemes of its store allow; of the local disk, links are not followed.
    pub fn identity(&self, location: &str) -> Result<String> {
        Ok(self.stores.resolve(location)?.identity())
    }

    /// Makes a table without rows. A definition without columns adopts the Delta table that is at its location.
    ///
    /// # Errors
    /// 42P07 when a table is there already (with [`CreateMode::New`]), 0A000 for types and properties that we cannot write,
    /// 40001 when others kept changing the table.
    pub async fn create_as(
        self: &Arc<Self>,
        spec: &TableSpec,
        mode: CreateMode,
        operation: Operation,
    ) -> Result<Arc<Table>> {
        let location = self.stores.resolve(&spec.location)?;
        if spec.columns.is_empty() && mode == CreateMode::New {
            return self.cache.table(&location, Freshness::Latest).await;
        }
        let target = match mode {
            CreateMode::New => commit::Target::Create(spec.clone()),
            CreateMode::Replace => commit::Target::Replace(spec.clone(), None),
        };
        commit::commit(Arc::clone(self), location, target, Vec::new(), operation).await
    }

    #[cfg(test)]
    async fn create(self: &Arc<Self>, spec: &TableSpec, mode: CreateMode) -> Result<Arc<Table>> {
        self.create_as(spec, mode, Operation::new("CREATE TABLE")).await
    }

    /// Runs the rows of a request through its gate into the table, all of them or none.
    ///
    /// # Errors
    /// The gate's and the input's; 57014 when the token was cancelled; 40001 when a concurrent change forbids the commit;
    /// 53200 when the pool has no memory left. After an error nothing is visible and staged files are removed.
    ///
    /// Dropping the future before the commit began commits nothing; a commit that began runs to its end.
    pub async fn write(self: &Arc<Self>, request: WriteRequest) -> Result<Written> {
        write::write(Arc::clone(self), request).await
    }

    /// Where a new managed table of that name goes: `<warehouse>/<schema>/<table>`, or a numbered folder beside it while the
    /// files of a dropped table of the same name are still there.
    pub async fn free_location(&self, schema: &str, name: &str) -> Result<String> {
        let folder = |text: &str| percent_encode(text);
        let base = format!("{}/{}", folder(schema), folder(name));
        let plain = self.stores.in_warehouse(&base)?;
        if !self.is_being_dropped(&plain) && self.is_free(&plain).await? {
            return Ok(plain.location.to_string());
        }
        let unique = format!("{base}-{}", uuid::Uuid::now_v7().simple());
        Ok(self.stores.in_warehouse(&unique)?.location.to_string())
    }

    /// Whether nothing is stored under the folder.
    async fn is_free(&self, folder: &Resolved) -> Result<bool> {
        use futures::TryStreamExt;
        let mut listed = stores::list_linked(&folder.store, &folder.url, Some(&folder.path));
        Ok(listed.try_next().await?.is_none())
    }

    /// Removes the files of a table that nobody has seen, in the background.
    pub fn drop_files(self: &Arc<Self>, location: &str) -> Result<()> {
        let location = self.stores.resolve(location)?;
        self.cache.forget(&location);
        self.dropping.lock().insert(location.location.to_string());
        maintain::drop_files(location, Arc::clone(&self.dropping));
        Ok(())
    }

    /// Removes a table that nobody has seen from a folder that may hold more: its log, and the files that it names.
    pub fn drop_named_files(self: &Arc<Self>, location: &str) -> Result<()> {
        let location = self.stores.resolve(location)?;
        self.cache.forget(&location);
        self.dropping.lock().insert(location.location.to_string());
        maintain::drop_named_files(location, Arc::clone(&self.dropping));
        Ok(())
    }

    /// A place in the queue of the statements of this process that change rows of a table: they would undo each other's work
    /// otherwise, each seeing only at its end that another one changed the same files. Appends do not wait.
    pub async fn turn(&self, table: &Table) -> tokio::sync::OwnedMutexGuard<()> {
        self.queue_named(format!("changes of {}", table.location())).lock_owned().await
    }

    /// The queue of the table's commits: while it is held nobody else of this process commits. For a statement that others'
    /// appends have overtaken; its commit says so by [`Operation::alone`].
    pub async fn hold(&self, table: &Table) -> tokio::sync::OwnedMutexGuard<()> {
        self.queue(&table.location).lock_owned().await
    }

    /// A place in the queue of the transactions of this process that ask something of all rows of a table before they commit:
    /// one that commits while another one asks would have that one ask again.
    pub async fn asking_turn(&self, location: &str) -> tokio::sync::OwnedMutexGuard<()> {
        self.queue_named(format!("questions of {location}")).lock_owned().await
    }

    fn is_being_dropped(&self, location: &Resolved) -> bool {
        self.dropping.lock().contains(location.location.as_str())
    }

    /// The queue of those who commit to one table.
    fn queue(&self, location: &Resolved) -> Arc<tokio::sync::Mutex<()>> {
        self.queue_named(location.location.to_string())
    }

    pub(in crate::lake) fn queue_named(&self, name: String) -> Arc<tokio::sync::Mutex<()>> {
        let mut queues = self.queues.lock();
        if let Some(queue) = queues.get(&name).and_then(std::sync::Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::new(tokio::sync::Mutex::new(()));
        queues.insert(name, Arc::downgrade(&queue));
        queue
    }
}

/// A name as one path segment of every store: letters, digits, `_`, `-` and what is not ASCII stay as they are.
fn percent_encode(name: &str) -> String {
    // Encoded or not, a URL's `.` and `..` are steps and no names.
    if matches!(name, "." | "..") {
        return format!("_{}", "%2E".repeat(name.len()));
    }
    let mut out = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '_' | '-') || !character.is_ascii() {
            out.push(character);
        } else {
            out.push_str(&format!("%{:02X}", u32::from(character)));
        }
    }
    out
}
