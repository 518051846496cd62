//! The operators by name (`pg_operator`).

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::builtins::functions::kernel::Run;
use crate::builtins::functions::type_names::oid_of_typname;
use crate::builtins::functions::{
    arithmetic, array_operators, bits, date_arithmetic, floats, json_change, json_operators, numeric, substrings,
};
use crate::builtins::functions::{regexp, text};

/// One operator.
pub(super) struct Operator {
    pub name: &'static str,
    /// 0 for a prefix operator.
    pub left: u32,
    pub right: u32,
    pub result: u32,
    pub kind: Kind,
}

/// How an operator is computed.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Compare,
    /// `+ - *` of numerics: the engine's own, as long as the scale fits.
    Decimal(fn(&crate::builtins::functions::kernel::Call) -> crate::error::Result<arrow::array::ArrayRef>),
    /// Arithmetic of numerics whose scale is ours to choose.
    Numeric(Run),
    Immutable(Run),
    /// Depends on the session, e.g. on its time zone.
    Stable(Run),
    Like {
        negated: bool,
        insensitive: bool,
    },
}

/// All operators of one name.
pub(super) fn named(name: &str) -> &'static [Operator] {
    static OPERATORS: OnceLock<HashMap<&'static str, Vec<Operator>>> = OnceLock::new();
    let operators = OPERATORS.get_or_init(|| {
        let mut by_name: HashMap<&'static str, Vec<Operator>> = HashMap::new();
        for (name, types, kind) in rows() {
            by_name.entry(name).or_default().extend(types.split(',').filter_map(|types| parse(name, types, kind)));
        }
        by_name
    });
    operators.get(name).map(Vec::as_slice).unwrap_or_default()
}

/// `left right result`, or `right result` for a prefix operator.
fn parse(name: &'static str, types: &str, kind: Kind) -> Option<Operator> {
    let oids: Vec<u32> = types.split_whitespace().filter_map(oid_of_typname).collect();
    match *oids.as_slice() {
        [left, right, result] => Some(Operator { name, left, right, result, kind }),
        [right, result] => Some(Operator { name, left: 0, right, result, kind }),
        _ => None,
    }
}

/// The pairs that all six comparisons know.
const COMPARED: &str = "bool bool bool,bytea bytea bool,char char bool,name name bool,name text bool,int8 int8 bool,\
    int8 int2 bool,int8 int4 bool,int2 int8 bool,int2 int2 bool,int2 int4 bool,int4 int8 bool,int4 int2 bool,\
    int4 int4 bool,text name bool,text text bool,oid oid bool,oidvector oidvector bool,float4 float4 bool,\
    float4 float8 bool,float8 float4 bool,float8 float8 bool,bpchar bpchar bool,date date bool,date timestamp bool,\
    date timestamptz bool,time time bool,timestamp date bool,timestamp timestamp bool,timestamp timestamptz bool,\
    timestamptz date bool,timestamptz timestamp bool,timestamptz timestamptz bool,interval interval bool,\
    numeric numeric bool,record record bool,anyarray anyarray bool,uuid uuid bool,jsonb jsonb bool";

const EQUAL_ONLY: &str = "xid xid bool,xid int4 bool,cid cid bool,aclitem aclitem bool";

/// Each pair of integers with the wider one as result.
const INTEGERS: &str = "int8 int8 int8,int8 int2 int8,int8 int4 int8,int2 int8 int8,int2 int2 int2,int2 int4 int4,\
    int4 int8 int8,int4 int2 int4,int4 int4 int4";
const SAME_INTEGERS: &str = "int8 int8 int8,int2 int2 int2,int4 int4 int4";
const FLOATS: &str = "float4 float4 float4,float4 float8 float8,float8 float4 float8,float8 float8 float8";
const LIKES: &str = "name text bool,text text bool,bpchar text bool";

