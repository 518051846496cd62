//! The conversation's loop: takes one message, does what it says, and knows when to be ready for the next query.

use bytes::BytesMut;

use super::channel::{OUTPUT_BYTES, Transport};
use super::frontend::{Frame, Message, is_extended};
use super::link::{Fault, Link, Stop};
use super::rows::Outcome;
use super::{backend, report};
use crate::error::{Error, Result, Severity, SqlState};
use crate::query::Conversation;

/// ParameterStatus for each reported setting that changed.
pub fn send_parameter_changes(output: &mut BytesMut, conversation: &mut Conversation) {
    for (name, value) in conversation.take_parameter_changes() {
        backend::parameter_status(output, name, &value);
    }
}

/// A client that was let in.
pub struct Client<'a, S> {
    pub(super) link: &'a mut Link<S>,
    pub(super) conversation: Conversation,
    pub(super) message_bytes_max: usize,
    /// After an error in an extended query: everything up to the next Sync is dropped.
    skipping: bool,
    /// ReadyForQuery was the last thing said.
    is_ready: bool,
}

impl<'a, S: Transport> Client<'a, S> {
    pub fn new(link: &'a mut Link<S>, conversation: Conversation, message_bytes_max: usize) -> Self {
        Self { link, conversation, message_bytes_max, skipping: false, is_ready: false }
    }

    /// Serves messages until there is a reason to stop.
    pub async fn run(&mut self) -> Stop {
        let mut done = self.ready().await;
        while done.is_ok() {
            done = self.next().await;
        }
        done.err().unwrap_or(Stop::Gone(None))
    }

    async fn next(&mut self) -> Result<(), Stop> {
        let idle = self.conversation.idle_limit(self.is_ready);
        let frame = self.link.next_frame(self.message_bytes_max, idle).await?;
        let tag = frame.tag;
        if self.skipping && tag != b'S' && tag != b'X' {
            return Ok(());
        }
        // The rest of a COPY that failed is dropped without a word: the client is as idle as before.
        self.is_ready = self.is_ready && matches!(tag, b'd' | b'c' | b'f');
        match self.handle(frame).await {
            Ok(()) => {}
            Err(Fault::Stop(stop)) => return Err(stop),
            Err(Fault::Statement(error)) => {
                self.report(error)?;
                if is_extended(tag) {
                    self.skipping = true;
                    // At once, as PostgreSQL does: a Flush after it would be skipped too.
                    self.link.flush().await?;
                } else {
                    self.ready().await?;
                }
            }
        }
        if self.link.channel.output.len() >= OUTPUT_BYTES {
            self.link.pass_on().await?;
        }
        Ok(())
    }

    /// Large futures are boxed, so that an idle connection's own stays small.
    async fn handle(&mut self, frame: Frame) -> Result<(), Fault> {
        match frame.decode()? {
            Message::Query(text) => Ok(Box::pin(self.simple(text)).await?),
            Message::Parse { name, text, parameter_oids } => Box::pin(self.parse(&name, &text, &parameter_oids)).await,
            Message::Bind(bind) => Box::pin(self.bind(bind)).await,
            Message::Describe { target, name } => self.describe(target, &name),
            Message::Execute { portal, rows_max } => Box::pin(self.execute(&portal, rows_max)).await,
            Message::Close { target, name } => self.close(target, &name),
            Message::FunctionCall => Err(Error::unsupported("the fastpath function call").into()),
            Message::Flush => Ok(self.link.flush().await?),
            Message::Sync => Ok(Box::pin(self.sync()).await?),
            Message::Terminate => Err(Stop::Gone(None).into()),
            // The rest of a COPY that failed.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
        }
    }

    async fn sync(&mut self) -> Result<(), Stop> {
        self.skipping = false;
        if let Err(error) = self.link.during(self.conversation.sync()).await? {
            self.report(error)?;
        }
        self.ready().await
    }

    /// ReadyForQuery, after the settings that changed; everything is sent.
    pub(super) async fn ready(&mut self) -> Result<(), Stop> {
        self.send_notices();
        send_parameter_changes(&mut self.link.channel.output, &mut self.conversation);
        let status = self.conversation.transaction_status();
        backend::ready_for_query(self.output(), status);
        self.is_ready = true;
        self.link.flush().await
    }

    pub(super) fn output(&mut self) -> &mut BytesMut {
        &mut self.link.channel.output
    }

    pub(super) fn send_notices(&mut self) {
        for notice in self.conversation.take_notices() {
            backend::notice_response(&mut self.link.channel.output, &notice);
        }
    }

    /// Tells the client and the conversation of an error. A FATAL one ends the connection, and is told by its end.
    pub(super) fn report(&mut self, error: Error) -> Result<(), Stop> {
        self.send_notices();
        if error.level() == Severity::Fatal {
            return Err(Stop::Fatal(error));
        }
        // A session that is ended cancels its statement too: its client is told of the end only.
        if let Some(end) = self.conversation.terminated().filter(|_| error.sqlstate() == SqlState::QueryCanceled) {
            return Err(Stop::Fatal(end));
        }
        report::log(&error);
        backend::error_response(&mut self.link.channel.output, &error);
        self.conversation.fail(&error);
        Ok(())
    }

    /// Ends a statement whose answer was sent, and says how it ended.
    pub(super) async fn finish(&mut self, outcome: Outcome) -> Result<(), Fault> {
        if outcome != Outcome::Suspended {
            self.link.during(self.conversation.complete()).await??;
        }
        self.send_notices();
        match outcome {
            Outcome::Done(tag) => backend::command_complete(self.output(), &tag),
            Outcome::Empty => backend::empty_query_response(self.output()),
            Outcome::Suspended => backend::portal_suspended(self.output()),
        }
        Ok(())
    }
}
