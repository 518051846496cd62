//! What one statement may use, and the steps that statements share: resolve, bind, run.

mod bind;
mod context;
mod names;
mod write;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use sqlparser::ast;
use tokio_util::sync::CancellationToken;

use super::ground::{Asked, Ground};
use super::output::BatchStream;
use crate::builtins::{Context, ContextNames};
use crate::catalog::{Definition, Document, Snapshot};
use crate::encode::TextStyle;
use crate::encode::input::InputContext;
use crate::encode::types::PgType;
use crate::engine::Tuning;
use crate::error::{Error, Result, SqlState};
use crate::lake::{self, Decision, Freshness, MadeTable, Resolved};
use crate::plan::{self, Parameters};
use crate::session::{Pins, Session};
use crate::sql::Set;
pub(super) use bind::Reads;
pub(crate) use context::statement_context;
pub(super) use names::system_catalog;

/// OIDs that one statement's definition takes for itself in a transaction, unless it needs more.
const DEFINITION_OIDS: u32 = 16;

/// What one statement may use.
pub(crate) struct Road<'a> {
    pub(crate) ground: &'a Arc<Ground>,
    pub(crate) session: &'a mut Session,
    pub(crate) snapshot: Snapshot,
    pub(crate) context: Arc<Context>,
    /// The client's text: positions in the tree are lines and columns of it.
    pub(crate) source: Arc<str>,
    pub(crate) parameters: Parameters,
    pub(crate) token: CancellationToken,
    /// Until when the statement can be ended.
    pub(crate) decision: Decision,
    /// Tables as this statement saw them first, outside a transaction.
    pins: Pins,
    /// Whether writes wait for the transaction's commit.
    pub(crate) staged: bool,
}

/// A table that a statement writes to.
pub(crate) struct Target {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) table: Arc<lake::Table>,
}

/// Schemas that no user may write to.
pub(super) fn is_system_schema(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "lakegate" | "pg_toast")
}

impl<'a> Road<'a> {
    /// The road of one statement: the catalog is read as fresh as the session's settings ask, and pinned for the transaction.
    pub(crate) async fn new(
        ground: &'a Arc<Ground>,
        session: &'a mut Session,
        source: Arc<str>,
        parameters: Parameters,
        token: CancellationToken,
        server_start: DateTime<Utc>,
    ) -> Result<Self> {
        let snapshot = match session.transaction.pins_mut().and_then(|pins| pins.catalog.clone()) {
            Some(pinned) => pinned,
            None => {
                let staleness = session.settings().catalog_staleness();
                ground.catalog.fresh(staleness).await?
            }
        };
        if let Some(pins) = session.transaction.pins_mut() {
            pins.catalog.get_or_insert_with(|| Arc::clone(&snapshot));
        }
        let context = Arc::new(statement_context(session, &snapshot, server_start));
        let (pins, decision) = (Pins::default(), Decision::default());
        Ok(Self { ground, session, snapshot, context, source, parameters, token, decision, pins, staged: false })
    }

    /// Changes the catalog, in a transaction its own view of it. The closure may run several times, each time on a newer
    /// document; in a transaction also at COMMIT.
    ///
    /// # Errors
    /// The closure's, unchanged; 40001 when every attempt was overtaken; the store's.
    pub(crate) async fn define<T: Send>(
        &mut self,
        change: impl Fn(&mut Document) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        if !self.staged {
            return self.ground.catalog.update(change).await;
        }
        let mut count = DEFINITION_OIDS;
        loop {
            let first = self.ground.catalog.take_oids(count).await?;
            let mut document = Document::clone(&self.snapshot);
            let (answer, used) = document.with_oids(first, |document| {
                let answer = change(document)?;
                Ok((answer, document.next_oid - first))
            })?;
            if used > count {
                count = used;
                continue;
            }
            self.snapshot = Arc::new(document);
            let Some(pins) = self.session.transaction.pins_mut() else {
                return Err(Error::internal("a staged definition has no transaction"));
            };
            pins.catalog = Some(Arc::clone(&self.snapshot));
            pins.definitions.push(Definition::new(first, move |document| change(document).map(drop)));
            return Ok(answer);
        }
    }

    /// Guards a table that this statement has made, until the catalog names it.
    pub(crate) fn guard_made(&mut self, location: &str, managed: bool) -> Arc<MadeTable> {
        let made = Arc::new(MadeTable::new(&self.ground.lake, location, managed));
        if let Some(pins) = self.session.transaction.pins_mut().filter(|_| self.staged) {
            pins.made.push(Arc::clone(&made));
        }
        made
    }

    /// The files of a table that the catalog does not name any more go after their time, in a transaction after its COMMIT.
    pub(crate) async fn leave(&mut self, location: String) -> Result<()> {
        if let Some(pins) = self.session.transaction.pins_mut().filter(|_| self.staged) {
            pins.left.push(location);
            return Ok(());
        }
        self.ground.lake.note_drop(&location).await?;
        self.ground.lake.dropped(&location)
    }

    pub(crate) fn notice(&self, notice: Error) {
        self.session.notice(notice);
    }

    /// The current role's OID.
    pub(crate) fn role_oid(&self) -> u32 {
        self.snapshot.roles.get(&self.context.user).map_or(0, |role| role.oid)
    }

    pub(crate) fn owns_database(&self) -> bool {
        self.snapshot.database.owner == self.role_oid()
    }

