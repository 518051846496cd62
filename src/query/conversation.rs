//! One client's state: a session with its prepared statements and portals, and the rules of the two query protocols.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use super::guard::Guard;
use super::portal::{Portal, State};
use super::prepared::{self, Prepared};
use super::service::Service;
use super::statement::{self, Access, Company};
use crate::builtins::ContextNames;
use crate::encode::TextStyle;
use crate::encode::input::InputContext;
use crate::encode::params::decode_parameter;
use crate::encode::types::{Format, OutputColumn, PgType, element_of, oid};
use crate::error::{Error, Result, SqlState};
use crate::execute::output::Output;
use crate::execute::select::Reusable;
use crate::execute::{self, Road};
use crate::plan::Parameters;
use crate::session::{Entry, Isolation, Modes, Session};
use crate::sql::{self, Discard, Parsed, Statement};

/// Prepared statements and portals that one client may keep: what is kept must be bounded.
const KEPT_MAX: usize = 10_000;
/// EXECUTE of a statement that is an EXECUTE cannot be, but PREPARE takes any text.
const EXECUTE_DEPTH_MAX: usize = 8;

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
    statements: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    /// Statements of the simple Query that are yet to run.
    simple_left: usize,
    /// Whether a statement has committed since the last Sync or the start of the message.
    committed: bool,
    running: Option<Running>,
}

/// The statement that is being answered, for metrics.
struct Running {
    kind: &'static str,
    started: Instant,
}

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

impl Conversation {
    pub(super) fn new(service: Arc<Service>, session: Session) -> Self {
        Self {
            service,
            session,
            statements: HashMap::new(),
            portals: HashMap::new(),
            simple_left: 0,
            committed: false,
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

    /// How long the client may now be idle, and the FATAL error when it was longer.
    pub fn idle_limit(&self) -> Option<(Duration, Error)> {
        let settings = self.session.settings();
        let (limit, sqlstate, what) = if self.session.transaction.in_block() {
            let what = "terminating connection due to idle-in-transaction timeout";
            (settings.idle_in_transaction_session_timeout(), SqlState::IdleInTransactionSessionTimeout, what)
        } else {
            let what = "terminating connection due to idle-session timeout";
            (settings.idle_session_timeout(), SqlState::IdleSessionTimeout, what)
        };
        limit.map(|limit| (limit, Error::new(sqlstate, what).fatal()))
    }

    /// Cancelled to stop the running statement: by CancelRequest, or by `protocol` when the client is gone.
    pub fn cancel_token(&self) -> CancellationToken {
        self.session.entry().statement_token()
    }

    // Simple query.

    /// Splits a simple Query's text into statements. A syntax error anywhere is an error of the whole message, as in PostgreSQL.
    pub fn split(&mut self, text: &str) -> Result<Vec<Parsed>> {
        sql::parse(text)
    }

    /// Before the statements of one simple Query: destroys the unnamed statement and portal; several statements form one
    /// implicit transaction block.
    pub fn begin_simple(&mut self, statements: usize) {
        self.statements.remove("");
        self.portals.remove("");
        self.simple_left = statements;
        self.committed = false;
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
        self.end_message();
        Ok(())
    }

    // Extended query.

    /// Parse. 42P05 for a named statement that exists; more than one statement in the text is 42601.
    pub async fn parse(&mut self, name: &str, text: &str, parameter_oids: &[u32]) -> Result<()> {
        let mut parsed = sql::parse(text)?;
        if parsed.len() > 1 {
            return Err(Error::new(SqlState::SyntaxError, "cannot insert multiple commands into a prepared statement"));
        }
        let parsed = parsed.pop().ok_or_else(|| Error::internal("a text parsed to no statement"))?;
        self.check_block(&parsed.statement)?;
        if name.is_empty() {
            self.statements.remove("");
        } else {
            self.check_new_statement(name)?;
        }
        let given = parameter_oids.iter().map(|oid| (*oid != 0).then(|| PgType::of(*oid))).collect();
        let prepared = self.prepare(parsed, Parameters::to_infer(given)).await?;
        self.keep_statement(name, prepared);
        Ok(())
    }

    fn check_new_statement(&self, name: &str) -> Result<()> {
        if self.statements.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(SqlState::DuplicatePreparedStatement, message));
        }
        if self.statements.len() >= KEPT_MAX {
            let message = format!("a session can keep at most {KEPT_MAX} prepared statements");
            return Err(Error::new(SqlState::ConfigurationLimitExceeded, message));
        }
        Ok(())
    }

