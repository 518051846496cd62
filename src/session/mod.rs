//! What lives as long as a connection: identity, settings, transaction state, cursors; and the registry of all sessions.
//!
//! It holds state and no behaviour of statements: `query` and `execute` drive it.
//!
//! ```text
//! Session (one task's) ─ handle ─→ Handle (shared with functions: SessionView)
//!                                   └─ Entry (shared with the Registry: cancel, termination, activity)
//! ```

pub mod registry;
pub mod settings;
pub mod transaction;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};

use crate::error::{Error, Result, Severity, SqlState};
pub use registry::{Entry, Registration, Registry};
pub use settings::Settings;
pub use transaction::{Active, Arrivals, Isolation, Modes, Pins, Transaction};
pub use view::Handle;

/// Notices of one statement beyond this number are dropped: a client that never reads them must not fill the memory.
const NOTICES_MAX: usize = 10_000;

/// One client's session. Driven by one task; what others may ask is in its [`Handle`].
#[derive(Debug)]
pub struct Session {
    handle: Arc<Handle>,
    /// The current role; differs from the session's after SET ROLE.
    pub user: String,
    pub session_user: String,
    /// Whether the current role is a superuser.
    pub superuser: bool,
    pub transaction: Transaction,
    pub server_address: Option<SocketAddr>,
    /// The schema of its temporary relations, once there was one.
    pub temporary: Option<String>,
    /// Whether any of them does not outlive a transaction as it is.
    pub has_on_commit: bool,
    /// Whether the statement is one of several in its message: they are one transaction.
    pub in_message_block: bool,
}

impl Session {
    /// A session of a registered connection. The settings have their startup values already.
    pub fn new(registration: Registration, settings: Settings, server_address: Option<SocketAddr>) -> Self {
        let user = registration.entry().user.clone();
        let superuser = registration.entry().superuser;
        Self {
            handle: Arc::new(Handle::new(registration, settings)),
            session_user: user.clone(),
            user,
            superuser,
            transaction: Transaction::Idle,
            server_address,
            temporary: None,
            has_on_commit: false,
            in_message_block: false,
        }
    }

    /// What functions and system tables see of this session.
    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// What the registry and other sessions see of it.
    pub fn entry(&self) -> &Arc<Entry> {
        self.handle.entry()
    }

    pub fn pid(&self) -> i32 {
        self.entry().pid
    }
    pub fn secret(&self) -> &[u8] {
        &self.entry().secret
    }
    pub fn database(&self) -> &str {
        &self.entry().database
    }
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.entry().client_address
    }
    pub fn started(&self) -> DateTime<Utc> {
        self.entry().started
    }

    /// The settings, locked: never held over an await.
    pub fn settings(&self) -> MutexGuard<'_, Settings> {
        self.handle.settings()
    }

    /// SET ROLE, or `None` for the session's own; the caller has checked that the role exists and may be taken. As any
    /// SET it is undone by ROLLBACK, and with `local` by the end of the transaction.
    pub fn set_role(&mut self, role: Option<(&str, bool)>, local: bool) {
        if local {
            self.warn_outside_block("SET LOCAL");
        }
        let (name, superuser) = role.unwrap_or(("none", self.entry().superuser));
        self.settings().set_role(name, superuser, local);
        self.follow_role();
    }

    /// Becomes who the settings say.
    fn follow_role(&mut self) {
        let (user, superuser) = {
            let settings = self.settings();
            match settings.role() {
                Some(role) => (role.to_owned(), settings.is_superuser()),
                None => (self.session_user.clone(), self.entry().superuser),
            }
        };
        self.handle.set_current_role(&user, superuser);
        self.user = user;
        self.superuser = superuser;
    }

    /// SET and SET LOCAL of anything but roles. Outside a block SET LOCAL warns and has no effect, as in PostgreSQL.
    pub fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        if local {
            self.warn_outside_block("SET LOCAL");
        }
        self.check_transaction_setting(name)?;
        let superuser = self.superuser;
        let mut settings = self.settings();
        match value {
            Some(value) => settings.set(name, value, local, superuser).map(drop),
            None => settings.reset(name, local, superuser),
        }
    }

    /// The value as SHOW prints it; 42704 for an unknown name.
    pub fn setting(&self, name: &str) -> Result<String> {
        self.settings().get(name)
    }

    /// Keeps a notice for the client, if `client_min_messages` lets it through.
    pub fn notice(&self, notice: Error) {
        self.handle.notice(notice);
    }

    /// Notices since the last call, in order.
    pub fn take_notices(&self) -> Vec<Error> {
        self.handle.take_notices()
    }

    fn warn(&self, sqlstate: SqlState, message: impl Into<String>) {
        self.notice(Error::notice(Severity::Warning, sqlstate, message));
    }
}

/// A bounded list of notices.
#[derive(Debug, Default)]
struct Notices(Mutex<Vec<Error>>);

impl Notices {
    fn push(&self, notice: Error) {
        let mut notices = self.0.lock();
        if notices.len() < NOTICES_MAX {
            notices.push(notice);
        }
    }

    fn take(&self) -> Vec<Error> {
        std::mem::take(&mut *self.0.lock())
    }

    fn count(&self) -> usize {
        self.0.lock().len()
    }

    fn truncate(&self, count: usize) {
        self.0.lock().truncate(count);
    }
}

#[cfg(test)]
mod tests;
