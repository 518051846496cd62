//! One commit of one table: actions put at the next version, and again at a later one when another writer was faster and
//! what it did leaves ours right.
//!
//! The outcome is always known: a put that ended without an answer is read back. delta-rs' own commit loop is not used,
//! because it would append a CREATE to a table that somebody else just made.

mod actions;
mod check;
mod definition;
pub(super) mod group;
mod target;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltalake::kernel::transaction::{CommitData, PROTOCOL};
use deltalake::kernel::{Action, Add, AddCDCFile};
use deltalake::protocol::DeltaOperation;
use rand::Rng;

use super::decision::canceled;
use super::loads::LoadStep;
use super::log::{self, Put};
use super::stores::{Resolved, local};
use super::table::Table;
use super::write::Operation;
use super::{Freshness, Lake, maintain, refreshed};
use crate::error::{Error, Result, SqlState};
use actions::actions;
pub(super) use actions::{commit_info, info, removes_of};
pub(super) use check::{can_write_to, check_early, is_append, same_rules, writable};
use check::{check, not_writable};
pub(super) use definition::Definition;
pub(super) use target::Target;

/// Versions tried before the statement ends with 40001.
const ATTEMPTS_MAX: u32 = 40;
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// Key of a commit's info that holds the unique text which tells our commit from others.
pub(super) const ID_KEY: &str = "lakegate.commit";
const DROPPED: &str = "The table was dropped by another transaction.";

/// Commits the files to the table and gives the version with them.
///
/// # Errors
/// 40001 when others' commits forbid it or were always faster; 42P07 for `Create` where a table is; 0A000 for a table that we
/// cannot write. `Failure::may_appear` tells whether the commit could still come into being.
pub(super) async fn commit_files(
    lake: &Lake,
    location: &Resolved,
    target: &Target,
    adds: &[Add],
    operation: &Operation,
) -> Result<Committed, Failure> {
    let committed = commit_in_turn(lake, location, target, adds, operation).await;
    if let Err(Failure { may_appear: false, .. }) = &committed {
        // The statement may be tried again, and ended before that.
        operation.decision.reopen();
    }
    committed
}

async fn commit_in_turn(
    lake: &Lake,
    location: &Resolved,
    target: &Target,
    adds: &[Add],
    operation: &Operation,
) -> Result<Committed, Failure> {
    lake.stores.trust(location).await?;
    flush(lake, location, target, adds).await?;
    if let Some(standing) = &operation.standing {
        standing.check_newest().await?;
    }
    let queue = lake.queue(location);
    if let Target::Append(table) = target
        && table.private.is_none()
        && operation.load.is_none()
        && operation.follows.is_none()
    {
        let waiting = lake.groups.join(location, table, adds, operation);
        let Ok(_next_in_the_queue) = operation.decision.unless_abandoned(queue.lock()).await else {
            lake.groups.leave(location);
            return Err(canceled().into());
        };
        return group::commit(lake, location, waiting).await;
    }
    let next_in_the_queue = async {
        match operation.alone {
            true => None,
            false => Some(queue.lock().await),
        }
    };
    let _next_in_the_queue = operation.decision.unless_abandoned(next_in_the_queue).await?;
    let base = operation.decision.unless_abandoned(base(lake, location, target)).await??;
    let load = load_step(target, operation, base.as_deref()).await?;
    commit_on(lake, location, base, operation, load, |base| {
        check(target, base)?;
        if let Some(standing) = &operation.standing {
            standing.check()?;
        }
        if let (Some(follows), Some(base)) = (&operation.follows, base) {
            refreshed::same_rows(follows, base)?;
        }
        actions(location, target, base, adds)
    })
    .await
}

/// Puts a commit on the newest version, and on a newer one when others were faster. Of what it does, `planned` decides on each.
async fn commit_on(
    lake: &Lake,
    location: &Resolved,
    mut base: Option<Arc<Table>>,
    operation: &Operation,
    load: Option<LoadStep>,
    mut planned: impl FnMut(Option<&Table>) -> Result<(Vec<Action>, DeltaOperation)>,
) -> Result<Committed, Failure> {
    if let Some(base) = &base {
        check_stands(base).await?;
    }
    let id = uuid::Uuid::new_v4().to_string();
    for attempt in 0..ATTEMPTS_MAX {
        base = match base {
            Some(base) => {
                let settled = Box::pin(lake.settled_for_writing(base));
                Some(operation.decision.unless_abandoned(settled).await??)
            }
            None => None,
        };
        let (mut actions, described) = planned(base.as_deref())?;
        if let (Some(load), Some(base)) = (&load, &base) {
            load.check(base).await?;
            actions.push(load.action());
        }
        if let Some(base) = &base {
            let state = base.delta.snapshot().map_err(Error::from)?;
            PROTOCOL.can_commit(state, &actions, &described).map_err(not_writable)?;
        }
        let version = base.as_ref().map_or(0, |base| base.version() + 1);
        let mut actions = actions;
        actions.insert(0, commit_info(operation, &described, base.as_deref()));
        let bytes = CommitData::new(actions, described, info(&id, operation), Vec::new()).get_bytes();
        let bytes = bytes.map_err(|error| Error::from(deltalake::DeltaTableError::from(error)))?;
        let began = Instant::now();
        // A transaction's own view is nobody's business.
        if location.log.is_none() {
            operation.decision.enter()?;
        }
        match log::put(location, version, bytes, &id).await {
            Put::Done => return Ok(finish(lake, location, base, version, began).await),
            Put::Failed(error) => return Err(error.into()),
            Put::Unknown(error) => return Err(Failure { error, may_appear: true }),
            Put::Taken => {
                tokio::time::sleep(pause(attempt)).await;
                base = newest(location, base.as_deref()).await?;
            }
        }
    }
    Err(overtaken().into())
}

