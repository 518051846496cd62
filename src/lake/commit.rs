//! One commit of one table: actions put at the next version, and again at a later one when another writer was faster and
//! what it did leaves ours right.
//!
//! The outcome is always known: a put that ended without an answer is read back. delta-rs' own commit loop is not used,
//! because it would append a CREATE to a table that somebody else just made.

mod definition;
pub(super) mod group;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltalake::kernel::transaction::{CommitData, PROTOCOL, TransactionError};
use deltalake::kernel::{Action, Add, AddCDCFile};
use deltalake::protocol::{DeltaOperation, SaveMode};
use rand::Rng;

use super::columns::{COMMENT_KEY, DEFAULT_KEY, TableSpec};
use super::decision::canceled;
use super::feed;
use super::generation;
use super::history::OPERATION_KEY;
use super::loads::LoadStep;
use super::log::{self, Put};
use super::rearrangement::{Rearranged, Rearrangement};
use super::redefinition::{Redefinition, RowsUnder};
use super::several::{with_marks_of, without_marks};
use super::stores::{Resolved, local};
use super::table::Table;
use super::transaction::Private;
use super::write::Operation;
use super::{Freshness, Lake, maintain, refreshed};
use crate::error::{Error, Result, SqlState};
pub(super) use definition::Definition;

/// Versions tried before the statement ends with 40001.
const ATTEMPTS_MAX: u32 = 40;
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// Key of a commit's info that holds the unique text which tells our commit from others.
pub(super) const ID_KEY: &str = "lakegate.commit";
const DROPPED: &str = "The table was dropped by another transaction.";

/// What the commit does to the table.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// Adds files to the table as it was when the rows were checked.
    Append(Arc<Table>),
    /// Takes all files away, then adds.
    Overwrite(Arc<Table>),
    /// Takes some files of the version that was read away, then adds.
    Change {
        table: Arc<Table>,
        /// By their numbers in the table's list.
        removes: Vec<usize>,
        /// The changed rows, where the table's change data feed needs them.
        changes: Vec<AddCDCFile>,
        /// Whether files that others added meanwhile are a conflict.
        reads_new_rows: bool,
    },
    /// Puts other files in the place of files.
    Rearrange(Arc<Rearrangement>),
    /// Gives the table another definition, and new files where that asks for them.
    Redefine(Arc<Redefinition>),
    /// Everything that a transaction did to a table.
    Private {
        /// The version that it read.
        base: Arc<Table>,
        /// The table as the transaction sees it.
        table: Arc<Table>,
        reads_new_rows: bool,
    },
    /// Makes the table: there must be none.
    Create(TableSpec),
    /// Makes the table, or gives the one that is there a new definition and new files: in a transaction its own view of it.
    Replace(TableSpec, Option<Arc<Table>>),
}

impl Target {
    /// What a transaction that writes the table has of its own.
    pub(super) fn private(&self) -> Option<&Arc<Private>> {
        match self {
            Self::Append(table) | Self::Overwrite(table) | Self::Change { table, .. } => table.private.as_ref(),
            Self::Redefine(redefinition) => redefinition.table.private.as_ref(),
            Self::Replace(_, table) => table.as_ref()?.private.as_ref(),
            Self::Rearrange(_) | Self::Private { .. } | Self::Create(_) => None,
        }
    }

    /// Files of changed rows that the commit names beside its others.
    pub(super) fn changes(&self) -> &[AddCDCFile] {
        match self {
            Self::Change { changes, .. } => changes,
            Self::Append(_)
            | Self::Overwrite(_)
            | Self::Rearrange(_)
            | Self::Redefine(_)
            | Self::Private { .. }
            | Self::Create(_)
            | Self::Replace(..) => &[],
        }
    }

