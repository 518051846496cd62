//! One client's state: a session with its prepared statements and portals, and what begins and ends with a message.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;

use chrono::Utc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::guard::{Deadline, Guard, transaction_timeout};
use super::log::Running;
use super::portal::Portal;
use super::prepared::Prepared;
use super::service::Service;
use super::statement;
use crate::encode::TextStyle;
use crate::error::{Error, Result, SqlState};
use crate::lake::Decision;
use crate::session::{Entry, Session};
use crate::sql::{self, Parsed, Statement};

/// Prepared statements and portals that one client may keep: what is kept must be bounded.
pub(super) const KEPT_MAX: usize = 10_000;

/// ReadyForQuery's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

/// One client's state. Driven by one task; not shared.
pub struct Conversation {
    pub(super) service: Arc<Service>,
    pub(super) session: Session,
    /// The unnamed statement is "".
    pub(super) statements: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    /// Statements of the simple Query that are yet to run.
    pub(super) simple_left: usize,
    /// Whether the simple Query has several statements: they are one transaction.
    pub(super) several: bool,
    /// Whether more than Sync follows the Execute that runs: both are one transaction.
    pub(super) pipelined: bool,
    /// Whether a COPY under way is a transaction of its own.
    pub(super) owned: bool,
    pub(super) running: Option<Running>,
}

impl Drop for Conversation {
    /// Temporary relations go with their session.
    fn drop(&mut self) {
        let (Some(schema), Ok(runtime)) = (self.session.temporary.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let ground = Arc::clone(&self.service.ground);
        runtime.spawn(async move {
            if let Err(error) = crate::execute::temporary::discard(&ground, &schema).await {
                tracing::warn!(schema, %error, "could not remove a session's temporary relations");
            }
        });
    }
}

impl Conversation {
    pub(super) fn new(service: Arc<Service>, session: Session) -> Self {
        Self {
            service,
            session,
            statements: HashMap::new(),
            portals: HashMap::new(),
            simple_left: 0,
            several: false,
            pipelined: false,
            owned: false,
            running: None,
        }
    }

    pub fn pid(&self) -> i32 {
        self.session.pid()
    }

    /// The cancel key: 32 random bytes (a client of protocol 3.0 gets and sends the first four).
    pub fn secret(&self) -> &[u8] {
        self.session.secret()
    }

    /// Settings to report by ParameterStatus: all reported ones at the first call, later those that changed since.
    pub fn take_parameter_changes(&mut self) -> Vec<(&'static str, String)> {
        self.session.handle().take_reported_changes()
    }

    /// Notices raised since the last call, in order.
    pub fn take_notices(&mut self) -> Vec<Error> {
        self.session.take_notices()
    }

    pub fn transaction_status(&self) -> TransactionStatus {
        match &self.session.transaction {
            crate::session::Transaction::Failed { .. } => TransactionStatus::Failed,
            transaction if transaction.in_block() => TransactionStatus::InTransaction,
            crate::session::Transaction::Idle | crate::session::Transaction::Active(_) => TransactionStatus::Idle,
        }
    }

    /// What the client is told when another session has ended this one.
    pub fn terminated(&self) -> Option<Error> {
        self.session.entry().termination().is_cancelled().then(Entry::termination_error)
    }

    /// Resolves when `pg_terminate_backend` or shutdown wants this connection to end: the FATAL error to send.
    pub fn termination(&self) -> impl Future<Output = Error> + Send + 'static {
        let token = self.session.entry().termination().clone();
        async move {
            token.cancelled_owned().await;
            Entry::termination_error()
        }
    }

    /// Until when the client may say nothing, and the FATAL error when it says nothing for longer. `ready`: whether it
    /// was told ReadyForQuery; between the messages of a pipeline only the transaction's own limit counts.
    pub fn idle_limit(&self, ready: bool) -> Option<(Instant, Error)> {
        let in_transaction = self.session.transaction.deadline().map(|deadline| (deadline, transaction_timeout()));
        let idle = if ready { self.idle_timeout() } else { None };
        [in_transaction, idle].into_iter().flatten().min_by_key(|(deadline, _)| *deadline)
    }

    fn idle_timeout(&self) -> Option<(Instant, Error)> {
        let settings = self.session.settings();
        let (limit, sqlstate, what) = if self.session.transaction.in_block() {
            let what = "terminating connection due to idle-in-transaction timeout";
            (settings.idle_in_transaction_session_timeout(), SqlState::IdleInTransactionSessionTimeout, what)
        } else {
            let what = "terminating connection due to idle-session timeout";
            (settings.idle_session_timeout(), SqlState::IdleSessionTimeout, what)
        };
        let deadline = Instant::now().checked_add(limit?)?;
        Some((deadline, Error::new(sqlstate, what).fatal()))
    }

