//! `pg_catalog`: PostgreSQL's catalogs with the rows that are true here.
//!
//! A table that is not named below has no rows, because what it lists does not exist in Lakegate: indexes, triggers,
//! sequences, enumerations, extensions, publications and so on.

mod constraints;
mod databases;
mod fixed;
mod functions;
mod operators;
mod relations;
mod roles;
mod server;
mod types;

use arrow::record_batch::RecordBatch;

use super::tables::rows::Request;
use crate::error::Result;
pub(super) use functions::{ListedFunction, listed_functions};
pub(super) use types::type_name;

pub(super) fn rows(request: &Request<'_>) -> Result<RecordBatch> {
    match request.name() {
        "pg_aggregate" => functions::pg_aggregate(request),
        "pg_am" => fixed::pg_am(request),
        "pg_attrdef" => relations::pg_attrdef(request),
        "pg_attribute" => relations::pg_attribute(request),
        "pg_authid" => roles::pg_authid(request),
        "pg_cast" => operators::pg_cast(request),
        "pg_class" => relations::pg_class(request),
        "pg_collation" => fixed::pg_collation(request),
        "pg_constraint" => constraints::pg_constraint(request),
        "pg_cursors" => server::pg_cursors(request),
        "pg_database" => databases::pg_database(request),
        "pg_depend" => relations::pg_depend(request),
        "pg_description" => relations::pg_description(request),
        "pg_language" => fixed::pg_language(request),
        "pg_matviews" => relations::pg_matviews(request),
        "pg_namespace" => relations::pg_namespace(request),
        "pg_operator" => operators::pg_operator(request),
        "pg_prepared_statements" => server::pg_prepared_statements(request),
        "pg_proc" => functions::pg_proc(request),
        "pg_rewrite" => relations::pg_rewrite(request),
        "pg_roles" => roles::pg_roles(request),
        "pg_settings" => server::pg_settings(request),
        "pg_shadow" => roles::pg_shadow(request),
        "pg_stat_activity" => server::pg_stat_activity(request),
        "pg_stat_database" => databases::pg_stat_database(request),
        "pg_stat_all_tables" => relations::pg_stat_tables(request, |_| true),
        "pg_stat_sys_tables" => relations::pg_stat_tables(request, |relation| relation.is_system()),
        "pg_stat_user_tables" => relations::pg_stat_tables(request, |relation| !relation.is_system()),
        "pg_tables" => relations::pg_tables(request),
        "pg_tablespace" => databases::pg_tablespace(request),
        "pg_timezone_names" => server::pg_timezone_names(request),
        "pg_type" => types::pg_type(request),
        "pg_user" => roles::pg_user(request),
        "pg_views" => relations::pg_views(request),
        _ => request.empty(),
    }
}

/// The lines of an embedded table whose first line is a comment, each as words.
fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with("# ")).map(|line| line.split(' ').collect())
}

/// A word of an embedded table as a number; 0 where there is none (a test sees to that).
fn number<N: std::str::FromStr + Default>(words: &[&str], at: usize) -> N {
    words.get(at).and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// A word of an embedded table.
fn word<'a>(words: &[&'a str], at: usize) -> &'a str {
    words.get(at).copied().unwrap_or_default()
}
