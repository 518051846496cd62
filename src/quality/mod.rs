//! What keeps bad rows out of tables.
//!
//! ```text
//! rows ─→ gate (NOT NULL, CHECK) ─→ the same rows, or the first row's error
//! ```
//! `lake` runs the gate inside its writing pass, `execute` builds it. It knows no SQL text and no storage: conditions come as
//! physical expressions over the batch.

pub mod gate;
pub mod profile;
pub mod suggest;

pub use gate::{Gate, GateColumn, RowText, Rule, Violation};
