//! Rows that are put apart, in the columns of their quarantine.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast, cast_with_options, nullif};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::copy_rows::Fill;
use super::row_rules::AS_TEXT;
use super::row_text::SessionText;
use crate::encode::TextStyle;
use crate::encode::types::{PgType, oid};
use crate::error::Result;
use crate::lake::{ColumnSpec, Table};
use crate::quality::result::Run;
use crate::quality::{QuarantinedRows, RowText};

/// How rows of a table become rows of its quarantine.
#[derive(Debug)]
pub(super) struct Rows {
    /// All nullable: what may be NULL is the gate's to check.
    schema: SchemaRef,
    places: Vec<Place>,
    fills: Vec<Fill>,
    /// Texts that no setting changes.
    text: SessionText,
    names: Vec<String>,
    run_id: String,
    at: DateTime<Utc>,
    source: String,
}

/// What a column of the quarantine gets.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// A column of the table.
    Own(usize, Carry),
    Rules,
    RunId,
    At,
    Source,
    AsText,
    /// What the quarantine itself puts there, if anything.
    None,
}

/// How a value gets into a column that may have another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carry {
    Same,
    /// As text.
    Text,
    /// If it stays the same number.
    Number,
    /// If it has no more characters.
    Short(usize),
    /// Not at all.
    Never,
}

impl Carry {
    fn between(from: PgType, to: PgType) -> Self {
        let is_text = |ty: PgType| matches!(ty.oid, oid::TEXT | oid::VARCHAR);
        let is_number =
            |ty: PgType| matches!(ty.oid, oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC);
        match (is_text(from), to.length_max()) {
            _ if from == to => Self::Same,
            (true, Some(length)) if is_text(to) => Self::Short(length),
            _ if is_text(to) && to.length_max().is_none() => Self::Text,
            _ if is_number(from) && is_number(to) => Self::Number,
            // Fewer digits of seconds, or none of an interval's fields, in one of them.
            _ if from.oid == to.oid && to.typmod < 0 => Self::Same,
            _ => Self::Never,
        }
    }
}

/// The values of each row that have no place, by their columns.
type Unfit = Vec<Map<String, Value>>;

