//! The states of a transaction, and what BEGIN, COMMIT, ROLLBACK and a failure do to them.
//!
//! ```text
//! Idle ── start_statement ──→ Active (implicit) ── end_implicit ──→ Idle
//! Idle ── begin ──→ Active ── commit, rollback ──→ Idle
//!                      └─ fail ──→ Failed ── commit, rollback ──→ Idle
//! ```

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Session;
use super::settings::{Mark, isolation_name};
use crate::catalog::{Definition, Snapshot};
use crate::error::{Error, Result, SqlState};
use crate::lake::MadeTable;
use crate::quality::result::Run;

/// PostgreSQL's isolation levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// What BEGIN and SET TRANSACTION may say; `None` where nothing was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modes {
    pub isolation: Option<Isolation>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

/// Where a session stands.
#[allow(clippy::large_enum_variant, reason = "a session has one")]
#[derive(Debug)]
pub enum Transaction {
    Idle,
    Active(Active),
    /// A statement of a block failed: everything but its end is refused.
    Failed {
        started: DateTime<Utc>,
        /// It goes on after ROLLBACK TO one of them.
        savepoints: Vec<Savepoint>,
    },
}

/// A transaction that runs. Its characteristics are the settings `transaction_…`.
#[derive(Debug)]
pub struct Active {
    /// `now()`.
    pub started: DateTime<Utc>,
    /// One statement's own transaction, or that of a Query message with several statements.
    pub implicit: bool,
    /// Whether a statement has read the lake: isolation is settled from then on.
    pub queried: bool,
    pub pins: Pins,
    /// When `transaction_timeout` ends it.
    deadline: Option<Instant>,
    savepoints: Vec<Savepoint>,
}

/// What ROLLBACK TO goes back to.
#[derive(Debug, Clone)]
pub struct Savepoint {
    name: String,
    pins: Pins,
    settings: Mark,
    /// Portals that were open: the others end.
    pub portals: HashSet<String>,
}

/// The versions that this transaction reads, and what it has changed.
#[derive(Debug, Default, Clone)]
pub struct Pins {
    pub catalog: Option<Snapshot>,
    /// A loaded table of `lake` per location.
    pub tables: HashMap<String, Arc<dyn Any + Send + Sync>>,
    /// Changes of the catalog that wait for COMMIT; `catalog` has them.
    pub definitions: Vec<Definition>,
    /// Guards of the tables that were made.
    pub made: Vec<Arc<MadeTable>>,
    /// Locations of the tables that were dropped: their files go after COMMIT.
    pub left: Vec<String>,
    /// What became of expectations, told when the transaction has committed.
    pub runs: Vec<Run>,
    /// Told when the statement whose own transaction this is has committed.
    pub notices: Vec<Error>,
    /// The catalog whose rules ON COMMIT were asked, if that is another one.
    pub asked: Option<Snapshot>,
    arrivals: Arc<Arrivals>,
}

/// Tables that were changed while the session was elsewhere: COPY ends in the hands of the protocol.
#[derive(Debug, Default)]
pub struct Arrivals {
    tables: Mutex<Vec<(String, Arc<dyn Any + Send + Sync>)>>,
    runs: Mutex<Vec<Run>>,
    notices: Mutex<Vec<Error>>,
}

impl Arrivals {
    /// Keeps a changed table for the session's next statement.
    pub fn leave<T: Any + Send + Sync>(&self, location: &str, table: Arc<T>) {
        self.tables.lock().push((location.to_owned(), table));
    }

    /// Keeps what became of expectations.
    pub fn leave_run(&self, run: Run) {
        self.runs.lock().push(run);
    }

    /// Keeps what is told after the commit.
    pub fn leave_notice(&self, notice: Error) {
        self.notices.lock().push(notice);
    }
}

impl Pins {
    pub fn arrivals(&self) -> &Arc<Arrivals> {
        &self.arrivals
    }

    /// Takes in what [`Arrivals::leave`] has kept.
    fn receive(&mut self) {
        let arrived = std::mem::take(&mut *self.arrivals.tables.lock());
        self.tables.extend(arrived);
        self.runs.append(&mut self.arrivals.runs.lock());
        self.notices.append(&mut self.arrivals.notices.lock());
    }

    /// The pinned table at that location, if it is a `T`.
    pub fn table<T: Any + Send + Sync>(&self, location: &str) -> Option<Arc<T>> {
        Arc::clone(self.tables.get(location)?).downcast().ok()
    }

