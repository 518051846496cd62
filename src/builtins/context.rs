//! What functions and system tables may know of the session that asks: plain values and one trait.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::catalog::Snapshot;
use crate::encode::TextTimeZone;
use crate::error::Result;

/// The session as functions and system tables see it. Implemented by `session`, so that nothing here depends on it.
pub trait SessionView: Send + Sync + std::fmt::Debug {
    /// `current_setting(name)`; 42704 for an unknown name.
    fn setting(&self, name: &str) -> Result<String>;
    /// `set_config(name, value, local)`; answers the new value.
    fn set_setting(&self, name: &str, value: &str, local: bool) -> Result<String>;
    /// A row per setting, for `pg_settings` and SHOW ALL.
    fn settings(&self) -> Vec<SettingRow>;
    /// A row per session of this server, for `pg_stat_activity`.
    fn activity(&self) -> Vec<Activity>;
    /// `pg_cancel_backend(pid)`: whether there was such a session. 42501 when it is not this role's to cancel.
    fn cancel_backend(&self, pid: i32) -> Result<bool>;
    /// `pg_terminate_backend(pid)`.
    fn terminate_backend(&self, pid: i32) -> Result<bool>;
    /// A row per prepared statement of this session, for `pg_prepared_statements`.
    fn prepared_statements(&self) -> Vec<PreparedRow>;
    /// A row per open cursor of this session, for `pg_cursors`.
    fn cursors(&self) -> Vec<CursorRow>;
}

/// One row of `pg_prepared_statements`.
#[derive(Debug, Clone)]
pub struct PreparedRow {
    pub name: String,
    /// The whole text that the client sent.
    pub text: Arc<str>,
    pub prepared: DateTime<Utc>,
    /// Type OIDs.
    pub parameters: Vec<u32>,
    /// Type OIDs; `None` for a statement without rows.
    pub results: Option<Vec<u32>>,
    /// Made by PREPARE, not by Parse.
    pub from_sql: bool,
}

/// One row of `pg_cursors`.
#[derive(Debug, Clone)]
pub struct CursorRow {
    pub name: String,
    /// The whole text that the client sent.
    pub text: Arc<str>,
    pub hold: bool,
    pub binary: bool,
    pub scroll: bool,
    pub created: DateTime<Utc>,
}

/// One row of `pg_settings`.
#[derive(Debug, Clone)]
pub struct SettingRow {
    pub name: &'static str,
    pub setting: String,
    pub unit: Option<&'static str>,
    pub category: &'static str,
    pub short_desc: &'static str,
    /// `internal`, `postmaster`, `sighup`, `superuser` or `user`.
    pub context: &'static str,
    /// `bool`, `enum`, `integer`, `real` or `string`.
    pub vartype: &'static str,
    /// `default`, `configuration file`, `client` or `session`.
    pub source: &'static str,
    pub min_val: Option<String>,
    pub max_val: Option<String>,
    pub enumvals: Option<Vec<&'static str>>,
    pub boot_val: Option<String>,
    pub reset_val: Option<String>,
}

/// One row of `pg_stat_activity`.
#[derive(Debug, Clone)]
pub struct Activity {
    pub pid: i32,
    pub user: String,
    pub database: String,
    pub application_name: String,
    pub client_address: Option<std::net::SocketAddr>,
    pub backend_start: DateTime<Utc>,
    pub transaction_start: Option<DateTime<Utc>>,
    pub query_start: Option<DateTime<Utc>>,
    pub state_change: DateTime<Utc>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: &'static str,
    pub query: String,
    /// Of a running statement that tells it.
    pub progress: Option<Progress>,
}

/// How far a statement is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// `reading`, `training`, …
    pub phase: &'static str,
    /// Rows read so far.
    pub rows: u64,
    /// Steps of the phase that are done, out of `total`; 0 where there are none.
    pub done: u64,
    pub total: u64,
    /// The loss after the last step.
    pub loss: Option<f64>,
}

/// Everything that one statement's functions and system tables read; made once for each statement.
#[derive(Debug, Clone)]
pub struct Context {
    pub catalog: Snapshot,
    pub session: Arc<dyn SessionView>,
    pub pid: i32,
    pub user: String,
    pub session_user: String,
    pub database: String,
    /// Schemas that exist, in search order, `pg_catalog` first unless it was named explicitly.
    pub search_path: Vec<String>,
    /// Whether `pg_catalog` is in the search path though the setting does not name it.
    pub catalog_implicit: bool,
    /// The schema of the session's temporary relations, if there is one.
    pub temporary: Option<String>,
    pub time_zone: TextTimeZone,
    /// `now()`: the start of the transaction.
    pub transaction_start: DateTime<Utc>,
    pub statement_start: DateTime<Utc>,
    pub server_start: DateTime<Utc>,
    pub server_address: Option<std::net::SocketAddr>,
    pub client_address: Option<std::net::SocketAddr>,
}

/// Names behind OIDs, as a statement's context knows them.
#[derive(Debug)]
pub struct ContextNames(Arc<Context>);

impl ContextNames {
    pub fn new(context: Arc<Context>) -> Self {
        Self(context)
    }
}

impl crate::encode::ObjectNames for ContextNames {
    fn name(&self, type_oid: u32, oid: u32) -> Option<String> {
        super::functions::names::name_of(&self.0, type_oid, oid)
    }
}
