//! Type names of the syntax tree to PostgreSQL's types.

use sqlparser::ast::{self, DataType};

use crate::encode::types::{PgType, array_of, oid};
use crate::error::{Error, Result, SqlState};

/// The type that the tree names. 42704 for a name that is no type.
pub fn pg_type(data_type: &DataType) -> Result<PgType> {
    match data_type {
        DataType::Array(element) => {
            let element = match element {
                ast::ArrayElemTypeDef::AngleBracket(inner)
                | ast::ArrayElemTypeDef::SquareBracket(inner, _)
                | ast::ArrayElemTypeDef::Parenthesis(inner) => pg_type(inner)?,
                ast::ArrayElemTypeDef::None => return Err(unknown("array")),
            };
            // An array of arrays is the same type in PostgreSQL.
            if crate::encode::types::element_of(element.oid).is_some() {
                return Ok(element);
            }
            array_of(element.oid)
                .map(|oid| PgType { oid, typmod: element.typmod })
                .ok_or_else(|| Error::unsupported(format!("the type {data_type}")))
        }
        DataType::Custom(name, modifiers) => custom(name, modifiers),
        other => builtin(other),
    }
}

fn builtin(data_type: &DataType) -> Result<PgType> {
    Ok(match data_type {
        DataType::Bool | DataType::Boolean => PgType::BOOL,
        DataType::SmallInt(_) | DataType::Int2(_) => PgType::INT2,
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => PgType::INT4,
        DataType::BigInt(_) | DataType::Int8(_) => PgType::INT8,
        DataType::Real | DataType::Float4 => PgType::FLOAT4,
        DataType::Float8 | DataType::DoublePrecision | DataType::Double(_) => PgType::FLOAT8,
        DataType::Float(precision) => match precision {
            ast::ExactNumberInfo::Precision(bits) if *bits <= 24 => PgType::FLOAT4,
            _ => PgType::FLOAT8,
        },
        DataType::Numeric(precision) | DataType::Decimal(precision) | DataType::Dec(precision) => numeric(precision)?,
        DataType::Text => PgType::TEXT,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            with_length(oid::VARCHAR, length.as_ref(), None)?
        }
        DataType::Char(length) | DataType::Character(length) => with_length(oid::BPCHAR, length.as_ref(), Some(1))?,
        DataType::Bytea => PgType::BYTEA,
        DataType::Date => PgType::DATE,
        DataType::Time(precision, zone) => {
            let oid = if zoned(zone) { oid::TIMETZ } else { oid::TIME };
            with_precision(oid, *precision)
        }
        DataType::Timestamp(precision, zone) => {
            let oid = if zoned(zone) { oid::TIMESTAMPTZ } else { oid::TIMESTAMP };
            with_precision(oid, *precision)
        }
        DataType::Interval { .. } => PgType::INTERVAL,
        DataType::Uuid => PgType::UUID,
        DataType::JSON => PgType::JSON,
        DataType::JSONB => PgType::JSONB,
        DataType::Regclass => PgType::REGCLASS,
        other => return Err(unknown(&other.to_string().to_lowercase())),
    })
}

fn zoned(zone: &ast::TimezoneInfo) -> bool {
    matches!(zone, ast::TimezoneInfo::WithTimeZone | ast::TimezoneInfo::Tz)
}

fn with_precision(oid: u32, precision: Option<u64>) -> PgType {
    PgType::with_typmod(oid, precision.map_or(-1, |digits| digits.min(6) as i32))
}

