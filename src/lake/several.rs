//! One transaction's commits of several tables: all of them or none.
//!
//! ```text
//! reserve ─ each table, in the order of their places: the commit is recorded beside the tables, and the log says who comes next
//!    └─ the caller decides by one put, elsewhere (see [`Outcomes`])
//!         ├─ apply    the recorded commits go into the logs
//!         └─ release  the logs are free again
//! ```
//! Whoever meets a reserved table finishes what was decided, so that no crash leaves half of it: a reader what is committed,
//! a writer also what nobody decides any more.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::kernel::transaction::CommitData;
use deltalake::kernel::{Action, Metadata, MetadataExt};
use deltalake::logstore::object_store;
use deltalake::protocol::DeltaOperation;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, PutPayload};
use tokio::sync::OwnedMutexGuard;

use super::commit::{self, Target};
use super::log::{self, Put};
use super::stores::Resolved;
use super::table::Table;
use super::transaction::Private;
use super::write::Operation;
use super::{Freshness, Lake};
use crate::error::{Error, Result, SqlState};

/// Table property: `<transaction>/<number of its commit>`, while the next version is that transaction's.
const PENDING: &str = "lakegate.pendingTransaction";
/// Table property: the last transaction over several tables that changed this one.
const LAST: &str = "lakegate.transaction";
/// Folder of the commits that wait, in the warehouse.
const RECORDS: &str = "_lakegate/transactions";
/// Key in a commit's info that tells the applied commit from others.
const APPLIED_KEY: &str = "lakegate.applied";
/// Key in a recorded commit's info with the place of its table, as it is kept: a log that somebody else wrote may ask for another
/// table's commit. Older servers left it out.
const TABLE_KEY: &str = "lakegate.table";

/// A writer waits so long for the decision of another server before it decides itself.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
const ATTEMPTS_MAX: u32 = 40;

/// Where it is decided whether a transaction over several tables has committed.
#[async_trait]
pub trait Outcomes: fmt::Debug + Send + Sync {
    /// Whether it has, as of now.
    async fn is_committed(&self, id: &str) -> Result<bool>;

    /// Whether it has; if not, it never will.
    async fn settle(&self, id: &str) -> Result<bool>;

    /// The places of its tables as they are kept, if it has.
    async fn places(&self, id: &str) -> Result<Vec<String>>;
}

/// Tables whose next version is reserved. Other writers of this process wait while it lives.
#[derive(Debug)]
pub struct Reserved {
    id: String,
    tables: Vec<ReservedTable>,
}

#[derive(Debug)]
struct ReservedTable {
    table: Arc<Table>,
    private: Arc<Private>,
    /// The version that says so.
    version: u64,
    _queue: OwnedMutexGuard<()>,
}

impl Reserved {
    /// Place and reserved version of each table.
    pub fn places(&self) -> impl Iterator<Item = (&str, u64)> {
        self.tables.iter().map(|reserved| (reserved.private.base.location(), reserved.version))
    }

    /// The staged files stay: the commits may still be applied by others.
    pub fn keep_files(&self) {
        for reserved in &self.tables {
            reserved.private.keep(&reserved.table);
        }
    }
}

/// What became of a committed transaction's changes.
#[derive(Debug)]
pub struct Written {
    /// The versions that they made of the tables' places, where that is known.
    pub versions: HashMap<String, u64>,
    /// The places of tables without them, because another program came between.
    pub lost: Vec<String>,
}

