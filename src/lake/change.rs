//! What UPDATE, DELETE and MERGE do to single rows: rows of files are claimed, files with claimed rows are written anew
//! without them, new rows go into files of their own, and all of it is one commit.
//!
//! ```text
//! plan: file, row, action, columns… ─→ claim (file, row) ─┬→ new rows → gate → files
//!                                                         └→ a bit for each claimed row
//! files with some claimed rows ─→ the other rows, unchecked → files        files whose every row is claimed: no read
//! ```
//! Where the table has a change data feed, claimed rows are read in the second pass and told of ([`super::feed`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter, filter_record_batch, or};
use arrow::datatypes::{Int8Type, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;

use super::feed::{ChangeType, Content, Origin};
use super::scan::whole_files;
use super::table::Table;
use crate::error::{Error, Result};
use crate::quality::Gate;

/// What a row of a change's plan does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowAction {
    /// Its columns are a new row.
    Insert,
    /// Its columns take the place of the row that it names.
    Update,
    /// The row that it names goes.
    Delete,
    /// The statement fails with the error that its [`Change`] holds.
    Fail,
}

impl RowAction {
    /// As the plan's third column has it.
    pub fn code(self) -> i8 {
        match self {
            Self::Insert => 1,
            Self::Update => 2,
            Self::Delete => 3,
            Self::Fail => 4,
        }
    }

    fn of(code: i8) -> Option<Self> {
        [Self::Insert, Self::Update, Self::Delete, Self::Fail].into_iter().find(|action| action.code() == code)
    }
}

/// Columns of the plan before the table's own: file, row, action.
const LEADING: usize = 3;

/// Takes RETURNING's rows as they are made.
#[async_trait]
pub trait Returned: Send + Sync + std::fmt::Debug {
    async fn take(&self, rows: RecordBatch) -> Result<()>;
}

/// How a plan's rows change a table.
#[derive(Debug)]
pub struct Change {
    /// The version that the plan reads.
    pub table: Arc<Table>,
    /// For reading the rows that stay.
    pub state: Arc<SessionState>,
    /// The error for a row that is claimed twice; `None` passes over the later ones.
    pub repeated: Option<Error>,
    /// The error of [`RowAction::Fail`].
    pub failure: Option<Error>,
    /// Whether rows that somebody else adds meanwhile would have changed the outcome: then they are a conflict.
    pub reads_new_rows: bool,
    pub returned: Option<Arc<dyn Returned>>,
    /// Whether each row of the plan removes the row that it names, and nobody wants to know which.
    pub only_removes: bool,
    /// Whether no row of the plan names one.
    pub only_adds: bool,
}

/// How many rows a change made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
}

impl Counts {
    pub fn total(self) -> u64 {
        self.inserted + self.updated + self.deleted
    }

    fn add(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }
}

/// A change under way, shared by the tasks that work on it.
#[derive(Debug)]
pub(super) struct Changing {
    pub(super) change: Arc<Change>,
    claims: Vec<Mutex<Claims>>,
    counts: Mutex<Counts>,
    /// Files whose every row is claimed, without a bit for each.
    whole: Mutex<BTreeSet<usize>>,
    memory: Mutex<MemoryReservation>,
    /// Whether the change data feed may have to tell of the rows.
    told: bool,
    /// Of the table's files, in the order of its list.
    origins: Vec<Origin>,
}

/// The claimed rows of one file.
#[derive(Debug, Default)]
struct Claims {
    words: Vec<u64>,
    /// Those of them whose place a new row takes, where that is told.
    updated: Vec<u64>,
    count: u64,
}

/// The rows of a batch that count, and those that make new ones, by what they are told as.
struct Claimed {
    kept: BooleanArray,
    inserted: BooleanArray,
    updated: BooleanArray,
    /// Those that take the place of others, whatever they are told as.
    existing: BooleanArray,
}

impl Claimed {
    /// Leaves new rows out.
    fn without(self, gone: &BooleanBuffer) -> Self {
        let less = |rows: &BooleanArray| BooleanArray::new(rows.values() & &!gone, None);
        let [kept, inserted, updated] = [&self.kept, &self.inserted, &self.updated].map(less);
        Self { kept, inserted, updated, existing: self.existing }
    }
}

/// What the rows of a file that loses some become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Written(Content),
    Forgotten,
}

