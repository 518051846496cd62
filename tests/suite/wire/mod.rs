//! Raw-message tests: what a client sends and what comes back, message by message, in `tests/wire/*.wire`.
//!
//! ```text
//! == a name that says the fact [lakegate] [raw]
//! > Query "SELECT 1"
//! < RowDescription "?column?":23/4/-1/text
//! < DataRow "1"
//! < CommandComplete "SELECT 1"
//! < ReadyForQuery I
//! ```
//! A test has a connection of its own, started up unless it is `[raw]`; `[lakegate]` and `[postgres]` bind it to one server.
//! `*` in an expected line stands for any text; `<*` stands for any number of such lines, also none; `< closed` for the
//! server's end of the connection; `[gap]` marks what Lakegate is known to answer otherwise, and must be taken away once it does
//! not. `|` before a line is a Query on another connection, for making tables.

mod build;
mod render;
mod script;

use crate::files::{below, check_all};
use crate::postgres::Postgres;
use crate::server::Server;

/// Wire tests that make tables do so in a database of their own on PostgreSQL.
const DATABASE: &str = "wire";

#[tokio::test(flavor = "multi_thread")]
async fn lakegate_answers_as_the_files_say() {
    let server = Server::start(&["--set", "server.message_bytes_max=64MB"]);
    let address = server.address();
    check_all(below("tests/wire", "wire"), |file| script::run_file(file, address, "lakegate", "lakegate")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_answers_as_the_files_say() {
    let postgres = Postgres::shared();
    postgres.create_database(DATABASE).await;
    let address = postgres.address();
    check_all(below("tests/wire", "wire"), |file| script::run_file(file, address, "postgres", DATABASE)).await;
}
