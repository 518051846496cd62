//! `information_schema`: the SQL standard's view of relations, columns, constraints and privileges.
//!
//! As in PostgreSQL, a role sees what it owns or may use. A view that is not named below has no rows, because what it
//! lists does not exist in Lakegate: domains, triggers, foreign tables, user mappings and so on.

mod columns;
mod constraints;
mod general;
mod privileges;
mod relations;
mod routines;

use arrow::record_batch::RecordBatch;

use super::Context;
use super::tables::listing::{self, Listed};
use super::tables::rows::Request;
use crate::error::Result;

pub(super) fn rows(request: &Request<'_>) -> Result<RecordBatch> {
    match request.name() {
        "character_sets" => general::character_sets(request),
        "check_constraints" => constraints::check_constraints(request),
        "collations" => general::collations(request),
        "column_privileges" | "role_column_grants" => privileges::column_privileges(request),
        "columns" => columns::columns(request),
        "constraint_column_usage" => constraints::constraint_column_usage(request),
        "enabled_roles" => privileges::enabled_roles(request),
        "information_schema_catalog_name" => general::catalog_name(request),
        "parameters" => routines::parameters(request),
        "role_table_grants" => privileges::table_privileges(request, false),
        "routines" => routines::routines(request),
        "schemata" => relations::schemata(request),
        "table_constraints" => constraints::table_constraints(request),
        "table_privileges" => privileges::table_privileges(request, true),
        "tables" => relations::tables(request),
        "view_table_usage" => relations::view_table_usage(request),
        "views" => relations::views(request),
        _ => request.empty(),
    }
}

/// The relations that this role sees.
fn accessible(context: &Context) -> Vec<Listed<'_>> {
    // The standard knows no materialized views, and temporary tables only to their session.
    let is_listed = |relation: &Listed<'_>| {
        let foreign = relation.schema.starts_with("pg_temp_") && context.temporary.as_deref() != Some(relation.schema);
        relation.kind != 'm' && !foreign && relation.is_accessible(context)
    };
    listing::relations(context).into_iter().filter(is_listed).collect()
}

/// The standard's word for a truth value.
fn yes_or_no(value: bool) -> &'static str {
    if value { "YES" } else { "NO" }
}