impl Table {
    /// The transaction that has reserved the next version, and the number of its commit.
    pub(super) fn pending(&self) -> Option<(&str, &str)> {
        // A transaction's own view goes on from the version that it read, whatever becomes of that reservation.
        if self.private.is_some() {
            return None;
        }
        let (id, number) = self.properties().get(PENDING)?.split_once('/')?;
        // Anybody may have written the log, and both become parts of a path.
        let is_id = uuid::Uuid::try_parse(id).is_ok_and(|parsed| parsed.to_string() == id);
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_id && is_number).then_some((id, number))
    }

    /// Whether the version was reserved by that transaction and not written yet.
    pub fn awaits(&self, id: &str) -> bool {
        self.pending().is_some_and(|(pending, _)| pending == id)
    }

    /// Whether a transaction over several tables has ever changed it.
    pub fn was_changed_with_others(&self) -> bool {
        self.properties().contains_key(LAST) || self.properties().contains_key(PENDING)
    }
}

/// Whether transactions keep the property for themselves.
pub fn is_transaction_mark(key: &str) -> bool {
    matches!(key, PENDING | LAST)
}

/// The metadata as the user gave it.
pub(super) fn without_marks(metadata: &Metadata) -> Result<Metadata> {
    let mut metadata = metadata.clone();
    for key in [PENDING, LAST] {
        if metadata.configuration().contains_key(key) {
            metadata = marked(metadata.remove_config_key(key))?;
        }
    }
    Ok(metadata)
}

/// A definition for the version after `base`: of the transactions that reserved or changed the table, it tells what `base` does.
pub(super) fn with_marks_of(metadata: &Metadata, base: &Table) -> Result<Metadata> {
    let metadata = without_marks(metadata)?;
    match base.properties().get(LAST) {
        Some(last) => marked(metadata.add_config_key(LAST.to_owned(), last.clone())),
        None => Ok(metadata),
    }
}

impl Lake {
    /// Tells where decisions are found. Before that no table may be reserved.
    pub fn decide_by(&self, outcomes: Arc<dyn Outcomes>) {
        let _ = self.outcomes.set(outcomes);
    }

    fn outcomes(&self) -> Result<&Arc<dyn Outcomes>> {
        self.outcomes.get().ok_or_else(|| Error::internal("nobody decides transactions over several tables"))
    }

    /// Reserves the next version of each table for what a transaction made of it.
    ///
    /// # Errors
    /// 40001 when another transaction's commit forbids it; no table is reserved then, nor after the store's errors if the
    /// store lets them be freed again.
    pub async fn reserve(&self, id: &str, mut tables: Vec<Arc<Table>>, operation: &Operation) -> Result<Reserved> {
        // In one order for all, so that no two wait for each other.
        tables.sort_by(|one, other| one.location().cmp(other.location()));
        let mut reserved = Reserved { id: id.to_owned(), tables: Vec::new() };
        for (number, table) in tables.into_iter().enumerate() {
            match self.reserve_one(&format!("{id}/{number}"), table, operation).await {
                Ok(one) => reserved.tables.push(one),
                Err(error) => {
                    self.release(reserved).await;
                    return Err(error);
                }
            }
        }
        Ok(reserved)
    }

    async fn reserve_one(&self, pending: &str, table: Arc<Table>, operation: &Operation) -> Result<ReservedTable> {
        let Some(private) = table.private.clone() else { return Err(Error::internal("a table without changes")) };
        let location = private.base.location.clone();
        self.stores.trust(&location).await?;
        let decision = &operation.decision;
        let operation = private.described(table.version(), operation);
        let queue = decision.unless_abandoned(self.queue(&location).lock_owned()).await?;
        let target = Target::Private {
            base: Arc::clone(&private.base),
            table: Arc::clone(&table),
            reads_new_rows: private.reads_new_rows(),
        };
        let mut base = self.cache.table(&location, Freshness::AtLeast(private.base.version())).await?;
        commit::check_stands(&base).await?;
        for attempt in 0..ATTEMPTS_MAX {
            base = decision.unless_abandoned(self.settled_for_writing(base)).await??;
            let place = self.stores.portable(location.location.as_str());
            let commit = recorded((&location, &place), &target, &base, pending, &operation).await?;
            let record = self.record(pending)?;
            record.store.put(&record.path, PutPayload::from_bytes(commit)).await?;
            let version = base.version() + 1;
            let metadata =
                marked(base.snapshot()?.metadata().clone().add_config_key(PENDING.to_owned(), pending.to_owned()))?;
            match self.put_metadata(&base, metadata, "RESERVE").await? {
                Put::Done => return Ok(ReservedTable { table, private, version, _queue: queue }),
                Put::Failed(error) | Put::Unknown(error) => return Err(error),
                Put::Taken => {
                    tokio::time::sleep(commit::pause(attempt)).await;
                    base = commit::newer(&base).await?;
                }
            }
        }
        Err(commit::overtaken())
    }

