//! The training log: what a learner says of its steps while it runs.

use std::sync::Mutex;
use std::time::Instant;

use super::super::super::header::LogEntry;
use super::super::super::watch::{Stopped, Watch};

/// Steps that a log keeps at most, beside the last: of more, each second is dropped, again and again.
const ENTRIES_MAX: usize = 1000;

/// The watch of a training, with the log of it.
pub(super) struct Logged<'a> {
    watch: &'a dyn Watch,
    started: Instant,
    steps: Mutex<Steps>,
}

#[derive(Default)]
struct Steps {
    kept: Vec<LogEntry>,
    /// Kept are steps whose number is divided by two to this.
    dropped: u32,
    last: Option<LogEntry>,
}

impl<'a> Logged<'a> {
    pub fn new(watch: &'a dyn Watch) -> Self {
        Self { watch, started: Instant::now(), steps: Mutex::default() }
    }

    /// The steps in their order.
    pub fn log(self) -> Vec<LogEntry> {
        let Steps { mut kept, last, .. } = self.steps.into_inner().unwrap_or_default();
        // Threads that end their trees at once tell of them in any order.
        kept.sort_by_key(|entry| entry.iteration);
        let unkept = |last: &LogEntry| kept.last().is_none_or(|kept| kept.iteration < last.iteration);
        kept.extend(last.filter(unkept));
        kept
    }
}

impl Watch for Logged<'_> {
    fn check(&self) -> Result<(), Stopped> {
        self.watch.check()
    }

    fn progress(&self, done: usize, total: usize, loss: Option<f64>) {
        self.watch.progress(done, total, loss);
        let entry = LogEntry {
            iteration: done as u64,
            train_loss: loss.filter(|loss| loss.is_finite()),
            eval_loss: None,
            ms: self.started.elapsed().as_secs_f64() * 1e3,
        };
        if let Ok(mut steps) = self.steps.lock() {
            steps.add(entry);
        }
    }
}

impl Steps {
    fn add(&mut self, entry: LogEntry) {
        if self.last.as_ref().is_none_or(|last| last.iteration < entry.iteration) {
            self.last = Some(entry.clone());
        }
        if entry.iteration.trailing_zeros() < self.dropped {
            return;
        }
        self.kept.push(entry);
        while self.kept.len() > ENTRIES_MAX {
            self.dropped += 1;
            self.kept.retain(|entry| entry.iteration.trailing_zeros() >= self.dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::watch::Unwatched;
    use super::*;

    #[test]
    fn long_logs_are_thinned() {
        let iterations = |steps: usize| {
            let logged = Logged::new(&Unwatched);
            // Neighbours change places, as with two threads.
            (0..steps)
                .map(|step| (step ^ 1).min(steps - 1) + 1)
                .for_each(|done| logged.progress(done, steps, Some(1.0)));
            logged.log().into_iter().map(|entry| entry.iteration).collect::<Vec<_>>()
        };
        assert_eq!(iterations(0), [0_u64; 0]);
        assert_eq!(iterations(1), [1]);
        assert_eq!(iterations(1000), (1..=1000).collect::<Vec<_>>());
        let thinned = iterations(100_002);
        assert_eq!((thinned.first(), thinned.last(), thinned.len()), (Some(&128), Some(&100_002), 782));
        assert!(thinned.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_step_without_a_loss_has_none() {
        let logged = Logged::new(&Unwatched);
        logged.progress(1, 2, None);
        logged.progress(2, 2, Some(f64::INFINITY));
        assert!(logged.log().iter().all(|entry| entry.train_loss.is_none()));
    }
}
