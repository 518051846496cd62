//! All sessions of this server: process ids, cancel keys, termination, activity.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rand::RngCore;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::builtins::{Activity, Progress};
use crate::error::{Error, Result, SqlState};

/// Length of a cancel key. A client of protocol 3.0 knows only the first [`SHORT_SECRET_BYTES`] of it.
pub const SECRET_BYTES: usize = 32;
pub const SHORT_SECRET_BYTES: usize = 4;

/// A statement's text is kept up to this many bytes, as `track_activity_query_size` does.
const ACTIVITY_TEXT_BYTES_MAX: usize = 1024;

/// How many sessions there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections_max: usize,
    /// The last of them are for superusers.
    pub superuser_reserved: usize,
}

/// The sessions of one server.
#[derive(Debug)]
pub struct Registry {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<i32, Arc<Entry>>,
    last_pid: i32,
    closing: bool,
}

/// Who connects.
#[derive(Debug, Clone)]
pub struct Newcomer {
    pub user: String,
    pub superuser: bool,
    /// The role's own limit; negative for none.
    pub connection_limit: i32,
    pub database: String,
    pub client_address: Option<SocketAddr>,
}

/// One session as other sessions see it.
#[derive(Debug)]
pub struct Entry {
    pub pid: i32,
    pub secret: [u8; SECRET_BYTES],
    /// The session's user.
    pub user: String,
    pub superuser: bool,
    pub database: String,
    pub client_address: Option<SocketAddr>,
    pub started: DateTime<Utc>,
    /// The running statement's token; none between statements, so that a late cancel does not hit the next one.
    statement: Mutex<Option<CancellationToken>>,
    termination: CancellationToken,
    activity: Mutex<Doing>,
}

#[derive(Debug)]
struct Doing {
    application_name: String,
    transaction_start: Option<DateTime<Utc>>,
    query_start: Option<DateTime<Utc>>,
    state_change: DateTime<Utc>,
    state: &'static str,
    query: String,
    progress: Option<Progress>,
}

impl Registry {
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// Takes a session in; it leaves when the registration is dropped. FATAL 53300 over a limit, 57P03 while shutting down.
    pub fn register(self: &Arc<Self>, newcomer: Newcomer) -> Result<Registration> {
        let mut secret = [0; SECRET_BYTES];
        rand::rng().fill_bytes(&mut secret);
        let mut state = self.state.lock();
        self.check_room(&state, &newcomer).map_err(Error::fatal)?;
        let pid = state.take_pid();
        let entry = Arc::new(Entry::new(pid, secret, newcomer, Utc::now()));
        state.sessions.insert(pid, Arc::clone(&entry));
        Ok(Registration { registry: Arc::clone(self), entry })
    }

    fn check_room(&self, state: &State, newcomer: &Newcomer) -> Result<()> {
        if state.closing {
            return Err(Error::new(SqlState::CannotConnectNow, "the database system is shutting down"));
        }
        let refuse = |message: String| Err(Error::new(SqlState::TooManyConnections, message));
        let open = state.sessions.len();
        if open >= self.limits.connections_max {
            return refuse("sorry, too many clients already".to_owned());
        }
        if !newcomer.superuser && open + self.limits.superuser_reserved >= self.limits.connections_max {
            return refuse("remaining connection slots are reserved for roles with the SUPERUSER attribute".to_owned());
        }
        let limit = usize::try_from(newcomer.connection_limit).unwrap_or(usize::MAX);
        let own = || state.sessions.values().filter(|entry| entry.user == newcomer.user).count();
        if !newcomer.superuser && limit != usize::MAX && own() >= limit {
            return refuse(format!("too many connections for role \"{}\"", newcomer.user));
        }
        Ok(())
    }

    /// CancelRequest: cancels the running statement of that session if the key is right. Says nothing otherwise.
    pub fn cancel(&self, pid: i32, secret: &[u8]) {
        let Some(entry) = self.find(pid) else { return };
        let known: &[u8] = match secret.len() {
            SHORT_SECRET_BYTES => entry.secret.get(..SHORT_SECRET_BYTES).unwrap_or(&entry.secret),
            _ => &entry.secret,
        };
        if bool::from(known.ct_eq(secret)) {
            entry.cancel_statement();
        }
    }

    /// The session of that process id.
    pub fn find(&self, pid: i32) -> Option<Arc<Entry>> {
        self.state.lock().sessions.get(&pid).cloned()
    }