    /// Writes the recorded commits of a transaction that has committed. A table whose reservation another program took away, or whose
    /// reserved files it changed, keeps the other's change.
    ///
    /// # Errors
    /// Whatever keeps it from writing now: then whoever meets the tables next does it.
    pub async fn apply(&self, reserved: Reserved) -> Result<Written> {
        reserved.keep_files();
        let (mut lost, mut versions) = (Vec::new(), HashMap::new());
        for (number, one) in reserved.tables.iter().enumerate() {
            let location = &one.private.base.location;
            let base = self.cache.table(location, Freshness::AtLeast(one.version.saturating_sub(1))).await?;
            let base = commit::newer(&base).await?;
            // Somebody else may have written it, and a third one have reserved the table since.
            let ended = match base.awaits(&reserved.id) {
                true => self.write_recorded(base).await?,
                false => Applied::Done(base),
            };
            let version = match ended {
                Applied::Done(table) => version_with(&table, one.version, (&reserved.id, number)).await?,
                Applied::Lost => None,
            };
            match version {
                Some(version) => {
                    versions.insert(location.location.to_string(), version);
                }
                None => lost.push(location.location.to_string()),
            }
        }
        self.forget_records(&reserved.id).await;
        Ok(Written { versions, lost })
    }

    /// Frees the tables of a transaction that has not committed.
    pub async fn release(&self, reserved: Reserved) {
        for one in &reserved.tables {
            let freed = async {
                let base = self.cache.table(&one.private.base.location, Freshness::AtLeast(one.version)).await?;
                self.free(base, &reserved.id).await
            };
            if let Err(error) = freed.await {
                // The next writer does it.
                tracing::warn!(table = one.private.base.location(), %error, "could not free a reserved table");
            }
        }
        self.forget_records(&reserved.id).await;
    }

    /// The table with all that is committed: a reader finishes what another one began.
    pub(super) async fn settled_for_reading(&self, table: Arc<Table>) -> Result<Arc<Table>> {
        let Some((id, _)) = table.pending() else { return Ok(table) };
        if !self.outcomes()?.is_committed(id).await? {
            return Ok(table);
        }
        match self.write_recorded(Arc::clone(&table)).await? {
            Applied::Done(table) => Ok(table),
            Applied::Lost => commit::newer(&table).await,
        }
    }

    /// The table with nothing pending: what nobody decides is given up.
    pub(super) async fn settled_for_writing(&self, mut table: Arc<Table>) -> Result<Arc<Table>> {
        let began = Instant::now();
        while let Some((id, _)) = table.pending() {
            let impatient = began.elapsed() > PATIENCE;
            let outcomes = self.outcomes()?;
            let committed = if impatient { outcomes.settle(id).await? } else { outcomes.is_committed(id).await? };
            table = if committed {
                match self.write_recorded(Arc::clone(&table)).await? {
                    Applied::Done(table) => table,
                    Applied::Lost => commit::newer(&table).await?,
                }
            } else if impatient {
                let id = id.to_owned();
                let freed = self.free(table, &id).await?;
                self.forget_records(&id).await;
                freed
            } else {
                tokio::time::sleep(PAUSE).await;
                commit::newer(&table).await?
            };
        }
        Ok(table)
    }

