//! Until when a statement can be ended early: to the first put of its commit. From then on its outcome is the store's.
//!
//! ```text
//! open ─┬─ abandon ─→ abandoned   nothing of it comes, whoever waits for its turn gives up
//!       └─ enter ───→ entered     whoever wants to end it waits for the outcome
//! ```

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{Error, Result, SqlState};

/// Of one statement, shared by those who run it and those who may end it.
#[derive(Debug, Clone, Default)]
pub struct Decision(Arc<watch::Sender<State>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Abandoned,
    Entered,
}

impl Decision {
    /// Ends the statement before its commit. `false` when that has begun.
    pub fn abandon(&self) -> bool {
        self.become_if_open(State::Abandoned) != State::Entered
    }

    /// The commit begins.
    ///
    /// # Errors
    /// 57014 when the statement was ended before.
    pub fn enter(&self) -> Result<()> {
        if self.become_if_open(State::Entered) == State::Abandoned { Err(canceled()) } else { Ok(()) }
    }

    /// The commit is over, and the statement goes on with what can be ended.
    pub fn reopen(&self) {
        self.0.send_if_modified(|state| {
            let entered = *state == State::Entered;
            if entered {
                *state = State::Open;
            }
            entered
        });
    }

    /// Resolves when no commit is under way.
    pub async fn opened(&self) {
        let _ = self.0.subscribe().wait_for(|state| *state != State::Entered).await;
    }

    pub(super) fn is_abandoned(&self) -> bool {
        *self.0.borrow() == State::Abandoned
    }

    /// What is waited for, unless the statement is ended first.
    pub(super) async fn unless_abandoned<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let mut states = self.0.subscribe();
        tokio::select! {
            biased;
            _ = states.wait_for(|state| *state == State::Abandoned) => Err(canceled()),
            done = work => Ok(done),
        }
    }

    /// The state after it.
    fn become_if_open(&self, wanted: State) -> State {
        let mut now = wanted;
        self.0.send_if_modified(|state| {
            let open = *state == State::Open;
            if open {
                *state = wanted;
            }
            now = *state;
            open
        });
        now
    }
}

pub(super) fn canceled() -> Error {
    Error::new(SqlState::QueryCanceled, "canceling statement due to user request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_ended_before_its_commit_does_not_commit() {
        let decision = Decision::default();
        let waiting = decision.clone();
        let waiting = tokio::spawn(async move { waiting.unless_abandoned(std::future::pending::<()>()).await });
        assert!(decision.abandon());
        assert!(waiting.await.unwrap().is_err());
        assert!(decision.enter().is_err() && decision.abandon());
    }

    #[tokio::test]
    async fn what_commits_is_ended_after_it() {
        let decision = Decision::default();
        decision.enter().unwrap();
        assert!(!decision.abandon());
        assert!(decision.unless_abandoned(async { 1 }).await.is_ok());
        decision.reopen();
        decision.opened().await;
        assert!(decision.abandon());
    }
}
