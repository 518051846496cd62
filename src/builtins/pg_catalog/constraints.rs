//! `pg_constraint`: CHECK constraints. There are no keys; NOT NULL is a property of columns, as in PostgreSQL up to 17.

use arrow::record_batch::RecordBatch;

use crate::builtins::tables::listing::{checks, relations};
use crate::builtins::tables::rows::Request;
use crate::error::Result;

pub(super) fn pg_constraint(request: &Request<'_>) -> Result<RecordBatch> {
    let relations = relations(request.context());
    let checks = checks(&relations);
    request
        .rows(&checks)
        .set("oid", |listed| listed.check.oid)
        .set("conname", |listed| &listed.check.name)
        .set("connamespace", |listed| listed.relation.schema_oid)
        .set("contype", |_| 'c')
        .set("convalidated", |_| true)
        .set("conrelid", |listed| listed.relation.oid)
        .set("confupdtype", |_| ' ')
        .set("confdeltype", |_| ' ')
        .set("confmatchtype", |_| ' ')
        .set("conislocal", |_| true)
        .set("conkey", |listed| listed.columns.iter().map(|column| column.number).collect::<Vec<i16>>())
        .set("conbin", |listed| &listed.check.expression)
        .finish()
}
