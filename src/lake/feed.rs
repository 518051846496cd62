//! A table's change data feed: which commits tell of changed rows in files of their own, and which files those are.
//!
//! ```text
//! a file of new rows ────────→ the same rows in _change_data/, as insert or update_postimage
//! rows that a change takes ──→ _change_data/, as delete or update_preimage
//! ```
//! A commit with such files is read by these alone, so it names all of its changes there; a commit that only adds rows, or
//! only takes whole files away, needs none. In a transaction files of new rows keep their companions until COMMIT: a row that it
//! makes and changes again is told of once, as it is in the end.

use std::collections::{BTreeMap, HashSet};

use deltalake::kernel::AddCDCFile;

use super::redefinition::{Redefinition, RowsUnder};
use super::table::Table;
use crate::error::{Error, Result};

/// Delta's property that asks for the feed.
pub(super) const FEED: &str = "delta.enableChangeDataFeed";
/// Delta's feature that the property needs.
pub(super) const FEATURE: &str = "changeDataFeed";
/// The folder of the files.
pub(super) const FOLDER: &str = "_change_data";
/// The column that files of changed rows have behind the table's own.
pub(super) const CHANGE_TYPE: &str = "_change_type";
/// Columns that readers of the feed add.
pub(super) const COLUMNS: [&str; 3] = [CHANGE_TYPE, "_commit_version", "_commit_timestamp"];

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ChangeType {
    Insert,
    Before,
    After,
    Delete,
}

impl ChangeType {
    /// Delta's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Before => "update_preimage",
            Self::After => "update_postimage",
            Self::Delete => "delete",
        }
    }
}

/// What a file's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Content {
    /// The table's, and no change is told of them.
    Rows,
    /// The table's, new by this change: told of in a companion.
    New(ChangeType),
    /// No more the table's: told of alone.
    Gone(ChangeType),
}

/// Where the rows of a table's file come from, as a transaction's feed sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The version that was read.
    Read,
    /// The transaction itself.
    Made(ChangeType),
}

/// What the statements of a transaction tell of rows that it read.
#[derive(Debug)]
enum Told {
    Rows(Vec<AddCDCFile>),
    /// All rows are new: files tell it.
    Everything,
}

/// The feed of a transaction's changes of one table.
#[derive(Debug, Default)]
pub(super) struct PrivateFeed {
    /// By the transaction's own version.
    told: BTreeMap<u64, Told>,
    /// Files of new rows and their companions, by name.
    made: BTreeMap<String, (ChangeType, AddCDCFile)>,
}

impl PrivateFeed {
    pub(super) fn note_new(&mut self, file: &str, kind: ChangeType, companion: AddCDCFile) {
        self.made.insert(file.to_owned(), (kind, companion));
    }

    pub(super) fn note_gone(&mut self, version: u64, files: Vec<AddCDCFile>) {
        self.told.insert(version, Told::Rows(files));
    }

    pub(super) fn note_everything(&mut self, version: u64) {
        self.told.insert(version, Told::Everything);
    }

    /// Takes back what came after a version.
    pub(super) fn cut(&mut self, version: u64) {
        self.told.retain(|of, _| *of <= version);
    }

    /// Whether every row is new.
    pub(super) fn is_everything(&self) -> bool {
        self.told.values().any(|told| matches!(told, Told::Everything))
    }

    pub(super) fn origin(&self, file: &str) -> Origin {
        self.made.get(file).map_or(Origin::Read, |(kind, _)| Origin::Made(*kind))
    }

    /// The files that the transaction's one commit names: none where its other files tell the same.
    pub(super) fn files(&self, made: &Table) -> Vec<AddCDCFile> {
        let gone: Vec<&AddCDCFile> = self
            .told
            .values()
            .flat_map(|told| match told {
                Told::Rows(files) => files.as_slice(),
                Told::Everything => &[],
            })
            .collect();
        if gone.is_empty() || self.is_everything() || !made.keeps_changes() {
            return Vec::new();
        }
        let new = made.files.iter().filter_map(|file| self.made.get(&file.name));
        gone.into_iter().chain(new.map(|(_, companion)| companion)).cloned().collect()
    }
}

impl Table {
    /// Whether commits must tell of changed rows.
    pub(super) fn keeps_changes(&self) -> bool {
        let Ok(snapshot) = self.snapshot() else { return false };
        let protocol = snapshot.protocol();
        let is_understood = match protocol.min_writer_version() {
            ..4 => false,
            4..7 => true,
            _ => protocol.writer_features().unwrap_or_default().iter().any(|feature| feature.as_ref() == FEATURE),
        };
        is_understood && self.properties().get(FEED).is_some_and(|enabled| enabled == "true")
    }

    /// Whether a write of rows has to tell of them, now or at the end of its transaction.
    pub(super) fn tells_changes(&self) -> bool {
        self.keeps_changes() && self.private.as_ref().is_none_or(|private| !private.feed().is_everything())
    }
}

/// Refuses to write all rows of a table with a feed under another definition, of which no change could be told; and to begin
/// or end a feed in the midst of a transaction's changes, of which it would tell a half.
pub(super) fn check_redefinition(redefinition: &Redefinition, base: &Table) -> Result<()> {
    if redefinition.rows == RowsUnder::Rewritten && base.keeps_changes() {
        let what = "writing all rows of a table with a change data feed in another shape";
        let hint = format!("Switch the feed off before: ALTER TABLE ... SET TBLPROPERTIES ('{FEED}' = 'false').");
        return Err(Error::unsupported(what).with_hint(hint));
    }
    let table = &redefinition.table;
    let stays = redefinition.properties.get(FEED).is_none_or(|value| value.as_ref() == table.properties().get(FEED));
    if stays || !table.is_changed_privately() {
        return Ok(());
    }
    Err(Error::unsupported(format!("changing the table property \"{FEED}\" after other changes in a transaction")))
}

/// Refuses a table whose columns would be taken for the feed's.
pub(super) fn check_columns<'a>(
    names: impl Iterator<Item = &'a str>,
    properties: &BTreeMap<String, String>,
) -> Result<()> {
    if properties.get(FEED).is_none_or(|enabled| enabled != "true") {
        return Ok(());
    }
    let reserved: HashSet<&str> = COLUMNS.into();
    for name in names {
        if reserved.contains(name.to_lowercase().as_str()) {
            return Err(Error::unsupported(format!("a column \"{name}\" in a table with a change data feed")));
        }
    }
    Ok(())
}
