//! From arrays to what profiles a column, and back from its values to texts.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    Float64Array, Int64Array, PrimitiveArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};

use super::numbers::{Numbers, NumbersSummary, Value};
use super::texts::{Shown, TextTraits, Texts, TextsSummary};
use super::{
    ColumnProfile, Kind, ProfiledColumn, TextBucket, TextLengths, TextPatterns, TopValue, ValuesProfile, Wanted,
};
use crate::error::{Error, Result};

/// Digits that always fit in 64 bits.
const LONG_PRECISION_MAX: u8 = 18;

#[derive(Debug)]
pub(super) struct Column {
    columns: Arc<[ProfiledColumn]>,
    at: usize,
    nulls: u64,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// Not wanted.
    Unseen,
    Longs {
        numbers: Numbers<i64>,
        gathered: Vec<i64>,
    },
    Wides {
        numbers: Numbers<i128>,
        gathered: Vec<i128>,
    },
    Doubles {
        numbers: Numbers<f64>,
        gathered: Vec<f64>,
    },
    Texts(Texts),
}

impl Column {
    pub(super) fn new(columns: &Arc<[ProfiledColumn]>, at: usize, wanted: Wanted) -> Self {
        let values = match columns.get(at) {
            Some(column) if wanted.values => Values::new(column, wanted),
            _ => Values::Unseen,
        };
        Self { columns: Arc::clone(columns), at, nulls: 0, values }
    }

    pub(super) fn size(&self) -> usize {
        match &self.values {
            Values::Unseen => 0,
            Values::Longs { numbers, gathered } => numbers.size() + gathered.capacity() * size_of::<i64>(),
            Values::Wides { numbers, gathered } => numbers.size() + gathered.capacity() * size_of::<i128>(),
            Values::Doubles { numbers, gathered } => numbers.size() + gathered.capacity() * size_of::<f64>(),
            Values::Texts(texts) => texts.size(),
        }
    }

