//! Lakegate: a lake of Delta tables that looks like PostgreSQL. `src/README.md` is the map.

pub mod auth;
pub mod builtins;
pub mod catalog;
pub mod encode;
pub mod error;
pub mod plan;
pub mod protocol;
pub mod query;
pub mod server;
pub mod session;
pub mod sql;
