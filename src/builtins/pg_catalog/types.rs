//! `pg_type`: PostgreSQL's types that values can have here, and the row types of relations.

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow::record_batch::RecordBatch;

use super::{lines, number, word};
use crate::builtins::tables::listing::{ROW_TYPE_BIT, relations};
use crate::builtins::tables::rows::Request;
use crate::catalog::{BOOTSTRAP_ROLE_OID, PG_CATALOG_SCHEMA_OID};
use crate::encode::types::oid;
use crate::error::Result;

/// One row of `pg_type`.
#[derive(Debug, Clone)]
pub(super) struct TypeRow {
    pub oid: u32,
    name: &'static str,
    pub length: i16,
    pub by_value: bool,
    kind: char,
    category: char,
    preferred: bool,
    element: u32,
    array: u32,
    /// typinput, typoutput, typreceive, typsend, typmodin, typmodout.
    functions: [u32; 6],
    pub alignment: char,
    pub storage: char,
    pub collation: u32,
}

static TYPES: LazyLock<Vec<TypeRow>> =
    LazyLock::new(|| lines(include_str!("types.txt")).map(|words| TypeRow::parse(&words)).collect());

static BY_OID: LazyLock<HashMap<u32, usize>> =
    LazyLock::new(|| TYPES.iter().enumerate().map(|(at, row)| (row.oid, at)).collect());

/// The built-in type of that OID.
pub(super) fn find(type_oid: u32) -> Option<&'static TypeRow> {
    TYPES.get(*BY_OID.get(&type_oid)?)
}

impl TypeRow {
    fn parse(words: &[&'static str]) -> Self {
        let letter = |at: usize| word(words, at).chars().next().unwrap_or('-');
        Self {
            oid: number(words, 0),
            name: word(words, 1),
            length: number(words, 2),
            by_value: word(words, 3) == "t",
            kind: letter(4),
            category: letter(5),
            preferred: word(words, 6) == "t",
            element: number(words, 8),
            array: number(words, 9),
            functions: [10, 11, 12, 13, 14, 15].map(|at| number(words, at)),
            alignment: letter(16),
            storage: letter(17),
            collation: number(words, 18),
        }
    }
}

/// A row to be shown: a built-in type or a relation's row type.
struct Shown<'a> {
    row: TypeRow,
    name: &'a str,
    schema: u32,
    owner: u32,
    relation: u32,
}

pub(super) fn pg_type(request: &Request<'_>) -> Result<RecordBatch> {
    let relations = relations(request.context());
    let built_in = TYPES.iter().map(|row| Shown {
        row: row.clone(),
        name: row.name,
        schema: PG_CATALOG_SCHEMA_OID,
        owner: BOOTSTRAP_ROLE_OID,
        relation: 0,
    });
    let of_relations = relations.iter().map(|relation| Shown {
        row: row_type(relation.oid | ROW_TYPE_BIT),
        name: relation.name,
        schema: relation.schema_oid,
        owner: relation.owner,
        relation: relation.oid,
    });
    let types: Vec<Shown<'_>> = built_in.chain(of_relations).collect();
    let function = |at: usize| move |shown: &Shown<'_>| shown.row.functions.get(at).copied();
    request
        .rows(&types)
        .set("oid", |shown| shown.row.oid)
        .set("typname", |shown| shown.name)
        .set("typnamespace", |shown| shown.schema)
        .set("typowner", |shown| shown.owner)
        .set("typlen", |shown| shown.row.length)
        .set("typbyval", |shown| shown.row.by_value)
        .set("typtype", |shown| shown.row.kind)
        .set("typcategory", |shown| shown.row.category)
        .set("typispreferred", |shown| shown.row.preferred)
        .set("typisdefined", |_| true)
        .set("typdelim", |_| ',')
        .set("typrelid", |shown| shown.relation)
        .set("typsubscript", |shown| if shown.row.category == 'A' { ARRAY_SUBSCRIPT } else { 0 })
        .set("typelem", |shown| shown.row.element)
        .set("typarray", |shown| shown.row.array)
        .set("typinput", function(0))
        .set("typoutput", function(1))
        .set("typreceive", function(2))
        .set("typsend", function(3))
        .set("typmodin", function(4))
        .set("typmodout", function(5))
        .set("typalign", |shown| shown.row.alignment)
        .set("typstorage", |shown| shown.row.storage)
        .set("typtypmod", |_| -1)
        .set("typcollation", |shown| shown.row.collation)
        .finish()
}

/// OID of PostgreSQL's `array_subscript_handler`.
const ARRAY_SUBSCRIPT: u32 = 6179;

/// A relation's row type: as `record`, but composite.
fn row_type(type_oid: u32) -> TypeRow {
    let functions = find(oid::RECORD).map_or([0; 6], |record| record.functions);
    TypeRow {
        oid: type_oid,
        name: "",
        length: -1,
        by_value: false,
        kind: 'c',
        category: 'C',
        preferred: false,
        element: 0,
        array: 0,
        functions,
        alignment: 'd',
        storage: 'x',
        collation: 0,
    }
}

/// The built-in type's name; empty for a type that is none of them.
pub(in crate::builtins) fn type_name(type_oid: u32) -> &'static str {
    find(type_oid).map_or("", |row| row.name)
}
