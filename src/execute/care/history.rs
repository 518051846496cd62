//! DESCRIBE HISTORY: the versions of a table, newest first, as far back as its log goes.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};

use crate::encode::types::PgType;
use crate::error::Result;
use crate::execute::output::{Output, RowsTag};
use crate::execute::road::Road;
use crate::lake::HistoryEntry;
use crate::sql::QualifiedName;

/// Versions of one batch of rows.
const BATCH_VERSIONS: usize = 64;
const READ_AT_A_TIME: usize = 16;

pub(super) const COLUMNS: &[(&str, PgType)] = &[
    ("version", PgType::INT8),
    ("timestamp", PgType::TIMESTAMPTZ),
    ("userName", PgType::TEXT),
    ("operation", PgType::TEXT),
    ("operationParameters", PgType::JSONB),
    ("readVersion", PgType::INT8),
    ("isolationLevel", PgType::TEXT),
    ("isBlindAppend", PgType::BOOL),
    ("operationMetrics", PgType::JSONB),
    ("userMetadata", PgType::TEXT),
    ("engineInfo", PgType::TEXT),
];

pub(super) async fn run(road: &mut Road<'_>, name: &QualifiedName, limit: Option<u64>) -> Result<Output> {
    let target = road.told(name).await?;
    let history = Arc::new(road.ground.lake.history(&target.table).await?);
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let versions: Vec<_> = history.versions().iter().copied().take(limit).collect();
    let chunks: Vec<Vec<_>> = versions.chunks(BATCH_VERSIONS).map(<[_]>::to_vec).collect();
    let stream = futures::stream::iter(chunks).then(move |versions| {
        let history = Arc::clone(&history);
        async move {
            let entries = futures::stream::iter(versions).map(|version| history.entry(version));
            let entries: Vec<HistoryEntry> = entries.buffered(READ_AT_A_TIME).try_collect().await?;
            batch(&entries)
        }
    });
    let columns = super::output(COLUMNS).into();
    Ok(Output::Rows { columns, stream: Box::pin(stream), tag: RowsTag::Counted("DESCRIBE") })
}

fn batch(entries: &[HistoryEntry]) -> Result<RecordBatch> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let json = |value: &Option<serde_json::Value>| value.as_ref().and_then(super::jsonb);
    let times = entries.iter().map(|entry| entry.time.timestamp_micros());
    let text = |of: &dyn Fn(&HistoryEntry) -> Option<String>| -> ArrayRef {
        Arc::new(entries.iter().map(of).collect::<StringArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(entries.iter().map(|entry| Some(number(entry.version))).collect::<Int64Array>()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        text(&|entry| entry.user.clone()),
        text(&|entry| entry.operation.clone()),
        text(&|entry| json(&entry.parameters)),
        Arc::new(entries.iter().map(|entry| entry.read_version.map(number)).collect::<Int64Array>()),
        text(&|entry| entry.isolation.clone()),
        Arc::new(entries.iter().map(|entry| entry.is_blind_append).collect::<BooleanArray>()),
        text(&|entry| json(&entry.metrics)),
        text(&|entry| entry.user_metadata.clone()),
        text(&|entry| entry.engine.clone()),
    ];
    super::rows_batch(COLUMNS, columns)
}
