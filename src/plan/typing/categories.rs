//! What PostgreSQL's catalog says of types: categories, preferred types and casts (`pg_type`, `pg_cast`).

use std::collections::HashMap;
use std::sync::OnceLock;

use super::Coercion;
use crate::builtins::functions::type_names::{
    ANYCOMPATIBLE, ANYCOMPATIBLEARRAY, ANYCOMPATIBLENONARRAY, oid_of_typname,
};
use crate::encode::types::{element_of, oid};

/// `pg_type.typcategory`.
pub(super) fn category(type_oid: u32) -> char {
    match type_oid {
        oid::BOOL => 'B',
        oid::NAME | oid::TEXT | oid::BPCHAR | oid::VARCHAR => 'S',
        oid::CHAR | oid::PG_NODE_TREE => 'Z',
        oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC | oid::MONEY | oid::OID => 'N',
        oid::REGPROC
        | oid::REGPROCEDURE
        | oid::REGOPER
        | oid::REGOPERATOR
        | oid::REGCLASS
        | oid::REGTYPE
        | oid::REGCONFIG
        | oid::REGNAMESPACE
        | oid::REGROLE
        | oid::REGCOLLATION => 'N',
        oid::DATE | oid::TIME | oid::TIMETZ | oid::TIMESTAMP | oid::TIMESTAMPTZ => 'D',
        oid::INTERVAL => 'T',
        oid::INET => 'I',
        oid::UNKNOWN => 'X',
        oid::RECORD
        | oid::RECORD_ARRAY
        | oid::CSTRING
        | oid::ANY
        | oid::ANYARRAY
        | oid::VOID
        | oid::TRIGGER
        | oid::INTERNAL
        | oid::ANYELEMENT
        | oid::ANYNONARRAY => 'P',
        other if element_of(other).is_some() => 'A',
        other if is_polymorphic(other) => 'P',
        _ => 'U',
    }
}

/// `pg_type.typispreferred`.
pub(super) fn is_preferred(type_oid: u32) -> bool {
    matches!(type_oid, oid::BOOL | oid::TEXT | oid::OID | oid::FLOAT8 | oid::TIMESTAMPTZ | oid::INTERVAL | oid::INET)
}

/// Pseudo-types that stand for the type of an argument.
pub(super) fn is_polymorphic(type_oid: u32) -> bool {
    matches!(
        type_oid,
        oid::ANYELEMENT | oid::ANYARRAY | oid::ANYNONARRAY | ANYCOMPATIBLE | ANYCOMPATIBLEARRAY | ANYCOMPATIBLENONARRAY
    )
}

/// `pg_cast` for the types that we carry: `source>target:context`, where i is implicit, a assignment, e explicit.
/// The casts of text to and from everything else by input and output functions are not in it, as in PostgreSQL.
const CASTS: &str = "bool>int4:e bool>text:a bool>bpchar:a bool>varchar:a char>int4:e char>text:i char>bpchar:a \
    char>varchar:a name>text:i name>bpchar:a name>varchar:a int8>int2:a int8>int4:a int8>float4:i int8>float8:i \
    int8>numeric:i int2>int8:i int2>int4:i int2>float4:i int2>float8:i int2>numeric:i int4>bool:e int4>char:e \
    int4>int8:i int4>int2:a int4>float4:i int4>float8:i int4>numeric:i text>char:a text>name:i text>bpchar:i \
    text>varchar:i text>regclass:i json>jsonb:a float4>int8:a float4>int2:a float4>int4:a float4>float8:i \
    float4>numeric:a float8>int8:a float8>int2:a float8>int4:a float8>float4:a float8>numeric:a bpchar>char:a \
    bpchar>name:i bpchar>text:i bpchar>varchar:i varchar>char:a varchar>name:i varchar>text:i varchar>bpchar:i \
    varchar>regclass:i date>timestamp:i date>timestamptz:i time>interval:i timestamp>date:a timestamp>time:a \
    timestamp>timestamptz:i timestamptz>date:a timestamptz>time:a timestamptz>timestamp:a interval>time:a \
    numeric>int8:a numeric>int2:a numeric>int4:a numeric>float4:i numeric>float8:i regprocedure>regproc:i \
    regproc>regprocedure:i regoper>regoperator:i regoperator>regoper:i jsonb>bool:e jsonb>int8:e jsonb>int2:e \
    jsonb>int4:e jsonb>json:a jsonb>float4:e jsonb>float8:e jsonb>numeric:e";

/// Types that are an OID with another way of writing it.
const OID_ALIASES: [u32; 10] = [
    oid::REGPROC,
    oid::REGPROCEDURE,
    oid::REGOPER,
    oid::REGOPERATOR,
    oid::REGCLASS,
    oid::REGTYPE,
    oid::REGCONFIG,
    oid::REGNAMESPACE,
    oid::REGROLE,
    oid::REGCOLLATION,
];

