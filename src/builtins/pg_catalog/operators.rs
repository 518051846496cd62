//! Operators and casts: `pg_operator`, `pg_cast`.

use arrow::record_batch::RecordBatch;

use super::{lines, number, word};
use crate::builtins::tables::rows::Request;
use crate::catalog::{BOOTSTRAP_ROLE_OID, PG_CATALOG_SCHEMA_OID};
use crate::error::Result;

pub(super) fn pg_operator(request: &Request<'_>) -> Result<RecordBatch> {
    let operators: Vec<Vec<&'static str>> = lines(include_str!("operators.txt")).collect();
    request
        .rows(&operators)
        .set("oid", |words| number::<u32>(words, 0))
        .set("oprname", |words| word(words, 1))
        .set("oprnamespace", |_| PG_CATALOG_SCHEMA_OID)
        .set("oprowner", |_| BOOTSTRAP_ROLE_OID)
        .set("oprkind", |words| word(words, 2))
        .set("oprcanmerge", |words| word(words, 3) == "t")
        .set("oprcanhash", |words| word(words, 4) == "t")
        .set("oprleft", |words| number::<u32>(words, 5))
        .set("oprright", |words| number::<u32>(words, 6))
        .set("oprresult", |words| number::<u32>(words, 7))
        .set("oprcom", |words| number::<u32>(words, 8))
        .set("oprnegate", |words| number::<u32>(words, 9))
        .set("oprcode", |words| number::<u32>(words, 10))
        .finish()
}

pub(super) fn pg_cast(request: &Request<'_>) -> Result<RecordBatch> {
    let casts: Vec<Vec<&'static str>> = lines(include_str!("casts.txt")).collect();
    request
        .rows(&casts)
        .set("oid", |words| number::<u32>(words, 0))
        .set("castsource", |words| number::<u32>(words, 1))
        .set("casttarget", |words| number::<u32>(words, 2))
        .set("castfunc", |words| number::<u32>(words, 3))
        .set("castcontext", |words| word(words, 4))
        .set("castmethod", |words| word(words, 5))
        .finish()
}