    pub(super) fn push(&mut self, array: &ArrayRef) -> Result<()> {
        let Some(column) = self.columns.get(self.at) else { return Ok(()) };
        let array = as_type(array, &column.stored)?;
        self.nulls += array.logical_null_count() as u64;
        match &mut self.values {
            Values::Unseen => {}
            Values::Longs { numbers, gathered } => push_longs(&array, numbers, gathered)?,
            Values::Wides { numbers, gathered } => {
                gather::<Decimal128Type, _>(&array, gathered, |value| value)?;
                numbers.push(gathered);
            }
            Values::Doubles { numbers, gathered } => {
                gather::<Float64Type, _>(&array, gathered, |value| value)?;
                numbers.push(gathered);
            }
            Values::Texts(texts) => push_texts(&array, column, texts)?,
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: Self) -> Result<()> {
        self.nulls += other.nulls;
        match (&mut self.values, other.values) {
            (Values::Unseen, Values::Unseen) => {}
            (Values::Longs { numbers, .. }, Values::Longs { numbers: other, .. }) => numbers.merge(other),
            (Values::Wides { numbers, .. }, Values::Wides { numbers: other, .. }) => numbers.merge(other),
            (Values::Doubles { numbers, .. }, Values::Doubles { numbers: other, .. }) => numbers.merge(other),
            (Values::Texts(texts), Values::Texts(other)) => texts.merge(other),
            _ => return Err(Error::internal("profiles of different types cannot be merged")),
        }
        Ok(())
    }

    pub(super) fn finish(self, rows: u64) -> Result<ColumnProfile> {
        let Some(column) = self.columns.get(self.at) else { return Ok(ColumnProfile::default()) };
        let values = match self.values {
            Values::Unseen => None,
            Values::Longs { numbers, .. } => of_numbers(numbers.finish(unit_of(column)), column)?,
            Values::Wides { numbers, .. } => of_numbers(numbers.finish(unit_of(column)), column)?,
            Values::Doubles { numbers, .. } => of_numbers(numbers.finish(unit_of(column)), column)?,
            Values::Texts(texts) => texts.finish().map(|summary| of_texts(summary, column)).transpose()?,
        };
        Ok(ColumnProfile { rows, nulls: self.nulls, values })
    }
}

impl Values {
    fn new(column: &ProfiledColumn, wanted: Wanted) -> Self {
        match (&column.stored, column.kind) {
            (DataType::Decimal128(precision, _), Kind::Number) if *precision > LONG_PRECISION_MAX => {
                Self::Wides { numbers: Numbers::new(false), gathered: Vec::new() }
            }
            (DataType::Float64, Kind::Number) => Self::Doubles { numbers: Numbers::new(false), gathered: Vec::new() },
            (_, Kind::Number | Kind::Moment | Kind::Flag) => {
                Self::Longs { numbers: Numbers::new(column.kind == Kind::Moment), gathered: Vec::new() }
            }
            (_, Kind::Text | Kind::PaddedText | Kind::Bytes | Kind::Token | Kind::Opaque) => {
                let is_text = matches!(column.kind, Kind::Text | Kind::PaddedText);
                Self::Texts(Texts::new(TextTraits {
                    is_ordered: column.kind != Kind::Opaque,
                    is_measured: is_text || column.kind == Kind::Bytes,
                    is_binary: column.kind == Kind::Bytes,
                    is_padded: column.kind == Kind::PaddedText,
                    has_patterns: is_text && wanted.patterns,
                }))
            }
        }
    }
}

fn as_type(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    let is_binary = |ty: &DataType| matches!(ty, DataType::Binary | DataType::BinaryView | DataType::LargeBinary);
    let is_alike = |test: &dyn Fn(&DataType) -> bool| test(array.data_type()) && test(wanted);
    if array.data_type() == wanted || is_alike(&is_text) || is_alike(&is_binary) {
        return Ok(Arc::clone(array));
    }
    Ok(cast_with_options(array, wanted, &CastOptions { safe: false, ..CastOptions::default() })?)
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

fn of_type<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<&PrimitiveArray<T>> {
    array.as_primitive_opt::<T>().ok_or_else(|| wrong_type(array.data_type()))
}

fn wrong_type(ty: &DataType) -> Error {
    Error::internal(format!("values of type {ty} cannot be profiled so"))
}

/// The values that are not null.
fn gather<T: ArrowPrimitiveType, V>(
    array: &ArrayRef,
    gathered: &mut Vec<V>,
    of: impl Fn(T::Native) -> V,
) -> Result<()> {
    let array = of_type::<T>(array)?;
    gathered.clear();
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => gathered.extend(array.values().iter().map(|value| of(*value))),
        Some(_) => gathered.extend(array.iter().flatten().map(of)),
    }
    Ok(())
}

fn push_longs(array: &ArrayRef, numbers: &mut Numbers<i64>, gathered: &mut Vec<i64>) -> Result<()> {
    match array.data_type() {
        DataType::Int64 => gather::<Int64Type, _>(array, gathered, |value| value)?,
        DataType::Date32 => gather::<Date32Type, _>(array, gathered, |days| match days {
            i32::MIN => i64::MIN,
            i32::MAX => i64::MAX,
            days => i64::from(days),
        })?,
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            gather::<TimestampMicrosecondType, _>(array, gathered, |value| value)?;
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            gather::<Time64MicrosecondType, _>(array, gathered, |value| value)?;
        }
        DataType::Decimal128(..) => gather::<Decimal128Type, _>(array, gathered, |value| value as i64)?,
        DataType::Boolean => {
            let flags: &BooleanArray = array.as_boolean_opt().ok_or_else(|| wrong_type(array.data_type()))?;
            gathered.clear();
            gathered.extend(flags.iter().flatten().map(i64::from));
        }
        other => return Err(wrong_type(other)),
    }
    numbers.push(gathered);
    Ok(())
}

fn push_texts(array: &ArrayRef, column: &ProfiledColumn, texts: &mut Texts) -> Result<()> {
    match array.data_type() {
        ty if column.kind == Kind::Opaque && !is_text(ty) => {
            return column.texts.each(array, &mut |text| {
                if let Some(text) = text {
                    texts.push(text);
                }
            });
        }
        DataType::Utf8 => array.as_string::<i32>().iter().flatten().for_each(|text| texts.push(text.as_bytes())),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().flatten().for_each(|text| texts.push(text.as_bytes())),
        DataType::Utf8View => array.as_string_view().iter().flatten().for_each(|text| texts.push(text.as_bytes())),
        DataType::Binary => array.as_binary::<i32>().iter().flatten().for_each(|bytes| texts.push(bytes)),
        DataType::LargeBinary => array.as_binary::<i64>().iter().flatten().for_each(|bytes| texts.push(bytes)),
        DataType::BinaryView => array.as_binary_view().iter().flatten().for_each(|bytes| texts.push(bytes)),
        other => return Err(wrong_type(other)),
    }
    Ok(())
}

/// Values that can stand in an array again.
trait Shows: Value {
    /// An array of the column's stored type.
    fn array(values: Vec<Self>, stored: &DataType) -> Result<ArrayRef>;
}

