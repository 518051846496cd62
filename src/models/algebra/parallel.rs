//! Work on threads of the training alone, with results in a fixed order.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// `work(0) … work(count - 1)` on at most `threads` threads (the caller's is one of them), results in order of the index.
/// The first error ends the rest. The threads end before this returns.
pub fn in_order<R: Send, E: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let take = || -> Result<Vec<(usize, R)>, E> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(done);
            }
            match work(index) {
                Ok(result) => done.push((index, result)),
                Err(refusal) => {
                    next.store(count, Ordering::Relaxed);
                    return Err(refusal);
                }
            }
        }
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(count))
            .filter_map(|_| thread::Builder::new().name("model".to_owned()).spawn_scoped(scope, take).ok())
            .collect();
        let mut all = take();
        for other in others {
            let more = other.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
            all = match (all, more) {
                (Ok(mut all), Ok(more)) => {
                    all.extend(more);
                    Ok(all)
                }
                (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
            };
        }
        all
    })?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// As [`in_order`], but each result goes to `take` as soon as it is its turn, while others are made. At most as many results as threads
/// are there at a time.
pub fn in_turn<R, E: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> Result<R, E> + Sync,
    take: impl FnMut(usize, R) -> Result<(), E> + Send,
) -> Result<(), E> {
    let turns = Turns { next: Mutex::new(0), passed: Condvar::new() };
    let take = Mutex::new(take);
    in_order(threads, count, |index| {
        let mut turn = Turn { turns: &turns, next: OVER };
        let result = work(index)?;
        if turns.wait(index) {
            let mut take = take.lock().unwrap_or_else(PoisonError::into_inner);
            (*take)(index, result)?;
            turn.next = index + 1;
        }
        Ok::<_, E>(())
    })?;
    Ok(())
}

/// No index's turn: somebody has failed.
const OVER: usize = usize::MAX;

/// Whose turn it is.
struct Turns {
    next: Mutex<usize>,
    passed: Condvar,
}

impl Turns {
    /// Waits for the turn of an index; whether it comes.
    fn wait(&self, index: usize) -> bool {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |next: &mut usize| *next != index && *next != OVER;
        let next = self.passed.wait_while(next, waits).unwrap_or_else(PoisonError::into_inner);
        *next != OVER
    }

    fn pass(&self, to: usize) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if *next != OVER {
            *next = to;
        }
        self.passed.notify_all();
    }
}

/// Work on one index. However it ends, nobody waits for it any longer.
struct Turn<'a> {
    turns: &'a Turns,
    next: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.pass(self.next);
    }
}

/// What `work` makes of each item, on at most `threads` threads, in the items' order. The first error ends the rest.
pub fn try_each<T: Send, R: Send, E: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let items: Vec<Mutex<Option<T>>> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    let done = in_order(threads, items.len(), |index| {
        let item = items.get(index).and_then(|item| item.lock().unwrap_or_else(PoisonError::into_inner).take());
        item.map(&work).transpose()
    })?;
    Ok(done.into_iter().flatten().collect())
}

/// The same of work that cannot fail.
pub fn each<T: Send, R: Send>(threads: usize, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let Ok(done) = try_each(threads, items, |item| Ok::<_, std::convert::Infallible>(work(item)));
    done
}

/// `rows` cut into at most `count` segments of nearly equal length, each a multiple of `step` but the last.
pub fn segments(rows: usize, count: usize, step: usize) -> Vec<Range<usize>> {
    let step = step.max(1);
    let steps = rows.div_ceil(step);
    let count = count.clamp(1, steps.max(1));
    let bound = |index: usize| (steps * index / count * step).min(rows);
    (0..count).map(|index| bound(index)..bound(index + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::refusal::Refusal;

    #[test]
    fn results_are_in_order_for_any_number_of_threads() {
        for threads in [1, 2, 7] {
            let squares = in_order(threads, 100, |index| Ok::<_, Refusal>(index * index)).unwrap();
            assert_eq!(squares, (0..100).map(|index| index * index).collect::<Vec<_>>());
            assert_eq!(each(threads, squares.clone(), |square| square), squares);
            let below = |square: usize| if square < 9801 { Ok(square) } else { Err(Refusal::NoRows) };
            assert_eq!(try_each(threads, squares.clone(), below), Err(Refusal::NoRows));
            assert_eq!(try_each(threads, squares[..99].to_vec(), below).unwrap(), squares[..99]);
        }
        assert_eq!(
            in_order(3, 9, |index| if index == 4 { Err(Refusal::NoRows) } else { Ok(()) }),
            Err(Refusal::NoRows)
        );
    }

    #[test]
    fn results_are_taken_in_their_turn_and_few_at_a_time() {
        /// How many there are, and were at most.
        #[derive(Default)]
        struct Alive(AtomicUsize, AtomicUsize);
        struct Made<'a>(usize, &'a Alive);
        impl Drop for Made<'_> {
            fn drop(&mut self) {
                self.1.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        for threads in [1, 2, 7] {
            let alive = Alive::default();
            let make = |index: usize| {
                let now = alive.0.fetch_add(1, Ordering::Relaxed) + 1;
                alive.1.fetch_max(now, Ordering::Relaxed);
                Made(index, &alive)
            };
            let mut taken = Vec::new();
            let all = in_turn(
                threads,
                200,
                |index| Ok::<_, Refusal>(make(index)),
                |index, made| {
                    taken.push((index, made.0));
                    Ok(())
                },
            );
            assert_eq!((all, taken), (Ok(()), (0..200).map(|index| (index, index)).collect()));
            assert!(alive.1.into_inner() <= threads);
            // Whoever fails, nobody waits for him.
            for fails in [0, 5, 199] {
                let work = |index: usize| if index == fails { Err(Refusal::NoRows) } else { Ok(index) };
                let mut count = 0;
                let taken = in_turn(threads, 200, work, |_, _| {
                    count += 1;
                    Ok(())
                });
                assert_eq!(taken, Err(Refusal::NoRows));
                assert!(count <= fails);
                let take = |index: usize, _: usize| if index == fails { Err(Refusal::NoRows) } else { Ok(()) };
                assert_eq!(in_turn(threads, 200, Ok, take), Err(Refusal::NoRows));
            }
        }
    }

    #[test]
    fn segments_cover_all_rows_once() {
        for (rows, count, step) in [(0, 4, 8), (1, 4, 8), (100, 4, 8), (100, 16, 8), (1000, 7, 1)] {
            let all = segments(rows, count, step);
            assert!(all.len() <= count);
            assert_eq!(all.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
        }
    }
}
