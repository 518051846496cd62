//! `tests/sql/pg/`: the same answers on PostgreSQL and on Lakegate, in values, types and errors.

use crate::files::{below, check_all, updating};
use crate::postgres::Postgres;
use crate::server::Server;
use crate::slt::{Target, run_file};
use crate::sql_driver::Mode;

async fn on_postgres(mode: Mode) {
    let postgres = Postgres::shared();
    let database = format!("pg_{}", mode.label());
    postgres.create_database(&database).await;
    let target = Target { address: postgres.address(), engine: "postgres", database, mode };
    check_all(below("tests/sql/pg", "slt"), |file| run_file(file, target.clone())).await;
}

async fn on_lakegate(mode: Mode) {
    let server = Server::start(&[]);
    let target = Target { address: server.address(), engine: "lakegate", database: "lakegate".to_owned(), mode };
    check_all(below("tests/sql/pg", "slt"), |file| run_file(file, target.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_simple() {
    on_postgres(Mode::Simple).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_extended() {
    if !updating() {
        on_postgres(Mode::Extended).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lakegate_simple() {
    if !updating() {
        on_lakegate(Mode::Simple).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lakegate_extended() {
    if !updating() {
        on_lakegate(Mode::Extended).await;
    }
}
