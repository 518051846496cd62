//! The database's name, character set and collations.

use arrow::record_batch::RecordBatch;

use crate::builtins::tables::rows::Request;
use crate::error::Result;

pub(super) fn catalog_name(request: &Request<'_>) -> Result<RecordBatch> {
    request.rows(&[&request.context().catalog.database.name]).set("catalog_name", |name| name.as_str()).finish()
}

pub(super) fn character_sets(request: &Request<'_>) -> Result<RecordBatch> {
    request
        .rows(&[&request.context().catalog.database.name])
        .set("character_set_name", |_| "UTF8")
        .set("character_repertoire", |_| "UCS")
        .set("form_of_use", |_| "UTF8")
        .set("default_collate_catalog", |name| name.as_str())
        .set("default_collate_schema", |_| "pg_catalog")
        .set("default_collate_name", |_| "C")
        .finish()
}

pub(super) fn collations(request: &Request<'_>) -> Result<RecordBatch> {
    let database = &request.context().catalog.database.name;
    request
        .rows(&["default", "C", "POSIX", "ucs_basic"])
        .set("collation_catalog", |_| database.clone())
        .set("collation_schema", |_| "pg_catalog")
        .set("collation_name", |name| *name)
        .set("pad_attribute", |_| "NO PAD")
        .finish()
}
