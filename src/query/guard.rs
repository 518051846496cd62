//! What stands round every statement: its cancel token and its deadline.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result, SqlState};

/// Ends a statement early: by its token, or at its deadline.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    token: CancellationToken,
    deadline: Option<Instant>,
}

impl Guard {
    /// A guard that starts counting now; no timeout means no deadline.
    pub(crate) fn new(token: CancellationToken, timeout: Option<Duration>) -> Self {
        Self { token, deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)) }
    }

    /// Runs the future until it ends, is cancelled (57014) or is too late (57014). What it was doing is dropped.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            error = self.ended() => Err(error),
            result = work => result,
        }
    }

    /// Resolves when the statement must end, with the error that says why.
    pub(crate) async fn ended(&self) -> Error {
        let late = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.token.cancelled() => Error::new(SqlState::QueryCanceled, "canceling statement due to user request"),
            () = late => Error::new(SqlState::QueryCanceled, "canceling statement due to statement timeout"),
        }
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cancelled_token_ends_the_work() {
        let token = CancellationToken::new();
        let guard = Guard::new(token.clone(), None);
        token.cancel();
        let error = guard.run(std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(error.sqlstate().code(), "57014");
        assert_eq!(error.message(), "canceling statement due to user request");
    }

    #[tokio::test]
    async fn a_deadline_ends_the_work() {
        let guard = Guard::new(CancellationToken::new(), Some(Duration::from_millis(50)));
        let error = guard.run(std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(error.message(), "canceling statement due to statement timeout");
    }
}
