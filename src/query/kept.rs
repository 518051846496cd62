//! The prepared statements that a conversation keeps: PREPARE, EXECUTE and DEALLOCATE, and what Parse shares with them.

use std::sync::{Arc, OnceLock};

use chrono::Utc;

use super::conversation::{Conversation, KEPT_MAX};
use super::guard::Guard;
use super::prepared::{self, Prepared};
use super::statement::{self, Access};
use crate::builtins::PreparedRow;
use crate::encode::types::OutputColumn;
use crate::error::{Error, Result, SqlState};
use crate::execute::output::Output;
use crate::execute::{self, Road};
use crate::plan::Parameters;
use crate::sql::{self, Parsed, Statement};

/// EXECUTE of a statement that is an EXECUTE cannot be, but PREPARE takes any text.
const EXECUTE_DEPTH_MAX: usize = 8;

impl Conversation {
    pub(super) fn check_new_statement(&self, name: &str) -> Result<()> {
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

    /// Keeps a statement under its name; the unnamed one is nobody's but Bind's.
    pub(super) fn keep_statement(&mut self, name: &str, prepared: Prepared, from_sql: bool) {
        if !name.is_empty() {
            let oids = |columns: &Arc<[OutputColumn]>| columns.iter().map(|column| column.ty.oid).collect();
            self.session.handle().add_prepared(PreparedRow {
                name: name.to_owned(),
                text: Arc::clone(&prepared.parsed.source),
                prepared: Utc::now(),
                parameters: prepared.parameters.iter().map(|ty| ty.oid).collect(),
                results: prepared.columns.as_ref().map(oids),
                from_sql,
            });
        }
        self.statements.insert(name.to_owned(), Arc::new(prepared));
    }

    /// Binds a text to learn its types. Fetch's columns are its cursor's.
    pub(super) async fn prepare(&mut self, parsed: Parsed, parameters: Parameters) -> Result<Prepared> {
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
        let prepared = async move {
            let source = Arc::clone(&parsed.source);
            let mut road = Road::new(&ground, session, source, parameters, token, started).await?;
            prepared::prepare(&mut road, parsed).await
        };
        guard.run(Box::pin(prepared)).await
    }

    fn control_columns(&self, statement: &Statement) -> Result<Option<Arc<[OutputColumn]>>> {
        match statement {
            Statement::Show(show) => Ok(Some(execute::setting::show_columns(show)?.into())),
            Statement::Fetch(fetch) if !fetch.moves => Ok(Some(self.portal_columns(&fetch.cursor.value)?)),
            Statement::Execute(execute) => Ok(self.statement(&execute.name.value)?.columns.clone()),
            _ => Ok(None),
        }
    }

    pub(super) fn statement(&self, name: &str) -> Result<&Arc<Prepared>> {
        self.statements.get(name).ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            Error::new(SqlState::InvalidSqlStatementName, message)
        })
    }

    pub(super) fn forget_statements(&mut self) {
        self.statements.clear();
        self.session.handle().remove_prepared(None);
    }

    /// EXECUTE name (arguments): the arguments are constants, coerced to the parameters' types.
    pub(super) async fn execute_prepared(
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
}
