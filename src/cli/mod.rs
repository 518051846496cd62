//! The command line: `serve`, `demo`, `run`, `check`, `password`. It reads arguments and speaks to the terminal; `app` builds.

mod demo;
mod password;
mod run;
mod script;
mod serve;
mod session;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Flags};
use crate::error::{Error, Result};

#[derive(Parser)]
#[command(name = "lakegate", version, about = "A lake of Delta tables that looks like PostgreSQL")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a warehouse over the PostgreSQL protocol
    Serve(ServeFlags),
    /// The same, with the flights pipeline loaded into an empty warehouse first
    Demo(ServeFlags),
    /// Run a script of SQL: in this process, or on a server with --connect
    Run(run::RunFlags),
    /// Check a configuration file
    Check(CheckFlags),
    /// Set a role's password, read from the terminal or standard input
    Password(password::PasswordFlags),
}

/// Flags that say which warehouse, and how to serve it.
#[derive(Args, Clone, Default)]
struct ServeFlags {
    /// Path or URL of the warehouse (file, s3://, gs://, az://)
    #[arg(long, value_name = "PATH|URL")]
    warehouse: Option<String>,
    /// Address and port of the PostgreSQL protocol
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Address and port of /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<String>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A key of the configuration; may be given several times
    #[arg(long, value_name = "key=value")]
    set: Vec<String>,
}

#[derive(Args)]
struct CheckFlags {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl From<ServeFlags> for Flags {
    fn from(flags: ServeFlags) -> Self {
        let ServeFlags { warehouse, listen, http, config, set } = flags;
        Self { config, warehouse, listen, http, set }
    }
}

/// Parses the arguments and runs the command. The exit status is 0 for success, 1 for an error, 2 for bad arguments.
pub fn main() -> ExitCode {
    let command = match CommandLine::try_parse() {
        Ok(line) => line.command,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Error::from(error)),
    };
    let done = runtime.block_on(async {
        match command {
            Command::Serve(flags) => serve::serve(flags.into()).await,
            Command::Demo(flags) => Box::pin(serve::demo(flags.into())).await,
            Command::Run(flags) => return Box::pin(run::run(flags)).await,
            Command::Check(flags) => check(&flags),
            Command::Password(flags) => password::run(flags).await,
        }
        .map(|()| ExitCode::SUCCESS)
    });
    // What still runs on the blocking pool must not hold up the end of the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done.unwrap_or_else(|error| failed(&error))
}

/// The threads' stack. Pages that were never touched cost nothing; expressions of thousands of operators, which the engine
/// walks level by level, need much of it.
const STACK_BYTES: usize = 64 * 1024 * 1024;

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lakegate")
        .thread_stack_size(STACK_BYTES)
        .build()
}

fn check(flags: &CheckFlags) -> Result<()> {
    let config = Config::load(&Flags { config: Some(flags.config.clone()), ..Flags::default() })?;
    crate::app::check(&config)?;
    print_line(&format!("{} is valid", flags.config.display()));
    Ok(())
}

fn failed(error: &Error) -> ExitCode {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "lakegate: {}", error.message());
    if let Some(detail) = error.detail() {
        let _ = writeln!(out, "  {detail}");
    }
    if let Some(hint) = error.hint() {
        let _ = writeln!(out, "  hint: {hint}");
    }
    ExitCode::FAILURE
}

/// A line on standard output: for whoever started the command, not for the log.
fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
