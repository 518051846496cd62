//! Threads that live as long as one training and share its loops. No global pool: queries keep theirs.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Work that every helper may run once, while [`Team::run`] waits.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn() + Sync));

// SAFETY: the pointee is `Sync`, and `Team::run` does not return before every helper has let go of it.
unsafe impl Send for Work {}

#[derive(Default)]
struct State {
    /// Counts the calls of `run`, so that a helper takes each work once.
    round: u64,
    work: Option<Work>,
    running: usize,
    /// A helper's panic, for the caller.
    panic: Option<Box<dyn std::any::Any + Send>>,
    quit: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    start: Condvar,
    finished: Condvar,
}

/// The calling thread and `threads - 1` helpers.
pub(crate) struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

impl Team {
    /// Fewer helpers when the system gives no more threads.
    pub(crate) fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let helper = |number: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("train-{number}")).spawn(move || help(&shared)).ok()
        };
        let helpers = (1..threads).map_while(helper).collect();
        Self { shared, helpers }
    }

    pub(crate) fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Runs `task` on every item, each once, in no fixed order; returns when all are done.
    /// A helper's panic is the caller's.
    pub(crate) fn each<T: Send>(&self, items: Vec<T>, task: impl Fn(T) + Sync) {
        if items.len() <= 1 || self.helpers.is_empty() {
            return items.into_iter().for_each(task);
        }
        let queue = Mutex::new(items.into_iter());
        self.run(&|| {
            while let Some(item) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                task(item);
            }
        });
    }

    fn run(&self, work: &(dyn Fn() + Sync)) {
        /// Ends the round even if the caller's own part panics: no helper may keep the pointer.
        struct Round<'a>(&'a Shared);
        impl Drop for Round<'_> {
            fn drop(&mut self) {
                let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
                // A helper that has not woken up yet finds nothing to do.
                state.work = None;
                while state.running > 0 {
                    state = self.0.finished.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        // SAFETY: only the lifetime is forgotten, and `Round` waits for the helpers before `work` can end.
        let erased =
            unsafe { std::mem::transmute::<*const (dyn Fn() + Sync + '_), *const (dyn Fn() + Sync + 'static)>(work) };
        {
            let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.round += 1;
            state.work = Some(Work(erased));
        }
        self.shared.start.notify_all();
        let round = Round(&self.shared);
        work();
        drop(round);
        let panic = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).panic.take();
        if let Some(panic) = panic {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).quit = true;
        self.shared.start.notify_all();
        for helper in self.helpers.drain(..) {
            // A helper's panic was handed to the caller.
            let _ = helper.join();
        }
    }
}

fn help(shared: &Shared) {
    let mut seen = 0;
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if state.quit {
            return;
        }
        let Some(Work(work)) = state.work.filter(|_| state.round != seen) else {
            state = shared.start.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        seen = state.round;
        state.running += 1;
        drop(state);
        // SAFETY: `running` was raised under the lock while the work was there, so `Team::run` is waiting and the pointee is alive.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unsafe { (*work)() }));
        state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.panic = state.panic.take().or(done.err());
        state.running -= 1;
        if state.running == 0 {
            shared.finished.notify_all();
        }
    }
}
