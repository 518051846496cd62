//! The simple query: the statements of one text, run and answered one after the other.

use super::channel::Transport;
use super::client::Client;
use super::link::{Fault, Stop};
use super::{backend, rows};
use crate::sql::Parsed;

impl<S: Transport> Client<'_, S> {
    /// Runs a Query's text. The first error ends it; what ran before was answered already.
    pub(super) async fn simple(&mut self, text: String) -> Result<(), Stop> {
        match self.conversation.split(&text) {
            Err(error) => self.report(error)?,
            Ok(statements) => self.simple_statements(statements).await?,
        }
        if let Err(error) = self.link.during(self.conversation.end_simple()).await? {
            self.report(error)?;
        }
        self.ready().await
    }

    async fn simple_statements(&mut self, statements: Vec<Parsed>) -> Result<(), Stop> {
        self.conversation.begin_simple(statements.len());
        if statements.is_empty() {
            backend::empty_query_response(self.output());
        }
        for statement in statements {
            match self.simple_statement(statement).await {
                Ok(()) => {}
                Err(Fault::Stop(stop)) => return Err(stop),
                Err(Fault::Statement(error)) => return self.report(error),
            }
        }
        Ok(())
    }

    async fn simple_statement(&mut self, statement: Parsed) -> Result<(), Fault> {
        let portal = self.link.during(self.conversation.run_simple(statement)).await??;
        let limits = rows::Limits { rows_max: None, message_bytes_max: self.message_bytes_max };
        let outcome = rows::answer(self.link, portal, limits, rows::Describe::First).await?;
        self.finish(outcome).await
    }
}
