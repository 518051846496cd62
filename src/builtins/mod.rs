//! What PostgreSQL has built in: functions, `pg_catalog`, `information_schema`, and the schema `lakegate`.
//!
//! Rows of system tables are made from one catalog snapshot and the [`SessionView`] of the asking session; nothing here opens
//! a table or writes. `plan` looks functions up in [`functions`] and system tables in [`tables`].

pub mod context;
pub mod functions;
mod information_schema;
mod lakegate;
mod pg_catalog;
mod pinned;
pub mod tables;

pub use context::*;
