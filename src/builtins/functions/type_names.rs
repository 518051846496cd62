//! Names of types: `pg_type.typname`, and SQL's words for them as `format_type` writes.

use crate::encode::types::{PgType, array_of, element_of, oid};

/// OIDs of pseudo-types that `encode` has no use for.
pub const ANYCOMPATIBLE: u32 = 5077;
pub const ANYCOMPATIBLEARRAY: u32 = 5078;
pub const ANYCOMPATIBLENONARRAY: u32 = 5079;

/// (OID, `typname`, SQL name).
const NAMES: &[(u32, &str, &str)] = &[
    (oid::BOOL, "bool", "boolean"),
    (oid::BYTEA, "bytea", "bytea"),
    (oid::CHAR, "char", "\"char\""),
    (oid::NAME, "name", "name"),
    (oid::INT8, "int8", "bigint"),
    (oid::INT2, "int2", "smallint"),
    (oid::INT2VECTOR, "int2vector", "int2vector"),
    (oid::INT4, "int4", "integer"),
    (oid::REGPROC, "regproc", "regproc"),
    (oid::TEXT, "text", "text"),
    (oid::OID, "oid", "oid"),
    (oid::TID, "tid", "tid"),
    (oid::XID, "xid", "xid"),
    (oid::CID, "cid", "cid"),
    (oid::OIDVECTOR, "oidvector", "oidvector"),
    (oid::JSON, "json", "json"),
    (oid::XML, "xml", "xml"),
    (oid::PG_NODE_TREE, "pg_node_tree", "pg_node_tree"),
    (oid::FLOAT4, "float4", "real"),
    (oid::FLOAT8, "float8", "double precision"),
    (oid::UNKNOWN, "unknown", "unknown"),
    (oid::MONEY, "money", "money"),
    (oid::INET, "inet", "inet"),
    (oid::ACLITEM, "aclitem", "aclitem"),
    (oid::BPCHAR, "bpchar", "character"),
    (oid::VARCHAR, "varchar", "character varying"),
    (oid::DATE, "date", "date"),
    (oid::TIME, "time", "time without time zone"),
    (oid::TIMESTAMP, "timestamp", "timestamp without time zone"),
    (oid::TIMESTAMPTZ, "timestamptz", "timestamp with time zone"),
    (oid::INTERVAL, "interval", "interval"),
    (oid::TIMETZ, "timetz", "time with time zone"),
    (oid::NUMERIC, "numeric", "numeric"),
    (oid::REFCURSOR, "refcursor", "refcursor"),
    (oid::REGPROCEDURE, "regprocedure", "regprocedure"),
    (oid::REGOPER, "regoper", "regoper"),
    (oid::REGOPERATOR, "regoperator", "regoperator"),
    (oid::REGCLASS, "regclass", "regclass"),
    (oid::REGTYPE, "regtype", "regtype"),
    (oid::RECORD, "record", "record"),
    (oid::CSTRING, "cstring", "cstring"),
    (oid::ANY, "any", "\"any\""),
    (oid::ANYARRAY, "anyarray", "anyarray"),
    (oid::VOID, "void", "void"),
    (oid::TRIGGER, "trigger", "trigger"),
    (oid::INTERNAL, "internal", "internal"),
    (oid::ANYELEMENT, "anyelement", "anyelement"),
    (oid::ANYNONARRAY, "anynonarray", "anynonarray"),
    (oid::UUID, "uuid", "uuid"),
    (oid::REGCONFIG, "regconfig", "regconfig"),
    (oid::JSONB, "jsonb", "jsonb"),
    (oid::REGNAMESPACE, "regnamespace", "regnamespace"),
    (oid::REGROLE, "regrole", "regrole"),
    (oid::REGCOLLATION, "regcollation", "regcollation"),
    (ANYCOMPATIBLE, "anycompatible", "anycompatible"),
    (ANYCOMPATIBLEARRAY, "anycompatiblearray", "anycompatiblearray"),
    (ANYCOMPATIBLENONARRAY, "anycompatiblenonarray", "anycompatiblenonarray"),
];

/// The OID behind a `typname`; a leading underscore makes it the array type.
pub fn oid_of_typname(name: &str) -> Option<u32> {
    if let Some(element) = name.strip_prefix('_') {
        return oid_of_typname(element).and_then(array_of);
    }
    NAMES.iter().find(|(_, typname, _)| *typname == name).map(|(oid, _, _)| *oid)
}

/// `typname` of a type.
pub fn typname(type_oid: u32) -> Option<String> {
    if let Some((_, name, _)) = NAMES.iter().find(|(oid, _, _)| *oid == type_oid) {
        return Some((*name).to_owned());
    }
    element_of(type_oid).and_then(typname).map(|element| format!("_{element}"))
}

