//! Values to text, as a cast to text writes them: the type's output function, but for booleans.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;

use super::TextStyle;
use super::column::ColumnWriter;
use super::types::PgType;
use crate::error::{Error, Result, SqlState};

/// The texts of an array whose values have the PostgreSQL type `ty`.
pub fn texts(array: &ArrayRef, ty: PgType, style: &Arc<TextStyle>) -> Result<ArrayRef> {
    if matches!(array.data_type(), DataType::Utf8) {
        return Ok(array.clone());
    }
    if let Some(values) = array.as_boolean_opt() {
        let words = values.iter().map(|value| value.map(|value| if value { "true" } else { "false" }));
        return Ok(Arc::new(words.collect::<StringArray>()));
    }
    let column = ColumnWriter::new(array.data_type(), ty, style)?.bind(array)?;
    let mut bytes = Vec::with_capacity(array.len() * 12);
    let mut offsets: Vec<i32> = Vec::with_capacity(array.len() + 1);
    offsets.push(0);
    for row in 0..array.len() {
        column.write_text(row, &mut bytes)?;
        let end = i32::try_from(bytes.len());
        offsets.push(end.map_err(|_| Error::new(SqlState::ProgramLimitExceeded, "too much text in one batch"))?);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), array.logical_nulls())?))
}
