//! `pg_type`: PostgreSQL's types that values can have here, and the row types of relations.

use arrow::record_batch::RecordBatch;

use super::functions::io_function;
use crate::builtins::tables::listing::{ROW_TYPE_BIT, relations};
use crate::builtins::tables::rows::Request;
use crate::catalog::{BOOTSTRAP_ROLE_OID, PG_CATALOG_SCHEMA_OID};
use crate::encode::types::{TypeInfo, all_types, oid, type_info};
use crate::error::Result;

/// OIDs of PostgreSQL's collations `default` and `C`.
const DEFAULT_COLLATION: u32 = 100;
const C_COLLATION: u32 = 950;

/// Types of columns of catalogs that are always empty: no value of them exists.
const OF_EMPTY_CATALOGS: [TypeInfo; 4] = [
    statistics(3361, "pg_ndistinct", ["pg_ndistinct_in", "pg_ndistinct_out", "pg_ndistinct_recv", "pg_ndistinct_send"]),
    statistics(
        3402,
        "pg_dependencies",
        ["pg_dependencies_in", "pg_dependencies_out", "pg_dependencies_recv", "pg_dependencies_send"],
    ),
    statistics(5017, "pg_mcv_list", ["pg_mcv_list_in", "pg_mcv_list_out", "pg_mcv_list_recv", "pg_mcv_list_send"]),
    TypeInfo {
        typlen: 8,
        typcategory: 'U',
        typalign: 'd',
        typstorage: 'p',
        ..statistics(3220, "pg_lsn", ["pg_lsn_in", "pg_lsn_out", "pg_lsn_recv", "pg_lsn_send"])
    },
];

const fn statistics(oid: u32, name: &'static str, [input, output, receive, send]: [&'static str; 4]) -> TypeInfo {
    TypeInfo {
        oid,
        name,
        typlen: -1,
        typbyval: false,
        typtype: 'b',
        typcategory: 'Z',
        typispreferred: false,
        typalign: 'i',
        typstorage: 'x',
        typarray: 0,
        typelem: 0,
        typinput: input,
        typoutput: output,
        typreceive: receive,
        typsend: send,
    }
}

fn built_in() -> impl Iterator<Item = &'static TypeInfo> {
    all_types().iter().chain(&OF_EMPTY_CATALOGS)
}

/// The built-in type of that OID.
pub(super) fn find(type_oid: u32) -> Option<&'static TypeInfo> {
    type_info(type_oid).or_else(|| OF_EMPTY_CATALOGS.iter().find(|info| info.oid == type_oid))
}

/// The built-in type's name; empty for a type that is none of them.
pub(in crate::builtins) fn type_name(type_oid: u32) -> &'static str {
    find(type_oid).map_or("", |info| info.name)
}

/// `typcollation` and `attcollation`: 0 for types that are not text, an array has its element's.
pub(super) fn collation(type_oid: u32) -> u32 {
    match type_oid {
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::PG_NODE_TREE => DEFAULT_COLLATION,
        3361 | 3402 | 5017 => DEFAULT_COLLATION,
        oid::NAME => C_COLLATION,
        other => find(other).filter(|info| info.typcategory == 'A').map_or(0, |array| collation(array.typelem)),
    }
}

/// `typmodin` or `typmodout` of a type that takes a modifier; an array has its element's.
fn modifier_function(type_oid: u32, suffix: &str) -> u32 {
    match type_oid {
        oid::BPCHAR
        | oid::VARCHAR
        | oid::NUMERIC
        | oid::TIME
        | oid::TIMETZ
        | oid::TIMESTAMP
        | oid::TIMESTAMPTZ
        | oid::INTERVAL => io_function(&format!("{}{suffix}", type_name(type_oid))),
        other => {
            let array = find(other).filter(|info| info.typcategory == 'A');
            array.map_or(0, |array| modifier_function(array.typelem, suffix))
        }
    }
}

fn subscript_function(info: &TypeInfo) -> u32 {
    match info.typcategory {
        'A' => io_function("array_subscript_handler"),
        _ if info.oid == oid::JSONB => io_function("jsonb_subscript_handler"),
        _ if info.oid == oid::NAME => io_function("raw_array_subscript_handler"),
        _ => 0,
    }
}

/// A row to be shown: a built-in type or a relation's row type.
struct Shown<'a> {
    info: TypeInfo,
    name: &'a str,
    schema: u32,
    owner: u32,
    relation: u32,
}

pub(super) fn pg_type(request: &Request<'_>) -> Result<RecordBatch> {
    let relations = relations(request.context());
    let built_in = built_in().map(|info| Shown {
        info: *info,
        name: info.name,
        schema: PG_CATALOG_SCHEMA_OID,
        owner: BOOTSTRAP_ROLE_OID,
        relation: 0,
    });
    let of_relations = relations.iter().map(|relation| Shown {
        info: row_type(relation.oid | ROW_TYPE_BIT),
        name: relation.name,
        schema: relation.schema_oid,
        owner: relation.owner,
        relation: relation.oid,
    });
    let types: Vec<Shown<'_>> = built_in.chain(of_relations).collect();
    request
        .rows(&types)
        .set("oid", |shown| shown.info.oid)
        .set("typname", |shown| shown.name)
        .set("typnamespace", |shown| shown.schema)
        .set("typowner", |shown| shown.owner)
        .set("typlen", |shown| shown.info.typlen)
        .set("typbyval", |shown| shown.info.typbyval)
        .set("typtype", |shown| shown.info.typtype)
        .set("typcategory", |shown| shown.info.typcategory)
        .set("typispreferred", |shown| shown.info.typispreferred)
        .set("typisdefined", |_| true)
        .set("typdelim", |_| ',')
        .set("typrelid", |shown| shown.relation)
        .set("typsubscript", |shown| subscript_function(&shown.info))
        .set("typelem", |shown| shown.info.typelem)
        .set("typarray", |shown| find(shown.info.typarray).map_or(0, |array| array.oid))
        .set("typinput", |shown| io_function(shown.info.typinput))
        .set("typoutput", |shown| io_function(shown.info.typoutput))
        .set("typreceive", |shown| io_function(shown.info.typreceive))
        .set("typsend", |shown| io_function(shown.info.typsend))
        .set("typmodin", |shown| modifier_function(shown.info.oid, "typmodin"))
        .set("typmodout", |shown| modifier_function(shown.info.oid, "typmodout"))
        .set("typalign", |shown| shown.info.typalign)
        .set("typstorage", |shown| shown.info.typstorage)
        .set("typtypmod", |_| -1)
        .set("typcollation", |shown| collation(shown.info.oid))
        .finish()
}

/// A relation's row type: read and written as `record`, but composite.
fn row_type(type_oid: u32) -> TypeInfo {
    let record = ["record_in", "record_out", "record_recv", "record_send"];
    TypeInfo { typtype: 'c', typcategory: 'C', typalign: 'd', ..statistics(type_oid, "", record) }
}
