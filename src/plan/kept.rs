//! Views over the server's own logs.

use std::sync::Arc;

use super::relations::{Relation, RelationColumn, Relations, ResolvedView};
use crate::encode::types::PgType;
use crate::error::Result;
use crate::lake::kept::{self, Kept};
use crate::sql;

/// A query over a log, and its columns.
pub(super) type KeptView = (&'static str, &'static [(&'static str, PgType)]);

/// `lakegate.expectation_runs`: a row for each statement that checked a table. Of statements that wrote rows they are counted
/// once, whatever they break; of others the rule counts that most rows break.
const EXPECTATION_RUNS: KeptView = (
    "SELECT run_id, at, \"table\", owner, role, source, table_version, count(*) AS rules, \
     count(*) FILTER (WHERE status = 'passed') AS rules_passed, count(*) FILTER (WHERE status <> 'passed') AS rules_failed, \
     coalesce(max(rows_checked), max(checked)) AS checked, coalesce(max(rows_failed), max(failed)) AS failed, \
     coalesce(max(rows_dropped), 0) AS dropped, coalesce(max(rows_quarantined), 0) AS quarantined, \
     max(files_read) AS files_read, max(files_kept) AS files_kept \
     FROM expectation_results GROUP BY run_id, at, \"table\", owner, role, source, table_version",
    &[
        ("run_id", PgType::TEXT),
        ("at", PgType::TIMESTAMPTZ),
        ("table", PgType::TEXT),
        ("owner", PgType::TEXT),
        ("role", PgType::TEXT),
        ("source", PgType::TEXT),
        ("table_version", PgType::INT8),
        ("rules", PgType::INT8),
        ("rules_passed", PgType::INT8),
        ("rules_failed", PgType::INT8),
        ("checked", PgType::INT8),
        ("failed", PgType::INT8),
        ("dropped", PgType::INT8),
        ("quarantined", PgType::INT8),
        ("files_read", PgType::INT8),
        ("files_kept", PgType::INT8),
    ],
);

/// `lakegate.expectation_metrics`: the numbers that rules computed, as time goes by.
const EXPECTATION_METRICS: KeptView = (
    "SELECT run_id, at, \"table\", rule, value FROM expectation_results WHERE value IS NOT NULL",
    &[
        ("run_id", PgType::TEXT),
        ("at", PgType::TIMESTAMPTZ),
        ("table", PgType::TEXT),
        ("rule", PgType::TEXT),
        ("value", PgType::FLOAT8),
    ],
);

pub(super) fn kept_view(schema: &str, name: &str) -> Option<(Kept, KeptView)> {
    match (schema, name) {
        (kept::SCHEMA, "expectation_runs") => Some((Kept::ExpectationResults, EXPECTATION_RUNS)),
        (kept::SCHEMA, "expectation_metrics") => Some((Kept::ExpectationResults, EXPECTATION_METRICS)),
        _ => None,
    }
}

/// A query over one relation, read as `name`.
pub(super) fn view_over(
    under: &str,
    relation: Relation,
    columns: Vec<RelationColumn>,
    name: &str,
    query: &str,
) -> Result<Relation> {
    let query = Arc::new(sql::parse_query(query)?);
    let mut relations = Relations::default();
    relations.by_name.insert((None, under.to_owned()), relation);
    let (schema, name, relations) = (kept::SCHEMA.to_owned(), name.to_owned(), Arc::new(relations));
    Ok(Relation::View(ResolvedView { schema, name, oid: 0, columns, query, text: "".into(), relations }))
}