    fn keep_statement(&mut self, name: &str, prepared: Prepared) {
        if !name.is_empty() {
            let types = prepared.parameters.iter().map(|ty| ty.oid).collect();
            self.session.handle().add_prepared(name, &prepared.parsed.text, types);
        }
        self.statements.insert(name.to_owned(), Arc::new(prepared));
    }

    /// Binds a text to learn its types. Fetch's columns are its cursor's.
    async fn prepare(&mut self, parsed: Parsed, parameters: Parameters) -> Result<Prepared> {
        if statement::ends_transaction(&parsed.statement) || statement::access(&parsed.statement) == Access::Control {
            let columns = self.control_columns(&parsed.statement)?;
            return Ok(Prepared {
                parameters: parameters.settled()?,
                parsed,
                columns,
                described: true,
                reusable: OnceLock::new(),
            });
        }
        let guard = self.begin_statement(&parsed.text);
        let ground = Arc::clone(&self.service.ground);
        let started = self.service.started;
        let session = &mut self.session;
        let token = guard.token().clone();
        guard
            .run(async move {
                let source = Arc::clone(&parsed.source);
                let mut road = Road::new(&ground, session, source, parameters, token, started).await?;
                prepared::prepare(&mut road, parsed).await
            })
            .await
    }

    fn control_columns(&self, statement: &Statement) -> Result<Option<Arc<[OutputColumn]>>> {
        match statement {
            Statement::Show(show) => Ok(Some(execute::setting::show_columns(show)?.into())),
            Statement::Fetch(fetch) if !fetch.moves => Ok(Some(self.portal_columns(&fetch.cursor.value)?)),
            Statement::Execute(execute) => Ok(self.statement(&execute.name.value)?.columns.clone()),
            _ => Ok(None),
        }
    }

