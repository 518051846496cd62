//! What the server tells its operators: log lines and metrics. No globals but the process's one log subscriber.
//!
//! SQL text and secrets are never logged at INFO or above.

mod logging;
mod metrics;
mod names;

pub use logging::start_logging;
pub use metrics::{CopyDirection, Metrics};
pub use names::Source;
