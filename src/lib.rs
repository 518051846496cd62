//! Lakegate: a lake of Delta tables that looks like PostgreSQL. `src/README.md` is the map.

pub mod app;
pub mod auth;
pub mod builtins;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod console;
pub mod encode;
pub mod engine;
pub mod error;
pub mod execute;
pub mod lake;
pub mod models;
pub mod observe;
pub mod plan;
pub mod protocol;
pub mod quality;
pub mod query;
pub mod server;
pub mod session;
pub mod sql;
