//! A session without a socket: scripts run in this process, on the same road as a client's statements.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::query::{Answer, ConnectRequest, Conversation, Service};
use crate::sql::Parsed;

/// A superuser's session in this process.
pub(super) struct LocalSession {
    service: Arc<Service>,
    conversation: Conversation,
}

/// Why a script stopped: the statement and its error.
#[derive(Debug)]
pub(super) struct RunError {
    pub(super) error: Error,
    /// The statement's text and the line it starts on; absent when the script did not parse.
    pub(super) statement: Option<(String, usize)>,
}

impl From<Error> for RunError {
    fn from(error: Error) -> Self {
        Self { error, statement: None }
    }
}

impl LocalSession {
    pub(super) async fn open(service: Arc<Service>, user: &str, database: &str) -> Result<Self> {
        let request = ConnectRequest {
            user: user.to_owned(),
            database: Some(database.to_owned()),
            settings: vec![("application_name".into(), "lakegate run".into())],
            ..ConnectRequest::default()
        };
        let conversation = service.connect(request).await?;
        Ok(Self { service, conversation })
    }

    pub(super) fn has_relation(&self, schema: &str, name: &str) -> bool {
        self.service.catalog_snapshot().relation(schema, name).is_some()
    }

    pub(super) fn has_schema(&self, schema: &str) -> bool {
        self.service.catalog_snapshot().schemas.contains_key(schema)
    }

    /// Schema and name of every table and view.
    pub(super) fn relations(&self) -> Vec<(String, String)> {
        let snapshot = self.service.catalog_snapshot();
        let schemas = snapshot.schemas.iter();
        schemas
            .flat_map(|(schema, definition)| definition.relations.keys().map(|name| (schema.clone(), name.clone())))
            .collect()
    }

    /// Runs a script statement by statement, each as its own transaction outside BEGIN; stops at the first error. The tag of
    /// each is told as soon as it is done.
    pub(super) async fn run_text(&mut self, text: &str, mut tell: impl FnMut(&str)) -> Result<(), RunError> {
        for statement in self.conversation.split(text)? {
            let place = (statement.text.clone(), line_of(text, statement.offset));
            match self.run_one(statement).await {
                Ok(tag) => tell(&tag),
                Err(error) => {
                    self.conversation.fail(&error);
                    let _ = self.conversation.end_simple().await;
                    return Err(RunError { error, statement: Some(place) });
                }
            }
        }
        Ok(())
    }

    async fn run_one(&mut self, statement: Parsed) -> Result<String> {
        self.conversation.begin_simple(1);
        let portal = self.conversation.run_simple(statement).await?;
        let tag = match portal.answer()? {
            Answer::Rows { .. } => {
                while portal.next(None).await?.is_some() {}
                portal.tag()
            }
            Answer::Done(tag) => tag,
            Answer::Empty => String::new(),
            Answer::CopyIn(_) => return Err(Error::unsupported("COPY FROM STDIN in a script")),
            Answer::CopyOut(_) => return Err(Error::unsupported("COPY TO STDOUT in a script")),
        };
        self.conversation.complete().await?;
        for notice in self.conversation.take_notices() {
            tracing::info!(sqlstate = notice.sqlstate().code(), "{}", notice.message());
        }
        self.conversation.end_simple().await?;
        Ok(tag)
    }
}

/// The line, from 1, of the character at `offset`.
pub(super) fn line_of(text: &str, offset: u32) -> usize {
    1 + text.chars().take(offset as usize).filter(|character| *character == '\n').count()
}