/// `format_type(oid, typmod)`: the name as SQL writes it; `???` for an unknown OID.
pub fn format_type(ty: PgType) -> String {
    let name = NAMES.iter().find(|(oid, _, _)| *oid == ty.oid).map(|(_, _, name)| *name);
    let Some(name) = name else {
        return match element_of(ty.oid) {
            Some(element) => format!("{}[]", format_type(PgType { oid: element, typmod: ty.typmod })),
            None => "???".to_owned(),
        };
    };
    if ty.typmod < 0 {
        return name.to_owned();
    }
    match ty.oid {
        oid::VARCHAR | oid::BPCHAR => format!("{name}({})", ty.typmod - 4),
        oid::NUMERIC => match ty.precision_scale() {
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => name.to_owned(),
        },
        oid::TIME | oid::TIMETZ | oid::TIMESTAMP | oid::TIMESTAMPTZ => match name.split_once(' ') {
            Some((word, rest)) => format!("{word}({}) {rest}", ty.typmod),
            None => format!("{name}({})", ty.typmod),
        },
        oid::INTERVAL => format!("interval{}", interval_modifier(ty.typmod)),
        _ => name.to_owned(),
    }
}

/// The fields and precision of an interval's modifier, e.g. ` day to second(3)`.
fn interval_modifier(typmod: i32) -> String {
    let fields = match (typmod >> 16) & 0x7fff {
        0x0004 => " year",
        0x0002 => " month",
        0x0008 => " day",
        0x0400 => " hour",
        0x0800 => " minute",
        0x1000 => " second",
        0x0006 => " year to month",
        0x0408 => " day to hour",
        0x0c08 => " day to minute",
        0x1c08 => " day to second",
        0x0c00 => " hour to minute",
        0x1c00 => " hour to second",
        0x1800 => " minute to second",
        _ => "",
    };
    match typmod & 0xffff {
        0xffff => fields.to_owned(),
        precision => format!("{fields}({precision})"),
    }
}

/// The type that a name stands for: `typname` or SQL's name, with `[]` and modifiers, as `regtype` reads it.
pub fn parse_type(text: &str) -> Option<PgType> {
    let text = text.trim();
    if let Some(element) = text.strip_suffix("[]") {
        let element = parse_type(element)?;
        return array_of(element.oid).map(PgType::of);
    }
    let text = text.strip_prefix("pg_catalog.").unwrap_or(text);
    if let Some(name) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return oid_of_typname(name).map(PgType::of);
    }
    let lower = text.to_ascii_lowercase();
    let bare = match (lower.find('('), lower.find(')')) {
        (Some(open), Some(close)) if open < close => {
            format!("{}{}", lower.get(..open)?.trim_end(), lower.get(close + 1..)?)
        }
        _ => lower,
    };
    let alias = match bare.as_str() {
        "int" => "int4",
        "decimal" | "dec" => "numeric",
        "float" => "float8",
        "timestamp" => "timestamp",
        "time" => "time",
        "char" => "bpchar",
        other => other,
    };
    let by_sql_name = || NAMES.iter().find(|(_, _, name)| *name == alias).map(|(oid, _, _)| *oid);
    oid_of_typname(alias).or_else(by_sql_name).map(PgType::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_as_format_type_writes_them() {
        let cases = [
            (PgType::with_typmod(oid::VARCHAR, 14), "character varying(10)"),
            (PgType::numeric(10, 2), "numeric(10,2)"),
            (PgType::with_typmod(oid::TIMESTAMPTZ, 3), "timestamp(3) with time zone"),
            (PgType::of(1007), "integer[]"),
            (PgType::of(999_999), "???"),
            (PgType::with_typmod(oid::INTERVAL, (0x1c08 << 16) | 3), "interval day to second(3)"),
        ];
        for (ty, expected) in cases {
            assert_eq!(format_type(ty), expected);
        }
    }

    #[test]
    fn regtype_reads_both_kinds_of_name() {
        assert_eq!(parse_type("int4"), Some(PgType::INT4));
        assert_eq!(parse_type("double precision"), Some(PgType::FLOAT8));
        assert_eq!(parse_type("numeric(10,2)"), Some(PgType::NUMERIC));
        assert_eq!(parse_type("timestamp(3) with time zone"), Some(PgType::TIMESTAMPTZ));
        assert_eq!(parse_type("text[]"), Some(PgType::of(1009)));
        assert_eq!(parse_type("nothing"), None);
    }
}