/// Commits words alone: what is done to the table's folder.
pub(super) async fn tell(
    lake: &Lake,
    table: &Table,
    described: &DeltaOperation,
    operation: &Operation,
) -> Result<(), Failure> {
    let location = &table.location;
    lake.stores.trust(location).await?;
    let queue = lake.queue(location);
    let _next_in_the_queue = operation.decision.unless_abandoned(queue.lock()).await?;
    let base = lake.cache.table(location, Freshness::AtLeast(table.version())).await?;
    commit_on(lake, location, Some(base), operation, None, |_| Ok((Vec::new(), described.clone()))).await.map(drop)
}

/// 40001 when the table of that version is no longer there.
pub(super) async fn check_stands(table: &Table) -> Result<()> {
    if table.stands().await? { Ok(()) } else { Err(conflict(DROPPED)) }
}

/// What the target does to the newest version, if it can be done on it.
pub(super) async fn checked_actions(
    location: &Resolved,
    target: &Target,
    base: &Arc<Table>,
) -> Result<(Vec<Action>, DeltaOperation)> {
    check(target, Some(base))?;
    let (mut actions, described) = actions(location, target, Some(base), &[])?;
    if let Some(load) = load_step(target, &Operation::default(), Some(base)).await? {
        load.check(base).await?;
        actions.push(load.action());
    }
    PROTOCOL.can_commit(base.delta.snapshot()?, &actions, &described).map_err(not_writable)?;
    Ok((actions, described))
}

/// What the commit does to the record of loaded files.
async fn load_step(target: &Target, operation: &Operation, base: Option<&Table>) -> Result<Option<LoadStep>> {
    match target {
        Target::Private { base, table, .. } if table.private.as_ref().is_some_and(|private| private.loads()) => {
            LoadStep::between(base, table).await
        }
        Target::Replace(..) => match base {
            Some(base) => LoadStep::forgetting(base).await,
            None => Ok(None),
        },
        Target::Append(_)
        | Target::Overwrite(_)
        | Target::Change { .. }
        | Target::Redefine(_)
        | Target::Rearrange(_)
        | Target::Private { .. }
        | Target::Create(_) => Ok(operation.load),
    }
}

/// Flushes the files to a local disk, so that the commit names nothing that a loss of power could take.
async fn flush(lake: &Lake, location: &Resolved, target: &Target, adds: &[Add]) -> Result<()> {
    let Some(root) = location.location.to_file_path().ok().filter(|_| lake.stores.flushes(location)) else {
        return Ok(());
    };
    let is_new = match target {
        Target::Append(_)
        | Target::Overwrite(_)
        | Target::Change { .. }
        | Target::Rearrange(_)
        | Target::Redefine(_)
        | Target::Private { .. } => false,
        Target::Create(_) | Target::Replace(..) => true,
    };
    let names = adds.iter().map(|add| &add.path).chain(target.changes().iter().map(|change| &change.path));
    flush_files(root.clone(), names.map(|name| root.join(name)).collect(), is_new).await
}

/// The same for files that only a transaction's last commit will name.
pub(super) async fn flush_changes(lake: &Lake, location: &Resolved, changes: &[AddCDCFile]) -> Result<()> {
    let Some(root) = location.location.to_file_path().ok().filter(|_| lake.stores.flushes(location)) else {
        return Ok(());
    };
    flush_files(root.clone(), changes.iter().map(|change| root.join(&change.path)).collect(), false).await
}

async fn flush_files(root: PathBuf, files: Vec<PathBuf>, is_new: bool) -> Result<()> {
    match local::flush(root, files, is_new).await {
        // Another server's DROP takes what it finds in the folder.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(conflict(DROPPED)),
        flushed => Ok(flushed?),
    }
}

/// A commit that is in the log.
#[derive(Debug, Clone)]
pub(super) struct Committed {
    pub(super) version: u64,
    /// The table at that version; `None` when it could not be read again, which does not undo the commit.
    pub(super) table: Option<Arc<Table>>,
}

