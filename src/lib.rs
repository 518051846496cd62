//! Lakegate: a lake of Delta tables that looks like PostgreSQL. `src/README.md` is the map.

pub mod builtins;
pub mod catalog;
pub mod encode;
pub mod error;
pub mod lake;
pub mod plan;
pub mod query;
pub mod session;
pub mod sql;