impl Shows for i64 {
    fn array(values: Vec<Self>, stored: &DataType) -> Result<ArrayRef> {
        Ok(match stored {
            DataType::Int64 => Arc::new(Int64Array::from(values)),
            DataType::Date32 => {
                let days = |value: i64| i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX });
                Arc::new(values.into_iter().map(|value| Some(days(value))).collect::<Date32Array>())
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Arc::new(TimestampMicrosecondArray::from(values).with_timezone_opt(zone.clone()))
            }
            DataType::Time64(TimeUnit::Microsecond) => Arc::new(Time64MicrosecondArray::from(values)),
            DataType::Decimal128(..) => i128::array(values.into_iter().map(i128::from).collect(), stored)?,
            DataType::Boolean => Arc::new(values.into_iter().map(|value| Some(value != 0)).collect::<BooleanArray>()),
            other => return Err(wrong_type(other)),
        })
    }
}

impl Shows for i128 {
    fn array(values: Vec<Self>, stored: &DataType) -> Result<ArrayRef> {
        Ok(Arc::new(Decimal128Array::from(values).with_data_type(stored.clone())))
    }
}

impl Shows for f64 {
    fn array(values: Vec<Self>, _: &DataType) -> Result<ArrayRef> {
        Ok(Arc::new(Float64Array::from(values)))
    }
}

fn shown<V: Shows>(values: Vec<V>, column: &ProfiledColumn) -> Result<Vec<String>> {
    texts_of(&V::array(values, &column.stored)?, column)
}

fn texts_of(array: &ArrayRef, column: &ProfiledColumn) -> Result<Vec<String>> {
    let array = as_type(array, &column.shown)?;
    let mut texts = Vec::with_capacity(array.len());
    column.texts.each(&array, &mut |text| {
        texts.push(String::from_utf8_lossy(text.unwrap_or_default()).into_owned());
    })?;
    Ok(texts)
}

/// Decimals are counted in their last digit.
fn unit_of(column: &ProfiledColumn) -> f64 {
    match column.stored {
        DataType::Decimal128(_, scale) => 10_f64.powi(i32::from(scale)),
        _ => 1.0,
    }
}

fn of_numbers<V: Shows>(summary: Option<NumbersSummary<V>>, column: &ProfiledColumn) -> Result<Option<ValuesProfile>> {
    let Some(summary) = summary else { return Ok(None) };
    let mut values = vec![summary.least, summary.greatest];
    values.extend(summary.top.iter().map(|(value, _)| *value));
    values.extend(summary.buckets.iter().flat_map(|bucket| [bucket.from, bucket.to]));
    let mut texts = shown(values, column)?.into_iter();
    let (least, greatest) = (texts.next(), texts.next());
    let mut next = || texts.next().unwrap_or_default();
    let top = summary.top.iter().map(|(_, count)| TopValue { text: next(), is_cut: false, count: *count }).collect();
    let buckets = summary.buckets.iter();
    let buckets = buckets.map(|bucket| TextBucket { from: next(), to: next(), count: bucket.count }).collect();
    let is_number = column.kind == Kind::Number;
    let unit = unit_of(column);
    Ok(Some(ValuesProfile {
        distinct: summary.distinct,
        is_exact: summary.is_exact,
        least,
        greatest,
        mean: is_number.then_some(summary.mean),
        deviation: summary.deviation.filter(|_| is_number).map(|deviation| deviation / unit),
        quantiles: is_number.then(|| summary.quantiles.map(|quantile| quantile / unit)),
        top,
        top_error: summary.top_error,
        buckets: (column.kind != Kind::Flag).then_some(buckets),
        lengths: None,
        patterns: None,
    }))
}

fn of_texts(summary: TextsSummary, column: &ProfiledColumn) -> Result<ValuesProfile> {
    let bytes = |values: Vec<Vec<u8>>| -> Result<Vec<String>> {
        if column.kind != Kind::Bytes {
            return Ok(values.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect());
        }
        let array: ArrayRef = Arc::new(values.into_iter().map(Some).collect::<BinaryArray>());
        texts_of(&array, column)
    };
    let (least, greatest) = summary.ends.unzip();
    let mut ends = bytes(least.into_iter().chain(greatest).collect())?.into_iter();
    let (kept, counts): (Vec<Shown>, Vec<u64>) = summary.top.into_iter().unzip();
    let cuts: Vec<bool> = kept.iter().map(|value| value.is_cut).collect();
    let texts = bytes(kept.into_iter().map(|value| value.bytes).collect())?;
    let top = texts.into_iter().zip(cuts).zip(counts);
    Ok(ValuesProfile {
        distinct: summary.distinct,
        is_exact: summary.is_exact,
        least: ends.next(),
        greatest: ends.next(),
        top: top.map(|((text, is_cut), count)| TopValue { text, is_cut, count }).collect(),
        top_error: summary.top_error,
        lengths: summary.lengths.map(|(least, greatest, mean)| TextLengths { least, greatest, mean }),
        patterns: summary.patterns.map(|top| TextPatterns {
            top,
            error: summary.patterns_error,
            number: summary.patterns_number,
            is_ascii: summary.patterns_are_ascii,
        }),
        ..ValuesProfile::default()
    })
}
