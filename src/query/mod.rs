//! The road on one page: parse → authorise → plan → execute, for a [`Conversation`] that `protocol` (or a task) drives.
//!
//! ```text
//! protocol ─ Service::connect ─→ Conversation ─┬ parse / bind / describe / run / close / sync   (extended query)
//!                                              └ split ─→ begin_simple, run_simple…, end_simple  (simple query)
//! ```
//! Nothing here knows messages. Rows leave as Arrow batches through a [`Portal`], guarded by cancel and deadline.

mod conversation;
mod cursors;
mod guard;
mod portal;
mod prepared;
mod service;
mod statement;

<<<<<<< HEAD
pub use crate::execute::output::{ByteStream, CopyIn, CopyOut, CopySink};
pub use conversation::{Conversation, PortalDescription, StatementDescription, TransactionStatus};
pub use portal::{Answer, Portal};
pub use service::{ConnectRequest, Service};
=======
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::catalog::Role;
use crate::encode::types::{Format, OutputColumn};
use crate::error::{Error, Result};
use crate::sql::Parsed;
pub use output::*;

/// The one service of a process: catalog, lake, engine and the registry of sessions.
pub struct Service {}

/// What a client says when it connects, after authentication.
#[derive(Debug, Clone, Default)]
pub struct ConnectRequest {
    pub user: String,
    /// `None`: the same name as the user, as in PostgreSQL.
    pub database: Option<String>,
    /// Startup parameters other than user, database, replication; `options` already split into its `-c name=value`.
    pub settings: Vec<(String, String)>,
    pub client_address: Option<SocketAddr>,
    pub server_address: Option<SocketAddr>,
    pub tls: bool,
}

/// ReadyForQuery's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

/// One client's state: a session with its prepared statements and portals. Driven by one task; not shared.
pub struct Conversation {}

pub struct StatementDescription {
    /// Type OIDs of `$1`, `$2`, ….
    pub parameters: Vec<u32>,
    /// `None`: NoData.
    pub columns: Option<Arc<[OutputColumn]>>,
}

pub struct PortalDescription {
    /// `None`: NoData.
    pub columns: Option<Arc<[OutputColumn]>>,
    /// One for each column.
    pub formats: Vec<Format>,
}

impl Service {
    /// The role of that name on a fresh enough catalog, for authentication.
    pub async fn role(&self, _name: &str) -> Result<Option<Role>> {
        todo!()
    }

    /// Opens a session. 3D000 for another database, 28000 for a role without LOGIN, 42704 or 22023 for a bad setting,
    /// 53300 over the role's connection limit. All of them FATAL.
    pub async fn connect(self: &Arc<Self>, _request: ConnectRequest) -> Result<Conversation> {
        todo!()
    }

    /// CancelRequest: cancels the running statement of that session if the secret is right; silent otherwise.
    pub fn cancel(&self, _pid: i32, _secret: &[u8]) {
        todo!()
    }
}

