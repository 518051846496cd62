//! What a materialized view's rows were made of, told by the commit that made them; and the rows that only came to a table
//! since, which are all that the next refresh needs.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::Lake;
use super::commit::conflict;
use super::data_file::Identity;
use super::history::{self, Commit};
use super::past::missing;
use super::scan::LakeScan;
use super::table::Table;
use crate::error::Result;

/// Key in a commit's info that holds [`Refreshed`].
pub(super) const KEY: &str = "lakegate.refreshed";
/// Commits that are looked at, of the view and of each table under it.
const COMMITS_MAX: u64 = 1_000;
const COMMITS_AT_A_TIME: usize = 16;

/// What the rows of a materialized view follow from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// Tells the query, and settings that it depends on, from others.
    pub query: String,
    pub sources: Vec<Source>,
}

/// A table that the query read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub location: String,
    /// Delta's id of the table: another one at the same place has another id.
    pub id: String,
    pub version: u64,
}

impl Source {
    /// The table as it is read; `None` for what a transaction has not committed.
    pub fn of(table: &Table) -> Result<Option<Self>> {
        if table.is_private() {
            return Ok(None);
        }
        let id = table.snapshot()?.metadata().id().to_owned();
        Ok(Some(Self { location: table.location().to_owned(), id, version: table.version() }))
    }
}

/// The rows of the version are all the rows that a commit may build on.
pub(super) fn same_rows(planned: &Table, base: &Table) -> Result<()> {
    if planned.version() == base.version() {
        return Ok(());
    }
    let there: HashSet<Identity> = base.identities();
    if there == planned.identities() {
        return Ok(());
    }
    Err(conflict("The rows of the materialized view were changed by another transaction."))
}

impl Lake {
    /// What the rows of the view follow from; `None` when that is not known, or something else has changed them since.
    pub async fn refreshed(&self, view: &Table) -> Result<Option<Refreshed>> {
        if view.is_private() {
            return Ok(None);
        }
        for version in (0..=view.version()).rev().take(usize::try_from(COMMITS_MAX).unwrap_or(usize::MAX)) {
            let Some(commit) = history::read(&view.location, version).await? else { return Ok(None) };
            if let Some(told) = commit.info.get(KEY).and_then(serde_json::Value::as_str) {
                return Ok(serde_json::from_str(told).ok());
            }
            if commit.adds.iter().chain(&commit.removes).any(|file| file.data_change) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The rows that came to a table after that version, if nothing else has happened to its rows and columns.
    pub async fn appended(&self, table: &Arc<Table>, since: u64) -> Result<Option<Arc<dyn TableProvider>>> {
        if table.special || since > table.version() || table.version() - since > COMMITS_MAX {
            return Ok(None);
        }
        let versions = since + 1..=table.version();
        let commits = futures::stream::iter(versions).map(|version| history::read(&table.location, version));
        let mut commits = commits.buffered(COMMITS_AT_A_TIME);
        let mut files = Vec::new();
        while let Some(commit) = commits.try_next().await? {
            let Some(Commit { adds, removes, defines: false, .. }) = commit else { return Ok(None) };
            let mut changed = adds.iter().chain(&removes).filter(|file| file.data_change);
            if removes.iter().any(|file| file.data_change) || changed.any(|file| file.has_vector) {
                return Ok(None);
            }
            for added in adds.iter().filter(|file| file.data_change) {
                match super::changes::file(added, table, false, &[]).await {
                    Ok(file) => files.push(file),
                    Err(_) => return Ok(None),
                }
            }
        }
        if missing(&table.location, files.iter().map(|file| &file.path), table).await? > 0 {
            return Ok(None);
        }
        Ok(Some(Arc::new(LakeScan::of_files(Arc::clone(table), files, Vec::new(), Vec::new()))))
    }
}
