//! Names and OIDs of objects: what `regclass`, `regtype`, `regproc`, `regnamespace` and `regrole` read and write.

use std::sync::Arc;

use super::type_names::parse_type;
use crate::builtins::{Context, tables};
use crate::catalog::{INFORMATION_SCHEMA_OID, LAKEGATE_SCHEMA_OID, PG_CATALOG_SCHEMA_OID};
use crate::encode::types::{oid, type_info, type_words};
use crate::error::{Error, Result, SqlState};

/// The OID that a text stands for in a `reg…` type; `None` when the type is none of these or the text is a number or `-`.
pub fn lookup(context: &Arc<Context>, text: &str, type_oid: u32) -> Result<Option<u32>> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number || text == "-" {
        return Ok(None);
    }
    match type_oid {
        oid::REGCLASS => relation(context, text).map(Some),
        oid::REGTYPE => match type_of(context, text)? {
            Some(ty) => Ok(Some(ty)),
            None => Err(Error::new(SqlState::UndefinedObject, format!("type \"{text}\" does not exist"))),
        },
        oid::REGPROC | oid::REGPROCEDURE => function(text, type_oid).map(Some),
        oid::REGNAMESPACE => schema(context, text).map(Some),
        oid::REGROLE => role(context, text).map(Some),
        _ => Ok(None),
    }
}

/// Splits `a.b."C d"` into its parts, folded. 42602 when it is no name.
pub fn parts(text: &str) -> Result<Vec<String>> {
    let invalid = || Error::new(SqlState::InvalidName, "invalid name syntax");
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_part(quoted).ok_or_else(invalid)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let (part, after) = rest.split_at(end);
                (part.trim().to_ascii_lowercase(), after)
            }
        };
        if part.is_empty() {
            return Err(invalid());
        }
        parts.push(part);
        match after.trim_start().strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if after.trim().is_empty() => return Ok(parts),
            None => return Err(invalid()),
        }
    }
}

/// The identifier up to its closing quotation mark, and what follows.
pub(super) fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        part.push_str(rest.get(..end)?);
        rest = rest.get(end + 1..)?;
        match rest.strip_prefix('"') {
            Some(after) => {
                part.push('"');
                rest = after;
            }
            None => return Some((part, rest)),
        }
    }
}

