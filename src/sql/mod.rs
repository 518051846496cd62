//! SQL text to [`Statement`]: sqlparser's PostgreSQL dialect plus our grammar, one file per extension.
//!
//! Pure: no I/O, no catalog, no panic, whatever the text. `parse` is the one entry. What parses but has no meaning here
//! (a clause that nobody would honour) is refused here with 0A000, the clause's name and its position.
//! Called by `query`; the syntax tree goes to `plan` and `execute`.

pub mod statement;

pub use statement::*;
