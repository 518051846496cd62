//! Privileges: an owner has all of them on its relations; everybody may read the system's.

use arrow::record_batch::RecordBatch;

use super::{accessible, yes_or_no};
use crate::builtins::tables::listing::{Listed, has_role, role_name};
use crate::builtins::tables::rows::Request;
use crate::error::Result;

const OF_OWNER: [&str; 7] = ["INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];
const OF_COLUMNS: [&str; 4] = ["INSERT", "SELECT", "UPDATE", "REFERENCES"];

/// One privilege of an owner on its relation, or of everybody on one of the system's.
struct Grant<'a> {
    relation: &'a Listed<'a>,
    privilege: &'static str,
    owner: String,
}

impl Grant<'_> {
    fn grantee(&self) -> String {
        if self.relation.is_system() { "PUBLIC".to_owned() } else { self.owner.clone() }
    }
}

fn grants<'a>(request: &Request<'_>, relations: &'a [Listed<'a>], of_owner: &[&'static str]) -> Vec<Grant<'a>> {
    let mut grants = Vec::new();
    for relation in relations {
        let privileges = if relation.is_system() { &["SELECT"] } else { of_owner };
        for privilege in privileges {
            grants.push(Grant { relation, privilege, owner: role_name(request.context(), relation.owner) });
        }
    }
    grants
}

/// `table_privileges`, and without what everybody has `role_table_grants`.
pub(super) fn table_privileges(request: &Request<'_>, with_public: bool) -> Result<RecordBatch> {
    let database = request.context().catalog.database.name.as_str();
    let mut relations = accessible(request.context());
    relations.retain(|relation| with_public || !relation.is_system());
    let grants = grants(request, &relations, &OF_OWNER);
    request
        .rows(&grants)
        .set("grantor", |grant| &grant.owner)
        .set("grantee", Grant::grantee)
        .set("table_catalog", |_| database)
        .set("table_schema", |grant| grant.relation.schema)
        .set("table_name", |grant| grant.relation.name)
        .set("privilege_type", |grant| grant.privilege)
        .set("is_grantable", |grant| yes_or_no(!grant.relation.is_system()))
        .set("with_hierarchy", |grant| yes_or_no(grant.privilege == "SELECT"))
        .finish()
}

pub(super) fn column_privileges(request: &Request<'_>) -> Result<RecordBatch> {
    let database = request.context().catalog.database.name.as_str();
    let mut relations = accessible(request.context());
    relations.retain(|relation| request.name() == "column_privileges" || !relation.is_system());
    let grants = grants(request, &relations, &OF_COLUMNS);
    let of_columns: Vec<(&Grant<'_>, &str)> =
        grants.iter().flat_map(|grant| grant.relation.columns.iter().map(move |column| (grant, column.name))).collect();
    request
        .rows(&of_columns)
        .set("grantor", |(grant, _)| &grant.owner)
        .set("grantee", |(grant, _)| grant.grantee())
        .set("table_catalog", |_| database)
        .set("table_schema", |(grant, _)| grant.relation.schema)
        .set("table_name", |(grant, _)| grant.relation.name)
        .set("column_name", |(_, column)| *column)
        .set("privilege_type", |(grant, _)| grant.privilege)
        .set("is_grantable", |(grant, _)| yes_or_no(!grant.relation.is_system()))
        .finish()
}

/// Roles whose privileges the current one has: its own, and for a superuser all.
pub(super) fn enabled_roles(request: &Request<'_>) -> Result<RecordBatch> {
    let context = request.context();
    let roles = context.catalog.roles.iter();
    let enabled: Vec<&String> = roles.filter(|(_, role)| has_role(context, role.oid)).map(|(name, _)| name).collect();
    request.rows(&enabled).set("role_name", |name| name.as_str()).finish()
}
