//! `run SCRIPT.sql`: statement by statement, stopping at the first error. Exit status 0, 1 for an error of SQL, 2 for bad usage.

use std::error::Error as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio_postgres::SimpleQueryMessage;

use super::session::{LocalSession, RunError};
use super::{ServeFlags, print_line, script};
use crate::app;
use crate::config::Config;
use crate::error::{Error, Result, SqlState};
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
        None => Box::pin(run_here(flags.warehouse, &text)).await,
    };
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(failure) => {
            report(&explain(&flags.script, &failure));
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn run_here(warehouse: ServeFlags, text: &str) -> Result<(), Failure> {
    let config = Config::load(&warehouse.into())?;
    start_logging(&config.log)?;
    let service = app::service(&config).await?;
    let ground = std::sync::Arc::clone(service.ground());
    let mut session = LocalSession::open(service, &config.server.superuser, &config.server.database).await?;
    let done = Box::pin(session.run_text(text, print_line)).await;
    app::finish(&ground).await;
    Ok(done?)
}

/// Over the wire, a statement a message: as in this process, each is its own transaction outside BEGIN.
async fn run_there(server: &str, text: &str) -> Result<(), Failure> {
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await?;
    let connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    for statement in crate::sql::parse(text)? {
        let answer = client.simple_query(&statement.text).await;
        let line = super::session::line_of(text, statement.offset);
        let messages = answer.map_err(|error| Failure { line: Some(line), ..Failure::from(error) })?;
        print_line(&tag(statement.statement.kind(), &messages));
    }
    drop(client);
    connection.abort();
    Ok(())
}

/// The driver keeps of a tag only its rows.
fn tag(kind: &str, messages: &[SimpleQueryMessage]) -> String {
    let rows = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
        _ => None,
    });
    let rows = rows.unwrap_or_default();
    match kind {
        "insert" => format!("INSERT 0 {rows}"),
        "select" | "fetch" | "move" => format!("{} {rows}", kind.to_uppercase()),
        "copy_from" | "copy_to" => format!("COPY {rows}"),
        other => other.replace('_', " ").to_uppercase(),
    }
}

/// Why a script stopped, here or on a server.
#[derive(Debug)]
struct Failure {
    /// Where the statement begins; absent when none was reached.
    line: Option<usize>,
    code: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl From<RunError> for Failure {
    fn from(failure: RunError) -> Self {
        let error = &failure.error;
        Self {
            line: failure.statement.as_ref().map(|(_, line)| *line),
            code: error.sqlstate().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(RunError::from(error))
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let (line, source) = (None, error.source().map(ToString::to_string));
        match error.as_db_error() {
            Some(told) => Self {
                line,
                code: told.code().code().to_owned(),
                message: told.message().to_owned(),
                detail: told.detail().map(str::to_owned),
                hint: told.hint().map(str::to_owned),
            },
            None => Self {
                line,
                code: SqlState::ConnectionFailure.code().to_owned(),
                message: error.to_string(),
                detail: source,
                hint: None,
            },
        }
    }
}

fn explain(script: &std::path::Path, failure: &Failure) -> String {
    let place = match failure.line {
        Some(line) => format!("{}:{line}", script.display()),
        None => script.display().to_string(),
    };
    let mut text = format!("{place}: ERROR {}: {}", failure.code, failure.message);
    for (name, told) in [("detail", &failure.detail), ("hint", &failure.hint)] {
        if let Some(told) = told {
            text.push_str(&format!("\n  {name}: {told}"));
        }
    }
    text
}

fn report(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
