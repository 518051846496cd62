//! The log of rows that COPY left out: a Delta table in the warehouse, read as `lakegate.rejected_rows`.
//!
//! It is a log and no part of the loading transaction: what was refused is told also of a load that failed on its limit.
//! It keeps so many rows of a load, and those of so many days; VACUUM removes the files of the others.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use tokio_util::sync::CancellationToken;

use super::commit::{self, Target};
use super::table::Table;
use super::{ColumnSpec, CreateMode, Freshness, Input, Lake, Operation, TableSpec, WriteMode, WriteRequest};
use crate::encode::copy::Reject;
use crate::encode::types::PgType;
use crate::error::{Result, SqlState};
use crate::quality::Gate;

pub const SCHEMA: &str = "lakegate";
pub const NAME: &str = "rejected_rows";
/// Its place, as the catalog names places.
pub const PLACE: &str = "warehouse:_lakegate/rejected_rows";
/// Days that rows are kept.
const DAYS_KEPT: i32 = 30;

/// Whose rows they are.
#[derive(Debug, Clone)]
pub struct RejectedLoad {
    /// As schema.table.
    pub table: String,
    pub role: String,
    pub at: DateTime<Utc>,
}

/// Its columns.
pub fn columns() -> Vec<ColumnSpec> {
    let columns = [
        ("load_id", PgType::TEXT),
        ("at", PgType::TIMESTAMPTZ),
        ("day", PgType::DATE),
        ("table", PgType::TEXT),
        ("role", PgType::TEXT),
        ("file", PgType::TEXT),
        ("line", PgType::INT8),
        ("column", PgType::TEXT),
        ("value", PgType::TEXT),
        ("error", PgType::TEXT),
    ];
    columns.into_iter().map(|(name, ty)| ColumnSpec::new(name, ty)).collect()
}

fn days(at: DateTime<Utc>) -> i32 {
    i32::try_from(at.timestamp().div_euclid(86_400)).unwrap_or(i32::MAX)
}

fn batch(load: &RejectedLoad, load_id: &str, rows: &[Reject], table: &Table) -> Result<RecordBatch> {
    let count = rows.len();
    let text = |of: fn(&Reject) -> Option<&str>| Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let same = |value: &str| Arc::new(StringArray::from(vec![value; count])) as ArrayRef;
    let lines = rows.iter().map(|row| i64::try_from(row.line).ok());
    let arrays: Vec<ArrayRef> = vec![
        same(load_id),
        Arc::new(TimestampMicrosecondArray::from(vec![load.at.timestamp_micros(); count]).with_timezone("UTC")),
        Arc::new(Date32Array::from(vec![days(load.at); count])),
        same(&load.table),
        same(&load.role),
        text(|row| row.source.as_deref()),
        Arc::new(lines.collect::<Int64Array>()),
        text(|row| Some(row.column.as_str()).filter(|name| !name.is_empty())),
        text(|row| row.text.as_deref()),
        text(|row| Some(&row.message)),
    ];
    let schema = table.arrow_schema();
    let fields = schema.fields().iter();
    let arrays = arrays.iter().zip(fields).map(|(array, field)| arrow::compute::cast(array, field.data_type()));
    Ok(RecordBatch::try_new(Arc::clone(schema), arrays.collect::<std::result::Result<_, _>>()?)?)
}

impl Lake {
    /// The log of rejected rows, `None` when nothing was ever rejected.
    ///
    /// # Errors
    /// The store's.
    pub async fn rejected_rows(&self) -> Result<Option<Arc<Table>>> {
        match self.table(PLACE, Freshness::Latest).await {
            Ok(table) => Ok(Some(table)),
            Err(error) if error.sqlstate() == SqlState::UndefinedFile => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn rejected_rows_made(self: &Arc<Self>) -> Result<Arc<Table>> {
        if let Some(table) = self.rejected_rows().await? {
            return Ok(table);
        }
        let partition_columns = vec!["day".to_owned()];
        let comment = Some("rows that COPY left out".to_owned());
        let spec = TableSpec {
            location: PLACE.to_owned(),
            columns: columns(),
            partition_columns,
            comment,
            ..TableSpec::default()
        };
        match self.create_as(&spec, CreateMode::New, Operation::new("CREATE TABLE")).await {
            // Another statement was faster.
            Err(error) if error.sqlstate() == SqlState::DuplicateTable => self.table(PLACE, Freshness::Latest).await,
            made => made,
        }
    }

    /// Adds rows to the log and gives the id that they have there. Rows of days long gone are taken out of it.
    ///
    /// # Errors
    /// Those of [`Lake::write`].
    pub async fn log_rejected(
        self: &Arc<Self>,
        load: &RejectedLoad,
        rows: &[Reject],
        memory: Arc<dyn MemoryPool>,
    ) -> Result<String> {
        let table = self.rejected_rows_made().await?;
        let load_id = uuid::Uuid::now_v7().to_string();
        let batch = batch(load, &load_id, rows, &table)?;
        let stream = futures::stream::iter([Ok(batch)]);
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(table.arrow_schema()), stream));
        let written = self
            .write(WriteRequest {
                mode: WriteMode::Append(table),
                input: Input::Streams(vec![stream]),
                gate: Gate::new(SCHEMA, NAME, Vec::new(), Vec::new()),
                operation: Operation::new("COPY"),
                memory,
                cancel: CancellationToken::new(),
            })
            .await?;
        if let Some(table) = written.table {
            self.expire_rejected(table, days(load.at) - DAYS_KEPT).await;
        }
        Ok(load_id)
    }

    /// Takes the files of the days before one out of the log. If that fails, the next load does it.
    async fn expire_rejected(self: &Arc<Self>, table: Arc<Table>, before: i32) {
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
            tracing::warn!(%error, "old rejected rows could not be taken out of their log");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use chrono::TimeDelta;
    use datafusion::execution::memory_pool::UnboundedMemoryPool;

    use super::super::{LakeOptions, Stores};
    use super::*;

    #[tokio::test]
    async fn rows_of_days_long_gone_are_taken_out() {
        let stores = Stores::new("memory://rejected", HashMap::new()).unwrap();
        let lake = Lake::new(Arc::new(stores), LakeOptions::default());
        assert!(lake.rejected_rows().await.unwrap().is_none());
        let row = Reject {
            source: Some("x.csv".into()),
            line: 7,
            column: "a".to_owned(),
            text: Some("q".to_owned()),
            message: "no number".to_owned(),
        };
        let now = Utc::now();
        for (days, rows) in [(i64::from(DAYS_KEPT) + 1, 3), (i64::from(DAYS_KEPT) - 1, 2), (0, 1)] {
            let at = now - TimeDelta::days(days);
            let load = RejectedLoad { table: "public.t".to_owned(), role: "r".to_owned(), at };
            let rows = vec![row.clone(); rows];
            lake.log_rejected(&load, &rows, Arc::new(UnboundedMemoryPool::default())).await.unwrap();
        }
        let table = lake.rejected_rows().await.unwrap().unwrap();
        assert_eq!((table.num_rows(), table.num_files()), (Some(3), 2));
    }
}
