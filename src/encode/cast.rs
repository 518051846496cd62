//! Arrow's cast, with an error where the engine's own default is NULL.

use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// The array in another type; an error for a value that the type does not hold.
pub fn cast(array: &dyn Array, ty: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, ty, &CastOptions { safe: false, ..CastOptions::default() })
}
