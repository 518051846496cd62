//! The one database of a warehouse: `pg_database`, `pg_stat_database`, `pg_tablespace`.

use arrow::record_batch::RecordBatch;

use crate::builtins::tables::rows::Request;
use crate::catalog::BOOTSTRAP_ROLE_OID;
use crate::error::Result;

const DEFAULT_TABLESPACE: u32 = 1663;

/// PostgreSQL's number of UTF8.
const UTF8: i32 = 6;

pub(super) fn pg_database(request: &Request<'_>) -> Result<RecordBatch> {
    let database = &request.context().catalog.database;
    request
        .rows(std::slice::from_ref(database))
        .set("oid", |database| database.oid)
        .set("datname", |database| &database.name)
        .set("datdba", |database| database.owner)
        .set("encoding", |_| UTF8)
        .set("datlocprovider", |_| 'c')
        .set("datallowconn", |_| true)
        .set("datconnlimit", |_| -1)
        .set("dattablespace", |_| DEFAULT_TABLESPACE)
        .set("datcollate", |_| "C")
        .set("datctype", |_| "C.UTF-8")
        .finish()
}

pub(super) fn pg_stat_database(request: &Request<'_>) -> Result<RecordBatch> {
    let database = &request.context().catalog.database;
    let sessions = request.context().session.activity().len() as i64;
    request
        .rows(std::slice::from_ref(database))
        .set("datid", |database| database.oid)
        .set("datname", |database| &database.name)
        .set("numbackends", |_| sessions)
        .finish()
}

pub(super) fn pg_tablespace(request: &Request<'_>) -> Result<RecordBatch> {
    request
        .rows(&[(DEFAULT_TABLESPACE, "pg_default"), (1664, "pg_global")])
        .set("oid", |(oid, _)| *oid)
        .set("spcname", |(_, name)| *name)
        .set("spcowner", |_| BOOTSTRAP_ROLE_OID)
        .finish()
}
