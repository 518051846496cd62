//! The black-box suite: it starts the built binary on temporary warehouses and free ports and speaks to it over the wire.
//! It never links the library. Files under `tests/sql/pg/` and `tests/wire/` are run on a real PostgreSQL too.
//!
//! `LAKEGATE_SUITE_UPDATE=1` writes PostgreSQL's answers into the files of `tests/sql/pg/` and `tests/wire/`;
//! `LAKEGATE_SUITE_FILES=name` runs only the files whose path contains `name`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells why on standard error"
)]

mod altered;
mod auth;
mod catalogue;
mod cli;
mod clients;
mod concurrent;
mod conflicts;
mod decode;
mod docs;
mod expected;
mod faults;
mod files;
mod gaps;
mod http;
mod lake;
mod logged;
mod logs;
mod models;
mod peers;
mod pg;
mod postgres;
mod protocol;
mod refreshed;
mod repeated;
mod roots;
mod server;
mod slt;
mod sql_driver;
mod stores;
mod suggested;
mod temporary;
mod watched;
mod wire;
