//! What happened to a table's rows between two versions, from its log: files that record changed rows where there are some,
//! else the files that commits added and removed.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::data_file::{DataFile, Layout};
use super::feed::COLUMNS;
use super::history::{self, Commit, LoggedFile};
use super::past::{Listing, commit_times, missing, public};
use super::scan::LakeScan;
use super::table::Table;
use super::{ColumnSpec, Lake};
use crate::error::{Error, Result, SqlState};

const COMMITS_AT_A_TIME: usize = 16;

/// The changes as files, each with its commit's version and time behind the table's columns.
#[derive(Debug)]
pub struct Changes {
    /// Of the last version.
    pub columns: Vec<ColumnSpec>,
    pub files: Vec<ChangedFiles>,
    /// Whether `added` and `removed` have files: of commits that did both, which may have moved rows.
    pub has_moves: bool,
    /// Whether `recorded` has files.
    pub is_recorded: bool,
}

/// Files that changed rows in one way: `inserted`, `deleted`, `added` and `removed` by the same commit, or `recorded`, whose rows
/// tell themselves what they are, in a column behind the table's.
#[derive(Debug)]
pub struct ChangedFiles {
    pub name: &'static str,
    pub provider: Arc<dyn TableProvider>,
    pub is_recorded: bool,
}

/// Files by what they did.
#[derive(Default)]
struct Sorted {
    inserted: Vec<Arc<DataFile>>,
    deleted: Vec<Arc<DataFile>>,
    added: Vec<Arc<DataFile>>,
    removed: Vec<Arc<DataFile>>,
    recorded: Vec<Arc<DataFile>>,
}

impl Lake {
    /// What the commits from one version to another did, both included, in the columns of the last one.
    ///
    /// # Errors
    /// 22023 for a range that ends before it begins; 55000 when commits or files of it are gone; 0A000 when the changes cannot
    /// be told from the log.
    pub async fn changes(&self, newest: &Arc<Table>, from: u64, to: &Arc<Table>) -> Result<Changes> {
        // What a transaction has not committed yet is no version.
        let (newest, to) = (&public(newest), &public(to));
        if from > to.version() {
            let message = format!("table_changes cannot go from version {from} back to version {}", to.version());
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        if let Some(column) = to.columns().iter().find(|column| COLUMNS.contains(&column.name.as_str())) {
            let what = format!("table_changes of a table with a column \"{}\"", column.name);
            return Err(Error::unsupported(what));
        }
        if to.maps_columns() {
            return Err(Error::unsupported("table_changes of a table with column mapping"));
        }
        let listing = Listing::read(&to.location).await?;
        let times = commit_times(to, &listing).await?;
        let commits = futures::stream::iter(from..=to.version()).map(|version| history::read(&to.location, version));
        let mut commits = commits.buffered(COMMITS_AT_A_TIME);
        let mut sorted = Sorted::default();
        let mut version = from;
        while let Some(commit) = commits.try_next().await? {
            let (Some(commit), Some(time)) = (commit, times.get(&version)) else {
                let message = format!("the changes of version {version} of the table are not in its log any more");
                return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message));
            };
            if commit.defines && version > from {
                self.check_types(newest, version, to).await?;
            }
            let constants = [
                ScalarValue::Int64(i64::try_from(version).ok()),
                ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), Some("UTC".into())),
            ];
            sorted.take(commit, to, &constants).await?;
            version += 1;
        }
        let all = [&sorted.inserted, &sorted.deleted, &sorted.added, &sorted.removed, &sorted.recorded];
        let paths = all.into_iter().flatten().map(|file| &file.path);
        let gone = missing(&to.location, paths, newest).await?;
        if gone > 0 {
            let message = format!("the changes since version {from} of the table cannot be read any more");
            return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message)
                .with_detail(format!("{gone} of the files with changed rows were removed.")));
        }
        Ok(sorted.changes(to))
    }

    /// Refuses files whose columns have other types than the last version's.
    async fn check_types(&self, newest: &Arc<Table>, version: u64, to: &Arc<Table>) -> Result<()> {
        let before = self.version(newest, version - 1).await?;
        let changed = to.columns().iter().find(|column| {
            before.columns().iter().any(|other| other.name == column.name && other.ty.oid != column.ty.oid)
        });
        match changed {
            None => Ok(()),
            Some(column) => {
                let what = format!("table_changes over a change of the type of column \"{}\"", column.name);
                Err(Error::unsupported(what).with_detail(format!("Version {version} of the table changed it.")))
            }
        }
    }
}