    fn statement(&self, name: &str) -> Result<&Arc<Prepared>> {
        self.statements.get(name).ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            Error::new(SqlState::InvalidSqlStatementName, message)
        })
    }

    /// Describe of a statement: 26000 when it does not exist.
    pub fn describe_statement(&self, name: &str) -> Result<StatementDescription> {
        let prepared = self.statement(name)?;
        self.check_block(&prepared.parsed.statement)?;
        let parameters = prepared.parameters.iter().map(|ty| ty.oid).collect();
        Ok(StatementDescription { parameters, columns: prepared.columns.clone() })
    }

    /// Bind. Wrong numbers of parameters or format codes are 08P01; a bad value is 22P02 or 22P03.
    pub async fn bind(
        &mut self,
        portal: &str,
        statement: &str,
        parameter_formats: &[i16],
        parameters: Vec<Option<Bytes>>,
        result_formats: &[i16],
    ) -> Result<()> {
        let prepared = Arc::clone(self.statement(statement)?);
        self.check_block(&prepared.parsed.statement)?;
        let values = self.decode_parameters(statement, &prepared, parameter_formats, parameters)?;
        let formats = result_formats.iter().map(|code| format_of(*code)).collect::<Result<Vec<_>>>()?;
        if let Some(columns) = &prepared.columns {
            super::portal::spread_formats(&formats, columns.len())?;
        }
        if !portal.is_empty() && self.portals.contains_key(portal) {
            let message = format!("cursor \"{portal}\" already exists");
            return Err(Error::new(SqlState::DuplicateCursor, message));
        }
        if self.portals.len() >= KEPT_MAX {
            let message = format!("a session can keep at most {KEPT_MAX} portals");
            return Err(Error::new(SqlState::ConfigurationLimitExceeded, message));
        }
        let style = self.style();
        self.portals.insert(portal.to_owned(), Portal::new(prepared, values, formats, style));
        Ok(())
    }

    fn decode_parameters(
        &self,
        statement: &str,
        prepared: &Prepared,
        formats: &[i16],
        parameters: Vec<Option<Bytes>>,
    ) -> Result<Vec<ScalarValue>> {
        let count = parameters.len();
        if formats.len() > 1 && formats.len() != count {
            let message = format!("bind message has {} parameter formats but {count} parameters", formats.len());
            return Err(Error::new(SqlState::ProtocolViolation, message));
        }
        if count != prepared.parameters.len() {
            let message = format!(
                "bind message supplies {count} parameters, but prepared statement \"{statement}\" requires {}",
                prepared.parameters.len()
            );
            return Err(Error::new(SqlState::ProtocolViolation, message));
        }
        let context = self.input_context();
        let typed = parameters.into_iter().zip(&prepared.parameters).enumerate();
        typed
            .map(|(index, (bytes, ty))| {
                let code = formats.get(index).or_else(|| formats.first()).copied().unwrap_or(0);
                decode_parameter(bytes.as_deref(), format_of(code)?, *ty, &context, index + 1)
            })
            .collect()
    }

    fn input_context(&self) -> InputContext {
        let now = self.session.transaction.started().unwrap_or_else(Utc::now);
        InputContext::of_style(&self.style(), now)
    }

    pub(super) fn style(&self) -> Arc<TextStyle> {
        Arc::new(self.session.settings().text_style())
    }

    /// The style with names for `reg…` values.
    fn style_with_names(&self) -> Arc<TextStyle> {
        let snapshot = self.service.ground.catalog.snapshot();
        let context = execute::statement_context(&self.session, &snapshot, self.service.started);
        let mut style = self.session.settings().text_style();
        style.names = Some(Arc::new(ContextNames::new(Arc::new(context))));
        Arc::new(style)
    }

    /// Describe of a portal: 34000 when it does not exist.
    pub fn describe_portal(&self, name: &str) -> Result<PortalDescription> {
        let portal = self.portals.get(name).ok_or_else(|| missing_portal(name))?;
        self.check_block(&portal.prepared.parsed.statement)?;
        Ok(match portal.description()? {
            Some((columns, formats)) => PortalDescription { columns: Some(columns), formats },
            None => PortalDescription { columns: None, formats: Vec::new() },
        })
    }

    /// Execute: starts the portal unless it is suspended half-way. 34000 when it does not exist.
    pub async fn run(&mut self, name: &str) -> Result<&mut Portal> {
        let portal = self.portals.remove(name).ok_or_else(|| missing_portal(name))?;
        if portal.is_ready() {
            return self.start(name, portal).await;
        }
        let guard = self.begin_statement(&portal.prepared.parsed.text);
        let portal = self.portals.entry(name.to_owned()).insert_entry(portal).into_mut();
        if let State::Rows(rows) = &mut portal.state {
            rows.rearm(guard);
        } else if let Some(cursor) = &portal.cursor {
            cursor.rows.lock().await.rearm(guard);
        }
        Ok(portal)
    }

    /// Close of a statement or portal; closing what does not exist is no error.
    pub fn close_statement(&mut self, name: &str) {
        self.statements.remove(name);
        self.session.handle().remove_prepared(Some(name));
    }

    pub fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
        self.session.handle().remove_cursor(Some(name));
    }

    /// Tells that a statement's error was sent to the client: a transaction block is now failed, an implicit one rolled back.
    pub fn fail(&mut self, error: &Error) {
        self.count(error.sqlstate().code());
        self.simple_left = 0;
        self.session.fail();
        self.close_transaction_portals(false);
        self.session.entry().end_statement(&self.session.transaction, Utc::now());
    }

    /// Sync: ends an implicit transaction.
    pub async fn sync(&mut self) -> Result<()> {
        self.end_message();
        Ok(())
    }

    /// After a statement ended well: its CommandComplete is about to be sent.
    pub async fn complete(&mut self) -> Result<()> {
        self.count("00000");
        self.session.entry().end_statement(&self.session.transaction, Utc::now());
        Ok(())
    }

    fn count(&mut self, sqlstate: &'static str) {
        if let Some(running) = self.running.take() {
            self.service.metrics.statement(running.kind, sqlstate, running.started.elapsed());
        }
    }

    fn end_message(&mut self) {
        self.committed = false;
        self.session.end_implicit();
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

    /// Whether statements of the same message follow: they form an implicit block.
    pub(super) fn in_message_block(&self) -> bool {
        self.simple_left > 0
    }

    /// Starts a cursor's query.
    pub(super) async fn open_query(&mut self, prepared: &Arc<Prepared>, guard: &Guard) -> Result<Output> {
        self.on_road(prepared, &[], guard).await
    }

    /// 25P02 in a failed block for all but its end.
    fn check_block(&self, statement: &Statement) -> Result<()> {
        if statement::ends_transaction(statement) { Ok(()) } else { self.session.check_not_failed() }
    }

    /// A statement begins: its token, its deadline, its transaction.
    pub(super) fn begin_statement(&mut self, text: &str) -> Guard {
        let now = Utc::now();
        self.session.start_statement(now);
        let timeout = self.session.settings().statement_timeout();
        let started = self.session.transaction.started().unwrap_or(now);
        let token = self.session.entry().start_statement(text, started, now);
        Guard::new(token, timeout)
    }

    /// Starts a bound portal and keeps it under its name.
    pub(super) async fn start(&mut self, name: &str, mut portal: Portal) -> Result<&mut Portal> {
        let prepared = Arc::clone(&portal.prepared);
        self.running = Some(Running { kind: prepared.parsed.statement.kind(), started: Instant::now() });
        self.check_block(&prepared.parsed.statement)?;
        let guard = self.begin_statement(&prepared.parsed.text);
        let output = self.execute(&prepared, &portal.parameters, &guard, 0).await?;
        if let (true, Some(before), Output::Rows { columns, .. }) = (prepared.described, &prepared.columns, &output) {
            prepared::check_unchanged(before, columns)?;
        }
        if let Statement::Fetch(fetch) = &prepared.parsed.statement {
            // A BINARY cursor's rows are binary whatever the protocol of the FETCH.
            if self.is_binary_cursor(&fetch.cursor.value) {
                portal.formats = vec![Format::Binary];
            }
        }
        if let Output::Rows { columns, .. } = &output
            && columns.iter().any(|column| has_object_names(column.ty))
        {
            portal.style = self.style_with_names();
        }
        portal.guard = Some(guard.clone());
        portal.metrics = Some(Arc::clone(&self.service.metrics));
        portal.state = State::from_output(output, &portal.formats, guard)?;
        Ok(self.portals.entry(name.to_owned()).insert_entry(portal).into_mut())
    }

    /// Runs a statement: what belongs to the conversation here, everything else on the road below.
    async fn execute(
        &mut self,
        prepared: &Prepared,
        values: &[ScalarValue],
        guard: &Guard,
        depth: usize,
    ) -> Result<Output> {
        let parsed = &prepared.parsed;
        let now = Utc::now();
        let done = |tag: &str| Ok(Output::Done(tag.to_owned()));
        match &parsed.statement {
            Statement::Empty => Ok(Output::Empty),
            Statement::Begin { modes, start } => {
                self.session.begin(modes_of(*modes), now)?;
                done(if *start { "START TRANSACTION" } else { "BEGIN" })
            }
            Statement::Commit { chain } => {
                let end = self.session.commit(*chain, now)?;
                self.close_transaction_portals(end == crate::session::transaction::End::Committed);
                done(end.tag())
            }
            Statement::Rollback { chain } => {
                let end = self.session.rollback(*chain, now)?;
                self.close_transaction_portals(false);
                done(end.tag())
            }
            Statement::SetTransaction { session: true, modes } => {
                self.session.set_session_characteristics(modes_of(*modes))?;
                done("SET")
            }
            Statement::SetTransaction { session: false, modes } => {
                self.session.set_transaction(modes_of(*modes))?;
                done("SET")
            }
            Statement::Prepare(statement) => {
                self.check_new_statement(&statement.name.value)?;
                let given = statement.types.iter().copied().map(Some).collect();
                let inner = self.prepare(statement.statement.clone(), Parameters::to_infer(given)).await?;
                self.keep_statement(&statement.name.value, inner);
                done("PREPARE")
            }
            Statement::Execute(statement) => {
                let inner = Arc::clone(self.statement(&statement.name.value)?);
                self.execute_prepared(&inner, statement, &parsed.source, guard, depth).await
            }
            Statement::Deallocate(Some(name)) => {
                self.statement(&name.value)?;
                self.close_statement(&name.value);
                done("DEALLOCATE")
            }
            Statement::Deallocate(None) => {
                self.forget_statements();
                done("DEALLOCATE ALL")
            }
            Statement::Discard(what) => self.discard(*what),
            Statement::Unlisten => done("UNLISTEN"),
            Statement::Declare(declare) => self.declare(declare, parsed, guard).await,
            Statement::Fetch(fetch) => self.fetch(fetch, guard).await,
            Statement::Close(name) => self.close_cursor(name.as_ref()),
            _ => self.on_road(prepared, values, guard).await,
        }
    }

    fn forget_statements(&mut self) {
        self.statements.clear();
        self.session.handle().remove_prepared(None);
    }

    fn discard(&mut self, what: Discard) -> Result<Output> {
        match what {
            Discard::All => {
                self.session.forbid_block("DISCARD ALL")?;
                self.portals.clear();
                self.session.handle().remove_cursor(None);
                self.forget_statements();
                self.session.set_role(None);
                self.session.settings().reset_all();
                Ok(Output::Done("DISCARD ALL".into()))
            }
            // Plans are made anew for each execution, there are no sequences, and temporary tables cannot be made.
            Discard::Plans => Ok(Output::Done("DISCARD PLANS".into())),
            Discard::Sequences => Ok(Output::Done("DISCARD SEQUENCES".into())),
            Discard::Temp => Ok(Output::Done("DISCARD TEMP".into())),
        }
    }

    /// EXECUTE name (arguments): the arguments are constants, coerced to the parameters' types.
    async fn execute_prepared(
        &mut self,
        inner: &Arc<Prepared>,
        statement: &sql::ExecutePrepared,
        source: &Arc<str>,
        guard: &Guard,
        depth: usize,
    ) -> Result<Output> {
        let (name, arguments) = (statement.name.value.as_str(), statement.arguments.as_slice());
        if depth >= EXECUTE_DEPTH_MAX {
            return Err(Error::new(SqlState::StatementTooComplex, "EXECUTE is nested too deeply"));
        }
        if arguments.len() != inner.parameters.len() {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            return Err(Error::new(SqlState::SyntaxError, message).with_detail(format!(
                "Expected {} parameters but got {}.",
                inner.parameters.len(),
                arguments.len()
            )));
        }
        let values = if arguments.is_empty() {
            Vec::new()
        } else {
            let ground = Arc::clone(&self.service.ground);
            let (session, started) = (&mut self.session, self.service.started);
            let (token, source) = (guard.token().clone(), Arc::clone(source));
            guard
                .run(async move {
                    let mut road = Road::new(&ground, session, source, Parameters::none(), token, started).await?;
                    road.constants(name, arguments, &inner.parameters).await
                })
                .await?
        };
        Box::pin(self.execute(inner, &values, guard, depth + 1)).await
    }

    /// Runs a statement that `execute` knows.
    async fn on_road(&mut self, prepared: &Prepared, values: &[ScalarValue], guard: &Guard) -> Result<Output> {
        let access = prepared.access();
        if let Some(Some(reusable)) = prepared.reusable.get()
            && let Some(output) = reusable.run(&self.service.ground, &self.session)
        {
            self.session.note_query();
            return output;
        }
        let company = Company { followed: self.simple_left > 0, committed_before: self.committed };
        statement::check_write(&self.session, access, company)?;
        let parameters = if prepared.parameters.is_empty() && values.is_empty() {
            Parameters::none()
        } else {
            Parameters::bound(&prepared.parameters, values.to_vec())
        };
        let ground = Arc::clone(&self.service.ground);
        let (session, started) = (&mut self.session, self.service.started);
        let (token, source) = (guard.token().clone(), Arc::clone(&prepared.parsed.source));
        let statement = &prepared.parsed.statement;
        let output = guard
            .run(async move {
                let mut road = Road::new(&ground, session, source, parameters, token, started).await?;
                // A described statement is executed again and again: what can be planned once is.
                if let (Statement::Query(query), true, None) = (statement, prepared.described, prepared.reusable.get())
                {
                    let plan = Reusable::plan(&mut road, query).await?;
                    let _ = prepared.reusable.set(plan);
                }
                if let Some(Some(reusable)) = prepared.reusable.get()
                    && let Some(output) = reusable.run(&ground, road.session)
                {
                    road.session.note_query();
                    return output;
                }
                let output = execute::run(&mut road, statement).await;
                road.session.note_query();
                output
            })
            .await?;
        self.committed |= matches!(access, Access::Writes(_));
        Ok(output)
    }
}

/// Whether values of the type are shown as names: `regclass` and its kin.
fn has_object_names(ty: PgType) -> bool {
    let element = element_of(ty.oid).unwrap_or(ty.oid);
    matches!(
        element,
        oid::REGCLASS | oid::REGTYPE | oid::REGPROC | oid::REGPROCEDURE | oid::REGNAMESPACE | oid::REGROLE
    )
}

fn modes_of(modes: sql::TransactionModes) -> Modes {
    let isolation = modes.isolation.map(|isolation| match isolation {
        sql::Isolation::ReadUncommitted => Isolation::ReadUncommitted,
        sql::Isolation::ReadCommitted => Isolation::ReadCommitted,
        sql::Isolation::RepeatableRead => Isolation::RepeatableRead,
        sql::Isolation::Serializable => Isolation::Serializable,
    });
    Modes { isolation, read_only: modes.read_only, deferrable: modes.deferrable }
}

pub(super) fn missing_portal(name: &str) -> Error {
    Error::new(SqlState::InvalidCursorName, format!("portal \"{name}\" does not exist"))
}

fn format_of(code: i16) -> Result<Format> {
    match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        other => Err(Error::new(SqlState::InvalidParameterValue, format!("unsupported format code: {other}"))),
    }
}
