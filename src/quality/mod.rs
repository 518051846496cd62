//! What keeps bad rows out of tables, and what is expected of them.
//!
//! ```text
//! rows ─→ watch (expectations) ─→ gate (NOT NULL, CHECK) ─→ the rows that stay, or the first row's error
//!              └→ rows for quarantine, a tally for each rule
//! ```
//! `lake` runs the gate inside its writing pass, `execute` builds it. It knows no SQL text and no storage: conditions come as
//! physical expressions over the batch.

pub mod expectation;
pub mod gate;
pub mod keys;
pub mod profile;
pub mod proof;
pub mod result;
pub mod suggest;
pub mod watch;
pub mod witness;

pub use expectation::{
    Expectation, ExpectationOptions, ExpectationRule, ExpectationSeverity, RenamedColumn, SchemaColumn, ViolationAction,
};
pub use gate::{Gate, GateColumn, RowText, Rule, Violation};
pub use watch::{Quarantine, QuarantinedRows, RowRule, Watch, is_of_value};