    /// Puts the recorded commit of the pending transaction, which has committed, unless somebody else has done it.
    ///
    /// It goes into the log at the place that it was recorded for, which may be the table's own place spelled otherwise: then the table
    /// has it afterwards. A log that asks for another table's commit does not get it.
    ///
    /// # Errors
    /// XX001 for such a log. It keeps its mark: taking away one that is honest would lose committed rows.
    async fn write_recorded(&self, table: Arc<Table>) -> Result<Applied> {
        let Some((id, number)) = table.pending().map(|(id, number)| (id.to_owned(), number.to_owned())) else {
            return Ok(Applied::Done(table));
        };
        let pending = format!("{id}/{number}");
        let record = self.record(&pending)?;
        let commit = match record.store.get(&record.path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => {
                // It goes when all is done: the log must have moved on.
                let newest = commit::newer(&table).await?;
                // A copy of the folder, made while its table waited, waits for ever.
                return if newest.awaits(&id) { Err(not_its_own(&newest, &id)) } else { Ok(Applied::Done(newest)) };
            }
            Err(error) => return Err(error.into()),
        };
        let recorded = Recorded::read(commit)?;
        let Some(place) = self.place_of(&recorded, &id, &number).await? else { return Err(not_its_own(&table, &id)) };
        if place.location == table.location.location {
            return self.put_recorded(table, (&id, &number), &recorded).await;
        }
        if let Err(error) = Box::pin(self.put_recorded_at(&place, (&id, &number), &recorded)).await {
            // Whoever reads this table need not learn of the other place.
            tracing::warn!(table = table.location(), transaction = id, %error, "could not write a recorded commit");
            let message = format!("could not write the commit that table \"{}\" waits for", table.location());
            return Err(match error.sqlstate() {
                SqlState::UndefinedFile => Error::new(SqlState::DataCorrupted, message).with_hint(
                    "If its folder was moved while it waited, move it back, read the table, and move it then.",
                ),
                _ => Error::new(SqlState::IoError, message),
            });
        }
        let newest = commit::newer(&table).await?;
        match newest.pending() == table.pending() {
            true => Err(not_its_own(&newest, &id)),
            false => Ok(Applied::Done(newest)),
        }
    }

    /// The place that a commit was recorded for; `None` when nothing tells.
    async fn place_of(&self, recorded: &Recorded, id: &str, number: &str) -> Result<Option<Resolved>> {
        if let Some(place) = &recorded.place {
            return self.stores.resolve(place).map(Some);
        }
        // The numbers are those of the places in their order.
        let places = self.outcomes()?.places(id).await?;
        let mut places = places.iter().map(|place| self.stores.resolve(place)).collect::<Result<Vec<Resolved>>>()?;
        places.sort_by(|one, other| one.location.as_str().cmp(other.location.as_str()));
        Ok(number.parse::<usize>().ok().and_then(|number| places.into_iter().nth(number)))
    }

    /// The same for the table at that place, if it waits for this commit.
    async fn put_recorded_at(&self, place: &Resolved, pending: (&str, &str), recorded: &Recorded) -> Result<()> {
        let table = self.cache.table(place, Freshness::Latest).await?;
        self.put_recorded(table, pending, recorded).await.map(drop)
    }

