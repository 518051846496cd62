//! The binder over tables in memory: queries are bound, run, and compared with PostgreSQL's answers.

mod copies;
mod errors;
mod fixture;
mod inserts;
mod parameters;
mod results;
mod tpch;
