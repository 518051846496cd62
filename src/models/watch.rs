//! How a long computation is stopped and seen: every learner asks a `Watch` at least every few milliseconds of work.

use crate::error::{Error, SqlState};

/// What a learner returns when it was told to stop: nothing of its work is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl From<Stopped> for Error {
    fn from(_: Stopped) -> Self {
        Self::new(SqlState::QueryCanceled, "canceling statement due to user request")
    }
}

/// The learner's line to whoever runs it. Called from several threads at once.
pub trait Watch: Sync {
    /// Asked regularly; an `Err` ends the training at once.
    fn check(&self) -> Result<(), Stopped>;
    /// `done` of at most `total` iterations (trees, restarts, series) are complete; `loss` is the mean training loss where there is one.
    fn progress(&self, done: usize, total: usize, loss: Option<f64>);
}

/// Never stops and shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn check(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn progress(&self, _done: usize, _total: usize, _loss: Option<f64>) {}
}

/// Stops after so many questions.
#[cfg(test)]
#[derive(Debug)]
pub struct StopAfter(std::sync::atomic::AtomicUsize);

#[cfg(test)]
impl StopAfter {
    pub fn new(questions: usize) -> Self {
        Self(questions.into())
    }

    /// Questions that are left.
    pub fn left(self) -> usize {
        self.0.into_inner()
    }
}

#[cfg(test)]
impl Watch for StopAfter {
    fn check(&self) -> Result<(), Stopped> {
        use std::sync::atomic::Ordering::Relaxed;
        let left = self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| Stopped)
    }

    fn progress(&self, _done: usize, _total: usize, _loss: Option<f64>) {}
}