    /// Puts a recorded commit of this very table, as long as it waits for that.
    async fn put_recorded(
        &self,
        mut table: Arc<Table>,
        (id, number): (&str, &str),
        recorded: &Recorded,
    ) -> Result<Applied> {
        for attempt in 0..ATTEMPTS_MAX {
            if table.pending() != Some((id, number)) {
                return Ok(Applied::Done(table));
            }
            let there: HashSet<&str> = table.files.iter().map(|file| file.name.as_str()).collect();
            if recorded.removed.iter().any(|name| !there.contains(name.as_str())) {
                tracing::error!(
                    table = table.location(),
                    transaction = id,
                    "another program changed files that a transaction had reserved: its change of this table is lost"
                );
                self.free(table, id).await?;
                return Ok(Applied::Lost);
            }
            let began = Instant::now();
            let version = table.version() + 1;
            let location = table.location.clone();
            let mark = applied_mark(&format!("{id}/{number}"));
            match log::put(&location, version, recorded.commit.clone(), &mark).await {
                Put::Done => {
                    let committed = commit::finish(self, &location, Some(Arc::clone(&table)), version, began).await;
                    return match committed.table {
                        Some(table) => Ok(Applied::Done(table)),
                        None => Ok(Applied::Done(self.cache.table(&location, Freshness::AtLeast(version)).await?)),
                    };
                }
                Put::Failed(error) | Put::Unknown(error) => return Err(error),
                Put::Taken => {
                    tokio::time::sleep(commit::pause(attempt)).await;
                    table = commit::newer(&table).await?;
                }
            }
        }
        Err(commit::overtaken())
    }

    /// Takes the reservation away.
    async fn free(&self, mut table: Arc<Table>, id: &str) -> Result<Arc<Table>> {
        for attempt in 0..ATTEMPTS_MAX {
            if !table.awaits(id) {
                return Ok(table);
            }
            let metadata = marked(table.snapshot()?.metadata().clone().remove_config_key(PENDING))?;
            match self.put_metadata(&table, metadata, "RELEASE").await? {
                Put::Done => {}
                Put::Failed(error) | Put::Unknown(error) => return Err(error),
                Put::Taken => tokio::time::sleep(commit::pause(attempt)).await,
            }
            table = commit::newer(&table).await?;
        }
        Err(commit::overtaken())
    }

    async fn put_metadata(&self, base: &Arc<Table>, metadata: Metadata, name: &str) -> Result<Put> {
        let id = uuid::Uuid::new_v4().to_string();
        let described = DeltaOperation::SetTableProperties { properties: metadata.configuration().clone() };
        let operation = Operation::new(name);
        let told = commit::commit_info(&operation, &described, Some(base));
        let actions = vec![told, Action::Metadata(metadata)];
        let bytes = CommitData::new(actions, described, commit::info(&id, &operation), Vec::new()).get_bytes();
        let bytes = bytes.map_err(|error| Error::from(deltalake::DeltaTableError::from(error)))?;
        let (location, version, began) = (base.location.clone(), base.version() + 1, Instant::now());
        let put = log::put(&location, version, bytes, &id).await;
        if matches!(put, Put::Done) {
            commit::finish(self, &location, Some(Arc::clone(base)), version, began).await;
        }
        Ok(put)
    }

    fn record(&self, pending: &str) -> Result<Resolved> {
        self.stores.in_warehouse(&format!("{RECORDS}/{pending}.json"))
    }

    /// Whether recorded commits of the transaction are still there.
    ///
    /// # Errors
    /// The store's.
    pub async fn has_records(&self, id: &str) -> Result<bool> {
        let folder = self.stores.in_warehouse(&format!("{RECORDS}/{id}"))?;
        Ok(folder.store.list(Some(&folder.path)).try_next().await?.is_some())
    }

    /// Removes the recorded commits of a transaction that is complete or given up.
    pub async fn forget_records(&self, id: &str) {
        let removed = async {
            let folder = self.stores.in_warehouse(&format!("{RECORDS}/{id}"))?;
            let found = folder.store.list(Some(&folder.path)).map_ok(|meta| meta.location).boxed();
            // Another server may do the same.
            let is_gone = |error: &object_store::Error| matches!(error, object_store::Error::NotFound { .. });
            let removed = folder.store.delete_stream(found).map(|one| one.map(drop));
            let removed = removed.map(|one| if one.as_ref().is_err_and(is_gone) { Ok(()) } else { one });
            removed.try_for_each(|()| std::future::ready(Ok(()))).await?;
            Ok::<(), Error>(())
        };
        if let Err(error) = removed.await {
            tracing::debug!(transaction = id, %error, "could not remove the records of a transaction");
        }
    }
}