    /// All sessions, by process id.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.state.lock().sessions.values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.state.lock().sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shutdown: nobody comes in any more; with `now`, running statements are stopped too.
    pub fn close(&self, now: bool) {
        self.state.lock().closing = true;
        for entry in self.entries() {
            entry.termination.cancel();
            if now {
                entry.cancel_statement();
            }
        }
    }
}

impl State {
    /// The next free process id, from 1; after the largest one it starts again.
    fn take_pid(&mut self) -> i32 {
        loop {
            self.last_pid = self.last_pid.checked_add(1).unwrap_or(1);
            if !self.sessions.contains_key(&self.last_pid) {
                return self.last_pid;
            }
        }
    }
}

impl Entry {
    fn new(pid: i32, secret: [u8; SECRET_BYTES], newcomer: Newcomer, now: DateTime<Utc>) -> Self {
        Self {
            pid,
            secret,
            user: newcomer.user,
            superuser: newcomer.superuser,
            database: newcomer.database,
            client_address: newcomer.client_address,
            started: now,
            statement: Mutex::new(None),
            termination: CancellationToken::new(),
            activity: Mutex::new(Doing {
                application_name: String::new(),
                transaction_start: None,
                query_start: None,
                state_change: now,
                state: "idle",
                query: String::new(),
                progress: None,
            }),
        }
    }

    /// A statement starts: the token that stops it, also noted for `pg_stat_activity`.
    pub fn start_statement(
        &self,
        text: &str,
        transaction_start: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> CancellationToken {
        let token = CancellationToken::new();
        *self.statement.lock() = Some(token.clone());
        let mut activity = self.activity.lock();
        activity.query.clear();
        activity.query.push_str(cut(text));
        activity.state = "active";
        activity.transaction_start = Some(transaction_start);
        activity.query_start = Some(now);
        activity.state_change = now;
        token
    }

    /// The statement is over: a cancel that comes now hits nothing.
    pub fn end_statement(&self, transaction: &super::Transaction, now: DateTime<Utc>) {
        *self.statement.lock() = None;
        let mut activity = self.activity.lock();
        activity.progress = None;
        activity.state = transaction.idle_state();
        activity.transaction_start = if transaction.in_block() { transaction.started() } else { None };
        activity.state_change = now;
    }

    /// The running statement's token; between statements one that nobody cancels.
    pub fn statement_token(&self) -> CancellationToken {
        self.statement.lock().clone().unwrap_or_default()
    }

    /// Stops the running statement, if one runs.
    pub fn cancel_statement(&self) {
        if let Some(token) = self.statement.lock().as_ref() {
            token.cancel();
        }
    }

    /// Ends the session: its statement stops, its connection is told 57P01.
    pub fn terminate(&self) {
        self.termination.cancel();
        self.cancel_statement();
    }

    /// Cancelled once the session is to end; then [`Entry::termination_error`] is what the client is told.
    pub fn termination(&self) -> &CancellationToken {
        &self.termination
    }

    /// FATAL 57P01.
    pub fn termination_error() -> Error {
        Error::new(SqlState::AdminShutdown, "terminating connection due to administrator command").fatal()
    }

    pub fn set_application_name(&self, name: &str) {
        let mut activity = self.activity.lock();
        activity.application_name.clear();
        activity.application_name.push_str(name);
    }

    /// How far the running statement is.
    pub fn tell(&self, change: impl FnOnce(&mut Progress)) {
        change(self.activity.lock().progress.get_or_insert_with(Progress::default));
    }

    /// The session's row of `pg_stat_activity`.
    pub fn activity(&self) -> Activity {
        let activity = self.activity.lock();
        Activity {
            pid: self.pid,
            user: self.user.clone(),
            database: self.database.clone(),
            application_name: activity.application_name.clone(),
            client_address: self.client_address,
            backend_start: self.started,
            transaction_start: activity.transaction_start,
            query_start: activity.query_start,
            state_change: activity.state_change,
            state: activity.state,
            query: activity.query.clone(),
            progress: activity.progress.clone(),
        }
    }
}

/// The text's start, cut between characters.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(ACTIVITY_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

/// Keeps a session in the registry until it is dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    entry: Arc<Entry>,
}

impl Registration {
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.state.lock().sessions.remove(&self.entry.pid);
    }
}
