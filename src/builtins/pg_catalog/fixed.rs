//! What is the same in every warehouse: access methods, collations, languages.

use arrow::record_batch::RecordBatch;

use crate::builtins::tables::rows::Request;
use crate::catalog::{BOOTSTRAP_ROLE_OID, PG_CATALOG_SCHEMA_OID};
use crate::error::Result;

/// OID of the access method of all tables, in the place of PostgreSQL's `heap`.
pub(super) const DELTA_ACCESS_METHOD: u32 = 2;

/// OID of the language of built-in functions.
pub(super) const INTERNAL_LANGUAGE: u32 = 12;

pub(super) fn pg_am(request: &Request<'_>) -> Result<RecordBatch> {
    request
        .rows(&[(DELTA_ACCESS_METHOD, "delta")])
        .set("oid", |(oid, _)| *oid)
        .set("amname", |(_, name)| *name)
        .set("amtype", |_| 't')
        .finish()
}

pub(super) fn pg_collation(request: &Request<'_>) -> Result<RecordBatch> {
    // OID, name, provider, encoding, locale. Text is compared by its bytes, whatever the name.
    let collations = [
        (100_u32, "default", 'd', -1, None),
        (950, "C", 'c', -1, Some("C")),
        (951, "POSIX", 'c', -1, Some("POSIX")),
        (962, "ucs_basic", 'c', 6, Some("C")),
    ];
    request
        .rows(&collations)
        .set("oid", |row| row.0)
        .set("collname", |row| row.1)
        .set("collnamespace", |_| PG_CATALOG_SCHEMA_OID)
        .set("collowner", |_| BOOTSTRAP_ROLE_OID)
        .set("collprovider", |row| row.2)
        .set("collisdeterministic", |_| true)
        .set("collencoding", |row| row.3)
        .set("collcollate", |row| row.4)
        .set("collctype", |row| row.4)
        .finish()
}

pub(super) fn pg_language(request: &Request<'_>) -> Result<RecordBatch> {
    request
        .rows(&[(INTERNAL_LANGUAGE, "internal")])
        .set("oid", |(oid, _)| *oid)
        .set("lanname", |(_, name)| *name)
        .set("lanowner", |_| BOOTSTRAP_ROLE_OID)
        .finish()
}
