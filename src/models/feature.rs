//! What a model knows of its inputs, and their values as numbers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, Date32Array, Float64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float32Type, Float64Type, TimeUnit};
use chrono::DateTime;
use serde::{Deserialize, Serialize};

use crate::encode::TextStyle;
use crate::encode::input::{self, InputContext};
use crate::encode::text::push_date;
use crate::encode::types::{PgType, format_type, oid};
use crate::error::{Error, Result, SqlState};

/// An input column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    pub name: String,
    /// PostgreSQL's type OID and typmod.
    pub type_oid: u32,
    pub typmod: i32,
    pub kind: FeatureKind,
}

/// How a column's values are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// As it is. `numeric` and `bigint` are rounded to double precision.
    Number,
    /// 0 and 1.
    Boolean,
    /// Days since 1970.
    Date,
    /// Seconds since 1970 or, of a time, since midnight.
    Time,
    /// One of some texts.
    Category,
}

impl FeatureKind {
    /// How values of a type are used, `None` where they cannot be.
    pub fn of(ty: PgType) -> Option<Self> {
        Some(match ty.oid {
            oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC | oid::OID => Self::Number,
            oid::BOOL => Self::Boolean,
            oid::DATE => Self::Date,
            oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::TIME => Self::Time,
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::UNKNOWN | oid::NAME => Self::Category,
            _ => return None,
        })
    }

    pub fn is_category(self) -> bool {
        self == Self::Category
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Time => "time",
            Self::Category => "category",
        }
    }
}

impl Feature {
    /// A column of that name and type as a feature.
    ///
    /// # Errors
    /// 42804 for a type that no model learns from.
    pub fn new(name: &str, ty: PgType) -> Result<Self> {
        let Some(kind) = FeatureKind::of(ty) else {
            let message = format!("column \"{name}\" of type {} cannot be a feature of a model", format_type(ty));
            return Err(Error::new(SqlState::DatatypeMismatch, message)
                .with_hint("Cast it to a number or a text, or leave it out by the option exclude."));
        };
        Ok(Self { name: name.to_owned(), type_oid: ty.oid, typmod: ty.typmod, kind })
    }

    pub fn ty(&self) -> PgType {
        PgType { oid: self.type_oid, typmod: self.typmod }
    }
}

/// The values of an array as numbers; NULL is NaN.
///
/// # Errors
/// XX000 for an array that is not of the kind.
pub fn numbers(array: &ArrayRef, kind: FeatureKind) -> Result<Float64Array> {
    let divided = |array: &ArrayRef, divisor: f64| -> Result<ArrayRef> {
        let whole = cast(&cast(array, &DataType::Int64)?, &DataType::Float64)?;
        let whole = whole.as_primitive::<Float64Type>();
        Ok(Arc::new(whole.unary::<_, Float64Type>(|value| value / divisor)) as ArrayRef)
    };
    let values: ArrayRef = match (kind, array.data_type()) {
        (FeatureKind::Boolean, DataType::Boolean) => {
            let booleans: &BooleanArray = array.as_boolean();
            let values = booleans.iter().map(|value| value.map(|value| if value { 1.0 } else { 0.0 }));
            Arc::new(values.collect::<Float64Array>())
        }
        (FeatureKind::Time, DataType::Timestamp(unit, _)) => divided(array, ticks(*unit))?,
        (FeatureKind::Time, DataType::Time64(unit)) => divided(array, ticks(*unit))?,
        (FeatureKind::Date, DataType::Date32) => divided(&cast(array, &DataType::Int32)?, 1.0)?,
        (FeatureKind::Number, _) => cast(array, &DataType::Float64)?,
        (_, other) => return Err(Error::internal(format!("values of type {other} as a feature"))),
    };
    let values = values.as_primitive_opt::<Float64Type>().ok_or_else(|| Error::internal("a feature is no number"))?;
    if values.null_count() == 0 {
        return Ok(values.clone());
    }
    Ok(values.iter().map(|value| Some(value.unwrap_or(f64::NAN))).collect())
}

fn ticks(unit: TimeUnit) -> f64 {
    match unit {
        TimeUnit::Second => 1.0,
        TimeUnit::Millisecond => 1e3,
        TimeUnit::Microsecond => 1e6,
        TimeUnit::Nanosecond => 1e9,
    }
}

/// The values of an array as classes: what is no number is NULL, and both zeros are one.
pub fn class_values(array: &ArrayRef) -> ArrayRef {
    // Adding 0 takes the sign of a zero.
    match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Arc::new(values.unary_opt::<_, Float64Type>(|value| (!value.is_nan()).then_some(value + 0.0)))
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Arc::new(values.unary_opt::<_, Float32Type>(|value| (!value.is_nan()).then_some(value + 0.0)))
        }
        _ => Arc::clone(array),
    }
}

/// The values of an array as texts. Dates are PostgreSQL's in ISO style, which has words for the infinite ones.
///
/// # Errors
/// The cast's.
pub fn texts(array: &ArrayRef) -> Result<StringArray> {
    if let Some(days) = array.as_primitive_opt::<Date32Type>() {
        let style = TextStyle::default();
        let text = |day: Option<i32>| {
            let mut bytes = Vec::with_capacity(10);
            push_date(&mut bytes, day?, &style);
            String::from_utf8(bytes).ok()
        };
        return Ok(days.iter().map(text).collect());
    }
    let texts = cast(array, &DataType::Utf8)?;
    let texts = texts.as_string_opt::<i32>().ok_or_else(|| Error::internal("a category is no text"))?;
    Ok(texts.clone())
}

/// The values of a type that [`texts`] made these of.
///
/// # Errors
/// The cast's.
pub fn values_of(texts: &StringArray, ty: &DataType) -> Result<ArrayRef> {
    if *ty == DataType::Date32 {
        let context = InputContext::utc(DateTime::UNIX_EPOCH);
        let day = |text: Option<&str>| input::date(text?, &context).ok();
        return Ok(Arc::new(texts.iter().map(day).collect::<Date32Array>()));
    }
    Ok(cast(texts, ty)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_texts_and_come_back() {
        let days =
            Date32Array::from(vec![Some(0), None, Some(i32::MAX), Some(i32::MIN), Some(3_000_000), Some(-800_000)]);
        let days: ArrayRef = Arc::new(days);
        let written = texts(&days).unwrap();
        assert_eq!(
            written.iter().take(4).collect::<Vec<_>>(),
            [Some("1970-01-01"), None, Some("infinity"), Some("-infinity")]
        );
        assert_eq!(&values_of(&written, &DataType::Date32).unwrap(), &days);
    }
}
