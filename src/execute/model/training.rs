//! Training away from the threads that talk to clients, stopped when the statement is.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::execute::road::Road;
use crate::models::dataset::Dataset;
use crate::models::options::Options;
use crate::models::watch::{Stopped, Watch};
use crate::models::{Control, Outcome};
use crate::session::registry::Entry;

/// The line between a training and its statement: `lakegate.queries` shows how far it is.
pub(super) struct Progress {
    session: Arc<Entry>,
    /// Cancelled when the statement ends in whichever way.
    ended: CancellationToken,
}

impl Progress {
    pub(super) fn start(road: &Road<'_>) -> Self {
        let progress = Self { session: Arc::clone(road.session.entry()), ended: road.token.child_token() };
        progress.phase("reading");
        progress
    }

    pub(super) fn phase(&self, phase: &'static str) {
        self.session.tell(|progress| {
            (progress.phase, progress.done, progress.total, progress.loss) = (phase, 0, 0, None);
        });
    }

    pub(super) fn read(&self, rows: usize) {
        self.session.tell(|progress| progress.rows = rows as u64);
    }

    /// What work away from this thread asks whether it is still wanted.
    pub(super) fn watch(&self) -> Watching {
        Watching { session: Arc::clone(&self.session), ended: self.ended.clone() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// The statement's watch over its training.
pub(super) struct Watching {
    session: Arc<Entry>,
    ended: CancellationToken,
}

impl Watch for Watching {
    fn check(&self) -> std::result::Result<(), Stopped> {
        if self.ended.is_cancelled() { Err(Stopped) } else { Ok(()) }
    }

    fn progress(&self, done: usize, total: usize, loss: Option<f64>) {
        self.session
            .tell(|progress| (progress.done, progress.total, progress.loss) = (done as u64, total as u64, loss));
    }
}

/// The threads of a training, at least one.
pub(super) fn threads(road: &Road<'_>, options: &Options) -> usize {
    options.integer("threads").unwrap_or_else(|| road.ground.engine.default_partitions()).max(1)
}

/// Trains on a thread of its own, which starts others.
pub(super) async fn train(
    road: &Road<'_>,
    dataset: Dataset,
    options: &Options,
    progress: &Progress,
) -> Result<Outcome> {
    progress.phase("training");
    let watch = progress.watch();
    let pool = Arc::clone(road.ground.engine.memory_pool());
    let threads = threads(road, options);
    let options = options.clone();
    let work = tokio::task::spawn_blocking(move || {
        let control = Control { watch: &watch, pool: &pool, threads };
        crate::models::train(&dataset, &options, &control)
    });
    match work.await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::internal("the training failed")),
    }
}
