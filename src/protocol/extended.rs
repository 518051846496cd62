//! The extended query: Parse, Bind, Describe, Execute and Close, each answered on its own and sent together.

use super::channel::Transport;
use super::client::Client;
use super::frontend::{Bind, Target};
use super::link::Fault;
use super::{backend, rows};

/// The type of the Sync message.
const SYNC: u8 = b'S';

impl<S: Transport> Client<'_, S> {
    pub(super) async fn parse(&mut self, name: &str, text: &str, parameter_oids: &[u32]) -> Result<(), Fault> {
        Box::pin(self.link.during(self.conversation.parse(name, text, parameter_oids))).await??;
        self.send_notices();
        backend::parse_complete(self.output());
        Ok(())
    }

    pub(super) async fn bind(&mut self, bind: Bind) -> Result<(), Fault> {
        let Bind { portal, statement, parameter_formats, parameters, result_formats } = bind;
        let bound = self.conversation.bind(&portal, &statement, &parameter_formats, parameters, &result_formats);
        self.link.during(bound).await??;
        self.send_notices();
        backend::bind_complete(self.output());
        Ok(())
    }

    pub(super) fn describe(&mut self, target: Target, name: &str) -> Result<(), Fault> {
        match target {
            Target::Statement => {
                let described = self.conversation.describe_statement(name)?;
                backend::parameter_description(self.output(), &described.parameters);
                match described.columns {
                    // A statement's formats are not known yet: text.
                    Some(columns) => backend::row_description(self.output(), &columns, &[]),
                    None => backend::no_data(self.output()),
                }
            }
            Target::Portal => {
                let described = self.conversation.describe_portal(name)?;
                match described.columns {
                    Some(columns) => backend::row_description(self.output(), &columns, &described.formats),
                    None => backend::no_data(self.output()),
                }
            }
        }
        Ok(())
    }

    /// Runs a portal, or goes on with one that is suspended. `rows_max` of 0 or less means all rows.
    pub(super) async fn execute(&mut self, portal: &str, rows_max: i32) -> Result<(), Fault> {
        let rows_max = usize::try_from(rows_max).ok().filter(|rows| *rows > 0);
        if self.link.channel.next_tag() != Some(SYNC) {
            self.conversation.expect_more();
        }
        let portal = self.link.during(self.conversation.run(portal)).await??;
        let limits = rows::Limits { rows_max, message_bytes_max: self.message_bytes_max };
        let outcome = rows::answer(self.link, portal, limits, rows::Describe::Never).await?;
        self.finish(outcome).await
    }

    pub(super) fn close(&mut self, target: Target, name: &str) -> Result<(), Fault> {
        match target {
            Target::Statement => self.conversation.close_statement(name),
            Target::Portal => self.conversation.close_portal(name),
        }
        backend::close_complete(self.output());
        Ok(())
    }
}
