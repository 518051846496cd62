//! The text of a PostgreSQL type in a field's metadata, as `format_type` writes it.

use crate::encode::types::{PgType, array_of, element_of, oid};

/// Every scalar type that a column can have, by the name that `format_type` gives it.
const NAMES: &[(u32, &str)] = &[
    (oid::BOOL, "boolean"),
    (oid::BYTEA, "bytea"),
    (oid::CHAR, "\"char\""),
    (oid::NAME, "name"),
    (oid::INT2, "smallint"),
    (oid::INT4, "integer"),
    (oid::INT8, "bigint"),
    (oid::OID, "oid"),
    (oid::XID, "xid"),
    (oid::CID, "cid"),
    (oid::REGPROC, "regproc"),
    (oid::REGPROCEDURE, "regprocedure"),
    (oid::REGOPER, "regoper"),
    (oid::REGOPERATOR, "regoperator"),
    (oid::REGCLASS, "regclass"),
    (oid::REGTYPE, "regtype"),
    (oid::REGNAMESPACE, "regnamespace"),
    (oid::REGROLE, "regrole"),
    (oid::REGCONFIG, "regconfig"),
    (oid::REGCOLLATION, "regcollation"),
    (oid::FLOAT4, "real"),
    (oid::FLOAT8, "double precision"),
    (oid::NUMERIC, "numeric"),
    (oid::TEXT, "text"),
    (oid::VARCHAR, "character varying"),
    (oid::BPCHAR, "character"),
    (oid::JSON, "json"),
    (oid::JSONB, "jsonb"),
    (oid::XML, "xml"),
    (oid::UUID, "uuid"),
    (oid::DATE, "date"),
    (oid::TIME, "time without time zone"),
    (oid::TIMESTAMP, "timestamp without time zone"),
    (oid::TIMESTAMPTZ, "timestamp with time zone"),
    (oid::INTERVAL, "interval"),
];

/// The text of a type; what has no name is `oid typmod` in numbers.
pub(super) fn format(ty: PgType) -> String {
    if let Some(element) = element_of(ty.oid) {
        return format!("{}[]", format(PgType { oid: element, typmod: ty.typmod }));
    }
    let Some((_, name)) = NAMES.iter().find(|(oid, _)| *oid == ty.oid) else {
        return format!("{} {}", ty.oid, ty.typmod);
    };
    match ty.oid {
        _ if ty.typmod < 0 && ty.oid == oid::BPCHAR => "bpchar".to_owned(),
        _ if ty.typmod < 0 => (*name).to_owned(),
        oid::VARCHAR | oid::BPCHAR => format!("{name}({})", ty.typmod - 4),
        oid::NUMERIC => match ty.precision_scale() {
            Some((precision, scale)) => format!("{name}({precision},{scale})"),
            None => (*name).to_owned(),
        },
        oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ => match name.split_once(' ') {
            Some((first, rest)) => format!("{first}({}) {rest}", ty.typmod),
            None => (*name).to_owned(),
        },
        // An interval's modifier packs fields and precision; it only limits what is put in, so the number will do.
        _ => format!("{name}({})", ty.typmod),
    }
}

/// The type of a text that [`format`] wrote.
pub(super) fn parse(text: &str) -> Option<PgType> {
    if let Some(element) = text.strip_suffix("[]") {
        let element = parse(element)?;
        return Some(PgType { oid: array_of(element.oid)?, typmod: element.typmod });
    }
    if text == "bpchar" {
        return Some(PgType::BPCHAR);
    }
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        let (oid, typmod) = text.split_once(' ')?;
        return Some(PgType { oid: oid.parse().ok()?, typmod: typmod.parse().ok()? });
    }
    let Some((before, rest)) = text.split_once('(') else {
        return NAMES.iter().find(|(_, name)| *name == text).map(|(oid, _)| PgType::of(*oid));
    };
    let (modifier, after) = rest.split_once(')')?;
    let name = format!("{before}{after}");
    let (oid, _) = NAMES.iter().find(|(_, known)| *known == name)?;
    Some(match *oid {
        oid::VARCHAR | oid::BPCHAR => PgType::with_typmod(*oid, modifier.parse::<i32>().ok()?.checked_add(4)?),
        oid::NUMERIC => {
            let (precision, scale) = modifier.split_once(',')?;
            PgType::numeric(precision.parse().ok()?, scale.parse().ok()?)
        }
        _ => PgType::with_typmod(*oid, modifier.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back() {
        for (ty, text) in [
            (PgType::INT4, "integer"),
            (PgType::BPCHAR, "bpchar"),
            (PgType::with_typmod(oid::BPCHAR, 5), "character(1)"),
            (PgType::with_typmod(oid::VARCHAR, 14), "character varying(10)"),
            (PgType::numeric(12, 2), "numeric(12,2)"),
            (PgType::with_typmod(oid::TIMESTAMPTZ, 3), "timestamp(3) with time zone"),
            (PgType::TIME, "time without time zone"),
            (PgType::of(1007), "integer[]"),
            (PgType::with_typmod(1015, 14), "character varying(10)[]"),
            (PgType::of(999_999), "999999 -1"),
        ] {
            assert_eq!(format(ty), text);
            assert_eq!(parse(text), Some(ty));
        }
        assert_eq!(parse("no such type"), None);
        assert_eq!(parse("character varying(2147483647)"), None);
    }
}
