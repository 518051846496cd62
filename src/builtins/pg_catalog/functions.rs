//! `pg_proc` and `pg_aggregate`: the functions that can be called, and the types' input and output functions.

use arrow::record_batch::RecordBatch;

use super::fixed::INTERNAL_LANGUAGE;
use super::{lines, number, word};
use crate::builtins::tables::rows::Request;
use crate::catalog::{BOOTSTRAP_ROLE_OID, PG_CATALOG_SCHEMA_OID};
use crate::error::Result;

/// A function as `pg_proc` lists it.
#[derive(Debug, Clone)]
struct Listed {
    oid: u32,
    name: &'static str,
    arguments: Vec<u32>,
    returns: u32,
    volatility: &'static str,
    strict: bool,
}

/// Input and output functions of types; their OIDs are what `pg_type` refers to.
fn of_types() -> impl Iterator<Item = Listed> {
    lines(include_str!("io_functions.txt")).map(|words| Listed {
        oid: number(&words, 0),
        name: word(&words, 1),
        arguments: word(&words, 4).split(',').filter_map(|oid| oid.parse().ok()).collect(),
        returns: number(&words, 2),
        volatility: word(&words, 3),
        strict: true,
    })
}

pub(super) fn pg_proc(request: &Request<'_>) -> Result<RecordBatch> {
    let functions: Vec<Listed> = of_types().collect();
    request
        .rows(&functions)
        .set("oid", |function| function.oid)
        .set("proname", |function| function.name)
        .set("pronamespace", |_| PG_CATALOG_SCHEMA_OID)
        .set("proowner", |_| BOOTSTRAP_ROLE_OID)
        .set("prolang", |_| INTERNAL_LANGUAGE)
        .set("procost", |_| 1.0)
        .set("prokind", |_| 'f')
        .set("proisstrict", |function| function.strict)
        .set("provolatile", |function| function.volatility)
        .set("proparallel", |_| 's')
        .set("pronargs", |function| function.arguments.len() as i64)
        .set("prorettype", |function| function.returns)
        .set("proargtypes", |function| function.arguments.clone())
        .set("prosrc", |function| function.name)
        .finish()
}

pub(super) fn pg_aggregate(request: &Request<'_>) -> Result<RecordBatch> {
    request.empty()
}
