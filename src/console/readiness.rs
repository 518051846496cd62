//! Whether the server can take clients: where it stands in its life, and whether the warehouse answers.

use std::fmt;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::error::Result;

/// Where a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Serving,
    ShuttingDown,
}

type Probe = Box<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// The answer of `/readyz`. Starts in [`Phase::Starting`].
pub struct Readiness {
    phase: Mutex<Phase>,
    probe: Probe,
}

impl Readiness {
    /// `probe` asks the warehouse for something small.
    pub fn new<F>(probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self { phase: Mutex::new(Phase::Starting), probe: Box::new(move || probe().boxed()) }
    }

    pub fn set(&self, phase: Phase) {
        *self.phase.lock() = phase;
    }

    /// Whether clients can be served; otherwise why not, in words that outsiders may read.
    pub(super) async fn ask(&self, limit: Duration) -> std::result::Result<(), &'static str> {
        let phase = *self.phase.lock();
        match phase {
            Phase::Starting => Err("starting"),
            Phase::ShuttingDown => Err("shutting down"),
            Phase::Serving => match tokio::time::timeout(limit, (self.probe)()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the warehouse does not answer");
                    Err("the warehouse does not answer")
                }
                Err(_) => Err("the warehouse does not answer in time"),
            },
        }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("phase", &*self.phase.lock()).finish_non_exhaustive()
    }
}