fn rows() -> Vec<(&'static str, &'static str, Kind)> {
    use Kind::*;
    let mut rows = vec![("=", EQUAL_ONLY, Compare), ("<>", "xid xid bool,xid int4 bool", Compare)];
    rows.extend(["=", "<>", "<", "<=", ">", ">="].map(|name| (name, COMPARED, Compare)));
    rows.extend([
        ("+", INTEGERS, Immutable(arithmetic::add)),
        ("-", INTEGERS, Immutable(arithmetic::subtract)),
        ("*", INTEGERS, Immutable(arithmetic::multiply)),
        ("/", INTEGERS, Immutable(arithmetic::divide)),
        ("%", SAME_INTEGERS, Immutable(arithmetic::remainder)),
        ("+", FLOATS, Immutable(floats::add)),
        ("-", FLOATS, Immutable(floats::subtract)),
        ("*", FLOATS, Immutable(floats::multiply)),
        ("/", FLOATS, Immutable(floats::divide)),
        ("^", "float8 float8 float8", Immutable(floats::power)),
        ("+", "numeric numeric numeric", Decimal(numeric::add)),
        ("-", "numeric numeric numeric", Decimal(numeric::subtract)),
        ("*", "numeric numeric numeric", Decimal(numeric::multiply)),
        ("/", "numeric numeric numeric", Numeric(numeric::divide)),
        ("%", "numeric numeric numeric", Numeric(numeric::remainder)),
        ("^", "numeric numeric numeric", Numeric(numeric::power)),
        ("+", "int8 int8,int2 int2,int4 int4,float4 float4,float8 float8,numeric numeric", Immutable(arithmetic::same)),
        ("-", "int8 int8,int2 int2,int4 int4", Immutable(arithmetic::negate)),
        ("-", "float4 float4,float8 float8", Immutable(floats::negate)),
        ("-", "numeric numeric", Numeric(numeric::negate)),
        ("-", "interval interval", Immutable(date_arithmetic::negate)),
        ("@", "int8 int8,int2 int2,int4 int4", Immutable(arithmetic::absolute)),
        ("@", "float4 float4,float8 float8", Immutable(floats::absolute)),
        ("@", "numeric numeric", Numeric(numeric::absolute)),
        ("|/", "float8 float8", Immutable(floats::square_root)),
        ("||/", "float8 float8", Immutable(floats::cube_root)),
        ("&", SAME_INTEGERS, Immutable(bits::and)),
        ("|", SAME_INTEGERS, Immutable(bits::or)),
        ("#", SAME_INTEGERS, Immutable(bits::xor)),
        ("~", "int8 int8,int2 int2,int4 int4", Immutable(bits::not)),
        ("<<", "int8 int4 int8,int2 int4 int2,int4 int4 int4", Immutable(bits::shift_left)),
        (">>", "int8 int4 int8,int2 int4 int2,int4 int4 int4", Immutable(bits::shift_right)),
    ]);
    rows.extend(date_rows());
    rows.extend(text_rows());
    rows
}

fn date_rows() -> Vec<(&'static str, &'static str, Kind)> {
    use Kind::*;
    vec![
        ("+", "date int4 date", Immutable(date_arithmetic::date_plus_days)),
        ("+", "int4 date date", Immutable(date_arithmetic::days_plus_date)),
        ("-", "date int4 date", Immutable(date_arithmetic::date_minus_days)),
        ("-", "date date int4", Immutable(date_arithmetic::date_minus_date)),
        ("+", "date time timestamp", Immutable(date_arithmetic::date_plus_time)),
        ("+", "time date timestamp", Immutable(date_arithmetic::time_plus_date)),
        (
            "+",
            "date interval timestamp,timestamp interval timestamp",
            Immutable(date_arithmetic::timestamp_plus_interval),
        ),
        (
            "+",
            "interval date timestamp,interval timestamp timestamp",
            Immutable(date_arithmetic::interval_plus_timestamp),
        ),
        (
            "-",
            "date interval timestamp,timestamp interval timestamp",
            Immutable(date_arithmetic::timestamp_minus_interval),
        ),
        ("+", "timestamptz interval timestamptz", Stable(date_arithmetic::timestamptz_plus_interval)),
        ("+", "interval timestamptz timestamptz", Stable(date_arithmetic::interval_plus_timestamptz)),
        ("-", "timestamptz interval timestamptz", Stable(date_arithmetic::timestamptz_minus_interval)),
        ("-", "timestamp timestamp interval,timestamptz timestamptz interval", Immutable(date_arithmetic::difference)),
        ("+", "time interval time", Immutable(date_arithmetic::time_plus_interval)),
        ("+", "interval time time", Immutable(date_arithmetic::interval_plus_time)),
        ("-", "time interval time", Immutable(date_arithmetic::time_minus_interval)),
        ("-", "time time interval", Immutable(date_arithmetic::time_minus_time)),
        ("+", "interval interval interval", Immutable(date_arithmetic::interval_plus_interval)),
        ("-", "interval interval interval", Immutable(date_arithmetic::interval_minus_interval)),
        ("*", "interval float8 interval", Immutable(date_arithmetic::interval_times)),
        ("*", "float8 interval interval", Immutable(date_arithmetic::times_interval)),
        ("/", "interval float8 interval", Immutable(date_arithmetic::interval_divided)),
    ]
}

