//! Transactions in the catalog: the changes of definitions that wait for a COMMIT, and what is decided about transactions over
//! several tables.

use std::fmt;
use std::sync::Arc;

use super::document::{Document, GivenUp, Transaction};
use crate::error::{Error, Result, SqlState};

/// Transactions are listed so long: statements that began before they committed must be able to tell.
const LISTED_MS: i64 = 3_600_000;
const LISTED_MAX: usize = 256;
/// Nobody tries so long to commit.
const GIVEN_UP_MS: i64 = 86_400_000;

type Change = dyn Fn(&mut Document) -> Result<()> + Send + Sync;

/// A change of the catalog that a transaction has made in its own view, and makes again at its COMMIT.
#[derive(Clone)]
pub struct Definition {
    first_oid: u32,
    change: Arc<Change>,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("first_oid", &self.first_oid).finish_non_exhaustive()
    }
}

impl Definition {
    /// A change that takes OIDs from `first_oid` on, which are its own.
    pub fn new(first_oid: u32, change: impl Fn(&mut Document) -> Result<()> + Send + Sync + 'static) -> Self {
        Self { first_oid, change: Arc::new(change) }
    }

    /// Makes the change: objects get the same OIDs each time.
    pub fn apply(&self, document: &mut Document) -> Result<()> {
        document.with_oids(self.first_oid, |document| (self.change)(document))
    }
}

impl Document {
    /// Runs a change whose OIDs come from a range of its own.
    pub fn with_oids<T>(&mut self, first_oid: u32, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let next = std::mem::replace(&mut self.next_oid, first_oid);
        let answer = change(self);
        self.next_oid = next;
        answer
    }

    /// The listed transaction of that id.
    pub fn transaction(&self, id: &str) -> Option<&Transaction> {
        self.transactions.iter().find(|transaction| transaction.id == id)
    }

    /// Commits a transaction over several tables, unless others gave it up.
    pub fn commit_transaction(&mut self, transaction: Transaction) -> Result<()> {
        if self.given_up.iter().any(|given_up| given_up.id == transaction.id) {
            let message = "could not serialize access due to concurrent update";
            return Err(Error::new(SqlState::SerializationFailure, message)
                .with_detail("Another server gave the transaction up, because its commit took too long.")
                .with_hint("Try the transaction again."));
        }
        self.forget_old(transaction.at_ms);
        self.transactions.push(Transaction { version: self.version + 1, ..transaction });
        Ok(())
    }

    /// Gives a transaction up, unless it has committed. Answers whether it has.
    pub fn settle_transaction(&mut self, id: &str, now_ms: i64) -> bool {
        if self.transaction(id).is_some() {
            return true;
        }
        if !self.given_up.iter().any(|given_up| given_up.id == id) {
            self.given_up.push(GivenUp { id: id.to_owned(), at_ms: now_ms });
        }
        false
    }

    fn forget_old(&mut self, now_ms: i64) {
        self.given_up.retain(|given_up| now_ms - given_up.at_ms < GIVEN_UP_MS);
        let applied = self.transactions.iter().filter(|transaction| transaction.applied).count();
        let mut too_many = applied.saturating_sub(LISTED_MAX);
        let mut forgotten = self.forgotten_through;
        self.transactions.retain(|transaction| {
            let goes = transaction.applied && (too_many > 0 || now_ms - transaction.at_ms > LISTED_MS);
            if goes {
                too_many = too_many.saturating_sub(1);
                forgotten = forgotten.max(transaction.version);
            }
            !goes
        });
        self.forgotten_through = forgotten;
    }
}
