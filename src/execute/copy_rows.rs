//! COPY FROM STDIN's chunks as rows of the table, checked where the line of a row is still known.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::physical_expr::PhysicalExpr;

use crate::encode::copy::{Chunk, ChunkDecoder, Decoded};
use crate::error::{Error, Result};
use crate::lake::files::Decode;
use crate::quality::Gate;

/// Decodes chunks, adds the columns that the data has not, and runs the rows through the table's gate.
pub(super) struct TableDecoder {
    decoder: ChunkDecoder,
    gate: Gate,
    schema: SchemaRef,
    /// For each column of the table the number of the data's column, `None` where the data has none.
    sources: Vec<Option<usize>>,
    fills: Vec<Fill>,
}

/// A column's number, and what the table itself puts there: an expression over the whole row. In order: the generated
/// columns after the defaults that they read.
pub(super) type Fill = (usize, Arc<dyn PhysicalExpr>);

impl TableDecoder {
    /// `chosen` are the numbers of the table's columns that the data has, in the data's order.
    pub(super) fn new(decoder: ChunkDecoder, gate: Gate, table: &Schema, chosen: &[usize], fills: Vec<Fill>) -> Self {
        let fields = table.fields();
        let sources = (0..fields.len()).map(|index| chosen.iter().position(|place| *place == index)).collect();
        // Nullability is the gate's to check: a NULL must be told as 23502, not as a malformed batch.
        let fields: Vec<_> = fields.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        Self { decoder, gate, schema: Arc::new(Schema::new(fields)), sources, fills }
    }

    fn whole(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.sources.iter().zip(self.schema.fields()).map(|(source, field)| match source {
            Some(place) => Ok(crate::encode::cast(batch.column(*place), field.data_type())?),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let mut whole = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        for (index, expr) in &self.fills {
            let value = expr.evaluate(&whole)?.into_array(whole.num_rows())?;
            let value = crate::encode::cast(&value, self.schema.field(*index).data_type())?;
            let mut columns = whole.columns().to_vec();
            if let Some(slot) = columns.get_mut(*index) {
                *slot = value;
            }
            whole = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        }
        Ok(whole)
    }

    fn with_line(&self, error: Error, chunk: &Chunk, row: usize) -> Error {
        match self.decoder.context_of(chunk, row) {
            Some(context) => error.with_context(context),
            None => error,
        }
    }
}

impl Decode for TableDecoder {
    type Piece = Chunk;

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, chunk: &Chunk) -> Result<Decoded> {
        let mut decoded = self.decoder.decode(chunk)?;
        let mut rows_before = 0;
        for batch in &mut decoded.batches {
            *batch = self.whole(batch)?;
            if let Some(violation) = self.gate.first_violation(batch)? {
                return Err(self.with_line(violation.error, chunk, rows_before + violation.row));
            }
            rows_before += batch.num_rows();
        }
        Ok(decoded)
    }
}