impl Rows {
    pub fn new(quarantine: &Table, columns: &[ColumnSpec], run: &Run, fills: Vec<Fill>) -> Self {
        let fields = quarantine.arrow_schema().fields().iter();
        let fields: Vec<Field> = fields.map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let place = |column: &ColumnSpec| match column.name.as_str() {
            _ if column.generated.is_some() => Place::None,
            "_rules" => Place::Rules,
            "_run_id" => Place::RunId,
            "_at" => Place::At,
            "_source" => Place::Source,
            AS_TEXT => Place::AsText,
            name => match columns.iter().enumerate().find(|(_, own)| own.name == name) {
                Some((index, own)) => Place::Own(index, Carry::between(own.ty, column.ty)),
                None => Place::None,
            },
        };
        Self {
            schema: Arc::new(Schema::new(fields)),
            places: quarantine.columns().iter().map(place).collect(),
            fills,
            text: SessionText {
                types: columns.iter().map(|column| column.ty).collect(),
                style: Arc::new(TextStyle::default()),
            },
            names: columns.iter().map(|column| column.name.clone()).collect(),
            run_id: run.id.clone(),
            at: run.at,
            source: run.source.clone(),
        }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// # Errors
    /// What an expression of the quarantine's own columns gives.
    pub fn batch(&self, quarantined: &QuarantinedRows) -> Result<RecordBatch> {
        let count = quarantined.rows.num_rows();
        let text = |value: &str| Arc::new(StringArray::from(vec![value; count])) as ArrayRef;
        let mut unfit: Unfit = vec![Map::new(); count];
        let mut columns = Vec::with_capacity(self.places.len());
        for (place, field) in self.places.iter().zip(self.schema.fields()) {
            let ty = field.data_type();
            columns.push(match place {
                Place::Own(index, carry) => self.carried(&quarantined.rows, *index, (*carry, ty), &mut unfit)?,
                Place::Rules => cast(&quarantined.rules, ty)?,
                Place::RunId => cast(&text(&self.run_id), ty)?,
                Place::Source => cast(&text(&self.source), ty)?,
                Place::At => {
                    let at = TimestampMicrosecondArray::from(vec![self.at.timestamp_micros(); count]);
                    cast(&(Arc::new(at.with_timezone("UTC")) as ArrayRef), ty)?
                }
                Place::AsText | Place::None => new_null_array(ty, count),
            });
        }
        if let Some(index) = self.places.iter().position(|place| matches!(place, Place::AsText))
            && let Some(slot) = columns.get_mut(index)
            && unfit.iter().any(|values| !values.is_empty())
        {
            let texts = unfit.into_iter().map(|values| (!values.is_empty()).then(|| Value::Object(values).to_string()));
            *slot = cast(&(Arc::new(texts.collect::<StringArray>()) as ArrayRef), slot.data_type())?;
        }
        let mut whole = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        for (index, expr) in &self.fills {
            let value = expr.evaluate(&whole)?.into_array(count)?;
            let mut columns = whole.columns().to_vec();
            if let Some(slot) = columns.get_mut(*index) {
                *slot = cast(&value, slot.data_type())?;
            }
            whole = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        }
        Ok(whole)
    }

    /// A column's values as far as they fit; the others are noted as texts.
    fn carried(
        &self,
        rows: &RecordBatch,
        index: usize,
        (carry, ty): (Carry, &DataType),
        unfit: &mut Unfit,
    ) -> Result<ArrayRef> {
        let column = rows.column(index);
        let (values, fits) = match carry {
            Carry::Same => return Ok(cast(column, ty)?),
            Carry::Text => {
                let texts = (0..rows.num_rows()).map(|row| {
                    let is_there = column.is_valid(row);
                    is_there.then(|| self.text.value(rows, index, row))
                });
                return Ok(cast(&(Arc::new(texts.collect::<StringArray>()) as ArrayRef), ty)?);
            }
            Carry::Number => {
                let lenient = CastOptions { safe: true, ..CastOptions::default() };
                let values = cast_with_options(column, ty, &lenient)?;
                let back = cast_with_options(&values, column.data_type(), &lenient)?;
                (values, not_distinct(&back, column)?.values().clone())
            }
            Carry::Short(length) => {
                let texts = cast(column, &DataType::Utf8)?;
                let texts = texts.as_string::<i32>();
                let fits = (0..texts.len()).map(|row| texts.is_null(row) || texts.value(row).chars().count() <= length);
                (cast(column, ty)?, fits.collect())
            }
            Carry::Never => {
                let fits = (0..rows.num_rows()).map(|row| column.is_null(row));
                (new_null_array(ty, rows.num_rows()), fits.collect::<BooleanBuffer>())
            }
        };
        let lost = !&fits;
        if let Some(name) = self.names.get(index) {
            for row in lost.set_indices() {
                if let Some(values) = unfit.get_mut(row) {
                    values.insert(name.clone(), Value::String(self.text.value(rows, index, row)));
                }
            }
        }
        Ok(nullif(&values, &BooleanArray::new(lost, None))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_where_they_stay_the_same() {
        let varchar = |length: i32| PgType::with_typmod(oid::VARCHAR, length + 4);
        let carry = [
            (PgType::INT4, PgType::INT4, Carry::Same),
            (PgType::numeric(12, 4), PgType::numeric(4, 1), Carry::Number),
            (PgType::TEXT, PgType::INT4, Carry::Never),
            (PgType::INT4, PgType::TEXT, Carry::Text),
            (PgType::TEXT, varchar(3), Carry::Short(3)),
            (PgType::INT4, varchar(3), Carry::Never),
            (varchar(3), PgType::VARCHAR, Carry::Text),
            (PgType::TEXT, PgType::JSON, Carry::Never),
            (PgType::TIMESTAMP, PgType::DATE, Carry::Never),
        ];
        for (from, to, expected) in carry {
            assert_eq!(Carry::between(from, to), expected, "{from:?} {to:?}");
        }
    }
}
