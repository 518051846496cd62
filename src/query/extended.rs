//! The extended query: Parse, Bind, Describe, Execute, Close and Sync of one conversation.

use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use datafusion::scalar::ScalarValue;

use super::conversation::{Conversation, KEPT_MAX};
use super::portal::{Portal, State};
use super::prepared::Prepared;
use crate::encode::input::InputContext;
use crate::encode::params::decode_parameter;
use crate::encode::types::{Format, OutputColumn, PgType};
use crate::error::{Error, Result, SqlState};
use crate::lake::Decision;
use crate::plan::Parameters;
use crate::sql;

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
    /// Parse. 42P05 for a named statement that exists; more than one statement in the text is 42601.
    pub async fn parse(&mut self, name: &str, text: &str, parameter_oids: &[u32]) -> Result<()> {
        if name.is_empty() {
            // Gone even if the new one is refused, as in PostgreSQL.
            self.statements.remove("");
        }
        let mut parsed = sql::parse(text)?;
        if parsed.len() > 1 {
            return Err(Error::new(SqlState::SyntaxError, "cannot insert multiple commands into a prepared statement"));
        }
        let parsed = parsed.pop().ok_or_else(|| Error::internal("a text parsed to no statement"))?;
        self.check_block(&parsed.statement)?;
        let given = parameter_oids.iter().map(|oid| (*oid != 0).then(|| PgType::of(*oid))).collect();
        let prepared = self.prepare(parsed, Parameters::to_infer(given)).await?;
        if !name.is_empty() {
            self.check_new_statement(name)?;
        }
        self.keep_statement(name, prepared, false);
        Ok(())
    }

    /// Describe of a statement: 26000 when it does not exist.
    pub fn describe_statement(&self, name: &str) -> Result<StatementDescription> {
        let prepared = self.statement(name)?;
        if prepared.columns.is_some() {
            self.check_block(&prepared.parsed.statement)?;
        }
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
        self.check_new_portal(portal)?;
        let style = self.style();
        self.portals.insert(portal.to_owned(), Portal::new(prepared, values, formats, style));
        Ok(())
    }

    /// The unnamed portal gives way to another.
    pub(super) fn check_new_portal(&self, name: &str) -> Result<()> {
        if !name.is_empty() && self.portals.contains_key(name) {
            return Err(Error::new(SqlState::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        if self.portals.len() >= KEPT_MAX {
            let message = format!("a session can keep at most {KEPT_MAX} portals");
            return Err(Error::new(SqlState::ConfigurationLimitExceeded, message));
        }
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

    /// Describe of a portal: 34000 when it does not exist.
    pub fn describe_portal(&self, name: &str) -> Result<PortalDescription> {
        let portal = self.portals.get(name).ok_or_else(|| missing_portal(name))?;
        Ok(match portal.description()? {
            Some((columns, formats)) => {
                self.check_block(&portal.prepared.parsed.statement)?;
                PortalDescription { columns: Some(columns), formats }
            }
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

    /// Sync: ends an implicit transaction.
    pub async fn sync(&mut self) -> Result<()> {
        let committed = match self.session.transaction.in_block() {
            true => Ok(()),
            false => self.commit_pipeline().await,
        };
        if let Err(error) = &committed {
            self.fail(error);
        }
        self.end_message();
        committed
    }

    async fn commit_pipeline(&mut self) -> Result<()> {
        let decision = Decision::default();
        if self.pipelined {
            self.end_temporary(true, &self.cancel_token(), &decision).await?;
        }
        self.commit_writes(&self.cancel_token(), &decision).await
    }

    /// Tells that more than Sync follows the Execute that comes: what both write is committed at Sync.
    pub fn expect_more(&mut self) {
        self.pipelined = true;
    }
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
