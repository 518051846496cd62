//! Names to definitions. The catalog is one versioned document in the warehouse, committed by put-if-absent.
//!
//! ```text
//! <warehouse>/_lakegate/catalog/<version, 20 digits>.json     whole document per version; the highest is the truth
//! ```
//! A statement reads one immutable [`Snapshot`]; a change is a closure over a [`Document`] that is tried again on a fresh
//! one when another server won the race. It knows no SQL, no table data and no session.

pub mod document;
mod store;
#[cfg(test)]
mod tests;
mod transactions;

pub use document::*;
pub use store::{Bootstrap, Catalog};
pub use transactions::Definition;
