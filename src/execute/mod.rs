//! Plan to output: one file for each statement. The only module that commits.
//!
//! ```text
//! query ─ Road + Statement ─→ bind (plan) ─→ engine or lake or catalog ─→ Output
//! ```
//! A [`Road`] is what one statement may use: the server's [`Ground`], the session, one catalog snapshot and the tables pinned
//! so far. Nothing here knows messages, portals or prepared statements.

mod ground;
mod road;

pub(crate) mod copy_from;
pub(crate) mod copy_to;
pub(crate) mod create_schema;
pub(crate) mod create_table;
pub(crate) mod create_view;
pub(crate) mod drop;
pub(crate) mod explain;
pub(crate) mod insert;
pub mod output;
pub(crate) mod role;
pub(crate) mod select;
pub(crate) mod setting;
pub(crate) mod truncate;

pub use ground::{FileAccess, Ground};
pub(crate) use road::{Pins, Road};
