//! Names, OIDs and columns of all system tables: PostgreSQL 17's, and ours.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::catalog::{INFORMATION_SCHEMA_OID, LAKEGATE_SCHEMA_OID, PG_CATALOG_SCHEMA_OID};
use crate::encode::types::{PgType, arrow_type};

/// The system schemas: name, OID and the text that defines their relations.
pub(super) const SCHEMAS: [(&str, u32, &str); 3] = [
    ("information_schema", INFORMATION_SCHEMA_OID, include_str!("information_schema.txt")),
    ("lakegate", LAKEGATE_SCHEMA_OID, include_str!("lakegate.txt")),
    ("pg_catalog", PG_CATALOG_SCHEMA_OID, include_str!("pg_catalog.txt")),
];

/// One system table or view.
#[derive(Debug)]
pub struct Definition {
    pub schema: &'static str,
    pub schema_oid: u32,
    pub name: &'static str,
    pub oid: u32,
    /// `pg_class.relkind`: `r` or `v`.
    pub kind: char,
    pub columns: Vec<DefinitionColumn>,
    pub arrow: SchemaRef,
}

#[derive(Debug)]
pub struct DefinitionColumn {
    pub name: &'static str,
    pub ty: PgType,
    pub not_null: bool,
}

struct All {
    list: Vec<Definition>,
    by_name: HashMap<(&'static str, &'static str), usize>,
}

static ALL: LazyLock<All> = LazyLock::new(|| {
    let list: Vec<Definition> = SCHEMAS
        .iter()
        .flat_map(|(schema, oid, text)| text.lines().filter_map(|line| parse(schema, *oid, line)))
        .collect();
    let by_name = list.iter().enumerate().map(|(at, found)| ((found.schema, found.name), at)).collect();
    All { list, by_name }
});

/// All system tables, by schema and name.
pub fn definitions() -> &'static [Definition] {
    &ALL.list
}

pub(super) fn find(schema: &str, name: &str) -> Option<&'static Definition> {
    ALL.list.get(*ALL.by_name.get(&(schema, name))?)
}

/// `name oid kind column:type column:type! …`; a comment and what is malformed (a test sees to that) is no definition.
fn parse(schema: &'static str, schema_oid: u32, line: &'static str) -> Option<Definition> {
    let mut words = line.split(' ');
    let name = words.next().filter(|name| *name != "#")?;
    let oid = words.next()?.parse().ok()?;
    let kind = words.next()?.chars().next()?;
    let columns: Vec<DefinitionColumn> = words.filter_map(parse_column).collect();
    let fields: Vec<Field> =
        columns.iter().map(|column| Field::new(column.name, arrow_type(column.ty), !column.not_null)).collect();
    Some(Definition { schema, schema_oid, name, oid, kind, columns, arrow: Arc::new(Schema::new(fields)) })
}

fn parse_column(word: &'static str) -> Option<DefinitionColumn> {
    let (name, ty) = word.split_once(':')?;
    let oid = ty.trim_end_matches('!').parse().ok()?;
    Some(DefinitionColumn { name, ty: PgType::of(oid), not_null: ty.ends_with('!') })
}
