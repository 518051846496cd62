//! A transaction's own view of the tables that it writes, and their commit.
//!
//! ```text
//! pinned version ─ private ─→ the same version over an overlay ─ write … ─→ later versions that nobody else sees
//!                                                                   └─ commit ─→ the difference as one commit
//! ```
//! Every way of writing works unchanged on a private table: its commits go to the overlay. What is dropped uncommitted leaves
//! nothing behind: the files that were staged go with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deltalake::DeltaTable;
use deltalake::kernel::Add;
use parking_lot::{Mutex, MutexGuard};

use super::commit::{self, Target};
use super::feed::{Content, PrivateFeed};
use super::stores::overlay::Overlay;
use super::table::Table;
use super::write::staged::Staged;
use super::write::{Operation, StagedFile};
use super::{Freshness, Lake, log};
use crate::error::Result;

/// What the private versions of one table share.
#[derive(Debug)]
pub(super) struct Private {
    /// The version that the transaction read.
    pub(super) base: Arc<Table>,
    overlay: Arc<Overlay>,
    /// Every file that was staged, by name.
    adds: Mutex<HashMap<String, Add>>,
    /// Their guards: files that no commit names are removed.
    staged: Mutex<Vec<Arc<Staged>>>,
    /// The first version made by a statement to which rows that others add meanwhile are a conflict.
    reads_new_rows: Mutex<Option<u64>>,
    /// Whether all of its rows were looked at together: others may then have changed none.
    whole: AtomicBool,
    /// Tells background work that the table is being changed.
    _begun: Arc<()>,
    /// Whether COPY INTO has written to it.
    loads: AtomicBool,
    /// What each of its versions was made by.
    notes: Mutex<Vec<(u64, Operation)>>,
    /// What its commit tells of changed rows.
    feed: Mutex<PrivateFeed>,
}

impl Private {
    pub(super) fn note_load(&self) {
        self.loads.store(true, Ordering::Relaxed);
    }

    pub(super) fn loads(&self) -> bool {
        self.loads.load(Ordering::Relaxed)
    }

    /// A statement has made that version.
    pub(super) fn note(&self, version: u64, operation: &Operation) {
        let mut notes = self.notes.lock();
        // Of statements that a savepoint took back.
        notes.retain(|(noted, _)| *noted < version);
        notes.push((version, operation.clone()));
    }

    /// What the log is to say of all that led to that version.
    pub(super) fn described(&self, version: u64, operation: &Operation) -> Operation {
        let mut described = operation.clone();
        let notes = self.notes.lock();
        let notes: Vec<&Operation> =
            notes.iter().filter(|(noted, _)| *noted <= version).map(|(_, operation)| operation).collect();
        let mut names: Vec<&str> = notes.iter().map(|note| note.name.as_str()).collect();
        described.parameters.push(("statements".to_owned(), names.len().to_string()));
        names.dedup();
        described.parameters.push(("operations".to_owned(), names.join(", ")));
        for (key, value) in notes.iter().flat_map(|note| &note.metrics) {
            described.add_metric(key, *value);
        }
        described
    }

    /// Takes over what one statement staged.
    pub(super) fn adopt(&self, adds: &[Add], staged: Arc<Staged>, reads_new_rows: Option<u64>) {
        self.adds.lock().extend(adds.iter().map(|add| (add.path.clone(), add.clone())));
        self.staged.lock().push(staged);
        if let Some(version) = reads_new_rows {
            self.reads_new_rows.lock().get_or_insert(version);
        }
    }

    pub(super) fn feed(&self) -> MutexGuard<'_, PrivateFeed> {
        self.feed.lock()
    }

    /// Notes what one statement, whose own version that is, tells of rows.
    pub(super) fn tell(&self, version: u64, target: &Target, files: &[StagedFile]) {
        let mut feed = self.feed.lock();
        let mut gone = Vec::new();
        for file in files {
            let Some(change) = &file.change else { continue };
            match (file.content, &file.add) {
                (Content::New(kind), Some(add)) => feed.note_new(&add.path, kind, change.clone()),
                (Content::Gone(_) | Content::New(_) | Content::Rows, _) => gone.push(change.clone()),
            }
        }
        match target {
            Target::Overwrite(_) => feed.note_everything(version),
            Target::Append(_)
            | Target::Change { .. }
            | Target::Rearrange(_)
            | Target::Redefine(_)
            | Target::Private { .. }
            | Target::Create(_)
            | Target::Replace(..) => {
                if !gone.is_empty() {
                    feed.note_gone(version, gone);
                }
            }
        }
    }

    pub(super) fn reads_new_rows(&self) -> bool {
        self.reads_new_rows.lock().is_some()
    }

    /// The files that the table has now stay, and those that tell of its changes.
    pub(super) fn keep(&self, table: &Table) {
        let told = self.feed.lock().files(table).into_iter().map(|change| change.path);
        let kept: Vec<String> = table.files.iter().map(|file| file.name.clone()).chain(told).collect();
        self.staged.lock().iter().for_each(|staged| staged.keep_named(&kept));
    }

    /// The staged file of that name.
    pub(super) fn add(&self, name: &str) -> Option<Add> {
        self.adds.lock().get(name).cloned()
    }
}