fn marked(metadata: Result<Metadata, deltalake::kernel::Error>) -> Result<Metadata> {
    metadata.map_err(|error| deltalake::DeltaTableError::from(error).into())
}

/// What became of a recorded commit.
enum Applied {
    /// The table with it.
    Done(Arc<Table>),
    /// Another program's commit forbids it.
    Lost,
}

fn applied_mark(pending: &str) -> String {
    format!("applied {pending}")
}

/// The version with the commit of that number, after the one that had reserved it; `None` when somebody gave the commit up.
async fn version_with(table: &Table, reserved: u64, (id, number): (&str, usize)) -> Result<Option<u64>> {
    if table.version() == reserved + 1 && table.properties().get(LAST).is_some_and(|last| last == id) {
        return Ok(Some(reserved + 1));
    }
    let (log, mark) = (log::log_store(&table.location), applied_mark(&format!("{id}/{number}")));
    for version in reserved + 1..=table.version() {
        let commit = log.read_commit_entry(version).await?;
        if commit.is_some_and(|commit| memchr::memmem::find(&commit, mark.as_bytes()).is_some()) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// XX001 for a log that waits for a commit of another table.
fn not_its_own(table: &Table, id: &str) -> Error {
    tracing::warn!(table = table.location(), transaction = id, "a table asks for another table's commit");
    let message = format!("the log of table \"{}\" waits for the commit of another table", table.location());
    Error::new(SqlState::DataCorrupted, message).with_hint("If its folder is a copy of a table's, copy it again.")
}

/// The commit that takes the reservation away and makes the transaction's changes.
async fn recorded(
    (location, place): (&Resolved, &str),
    target: &Target,
    base: &Arc<Table>,
    pending: &str,
    operation: &Operation,
) -> Result<Bytes> {
    let (mut actions, described) = commit::checked_actions(location, target, base).await?;
    let made = actions.iter().position(|action| matches!(action, Action::Metadata(_)));
    let metadata = match made.map(|at| actions.remove(at)) {
        Some(Action::Metadata(metadata)) => without_marks(&metadata)?,
        _ => without_marks(base.snapshot()?.metadata())?,
    };
    let id = pending.split('/').next().unwrap_or(pending);
    actions.insert(0, Action::Metadata(marked(metadata.add_config_key(LAST.to_owned(), id.to_owned()))?));
    actions.insert(0, commit::commit_info(operation, &described, Some(base)));
    let mut info = commit::info(id, operation);
    info.insert(APPLIED_KEY.to_owned(), applied_mark(pending).into());
    info.insert(TABLE_KEY.to_owned(), place.into());
    let bytes = CommitData::new(actions, described, info, Vec::new()).get_bytes();
    bytes.map_err(|error| deltalake::DeltaTableError::from(error).into())
}

/// A recorded commit, and what is looked at in it.
struct Recorded {
    commit: Bytes,
    /// Of its table; `None` when an older server recorded it.
    place: Option<String>,
    /// The names of the files that it takes away.
    removed: Vec<String>,
}

impl Recorded {
    fn read(commit: Bytes) -> Result<Self> {
        let (mut place, mut removed) = (None, Vec::new());
        for line in commit.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // Not what the line holds: it is told to whoever meets the table.
            let action =
                serde_json::from_slice(line).map_err(|_| Error::internal("a recorded commit cannot be read"))?;
            match action {
                Action::Remove(remove) => removed.push(remove.path),
                Action::CommitInfo(told) => {
                    place = told.info.get(TABLE_KEY).and_then(|place| place.as_str()).map(str::to_owned).or(place);
                }
                _ => {}
            }
        }
        Ok(Self { commit, place, removed })
    }
}
