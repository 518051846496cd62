//! `columns`: each column with its type in the standard's words.

use arrow::record_batch::RecordBatch;

use super::{accessible, yes_or_no};
use crate::builtins::pg_catalog;
use crate::builtins::tables::listing::{Listed, ListedColumn};
use crate::builtins::tables::rows::Request;
use crate::encode::types::{PgType, element_of, oid};
use crate::error::Result;

pub(super) fn columns(request: &Request<'_>) -> Result<RecordBatch> {
    let database = request.context().catalog.database.name.as_str();
    let relations = accessible(request.context());
    let columns: Vec<(&Listed<'_>, &ListedColumn<'_>)> =
        relations.iter().flat_map(|relation| relation.columns.iter().map(move |column| (relation, column))).collect();
    request
        .rows(&columns)
        .set("table_catalog", |_| database)
        .set("table_schema", |(relation, _)| relation.schema)
        .set("table_name", |(relation, _)| relation.name)
        .set("column_name", |(_, column)| column.name)
        .set("ordinal_position", |(_, column)| column.number)
        .set("column_default", |(_, column)| column.value.filter(|_| !column.generated))
        .set("is_nullable", |(_, column)| yes_or_no(!column.not_null))
        .set("data_type", |(_, column)| data_type(column.ty.oid))
        .set("character_maximum_length", |(_, column)| characters_max(column.ty))
        .set("character_octet_length", |(_, column)| octets_max(column.ty))
        .set("numeric_precision", |(_, column)| numeric_precision(column.ty))
        .set("numeric_precision_radix", |(_, column)| numeric_radix(column.ty))
        .set("numeric_scale", |(_, column)| numeric_scale(column.ty))
        .set("datetime_precision", |(_, column)| datetime_precision(column.ty))
        .set("udt_catalog", |_| database)
        .set("udt_schema", |_| "pg_catalog")
        .set("udt_name", |(_, column)| pg_catalog::type_name(column.ty.oid))
        .set("dtd_identifier", |(_, column)| column.number.to_string())
        .set("is_self_referencing", |_| "NO")
        .set("is_identity", |_| "NO")
        .set("identity_cycle", |_| "NO")
        .set("is_generated", |(_, column)| if column.generated { "ALWAYS" } else { "NEVER" })
        .set("generation_expression", |(_, column)| column.value.filter(|_| column.generated))
        .set("is_updatable", |(relation, _)| yes_or_no(relation.table().is_some()))
        .finish()
}

/// The standard's name of a type, without its modifier.
pub(super) fn data_type(type_oid: u32) -> &'static str {
    match type_oid {
        oid::BOOL => "boolean",
        oid::CHAR => "\"char\"",
        oid::INT2 => "smallint",
        oid::INT4 => "integer",
        oid::INT8 => "bigint",
        oid::FLOAT4 => "real",
        oid::FLOAT8 => "double precision",
        oid::BPCHAR => "character",
        oid::VARCHAR => "character varying",
        oid::TIME => "time without time zone",
        oid::TIMETZ => "time with time zone",
        oid::TIMESTAMP => "timestamp without time zone",
        oid::TIMESTAMPTZ => "timestamp with time zone",
        // These two have an element type but are no arrays to PostgreSQL's information_schema either.
        oid::INT2VECTOR | oid::OIDVECTOR => "ARRAY",
        other if element_of(other).is_some() => "ARRAY",
        other => pg_catalog::type_name(other),
    }
}

fn characters_max(ty: PgType) -> Option<i32> {
    ty.length_max().and_then(|characters| i32::try_from(characters).ok())
}

/// Four bytes a character; text without a limit counts as one gigabyte.
fn octets_max(ty: PgType) -> Option<i32> {
    match ty.oid {
        oid::TEXT | oid::VARCHAR | oid::BPCHAR => Some(characters_max(ty).map_or(1 << 30, |n| n.saturating_mul(4))),
        _ => None,
    }
}

fn numeric_precision(ty: PgType) -> Option<i32> {
    match ty.oid {
        oid::INT2 => Some(16),
        oid::INT4 => Some(32),
        oid::INT8 => Some(64),
        oid::FLOAT4 => Some(24),
        oid::FLOAT8 => Some(53),
        _ => ty.precision_scale().map(|(precision, _)| i32::from(precision)),
    }
}

fn numeric_radix(ty: PgType) -> Option<i32> {
    match ty.oid {
        oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 => Some(2),
        oid::NUMERIC => Some(10),
        _ => None,
    }
}

fn numeric_scale(ty: PgType) -> Option<i32> {
    match ty.oid {
        oid::INT2 | oid::INT4 | oid::INT8 => Some(0),
        _ => ty.precision_scale().map(|(_, scale)| i32::from(scale)),
    }
}

/// Digits of a second's fraction: six unless the type says fewer.
fn datetime_precision(ty: PgType) -> Option<i32> {
    match ty.oid {
        oid::DATE => Some(0),
        oid::TIME | oid::TIMETZ | oid::TIMESTAMP | oid::TIMESTAMPTZ => Some(if ty.typmod < 0 { 6 } else { ty.typmod }),
        // An interval's modifier holds the fields above the precision; 0xffff is none.
        oid::INTERVAL if ty.typmod < 0 || ty.typmod & 0xffff == 0xffff => Some(6),
        oid::INTERVAL => Some(ty.typmod & 0xffff),
        _ => None,
    }
}
