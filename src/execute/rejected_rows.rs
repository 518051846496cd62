//! What COPY left out: told to the client, and kept in `lakegate.rejected_rows`.

use std::sync::Arc;

use chrono::Utc;

use super::ground::Ground;
use super::road::{Road, Target};
use crate::error::{Error, Severity, SqlState};
use crate::lake::files::Rejections;
use crate::lake::rejected_rows::RejectedLoad;
use crate::session::Handle;

/// Rows that the notice tells one by one.
const TOLD_MAX: usize = 10;
/// Of each the bytes of its error that the notice tells.
const TOLD_BYTES_MAX: usize = 200;

/// Where the rows of one COPY that were left out go.
#[derive(Debug, Clone)]
pub(super) struct RejectedRows {
    ground: Arc<Ground>,
    session: Arc<Handle>,
    load: RejectedLoad,
    rejections: Arc<Rejections>,
}

impl RejectedRows {
    pub(super) fn of(road: &Road<'_>, target: &Target, rejections: Arc<Rejections>) -> Self {
        let table = format!("{}.{}", target.schema, target.name);
        let load = RejectedLoad { table, role: road.context.user.clone(), at: Utc::now() };
        let session = Arc::clone(road.session.handle());
        Self { ground: Arc::clone(road.ground), session, load, rejections }
    }

    pub(super) fn count(&self) -> u64 {
        self.rejections.count()
    }

    /// Logs and tells them, whether the COPY went well or not. That they could not be logged does not undo it: a warning says it.
    pub(super) async fn settle(&self, done: bool) {
        let count = self.rejections.count();
        if count == 0 {
            return;
        }
        let mut listed = self.rejections.listed();
        listed.sort_by(|left, right| (&left.source, left.line).cmp(&(&right.source, right.line)));
        let lake = Arc::clone(&self.ground.lake);
        let (load, memory) = (self.load.clone(), Arc::clone(self.ground.engine.memory_pool()));
        let rows = listed.clone();
        let logged = self.ground.engine.compute(async move { lake.log_rejected(&load, &rows, memory).await }).await;
        if done {
            self.tell(count, &listed, logged.as_deref().ok());
        }
        if let Err(error) = logged {
            let message = format!("rejected rows could not be logged: {}", error.message());
            self.session.notice(Error::notice(Severity::Warning, error.sqlstate(), message));
        }
    }

    fn tell(&self, count: u64, listed: &[crate::encode::copy::Reject], load_id: Option<&str>) {
        let rows = if count == 1 { "row was" } else { "rows were" };
        let message = format!("{count} {rows} skipped due to data type incompatibility");
        let first: Vec<String> = listed
            .iter()
            .take(TOLD_MAX)
            .map(|reject| {
                let why = reject.message.get(..reject.message.floor_char_boundary(TOLD_BYTES_MAX)).unwrap_or_default();
                match reject.column.as_str() {
                    "" => format!("line {}: {why}", reject.line),
                    column => format!("line {}, column {column}: {why}", reject.line),
                }
            })
            .collect();
        let notice =
            Error::notice(Severity::Notice, SqlState::SuccessfulCompletion, message).with_detail(first.join("\n"));
        self.session.notice(match load_id {
            Some(_) => notice.with_hint("They are in lakegate.rejected_rows."),
            None => notice,
        });
    }
}
