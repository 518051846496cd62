//! What became of rules: one run of checks, a result for each rule.

use chrono::{DateTime, Utc};

use super::expectation::{ExpectationSeverity, ViolationAction};

/// One statement's checks of one table.
#[derive(Debug, Clone)]
pub struct Run {
    /// Sorts by time.
    pub id: String,
    pub at: DateTime<Utc>,
    /// As schema.table.
    pub table: String,
    /// Its place, of a run in a transaction: where the commit's version is found.
    pub place: Option<String>,
    /// The table's owner, who may read the results whoever made them.
    pub owner: String,
    /// Who ran the statement.
    pub role: String,
    /// `INSERT`, `COPY`, `VALIDATE`, …
    pub source: String,
    /// The version of the table that was checked, or that came of the write; `None` when nothing was committed.
    pub table_version: Option<u64>,
    /// Whether all rows of the table were asked, as they are committed: what later runs may be compared with.
    pub whole: bool,
    pub results: Vec<RuleResult>,
    /// Of a statement that wrote rows.
    pub rows: Option<RowTotals>,
    /// What it proved of the files that it wrote; goes to the table and not into the log.
    pub passed: Option<Passed>,
}

/// Rules that hold for each row of some data files.
#[derive(Debug, Clone)]
pub struct Passed {
    /// Their SQL.
    pub conditions: Vec<String>,
    /// Names without folders.
    pub files: Vec<String>,
}

/// Rows, each counted once however many rules it breaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowTotals {
    pub checked: u64,
    /// Those that break any rule.
    pub failed: u64,
    pub dropped: u64,
    pub quarantined: u64,
    /// Those that break a rule ON VIOLATION WARN and are written.
    pub warned: u64,
}

/// Of one rule.
#[derive(Debug, Clone)]
pub struct RuleResult {
    pub rule: String,
    /// Which stays the same when the rule, or its table, gets another name.
    pub rule_oid: u32,
    /// See [`ExpectationRule::kind`](super::ExpectationRule::kind).
    pub kind: &'static str,
    pub action: ViolationAction,
    pub status: Status,
    /// Rows that the rule was asked of; groups of them are not counted apart. 0 where it asks of no single row.
    pub checked: u64,
    pub passed: u64,
    pub failed: u64,
    pub dropped: u64,
    pub quarantined: u64,
    /// What a set rule computed, where it is a number.
    pub value: Option<f64>,
    /// What the value, or the share of passed rows, was compared with.
    pub threshold: Option<String>,
    pub severity: ExpectationSeverity,
    /// Milliseconds that the check took, where it can be told apart.
    pub ms: Option<f64>,
    /// Of a condition that could not be evaluated: the first one.
    pub error: Option<String>,
    /// Broken rows, as a JSON array of objects.
    pub samples: Option<String>,
    /// Data files that were read for it, and those of which an earlier run had kept what it needs. Delta's log told of others.
    pub files_read: Option<u64>,
    pub files_kept: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Passed,
    Failed,
    /// It could not be evaluated at all.
    Error,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Error => "error",
        }
    }
}

/// Whether so many passed rows are enough. Nothing to check is enough.
pub fn suffices(passed: u64, checked: u64, mostly: Option<f64>) -> bool {
    // Counts of rows are far below 2^53.
    match mostly {
        None => passed >= checked,
        Some(share) => checked == 0 || passed as f64 / checked as f64 >= share,
    }
}

/// An id that sorts by time.
pub fn new_run_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
