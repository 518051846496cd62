//! `tests/sql/pg/`: the same answers on PostgreSQL and on Lakegate, in values, types and errors.

use std::path::{Path, PathBuf};

use crate::files::{below, check_all, shown, updating};
use crate::gaps::Gaps;
use crate::postgres::Postgres;
use crate::protocol::Column;
use crate::server::Server;
use crate::slt::{Target, run_file};
use crate::sql_driver::{Descriptions, Mode};

async fn on_postgres(mode: Mode) {
    let postgres = Postgres::shared();
    let database = format!("pg_{}", mode.label());
    postgres.create_database(&database).await;
    let target = Target::new(postgres.address(), "postgres", &database, mode);
    check_all(below("tests/sql/pg", "slt"), |file| run_file(file, target.clone())).await;
}

async fn on_lakegate(mode: Mode) {
    let server = Server::start(&[]);
    let target = Target::new(server.address(), "lakegate", "lakegate", mode);
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

/// Names, types, lengths and type modifiers of columns, beyond the types' letters in the files.
#[tokio::test(flavor = "multi_thread")]
async fn columns_are_described_alike() {
    const DATABASE: &str = "pg_described";
    if updating() {
        return;
    }
    let postgres = Postgres::shared();
    postgres.create_database(DATABASE).await;
    let server = Server::start(&[]);
    let theirs = Target::new(postgres.address(), "postgres", DATABASE, Mode::Simple);
    let ours = Target::new(server.address(), "lakegate", "lakegate", Mode::Simple);
    check_all(below("tests/sql/pg", "slt"), |file| describe_on_both(file, theirs.clone(), ours.clone())).await;
}

async fn describe_on_both(file: PathBuf, mut theirs: Target, mut ours: Target) -> Vec<String> {
    (theirs.descriptions, ours.descriptions) = (Descriptions::default(), Descriptions::default());
    // What fails is for the other tests to tell.
    run_file(file.clone(), theirs.clone()).await;
    run_file(file.clone(), ours.clone()).await;
    let (theirs, ours) = (theirs.descriptions.lock().unwrap(), ours.descriptions.lock().unwrap());
    compare(&file, &theirs, &ours)
}

/// A column as far as two servers can agree on it: types that a server makes itself have OIDs of their own.
fn shown_column(column: &Column) -> String {
    let oid = if column.oid < 16_384 { column.oid.to_string() } else { "own".to_owned() };
    format!("\"{}\" type {oid} length {} modifier {}", column.name, column.length, column.typmod)
}

/// Statements that both have answered, and describe differently.
fn compare(file: &Path, theirs: &[(String, Vec<Column>)], ours: &[(String, Vec<Column>)]) -> Vec<String> {
    let mut differences = Vec::new();
    let mut gaps = Gaps::of_descriptions(file);
    for (sql, described) in ours {
        let Some((_, expected)) = theirs.iter().find(|(other, _)| other == sql) else { continue };
        let (expected, described): (Vec<_>, Vec<_>) =
            (expected.iter().map(shown_column).collect(), described.iter().map(shown_column).collect());
        let different = expected.iter().zip(&described).filter(|(expected, described)| expected != described);
        let lines: Vec<String> =
            different.map(|(expected, described)| format!("  expected {expected}\n       got {described}")).collect();
        if lines.is_empty() && expected.len() == described.len() {
            if gaps.expects(sql, false) {
                differences.push(format!("{}: no gap any more, take it out of the list: {sql}", shown(file)));
            }
            continue;
        }
        if !gaps.expects(sql, true) {
            differences.push(format!("{}: {sql}\n{}", shown(file), lines.join("\n")));
        }
        gaps.note(sql);
    }
    if gaps.written() { Vec::new() } else { differences }
}