impl Changing {
    pub(super) fn new(change: Arc<Change>, pool: &Arc<dyn MemoryPool>) -> Self {
        let claims = change.table.files.iter().map(|_| Mutex::default()).collect();
        let memory = Mutex::new(MemoryConsumer::new("ChangedRows").register(pool));
        let table = &change.table;
        let told = table.tells_changes() && (table.is_private() || !change.only_adds);
        let origins = match table.private.as_ref().filter(|_| told) {
            Some(private) => {
                let feed = private.feed();
                table.files.iter().map(|file| feed.origin(&file.name)).collect()
            }
            None => vec![Origin::Read; table.files.len()],
        };
        Self { change, claims, counts: Mutex::default(), whole: Mutex::default(), memory, told, origins }
    }

    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    /// Claims every row of the files that a plan gives whole. `false` when the plan must be run.
    pub(super) fn take_whole(&self, plan: &Arc<dyn ExecutionPlan>) -> bool {
        // At the end of a transaction the log alone would not tell these rows from others.
        if !self.change.only_removes || self.told && self.change.table.is_private() {
            return false;
        }
        let Some(files) = whole_files(plan) else { return false };
        let rows = files.iter().map(|number| self.change.table.files.get(*number)?.rows());
        let Some(deleted) = rows.sum::<Option<u64>>() else { return false };
        self.counts.lock().deleted += deleted;
        *self.whole.lock() = files;
        true
    }

    /// Claims the rows that a batch names and gives the rows that it makes, in the table's columns, by what they are.
    ///
    /// # Errors
    /// [`Change::repeated`] and [`Change::failure`]; 53200 when the pool has no room for the claims.
    pub(super) async fn take(&self, batch: &RecordBatch, gate: &Gate) -> Result<Vec<(Content, RecordBatch)>> {
        let width = LEADING + self.change.table.columns().len();
        let Claimed { kept, inserted, updated, .. } = self.asked(batch, self.claim(batch)?, gate).await?;
        if let Some(returned) = &self.change.returned {
            let columns: Vec<usize> = (width..batch.num_columns()).collect();
            returned.take(filter_record_batch(&batch.project(&columns)?, &kept)?).await?;
        }
        let columns: Vec<usize> = (LEADING..width).collect();
        let rows = batch.project(&columns)?;
        if !self.told {
            // One batch: rows are checked in their order.
            return Ok(vec![(Content::Rows, filter_record_batch(&rows, &or(&inserted, &updated)?)?)]);
        }
        let parts = [(ChangeType::Insert, inserted), (ChangeType::After, updated)].into_iter();
        parts.map(|(kind, of)| Ok((Content::New(kind), filter_record_batch(&rows, &of)?))).collect()
    }

    /// Without the new rows that are not as expected.
    async fn asked(&self, batch: &RecordBatch, claimed: Claimed, gate: &Gate) -> Result<Claimed> {
        if gate.watch().is_none() {
            return Ok(claimed);
        }
        let made = or(&claimed.inserted, &claimed.updated)?;
        if made.true_count() == 0 {
            return Ok(claimed);
        }
        let width = LEADING + self.change.table.columns().len();
        let rows = filter_record_batch(&batch.project(&(LEADING..width).collect::<Vec<_>>())?, &made)?;
        let existing = filter(&claimed.existing, &made)?;
        let Some(stay) = gate.ask(&rows, existing.as_boolean_opt()).await? else { return Ok(claimed) };
        let mut gone = BooleanBufferBuilder::new(batch.num_rows());
        gone.append_n(batch.num_rows(), false);
        let mut left_out = 0;
        for (row, stays) in made.values().set_indices().zip(stay.values().iter()) {
            if !stays {
                gone.set_bit(row, true);
                left_out += 1;
            }
        }
        // Rows that are there already are never left out.
        let mut counts = self.counts.lock();
        counts.inserted = counts.inserted.saturating_sub(left_out);
        Ok(claimed.without(&gone.finish()))
    }

