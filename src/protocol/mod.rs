//! PostgreSQL's messages on one side, calls of `query` on the other. One task per client; nothing here knows SQL or plans.
//!
//! ```text
//! serve ─→ negotiate (encryption, cancel) ─→ admission ─→ authenticate ─→ client: one message after the other
//!                                                                          ├ simple    Query
//!                                                                          ├ extended  Parse, Bind, Describe, Execute, …
//!                                                                          ├ rows      Portal → DataRow
//!                                                                          └ copy      CopyData ⇄ sink and stream
//! link: waits while it writes, reads ahead and notices that the client left;  channel: the bytes, bounded
//! ```
//!
//! **Why the messages are ours.** pgwire's decoders of frontend messages read past the end of a truncated body, which panics;
//! its backend structs own their strings and columns and know neither 32-byte cancel keys nor our buffers. What is left of it
//! would be the numbers in [`frontend`] and [`backend`], so both halves are written here, over one checked reader and one
//! output buffer.
//!
//! **Memory for one client** is the read-ahead, one message being read (limited by configuration), two output buffers and one
//! batch, however slowly it reads.

pub mod admission;
mod authenticate;
mod backend;
pub mod channel;
mod client;
mod copy;
pub mod counters;
mod extended;
pub mod frontend;
pub mod link;
mod negotiate;
pub mod options;
pub mod reader;
mod report;
mod rows;
mod serve;
mod simple;
pub mod startup;
#[cfg(test)]
mod tests;
pub mod tls;

pub use admission::Admission;
pub use counters::Counters;
pub use link::Shutdown;
pub use serve::{Context, Peer, serve};
pub use tls::{TlsContext, TlsSource};
