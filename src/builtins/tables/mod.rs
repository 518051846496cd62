//! System tables: their definitions, how their rows become Arrow, and the provider that a query scans.
//!
//! ```text
//! *.txt ─ definitions ─→ Definition ─→ provider ─ scan ─→ Request ─→ pg_catalog, information_schema, lakegate ─→ rows
//! ```
//! Rows are made when a query scans them, from the statement's [`Context`] alone, and only the columns that it wants.

mod definitions;
pub(super) mod listing;
mod provider;
pub(super) mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::Context;
use crate::encode::types::PgType;
pub use definitions::{Definition, DefinitionColumn, definitions};

/// A system table, ready to be planned on.
#[derive(Debug)]
pub struct SystemTable {
    pub oid: u32,
    /// In attribute order; the provider's schema has the same.
    pub columns: Vec<(&'static str, PgType)>,
    pub provider: Arc<dyn TableProvider>,
}

/// The system table of that schema and name, reading that context.
pub fn lookup(schema: &str, name: &str, context: &Arc<Context>) -> Option<SystemTable> {
    let definition = definitions::find(schema, name)?;
    Some(SystemTable {
        oid: definition.oid,
        columns: definition.columns.iter().map(|column| (column.name, column.ty)).collect(),
        provider: Arc::new(provider::SystemTableProvider::new(definition, Arc::clone(context))),
    })
}

/// Whether that is one of the schemas of system tables.
pub fn is_system_schema(schema: &str) -> bool {
    definitions::SCHEMAS.iter().any(|(name, _, _)| *name == schema)
}

/// Schema, name and OID of every system table.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str, u32)> {
    definitions().iter().map(|definition| (definition.schema, definition.name, definition.oid))
}
