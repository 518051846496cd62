//! Single commits of a table's log, as they were written.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deltalake::logstore::commit_uri_from_version;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde_json::{Map, Value};

use super::past::{Listing, commit_times};
use super::stores::Resolved;
use super::table::Table;
use super::{Lake, log};
use crate::error::{Error, Result, SqlState};

/// Keys of a commit's info that only we write.
pub(super) const OPERATION_KEY: &str = "lakegate.operation";

/// What one commit did.
#[derive(Debug, Default)]
pub(super) struct Commit {
    pub(super) version: u64,
    pub(super) info: Map<String, Value>,
    /// Of tables whose commits carry their own time.
    pub(super) in_commit_time: Option<DateTime<Utc>>,
    pub(super) adds: Vec<LoggedFile>,
    pub(super) removes: Vec<LoggedFile>,
    /// Files of changed rows.
    pub(super) changes: Vec<LoggedFile>,
    /// Whether it gave the table another definition.
    pub(super) defines: bool,
}

/// A file as an action names it.
#[derive(Debug, Clone)]
pub(super) struct LoggedFile {
    /// As the log has it, decoded.
    pub(super) name: String,
    pub(super) partition: HashMap<String, Option<String>>,
    pub(super) bytes: Option<u64>,
    /// Whether the commit changed rows with it, and did not only move them.
    pub(super) data_change: bool,
    pub(super) has_vector: bool,
}

impl LoggedFile {
    fn of(action: &Value) -> Option<Self> {
        let path = action.get("path")?.as_str()?;
        let partition = action.get("partitionValues").and_then(Value::as_object).cloned().unwrap_or_default();
        Some(Self {
            name: percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned(),
            partition: partition.into_iter().map(|(key, value)| (key, value.as_str().map(str::to_owned))).collect(),
            bytes: action.get("size").and_then(Value::as_u64),
            data_change: action.get("dataChange").and_then(Value::as_bool).unwrap_or(true),
            has_vector: action.get("deletionVector").is_some_and(|vector| !vector.is_null()),
        })
    }

    /// Key in the store.
    pub(super) fn stored_at(&self, location: &Resolved) -> Path {
        let path = Path::parse(&self.name).unwrap_or_else(|_| Path::from(self.name.as_str()));
        location.path.parts().chain(path.parts()).collect()
    }
}

/// The commit of that version, `None` when the log does not have it.
pub(super) async fn read(location: &Resolved, version: u64) -> Result<Option<Commit>> {
    let path: Path = location.path.parts().chain(commit_uri_from_version(Some(version)).parts()).collect();
    let text = match location.log_store().get(&path).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut commit = Commit { version, ..Commit::default() };
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let action: Map<String, Value> = serde_json::from_slice(line).map_err(|error| {
            let message = format!("commit {version} of the table's log is damaged");
            Error::new(SqlState::DataCorrupted, message).with_source(error)
        })?;
        for (kind, action) in action {
            match kind.as_str() {
                "add" => commit.adds.extend(LoggedFile::of(&action)),
                "remove" => commit.removes.extend(LoggedFile::of(&action)),
                "cdc" => commit.changes.extend(LoggedFile::of(&action)),
                "metaData" | "protocol" => commit.defines = true,
                "commitInfo" => {
                    let time = action.get("inCommitTimestamp").and_then(Value::as_i64);
                    commit.in_commit_time = time.and_then(DateTime::from_timestamp_millis);
                    if let Value::Object(info) = action {
                        commit.info = info;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(Some(commit))
}

/// One version in a table's history.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    pub version: u64,
    pub time: DateTime<Utc>,
    pub user: Option<String>,
    pub operation: Option<String>,
    pub parameters: Option<Value>,
    pub read_version: Option<u64>,
    pub isolation: Option<String>,
    pub is_blind_append: Option<bool>,
    pub metrics: Option<Value>,
    pub user_metadata: Option<String>,
    pub engine: Option<String>,
}

/// The versions that a table's log still tells of.
#[derive(Debug)]
pub struct History {
    table: Arc<Table>,
    /// Newest first.
    versions: Vec<(u64, DateTime<Utc>)>,
}

impl Lake {
    /// The history of a table as far back as its log is kept: a listing now, a small read for each version.
    pub async fn history(&self, newest: &Arc<Table>) -> Result<History> {
        let table = newest.private.as_ref().map_or_else(|| Arc::clone(newest), |private| Arc::clone(&private.base));
        let listing = Listing::read(&table.location).await?;
        let times = commit_times(&table, &listing).await?;
        Ok(History { versions: times.into_iter().rev().collect(), table })
    }
}

impl History {
    pub fn versions(&self) -> &[(u64, DateTime<Utc>)] {
        &self.versions
    }

    /// What one of the versions says about itself.
    pub async fn entry(&self, (version, time): (u64, DateTime<Utc>)) -> Result<HistoryEntry> {
        let commit = read(&self.table.location, version).await?;
        let mut info = commit.map(|commit| commit.info).unwrap_or_default();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let operation = text(info.get(OPERATION_KEY)).or_else(|| text(info.get("operation")));
        Ok(HistoryEntry {
            version,
            time,
            user: text(info.get("userName")),
            operation,
            read_version: info.get("readVersion").and_then(Value::as_u64),
            isolation: text(info.get("isolationLevel")),
            is_blind_append: info.get("isBlindAppend").and_then(Value::as_bool),
            user_metadata: text(info.get("userMetadata")),
            engine: text(info.get("engineInfo")).or_else(|| text(info.get("clientVersion"))),
            parameters: info.remove("operationParameters"),
            metrics: info.remove("operationMetrics"),
        })
    }
}

/// What DESCRIBE DETAIL tells beside a table's files and properties.
#[derive(Debug, Clone)]
pub struct Detail {
    pub id: String,
    pub created: Option<DateTime<Utc>>,
    pub modified: Option<DateTime<Utc>>,
    pub reader_version: i32,
    pub writer_version: i32,
    pub features: Vec<String>,
}

impl Lake {
    pub async fn detail(&self, table: &Arc<Table>) -> Result<Detail> {
        let snapshot = table.snapshot()?;
        let (metadata, protocol) = (snapshot.metadata(), snapshot.protocol());
        let readers = protocol.reader_features().unwrap_or_default().iter();
        let mut features: Vec<String> = readers.map(ToString::to_string).collect();
        features.extend(protocol.writer_features().unwrap_or_default().iter().map(ToString::to_string));
        features.sort_unstable();
        features.dedup();
        Ok(Detail {
            id: metadata.id().to_owned(),
            created: metadata.created_time().and_then(DateTime::from_timestamp_millis),
            modified: table.mark.as_ref().map(log::Mark::modified),
            reader_version: protocol.min_reader_version(),
            writer_version: protocol.min_writer_version(),
            features,
        })
    }
}
