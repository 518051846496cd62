//! The log of what became of expectations, read as `lakegate.expectation_results`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use datafusion::execution::memory_pool::MemoryPool;

use super::Lake;
use super::kept::{Kept, days};
use crate::encode::types::PgType;
use crate::error::Result;
use crate::quality::result::{RowTotals, RuleResult, Run};

pub(super) const NAME: &str = "expectation_results";

pub(super) const COLUMNS: &[(&str, PgType)] = &[
    ("run_id", PgType::TEXT),
    ("at", PgType::TIMESTAMPTZ),
    ("day", PgType::DATE),
    ("table", PgType::TEXT),
    ("owner", PgType::TEXT),
    ("role", PgType::TEXT),
    ("source", PgType::TEXT),
    ("table_version", PgType::INT8),
    ("rule", PgType::TEXT),
    ("kind", PgType::TEXT),
    ("action", PgType::TEXT),
    ("status", PgType::TEXT),
    ("checked", PgType::INT8),
    ("passed", PgType::INT8),
    ("failed", PgType::INT8),
    ("dropped", PgType::INT8),
    ("quarantined", PgType::INT8),
    ("value", PgType::FLOAT8),
    ("threshold", PgType::TEXT),
    ("severity", PgType::TEXT),
    ("ms", PgType::FLOAT8),
    ("error", PgType::TEXT),
    ("samples", PgType::JSONB),
    ("rows_checked", PgType::INT8),
    ("rows_failed", PgType::INT8),
    ("rows_dropped", PgType::INT8),
    ("rows_quarantined", PgType::INT8),
];

fn arrays(run: &Run) -> Vec<ArrayRef> {
    let results = &run.results;
    let count = results.len();
    let same = |value: &str| Arc::new(StringArray::from(vec![value; count])) as ArrayRef;
    let text =
        |of: fn(&RuleResult) -> Option<&str>| Arc::new(results.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let number = |of: fn(&RuleResult) -> u64| {
        let numbers = results.iter().map(|result| i64::try_from(of(result)).ok());
        Arc::new(numbers.collect::<Int64Array>()) as ArrayRef
    };
    let float =
        |of: fn(&RuleResult) -> Option<f64>| Arc::new(results.iter().map(of).collect::<Float64Array>()) as ArrayRef;
    let rows = |of: fn(RowTotals) -> u64| {
        let rows = run.rows.and_then(|rows| i64::try_from(of(rows)).ok());
        Arc::new(Int64Array::from(vec![rows; count])) as ArrayRef
    };
    let version = run.table_version.and_then(|version| i64::try_from(version).ok());
    vec![
        same(&run.id),
        Arc::new(TimestampMicrosecondArray::from(vec![run.at.timestamp_micros(); count]).with_timezone("UTC")),
        Arc::new(Date32Array::from(vec![days(run.at); count])),
        same(&run.table),
        same(&run.owner),
        same(&run.role),
        same(&run.source),
        Arc::new(Int64Array::from(vec![version; count])),
        text(|result| Some(&result.rule)),
        text(|result| Some(result.kind)),
        text(|result| Some(result.action.words())),
        text(|result| Some(result.status.word())),
        number(|result| result.checked),
        number(|result| result.passed),
        number(|result| result.failed),
        number(|result| result.dropped),
        number(|result| result.quarantined),
        float(|result| result.value),
        text(|result| result.threshold.as_deref()),
        text(|result| Some(result.severity.word())),
        float(|result| result.ms),
        text(|result| result.error.as_deref()),
        text(|result| result.samples.as_deref()),
        rows(|rows| rows.checked),
        rows(|rows| rows.failed),
        rows(|rows| rows.dropped),
        rows(|rows| rows.quarantined),
    ]
}

impl Lake {
    /// Adds a run's results to the log.
    ///
    /// # Errors
    /// Those of [`Lake::write`].
    pub async fn log_expectations(self: &Arc<Self>, run: &Run, memory: Arc<dyn MemoryPool>) -> Result<()> {
        if run.results.is_empty() {
            return Ok(());
        }
        self.keep(Kept::ExpectationResults, arrays(run), days(run.at), memory).await
    }
}