impl Sorted {
    async fn take(&mut self, commit: Commit, table: &Table, constants: &[ScalarValue; 2]) -> Result<()> {
        if !commit.changes.is_empty() {
            for logged in &commit.changes {
                self.recorded.push(file(logged, table, true, constants).await?);
            }
            return Ok(());
        }
        let of = |files: Vec<LoggedFile>| files.into_iter().filter(|file| file.data_change).collect::<Vec<_>>();
        let (adds, removes) = (of(commit.adds), of(commit.removes));
        if adds.iter().chain(&removes).any(|file| file.has_vector) {
            let what = "table_changes of a table with deletion vectors and without a change data feed";
            return Err(Error::unsupported(what));
        }
        let (to, from) = match (adds.is_empty(), removes.is_empty()) {
            (false, false) => (&mut self.added, &mut self.removed),
            _ => (&mut self.inserted, &mut self.deleted),
        };
        for logged in &adds {
            to.push(file(logged, table, false, constants).await?);
        }
        for logged in &removes {
            from.push(file(logged, table, false, constants).await?);
        }
        Ok(())
    }

    fn changes(self, table: &Arc<Table>) -> Changes {
        let (has_moves, is_recorded) = (!self.added.is_empty(), !self.recorded.is_empty());
        let constants: Vec<FieldRef> = vec![
            Arc::new(Field::new(COLUMNS[1], DataType::Int64, true)),
            Arc::new(Field::new(COLUMNS[2], DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)),
        ];
        let files = [
            ("inserted", self.inserted),
            ("deleted", self.deleted),
            ("added", self.added),
            ("removed", self.removed),
            ("recorded", self.recorded),
        ];
        let files = files.into_iter().map(|(name, files)| {
            let is_recorded = name == "recorded";
            let in_files = if is_recorded { vec![change_type()] } else { Vec::new() };
            let scan = LakeScan::of_files(Arc::clone(table), files, in_files, constants.clone());
            ChangedFiles { name, provider: Arc::new(scan), is_recorded }
        });
        Changes { columns: table.columns().to_vec(), files: files.collect(), has_moves, is_recorded }
    }
}

/// The column in files of changed rows.
fn change_type() -> FieldRef {
    Arc::new(Field::new(COLUMNS[0], DataType::Utf8View, true))
}

pub(super) async fn file(
    logged: &LoggedFile,
    table: &Table,
    is_recorded: bool,
    constants: &[ScalarValue],
) -> Result<Arc<DataFile>> {
    let path: Path = logged.stored_at(&table.location);
    let bytes = match logged.bytes {
        Some(bytes) => bytes,
        None => table.location.store.head(&path).await?.size,
    };
    if let Some(lacking) = table.partition_columns().iter().find(|name| !logged.partition.contains_key(*name)) {
        let what = format!("table_changes over a file without a value of partition column \"{lacking}\" in the log");
        return Err(Error::unsupported(what));
    }
    let own = table.file_schema.fields().iter().cloned();
    let in_file = Schema::new(own.chain(is_recorded.then(change_type)).collect::<Vec<_>>());
    let partition = Schema::new(table.partition_fields.clone());
    let layout = Layout { root: &table.location.path, file: &in_file, partition: &partition };
    Ok(Arc::new(DataFile::from_action(logged, path, bytes, &layout, constants.iter().cloned())?))
}