/// Why there is no commit.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether the store may still carry the put out: files that it names must stay.
    pub(super) may_appear: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, may_appear: false }
    }
}

/// Commits in a task of its own, which runs to its end even if the caller goes away, and gives the table.
pub(super) async fn commit(
    lake: Arc<Lake>,
    location: Resolved,
    target: Target,
    adds: Vec<Add>,
    operation: Operation,
) -> Result<Arc<Table>> {
    let task = tokio::spawn(async move {
        let committed = commit_files(&lake, &location, &target, &adds, &operation).await;
        match committed.map_err(|failure| failure.error)? {
            Committed { table: Some(table), .. } => Ok(table),
            Committed { version, table: None } => lake.cache.table(&location, Freshness::AtLeast(version)).await,
        }
    });
    task.await.map_err(|error| Error::internal(format!("a commit ended early: {error}")))?
}

/// The version that the first attempt builds on: the newest that is known here.
async fn base(lake: &Lake, location: &Resolved, target: &Target) -> Result<Option<Arc<Table>>> {
    match target {
        // Nobody else commits to a transaction's own view.
        Target::Append(table) | Target::Overwrite(table) | Target::Change { table, .. } if table.private.is_some() => {
            Ok(Some(Arc::clone(table)))
        }
        Target::Redefine(redefinition) if redefinition.table.private.is_some() => {
            Ok(Some(Arc::clone(&redefinition.table)))
        }
        Target::Append(table)
        | Target::Overwrite(table)
        | Target::Change { table, .. }
        | Target::Private { base: table, .. } => {
            let known = lake.cache.table(location, Freshness::AtLeast(table.version())).await?;
            Ok(Some(known))
        }
        Target::Rearrange(rearrangement) => {
            let version = rearrangement.table.version();
            Ok(Some(lake.cache.table(location, Freshness::AtLeast(version)).await?))
        }
        Target::Redefine(redefinition) => {
            let version = redefinition.table.version();
            Ok(Some(lake.cache.table(location, Freshness::AtLeast(version)).await?))
        }
        Target::Replace(_, Some(table)) => Ok(Some(Arc::clone(table))),
        Target::Create(_) | Target::Replace(_, None) => newest(location, None).await,
    }
}

/// The newest version of a table that is there.
pub(super) async fn newer(table: &Arc<Table>) -> Result<Arc<Table>> {
    newest(&table.location, Some(table)).await?.ok_or_else(|| conflict(DROPPED))
}

async fn newest(location: &Resolved, before: Option<&Table>) -> Result<Option<Arc<Table>>> {
    let delta = match before {
        Some(before) => {
            let mut delta = before.delta.clone();
            delta.update_state().await?;
            Some(delta)
        }
        None => log::load(location).await?,
    };
    match delta {
        Some(delta) => Ok(Some(Arc::new(Table::read(location.clone(), delta, before).await?))),
        None => Ok(None),
    }
}

/// After the commit: the cache gets the new version, and now and then the log a checkpoint.
pub(super) async fn finish(
    lake: &Lake,
    location: &Resolved,
    base: Option<Arc<Table>>,
    version: u64,
    put_began: Instant,
) -> Committed {
    match read_again(location, base.as_deref(), version).await {
        Ok(table) => {
            let table = Arc::new(table);
            if location.log.is_some() {
                return Committed { version, table: Some(table) };
            }
            lake.cache.put(Arc::clone(&table), put_began);
            lake.note_written(&table);
            let interval = table.checkpoint_commits().unwrap_or(lake.options.checkpoint_commits);
            if version > 0 && version.is_multiple_of(interval.max(1)) {
                maintain::checkpoint(table.delta.clone());
            }
            Committed { version, table: Some(table) }
        }
        Err(error) => {
            tracing::warn!(table = %location.location, version, %error, "could not read a table after its commit");
            if location.log.is_none() {
                lake.cache.forget(location);
            }
            Committed { version, table: None }
        }
    }
}

pub(super) async fn read_again(location: &Resolved, base: Option<&Table>, version: u64) -> Result<Table> {
    let delta = match base {
        Some(base) => {
            let mut delta = base.delta.clone();
            delta.update_incremental(Some(version)).await?;
            delta
        }
        None => log::load(location).await?.ok_or_else(|| log::missing(location))?,
    };
    Table::read(location.clone(), delta, base).await
}

pub(super) fn conflict(detail: &str) -> Error {
    Error::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
        .with_detail(detail)
        .with_hint("Try the statement again.")
}

/// 40001 after the last attempt.
pub(super) fn overtaken() -> Error {
    conflict("Other writers committed each time before this statement could.")
}

/// A random pause that grows with the attempts, so that racing servers draw apart.
pub fn pause(attempt: u32) -> Duration {
    let most = Duration::from_millis(2 << attempt.min(7)).min(PAUSE_MAX);
    rand::rng().random_range(Duration::ZERO..=most)
}
