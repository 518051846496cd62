//! A statement runs: what belongs to the conversation here, everything else on the road of `execute`.

use std::sync::Arc;

use chrono::Utc;
use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use super::conversation::Conversation;
use super::guard::Guard;
use super::portal::{Portal, State};
use super::prepared::{self, Prepared};
use super::statement::{self, Access};
use crate::builtins::ContextNames;
use crate::encode::TextStyle;
use crate::encode::types::{Format, PgType, element_of, oid};
use crate::error::{Error, Result, SqlState};
use crate::execute::output::Output;
use crate::execute::select::Reusable;
use crate::execute::{self, Road};
use crate::lake::{self, Decision};
use crate::plan::Parameters;
use crate::session::{Isolation, Modes, Pins};
use crate::sql::{self, Discard, Statement};

/// Times that a statement which is a transaction of its own is run before others' commits end it with 40001.
const ATTEMPTS_MAX: u32 = 10;

impl Conversation {
    /// Starts a bound portal and keeps it under its name.
    pub(super) async fn start(&mut self, name: &str, mut portal: Portal) -> Result<&mut Portal> {
        let prepared = Arc::clone(&portal.prepared);
        self.note_start(&prepared);
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
    pub(super) async fn execute(
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
                if let Err(error) = Box::pin(guard.run(self.commit_block(guard))).await {
                    self.session.rollback(false, now)?;
                    self.close_transaction_portals(false);
                    return Err(error);
                }
                let end = self.session.commit(*chain, now)?;
                self.close_transaction_portals(end == crate::session::transaction::End::Committed);
                done(end.tag())
            }
            Statement::Rollback { chain } => {
                let end = self.session.rollback(*chain, now)?;
                self.close_transaction_portals(false);
                done(end.tag())
            }
            Statement::Savepoint(name) => {
                self.session.savepoint(&name.value, self.portals.keys().cloned().collect())?;
                done("SAVEPOINT")
            }
            Statement::Release(name) => {
                self.session.release(&name.value)?;
                done("RELEASE")
            }
            Statement::RollbackTo(name) => {
                let to = self.session.rollback_to(&name.value)?;
                execute::transaction::cut(to.pins());
                self.close_portals_but(&to.portals);
                done("ROLLBACK")
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
                let given = statement.types.iter().copied().map(Some).collect();
                let parameters = Parameters::to_infer(given);
                let inner = Box::pin(self.prepare(statement.statement.clone(), parameters)).await?;
                self.check_new_statement(&statement.name.value)?;
                self.keep_statement(&statement.name.value, inner, true);
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
            Statement::Discard(what) => Box::pin(self.discard(*what)).await,
            Statement::Unlisten => done("UNLISTEN"),
            Statement::Declare(declare) => Box::pin(self.declare(declare, parsed, guard)).await,
            Statement::Fetch(fetch) => self.fetch(fetch, guard).await,
            Statement::Close(name) => self.close_cursor(name.as_ref()),
            _ => Box::pin(self.on_road(prepared, values, guard)).await,
        }
    }

    async fn discard_temporary(&mut self) -> Result<()> {
        match self.session.temporary.take() {
            Some(schema) => execute::temporary::discard(&self.service.ground, &schema).await,
            None => Ok(()),
        }
    }