    /// Pins a table in the place of what is pinned there: the transaction changed it.
    pub fn replace<T: Any + Send + Sync>(&mut self, location: &str, table: Arc<T>) {
        self.tables.insert(location.to_owned(), table);
    }

    /// Pins a table unless one is pinned there already.
    pub fn pin<T: Any + Send + Sync>(&mut self, location: &str, table: Arc<T>) {
        if !self.tables.contains_key(location) {
            self.tables.insert(location.to_owned(), table);
        }
    }
}

/// Savepoints that one transaction may keep: what is kept must be bounded.
const SAVEPOINTS_MAX: usize = 10_000;

/// How a block ended; the command tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Committed,
    RolledBack,
}

impl End {
    /// COMMIT of a failed transaction answers ROLLBACK.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Committed => "COMMIT",
            Self::RolledBack => "ROLLBACK",
        }
    }
}

impl Transaction {
    fn active(started: DateTime<Utc>, implicit: bool) -> Self {
        Self::Active(Active {
            started,
            implicit,
            queried: false,
            pins: Pins::default(),
            deadline: None,
            savepoints: Vec::new(),
        })
    }

    /// Whether a block that BEGIN opened is there, failed or not.
    pub fn in_block(&self) -> bool {
        match self {
            Self::Idle => false,
            Self::Active(active) => !active.implicit,
            Self::Failed { .. } => true,
        }
    }

    /// Of a failed block, the portals that were open at its last savepoint.
    pub fn portals_at_savepoint(&self) -> Option<HashSet<String>> {
        match self {
            Self::Failed { savepoints, .. } => savepoints.last().map(|savepoint| savepoint.portals.clone()),
            Self::Idle | Self::Active(_) => None,
        }
    }

    pub fn started(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Idle => None,
            Self::Active(active) => Some(active.started),
            Self::Failed { started, .. } => Some(*started),
        }
    }

    /// When `transaction_timeout` ends it; a failed transaction has time.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Active(active) => active.deadline,
            Self::Idle | Self::Failed { .. } => None,
        }
    }

    /// What is pinned; COPY's rows are in it after [`Transaction::pins_mut`].
    pub fn pins(&self) -> Option<&Pins> {
        match self {
            Self::Active(active) => Some(&active.pins),
            Self::Idle | Self::Failed { .. } => None,
        }
    }

    pub fn pins_mut(&mut self) -> Option<&mut Pins> {
        match self {
            Self::Active(active) => {
                active.pins.receive();
                Some(&mut active.pins)
            }
            Self::Idle | Self::Failed { .. } => None,
        }
    }

    /// As `pg_stat_activity.state` has it between statements.
    pub(super) fn idle_state(&self) -> &'static str {
        match self {
            Self::Active(active) if !active.implicit => "idle in transaction",
            Self::Idle | Self::Active(_) => "idle",
            Self::Failed { .. } => "idle in transaction (aborted)",
        }
    }
}

impl Session {
    /// Every statement runs in a transaction: its own one unless a block is open. Answers the transaction's start.
    pub fn start_statement(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        if matches!(self.transaction, Transaction::Idle) {
            self.open(now, true);
        }
        self.transaction.started().unwrap_or(now)
    }

    fn open(&mut self, now: DateTime<Utc>, implicit: bool) {
        self.transaction = Transaction::active(now, implicit);
        self.settings().begin_transaction();
    }

    /// Commits the transaction that is not a block's; nothing in a block. Writers have committed before.
    pub fn end_implicit(&mut self) {
        if matches!(&self.transaction, Transaction::Active(active) if active.implicit) {
            self.transaction = Transaction::Idle;
            self.end_settings(End::Committed);
        }
    }

    /// What SET and SET ROLE did in the transaction stays or is undone.
    fn end_settings(&mut self, end: End) {
        let changed = match end {
            End::Committed => self.settings().commit(),
            End::RolledBack => self.settings().rollback(),
        };
        if changed {
            self.follow_role();
        }
    }

    /// A statement failed: a block is now failed, an implicit transaction is rolled back.
    pub fn fail(&mut self) {
        self.transaction = match std::mem::replace(&mut self.transaction, Transaction::Idle) {
            Transaction::Idle => Transaction::Idle,
            Transaction::Active(active) => {
                self.end_settings(End::RolledBack);
                if active.implicit {
                    Transaction::Idle
                } else {
                    Transaction::Failed { started: active.started, savepoints: active.savepoints }
                }
            }
            failed @ Transaction::Failed { .. } => failed,
        };
    }