fn text_rows() -> Vec<(&'static str, &'static str, Kind)> {
    use Kind::*;
    vec![
        ("||", "text text text,text anynonarray text,anynonarray text text", Stable(text::concatenate)),
        ("||", "bytea bytea bytea", Immutable(text::concatenate_bytes)),
        ("||", "jsonb jsonb jsonb", Immutable(json_operators::concatenate)),
        (
            "||",
            "anycompatiblearray anycompatiblearray anycompatiblearray,anycompatiblearray anycompatible anycompatiblearray,\
             anycompatible anycompatiblearray anycompatiblearray",
            Immutable(array_operators::concatenate),
        ),
        ("@>", "anyarray anyarray bool", Immutable(array_operators::contains)),
        ("<@", "anyarray anyarray bool", Immutable(array_operators::contained)),
        ("&&", "anyarray anyarray bool", Immutable(array_operators::overlaps)),
        ("->", "json text json,jsonb text jsonb", Immutable(json_operators::field)),
        ("->", "json int4 json,jsonb int4 jsonb", Immutable(json_operators::item)),
        ("->>", "json text text,jsonb text text", Immutable(json_operators::field_text)),
        ("->>", "json int4 text,jsonb int4 text", Immutable(json_operators::item_text)),
        ("#>", "json _text json,jsonb _text jsonb", Immutable(json_operators::path)),
        ("#>>", "json _text text,jsonb _text text", Immutable(json_operators::path_text)),
        ("@>", "jsonb jsonb bool", Immutable(json_operators::contains)),
        ("<@", "jsonb jsonb bool", Immutable(json_operators::contained)),
        ("?", "jsonb text bool", Immutable(json_operators::exists)),
        ("?|", "jsonb _text bool", Immutable(json_operators::exists_any)),
        ("?&", "jsonb _text bool", Immutable(json_operators::exists_all)),
        ("-", "jsonb text jsonb", Immutable(json_operators::without_key)),
        ("-", "jsonb int4 jsonb", Immutable(json_operators::without_item)),
        ("-", "jsonb _text jsonb", Immutable(json_operators::without_keys)),
        ("#-", "jsonb _text jsonb", Immutable(json_change::delete_path)),
        ("~~", LIKES, Like { negated: false, insensitive: false }),
        ("!~~", LIKES, Like { negated: true, insensitive: false }),
        ("~~*", LIKES, Like { negated: false, insensitive: true }),
        ("!~~*", LIKES, Like { negated: true, insensitive: true }),
        ("~", LIKES, Immutable(regexp::matches)),
        ("!~", LIKES, Immutable(regexp::matches_not)),
        ("~*", LIKES, Immutable(regexp::matches_insensitive)),
        ("!~*", LIKES, Immutable(regexp::matches_not_insensitive)),
        ("^@", "text text bool", Immutable(substrings::starts_with)),
    ]
}
