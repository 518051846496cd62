//! The road on one page: parse → authorise → plan → execute, for a [`Conversation`] that `protocol` (or a script) drives.
//!
//! ```text
//! protocol ─ Service::connect ─→ Conversation ─┬ parse / bind / describe / run / close / sync   (extended query)
//!                                              └ split ─→ begin_simple, run_simple…, end_simple  (simple query)
//! ```
//! Nothing here knows messages. Rows leave as Arrow batches through a [`Portal`], guarded by cancel and deadline.

mod conversation;
mod cursors;
mod extended;
mod guard;
mod kept;
mod log;
mod portal;
mod prepared;
pub mod refresher;
mod run;
mod scroll;
mod service;
mod spool;
mod statement;

pub use crate::execute::output::{ByteStream, CopyIn, CopyOut, CopySink};
pub use conversation::{Conversation, TransactionStatus};
pub use extended::{PortalDescription, StatementDescription};
pub use portal::{Answer, Portal};
pub use service::{ConnectRequest, Service};