fn numeric(info: &ast::ExactNumberInfo) -> Result<PgType> {
    let (precision, scale) = match info {
        ast::ExactNumberInfo::None => return Ok(PgType::NUMERIC),
        ast::ExactNumberInfo::Precision(precision) => (*precision, 0),
        ast::ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    if !(1..=1000).contains(&precision) {
        let message = format!("NUMERIC precision {precision} must be between 1 and 1000");
        return Err(Error::new(SqlState::InvalidParameterValue, message));
    }
    if precision > 38 || scale < 0 || scale as u64 > precision {
        return Err(Error::unsupported(format!("numeric({precision},{scale})")));
    }
    Ok(PgType::numeric(precision as u8, scale as i8))
}

fn with_length(oid: u32, length: Option<&ast::CharacterLength>, default: Option<u64>) -> Result<PgType> {
    let length = match length {
        Some(ast::CharacterLength::IntegerLength { length, .. }) => Some(*length),
        Some(ast::CharacterLength::Max) => return Err(unknown("max")),
        None => default,
    };
    match length {
        None => Ok(PgType::of(oid)),
        Some(length) if (1..=10_485_760).contains(&length) => Ok(PgType::with_typmod(oid, length as i32 + 4)),
        Some(0) => {
            let name = if oid == oid::VARCHAR { "varchar" } else { "char" };
            let message = format!("length for type {name} must be at least 1");
            Err(Error::new(SqlState::InvalidParameterValue, message))
        }
        Some(_) => {
            let name = if oid == oid::VARCHAR { "varchar" } else { "char" };
            let message = format!("length for type {name} cannot exceed 10485760");
            Err(Error::new(SqlState::InvalidParameterValue, message))
        }
    }
}

fn custom(name: &ast::ObjectName, modifiers: &[String]) -> Result<PgType> {
    let parts = super::super::names::parts(name);
    let (schema, last) = match parts.as_slice() {
        [last] => (None, last.as_str()),
        [schema, last] => (Some(schema.as_str()), last.as_str()),
        _ => return Err(unknown(&parts.join("."))),
    };
    if schema.is_some_and(|schema| schema != "pg_catalog") {
        return Err(unknown(&parts.join(".")));
    }
    let (base, array) = match last.strip_prefix('_') {
        Some(element) => (element, true),
        None => (last, false),
    };
    let oid = named_oid(base, name).ok_or_else(|| unknown(&parts.join(".")))?;
    let modifier = modifiers.first().and_then(|modifier| modifier.trim().parse::<i32>().ok());
    let typmod = match (oid, modifier) {
        (oid::VARCHAR | oid::BPCHAR, Some(length)) => length + 4,
        (oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ, Some(precision)) => precision,
        (oid::NUMERIC, Some(precision)) => {
            let scale = modifiers.get(1).and_then(|scale| scale.trim().parse().ok()).unwrap_or(0);
            PgType::numeric(precision.clamp(1, 38) as u8, scale).typmod
        }
        _ => -1,
    };
    if array {
        let oid = array_of(oid).ok_or_else(|| unknown(last))?;
        return Ok(PgType { oid, typmod });
    }
    Ok(PgType { oid, typmod })
}

/// Types of `pg_catalog` by their internal names.
fn named_oid(name: &str, written: &ast::ObjectName) -> Option<u32> {
    let quoted = written.0.last().and_then(ast::ObjectNamePart::as_ident).is_some_and(|part| part.quote_style.is_some());
    Some(match name {
        "bool" => oid::BOOL,
        "int2" => oid::INT2,
        "int4" => oid::INT4,
        "int8" => oid::INT8,
        "float4" => oid::FLOAT4,
        "float8" => oid::FLOAT8,
        "numeric" => oid::NUMERIC,
        "text" => oid::TEXT,
        "varchar" => oid::VARCHAR,
        "bpchar" => oid::BPCHAR,
        "char" if quoted => oid::CHAR,
        "char" => oid::BPCHAR,
        "name" => oid::NAME,
        "bytea" => oid::BYTEA,
        "date" => oid::DATE,
        "time" => oid::TIME,
        "timestamp" => oid::TIMESTAMP,
        "timestamptz" => oid::TIMESTAMPTZ,
        "interval" => oid::INTERVAL,
        "uuid" => oid::UUID,
        "json" => oid::JSON,
        "jsonb" => oid::JSONB,
        "oid" => oid::OID,
        "xid" => oid::XID,
        "cid" => oid::CID,
        "tid" => oid::TID,
        "regclass" => oid::REGCLASS,
        "regtype" => oid::REGTYPE,
        "regproc" => oid::REGPROC,
        "regprocedure" => oid::REGPROCEDURE,
        "regoper" => oid::REGOPER,
        "regoperator" => oid::REGOPERATOR,
        "regnamespace" => oid::REGNAMESPACE,
        "regrole" => oid::REGROLE,
        "regconfig" => oid::REGCONFIG,
        "regcollation" => oid::REGCOLLATION,
        "int2vector" => oid::INT2VECTOR,
        "oidvector" => oid::OIDVECTOR,
        "pg_node_tree" => oid::PG_NODE_TREE,
        "aclitem" => oid::ACLITEM,
        "cstring" => oid::CSTRING,
        "refcursor" => oid::REFCURSOR,
        "unknown" => oid::UNKNOWN,
        _ => return None,
    })
}

fn unknown(name: &str) -> Error {
    Error::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"))
}

/// PostgreSQL's internal name of a type: what a column made by a cast is called.
pub fn type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Bool | DataType::Boolean => "bool",
        DataType::SmallInt(_) | DataType::Int2(_) => "int2",
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4",
        DataType::BigInt(_) | DataType::Int8(_) => "int8",
        DataType::Real | DataType::Float4 => "float4",
        DataType::Float8 | DataType::DoublePrecision | DataType::Double(_) | DataType::Float(_) => "float8",
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric",
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => "varchar",
        DataType::Char(_) | DataType::Character(_) => "bpchar",
        DataType::Time(_, zone) if zoned(zone) => "timetz",
        DataType::Time(..) => "time",
        DataType::Timestamp(_, zone) if zoned(zone) => "timestamptz",
        DataType::Timestamp(..) => "timestamp",
        DataType::Interval { .. } => "interval",
        DataType::Custom(name, _) => return super::super::names::last_name(name),
        DataType::Array(
            ast::ArrayElemTypeDef::AngleBracket(inner)
            | ast::ArrayElemTypeDef::SquareBracket(inner, _)
            | ast::ArrayElemTypeDef::Parenthesis(inner),
        ) => return type_name(inner),
        other => return other.to_string().to_lowercase(),
    };
    name.to_owned()
}
