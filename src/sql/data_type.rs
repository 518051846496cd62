//! Types of the tree to PostgreSQL's types with their modifiers.

use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, Ident, IntervalFields, ObjectName, TimezoneInfo,
};

use super::grammar::fold;
use super::token::position;
use crate::encode::types::{PgType, array_of, oid};
use crate::error::{Error, Result, SqlState};

/// What a lake table's decimals can hold.
const PRECISION_MAX: i64 = 38;
/// PostgreSQL's longest varchar(n) and char(n).
const LENGTH_MAX: u64 = 10_485_760;

/// The type that a type name of the tree means.
///
/// # Errors
/// 42704 for an unknown name (with its position), 22023 for a modifier out of range, 0A000 for what lakes cannot hold.
pub fn pg_type(data_type: &DataType, source: &str) -> Result<PgType> {
    match data_type {
        DataType::Custom(name, modifiers) => custom(name, modifiers, source),
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => array(pg_type(element, source)?, data_type),
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => Ok(PgType::INT4),
        DataType::SmallInt(None) | DataType::Int2(None) => Ok(PgType::INT2),
        DataType::BigInt(None) | DataType::Int8(None) => Ok(PgType::INT8),
        DataType::Real | DataType::Float4 => Ok(PgType::FLOAT4),
        DataType::DoublePrecision | DataType::Float8 => Ok(PgType::FLOAT8),
        DataType::Boolean | DataType::Bool => Ok(PgType::BOOL),
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(*info),
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            characters("varchar", oid::VARCHAR, *length, None)
        }
        DataType::Character(length) | DataType::Char(length) => characters("char", oid::BPCHAR, *length, Some(1)),
        DataType::Timestamp(precision, zone) => moment(*precision, *zone, oid::TIMESTAMP, oid::TIMESTAMPTZ),
        DataType::Time(precision, zone) => moment(*precision, *zone, oid::TIME, oid::TIMETZ),
        DataType::Interval { fields, precision } => interval(fields.as_ref(), *precision),
        DataType::Text => Ok(PgType::TEXT),
        DataType::Date => Ok(PgType::DATE),
        DataType::Uuid => Ok(PgType::UUID),
        DataType::JSON => Ok(PgType::JSON),
        DataType::JSONB => Ok(PgType::JSONB),
        DataType::Bytea => Ok(PgType::BYTEA),
        DataType::Regclass => Ok(PgType::REGCLASS),
        other => Err(undefined(&other.to_string().to_ascii_lowercase())),
    }
}

fn undefined(name: &str) -> Error {
    Error::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidParameterValue, message)
}

fn array(element: PgType, data_type: &DataType) -> Result<PgType> {
    match array_of(element.oid) {
        Some(array) => Ok(PgType::with_typmod(array, element.typmod)),
        None => Err(Error::unsupported(format!("an array of type {}", data_type.to_string().to_ascii_lowercase()))),
    }
}

fn numeric(info: ExactNumberInfo) -> Result<PgType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(PgType::NUMERIC),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let precision = i64::try_from(precision).unwrap_or(i64::MAX);
    if !(1..=1000).contains(&precision) {
        return Err(invalid(format!("NUMERIC precision {precision} must be between 1 and 1000")));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(invalid(format!("NUMERIC scale {scale} must be between -1000 and 1000")));
    }
    if precision > PRECISION_MAX || scale.abs() > PRECISION_MAX {
        return Err(Error::unsupported(format!("numeric({precision},{scale}), beyond {PRECISION_MAX} digits,")));
    }
    if !(0..=precision).contains(&scale) {
        return Err(Error::unsupported(format!("numeric({precision},{scale}), with a scale outside its precision,")));
    }
    Ok(PgType::numeric(u8::try_from(precision).unwrap_or(38), i8::try_from(scale).unwrap_or(0)))
}

