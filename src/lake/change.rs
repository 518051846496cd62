//! What UPDATE, DELETE and MERGE do to single rows: rows of files are claimed, files with claimed rows are written anew
//! without them, new rows go into files of their own, and all of it is one commit.
//!
//! ```text
//! plan: file, row, action, columns… ─→ claim (file, row) ─┬→ new rows → gate → files
//!                                                         └→ a bit for each claimed row
//! files with some claimed rows ─→ the other rows, unchecked → files        files whose every row is claimed: no read
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int8Type, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;

use super::scan::whole_files;
use super::table::Table;
use crate::error::{Error, Result};

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
}

/// The claimed rows of one file.
#[derive(Debug, Default)]
struct Claims {
    words: Vec<u64>,
    count: u64,
}

impl Changing {
    pub(super) fn new(change: Arc<Change>, pool: &Arc<dyn MemoryPool>) -> Self {
        let claims = change.table.files.iter().map(|_| Mutex::default()).collect();
        let memory = Mutex::new(MemoryConsumer::new("ChangedRows").register(pool));
        Self { change, claims, counts: Mutex::default(), whole: Mutex::default(), memory }
    }

    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    /// Claims every row of the files that a plan gives whole. `false` when the plan must be run.
    pub(super) fn take_whole(&self, plan: &Arc<dyn ExecutionPlan>) -> bool {
        if !self.change.only_removes {
            return false;
        }
        let Some(files) = whole_files(plan) else { return false };
        let rows = files.iter().map(|number| self.change.table.files.get(*number)?.rows());
        let Some(deleted) = rows.sum::<Option<u64>>() else { return false };
        self.counts.lock().deleted += deleted;
        *self.whole.lock() = files;
        true
    }

    /// Claims the rows that a batch names and gives the rows that it makes, in the table's columns.
    ///
    /// # Errors
    /// [`Change::repeated`] and [`Change::failure`]; 53200 when the pool has no room for the claims.
    pub(super) async fn take(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let (kept, written) = self.claim(batch)?;
        let width = LEADING + self.change.table.columns().len();
        if let Some(returned) = &self.change.returned {
            let columns: Vec<usize> = (width..batch.num_columns()).collect();
            returned.take(filter_record_batch(&batch.project(&columns)?, &kept)?).await?;
        }
        let columns: Vec<usize> = (LEADING..width).collect();
        Ok(filter_record_batch(&batch.project(&columns)?, &written)?)
    }

    /// Which rows count, and which of them make a row.
    fn claim(&self, batch: &RecordBatch) -> Result<(BooleanArray, BooleanArray)> {
        let shape = || Error::internal("a change's plan has not the columns of a change");
        let [files, rows, actions] = batch.columns().get(..LEADING).ok_or_else(shape)? else { return Err(shape()) };
        let files = files.as_primitive_opt::<Int32Type>().ok_or_else(shape)?;
        let rows = rows.as_primitive_opt::<Int64Type>().ok_or_else(shape)?;
        let actions = actions.as_primitive_opt::<Int8Type>().ok_or_else(shape)?;
        let mut kept = BooleanBufferBuilder::new(batch.num_rows());
        let mut written = BooleanBufferBuilder::new(batch.num_rows());
        let mut counts = Counts::default();
        for index in 0..batch.num_rows() {
            let action = if actions.is_null(index) { None } else { RowAction::of(actions.value(index)) };
            let named =
                || (!files.is_null(index) && !rows.is_null(index)).then(|| (files.value(index), rows.value(index)));
            let counted = match action.ok_or_else(shape)? {
                RowAction::Insert => {
                    counts.inserted += 1;
                    true
                }
                RowAction::Update | RowAction::Delete => {
                    let (file, row) = named().ok_or_else(shape)?;
                    let first = self.claim_row(file, row)?;
                    if let (false, Some(error)) = (first, &self.change.repeated) {
                        return Err(error.clone());
                    }
                    let of_kind = if actions.value(index) == RowAction::Update.code() {
                        &mut counts.updated
                    } else {
                        &mut counts.deleted
                    };
                    *of_kind += u64::from(first);
                    first
                }
                RowAction::Fail => {
                    let failure = self.change.failure.clone();
                    return Err(failure.unwrap_or_else(|| Error::internal("a change failed without an error")));
                }
            };
            kept.append(counted);
            written.append(counted && actions.value(index) != RowAction::Delete.code());
        }
        self.counts.lock().add(counts);
        Ok((BooleanArray::new(kept.finish(), None), BooleanArray::new(written.finish(), None)))
    }

    /// Whether the row was not claimed before.
    fn claim_row(&self, file: i32, row: i64) -> Result<bool> {
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
        let Some(word) = claims.words.get_mut(word) else { return Err(unknown()) };
        let first = *word & bit == 0;
        *word |= bit;
        claims.count += u64::from(first);
        Ok(first)
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

    /// Of rows that a scan with files and rows gave, last two columns, those that stay.
    pub(super) fn remaining(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let shape = || Error::internal("a scan for a change does not tell its rows");
        let width = batch.num_columns().checked_sub(2).ok_or_else(shape)?;
        let numbers = |column: &ArrayRef| Arc::clone(column);
        let (files, rows) = (numbers(batch.column(width)), numbers(batch.column(width + 1)));
        let files = files.as_primitive_opt::<Int32Type>().ok_or_else(shape)?;
        let rows = rows.as_primitive_opt::<Int64Type>().ok_or_else(shape)?;
        let mut stays = BooleanBufferBuilder::new(batch.num_rows());
        let mut at = 0;
        while at < batch.num_rows() {
            // A batch is of few files: each one's claims are locked once.
            let file = files.value(at);
            let claims = usize::try_from(file).ok().and_then(|file| self.claims.get(file)).ok_or_else(shape)?.lock();
            while at < batch.num_rows() && files.value(at) == file {
                let row = usize::try_from(rows.value(at)).map_err(|_| shape())?;
                let claimed = claims.words.get(row / 64).is_some_and(|word| word & (1 << (row % 64)) != 0);
                stays.append(!claimed);
                at += 1;
            }
        }
        let columns: Vec<usize> = (0..width).collect();
        Ok(filter_record_batch(&batch.project(&columns)?, &BooleanArray::new(stays.finish(), None))?)
    }
}
