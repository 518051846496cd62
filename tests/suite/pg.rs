//! `tests/sql/pg/`: the same answers on PostgreSQL and on Lakegate, in values, types and errors.

use std::path::{Path, PathBuf};

use crate::files::{below, check_all, shown, updating};
use crate::gaps::Gaps;
use crate::postgres::Postgres;
use crate::protocol::Column;
use crate::server::Server;
use crate::slt::{Target, run_file};
use crate::sql_driver::{Descriptions, Mode};

/// With names, types, lengths and type modifiers of columns, beyond the types' letters in the files.
#[tokio::test(flavor = "multi_thread")]
async fn both_answer_simple_queries_alike() {
    let postgres = Postgres::shared();
    let database = format!("pg_{}", Mode::Simple.label());
    postgres.create_database(&database).await;
    let server = Server::start(&[]);
    let theirs = Target::new(postgres.address(), "postgres", &database, Mode::Simple);
    let ours = Target::new(server.address(), "lakegate", "lakegate", Mode::Simple);
    check_all(below("tests/sql/pg", "slt"), |file| run_on_both(file, theirs.clone(), ours.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_answers_extended_queries() {
    if updating() {
        return;
    }
    let postgres = Postgres::shared();
    let database = format!("pg_{}", Mode::Extended.label());
    postgres.create_database(&database).await;
    let target = Target::new(postgres.address(), "postgres", &database, Mode::Extended);
    check_all(below("tests/sql/pg", "slt"), |file| run_file(file, target.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lakegate_answers_extended_queries() {
    if updating() {
        return;
    }
    let server = Server::start(&[]);
    let target = Target::new(server.address(), "lakegate", "lakegate", Mode::Extended);
    check_all(below("tests/sql/pg", "slt"), |file| run_file(file, target.clone())).await;
}

/// The file's failures on both servers, and what they describe differently.
async fn run_on_both(file: PathBuf, mut theirs: Target, mut ours: Target) -> Vec<String> {
    (theirs.descriptions, ours.descriptions) = (Descriptions::default(), Descriptions::default());
    let mut failures = run_file(file.clone(), theirs.clone()).await;
    if updating() {
        return failures;
    }
    failures.extend(run_file(file.clone(), ours.clone()).await);
    let (theirs, ours) = (theirs.descriptions.lock().unwrap(), ours.descriptions.lock().unwrap());
    failures.extend(compare(&file, &theirs, &ours));
    failures
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