    /// Lets the transaction's time run, or run no longer, as `transaction_timeout` now says. Time that runs already is not
    /// changed, as in PostgreSQL.
    pub fn limit_transaction(&mut self) {
        if let Transaction::Active(active) = &mut self.transaction {
            let limit = self.handle.settings().transaction_timeout();
            active.deadline = limit.and_then(|limit| active.deadline.or_else(|| Instant::now().checked_add(limit)));
        }
    }

    /// 25P02 in a failed block. COMMIT and ROLLBACK are not asked.
    pub fn check_not_failed(&self) -> Result<()> {
        match self.transaction {
            Transaction::Failed { .. } => Err(Error::new(
                SqlState::InFailedSqlTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            Transaction::Idle | Transaction::Active(_) => Ok(()),
        }
    }

    /// 25006 when the transaction only reads. `tag` is the statement's command tag, e.g. `INSERT`.
    pub fn check_writable(&self, tag: &str) -> Result<()> {
        if self.settings().transaction_read_only() {
            let message = format!("cannot execute {tag} in a read-only transaction");
            return Err(Error::new(SqlState::ReadOnlySqlTransaction, message));
        }
        Ok(())
    }

    /// SAVEPOINT. `portals` are those open now.
    pub fn savepoint(&mut self, name: &str, portals: HashSet<String>) -> Result<()> {
        self.require_block("SAVEPOINT")?;
        let settings = self.settings().mark();
        let Transaction::Active(active) = &mut self.transaction else { return self.check_not_failed() };
        if active.savepoints.len() >= SAVEPOINTS_MAX {
            let message = format!("a transaction can keep at most {SAVEPOINTS_MAX} savepoints");
            return Err(Error::new(SqlState::ConfigurationLimitExceeded, message));
        }
        active.pins.receive();
        let pins = active.pins.clone();
        active.savepoints.push(Savepoint { name: name.to_owned(), pins, settings, portals });
        Ok(())
    }

    /// RELEASE: the savepoint and those after it are forgotten, what was done stays.
    pub fn release(&mut self, name: &str) -> Result<()> {
        self.require_block("RELEASE SAVEPOINT")?;
        let Transaction::Active(active) = &mut self.transaction else { return self.check_not_failed() };
        let found = find(&active.savepoints, name)?;
        active.savepoints.truncate(found);
        Ok(())
    }

    /// ROLLBACK TO: the transaction is as it was at the savepoint, which stays.
    pub fn rollback_to(&mut self, name: &str) -> Result<Savepoint> {
        self.require_block("ROLLBACK TO SAVEPOINT")?;
        let (started, savepoints) = match &mut self.transaction {
            Transaction::Active(active) => (active.started, &mut active.savepoints),
            Transaction::Failed { started, savepoints } => (*started, savepoints),
            Transaction::Idle => return Err(only_in_blocks("ROLLBACK TO SAVEPOINT")),
        };
        let found = find(savepoints, name)?;
        savepoints.truncate(found + 1);
        let savepoints = std::mem::take(savepoints);
        let Some(to) = savepoints.last().cloned() else { return Err(Error::internal("a savepoint is gone")) };
        self.settings().restore(to.settings.clone());
        self.follow_role();
        let deadline = self.transaction.deadline();
        let pins = to.pins.clone();
        self.transaction =
            Transaction::Active(Active { started, implicit: false, queried: true, pins, deadline, savepoints });
        Ok(to)
    }

    /// 25P01 for a statement that has no sense outside a block, e.g. `DECLARE CURSOR`.
    pub fn require_block(&self, statement: &str) -> Result<()> {
        if self.transaction.in_block() { Ok(()) } else { Err(only_in_blocks(statement)) }
    }

    /// 25001 for a statement that cannot be part of a block, or of a message with several statements.
    pub fn forbid_block(&self, statement: &str) -> Result<()> {
        if !self.transaction.in_block() && !self.in_message_block {
            return Ok(());
        }
        let message = format!("{statement} cannot run inside a transaction block");
        Err(Error::new(SqlState::ActiveSqlTransaction, message))
    }

    /// A statement reads or writes the lake: isolation can no longer be changed.
    pub fn note_query(&mut self) {
        if let Transaction::Active(active) = &mut self.transaction {
            active.queried = true;
        }
    }

    /// BEGIN. Inside a block it warns; the modes are applied all the same, as in PostgreSQL.
    pub fn begin(&mut self, modes: Modes, now: DateTime<Utc>) -> Result<()> {
        self.check_not_failed()?;
        match &mut self.transaction {
            Transaction::Idle => self.open(now, false),
            Transaction::Active(active) if active.implicit => active.implicit = false,
            Transaction::Active(_) | Transaction::Failed { .. } => {
                self.warn(SqlState::ActiveSqlTransaction, "there is already a transaction in progress");
            }
        }
        self.apply(modes)
    }

    /// COMMIT. The staged writes of the block are committed by the caller before; with `chain` the next block is open.
    pub fn commit(&mut self, chain: bool, now: DateTime<Utc>) -> Result<End> {
        self.finish(End::Committed, chain, now)
    }

    /// ROLLBACK.
    pub fn rollback(&mut self, chain: bool, now: DateTime<Utc>) -> Result<End> {
        self.finish(End::RolledBack, chain, now)
    }

    fn finish(&mut self, asked: End, chain: bool, now: DateTime<Utc>) -> Result<End> {
        if !self.transaction.in_block() {
            if chain {
                return Err(only_in_blocks(&format!("{} AND CHAIN", asked.tag())));
            }
            self.warn(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
        }
        let characteristics = self.characteristics();
        let end = match self.transaction {
            Transaction::Failed { .. } => End::RolledBack,
            Transaction::Idle | Transaction::Active(_) => asked,
        };
        self.end_settings(end);
        self.transaction = Transaction::Idle;
        if chain {
            self.open(now, false);
            self.apply(characteristics)?;
        }
        Ok(end)
    }

    fn characteristics(&self) -> Modes {
        let settings = self.settings();
        Modes {
            isolation: Some(settings.transaction_isolation()),
            read_only: Some(settings.transaction_read_only()),
            deferrable: Some(settings.transaction_deferrable()),
        }
    }

    /// SET TRANSACTION; outside a block it warns and has no effect.
    pub fn set_transaction(&mut self, modes: Modes) -> Result<()> {
        self.warn_outside_block("SET TRANSACTION");
        self.apply(modes)
    }

    /// SET SESSION CHARACTERISTICS AS TRANSACTION.
    pub fn set_session_characteristics(&mut self, modes: Modes) -> Result<()> {
        self.assign(modes, "default_transaction", false)
    }

    fn apply(&mut self, modes: Modes) -> Result<()> {
        if modes.isolation.is_some() {
            self.check_transaction_setting("transaction_isolation")?;
        }
        if modes.read_only == Some(false) && self.settings().transaction_read_only() {
            self.check_transaction_setting("transaction_read_only")?;
        }
        self.assign(modes, "transaction", true)
    }

    fn assign(&mut self, modes: Modes, prefix: &str, local: bool) -> Result<()> {
        let superuser = self.superuser;
        let on_off = |on: bool| if on { "on" } else { "off" };
        let values = [
            ("isolation", modes.isolation.map(isolation_name)),
            ("read_only", modes.read_only.map(on_off)),
            ("deferrable", modes.deferrable.map(on_off)),
        ];
        let mut settings = self.settings();
        for (suffix, value) in values {
            if let Some(value) = value {
                settings.set(&format!("{prefix}_{suffix}"), value, local, superuser)?;
            }
        }
        Ok(())
    }

    /// 25001 when the transaction has read already and the setting is settled by that.
    pub(super) fn check_transaction_setting(&self, name: &str) -> Result<()> {
        let queried = matches!(&self.transaction, Transaction::Active(active) if active.queried);
        if !queried {
            return Ok(());
        }
        let message = if name.eq_ignore_ascii_case("transaction_isolation") {
            "SET TRANSACTION ISOLATION LEVEL must be called before any query"
        } else if name.eq_ignore_ascii_case("transaction_read_only") && self.settings().transaction_read_only() {
            "transaction read-write mode must be set before any query"
        } else {
            return Ok(());
        };
        Err(Error::new(SqlState::ActiveSqlTransaction, message))
    }

    pub(super) fn warn_outside_block(&self, statement: &str) {
        if !self.transaction.in_block() {
            self.warn(SqlState::NoActiveSqlTransaction, format!("{statement} can only be used in transaction blocks"));
        }
    }
}

fn only_in_blocks(statement: &str) -> Error {
    let message = format!("{statement} can only be used in transaction blocks");
    Error::new(SqlState::NoActiveSqlTransaction, message)
}

/// The last one of that name.
fn find(savepoints: &[Savepoint], name: &str) -> Result<usize> {
    savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
        Error::new(SqlState::InvalidSavepointSpecification, format!("savepoint \"{name}\" does not exist"))
    })
}

impl Savepoint {
    /// The tables as they were.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }
}
