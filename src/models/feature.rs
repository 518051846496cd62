//! What a model knows of its inputs, and their values as numbers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, Float64Array, StringArray, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimeUnit};
use datafusion::common::ScalarValue;
use serde::{Deserialize, Serialize};

use crate::encode::input::{InputContext, null_scalar, parse_scalar};
use crate::encode::types::{NUMERIC_COLUMN, PgType, arrow_type, format_type, oid};
use crate::encode::{TextStyle, to_text};
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

/// The values of an array of this type as texts: those that a cast to text gives in UTC. Values that are equal have one text.
///
/// # Errors
/// XX000 for an array that is not of the type.
pub fn texts(array: &ArrayRef, ty: PgType) -> Result<StringArray> {
    let is_too_exact = is_plain_numeric(ty)
        && matches!(array.data_type(), DataType::Decimal128(_, scale) if *scale > NUMERIC_COLUMN.1);
    let written = if arrow_type(ty) == DataType::Utf8 {
        cast(array, &DataType::Utf8)?
    } else if is_too_exact {
        // Values that no column stores have the digits of the expression that made them.
        to_text::texts(&cast(array, &arrow_type(ty))?, ty, &Arc::new(TextStyle::default()))?
    } else {
        to_text::texts(array, ty, &Arc::new(TextStyle::default()))?
    };
    let written = written.as_string_opt::<i32>().ok_or_else(|| Error::internal("a category is no text"))?;
    let one: fn(&str) -> &str = match ty.oid {
        oid::BPCHAR => |text| text.trim_end_matches(' '),
        oid::NUMERIC if ty.typmod < 0 => |text| match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.'),
            false => text,
        },
        oid::FLOAT4 | oid::FLOAT8 => |text| if text == "-0" { "0" } else { text },
        _ => return Ok(written.clone()),
    };
    Ok(written.iter().map(|text| text.map(one)).collect())
}

fn is_plain_numeric(ty: PgType) -> bool {
    ty.oid == oid::NUMERIC && ty.typmod < 0
}

/// What [`texts`] wrote, as an array of their [`carrier`].
///
/// # Errors
/// The input function's for a text that is no value of the type.
pub fn values<'a>(texts: impl IntoIterator<Item = Option<&'a str>>, ty: PgType) -> Result<ArrayRef> {
    // No text that was written hangs on the time.
    let context = InputContext::utc(chrono::DateTime::default());
    let texts: Vec<Option<&str>> = texts.into_iter().collect();
    let own = read_as(texts.iter().flatten().copied(), ty);
    let null = null_scalar(own)?;
    let value = |text: &Option<&str>| text.map_or_else(|| Ok(null.clone()), |text| parse_scalar(text, own, &context));
    let values = texts.iter().map(value).collect::<Result<Vec<ScalarValue>>>()?;
    if values.is_empty() {
        return Ok(new_empty_array(&arrow_type(own)));
    }
    Ok(ScalarValue::iter_to_array(values)?)
}

/// The Arrow type that carries what [`texts`] wrote: the type's own, or a decimal with more digits before the point.
pub fn carrier<'a>(texts: impl IntoIterator<Item = &'a str>, ty: PgType) -> DataType {
    arrow_type(read_as(texts, ty))
}

/// The type that these texts are read as: of a plain numeric the one that tables store or, where they are too long for that, one with
/// as many digits behind the point as they have.
fn read_as<'a>(texts: impl IntoIterator<Item = &'a str>, ty: PgType) -> PgType {
    if !is_plain_numeric(ty) {
        return ty;
    }
    let (mut whole_max, mut fraction_max) = (0, 0);
    for text in texts {
        let digits = text.trim_start_matches('-');
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        (whole_max, fraction_max) = (whole.len().max(whole_max), fraction.len().max(fraction_max));
    }
    let (precision, scale) = NUMERIC_COLUMN;
    let free = usize::from(precision).saturating_sub(whole_max);
    if free >= usize::from(scale.unsigned_abs()) {
        return PgType::numeric(precision, scale);
    }
    PgType::numeric(precision, fraction_max.min(free) as i8)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Decimal128Array, Float64Array, TimestampMicrosecondArray};

    use super::*;

    fn check(array: ArrayRef, ty: PgType, expected: &[&str]) {
        let written = texts(&array, ty).unwrap();
        assert_eq!(written.iter().flatten().collect::<Vec<_>>(), expected);
        let read = values(written.iter(), ty).unwrap();
        assert_eq!(read.data_type(), &arrow_type(ty));
        assert_eq!(texts(&read, ty).unwrap(), written);
    }

    #[test]
    fn texts_are_those_of_a_cast_and_read_back() {
        check(Arc::new(Float64Array::from(vec![1.0, 0.1, -0.0, f64::NAN])), PgType::FLOAT8, &["1", "0.1", "0", "NaN"]);
        // 44 BC and 2024.
        check(Arc::new(Date32Array::from(vec![-735_160, 19_723])), PgType::DATE, &["0044-03-15 BC", "2024-01-01"]);
        let times = TimestampMicrosecondArray::from(vec![1_704_103_200_000_000]).with_timezone("UTC");
        check(Arc::new(times), PgType::TIMESTAMPTZ, &["2024-01-01 10:00:00+00"]);
        check(Arc::new(BooleanArray::from(vec![true, false])), PgType::BOOL, &["true", "false"]);
        let numerics = |scale| Decimal128Array::from(vec![150, 1000]).with_precision_and_scale(38, scale).unwrap();
        check(Arc::new(numerics(2)), PgType::NUMERIC, &["1.5", "10"]);
        check(Arc::new(numerics(2)), PgType::numeric(38, 2), &["1.50", "10.00"]);
        check(Arc::new(StringArray::from(vec!["a  ", ""])), PgType { oid: oid::BPCHAR, typmod: 7 }, &["a", ""]);
        check(Arc::new(StringArray::from(vec!["a  "])), PgType::TEXT, &["a  "]);
    }

    #[test]
    fn long_numerics_are_read_with_the_digits_that_they_need() {
        let (long, longest) = ("10000000000000000000000000000", "-99999999999999999999999999999999999999");
        let usual = "9999999999999999999999999999";
        for (given, scale) in [([long, "2"], 0), ([longest, "7"], 0), ([long, "-1.25"], 2), ([usual, "1.5"], 10)] {
            let read = values(given.map(Some), PgType::NUMERIC).unwrap();
            assert_eq!(read.data_type(), &DataType::Decimal128(38, scale));
            assert_eq!(read.data_type(), &carrier(given, PgType::NUMERIC));
            let written = texts(&read, PgType::NUMERIC).unwrap();
            assert_eq!(written.iter().flatten().collect::<Vec<_>>(), given);
        }
        assert!(values([Some("1e30")], PgType::NUMERIC).is_err());
        assert_eq!(carrier([], PgType::NUMERIC), arrow_type(PgType::NUMERIC));
    }
}
