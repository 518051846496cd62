//! `run SCRIPT.sql`: statement by statement, stopping at the first error. Exit status 0, 1 for an error of SQL, 2 for bad usage.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::session::{LocalSession, RunError};
use super::{ServeFlags, print_line, script};
use crate::app;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::observe::start_logging;

#[derive(Args)]
pub(super) struct RunFlags {
    /// File of SQL statements
    script: PathBuf,
    /// A variable of the script, used as :name, :'name' or :"name"; may be given several times
    #[arg(short = 'v', long = "variable", value_name = "name=value", value_parser = script::parse_assignment)]
    variables: Vec<(String, String)>,
    /// Run on that server instead of in this process
    #[arg(long, value_name = "postgres://…")]
    connect: Option<String>,
    #[command(flatten)]
    warehouse: ServeFlags,
}

pub(super) async fn run(flags: RunFlags) -> Result<ExitCode> {
    let text = match std::fs::read_to_string(&flags.script) {
        Ok(text) => text,
        Err(error) => {
            report(&format!("{}: {error}", flags.script.display()));
            return Ok(ExitCode::from(2));
        }
    };
    let text = script::substitute(&text, &flags.variables.iter().cloned().collect());
    let done = match &flags.connect {
        Some(server) => run_there(server, &text).await,
        None => run_here(flags.warehouse, &text).await,
    };
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(failure) => {
            report(&explain(&flags.script, &failure));
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn run_here(warehouse: ServeFlags, text: &str) -> Result<(), RunError> {
    let config = Config::load(&warehouse.into())?;
    start_logging(&config.log)?;
    let service = app::service(&config).await?;
    let mut session = LocalSession::open(service, &config.server.superuser, &config.server.database).await?;
    for done in session.run_text(text).await? {
        print_line(&done.tag);
    }
    Ok(())
}

/// Over the wire, a statement a message: as in this process, each is its own transaction outside BEGIN.
async fn run_there(server: &str, text: &str) -> Result<(), RunError> {
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await.map_err(wire_error)?;
    let connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    for statement in crate::sql::parse(text)? {
        let answer = client.simple_query(&statement.text).await;
        answer.map_err(|error| RunError {
            error: wire_error(error),
            statement: Some((statement.text.clone(), super::session::line_of(text, statement.offset))),
        })?;
        print_line(statement.statement.kind());
    }
    drop(client);
    connection.abort();
    Ok(())
}

fn wire_error(error: tokio_postgres::Error) -> Error {
    let state = crate::error::SqlState::ConnectionFailure;
    match error.as_db_error() {
        Some(told) => Error::new(state, told.message()).with_detail(format!("SQLSTATE {}.", told.code().code())),
        None => Error::new(state, error.to_string()),
    }
}

fn explain(script: &std::path::Path, failure: &RunError) -> String {
    let error = &failure.error;
    let place = match &failure.statement {
        Some((_, line)) => format!("{}:{line}", script.display()),
        None => script.display().to_string(),
    };
    let mut text = format!("{place}: ERROR {}: {}", error.sqlstate().code(), error.message());
    if let Some(detail) = error.detail() {
        text.push_str(&format!("\n  detail: {detail}"));
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("\n  hint: {hint}"));
    }
    text
}

fn report(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
