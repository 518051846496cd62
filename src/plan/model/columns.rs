//! Columns that a model's functions add to rows.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::encode::types::{PgType, arrow_type};
use crate::error::{Error, Result};

/// Rows that come as they are, and columns beside them.
#[derive(Debug, Clone)]
pub struct Added {
    /// Columns that stay, the first ones of each batch.
    pub kept: usize,
    pub schema: SchemaRef,
}

impl Added {
    /// `kept` are the fields that stay; the names of all columns of the plan that follow must differ.
    pub fn new(kept: &[Field], names: &[String], types: &[PgType]) -> Self {
        let kept_fields = kept.iter().map(|field| field.clone().with_nullable(true));
        let added = names.iter().zip(types).map(|(name, ty)| Field::new(name, arrow_type(*ty), true));
        Self { kept: kept.len(), schema: Arc::new(Schema::new(kept_fields.chain(added).collect::<Vec<_>>())) }
    }

    /// The same where the added column of this number is carried otherwise than its type is in tables.
    pub fn carried(self, number: usize, carrier: DataType) -> Self {
        let fields = self.schema.fields().iter().enumerate().map(|(at, field)| {
            let field = field.as_ref().clone();
            if at == self.kept + number { field.with_data_type(carrier.clone()) } else { field }
        });
        Self { kept: self.kept, schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
    }

    /// The columns after those that stay.
    pub fn rest<'a>(&self, batch: &'a RecordBatch) -> Result<&'a [ArrayRef]> {
        batch.columns().get(self.kept..).ok_or_else(|| Error::internal("too few columns for a model"))
    }

    /// The rows with these columns, which are brought to their types.
    pub fn with(&self, batch: &RecordBatch, added: Vec<ArrayRef>) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = batch.columns().iter().take(self.kept).cloned().collect();
        for (array, field) in added.into_iter().zip(self.schema.fields().iter().skip(self.kept)) {
            columns.push(if array.data_type() == field.data_type() { array } else { cast(&array, field.data_type())? });
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
