//! The server's own logs in the warehouse: Delta tables that statements add rows to and everybody reads as tables of the
//! schema `lakegate`. A log is no part of the transaction whose statement it tells of.
//!
//! It keeps the rows of so many days; VACUUM removes the files of the others.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use tokio_util::sync::CancellationToken;

use super::commit::{self, Target};
use super::table::Table;
use super::{ColumnSpec, CreateMode, Freshness, Input, Lake, Operation, TableSpec, WriteMode, WriteRequest};
use super::{expectation_results, rejected_rows};
use crate::error::{Result, SqlState};
use crate::quality::Gate;

pub const SCHEMA: &str = "lakegate";

/// One of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    RejectedRows,
    ExpectationResults,
}

impl Kept {
    pub const ALL: [Self; 2] = [Self::RejectedRows, Self::ExpectationResults];

    /// Its name in the schema `lakegate`.
    pub fn name(self) -> &'static str {
        match self {
            Self::RejectedRows => rejected_rows::NAME,
            Self::ExpectationResults => expectation_results::NAME,
        }
    }

    /// The log that is read by that name.
    pub fn find(schema: &str, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kept| schema == SCHEMA && kept.name() == name)
    }

    /// Its place, as the catalog names places.
    pub fn place(self) -> String {
        format!("warehouse:_lakegate/{}", self.name())
    }

    /// Its columns; `day`, of the time of each row, is what it is partitioned by.
    pub fn columns(self) -> Vec<ColumnSpec> {
        let columns = match self {
            Self::RejectedRows => rejected_rows::COLUMNS,
            Self::ExpectationResults => expectation_results::COLUMNS,
        };
        columns.iter().map(|(name, ty)| ColumnSpec::new(*name, *ty)).collect()
    }

    /// The rows that somebody who is no superuser sees, as a condition.
    pub fn own_rows(self) -> &'static str {
        match self {
            Self::RejectedRows => "role = current_user",
            Self::ExpectationResults => "role = current_user OR owner = current_user",
        }
    }

    fn comment(self) -> &'static str {
        match self {
            Self::RejectedRows => "rows that COPY left out",
            Self::ExpectationResults => "what became of expectations",
        }
    }

    /// Days that rows are kept.
    pub(super) fn days_kept(self) -> i32 {
        match self {
            Self::RejectedRows => 30,
            Self::ExpectationResults => 400,
        }
    }
}

/// Days since 1970.
pub(super) fn days(at: DateTime<Utc>) -> i32 {
    i32::try_from(at.timestamp().div_euclid(86_400)).unwrap_or(i32::MAX)
}

impl Lake {
    /// A log with all that this process has for it, `None` while nothing was ever written to it.
    ///
    /// # Errors
    /// The store's.
    pub async fn kept(self: &Arc<Self>, kept: Kept) -> Result<Option<Arc<Table>>> {
        if kept == Kept::ExpectationResults
            && let Err(error) = self.flush_expectations().await
        {
            tracing::warn!(%error, "results of expectations wait on for their log");
        }
        self.kept_so_far(kept).await
    }

    async fn kept_so_far(&self, kept: Kept) -> Result<Option<Arc<Table>>> {
        match self.table(&kept.place(), Freshness::Latest).await {
            Ok(table) => Ok(Some(table)),
            Err(error) if error.sqlstate() == SqlState::UndefinedFile => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives logs that an earlier version of the program made the columns that they lack. Called once, when the server starts.
    ///
    /// # Errors
    /// The store's, and 40001 where another server does the same.
    pub async fn complete_logs(self: &Arc<Self>) -> Result<()> {
        for kept in Kept::ALL {
            let Some(table) = self.kept_so_far(kept).await? else { continue };
            let mut lacking = kept.columns();
            lacking.retain(|column| !table.columns().iter().any(|known| known.name == column.name));
            if lacking.is_empty() {
                continue;
            }
            let completed = table.private()?.evolved(&lacking).await?;
            self.commit_private(&completed, &Operation::new("ADD COLUMNS")).await?;
        }
        Ok(())
    }

    async fn kept_made(self: &Arc<Self>, kept: Kept) -> Result<Arc<Table>> {
        if let Some(table) = self.kept_so_far(kept).await? {
            return Ok(table);
        }
        let spec = TableSpec {
            location: kept.place(),
            columns: kept.columns(),
            partition_columns: vec!["day".to_owned()],
            comment: Some(kept.comment().to_owned()),
            ..TableSpec::default()
        };
        match self.create_as(&spec, CreateMode::New, Operation::new("CREATE TABLE")).await {
            // Another statement was faster.
            Err(error) if error.sqlstate() == SqlState::DuplicateTable => {
                self.table(&kept.place(), Freshness::Latest).await
            }
            made => made,
        }
    }

    /// Adds rows, given column by column, to a log. On a day that this process has not seen yet, rows of days long gone are
    /// taken out of it.
    ///
    /// # Errors
    /// Those of [`Lake::write`].
    pub(super) async fn keep(
        self: &Arc<Self>,
        kept: Kept,
        arrays: Vec<ArrayRef>,
        day: i32,
        memory: Arc<dyn MemoryPool>,
    ) -> Result<()> {
        let table = self.kept_made(kept).await?;
        let schema = Arc::clone(table.arrow_schema());
        let arrays = arrays.iter().zip(schema.fields());
        let arrays = arrays.map(|(array, field)| crate::encode::cast(array, field.data_type()));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect::<std::result::Result<_, _>>()?)?;
        let stream = Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)])));
        let written = self
            .write(WriteRequest {
                mode: WriteMode::Append(table),
                input: Input::Streams(vec![stream]),
                gate: Gate::new(SCHEMA, kept.name(), Vec::new(), Vec::new()),
                operation: Operation::new("WRITE"),
                memory,
                cancel: CancellationToken::new(),
            })
            .await?;
        let is_seen = self.expired.lock().insert(kept, day) == Some(day);
        if let Some(table) = written.table.filter(|_| !is_seen) {
            self.expire_kept(table, day - kept.days_kept()).await;
        }
        Ok(())
    }

    /// Takes the files of the days before one out of a log. If that fails, the next day does it.
    async fn expire_kept(self: &Arc<Self>, table: Arc<Table>, before: i32) {
        let is_old = |value: &ScalarValue| matches!(value, ScalarValue::Date32(Some(day)) if *day < before);
        let files = table.files.iter().enumerate();
        let removes: Vec<usize> =
            files.filter(|(_, file)| file.partition.first().is_some_and(is_old)).map(|(number, _)| number).collect();
        if removes.is_empty() {
            return;
        }
        let location = table.location.clone();
        let target = Target::Change { table, removes, changes: Vec::new(), reads_new_rows: false };
        let expired = commit::commit(Arc::clone(self), location, target, Vec::new(), Operation::new("DELETE")).await;
        if let Err(error) = expired {
            tracing::warn!(%error, "old rows could not be taken out of their log");
        }
    }
}
