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

/// The built-in type's name; empty for a type that is none of them.
pub(in crate::builtins) fn type_name(type_oid: u32) -> &'static str {
    type_info(type_oid).map_or("", |info| info.name)
}

/// `typcollation` and `attcollation`: 0 for types that are not text, an array has its element's.
pub(super) fn collation(type_oid: u32) -> u32 {
    match type_oid {
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::PG_NODE_TREE => DEFAULT_COLLATION,
        3361 | 3402 | 5017 => DEFAULT_COLLATION,
        oid::NAME => C_COLLATION,
        other => type_info(other).filter(|info| info.typcategory == 'A').map_or(0, |array| collation(array.typelem)),
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
            let array = type_info(other).filter(|info| info.typcategory == 'A');
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
    let built_in = all_types().iter().map(|info| Shown {
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
        .set("typarray", |shown| type_info(shown.info.typarray).map_or(0, |array| array.oid))
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
    TypeInfo {
        oid: type_oid,
        name: "",
        typlen: -1,
        typbyval: false,
        typtype: 'c',
        typcategory: 'C',
        typispreferred: false,
        typalign: 'd',
        typstorage: 'x',
        typarray: 0,
        typelem: 0,
        typinput: "record_in",
        typoutput: "record_out",
        typreceive: "record_recv",
        typsend: "record_send",
    }
}
