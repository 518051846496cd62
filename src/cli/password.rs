//! `password ROLE`: sets a role's verifier in the warehouse, with no server running or beside one.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::{ServeFlags, print_line};
use crate::app;
use crate::auth::scram;
use crate::config::Config;
use crate::error::{Error, Result, SqlState};

#[derive(Args)]
pub(super) struct PasswordFlags {
    /// Name of the role
    role: String,
    #[command(flatten)]
    warehouse: ServeFlags,
}

pub(super) async fn run(flags: PasswordFlags) -> Result<()> {
    let config = Config::load(&flags.warehouse.into())?;
    let password = read_password()?;
    if password.is_empty() {
        return Err(Error::new(SqlState::InvalidPassword, "the password is empty"));
    }
    let verifier = scram::verifier_to_store(&password, scram::ITERATIONS)?;
    let ground = app::ground(&config, crate::observe::Metrics::new()?).await?;
    let name = flags.role.as_str();
    ground
        .catalog
        .update(|document| {
            let Some(role) = document.roles.get_mut(name) else {
                return Err(Error::new(SqlState::UndefinedObject, format!("role \"{name}\" does not exist")));
            };
            role.verifier = Some(verifier.clone());
            Ok(())
        })
        .await?;
    print_line(&format!("password of role \"{name}\" set"));
    Ok(())
}

/// From the terminal without echo, or the first line of standard input.
fn read_password() -> Result<String> {
    let stdin = std::io::stdin();
    let echo = stdin.is_terminal().then(NoEcho::new).flatten();
    if echo.is_some() {
        let mut out = std::io::stderr().lock();
        let _ = write!(out, "Password: ");
        let _ = out.flush();
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    drop(echo);
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Keeps the terminal from showing what is typed until it is dropped.
struct NoEcho(libc::termios);

impl NoEcho {
    fn new() -> Option<Self> {
        let mut settings = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the file descriptor is standard input's and the struct is written before it is read.
        let before = unsafe {
            if libc::tcgetattr(libc::STDIN_FILENO, settings.as_mut_ptr()) != 0 {
                return None;
            }
            settings.assume_init()
        };
        let mut silent = before;
        silent.c_lflag &= !libc::ECHO;
        // SAFETY: as above; the settings are valid ones with one flag less.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &silent) };
        Some(Self(before))
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        // SAFETY: restores what `tcgetattr` gave.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &self.0) };
        let _ = writeln!(std::io::stderr());
    }
}
