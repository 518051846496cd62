//! Lakegate: a lake of Delta tables that looks like PostgreSQL. `src/README.md` is the map.

pub mod builtins;
pub mod catalog;
pub mod config;
pub mod console;
pub mod encode;
pub mod engine;
pub mod error;
pub mod observe;
pub mod plan;
pub mod query;
pub mod session;
pub mod sql;