fn characters(name: &str, oid: u32, length: Option<CharacterLength>, default: Option<u64>) -> Result<PgType> {
    let length = match length {
        None => default,
        Some(CharacterLength::IntegerLength { length, unit: None }) => Some(length),
        Some(CharacterLength::IntegerLength { .. } | CharacterLength::Max) => {
            return Err(Error::unsupported(format!("such a length of {name}")));
        }
    };
    match length {
        None => Ok(PgType::of(oid)),
        Some(0) => Err(invalid(format!("length for type {name} must be at least 1"))),
        Some(length) if length > LENGTH_MAX => {
            Err(invalid(format!("length for type {name} cannot exceed {LENGTH_MAX}")))
        }
        Some(length) => Ok(PgType::with_typmod(oid, i32::try_from(length).unwrap_or(0) + 4)),
    }
}

/// More than microseconds are cut to microseconds, as PostgreSQL does (with a warning there).
fn moment(precision: Option<u64>, zone: TimezoneInfo, plain: u32, zoned: u32) -> Result<PgType> {
    let oid = match zone {
        TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => plain,
        TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => zoned,
    };
    let typmod = precision.map_or(-1, |precision| i32::try_from(precision.min(6)).unwrap_or(6));
    Ok(PgType::with_typmod(oid, typmod))
}

/// PostgreSQL's packing: a mask of fields above, the precision of the seconds (0xffff: full) below.
fn interval(fields: Option<&IntervalFields>, precision: Option<u64>) -> Result<PgType> {
    const YEAR: i32 = 1 << 2;
    const MONTH: i32 = 1 << 1;
    const DAY: i32 = 1 << 3;
    const HOUR: i32 = 1 << 10;
    const MINUTE: i32 = 1 << 11;
    const SECOND: i32 = 1 << 12;
    if fields.is_none() && precision.is_none() {
        return Ok(PgType::INTERVAL);
    }
    let mask = match fields {
        None => 0x7fff,
        Some(IntervalFields::Year) => YEAR,
        Some(IntervalFields::Month) => MONTH,
        Some(IntervalFields::Day) => DAY,
        Some(IntervalFields::Hour) => HOUR,
        Some(IntervalFields::Minute) => MINUTE,
        Some(IntervalFields::Second) => SECOND,
        Some(IntervalFields::YearToMonth) => YEAR | MONTH,
        Some(IntervalFields::DayToHour) => DAY | HOUR,
        Some(IntervalFields::DayToMinute) => DAY | HOUR | MINUTE,
        Some(IntervalFields::DayToSecond) => DAY | HOUR | MINUTE | SECOND,
        Some(IntervalFields::HourToMinute) => HOUR | MINUTE,
        Some(IntervalFields::HourToSecond) => HOUR | MINUTE | SECOND,
        Some(IntervalFields::MinuteToSecond) => MINUTE | SECOND,
    };
    let precision = precision.map_or(0xffff, |precision| i32::try_from(precision.min(6)).unwrap_or(6));
    Ok(PgType::with_typmod(oid::INTERVAL, (mask << 16) | precision))
}

/// A type by its name, with or without `pg_catalog`.
fn custom(name: &ObjectName, modifiers: &[String], source: &str) -> Result<PgType> {
    let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
    let at = parts.first().and_then(|ident| position(source, ident.span.start));
    let folded: Vec<String> = parts.iter().map(|ident| fold(ident)).collect();
    let names: Vec<&str> = folded.iter().map(String::as_str).collect();
    let found = match names.as_slice() {
        [name] | ["pg_catalog", name] => named(name),
        ["information_schema", name] => information_schema(name),
        _ => None,
    };
    let ty = found.ok_or_else(|| undefined(&folded.join(".")).at(at))?;
    modified(ty, names.last().copied().unwrap_or_default(), modifiers).map_err(|error| error.at(at))
}