    pub(crate) fn scram_iterations(&self) -> u32 {
        self.session.settings().scram_iterations()
    }

    /// The place that a statement names, if this role may go there.
    pub(crate) fn open_place(&self, location: &str, writes: bool) -> Result<Resolved> {
        self.open_place_for("COPY", location, writes)
    }

    /// The same for another statement than COPY.
    pub(crate) fn open_place_for(&self, statement: &str, location: &str, writes: bool) -> Result<Resolved> {
        let asked = Asked { statement, superuser: self.session.superuser, writes };
        self.ground.files.open(self.ground.lake.stores(), location, asked)
    }

    fn freshness(&self) -> Freshness {
        match self.session.settings().table_staleness() {
            Duration::ZERO => Freshness::Latest,
            staleness => Freshness::Within(staleness),
        }
    }

    pub(super) fn tuning(&self) -> Tuning {
        tuning(self.ground, self.session)
    }

    /// Forgets the versions that this statement saw, to run it again on newer ones.
    pub(crate) fn unpin(&mut self) {
        self.pins = Pins::default();
    }

    /// Goes on with another version of the catalog; the transaction does not.
    pub(super) fn see(&mut self, snapshot: Snapshot) {
        if !Arc::ptr_eq(&self.snapshot, &snapshot) {
            self.context = Arc::new(statement_context(self.session, &snapshot, self.context.server_start));
            self.snapshot = snapshot;
        }
    }

    /// SET, with the roles that `role` and `session_authorization` name checked against the catalog.
    pub(crate) fn set_setting(&mut self, statement: &Set) -> Result<()> {
        let name = statement.name.value.to_ascii_lowercase();
        if !matches!(name.as_str(), "role" | "session_authorization") {
            return self.session.set(&name, statement.value.as_deref(), statement.local);
        }
        let wanted = statement.value.as_deref().filter(|value| !value.eq_ignore_ascii_case("none"));
        if name == "session_authorization" {
            return self.set_session_authorization(wanted);
        }
        let Some(wanted) = wanted else {
            self.session.set_role(None, statement.local);
            return Ok(());
        };
        let Some(role) = self.snapshot.roles.get(wanted) else {
            let message = format!("role \"{wanted}\" does not exist");
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        };
        let may = wanted == self.session.session_user || self.session.entry().superuser;
        if !may {
            let message = format!("permission denied to set role \"{wanted}\"");
            return Err(Error::new(SqlState::InsufficientPrivilege, message));
        }
        let superuser = role.superuser;
        self.session.set_role(Some((wanted, superuser)), statement.local);
        Ok(())
    }

    fn set_session_authorization(&mut self, wanted: Option<&str>) -> Result<()> {
        match wanted {
            None => Ok(()),
            Some(wanted) if wanted == self.session.session_user => Ok(()),
            Some(_) => Err(Error::unsupported("SET SESSION AUTHORIZATION to another role")),
        }
    }

    /// How many streams work on one statement.
    pub(crate) fn partitions(&self) -> usize {
        self.tuning().target_partitions
    }

    /// How this session writes values as text.
    pub(crate) fn style(&self) -> TextStyle {
        let mut style = self.session.settings().text_style();
        style.names = Some(Arc::new(ContextNames::new(Arc::clone(&self.context))));
        style
    }

    /// How this session reads values from text.
    pub(crate) fn input_context(&self) -> InputContext {
        let style = self.session.settings().text_style();
        InputContext::of_style(&style, self.context.transaction_start)
    }

    /// The engine's state with this session's tuning.
    pub(crate) fn state(&self) -> Arc<SessionState> {
        self.ground.engine.state(&self.tuning()).0
    }

    /// The physical plan of a bound one, and the context to run it in.
    pub(crate) async fn physical(&self, plan: LogicalPlan) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
        let engine = &self.ground.engine;
        let (state, context) = engine.state(&self.tuning());
        let plan = engine.physical(state, plan).await?;
        Ok((plan, context))
    }

    /// Runs a bound plan; the stream ends the work when it is dropped.
    pub(crate) async fn start(&self, plan: LogicalPlan) -> Result<BatchStream> {
        let (plan, context) = self.physical(plan).await?;
        let stream = self.ground.engine.run(plan, context)?;
        Ok(Box::pin(stream.map(|batch| batch.map_err(Error::from))))
    }

    /// Constant expressions, such as EXECUTE's arguments, as values of the given types.
    pub(crate) async fn constants(
        &mut self,
        statement: &str,
        arguments: &[ast::Expr],
        types: &[PgType],
    ) -> Result<Vec<ScalarValue>> {
        let plan = plan::bind_constants(statement, arguments, types, &self.context, &self.source)?;
        let mut stream = self.start(plan).await?;
        let Some(batch) = stream.next().await.transpose()? else {
            return Err(Error::internal("constants gave no row"));
        };
        batch.columns().iter().map(|column| Ok(ScalarValue::try_from_array(column, 0)?)).collect()
    }
}

/// How the session wants its plans.
pub(super) fn tuning(ground: &Ground, session: &Session) -> Tuning {
    let settings = session.settings();
    Tuning {
        target_partitions: settings.target_partitions().unwrap_or_else(|| ground.engine.default_partitions()),
        batch_rows: settings.batch_rows(),
    }
}

/// A table's columns as the binder sees them.
pub(super) fn relation_columns(table: &lake::Table) -> Vec<plan::relations::RelationColumn> {
    table.columns().iter().map(plan::resolve::column_of).collect()
}