    async fn discard(&mut self, what: Discard) -> Result<Output> {
        match what {
            Discard::All => {
                self.session.forbid_block("DISCARD ALL")?;
                self.discard_temporary().await?;
                self.portals.clear();
                self.session.handle().remove_cursor(None);
                self.forget_statements();
                self.session.set_role(None, false);
                self.session.settings().reset_all();
                Ok(Output::Done("DISCARD ALL".into()))
            }
            Discard::Plans => {
                // A plan that is kept depends on nothing that could have changed; nor are there sequences.
                Ok(Output::Done("DISCARD PLANS".into()))
            }
            Discard::Sequences => Ok(Output::Done("DISCARD SEQUENCES".into())),
            Discard::Temp => {
                if self.session.transaction.in_block() && self.session.temporary.is_some() {
                    return Err(Error::unsupported("DISCARD TEMP in a transaction block"));
                }
                self.discard_temporary().await?;
                Ok(Output::Done("DISCARD TEMP".into()))
            }
        }
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
        let staged = match access {
            Access::Writes(tag) => {
                self.session.check_writable(tag)?;
                let staged = self.session.transaction.in_block() || self.several || self.pipelined;
                if staged {
                    statement::check_staged(&prepared.parsed.statement, tag)?;
                }
                staged
            }
            Access::Control | Access::Reads => false,
        };
        let parameters = if prepared.parameters.is_empty() && values.is_empty() {
            Parameters::none()
        } else {
            Parameters::bound(&prepared.parameters, values.to_vec())
        };
        let may_own = matches!(access, Access::Writes(_)) && !staged;
        let mut attempt = 1;
        let waiting = self.session.handle().notices_waiting();
        let (output, own) = loop {
            let run = self.run_once(prepared, parameters.clone(), guard, (staged, may_own));
            let (output, own) = match Box::pin(run).await {
                // Other rules may make it a transaction of its own.
                Err(error) if may_own && execute::standing::is_about(&error) && attempt < ATTEMPTS_MAX => {
                    self.session.handle().forget_notices(waiting);
                    attempt += 1;
                    continue;
                }
                run => run?,
            };
            if !own {
                break (output, own);
            }
            if matches!(output, Output::CopyIn(_)) {
                // It is committed when the data has come.
                self.owned = true;
                return Ok(output);
            }
            let committed = Box::pin(guard.run(self.commit_block(guard))).await;
            match committed {
                Err(error) if error.sqlstate() == SqlState::SerializationFailure && attempt < ATTEMPTS_MAX => {
                    self.forget_pins();
                    self.session.handle().forget_notices(waiting);
                    attempt += 1;
                    tokio::time::sleep(lake::pause(attempt)).await;
                }
                Err(error) => return Err(error),
                Ok(()) => break (output, own),
            }
        };
        if matches!(access, Access::Writes(_)) && !staged && !own {
            self.end_temporary(false, guard.token(), guard.decision()).await?;
        }
        Ok(output)
    }

    /// Begins again on newer versions.
    fn forget_pins(&mut self) {
        if let Some(pins) = self.session.transaction.pins_mut() {
            *pins = Pins::default();
        }
    }

    /// The statement's output, and whether it was run as a transaction of its own, which its caller commits.
    async fn run_once(
        &mut self,
        prepared: &Prepared,
        parameters: Parameters,
        guard: &Guard,
        (staged, may_own): (bool, bool),
    ) -> Result<(Output, bool)> {
        let ground = Arc::clone(&self.service.ground);
        let (session, started) = (&mut self.session, self.service.started);
        let (token, source) = (guard.token().clone(), Arc::clone(&prepared.parsed.source));
        let decision = guard.decision().clone();
        let statement = &prepared.parsed.statement;
        guard
            .run(async move {
                let mut road = Road::new(&ground, session, source, parameters, token, started).await?;
                let own = may_own && execute::watched::needs_transaction(&road, statement);
                road.staged = staged || own;
                road.decision = decision;
                // A described statement is executed again and again: what can be planned once is.
                if let (Statement::Query(query), true, None) = (statement, prepared.described, prepared.reusable.get())
                {
                    let plan = Box::pin(Reusable::plan(&mut road, query)).await?;
                    let _ = prepared.reusable.set(plan);
                }
                if let Some(Some(reusable)) = prepared.reusable.get()
                    && let Some(output) = reusable.run(&ground, road.session)
                {
                    road.session.note_query();
                    return Ok((output?, false));
                }
                let output = execute::run(&mut road, statement).await;
                road.session.note_query();
                Ok((output?, own))
            })
            .await
    }

    async fn commit_block(&mut self, guard: &Guard) -> Result<()> {
        self.end_temporary(true, guard.token(), guard.decision()).await?;
        self.commit_writes(guard.token(), guard.decision()).await
    }

