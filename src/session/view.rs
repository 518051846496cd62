//! The session as functions and system tables see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::registry::{Entry, Registration};
use super::{Notices, Settings};
use crate::builtins::{Activity, CursorRow, PreparedRow, SessionView, SettingRow};
use crate::error::{Error, Result, Severity, SqlState};

/// The part of a session that statements share with it.
#[derive(Debug)]
pub struct Handle {
    registration: Registration,
    settings: Mutex<Settings>,
    notices: Notices,
    current: Mutex<CurrentRole>,
    prepared: Mutex<BTreeMap<String, PreparedRow>>,
    cursors: Mutex<BTreeMap<String, CursorRow>>,
}

#[derive(Debug)]
struct CurrentRole {
    name: String,
    superuser: bool,
}

/// What one session asks of another.
#[derive(Debug, Clone, Copy)]
enum Signal {
    Cancel,
    Terminate,
}

impl Handle {
    pub(super) fn new(registration: Registration, settings: Settings) -> Self {
        let entry = registration.entry();
        entry.set_application_name(settings.application_name());
        let current = CurrentRole { name: entry.user.clone(), superuser: entry.superuser };
        Self {
            registration,
            settings: Mutex::new(settings),
            notices: Notices::default(),
            current: Mutex::new(current),
            prepared: Mutex::default(),
            cursors: Mutex::default(),
        }
    }

    pub(super) fn entry(&self) -> &Arc<Entry> {
        self.registration.entry()
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock()
    }

    pub(super) fn set_current_role(&self, name: &str, superuser: bool) {
        *self.current.lock() = CurrentRole { name: name.to_owned(), superuser };
    }

    /// Keeps a notice for the client, if `client_min_messages` lets it through.
    pub fn notice(&self, notice: Error) {
        if self.settings().shows_message(notice.level()) {
            self.notices.push(notice);
        }
    }

    pub(super) fn take_notices(&self) -> Vec<Error> {
        self.notices.take()
    }

    /// How many notices wait for the client.
    pub fn notices_waiting(&self) -> usize {
        self.notices.count()
    }

    /// Forgets those after the first `waiting`: what said them is tried again.
    pub fn forget_notices(&self, waiting: usize) {
        self.notices.truncate(waiting);
    }

    /// Settings to tell the client; `pg_stat_activity` learns a new `application_name` here too.
    pub fn take_reported_changes(&self) -> Vec<(&'static str, String)> {
        let changes = self.settings().take_reported_changes();
        for (_, name) in changes.iter().filter(|(setting, _)| *setting == "application_name") {
            self.entry().set_application_name(name);
        }
        changes
    }

    /// A named statement was prepared (by Parse or PREPARE): a row of `pg_prepared_statements`.
    pub fn add_prepared(&self, row: PreparedRow) {
        self.prepared.lock().insert(row.name.clone(), row);
    }

    /// A prepared statement is gone; `None` for all of them.
    pub fn remove_prepared(&self, name: Option<&str>) {
        let mut prepared = self.prepared.lock();
        match name {
            Some(name) => drop(prepared.remove(name)),
            None => prepared.clear(),
        }
    }

    /// A cursor was opened: a row of `pg_cursors`.
    pub fn add_cursor(&self, row: CursorRow) {
        self.cursors.lock().insert(row.name.clone(), row);
    }

    /// A cursor is gone; `None` for all of them.
    pub fn remove_cursor(&self, name: Option<&str>) {
        let mut cursors = self.cursors.lock();
        match name {
            Some(name) => drop(cursors.remove(name)),
            None => cursors.clear(),
        }
    }

    /// Sends a signal to another session. Whether there was one; 42501 when this role may not.
    fn signal(&self, pid: i32, signal: Signal) -> Result<bool> {
        let Some(target) = self.registration.registry().find(pid) else {
            let message = format!("PID {pid} is not a PostgreSQL backend process");
            self.notice(Error::notice(Severity::Warning, SqlState::Warning, message));
            return Ok(false);
        };
        self.check_may_signal(&target, signal)?;
        match signal {
            Signal::Cancel => target.cancel_statement(),
            Signal::Terminate => target.terminate(),
        }
        Ok(true)
    }

    fn check_may_signal(&self, target: &Entry, signal: Signal) -> Result<()> {
        let current = self.current.lock();
        if current.superuser || (current.name == target.user && !target.superuser) {
            return Ok(());
        }
        let (message, detail) = match (signal, target.superuser) {
            (Signal::Cancel, true) => (
                "permission denied to cancel query",
                "Only roles with the SUPERUSER attribute may cancel queries of roles with the SUPERUSER attribute.",
            ),
            (Signal::Cancel, false) => (
                "permission denied to cancel query",
                "Only roles with privileges of the role whose query is being canceled may cancel this query.",
            ),
            (Signal::Terminate, true) => (
                "permission denied to terminate process",
                "Only roles with the SUPERUSER attribute may terminate processes of roles with the SUPERUSER attribute.",
            ),
            (Signal::Terminate, false) => (
                "permission denied to terminate process",
                "Only roles with privileges of the role whose process is being terminated may terminate this process.",
            ),
        };
        Err(Error::new(SqlState::InsufficientPrivilege, message).with_detail(detail))
    }
}

impl SessionView for Handle {
    fn setting(&self, name: &str) -> Result<String> {
        self.settings().get(name)
    }

    fn set_setting(&self, name: &str, value: &str, local: bool) -> Result<String> {
        let superuser = self.current.lock().superuser;
        self.settings().set(name, value, local, superuser)
    }

    fn settings(&self) -> Vec<SettingRow> {
        self.settings.lock().rows()
    }

    fn activity(&self) -> Vec<Activity> {
        let (user, superuser) = {
            let current = self.current.lock();
            (current.name.clone(), current.superuser)
        };
        let rows = self.registration.registry().entries().into_iter().map(|entry| entry.activity());
        rows.map(|mut row| {
            if !superuser && row.user != user {
                row.query = "<insufficient privilege>".to_owned();
                row.client_address = None;
            }
            row
        })
        .collect()
    }

    fn cancel_backend(&self, pid: i32) -> Result<bool> {
        self.signal(pid, Signal::Cancel)
    }

    fn terminate_backend(&self, pid: i32) -> Result<bool> {
        self.signal(pid, Signal::Terminate)
    }

    fn prepared_statements(&self) -> Vec<PreparedRow> {
        self.prepared.lock().values().cloned().collect()
    }

    fn cursors(&self) -> Vec<CursorRow> {
        self.cursors.lock().values().cloned().collect()
    }
}
