//! What the server tells its operators: log lines and metrics. No globals but the process's one log subscriber.
//!
//! Secrets are never logged at INFO or above, SQL text only where `log_statement` or `log_min_duration_statement` ask for it.

mod logging;
mod metrics;
mod names;

pub use logging::start_logging;
pub use metrics::{CopyDirection, ExpectationCounts, Metrics};
pub use names::Source;
