//! The log of what became of expectations, read as `lakegate.expectation_results`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use datafusion::execution::memory_pool::MemoryPool;
use parking_lot::Mutex;

use super::Lake;
use super::kept::{Kept, days};
use crate::encode::types::PgType;
use crate::error::{Error, Result};
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
    ("rule_oid", PgType::INT8),
    ("files_read", PgType::INT8),
    ("files_kept", PgType::INT8),
    ("whole", PgType::BOOL),
    ("rows_checked", PgType::INT8),
    ("rows_failed", PgType::INT8),
    ("rows_dropped", PgType::INT8),
    ("rows_quarantined", PgType::INT8),
];

/// Results that wait for their commit: whoever has more of them writes all that wait first.
const BYTES_WAITING_MAX: usize = 8 << 20;

/// The rows of runs, in their order.
fn arrays(runs: &[Run]) -> Vec<ArrayRef> {
    let of_run = |of: fn(&Run) -> &str| {
        let texts = runs.iter().flat_map(|run| std::iter::repeat_n(Some(of(run)), run.results.len()));
        Arc::new(texts.collect::<StringArray>()) as ArrayRef
    };
    let each = || runs.iter().flat_map(|run| run.results.iter().map(move |_| run));
    let results = || runs.iter().flat_map(|run| &run.results);
    let text = |of: fn(&RuleResult) -> Option<&str>| Arc::new(results().map(of).collect::<StringArray>()) as ArrayRef;
    let number = |of: fn(&RuleResult) -> Option<u64>| {
        let numbers = results().map(|result| i64::try_from(of(result)?).ok());
        Arc::new(numbers.collect::<Int64Array>()) as ArrayRef
    };
    let float = |of: fn(&RuleResult) -> Option<f64>| Arc::new(results().map(of).collect::<Float64Array>()) as ArrayRef;
    let at: TimestampMicrosecondArray = each().map(|run| Some(run.at.timestamp_micros())).collect();
    let day: Date32Array = each().map(|run| Some(days(run.at))).collect();
    let version: Int64Array = each().map(|run| i64::try_from(run.table_version?).ok()).collect();
    let whole: BooleanArray = each().map(|run| Some(run.whole)).collect();
    let rows = |of: fn(RowTotals) -> u64| {
        let rows: Int64Array = each().map(|run| i64::try_from(of(run.rows?)).ok()).collect();
        Arc::new(rows) as ArrayRef
    };
    vec![
        of_run(|run| &run.id),
        Arc::new(at.with_timezone("UTC")),
        Arc::new(day),
        of_run(|run| &run.table),
        of_run(|run| &run.owner),
        of_run(|run| &run.role),
        of_run(|run| &run.source),
        Arc::new(version),
        text(|result| Some(&result.rule)),
        text(|result| Some(result.kind)),
        text(|result| Some(result.action.words())),
        text(|result| Some(result.status.word())),
        number(|result| Some(result.checked)),
        number(|result| Some(result.passed)),
        number(|result| Some(result.failed)),
        number(|result| Some(result.dropped)),
        number(|result| Some(result.quarantined)),
        float(|result| result.value),
        text(|result| result.threshold.as_deref()),
        text(|result| Some(result.severity.word())),
        float(|result| result.ms),
        text(|result| result.error.as_deref()),
        text(|result| result.samples.as_deref()),
        number(|result| Some(u64::from(result.rule_oid))),
        number(|result| result.files_read),
        number(|result| result.files_kept),
        Arc::new(whole),
        rows(|rows| rows.checked),
        rows(|rows| rows.failed),
        rows(|rows| rows.dropped),
        rows(|rows| rows.quarantined),
    ]
}

/// Runs that are not in the log yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    runs: Mutex<WaitingRuns>,
    /// Who writes them.
    writing: tokio::sync::Mutex<()>,
    come: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct WaitingRuns {
    runs: Vec<Run>,
    bytes: usize,
    memory: Option<Arc<dyn MemoryPool>>,
}

/// About what a run takes while it waits.
fn bytes(run: &Run) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let result = |result: &RuleResult| {
        size_of::<RuleResult>()
            + result.rule.len()
            + text(&result.threshold)
            + text(&result.error)
            + text(&result.samples)
    };
    size_of::<Run>() + run.results.iter().map(result).sum::<usize>()
}

impl Lake {
    /// Adds a run's results to the log: soon, in one commit with those of other statements, and before anybody reads the log
    /// here. A crash loses those that wait.
    ///
    /// # Errors
    /// Those of [`Lake::flush_expectations`], where too many wait already: then the run is not added.
    pub async fn log_expectations(self: &Arc<Self>, run: Run, memory: Arc<dyn MemoryPool>) -> Result<()> {
        if run.results.is_empty() {
            return Ok(());
        }
        let is_full = || self.waiting.runs.lock().bytes >= BYTES_WAITING_MAX;
        if is_full() {
            self.flush_expectations().await?;
        }
        let mut waiting = self.waiting.runs.lock();
        waiting.bytes += bytes(&run);
        waiting.runs.push(run);
        waiting.memory = Some(memory);
        self.waiting.come.notify_one();
        Ok(())
    }

    /// Waits until there are results that are not in the log yet.
    pub async fn expectations_waiting(&self) {
        self.waiting.come.notified().await;
    }

    /// Writes what waits for the log. It runs to its end, whoever stops waiting for it.
    ///
    /// # Errors
    /// Those of [`Lake::write`]; the results wait on.
    pub async fn flush_expectations(self: &Arc<Self>) -> Result<()> {
        if self.waiting.is_idle() {
            return Ok(());
        }
        let lake = Arc::clone(self);
        let flushed = tokio::spawn(async move { lake.write_waiting().await });
        flushed.await.unwrap_or_else(|error| Err(Error::internal(format!("results could not be logged: {error}"))))
    }

    async fn write_waiting(self: Arc<Self>) -> Result<()> {
        let _turn = self.waiting.writing.lock().await;
        let WaitingRuns { runs, bytes, memory } = std::mem::take(&mut *self.waiting.runs.lock());
        let (Some(newest), Some(memory)) = (runs.iter().map(|run| days(run.at)).max(), memory) else { return Ok(()) };
        let written = self.keep(Kept::ExpectationResults, arrays(&runs), newest, Arc::clone(&memory)).await;
        if written.is_err() {
            let mut waiting = self.waiting.runs.lock();
            waiting.runs.splice(0..0, runs);
            waiting.bytes += bytes;
            waiting.memory.get_or_insert(memory);
        }
        written
    }
}

impl Waiting {
    /// Whether nothing waits and nothing is being written.
    fn is_idle(&self) -> bool {
        self.runs.lock().runs.is_empty() && self.writing.try_lock().is_ok()
    }
}
