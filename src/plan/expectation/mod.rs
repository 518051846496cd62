//! Rules of data quality as queries over their table: what the one scan computes for each, the rules that need a query of
//! their own, and the rows that break a rule.
//!
//! ```text
//! ExpectationRule ─ asked ─┬ Scan: items of one SELECT for all rules ─┐
//!                          ├ Query: groups, joins                    ├─ outcome ─→ RuleResult
//!                          └ Schema: the table's definition          ┘
//! ```
//! Pure: trees and texts. `execute::expectation` resolves, runs and records them.

pub mod anomaly;
mod asked;
mod definition;
pub mod parts;
mod tree;
mod violations;
mod witnessed;

pub use asked::{Asked, Condition, Counts, RowItems, ScanItems, asked, rows_passed};
pub(crate) use definition::written;
pub use definition::{check_condition, own_relations};
pub use tree::{count_of_rows, quoted, relation_text, select};
pub use violations::violations;
pub use witnessed::Witnessed;