impl Conversation {
    pub fn pid(&self) -> i32 {
        todo!()
    }
    /// The cancel key: 32 random bytes (a client of protocol 3.0 gets and sends the first four).
    pub fn secret(&self) -> &[u8] {
        todo!()
    }
    /// Settings to report by ParameterStatus: all reported ones at the first call, later those that changed since.
    pub fn take_parameter_changes(&mut self) -> Vec<(&'static str, String)> {
        todo!()
    }
    /// Notices raised since the last call, in order.
    pub fn take_notices(&mut self) -> Vec<Error> {
        todo!()
    }
    pub fn transaction_status(&self) -> TransactionStatus {
        todo!()
    }
    /// Resolves when `pg_terminate_backend` or shutdown wants this connection to end: the FATAL error to send.
    pub fn termination(&self) -> impl Future<Output = Error> + Send + 'static {
        async { todo!() }
    }
    /// How long the client may now be idle, and the FATAL error when it was longer: `idle_session_timeout` (57P05) or
    /// `idle_in_transaction_session_timeout` (25P03).
    pub fn idle_limit(&self) -> Option<(Duration, Error)> {
        todo!()
    }
    /// Cancelled to stop the running statement: by CancelRequest, by a timeout, or by `protocol` when the client is gone.
    pub fn cancel_token(&self) -> CancellationToken {
        todo!()
    }

    /// Splits a simple Query's text into statements. A syntax error anywhere is an error of the whole message, as in PostgreSQL.
    pub fn split(&mut self, _text: &str) -> Result<Vec<Parsed>> {
        todo!()
    }
    /// Before the statements of one simple Query: destroys the unnamed statement and portal; several statements form one
    /// implicit transaction block.
    pub fn begin_simple(&mut self, _statements: usize) {
        todo!()
    }
    /// Plans and starts one statement as the unnamed portal, results in text.
    pub async fn run_simple(&mut self, _statement: Parsed) -> Result<&mut Portal> {
        todo!()
    }
    /// After the last statement of a simple Query, or after the error that ended it (then `fail` was called).
    pub async fn end_simple(&mut self) -> Result<()> {
        todo!()
    }

    /// Parse. 42P05 for a named statement that exists; more than one statement in the text is 42601.
    pub async fn parse(&mut self, _name: &str, _text: &str, _parameter_oids: &[u32]) -> Result<()> {
        todo!()
    }
    /// Describe of a statement: 26000 when it does not exist.
    pub fn describe_statement(&self, _name: &str) -> Result<StatementDescription> {
        todo!()
    }
    /// Bind. Wrong numbers of parameters or format codes are 08P01; a bad value is 22P02 or 22P03.
    pub async fn bind(
        &mut self,
        _portal: &str,
        _statement: &str,
        _parameter_formats: &[i16],
        _parameters: Vec<Option<Bytes>>,
        _result_formats: &[i16],
    ) -> Result<()> {
        todo!()
    }
    /// Describe of a portal: 34000 when it does not exist.
    pub fn describe_portal(&self, _name: &str) -> Result<PortalDescription> {
        todo!()
    }
    /// Execute: starts the portal unless it is suspended half-way. 34000 when it does not exist.
    pub async fn run(&mut self, _portal: &str) -> Result<&mut Portal> {
        todo!()
    }
    /// Close of a statement or portal; closing what does not exist is no error.
    pub fn close_statement(&mut self, _name: &str) {
        todo!()
    }
    pub fn close_portal(&mut self, _name: &str) {
        todo!()
    }
    /// Tells that a statement's error was sent to the client: a transaction block is now failed, an implicit one rolled back.
    pub fn fail(&mut self, _error: &Error) {
        todo!()
    }
    /// Sync: ends an implicit transaction. An error of that commit is sent before ReadyForQuery.
    pub async fn sync(&mut self) -> Result<()> {
        todo!()
    }
    /// After a statement ended well (its CommandComplete is about to be sent): commits what is outside a block.
    pub async fn complete(&mut self) -> Result<()> {
        todo!()
    }
}

/// A started portal: what `protocol` reads a statement's answer from.
pub struct Portal {}

/// What the portal has for the client now.
pub enum Answer<'a> {
    /// Rows are read by [`Portal::next`] until it gives `None`; then [`Portal::tag`].
    Rows {
        columns: &'a Arc<[OutputColumn]>,
        formats: &'a [Format],
        style: &'a Arc<crate::encode::TextStyle>,
    },
    /// The command tag.
    Done(String),
    Empty,
    /// Taken once.
    CopyIn(CopyIn),
    CopyOut(CopyOut),
}

impl Portal {
    /// What is to be sent. A portal that already ended answers `Done` with the tag of no rows (`SELECT 0`).
    pub fn answer(&mut self) -> Result<Answer<'_>> {
        todo!()
    }
    /// The next rows, at most `rows_max` of them; `None` at the end. What a batch holds beyond that stays for the next call.
    /// Cancel, timeout and a termination end it with their error.
    pub async fn next(&mut self, _rows_max: Option<usize>) -> Result<Option<RecordBatch>> {
        todo!()
    }
    /// Resolves with its error when the statement is to stop: cancel or a timeout. For what [`Portal::next`] does not guard:
    /// a COPY that waits for the client.
    pub fn interruption(&self) -> impl Future<Output = Error> + Send + 'static {
        async { todo!() }
    }
    /// The command tag for the rows sent in this Execute.
    pub fn tag(&self) -> String {
        todo!()
    }
}
>>>>>>> wire