fn modified(ty: PgType, name: &str, modifiers: &[String]) -> Result<PgType> {
    if modifiers.is_empty() {
        return Ok(ty);
    }
    let numbers: Vec<i64> = modifiers.iter().filter_map(|text| text.parse().ok()).collect();
    if numbers.len() != modifiers.len() {
        return Err(Error::new(SqlState::SyntaxError, "type modifiers must be simple constants or identifiers"));
    }
    let first = numbers.first().copied().and_then(|number| u64::try_from(number).ok());
    let length = first.map(|length| CharacterLength::IntegerLength { length, unit: None });
    match (ty.oid, numbers.as_slice()) {
        (oid::NUMERIC, [_]) => numeric(ExactNumberInfo::Precision(first.unwrap_or(0))),
        (oid::NUMERIC, [_, scale]) => numeric(ExactNumberInfo::PrecisionAndScale(first.unwrap_or(0), *scale)),
        (oid::VARCHAR, [_]) => characters("varchar", ty.oid, length, Some(0)),
        (oid::BPCHAR, [_]) => characters("char", ty.oid, length, Some(0)),
        (oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::TIME | oid::TIMETZ, [_]) => {
            moment(first, TimezoneInfo::None, ty.oid, ty.oid)
        }
        (oid::INTERVAL, [_]) => interval(None, first),
        (oid::NUMERIC, _) => Err(invalid("invalid NUMERIC type modifier")),
        _ => Err(Error::new(SqlState::SyntaxError, format!("type modifier is not allowed for type \"{name}\""))),
    }
}

/// `pg_type.typname`, arrays too (`_int4`).
fn named(name: &str) -> Option<PgType> {
    if let Some(element) = name.strip_prefix('_') {
        return named(element).and_then(|element| array_of(element.oid)).map(PgType::of);
    }
    let oid = match name {
        "bool" => oid::BOOL,
        "bytea" => oid::BYTEA,
        "char" => oid::CHAR,
        "name" => oid::NAME,
        "int8" => oid::INT8,
        "int2" => oid::INT2,
        "int2vector" => oid::INT2VECTOR,
        "int4" => oid::INT4,
        "regproc" => oid::REGPROC,
        "text" => oid::TEXT,
        "oid" => oid::OID,
        "tid" => oid::TID,
        "xid" => oid::XID,
        "cid" => oid::CID,
        "oidvector" => oid::OIDVECTOR,
        "json" => oid::JSON,
        "xml" => oid::XML,
        "pg_node_tree" => oid::PG_NODE_TREE,
        "float4" => oid::FLOAT4,
        "float8" => oid::FLOAT8,
        "unknown" => oid::UNKNOWN,
        "money" => oid::MONEY,
        "inet" => oid::INET,
        "aclitem" => oid::ACLITEM,
        "bpchar" => oid::BPCHAR,
        "varchar" => oid::VARCHAR,
        "date" => oid::DATE,
        "time" => oid::TIME,
        "timestamp" => oid::TIMESTAMP,
        "timestamptz" => oid::TIMESTAMPTZ,
        "interval" => oid::INTERVAL,
        "timetz" => oid::TIMETZ,
        "numeric" => oid::NUMERIC,
        "refcursor" => oid::REFCURSOR,
        "regprocedure" => oid::REGPROCEDURE,
        "regoper" => oid::REGOPER,
        "regoperator" => oid::REGOPERATOR,
        "regclass" => oid::REGCLASS,
        "regtype" => oid::REGTYPE,
        "record" => oid::RECORD,
        "cstring" => oid::CSTRING,
        "void" => oid::VOID,
        "uuid" => oid::UUID,
        "regconfig" => oid::REGCONFIG,
        "jsonb" => oid::JSONB,
        "regnamespace" => oid::REGNAMESPACE,
        "regrole" => oid::REGROLE,
        "regcollation" => oid::REGCOLLATION,
        _ => return None,
    };
    Some(PgType::of(oid))
}

/// The domains of information_schema, as the types under them.
fn information_schema(name: &str) -> Option<PgType> {
    match name {
        "sql_identifier" => Some(PgType::NAME),
        "character_data" | "yes_or_no" => Some(PgType::VARCHAR),
        "cardinal_number" => Some(PgType::INT4),
        "time_stamp" => Some(PgType::TIMESTAMPTZ),
        _ => None,
    }
}