    /// Which rows count, and which of them make a row.
    fn claim(&self, batch: &RecordBatch) -> Result<Claimed> {
        let shape = || Error::internal("a change's plan has not the columns of a change");
        let [files, rows, actions] = batch.columns().get(..LEADING).ok_or_else(shape)? else { return Err(shape()) };
        let files = files.as_primitive_opt::<Int32Type>().ok_or_else(shape)?;
        let rows = rows.as_primitive_opt::<Int64Type>().ok_or_else(shape)?;
        let actions = actions.as_primitive_opt::<Int8Type>().ok_or_else(shape)?;
        let mut kept = BooleanBufferBuilder::new(batch.num_rows());
        let mut inserted = BooleanBufferBuilder::new(batch.num_rows());
        let mut updated = BooleanBufferBuilder::new(batch.num_rows());
        let mut existing = BooleanBufferBuilder::new(batch.num_rows());
        let mut counts = Counts::default();
        for index in 0..batch.num_rows() {
            let action = if actions.is_null(index) { None } else { RowAction::of(actions.value(index)) };
            let named =
                || (!files.is_null(index) && !rows.is_null(index)).then(|| (files.value(index), rows.value(index)));
            // Whether it counts, and what its new row is told as.
            let (counted, made) = match action.ok_or_else(shape)? {
                RowAction::Insert => {
                    counts.inserted += 1;
                    (true, Some(ChangeType::Insert))
                }
                action @ (RowAction::Update | RowAction::Delete) => {
                    let (file, row) = named().ok_or_else(shape)?;
                    let updates = action == RowAction::Update;
                    let first = self.claim_row(file, row, updates)?;
                    if let (false, Some(error)) = (first, &self.change.repeated) {
                        return Err(error.clone());
                    }
                    *(if updates { &mut counts.updated } else { &mut counts.deleted }) += u64::from(first);
                    let made = if updates { Some(self.told_as(file)?) } else { None };
                    (first, made)
                }
                RowAction::Fail => {
                    let failure = self.change.failure.clone();
                    return Err(failure.unwrap_or_else(|| Error::internal("a change failed without an error")));
                }
            };
            kept.append(counted);
            inserted.append(counted && made == Some(ChangeType::Insert));
            updated.append(counted && made == Some(ChangeType::After));
            existing.append(action == Some(RowAction::Update));
        }
        self.counts.lock().add(counts);
        let [kept, inserted, updated, existing] =
            [kept, inserted, updated, existing].map(|mut rows| BooleanArray::new(rows.finish(), None));
        Ok(Claimed { kept, inserted, updated, existing })
    }

    fn origin(&self, file: i32) -> Result<Origin> {
        let origin = usize::try_from(file).ok().and_then(|file| self.origins.get(file)).copied();
        origin.ok_or_else(|| Error::internal("a change names a file that is none of the table's"))
    }

    /// What the row is told as that takes the place of one in that file.
    fn told_as(&self, file: i32) -> Result<ChangeType> {
        Ok(match self.origin(file)? {
            Origin::Made(ChangeType::Insert) => ChangeType::Insert,
            Origin::Read | Origin::Made(_) => ChangeType::After,
        })
    }

    /// Whether the row was not claimed before.
    fn claim_row(&self, file: i32, row: i64, updates: bool) -> Result<bool> {
        let unknown = || Error::internal("a change names a row that is in no file");
        let claims = usize::try_from(file).ok().and_then(|file| self.claims.get(file)).ok_or_else(unknown)?;
        let row = usize::try_from(row).map_err(|_| unknown())?;
        let mut claims = claims.lock();
        let (word, bit) = (row / 64, 1_u64 << (row % 64));
        if word >= claims.words.len() {
            let grown = (word + 1).next_power_of_two();
            self.memory.lock().try_grow((grown - claims.words.len()) * size_of::<u64>())?;
            claims.words.resize(grown, 0);
        }
        let Some(claimed) = claims.words.get_mut(word) else { return Err(unknown()) };
        let first = *claimed & bit == 0;
        *claimed |= bit;
        claims.count += u64::from(first);
        if self.told && first {
            match self.origin(file)? {
                Origin::Read if updates => {
                    let (known, wanted) = (claims.updated.len(), claims.words.len());
                    if known < wanted {
                        self.memory.lock().try_grow((wanted - known) * size_of::<u64>())?;
                        claims.updated.resize(wanted, 0);
                    }
                    let Some(updated) = claims.updated.get_mut(word) else { return Err(unknown()) };
                    *updated |= bit;
                }
                // Its row of before was told as updated, and nothing leads back to it.
                Origin::Made(ChangeType::After) if !updates => {
                    let what = "deleting rows of a table with a change data feed that the same transaction has updated";
                    return Err(Error::unsupported(what));
                }
                Origin::Read | Origin::Made(_) => {}
            }
        }
        Ok(first)
    }

