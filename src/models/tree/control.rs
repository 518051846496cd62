//! How a caller watches and stops a training, and what can go wrong in one.

use std::sync::atomic::{AtomicBool, Ordering};

/// The caller's side of a training: asked by every worker thread every few milliseconds of its work.
pub trait Watch: Sync {
    /// `Err` ends the training at once with [`Error::Stopped`].
    fn check(&self) -> Result<(), Stopped>;

    /// A tree of so many bytes stays in memory; `Err` when there is no room for it.
    fn grown(&self, bytes: usize) -> Result<(), Stopped>;

    /// `done` of `total` trees or iterations are finished; `loss` is the held-out set's if there is one, else the training set's.
    fn progress(&self, done: usize, total: usize, loss: Option<f64>);
}

/// The answer of [`Watch::check`] that stops a training: a cancel, a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Nobody watches: never stops.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn check(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn grown(&self, _bytes: usize) -> Result<(), Stopped> {
        Ok(())
    }

    fn progress(&self, _done: usize, _total: usize, _loss: Option<f64>) {}
}

/// Why there is no model or no prediction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// [`Watch::check`] said so.
    Stopped,
    /// Data or options that no model can be made of; the text is for the user.
    Invalid(String),
    /// More than the learner can count; the text is for the user.
    TooMuch(String),
    /// A model that cannot be one: damaged, or not made by this kernel.
    Damaged(String),
}

impl From<Stopped> for Error {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopped => f.write_str("training was stopped"),
            Self::Invalid(text) | Self::TooMuch(text) | Self::Damaged(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// Units of work (one row in one histogram, about a nanosecond) between two questions to the watch.
const WORK_PER_CHECK: usize = 2_000_000;

/// What all workers of a training share: the watch, and that one of them was told to stop.
#[derive(Clone, Copy)]
pub(crate) struct Pulse<'a> {
    watch: &'a dyn Watch,
    stop: &'a AtomicBool,
}

impl<'a> Pulse<'a> {
    pub(crate) fn new(watch: &'a dyn Watch, stop: &'a AtomicBool) -> Self {
        Self { watch, stop }
    }

    /// Whether a worker was told to stop, without asking.
    pub(crate) fn stopped(self) -> Result<(), Stopped> {
        if self.stop.load(Ordering::Relaxed) { Err(Stopped) } else { Ok(()) }
    }

    /// Asks the watch; a stop of one worker is a stop of all.
    pub(crate) fn check(self) -> Result<(), Stopped> {
        self.stopped()?;
        self.watch.check().inspect_err(|_| self.stop.store(true, Ordering::Relaxed))
    }
}

/// One worker's meter: asks the watch when enough work has passed.
pub(crate) struct Meter<'a> {
    pub(crate) pulse: Pulse<'a>,
    work: usize,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(watch: &'a dyn Watch, stop: &'a AtomicBool) -> Self {
        Self { pulse: Pulse::new(watch, stop), work: 0 }
    }

    pub(crate) fn spend(&mut self, work: usize) -> Result<(), Stopped> {
        self.work += work;
        if self.work < WORK_PER_CHECK {
            return Ok(());
        }
        self.work = 0;
        self.pulse.check()
    }
}
