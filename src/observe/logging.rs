//! Log lines on standard error, as text or JSON.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

use crate::config::{LogConfig, LogFormat};
use crate::error::{Error, Result, SqlState};

/// Starts logging for the whole process. F0000 for a filter that cannot be read; a second call is an error.
pub fn start_logging(config: &LogConfig) -> Result<()> {
    let lines = SubscriberBuilder::default()
        .with_env_filter(filter(&config.filter)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let started = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
    };
    started.map_err(|error| Error::internal(format!("could not start logging: {error}")))
}

fn filter(directives: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(directives).map_err(|error| {
        Error::new(SqlState::ConfigFileError, format!("invalid value for configuration key \"log.filter\": {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        assert!(filter("info,lakegate=debug").is_ok());
        assert_eq!(filter("lakegate=loud").unwrap_err().sqlstate(), SqlState::ConfigFileError);
    }
}
