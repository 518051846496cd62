//! How many clients there may be at once, with a reserve for superusers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::counters::Counters;
use crate::error::{Error, Result, SqlState};

/// The places of one server. Cancel requests and clients that have not said who they are take none.
#[derive(Debug)]
pub struct Admission {
    connections_max: usize,
    superuser_reserved: usize,
    open: AtomicUsize,
    counters: Arc<Counters>,
}

/// One client's place, until it is dropped.
pub struct Place {
    admission: Arc<Admission>,
    /// How many clients there were, this one included, when it came.
    number: usize,
}

impl Admission {
    pub fn new(connections_max: usize, superuser_reserved: usize, counters: Arc<Counters>) -> Self {
        Self { connections_max, superuser_reserved, open: AtomicUsize::new(0), counters }
    }

    /// A place, or 53300 (FATAL) when all are taken.
    pub fn enter(self: &Arc<Self>) -> Result<Place> {
        let number = self.open.fetch_add(1, Ordering::AcqRel) + 1;
        self.counters.connections_open.fetch_add(1, Ordering::Relaxed);
        // Dropping the place on the way out gives it back.
        let place = Place { admission: self.clone(), number };
        if number > self.connections_max {
            return Err(self.refused("sorry, too many clients already"));
        }
        Ok(place)
    }

    fn refused(&self, message: &str) -> Error {
        Counters::count(&self.counters.connections_refused);
        Error::new(SqlState::TooManyConnections, message).fatal()
    }
}

impl Place {
    /// 53300 (FATAL) when this is one of the last places and its client no superuser.
    pub fn check_reserve(&self, superuser: bool) -> Result<()> {
        let admission = &self.admission;
        if superuser || self.number + admission.superuser_reserved <= admission.connections_max {
            return Ok(());
        }
        Err(admission.refused("remaining connection slots are reserved for roles with the SUPERUSER attribute"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::AcqRel);
        self.admission.counters.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_places_are_for_superusers_and_come_back() {
        let admission = Arc::new(Admission::new(2, 1, Arc::default()));
        let first = admission.enter().unwrap();
        let second = admission.enter().unwrap();
        assert!(first.check_reserve(false).is_ok());
        assert_eq!(second.check_reserve(false).unwrap_err().sqlstate(), SqlState::TooManyConnections);
        assert!(second.check_reserve(true).is_ok());
        assert_eq!(admission.enter().err().unwrap().message(), "sorry, too many clients already");
        drop(first);
        assert!(admission.enter().is_ok());
    }
}