    /// Cancelled to stop the running statement: by CancelRequest, or by `protocol` when the client is gone.
    pub fn cancel_token(&self) -> CancellationToken {
        self.session.entry().statement_token()
    }

    // Simple query.

    /// Splits a simple Query's text into statements. A syntax error anywhere is an error of the whole message, as in PostgreSQL.
    /// The unnamed statement and portal end with any Query.
    pub fn split(&mut self, text: &str) -> Result<Vec<Parsed>> {
        self.statements.remove("");
        self.portals.remove("");
        sql::parse(text)
    }

    /// Before the statements of one simple Query: several of them form one implicit transaction block.
    pub fn begin_simple(&mut self, statements: usize) {
        self.simple_left = statements;
        self.several = statements > 1;
        self.session.in_message_block = self.several;
        self.pipelined = false;
    }

    /// Plans and starts one statement as the unnamed portal, results in text.
    pub async fn run_simple(&mut self, statement: Parsed) -> Result<&mut Portal> {
        self.simple_left = self.simple_left.saturating_sub(1);
        let style = self.style();
        let portal = Portal::new(Arc::new(Prepared::unbound(statement)), Vec::new(), Vec::new(), style);
        self.start("", portal).await
    }

    /// After the last statement of a simple Query, or after the error that ended it (then `fail` was called).
    pub async fn end_simple(&mut self) -> Result<()> {
        self.simple_left = 0;
        self.several = false;
        self.session.in_message_block = false;
        self.end_message();
        Ok(())
    }

    pub(super) fn style(&self) -> Arc<TextStyle> {
        Arc::new(self.session.settings().text_style())
    }

    /// Tells that a statement's error was sent to the client: a transaction block is now failed, an implicit one rolled back.
    pub fn fail(&mut self, error: &Error) {
        self.owned = false;
        self.note_end(error.sqlstate().code());
        self.simple_left = 0;
        self.session.fail();
        match self.session.transaction.portals_at_savepoint() {
            // ROLLBACK TO may go back to where they were open.
            Some(mut kept) => {
                kept.remove("");
                self.close_portals_but(&kept);
            }
            None => self.close_transaction_portals(false),
        }
        self.session.entry().end_statement(&self.session.transaction, Utc::now());
    }

    /// After a statement ended well: its CommandComplete is about to be sent.
    pub async fn complete(&mut self) -> Result<()> {
        // As in PostgreSQL the last statement of a message is done when all of it is committed.
        let ends_message = self.several && self.simple_left == 0 && !self.session.transaction.in_block();
        if std::mem::take(&mut self.owned) || ends_message {
            let decision = Decision::default();
            self.end_temporary(true, &self.cancel_token(), &decision).await?;
            self.commit_writes(&decision).await?;
        }
        self.note_end("00000");
        Ok(())
    }

    /// ReadyForQuery is about to be sent: implicit transactions end, and with them what the session is seen to do.
    pub(super) fn end_message(&mut self) {
        self.pipelined = false;
        self.session.end_implicit();
        self.session.limit_transaction();
        self.session.entry().end_statement(&self.session.transaction, Utc::now());
        if !self.session.transaction.in_block() {
            self.close_transaction_portals(true);
        }
    }

    /// Portals end with their transaction; held cursors stay when it committed.
    pub(super) fn close_transaction_portals(&mut self, committed: bool) {
        let gone: Vec<String> = self
            .portals
            .iter()
            .filter(|(_, portal)| !portal.survives(committed))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.close_portal(&name);
        }
        if committed {
            for portal in self.portals.values_mut() {
                portal.outlive_transaction();
            }
        }
    }

    /// Portals that a savepoint did not know end with what is rolled back.
    pub(super) fn close_portals_but(&mut self, kept: &HashSet<String>) {
        let gone: Vec<String> = self.portals.keys().filter(|name| !kept.contains(*name)).cloned().collect();
        for name in gone {
            self.close_portal(&name);
        }
    }

    /// Whether statements of the same message follow: they form an implicit block.
    pub(super) fn in_message_block(&self) -> bool {
        self.simple_left > 0
    }

    /// 25P02 in a failed block for all but its end.
    pub(super) fn check_block(&self, statement: &Statement) -> Result<()> {
        if statement::ends_transaction(statement) { Ok(()) } else { self.session.check_not_failed() }
    }

    /// A statement begins: its token, its deadline, its transaction.
    pub(super) fn begin_statement(&mut self, text: &str) -> Guard {
        let now = Utc::now();
        self.session.start_statement(now);
        self.session.limit_transaction();
        let timeout = self.session.settings().statement_timeout();
        let started = self.session.transaction.started().unwrap_or(now);
        let token = self.session.entry().start_statement(text, started, now);
        let transaction = self.session.transaction.deadline().map(Deadline::of_transaction);
        let statement = timeout.and_then(Deadline::of_statement);
        Guard::new(token, Deadline::earlier(transaction, statement))
    }
}
