//! What keeps bad rows out of tables, and what is expected of them.
//!
//! ```text
//! rows ─→ gate (NOT NULL, CHECK) ─→ the same rows, or the first row's error
//! ```
//! `lake` runs the gate inside its writing pass, `execute` builds it. It knows no SQL text and no storage: conditions come as
//! physical expressions over the batch.

pub mod expectation;
pub mod gate;
pub mod result;

pub use expectation::{
    Expectation, ExpectationOptions, ExpectationRule, ExpectationSeverity, SchemaColumn, ViolationAction,
};
pub use gate::{Gate, GateColumn, RowText, Rule, Violation};
