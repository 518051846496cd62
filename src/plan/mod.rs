//! `Statement` to plan: names, types and functions resolved by PostgreSQL's rules onto DataFusion's logical plan.
//!
//! ```text
//! relations (async pre-pass: pins each table) ─→ bind (pure, synchronous) ─→ LogicalPlan + OutputColumn + parameter types
//! ```
//! It reads the catalog and pinned tables and never writes. DataFusion's own SQL planner is not used: it would ignore clauses,
//! give Arrow's types for PostgreSQL's, and lose positions.

pub mod bind;
mod change;
pub mod expectation;
mod file_call;
pub mod incremental;
mod kept;
pub mod model;
mod null_safe;
mod parameters;
mod past;
mod profile;
pub mod recorded;
pub mod relations;
pub mod resolve;
pub mod settled;
pub mod typing;
mod unnest;
mod view_reads;
mod violations;

pub use bind::change::BoundChange;
pub use bind::filled::Purpose;
pub use change::{Changing, bind_change, merge_news};
pub use parameters::{
    InsertTarget, Parameters, bind_condition, bind_constants, bind_expectation, bind_insert, bind_query, bind_stored,
    cast_columns, condition_on_rows, constant_value, expectation_on_rows, over_rows, stored_on_rows, type_of_default,
};
pub use past::{Moment, moment_of};
pub use violations::{broken_rows, rule_context};