    /// What ON COMMIT wants of the session's temporary tables, before the transaction's commit or after a statement's own.
    pub(super) async fn end_temporary(
        &mut self,
        staged: bool,
        token: &CancellationToken,
        decision: &Decision,
    ) -> Result<()> {
        if !self.session.has_on_commit || staged && self.session.transaction.pins_mut().is_none() {
            return Ok(());
        }
        if let Some(pins) = self.session.transaction.pins_mut().filter(|_| !staged) {
            // The statement may have made the table.
            pins.catalog = None;
        }
        let ground = Arc::clone(&self.service.ground);
        let (source, started) = (Arc::from(""), self.service.started);
        let road = Road::new(&ground, &mut self.session, source, Parameters::none(), token.clone(), started).await;
        let mut road = road?;
        road.staged = staged;
        road.decision = decision.clone();
        Box::pin(execute::temporary::on_commit(&mut road)).await
    }

    /// Asks the rules ON COMMIT of the tables that the transaction has changed.
    async fn check_rules(
        &mut self,
        token: &CancellationToken,
        decision: &Decision,
        turns: &mut execute::expectation::Turns,
    ) -> Result<bool> {
        let Some(pins) = self.session.transaction.pins_mut() else { return Ok(false) };
        if !execute::expectation::may_be_asked(pins) {
            return Ok(false);
        }
        let ground = Arc::clone(&self.service.ground);
        let (source, started) = (Arc::from(""), self.service.started);
        let road = Road::new(&ground, &mut self.session, source, Parameters::none(), token.clone(), started).await;
        let mut road = road?;
        road.staged = true;
        road.decision = decision.clone();
        Box::pin(execute::expectation::on_commit(&mut road, turns)).await
    }

    /// Commits what the transaction has staged; what reads on sees newer versions.
    pub(super) async fn commit_writes(&mut self, token: &CancellationToken, decision: &Decision) -> Result<()> {
        let mut attempt = 1;
        let mut turns = execute::expectation::Turns::default();
        let committed = loop {
            let checked = Box::pin(self.check_rules(token, decision, &mut turns)).await?;
            let user = self.session.user.clone();
            let Some(pins) = self.session.transaction.pins_mut() else { return Ok(()) };
            let commit = execute::transaction::commit(&self.service.ground, pins, &user, decision);
            match Box::pin(commit).await {
                // What was checked may still be true of newer rows.
                Err(error)
                    if checked
                        && error.sqlstate() == SqlState::SerializationFailure
                        && pins.definitions.is_empty()
                        && attempt < ATTEMPTS_MAX =>
                {
                    attempt += 1;
                    tokio::time::sleep(lake::pause(attempt)).await;
                }
                committed => break committed,
            }
        };
        let versions = committed?;
        let Some(pins) = self.session.transaction.pins_mut() else { return Ok(()) };
        let mut runs = std::mem::take(&mut pins.runs);
        let notices = std::mem::take(&mut pins.notices);
        *pins = Pins::default();
        drop(turns);
        notices.into_iter().for_each(|notice| self.session.notice(notice));
        for run in &mut runs {
            let version = run.place.as_ref().and_then(|place| versions.get(place));
            run.table_version = run.table_version.or(version.copied());
            Box::pin(execute::watched::keep(&self.service.ground, self.session.handle(), run)).await;
            if let (Some(passed), Some(place)) = (run.passed.take(), &run.place) {
                Box::pin(execute::expectation::keep_committed(&self.service.ground, passed, place)).await;
            }
            execute::expectation::tell(self.session.handle(), run);
        }
        Ok(())
    }

    /// Starts a cursor's query.
    pub(super) async fn open_query(&mut self, prepared: &Arc<Prepared>, guard: &Guard) -> Result<Output> {
        self.on_road(prepared, &[], guard).await
    }

    /// The style with names for `reg…` values.
    fn style_with_names(&self) -> Arc<TextStyle> {
        let snapshot = self.service.ground.catalog.snapshot();
        let context = execute::statement_context(&self.session, &snapshot, self.service.started);
        let mut style = self.session.settings().text_style();
        style.names = Some(Arc::new(ContextNames::new(Arc::new(context))));
        Arc::new(style)
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
