//! A table's definition as ALTER TABLE leaves it, and what that asks of the rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::columns::{ColumnSpec, TableSpec, engine_field, stored_type};
use super::table::{CONSTRAINT_PREFIX, Table, constraint_text};
use crate::error::Result;

/// A new definition of a table that is there. Committed as one version, with new files or without.
#[derive(Debug, Clone)]
pub struct Redefinition {
    /// The version that it was made from.
    pub table: Arc<Table>,
    /// All columns, in their new order.
    pub columns: Vec<RedefinedColumn>,
    pub partition_columns: Vec<String>,
    /// Properties to set, and those to remove.
    pub properties: BTreeMap<String, Option<String>>,
    /// `Some(None)` removes it.
    pub comment: Option<Option<String>>,
    pub rows: RowsUnder,
}

/// A column of the new definition.
#[derive(Debug, Clone)]
pub struct RedefinedColumn {
    pub spec: ColumnSpec,
    /// The number of the old column that it is, of the same type.
    pub kept: Option<usize>,
}

/// What becomes of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsUnder {
    /// They fit the new definition whatever they are.
    Untouched,
    /// They were checked: rows that others add meanwhile are a conflict.
    Checked,
    /// They are all written anew.
    Rewritten,
}

impl Redefinition {
    /// The table as it is.
    pub fn unchanged(table: &Arc<Table>) -> Self {
        let columns = table.columns().iter().enumerate();
        Self {
            table: Arc::clone(table),
            columns: columns.map(|(number, spec)| RedefinedColumn { spec: spec.clone(), kept: Some(number) }).collect(),
            partition_columns: table.partition_columns().to_vec(),
            properties: BTreeMap::new(),
            comment: None,
            rows: RowsUnder::Untouched,
        }
    }

    /// Adds a CHECK, with PostgreSQL's meaning of NULL.
    pub fn add_check(&mut self, name: &str, expression: &str) {
        self.properties.insert(format!("{CONSTRAINT_PREFIX}{name}"), Some(constraint_text(expression)));
    }

    pub fn remove_check(&mut self, name: &str) {
        self.properties.insert(format!("{CONSTRAINT_PREFIX}{name}"), None);
    }

    /// The columns in the engine's types: what rewritten rows must have.
    pub fn engine_schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| {
            let field = engine_field(&column.spec);
            match column.kept.and_then(|number| self.table.arrow_schema().fields().get(number)) {
                Some(old) => field.with_data_type(old.data_type().clone()),
                None => field,
            }
        });
        Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
    }

    /// The types that new data files hold the columns in.
    pub(super) fn stored_types(&self) -> Result<Vec<DataType>> {
        let old = self.table.stored_types()?;
        let engine = self.engine_schema();
        let columns = self.columns.iter().zip(engine.fields());
        Ok(columns
            .map(|(column, field)| match column.kept.and_then(|number| old.get(number)) {
                Some(stored) => stored.clone(),
                None => stored_type(field.data_type()),
            })
            .collect())
    }

    /// Refuses what a Delta table cannot hold.
    pub(super) fn validate(&self) -> Result<()> {
        let spec = TableSpec {
            columns: self.columns.iter().map(|column| column.spec.clone()).collect(),
            partition_columns: self.partition_columns.clone(),
            ..TableSpec::default()
        };
        spec.validate()
    }
}
