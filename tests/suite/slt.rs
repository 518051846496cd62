//! Runs files of sqllogictest, each in a schema of its own, and collects all their failures.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sqllogictest::{Record, Runner, strict_column_validator};

use crate::files::{shown, updating};
use crate::gaps::Gaps;
use crate::server::Server;
use crate::sql_driver::{Descriptions, Mode, SqlDriver, create_schema};

/// Between columns of a row.
const SEPARATOR: &str = "|";
/// A file with this line gets a server of its own, started with the flags behind it.
const OWN_SERVER: &str = "# own server";

/// Where a file is run.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// `lakegate` or `postgres`, for `onlyif` and `skipif`.
    pub(crate) engine: &'static str,
    pub(crate) database: String,
    pub(crate) mode: Mode,
    /// What results were described as, from all files.
    pub(crate) descriptions: Descriptions,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, engine: &'static str, database: &str, mode: Mode) -> Self {
        Self { address, engine, database: database.to_owned(), mode, descriptions: Descriptions::default() }
    }
}

/// Rows are compared as they are: a different blank is a difference.
#[allow(clippy::ptr_arg, reason = "the runner's signature")]
fn exact_validator(_: fn(&String) -> String, actual: &[Vec<String>], expected: &[String]) -> bool {
    actual.len() == expected.len() && actual.iter().zip(expected).all(|(row, line)| row.join(SEPARATOR) == *line)
}

#[allow(clippy::ptr_arg, reason = "the runner's signature")]
fn as_it_is(text: &String) -> String {
    text.clone()
}

/// A schema's name from a file's: the same in both modes, since messages can tell it.
fn schema_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap().to_string_lossy();
    format!("s_{}", stem.replace(['-', '.'], "_"))
}

/// All that went wrong in a file.
pub(crate) async fn run_file(file: PathBuf, target: Target) -> Vec<String> {
    let text = std::fs::read_to_string(&file).unwrap();
    let flags = text.lines().find_map(|line| line.strip_prefix(OWN_SERVER));
    let own = flags.filter(|_| target.engine == "lakegate").map(|flags| {
        let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        Server::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let target = own.as_ref().map_or(target.clone(), |server| Target { address: server.address(), ..target });
    let schema = schema_of(&file);
    if let Err(error) = create_schema(target.address, &target.database, &schema).await {
        return vec![format!("{}: CREATE SCHEMA {schema}: {error}", shown(&file))];
    }
    let (address, engine, mode) = (target.address, target.engine, target.mode);
    let database = target.database.clone();
    let folder = tempfile::Builder::new().prefix("lakegate-suite-files-").tempdir().unwrap();
    let descriptions = target.descriptions.clone();
    let shown_folder = folder.path().display().to_string();
    let mut runner = Runner::new(move || {
        let (database, schema, descriptions) = (database.clone(), schema.clone(), descriptions.clone());
        let folder = shown_folder.clone();
        async move { SqlDriver::connect(address, engine, &database, &schema, mode, descriptions, folder).await }
    });
    runner.add_label(target.mode.label());
    runner.with_validator(exact_validator);
    runner.with_normalizer(as_it_is);
    runner.with_column_validator(strict_column_validator);
    runner.set_var("DATA".to_owned(), crate::files::root().join("tests/data").display().to_string());
    runner.set_var("FOLDER".to_owned(), folder.path().display().to_string());
    if updating() {
        let updated =
            runner.update_test_file(&file, SEPARATOR, exact_validator, as_it_is, strict_column_validator).await;
        return updated.err().map(|error| format!("{}: {error}", shown(&file))).into_iter().collect();
    }
    let records = match sqllogictest::parse_file(&file) {
        Ok(records) => records,
        Err(error) => return vec![error.to_string()],
    };
    let mut failures = Vec::new();
    let mut gaps = Gaps::of_file(&file, &target);
    for record in records {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        let sql = sql_of(&record);
        let done = runner.run_async(record).await;
        match done {
            Err(_) if gaps.expects(&sql, true) => gaps.note(&sql),
            Err(error) => {
                gaps.note(&sql);
                failures.push(format!("[{engine} {}] {}", mode.label(), error.display(false)));
            }
            Ok(_) if gaps.expects(&sql, false) => {
                failures.push(format!(
                    "[{engine} {}] {}: no gap any more, take it out of the list: {sql}",
                    mode.label(),
                    shown(&file)
                ));
            }
            Ok(_) => {}
        }
    }
    if gaps.written() {
        failures.clear();
    }
    runner.shutdown_async().await;
    failures
}

fn sql_of(record: &Record<crate::sql_driver::TypeLetter>) -> String {
    match record {
        Record::Statement { sql, .. } | Record::Query { sql, .. } => sql.clone(),
        _ => String::new(),
    }
}
