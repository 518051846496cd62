//! What the log is told of errors that clients get.

use std::error::Error as _;

use tracing::{debug, error, info};

use crate::error::{Error, Severity, SqlState};

/// Logs an error that goes to a client: a bug of ours for somebody to mend, the end of a connection, or a user's error.
pub fn log(error: &Error) {
    let code = error.sqlstate().code();
    let message = error.message();
    if error.sqlstate() == SqlState::InternalError {
        let source = error.source().map(ToString::to_string);
        error!(sqlstate = code, message, detail = error.detail(), source, "internal error");
    } else if error.level() == Severity::Fatal {
        info!(sqlstate = code, message, detail = error.detail(), "connection ended by an error");
    } else {
        debug!(sqlstate = code, message, detail = error.detail(), "statement failed");
    }
}