    /// Whether rows that others add meanwhile would have changed the outcome.
    pub(super) fn reads_new_rows(&self) -> bool {
        match self {
            Self::Change { reads_new_rows, .. } | Self::Private { reads_new_rows, .. } => *reads_new_rows,
            // Of a transaction: whoever replaces a table by itself wins.
            Self::Overwrite(_) | Self::Replace(..) => true,
            Self::Redefine(redefinition) => redefinition.rows != RowsUnder::Untouched,
            Self::Append(_) | Self::Rearrange(_) | Self::Create(_) => false,
        }
    }
}

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

/// Whether we may put commits into the table's log.
pub(super) fn can_write_to(table: &Table) -> Result<bool> {
    Ok(PROTOCOL.can_write_to(table.delta.snapshot()?).is_ok())
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

/// Refuses at once what the commit would refuse anyway, before rows are drawn and staged for it.
pub(super) async fn check_early(location: &Resolved, target: &Target) -> Result<()> {
    match target {
        Target::Append(table) | Target::Overwrite(table) | Target::Change { table, .. } => {
            writable(table)?;
            if matches!(target, Target::Change { .. }) {
                changeable(table)?;
            }
            PROTOCOL.can_write_to(table.delta.snapshot()?).map_err(not_writable)
        }
        Target::Rearrange(rearrangement) => {
            writable(&rearrangement.table)?;
            PROTOCOL.can_write_to(rearrangement.table.delta.snapshot()?).map_err(not_writable)
        }
        Target::Redefine(redefinition) => {
            check(target, Some(&redefinition.table))?;
            PROTOCOL.can_write_to(redefinition.table.delta.snapshot()?).map_err(not_writable)
        }
        Target::Create(_) => check(target, newest(location, None).await?.as_deref()),
        Target::Replace(spec, _) => spec.validate(),
        Target::Private { .. } => Ok(()),
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

/// Whether the target can be done on the newest version.
fn check(target: &Target, base: Option<&Table>) -> Result<()> {
    match (target, base) {
        (Target::Append(planned), Some(base)) => {
            writable(base)?;
            same_rules(planned, base)
        }
        (Target::Overwrite(planned), Some(base)) => {
            writable(base)?;
            same_definition(planned, base)
        }
        (Target::Change { table, removes, reads_new_rows, .. }, Some(base)) => {
            writable(base)?;
            same_definition(table, base)?;
            unchanged_files(table, removes, base)?;
            if *reads_new_rows { no_new_files(table, base) } else { Ok(()) }
        }
        (Target::Private { base: planned, table, reads_new_rows }, Some(base)) => {
            writable(base)?;
            // What only adds rows may have looked for them before.
            if !*reads_new_rows && is_append(planned, table)? {
                return same_rules(planned, base);
            }
            same_definition(planned, base)?;
            let staying: HashSet<&str> = table.files.iter().map(|file| file.name.as_str()).collect();
            let files = planned.files.iter().enumerate();
            let gone = files.filter(|(_, file)| !staying.contains(file.name.as_str())).map(|(number, _)| number);
            unchanged_files(planned, &gone.collect::<Vec<_>>(), base)?;
            if *reads_new_rows { no_new_files(planned, base) } else { Ok(()) }
        }
        (Target::Rearrange(rearrangement), Some(base)) => {
            writable(base)?;
            match &rearrangement.what {
                Rearranged::Files { files, .. } => {
                    same_definition(&rearrangement.table, base)?;
                    unchanged_files(&rearrangement.table, files, base)
                }
                // Whatever happened meanwhile: the table is as it was then.
                Rearranged::Restored(_) => Ok(()),
            }
        }
        (Target::Redefine(redefinition), Some(base)) => {
            let planned = &redefinition.table;
            writable(base)?;
            same_definition(planned, base)?;
            redefinition.validate()?;
            feed::check_redefinition(redefinition, base)?;
            if redefinition.rows == RowsUnder::Rewritten {
                changeable(base)?;
                unchanged_files(planned, &(0..planned.files.len()).collect::<Vec<_>>(), base)?;
            }
            if redefinition.rows == RowsUnder::Untouched { Ok(()) } else { no_new_files(planned, base) }
        }
        (
            Target::Append(_)
            | Target::Overwrite(_)
            | Target::Change { .. }
            | Target::Rearrange(_)
            | Target::Redefine(_)
            | Target::Private { .. },
            None,
        ) => Err(Error::internal("a table without a version was written")),
        (Target::Create(spec), Some(_)) => {
            let message = format!("a Delta table already exists at \"{}\"", spec.location);
            Err(Error::new(SqlState::DuplicateTable, message)
                .with_hint("Leave the columns out to use the table that is there, or choose another location."))
        }
        (Target::Create(spec) | Target::Replace(spec, _), _) => spec.validate(),
    }
}

/// Rows were checked and encoded for one definition: they may not land under another.
fn same_definition(planned: &Table, base: &Table) -> Result<()> {
    let (planned, base) = (planned.snapshot()?, base.snapshot()?);
    if planned.protocol() == base.protocol()
        && (planned.metadata() == base.metadata()
            || without_marks(planned.metadata())? == without_marks(base.metadata())?)
    {
        return Ok(());
    }
    Err(redefined())
}

/// Rows that are only added may land under a definition that differs in words: comments, defaults, the user's properties.
fn same_rules(planned: &Table, base: &Table) -> Result<()> {
    let fields = |table: &Table| -> Result<Vec<_>> {
        let schema = table.snapshot()?.schema();
        Ok(schema
            .fields()
            .map(|field| {
                let metadata =
                    field.metadata().iter().filter(|(key, _)| !matches!(key.as_str(), COMMENT_KEY | DEFAULT_KEY));
                let metadata: BTreeMap<_, _> = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
                (field.name().clone(), field.data_type().clone(), field.is_nullable(), metadata)
            })
            .collect())
    };
    let rules = |table: &Table| -> BTreeMap<String, String> {
        let rules = table.properties().iter().filter(|(key, _)| key.starts_with("delta."));
        rules.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let same = planned.version() == base.version()
        || planned.snapshot()?.protocol() == base.snapshot()?.protocol()
            && planned.partition_columns() == base.partition_columns()
            && rules(planned) == rules(base)
            && fields(planned)? == fields(base)?;
    if same { Ok(()) } else { Err(redefined()) }
}

/// Whether a transaction has only added files to the version that it read.
fn is_append(planned: &Table, made: &Table) -> Result<bool> {
    let (before, after) = (planned.snapshot()?, made.snapshot()?);
    let staying: HashSet<&str> = made.files.iter().map(|file| file.name.as_str()).collect();
    Ok(before.protocol() == after.protocol()
        && before.metadata() == after.metadata()
        && planned.files.iter().all(|file| staying.contains(file.name.as_str())))
}

fn redefined() -> Error {
    conflict("The table's definition was changed by another transaction.")
}

/// Refuses tables with promises that our writer does not keep.
pub(super) fn writable(table: &Table) -> Result<()> {
    let refused = [("delta.identity.start", "identity columns"), ("delta.invariants", "column invariants")];
    for (field, column) in table.snapshot()?.schema().fields().zip(table.columns()) {
        for (key, what) in refused {
            if field.metadata().contains_key(key) {
                return Err(Error::unsupported(format!("writing to a table with {what}")));
            }
        }
        if let (None, Some(text)) = (&column.generated, generation::expression_of(field)) {
            let what = format!("writing to a table whose column \"{}\" is generated by another program", column.name);
            return Err(Error::unsupported(what).with_detail(format!("Its expression has no translation: {text}")));
        }
    }
    if table.properties().get("delta.columnMapping.mode").is_some_and(|mode| mode != "none") {
        return Err(Error::unsupported("writing to a table with column mapping"));
    }
    Ok(())
}

fn actions(
    location: &Resolved,
    target: &Target,
    base: Option<&Table>,
    adds: &[Add],
) -> Result<(Vec<Action>, DeltaOperation)> {
    let added = adds.iter().cloned().map(Action::Add);
    let write = |table: &Table, mode| DeltaOperation::Write {
        mode,
        partition_by: Some(table.partition_columns().to_vec()).filter(|columns| !columns.is_empty()),
        predicate: None,
    };
    match target {
        Target::Append(table) => Ok((added.collect(), write(table, SaveMode::Append))),
        Target::Overwrite(table) => {
            let actions = removes_of(base, |_| true)?.into_iter().chain(added).collect();
            Ok((actions, write(table, SaveMode::Overwrite)))
        }
        Target::Change { table, removes, changes, .. } => {
            let removed = removes.iter().filter_map(|number| table.files.get(*number));
            let names: HashSet<&str> = removed.map(|file| file.name.as_str()).collect();
            let told = changes.iter().cloned().map(Action::Cdc);
            let actions = removes_of(base, |name| names.contains(name))?.into_iter().chain(added).chain(told).collect();
            Ok((actions, write(table, SaveMode::Overwrite)))
        }
        Target::Rearrange(rearrangement) => rearrangement.actions(base, adds),
        Target::Redefine(redefinition) => {
            let Some(base) = base else { return Err(Error::internal("a table without a version was redefined")) };
            let definition = Definition::redefined(redefinition, base)?;
            let mut actions = Vec::new();
            if definition.protocol != *base.snapshot()?.protocol() {
                actions.push(Action::Protocol(definition.protocol));
            }
            if definition.metadata != *base.snapshot()?.metadata() {
                actions.push(Action::Metadata(definition.metadata));
            }
            if redefinition.rows == RowsUnder::Rewritten {
                actions.extend(removes_of(Some(base), |_| true)?);
            }
            Ok((actions.into_iter().chain(added).collect(), write(base, SaveMode::Overwrite)))
        }
        Target::Private { base: planned, table, .. } => {
            Ok((difference(planned, table, base)?, write(table, SaveMode::Append)))
        }
        Target::Create(spec) | Target::Replace(spec, _) => {
            let mut definition = Definition::new(spec, base)?;
            if let Some(base) = base {
                definition.metadata = with_marks_of(&definition.metadata, base)?;
            }
            let mode = if base.is_some() { SaveMode::Overwrite } else { SaveMode::ErrorIfExists };
            let described = DeltaOperation::Create {
                mode,
                location: location.location.clone(),
                protocol: definition.protocol.clone(),
                metadata: definition.metadata.clone(),
            };
            let defined = [Action::Protocol(definition.protocol), Action::Metadata(definition.metadata)];
            Ok((defined.into_iter().chain(removes_of(base, |_| true)?).chain(added).collect(), described))
        }
    }
}

pub(super) fn removes_of(base: Option<&Table>, is_gone: impl Fn(&str) -> bool) -> Result<Vec<Action>> {
    let Some(base) = base else { return Ok(Vec::new()) };
    let files = base.snapshot()?.try_log_data()?;
    let gone = files.iter().filter(|file| is_gone(file.path().as_ref()));
    Ok(gone.map(|file| Action::Remove(file.remove_action(true))).collect())
}

/// What leads from the version that a transaction read to the one that it made. A file that it added and removed again is in
/// neither.
fn difference(planned: &Table, made: &Table, base: Option<&Table>) -> Result<Vec<Action>> {
    let (before, after) = (planned.snapshot()?, made.snapshot()?);
    let mut actions = Vec::new();
    if before.protocol() != after.protocol() {
        actions.push(Action::Protocol(after.protocol().clone()));
    }
    if before.metadata() != after.metadata() {
        actions.push(Action::Metadata(without_marks(after.metadata())?));
    }
    let names = |table: &Table| table.files.iter().map(|file| file.name.clone()).collect::<HashSet<_>>();
    let (known, staying) = (names(planned), names(made));
    actions.extend(removes_of(base, |name| known.contains(name) && !staying.contains(name))?);
    for file in made.files.iter().filter(|file| !known.contains(&file.name)) {
        let add = made.private.as_ref().and_then(|private| private.add(&file.name));
        actions.push(Action::Add(add.ok_or_else(|| Error::internal("a transaction lost a file"))?));
    }
    if let Some(private) = &made.private {
        actions.extend(private.feed().files(made).into_iter().map(Action::Cdc));
    }
    Ok(actions)
}

/// The files whose rows were changed must all be there still, as they were.
fn unchanged_files(planned: &Table, removes: &[usize], base: &Table) -> Result<()> {
    if planned.version() == base.version() {
        return Ok(());
    }
    let there = base.identities();
    let removed = removes.iter().filter_map(|number| planned.files.get(*number));
    if removed.into_iter().all(|file| there.contains(&file.identity())) {
        return Ok(());
    }
    Err(conflict("Rows that this statement changes were changed by another transaction."))
}

fn no_new_files(planned: &Table, base: &Table) -> Result<()> {
    if planned.version() == base.version() {
        return Ok(());
    }
    let known: HashSet<&str> = planned.files.iter().map(|file| file.name.as_str()).collect();
    if base.files.iter().all(|file| known.contains(file.name.as_str())) {
        return Ok(());
    }
    Err(conflict("Another transaction added rows that this statement did not see."))
}

/// Refuses tables whose changes are recorded in ways that we do not write.
fn changeable(table: &Table) -> Result<()> {
    if table.special {
        return Err(Error::unsupported("changing rows of a table with column mapping or with files elsewhere"));
    }
    Ok(())
}

/// What the commit tells of itself in Delta's own words: DESCRIBE HISTORY shows it.
pub(super) fn commit_info(operation: &Operation, described: &DeltaOperation, base: Option<&Table>) -> Action {
    let mut info = described.get_commit_info();
    info.timestamp = Some(chrono::Utc::now().timestamp_millis());
    if !operation.name.is_empty() {
        info.operation = Some(operation.name.clone());
    }
    let parameters = operation.parameters.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
    info.operation_parameters.get_or_insert_default().extend(parameters);
    info.read_version = base.map(Table::version);
    info.user_name.clone_from(&operation.user);
    info.engine_info = Some(concat!("lakegate/", env!("CARGO_PKG_VERSION")).to_owned());
    Action::CommitInfo(info)
}

pub(super) fn info(id: &str, operation: &Operation) -> HashMap<String, serde_json::Value> {
    let mut info = HashMap::from([
        (ID_KEY.to_owned(), id.into()),
        (OPERATION_KEY.to_owned(), operation.name.as_str().into()),
        ("clientVersion".to_owned(), concat!("lakegate ", env!("CARGO_PKG_VERSION")).into()),
    ]);
    if let Some(told) = operation.refreshed.as_ref().and_then(|told| serde_json::to_string(told).ok()) {
        info.insert(refreshed::KEY.to_owned(), told.into());
    }
    if !operation.metrics.is_empty() {
        // Delta has them as texts.
        let metrics = operation.metrics.iter().map(|(key, value)| ((*key).to_owned(), value.to_string().into()));
        info.insert("operationMetrics".to_owned(), serde_json::Value::Object(metrics.collect()));
    }
    info
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

fn not_writable(error: TransactionError) -> Error {
    match error {
        TransactionError::DeltaTableAppendOnly => {
            Error::new(SqlState::ObjectNotInPrerequisiteState, "cannot remove rows from an append-only table")
                .with_hint("The table's property delta.appendOnly forbids it.")
        }
        other => Error::unsupported("writing to this Delta table").with_detail(other.to_string()),
    }
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
