//! `log_statement` and `log_min_duration_statement`: the only places where SQL text goes to the log at INFO, because the
//! administrator asked for it there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::conversation::Conversation;
use super::prepared::Prepared;
use crate::session::settings::Logged;
use crate::sql::{Care, Expecting, Modelling, Statement};

/// The statement that is being answered.
pub(super) struct Running {
    prepared: Arc<Prepared>,
    started: Instant,
    /// Its text is in the log already.
    logged: bool,
}

impl Conversation {
    /// A portal starts: it is timed from now on, and logged if `log_statement` says so.
    pub(super) fn note_start(&mut self, prepared: &Arc<Prepared>) {
        let wanted = self.session.settings().log_statement();
        let logged = wanted != Logged::None && self.logged_with(&prepared.parsed.statement) <= wanted;
        if logged {
            let (user, pid) = (self.session.user.as_str(), self.session.pid());
            info!(user, pid, statement = shown_text(prepared), "statement");
        }
        self.running = Some(Running { prepared: Arc::clone(prepared), started: Instant::now(), logged });
    }

    /// It ended: it is counted, and logged if it took as long as `log_min_duration_statement` says and ended well.
    pub(super) fn note_end(&mut self, sqlstate: &'static str) {
        let Some(running) = self.running.take() else { return };
        let elapsed = running.started.elapsed();
        self.service.metrics.statement(running.prepared.parsed.statement.kind(), sqlstate, elapsed);
        let limit = self.session.settings().log_min_duration_statement();
        if sqlstate == "00000" && limit.is_some_and(|limit| elapsed >= limit) {
            self.log_duration(&running, elapsed);
        }
    }

    fn log_duration(&self, running: &Running, elapsed: Duration) {
        let (user, pid) = (self.session.user.as_str(), self.session.pid());
        let duration_ms = elapsed.as_secs_f64() * 1000.0;
        let statement = (!running.logged).then(|| shown_text(&running.prepared));
        info!(user, pid, duration_ms, statement, "duration");
    }

    /// The least value of `log_statement` with which the statement is logged; EXECUTE counts as what it runs.
    fn logged_with(&self, statement: &Statement) -> Logged {
        match statement {
            Statement::Execute(execute) => {
                let kept = self.statements.get(&execute.name.value);
                kept.map_or(Logged::All, |kept| logged_with(&kept.parsed.statement))
            }
            other => logged_with(other),
        }
    }
}

fn logged_with(statement: &Statement) -> Logged {
    match statement {
        Statement::CreateTable(_)
        | Statement::Alter(_)
        | Statement::AlterSchema(_)
        | Statement::Comment(_)
        | Statement::Refresh(_)
        | Statement::CreateExternalTable(_)
        | Statement::Convert(_)
        | Statement::CreateSchema(_)
        | Statement::CreateView(_)
        | Statement::Drop(_)
        | Statement::CreateRole(_)
        | Statement::AlterRole(_)
        | Statement::DropRole(_) => Logged::Ddl,
        Statement::Care(care) => match care {
            Care::Restore { .. } => Logged::Mod,
            Care::History { .. }
            | Care::Detail(_)
            | Care::Optimize(_)
            | Care::Purge(_)
            | Care::Vacuum(_)
            | Care::Analyze(_) => Logged::All,
        },
        Statement::Expecting(expecting) => match expecting {
            Expecting::Create(_) | Expecting::Alter(_) | Expecting::Drop(_) => Logged::Ddl,
            Expecting::Validate(_) => Logged::All,
        },
        Statement::Modelling(Modelling::Export(_)) => Logged::All,
        Statement::Modelling(_) => Logged::Ddl,
        Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_)
        | Statement::Truncate(_)
        | Statement::CopyInto(_)
        | Statement::CopyFrom(_) => Logged::Mod,
        Statement::Explain(explain) if explain.analyze => logged_with(&explain.statement),
        Statement::Prepare(prepare) => logged_with(&prepare.statement.statement),
        Statement::Empty
        | Statement::Query(_)
        | Statement::Explain(_)
        | Statement::CopyTo(_)
        | Statement::Inspect(_)
        | Statement::Set(_)
        | Statement::Show(_)
        | Statement::Reset(_)
        | Statement::Begin { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint(_)
        | Statement::Release(_)
        | Statement::RollbackTo(_)
        | Statement::SetTransaction { .. }
        | Statement::Execute(_)
        | Statement::Deallocate(_)
        | Statement::Discard(_)
        | Statement::Unlisten
        | Statement::Declare(_)
        | Statement::Fetch(_)
        | Statement::Close(_) => Logged::All,
    }
}

/// The statement's text. One that sets a password is not shown: secrets are never logged.
fn shown_text(prepared: &Prepared) -> &str {
    let options = match &prepared.parsed.statement {
        Statement::CreateRole(role) => &role.options,
        Statement::AlterRole(role) => &role.options,
        _ => return &prepared.parsed.text,
    };
    if options.password.is_some() { "(it sets a password)" } else { &prepared.parsed.text }
}
