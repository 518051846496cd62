//! What stands round every statement: its cancel token and its deadline.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result, SqlState};
use crate::lake::Decision;

/// When a statement must have ended, and whose limit that is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    limits: Limited,
}

#[derive(Debug, Clone, Copy)]
enum Limited {
    Statement,
    /// The whole transaction: the session ends with it.
    Transaction,
}

impl Deadline {
    /// A statement that starts now may take so long; `None` for a time that never comes.
    pub(crate) fn of_statement(timeout: Duration) -> Option<Self> {
        Instant::now().checked_add(timeout).map(|at| Self { at, limits: Limited::Statement })
    }

    pub(crate) fn of_transaction(at: Instant) -> Self {
        Self { at, limits: Limited::Transaction }
    }

    /// The transaction's, if both come at once.
    pub(crate) fn earlier(transaction: Option<Self>, statement: Option<Self>) -> Option<Self> {
        [transaction, statement].into_iter().flatten().min_by_key(|deadline| deadline.at)
    }

    fn missed(self) -> Error {
        match self.limits {
            Limited::Statement => Error::new(SqlState::QueryCanceled, "canceling statement due to statement timeout"),
            Limited::Transaction => transaction_timeout(),
        }
    }
}

/// FATAL 25P04.
pub(crate) fn transaction_timeout() -> Error {
    Error::new(SqlState::TransactionTimeout, "terminating connection due to transaction timeout").fatal()
}

/// Ends a statement early: by its token, or at its deadline.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    token: CancellationToken,
    deadline: Option<Deadline>,
    decision: Decision,
}

/// The longest that a statement's end waits for a commit that has begun.
const SETTLING_MAX: Duration = Duration::from_secs(10);

impl Guard {
    pub(crate) fn new(token: CancellationToken, deadline: Option<Deadline>) -> Self {
        Self { token, deadline, decision: Decision::default() }
    }

    /// Runs the future until it ends, is cancelled (57014) or is too late (57014, 25P04). What it was doing is dropped, unless
    /// it commits: then that has its end first, if the store gives it one soon.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = tokio::select! {
            biased;
            error = self.ended() => Err(error),
            result = work => result,
        };
        self.decision.reopen();
        done
    }

    /// Resolves when the statement must end, with the error that says why. What has not begun to commit then never will.
    pub(crate) async fn ended(&self) -> Error {
        let error = self.wanted().await;
        let settled = async {
            while !self.decision.abandon() {
                self.decision.opened().await;
            }
        };
        match tokio::time::timeout(SETTLING_MAX, settled).await {
            Ok(()) => error,
            Err(_) => error
                .with_detail("The object store has not told yet whether the statement's commit was taken.")
                .with_hint("Look at the table before the statement is run again."),
        }
    }

    /// Until when the statement can be ended.
    pub(crate) fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Resolves when somebody wants the statement to end.
    async fn wanted(&self) -> Error {
        let late = async {
            match self.deadline {
                Some(deadline) => {
                    tokio::time::sleep_until(deadline.at).await;
                    deadline.missed()
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.token.cancelled() => Error::new(SqlState::QueryCanceled, "canceling statement due to user request"),
            error = late => error,
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
        let guard = Guard::new(CancellationToken::new(), Deadline::of_statement(Duration::from_millis(50)));
        let error = guard.run(std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(error.message(), "canceling statement due to statement timeout");
    }
    #[tokio::test]
    async fn the_transactions_deadline_ends_the_session_too() {
        let now = Instant::now();
        let guard = Guard::new(
            CancellationToken::new(),
            Deadline::earlier(Some(Deadline::of_transaction(now)), Deadline::of_statement(Duration::from_secs(60))),
        );
        let error = guard.run(std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!((error.sqlstate().code(), error.level()), ("25P04", crate::error::Severity::Fatal));
    }
}