    /// Whether the commit has to tell of rows in files of their own: not when its other files tell the same.
    pub(super) fn needs_telling(&self) -> bool {
        if !self.told {
            return false;
        }
        let touched = self.touched();
        if self.change.table.is_private() {
            return touched.iter().any(|(file, _)| self.origins.get(*file) == Some(&Origin::Read));
        }
        self.counts.lock().updated > 0 || touched.iter().any(|(_, stays)| *stays)
    }

    /// The files that have rows to write again, or rows to tell of.
    pub(super) fn files_to_read(&self) -> Vec<usize> {
        let told = self.needs_telling();
        let is_read = |file: usize| self.origins.get(file) == Some(&Origin::Read);
        let files = self.touched().into_iter().filter(|(file, stays)| *stays || told && is_read(*file));
        files.map(|(file, _)| file).collect()
    }

    /// The files that lose rows, by number, and whether any of a file's rows stays.
    pub(super) fn touched(&self) -> Vec<(usize, bool)> {
        let whole = self.whole.lock().clone();
        let files = self.claims.iter().zip(self.change.table.files.iter()).enumerate();
        files
            .filter_map(|(number, (claims, file))| {
                let count = claims.lock().count;
                (count > 0).then(|| (number, file.rows() != Some(count)))
            })
            .chain(whole.into_iter().map(|number| (number, false)))
            .collect()
    }

    /// Rows that a scan with files and rows gave, last two columns: those that stay, and those that are told of.
    pub(super) fn remaining(&self, batch: &RecordBatch) -> Result<Vec<(Content, RecordBatch)>> {
        let shape = || Error::internal("a scan for a change does not tell its rows");
        let width = batch.num_columns().checked_sub(2).ok_or_else(shape)?;
        let numbers = |column: &ArrayRef| Arc::clone(column);
        let (files, rows) = (numbers(batch.column(width)), numbers(batch.column(width + 1)));
        let files = files.as_primitive_opt::<Int32Type>().ok_or_else(shape)?;
        let rows = rows.as_primitive_opt::<Int64Type>().ok_or_else(shape)?;
        let mut fates = Vec::with_capacity(batch.num_rows());
        let mut at = 0;
        while at < batch.num_rows() {
            // A batch is of few files: each one's claims are locked once.
            let file = files.value(at);
            let [stays, updated, deleted] = self.fates(file)?;
            let claims = usize::try_from(file).ok().and_then(|file| self.claims.get(file)).ok_or_else(shape)?.lock();
            while at < batch.num_rows() && files.value(at) == file {
                let row = usize::try_from(rows.value(at)).map_err(|_| shape())?;
                let is_in = |words: &[u64]| words.get(row / 64).is_some_and(|word| word & (1 << (row % 64)) != 0);
                fates.push(match is_in(&claims.words) {
                    false => stays,
                    true if is_in(&claims.updated) => updated,
                    true => deleted,
                });
                at += 1;
            }
        }
        let columns: Vec<usize> = (0..width).collect();
        let own = batch.project(&columns)?;
        let mut parts: Vec<(Content, RecordBatch)> = Vec::new();
        for fate in &fates {
            if let Fate::Written(content) = fate
                && !parts.iter().any(|(known, _)| known == content)
            {
                let of: BooleanArray = fates.iter().map(|other| Some(other == fate)).collect();
                parts.push((*content, filter_record_batch(&own, &of)?));
            }
        }
        Ok(parts)
    }

    /// Of rows in a file that stay, are updated, and are deleted.
    fn fates(&self, file: i32) -> Result<[Fate; 3]> {
        let told = |kind| if self.told { Fate::Written(Content::Gone(kind)) } else { Fate::Forgotten };
        Ok(match self.origin(file)? {
            Origin::Read => [Fate::Written(Content::Rows), told(ChangeType::Before), told(ChangeType::Delete)],
            Origin::Made(kind) => [Fate::Written(Content::New(kind)), Fate::Forgotten, Fate::Forgotten],
        })
    }
}
