//! Who may come in and how they prove it: host rules, SCRAM, client certificates. Pure: no I/O, no clock, no catalog.
//!
//! ```text
//! host rules ─→ method ─┬ trust, reject
//!                       ├ scram-sha-256 ─→ scram::Exchange against the role's verifier
//!                       └ cert ─→ certificate::common_name of the client's certificate
//! ```
//! `protocol` drives it with messages, `execute` makes verifiers for CREATE ROLE, `app` asks [`check_exposure`].
//! What a role may do once it is in is not decided here.

pub mod certificate;
mod exposure;
pub mod host_rules;
pub mod scram;

pub use exposure::check_exposure;
pub use host_rules::{Address, Attempt, Connection, HostRules, Method, Names, Rule};