/// The OID of a relation, looked up along the search path. 42P01.
pub fn relation(context: &Context, text: &str) -> Result<u32> {
    let parts = parts(text)?;
    find_relation(context, &parts)
        .ok_or_else(|| Error::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", parts.join("."))))
}

/// The OID of a relation by its folded parts.
pub fn find_relation(context: &Context, parts: &[String]) -> Option<u32> {
    let in_schema = |schema: &str, name: &str| -> Option<u32> {
        if let Some(oid) = system_relation(schema, name) {
            return Some(oid);
        }
        context.catalog.relation(schema, name).map(|relation| relation.oid)
    };
    match parts {
        [name] => context.search_path.iter().find_map(|schema| in_schema(schema, name)),
        [schema, name] | [_, schema, name] => in_schema(schema, name),
        _ => None,
    }
}

/// The OID of a system table or view.
fn system_relation(schema: &str, name: &str) -> Option<u32> {
    tables::names().find(|(home, table, _)| *home == schema && *table == name).map(|(_, _, oid)| oid)
}

/// The OID of a type, a relation's row type not among them.
pub fn type_of(_context: &Context, text: &str) -> Result<Option<u32>> {
    Ok(parse_type(text).map(|ty| ty.oid))
}

fn function(text: &str, type_oid: u32) -> Result<u32> {
    let bare = text.split('(').next().unwrap_or(text);
    let parts = parts(bare)?;
    let name = match parts.as_slice() {
        [name] => name,
        [schema, name] if schema == "pg_catalog" || schema == "information_schema" => name,
        _ => return Err(undefined_function(text)),
    };
    if let Some(io) = input_output_function(name) {
        return Ok(io);
    }
    let mut found = super::lookup(name);
    let first = found.next().ok_or_else(|| undefined_function(text))?;
    if type_oid == oid::REGPROC && found.next().is_some() {
        let message = format!("more than one function named \"{text}\"");
        return Err(Error::new(SqlState::AmbiguousFunction, message));
    }
    Ok(first.oid)
}

fn undefined_function(text: &str) -> Error {
    Error::new(SqlState::UndefinedFunction, format!("function \"{text}\" does not exist"))
}

/// Input and output functions that clients compare `typinput` with; they cannot be called.
fn input_output_function(name: &str) -> Option<u32> {
    const FUNCTIONS: &[(&str, u32)] = &[
        ("array_in", 750),
        ("array_out", 751),
        ("array_recv", 2400),
        ("array_send", 2401),
        ("record_in", 2290),
        ("enum_in", 3504),
        ("enum_recv", 3532),
        ("range_in", 3834),
        ("range_recv", 3836),
        ("domain_in", 2597),
        ("domain_recv", 2598),
        ("multirange_in", 4229),
    ];
    FUNCTIONS.iter().find(|(function, _)| *function == name).map(|(_, oid)| *oid)
}

/// The OID of a schema. 3F000.
pub fn schema(context: &Context, text: &str) -> Result<u32> {
    let parts = parts(text)?;
    let name = parts.join(".");
    find_schema(context, &name)
        .ok_or_else(|| Error::new(SqlState::InvalidSchemaName, format!("schema \"{name}\" does not exist")))
}

/// The OID of a schema by its name.
pub fn find_schema(context: &Context, name: &str) -> Option<u32> {
    match name {
        "pg_catalog" => Some(PG_CATALOG_SCHEMA_OID),
        "information_schema" => Some(INFORMATION_SCHEMA_OID),
        "lakegate" => Some(LAKEGATE_SCHEMA_OID),
        name => context.catalog.schemas.get(name).map(|schema| schema.oid),
    }
}

/// The OID of a role. 42704.
pub fn role(context: &Context, text: &str) -> Result<u32> {
    let parts = parts(text)?;
    let name = parts.join(".");
    let found = context.catalog.roles.get(&name).map(|role| role.oid);
    found.ok_or_else(|| Error::new(SqlState::UndefinedObject, format!("role \"{name}\" does not exist")))
}

/// The text of an OID in a `reg…` type; `None` prints the number.
pub fn name_of(context: &Context, type_oid: u32, object: u32) -> Option<String> {
    if object == 0 {
        return Some("-".to_owned());
    }
    match type_oid {
        oid::REGCLASS => relation_name(context, object),
        oid::REGTYPE => type_info(object).map(|_| type_words(object)),
        oid::REGPROC | oid::REGPROCEDURE => {
            super::all().iter().find(|function| function.oid == object).map(|function| quote(function.name))
        }
        oid::REGNAMESPACE => schema_name(context, object).map(quote),
        oid::REGROLE => context.catalog.role_name(object).map(quote),
        _ => None,
    }
}

/// The relation's name, with its schema unless the search path finds it.
fn relation_name(context: &Context, object: u32) -> Option<String> {
    let system = tables::names().find(|(_, _, oid)| *oid == object).map(|(schema, name, _)| (schema, name));
    let (schema, name) = match system {
        Some(found) => found,
        None => context.catalog.relation_by_oid(object).map(|(schema, name, _)| (schema, name))?,
    };
    let visible = find_relation(context, &[name.to_owned()]) == Some(object);
    Some(if visible { quote(name) } else { format!("{}.{}", quote(schema), quote(name)) })
}

/// Name of a schema by its OID.
pub fn schema_name(context: &Context, object: u32) -> Option<&str> {
    match object {
        PG_CATALOG_SCHEMA_OID => Some("pg_catalog"),
        INFORMATION_SCHEMA_OID => Some("information_schema"),
        LAKEGATE_SCHEMA_OID => Some("lakegate"),
        other => context.catalog.schemas.iter().find(|(_, schema)| schema.oid == other).map(|(name, _)| name.as_str()),
    }
}

/// Words that a name cannot be without quotes (PostgreSQL's reserved key words).
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

/// `quote_ident`: in double quotes where the name needs them.
pub fn quote(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && RESERVED.binary_search(&name).is_err();
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        assert!(RESERVED.is_sorted());
        let cases =
            [("abc", "abc"), ("Abc", "\"Abc\""), ("a b", "\"a b\""), ("select", "\"select\""), ("a\"b", "\"a\"\"b\"")];
        for (name, expected) in cases {
            assert_eq!(quote(name), expected);
        }
    }

    #[test]
    fn qualified_names_are_folded_part_by_part() {
        assert_eq!(parts("Public.\"My T\"").unwrap(), ["public", "My T"]);
        assert!(parts("a..b").is_err());
    }
}