fn casts() -> &'static HashMap<(u32, u32), Coercion> {
    static CASTS_BY_TYPES: OnceLock<HashMap<(u32, u32), Coercion>> = OnceLock::new();
    CASTS_BY_TYPES.get_or_init(|| {
        let mut casts: HashMap<(u32, u32), Coercion> = CASTS.split_whitespace().filter_map(parse_cast).collect();
        for alias in OID_ALIASES.into_iter().chain([oid::OID]) {
            for integer in [oid::INT2, oid::INT4, oid::INT8] {
                casts.insert((integer, alias), Coercion::Implicit);
            }
            for integer in [oid::INT4, oid::INT8] {
                casts.insert((alias, integer), Coercion::Assignment);
            }
            if alias != oid::OID {
                casts.insert((alias, oid::OID), Coercion::Implicit);
                casts.insert((oid::OID, alias), Coercion::Implicit);
            }
        }
        casts
    })
}

fn parse_cast(text: &str) -> Option<((u32, u32), Coercion)> {
    let (types, context) = text.split_once(':')?;
    let (source, target) = types.split_once('>')?;
    let context = match context {
        "i" => Coercion::Implicit,
        "a" => Coercion::Assignment,
        _ => Coercion::Explicit,
    };
    Some(((oid_of_typname(source)?, oid_of_typname(target)?), context))
}

/// How a value gets from one type to another (`find_coercion_pathway`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pathway {
    /// The same type, or one that is stored alike.
    Relabel,
    Function,
    /// Element by element.
    Array,
    /// Through the text form.
    InputOutput,
}

/// The way from `source` to `target` that `coercion` permits.
pub(super) fn pathway(source: u32, target: u32, coercion: Coercion) -> Option<Pathway> {
    if source == target {
        return Some(Pathway::Relabel);
    }
    if let Some(context) = casts().get(&(source, target)) {
        return (*context <= coercion).then_some(Pathway::Function);
    }
    if let (Some(from), Some(to)) = (element_of(source), element_of(target)) {
        let vector = matches!(target, oid::INT2VECTOR | oid::OIDVECTOR);
        if !vector && let Some(way) = pathway(from, to, coercion) {
            return Some(if way == Pathway::Relabel { Pathway::Relabel } else { Pathway::Array });
        }
    }
    if coercion >= Coercion::Assignment && category(target) == 'S' && !is_pseudo(source) {
        return Some(Pathway::InputOutput);
    }
    if coercion >= Coercion::Explicit && category(source) == 'S' && !is_pseudo(target) {
        return Some(Pathway::InputOutput);
    }
    None
}

/// Pseudo-types have no input or output of their own; a record can at least be written.
fn is_pseudo(type_oid: u32) -> bool {
    category(type_oid) == 'P' && type_oid != oid::RECORD && type_oid != oid::RECORD_ARRAY
}

/// Whether an argument of type `source` may stand where `target` is declared (`can_coerce_type` for one argument).
pub(super) fn can_coerce(source: u32, target: u32, coercion: Coercion) -> bool {
    if source == target || source == oid::UNKNOWN || target == oid::ANY {
        return true;
    }
    match target {
        oid::ANYELEMENT | ANYCOMPATIBLE => return true,
        oid::ANYNONARRAY | ANYCOMPATIBLENONARRAY => return element_of(source).is_none(),
        oid::ANYARRAY | ANYCOMPATIBLEARRAY => return element_of(source).is_some() || source == oid::ANYARRAY,
        _ => {}
    }
    pathway(source, target, coercion).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_reach_as_far_as_pg_cast_says() {
        let cases = [
            (oid::INT4, oid::INT8, Some(Coercion::Implicit)),
            (oid::INT8, oid::INT4, Some(Coercion::Assignment)),
            (oid::INT4, oid::BOOL, Some(Coercion::Explicit)),
            (oid::INT4, oid::TEXT, Some(Coercion::Assignment)),
            (oid::TEXT, oid::INT4, Some(Coercion::Explicit)),
            (oid::INT4, oid::DATE, None),
            (oid::REGCLASS, oid::OID, Some(Coercion::Implicit)),
            (1007, 1016, Some(Coercion::Implicit)),
            (1009, 1007, Some(Coercion::Explicit)),
            (oid::DATE, oid::TIMESTAMPTZ, Some(Coercion::Implicit)),
        ];
        for (source, target, expected) in cases {
            let least = [Coercion::Implicit, Coercion::Assignment, Coercion::Explicit]
                .into_iter()
                .find(|coercion| pathway(source, target, *coercion).is_some());
            assert_eq!(least, expected, "{source} to {target}");
        }
    }

    #[test]
    fn every_cast_of_the_table_is_understood() {
        assert_eq!(CASTS.split_whitespace().filter_map(parse_cast).count(), CASTS.split_whitespace().count());
    }
}
