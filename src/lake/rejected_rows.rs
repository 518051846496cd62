//! The log of rows that COPY left out, read as `lakegate.rejected_rows`: what was refused is told also of a load that failed on
//! its limit.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use chrono::{DateTime, Utc};
use datafusion::execution::memory_pool::MemoryPool;

use super::Lake;
use super::kept::{Kept, days};
use crate::encode::copy::Reject;
use crate::encode::types::PgType;
use crate::error::Result;

pub(super) const NAME: &str = "rejected_rows";

pub(super) const COLUMNS: &[(&str, PgType)] = &[
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

/// Whose rows they are.
#[derive(Debug, Clone)]
pub struct RejectedLoad {
    /// As schema.table.
    pub table: String,
    pub role: String,
    pub at: DateTime<Utc>,
}

fn arrays(load: &RejectedLoad, load_id: &str, rows: &[Reject]) -> Vec<ArrayRef> {
    let count = rows.len();
    let text = |of: fn(&Reject) -> Option<&str>| Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let same = |value: &str| Arc::new(StringArray::from(vec![value; count])) as ArrayRef;
    let lines = rows.iter().map(|row| i64::try_from(row.line).ok());
    vec![
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
    ]
}

impl Lake {
    /// Adds rows to the log and gives the id that they have there.
    ///
    /// # Errors
    /// Those of [`Lake::write`].
    pub async fn log_rejected(
        self: &Arc<Self>,
        load: &RejectedLoad,
        rows: &[Reject],
        memory: Arc<dyn MemoryPool>,
    ) -> Result<String> {
        let load_id = uuid::Uuid::now_v7().to_string();
        self.keep(Kept::RejectedRows, arrays(load, &load_id, rows), days(load.at), memory).await?;
        Ok(load_id)
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
        assert!(lake.kept(Kept::RejectedRows).await.unwrap().is_none());
        let row = Reject {
            source: Some("x.csv".into()),
            line: 7,
            column: "a".to_owned(),
            text: Some("q".to_owned()),
            message: "no number".to_owned(),
        };
        let (now, days_kept) = (Utc::now(), i64::from(Kept::RejectedRows.days_kept()));
        for (days, rows) in [(days_kept + 1, 3), (days_kept - 1, 2), (0, 1)] {
            let at = now - TimeDelta::days(days);
            let load = RejectedLoad { table: "public.t".to_owned(), role: "r".to_owned(), at };
            let rows = vec![row.clone(); rows];
            lake.log_rejected(&load, &rows, Arc::new(UnboundedMemoryPool::default())).await.unwrap();
        }
        let table = lake.kept(Kept::RejectedRows).await.unwrap().unwrap();
        assert_eq!((table.num_rows(), table.num_files()), (Some(3), 2));
    }
}
