//! Roles: `pg_authid` and the views over it. No verifier is ever shown.

use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};

use crate::builtins::tables::rows::{Request, Rows};
use crate::catalog::Role;
use crate::error::{Error, Result, SqlState};

type Row<'a> = (&'a String, &'a Role);

fn roles<'a>(request: &Request<'a>, login_only: bool) -> Vec<Row<'a>> {
    let roles = request.context().catalog.roles.iter();
    roles.filter(|(_, role)| role.login || !login_only).collect()
}

fn valid_until(role: &Role) -> Option<DateTime<Utc>> {
    role.valid_until.as_deref().and_then(|text| DateTime::parse_from_rfc3339(text).ok()).map(|time| time.to_utc())
}

/// The columns that `pg_authid` and `pg_roles` share.
fn attributes<'r, 'i, 'a>(rows: Rows<'r, 'i, Row<'a>>) -> Rows<'r, 'i, Row<'a>> {
    rows.set("oid", |(_, role)| role.oid)
        .set("rolname", |(name, _)| name.as_str())
        .set("rolsuper", |(_, role)| role.superuser)
        .set("rolinherit", |(_, role)| role.inherit)
        .set("rolcreaterole", |(_, role)| role.create_role || role.superuser)
        .set("rolcreatedb", |(_, role)| role.create_database || role.superuser)
        .set("rolcanlogin", |(_, role)| role.login)
        .set("rolreplication", |_| false)
        .set("rolbypassrls", |(_, role)| role.superuser)
        .set("rolconnlimit", |(_, role)| role.connection_limit)
        .set("rolvaliduntil", |(_, role)| valid_until(role))
}

/// 42501 for all but superusers, as PostgreSQL's default privileges have it.
fn require_superuser(request: &Request<'_>, kind: &str) -> Result<()> {
    let context = request.context();
    if context.catalog.roles.get(&context.user).is_some_and(|role| role.superuser) {
        return Ok(());
    }
    let message = format!("permission denied for {kind} {}", request.name());
    Err(Error::new(SqlState::InsufficientPrivilege, message))
}

pub(super) fn pg_authid(request: &Request<'_>) -> Result<RecordBatch> {
    require_superuser(request, "table")?;
    attributes(request.rows(&roles(request, false))).finish()
}

pub(super) fn pg_roles(request: &Request<'_>) -> Result<RecordBatch> {
    attributes(request.rows(&roles(request, false))).set("rolpassword", |_| "********").finish()
}

/// The columns that `pg_shadow` and `pg_user` share.
fn users<'r, 'i, 'a>(rows: Rows<'r, 'i, Row<'a>>) -> Rows<'r, 'i, Row<'a>> {
    rows.set("usename", |(name, _)| name.as_str())
        .set("usesysid", |(_, role)| role.oid)
        .set("usecreatedb", |(_, role)| role.create_database || role.superuser)
        .set("usesuper", |(_, role)| role.superuser)
        .set("userepl", |_| false)
        .set("usebypassrls", |(_, role)| role.superuser)
        .set("valuntil", |(_, role)| valid_until(role))
}

pub(super) fn pg_shadow(request: &Request<'_>) -> Result<RecordBatch> {
    require_superuser(request, "view")?;
    users(request.rows(&roles(request, true))).finish()
}

pub(super) fn pg_user(request: &Request<'_>) -> Result<RecordBatch> {
    users(request.rows(&roles(request, true))).set("passwd", |_| "********").finish()
}
