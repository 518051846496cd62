//! Columns that a table may have, and the names of its constraints.

use std::collections::HashSet;

use crate::encode::types::{PgType, element_of, format_type, oid};
use crate::error::{Error, Result, SqlState};
use crate::lake::ColumnSpec;
use crate::sql::CheckConstraint;

/// Most columns of a table: PostgreSQL's own limit.
const COLUMNS_MAX: usize = 1600;

/// What a column of a query's type is stored as: a literal of unknown type is text.
pub(super) fn stored_type(ty: PgType) -> PgType {
    match ty.oid {
        oid::UNKNOWN => PgType::TEXT,
        _ => ty,
    }
}

/// Refuses the names of system columns.
pub(in crate::execute) fn check_name(name: &str) -> Result<()> {
    if matches!(name, "ctid" | "xmin" | "xmax" | "cmin" | "cmax" | "tableoid") {
        let message = format!("column name \"{name}\" conflicts with a system column name");
        return Err(Error::new(SqlState::DuplicateColumn, message));
    }
    Ok(())
}

pub(in crate::execute) fn check_columns(columns: &[ColumnSpec]) -> Result<()> {
    if columns.len() > COLUMNS_MAX {
        return Err(Error::new(SqlState::TooManyColumns, format!("tables can have at most {COLUMNS_MAX} columns")));
    }
    let mut seen = HashSet::new();
    for column in columns {
        if !seen.insert(column.name.as_str()) {
            return Err(Error::new(
                SqlState::DuplicateColumn,
                format!("column \"{}\" specified more than once", column.name),
            ));
        }
        // Delta compares names without case: two such columns could not be told apart by other engines.
        if columns.iter().any(|other| other.name != column.name && other.name.eq_ignore_ascii_case(&column.name)) {
            return Err(Error::new(
                SqlState::DuplicateColumn,
                format!("column \"{}\" differs from another one only by case", column.name),
            )
            .with_detail("Delta Lake compares column names without case."));
        }
        let element = element_of(column.ty.oid).unwrap_or(column.ty.oid);
        if is_pseudo(element) {
            let message = format!("column \"{}\" has pseudo-type {}", column.name, format_type(column.ty));
            return Err(Error::new(SqlState::InvalidTableDefinition, message));
        }
        if !is_storable(element) {
            let message = format!("type {} of column \"{}\"", format_type(column.ty), column.name);
            return Err(Error::unsupported(message));
        }
    }
    Ok(())
}

fn is_pseudo(ty: u32) -> bool {
    matches!(
        ty,
        oid::VOID
            | oid::RECORD
            | oid::ANYARRAY
            | oid::ANY
            | oid::ANYELEMENT
            | oid::ANYNONARRAY
            | oid::CSTRING
            | oid::TRIGGER
            | oid::INTERNAL
    )
}

/// Types whose values are read, checked and written: others would be kept as any text.
fn is_storable(ty: u32) -> bool {
    matches!(
        ty,
        oid::BOOL
            | oid::BYTEA
            | oid::CHAR
            | oid::NAME
            | oid::INT2
            | oid::INT4
            | oid::INT8
            | oid::OID
            | oid::TEXT
            | oid::JSON
            | oid::JSONB
            | oid::FLOAT4
            | oid::FLOAT8
            | oid::NUMERIC
            | oid::BPCHAR
            | oid::VARCHAR
            | oid::DATE
            | oid::TIME
            | oid::TIMESTAMP
            | oid::TIMESTAMPTZ
            | oid::INTERVAL
            | oid::UUID
            | oid::REGCLASS
            | oid::REGTYPE
            | oid::REGPROC
            | oid::REGROLE
            | oid::REGNAMESPACE
    )
}

/// Names for constraints without one, as PostgreSQL makes them: `t_column_check`, `t_check`, `t_check1`.
pub(in crate::execute) fn constraint_name(
    table: &str,
    constraint: &CheckConstraint,
    taken: &[(String, String)],
) -> Result<String> {
    if let Some(name) = &constraint.name {
        if taken.iter().any(|(other, _)| *other == name.value) {
            return Err(Error::new(
                SqlState::DuplicateObject,
                format!("check constraint \"{}\" already exists", name.value),
            )
            .at(name.position));
        }
        return Ok(name.value.clone());
    }
    // Where it stands does not count: the CHECK of a column that names another one too is called after the table.
    let base = match constraint.only_column() {
        Some(column) => format!("{table}_{column}_check"),
        None => format!("{table}_check"),
    };
    let free = (0..).map(|number| if number == 0 { base.clone() } else { format!("{base}{number}") });
    Ok(free.into_iter().find(|name| !taken.iter().any(|(other, _)| other == name)).unwrap_or(base))
}