impl Table {
    /// This version for a transaction to write to: what it commits is seen by who holds the result only.
    ///
    /// # Errors
    /// What reading the loaded version gives.
    pub fn private(self: &Arc<Self>) -> Result<Arc<Self>> {
        if self.private.is_some() {
            return Ok(Arc::clone(self));
        }
        let overlay = Arc::new(Overlay::new(Arc::clone(&self.location.store), &self.location.path, self.version()));
        let mut location = self.location.clone();
        location.log = Some(Arc::clone(&overlay));
        let mut delta = DeltaTable::new(log::log_store(&location));
        delta.state.clone_from(&self.delta.state);
        let private = Private {
            base: Arc::clone(self),
            overlay,
            adds: Mutex::default(),
            staged: Mutex::default(),
            reads_new_rows: Mutex::default(),
            whole: AtomicBool::new(false),
            _begun: self.location.live.begin(self.location()),
            loads: AtomicBool::new(false),
            notes: Mutex::default(),
            feed: Mutex::default(),
        };
        let mark = self.mark.clone();
        Ok(Arc::new(Self::new(location, delta, mark, Some(self), Some(Arc::new(private)))?))
    }

    /// Notes that something about all rows that the transaction sees was found true: it commits if nobody else has changed rows.
    pub fn note_whole(&self) {
        if let Some(private) = &self.private {
            private.whole.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.private.as_ref().is_some_and(|private| private.whole.load(Ordering::Relaxed))
    }

    /// Whether a transaction has changed it and nobody else sees that yet.
    pub fn is_changed_privately(&self) -> bool {
        self.private.as_ref().is_some_and(|private| private.base.version() < self.version())
    }

    /// The version that the transaction read, of a table that it writes; otherwise this one.
    pub fn seen_version(&self) -> u64 {
        self.private.as_ref().map_or_else(|| self.version(), |private| private.base.version())
    }

    /// Takes back what the transaction wrote after this version.
    pub fn cut(&self) {
        if let Some(private) = &self.private {
            private.overlay.cut(self.version());
            private.feed.lock().cut(self.version());
            let mut first = private.reads_new_rows.lock();
            *first = first.filter(|first| *first <= self.version());
        }
    }
}

impl Lake {
    /// What a transaction only added to a table, on the newest version of it, seen by nobody else either. The same table when
    /// nobody else has changed it meanwhile.
    ///
    /// # Errors
    /// 40001 when it did more than add rows, or the table has other rules now.
    pub async fn rebased(self: &Arc<Self>, table: &Arc<Table>) -> Result<Arc<Table>> {
        let Some(private) = &table.private else { return Ok(Arc::clone(table)) };
        let newest = self.table(table.location(), Freshness::Latest).await?;
        if newest.version() == private.base.version() {
            return Ok(Arc::clone(table));
        }
        let adds_alone = commit::is_append(&private.base, table)?
            && !private.reads_new_rows()
            && !private.loads()
            && !table.tells_changes();
        if !adds_alone {
            return Err(commit::conflict("The table's rows were changed by another transaction."));
        }
        commit::same_rules(&private.base, &newest)?;
        let fresh = newest.private()?;
        let adds: Vec<Add> = table.files.iter().filter_map(|file| private.add(&file.name)).collect();
        let (location, target) = (fresh.location.clone(), Target::Append(Arc::clone(&fresh)));
        let made = commit::commit(Arc::clone(self), location, target, adds.clone(), Operation::new("WRITE")).await?;
        if let Some(shared) = &made.private {
            for staged in private.staged.lock().iter() {
                shared.adopt(&adds, Arc::clone(staged), None);
            }
            let notes = private.notes.lock().iter().map(|(_, operation)| (made.version(), operation.clone())).collect();
            *shared.notes.lock() = notes;
        }
        Ok(made)
    }

    /// Commits what a transaction did to a table as one commit.
    ///
    /// # Errors
    /// 40001 when another transaction's commit forbids it. Nothing is visible then.
    pub async fn commit_private(self: &Arc<Self>, table: &Arc<Table>, operation: &Operation) -> Result<Option<u64>> {
        let Some(private) = table.private.clone().filter(|_| table.is_changed_privately()) else { return Ok(None) };
        let target = Target::Private {
            base: Arc::clone(&private.base),
            table: Arc::clone(table),
            reads_new_rows: private.reads_new_rows(),
        };
        let operation = private.described(table.version(), operation);
        let lake = Arc::clone(self);
        let made = Arc::clone(table);
        // From here on the work runs to its end, whoever waits for it.
        let task = tokio::spawn(async move {
            let location = private.base.location.clone();
            let committed = commit::commit_files(&lake, &location, &target, &[], &operation).await;
            let appears = match &committed {
                Ok(_) => true,
                Err(failure) => failure.may_appear,
            };
            if appears {
                private.keep(&made);
            }
            committed.map(|committed| Some(committed.version)).map_err(|failure| failure.error)
        });
        task.await.map_err(|error| crate::error::Error::internal(format!("a commit ended early: {error}")))?
    }
}

/// A table that a transaction has made: its files go unless it is kept.
#[derive(Debug)]
pub struct MadeTable {
    lake: Arc<Lake>,
    location: String,
    /// Whether its folder is its own.
    managed: bool,
    kept: AtomicBool,
}

impl MadeTable {
    /// Guards the table at a location.
    pub fn new(lake: &Arc<Lake>, location: &str, managed: bool) -> Self {
        let (lake, location, kept) = (Arc::clone(lake), location.to_owned(), AtomicBool::new(false));
        Self { lake, location, managed, kept }
    }

    pub fn location(&self) -> &str {
        &self.location
    }

    /// The catalog names it now, or may do so.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for MadeTable {
    fn drop(&mut self) {
        // At the end of the process there is no runtime to remove them.
        if self.kept.load(Ordering::Relaxed) || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let dropped = match self.managed {
            true => self.lake.drop_files(&self.location),
            false => self.lake.drop_named_files(&self.location),
        };
        if let Err(error) = dropped {
            tracing::warn!(table = self.location, %error, "could not remove a table that was rolled back");
        }
    }
}
