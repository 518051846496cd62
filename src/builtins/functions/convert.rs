//! The casts themselves, array to array.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use datafusion::common::ScalarValue;

use super::arithmetic::out_of_range;
use super::date_arithmetic::{from_local, interval as make_interval, is_infinite, micros_of, midnight, to_local};
use super::{floats, numeric, style};
use crate::builtins::Context;
use crate::encode::calendar::{
    DATE_INFINITY, DATE_MINUS_INFINITY, MICROS_PER_DAY, PG_EPOCH_MICROS, TIMESTAMP_MINUS_INFINITY, round_micros,
};
use crate::encode::input::{self, IntervalValue, fit_bpchar, fit_interval, fit_varchar, numeric_overflow};
use crate::encode::to_text;
use crate::encode::types::{PgType, arrow_type, element_of, format_type, oid};
use crate::error::{Error, Result, SqlState};

/// One cast, with all that it may depend on.
pub struct Conversion<'a> {
    pub from: PgType,
    pub to: PgType,
    /// Written by the user: too long texts are cut, not refused.
    pub explicit: bool,
    pub context: &'a Arc<Context>,
    /// The Arrow type of the result.
    pub carrier: &'a DataType,
}

/// The array as exactly one Arrow type.
fn carried<A: Array + Clone + 'static>(array: &ArrayRef, ty: &DataType) -> Result<A> {
    let array = if array.data_type() == ty { array.clone() } else { crate::encode::cast(array, ty)? };
    let found = array.as_any().downcast_ref::<A>().cloned();
    found.ok_or_else(|| Error::internal(format!("cannot read {} in a cast", array.data_type())))
}

fn text_of(array: &ArrayRef) -> Result<StringArray> {
    carried(array, &DataType::Utf8)
}

/// The nearest floats; Arrow's cast divides a rounded value by a rounded power of ten.
fn floats_of(array: &ArrayRef) -> Result<Float64Array> {
    match array.data_type() {
        DataType::Decimal128(_, scale) => {
            let values: Decimal128Array = carried(array, array.data_type())?;
            Ok(values.unary(|value| numeric::to_float(value, *scale)))
        }
        _ => carried(array, &DataType::Float64),
    }
}

/// Applies a fallible step to each value that is not NULL.
fn map<A, T>(array: &PrimitiveArray<A>, op: impl Fn(A::Native) -> Result<T::Native>) -> Result<PrimitiveArray<T>>
where
    A: ArrowPrimitiveType,
    T: ArrowPrimitiveType,
{
    array.try_unary::<_, T, Error>(op)
}

/// What the innermost lists of a type hold; the type itself if it is no list.
fn innermost(mut ty: &DataType) -> &DataType {
    while let DataType::List(field) = ty {
        ty = field.data_type();
    }
    ty
}

impl Conversion<'_> {
    pub fn array(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let converted = if self.from.oid == self.to.oid { array.clone() } else { self.value(array)? };
        self.modifier(&converted)
    }

    fn value(&self, array: &ArrayRef) -> Result<ArrayRef> {
        if let (Some(from), Some(to)) = (element_of(self.from.oid), element_of(self.to.oid)) {
            return self.elements(array, from, to);
        }
        let is_text = |ty: u32| matches!(ty, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN);
        match (self.from.oid, self.to.oid) {
            (oid::BPCHAR, to) if is_text(to) => self.without_padding(array),
            (from, to) if is_text(from) && to == oid::CHAR => self.texts(array, |text, out| {
                out.push_str(&input::char_type(text));
                Ok(())
            }),
            (from, to) if is_text(from) && to == oid::NAME => self.texts(array, |text, out| {
                out.push_str(input::name(text));
                Ok(())
            }),
            (from, to) if (is_text(from) || from == oid::CHAR) && is_text(to) => Ok(Arc::new(text_of(array)?)),
            (oid::JSON, oid::JSONB) => self.texts(array, |text, out| {
                out.push_str(&input::jsonb(text)?);
                Ok(())
            }),
            (oid::JSONB, to) if to != oid::JSON && !is_text(to) => self.jsonb_value(array),
            (_, to) if is_text(to) => to_text::texts(array, self.from, &Arc::new(style::text_style(self.context))),
            (from, _) if is_text(from) => self.parsed_text(array),
            (oid::BOOL, oid::INT4) => Ok(crate::encode::cast(array, &DataType::Int32)?),
            (oid::INT4, oid::BOOL) => Ok(crate::encode::cast(array, &DataType::Boolean)?),
            (oid::INT4, oid::CHAR) => self.int_to_char(array),
            (oid::CHAR, oid::INT4) => {
                let texts = text_of(array)?;
                let values =
                    texts.iter().map(|text| text.map(|text| text.bytes().next().map_or(0, |b| i32::from(b as i8))));
                Ok(Arc::new(values.collect::<Int32Array>()))
            }
            _ if self.carrier.is_integer() => self.to_integer(array),
            (_, oid::NUMERIC) => self.to_numeric(array),
            (_, oid::FLOAT4) => self.to_float4(array),
            (_, oid::FLOAT8) => Ok(Arc::new(floats_of(array)?)),
            _ => self.to_datetime(array),
        }
    }

    fn elements(&self, array: &ArrayRef, from: u32, to: u32) -> Result<ArrayRef> {
        let wrong = || Error::internal(format!("cannot read {} as an array", array.data_type()));
        let lists = array.as_list_opt::<i32>().ok_or_else(wrong)?;
        let element = PgType { oid: to, typmod: self.to.typmod };
        let carrier = match self.carrier {
            DataType::List(_) => innermost(self.carrier).clone(),
            _ => arrow_type(element),
        };
        let inner = Conversion {
            from: PgType::of(from),
            to: element,
            explicit: self.explicit,
            context: self.context,
            carrier: &carrier,
        };
        let values = if matches!(lists.values().data_type(), DataType::List(_)) {
            self.elements(lists.values(), from, to)?
        } else {
            inner.array(lists.values())?
        };
        let field = Arc::new(Field::new("item", values.data_type().clone(), true));
        Ok(Arc::new(ListArray::try_new(field, lists.offsets().clone(), values, lists.nulls().cloned())?))
    }

    fn texts(&self, array: &ArrayRef, write: impl Fn(&str, &mut String) -> Result<()>) -> Result<ArrayRef> {
        let texts = text_of(array)?;
        let mut builder = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        let mut buffer = String::new();
        for text in &texts {
            match text {
                Some(text) => {
                    buffer.clear();
                    write(text, &mut buffer)?;
                    builder.append_value(&buffer);
                }
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    fn without_padding(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let texts = text_of(array)?;
        Ok(Arc::new(texts.iter().map(|text| text.map(|text| text.trim_end_matches(' '))).collect::<StringArray>()))
    }

    /// By the type's input function; numeric at the scale of the result.
    fn parsed_text(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let texts = text_of(array)?;
        let context = style::input_context(self.context);
        let target = match self.carrier {
            DataType::Decimal128(precision, scale) => PgType::numeric(*precision, *scale),
            // All arrays of the result are of one scale.
            DataType::List(_) => match innermost(self.carrier) {
                DataType::Decimal128(precision, scale) => {
                    PgType { typmod: PgType::numeric(*precision, *scale).typmod, ..self.to }
                }
                _ => self.to,
            },
            _ => self.to,
        };
        match self.to.oid {
            oid::INT4 => self.parsed::<Int32Type>(&texts, input::int4),
            oid::INT8 => self.parsed::<Int64Type>(&texts, input::int8),
            oid::FLOAT8 => self.parsed::<Float64Type>(&texts, input::float8),
            oid::DATE => self.parsed::<Date32Type>(&texts, |text| input::date(text, &context)),
            oid::TIMESTAMP => {
                self.parsed::<TimestampMicrosecondType>(&texts, |text| input::timestamp(text, self.to.typmod, &context))
            }
            oid::TIMESTAMPTZ => self
                .parsed::<TimestampMicrosecondType>(&texts, |text| input::timestamptz(text, self.to.typmod, &context)),
            _ => {
                let null = ScalarValue::try_from(self.carrier)?;
                let values = texts.iter().map(|text| match text {
                    Some(text) => match super::names::lookup(self.context, text, self.to.oid)? {
                        Some(object) => Ok(ScalarValue::Int64(Some(i64::from(object)))),
                        None => input::parse_scalar(text, target, &context),
                    },
                    None => Ok(null.clone()),
                });
                let values = values.collect::<Result<Vec<_>>>()?;
                if values.is_empty() {
                    return Ok(new_empty_array(self.carrier));
                }
                Ok(ScalarValue::iter_to_array(values)?)
            }
        }
    }

    fn parsed<T: ArrowPrimitiveType>(
        &self,
        texts: &StringArray,
        parse: impl Fn(&str) -> Result<T::Native>,
    ) -> Result<ArrayRef> {
        let mut builder = PrimitiveBuilder::<T>::with_capacity(texts.len());
        for text in texts {
            builder.append_option(text.map(&parse).transpose()?);
        }
        Ok(Arc::new(builder.finish().with_data_type(self.carrier.clone())))
    }

    fn int_to_char(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let values: Int32Array = carried(array, &DataType::Int32)?;
        let mut builder = StringBuilder::new();
        for value in &values {
            match value {
                None => builder.append_null(),
                Some(0) => builder.append_value(""),
                Some(value) => match i8::try_from(value) {
                    Ok(byte) if byte > 0 => builder.append_value(char::from(byte as u8).to_string()),
                    Ok(byte) => builder.append_value(format!("\\{:03o}", byte as u8)),
                    Err(_) => return Err(Error::new(SqlState::NumericValueOutOfRange, "\"char\" out of range")),
                },
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// Floats round half to even, numerics half away from zero; what does not fit is 22003.
    fn to_integer(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let (low, high) = match self.to.oid {
            oid::INT2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
            oid::INT4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
            oid::INT8 => (i64::MIN, i64::MAX),
            _ => (0, i64::from(u32::MAX)),
        };
        let refuse = || match self.to.oid {
            oid::INT2 | oid::INT4 | oid::INT8 => out_of_range(self.carrier),
            _ => Error::new(SqlState::NumericValueOutOfRange, "OID out of range"),
        };
        let within = |value: i64| if (low..=high).contains(&value) { Ok(value) } else { Err(refuse()) };
        let wide: Int64Array = match array.data_type() {
            DataType::Float32 | DataType::Float64 => {
                let values: Float64Array = carried(array, &DataType::Float64)?;
                map::<_, Int64Type>(&values, |value| {
                    let rounded = value.round_ties_even();
                    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded);
                    if fits { within(rounded as i64) } else { Err(refuse()) }
                })?
            }
            DataType::Decimal128(_, scale) => {
                let values: Decimal128Array = carried(array, array.data_type())?;
                map::<_, Int64Type>(&values, |value| {
                    let whole = numeric::rescale(value, *scale, 0)?;
                    i64::try_from(whole).map_err(|_| refuse()).and_then(within)
                })?
            }
            _ => {
                let values: Int64Array = carried(array, &DataType::Int64)?;
                // An OID above 2^31 becomes a negative integer, as in PostgreSQL.
                let from_oid = self.from.oid != oid::INT8 && arrow_type(self.from) == DataType::Int64;
                map::<_, Int64Type>(&values, |value| {
                    let value = if from_oid && self.to.oid == oid::INT4 { i64::from(value as i32) } else { value };
                    within(value)
                })?
            }
        };
        Ok(crate::encode::cast(&wide, self.carrier)?)
    }

    fn to_numeric(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let DataType::Decimal128(precision, scale) = *self.carrier else {
            return Err(Error::internal("numeric is carried by a decimal"));
        };
        let values: Decimal128Array = match array.data_type() {
            DataType::Float32 | DataType::Float64 => {
                let single = *array.data_type() == DataType::Float32;
                let digits = if single { numeric::FLOAT4_DIGITS } else { numeric::FLOAT8_DIGITS };
                let values: Float64Array = carried(array, &DataType::Float64)?;
                map::<_, Decimal128Type>(&values, |value| {
                    numeric::cast_float(value, digits, scale).map_err(|error| match self.to.precision_scale() {
                        Some((precision, scale)) if value.is_finite() => numeric_overflow(precision, scale),
                        _ => error,
                    })
                })?
            }
            other => {
                let decimals = numeric::decimal_type(other);
                let values: Decimal128Array = carried(array, &decimals)?;
                let from = numeric::scale_of(&decimals);
                map::<_, Decimal128Type>(&values, |value| {
                    numeric::rescale(value, from, scale).map_err(|_| numeric_overflow(precision, scale))
                })?
            }
        };
        self.fitted(values, precision, scale)
    }

    fn fitted(&self, values: Decimal128Array, precision: u8, scale: i8) -> Result<ArrayRef> {
        let limit = 10_u128.checked_pow(precision.into()).unwrap_or(u128::MAX);
        if values.iter().flatten().any(|value| value.unsigned_abs() >= limit) {
            return Err(numeric_overflow(precision, scale));
        }
        Ok(Arc::new(values.with_data_type(DataType::Decimal128(precision, scale))))
    }

    fn to_float4(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let values = floats_of(array)?;
        Ok(Arc::new(map::<_, Float32Type>(&values, |value| {
            let narrow = value as f32;
            if narrow.is_infinite() && value.is_finite() {
                return Err(floats::overflow());
            }
            if narrow == 0.0 && value != 0.0 { Err(floats::underflow()) } else { Ok(narrow) }
        })?))
    }

    fn jsonb_value(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let texts = text_of(array)?;
        let target = format_type(PgType::of(self.to.oid));
        let mut plain = StringBuilder::new();
        for text in &texts {
            let Some(text) = text else {
                plain.append_null();
                continue;
            };
            let kind = match text.bytes().next() {
                Some(b't' | b'f') => "boolean",
                Some(b'"') => "string",
                Some(b'{') => "object",
                Some(b'[') => "array",
                Some(b'n') => "null",
                _ => "numeric",
            };
            let wanted = if self.to.oid == oid::BOOL { "boolean" } else { "numeric" };
            if kind != wanted {
                let message = format!("cannot cast jsonb {kind} to type {target}");
                return Err(Error::new(SqlState::InvalidParameterValue, message));
            }
            plain.append_value(text);
        }
        let plain: ArrayRef = Arc::new(plain.finish());
        if !self.carrier.is_integer() {
            return self.parsed_text(&plain);
        }
        // By way of numeric, which rounds.
        let carrier = DataType::Decimal128(numeric::DIGITS_MAX, 0);
        let whole = Conversion { from: PgType::TEXT, to: PgType::NUMERIC, carrier: &carrier, ..*self };
        let numbers = whole.parsed_text(&plain).map_err(|error| match error.sqlstate() {
            SqlState::NumericValueOutOfRange => out_of_range(self.carrier),
            _ => error,
        })?;
        Conversion { from: PgType::NUMERIC, ..*self }.value(&numbers)
    }

    fn to_datetime(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let zone = self.context.time_zone;
        let micros = |array: &ArrayRef| -> Result<TimestampMicrosecondArray> {
            let ty = match array.data_type() {
                DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
                other => other.clone(),
            };
            carried(array, &ty)
        };
        let day_of = |local: i64| -> Result<i32> {
            if is_infinite(local) {
                return Ok(if local == TIMESTAMP_MINUS_INFINITY { DATE_MINUS_INFINITY } else { DATE_INFINITY });
            }
            i32::try_from(local.div_euclid(MICROS_PER_DAY)).map_err(|_| super::date_arithmetic::date_out_of_range())
        };
        Ok(match (self.from.oid, self.to.oid) {
            (oid::DATE, oid::TIMESTAMP | oid::TIMESTAMPTZ) => {
                let dates: Date32Array = carried(array, &DataType::Date32)?;
                let with_zone = self.to.oid == oid::TIMESTAMPTZ;
                let moments = map::<_, TimestampMicrosecondType>(&dates, |date| {
                    let local = midnight(date)?;
                    Ok(if with_zone { from_local(zone, local) } else { local })
                })?;
                Arc::new(moments.with_data_type(self.carrier.clone()))
            }
            (oid::TIMESTAMP, oid::TIMESTAMPTZ) => {
                let moments = map::<_, TimestampMicrosecondType>(&micros(array)?, |local| Ok(from_local(zone, local)))?;
                Arc::new(moments.with_data_type(self.carrier.clone()))
            }
            (oid::TIMESTAMPTZ, oid::TIMESTAMP) => {
                let moments = map::<_, TimestampMicrosecondType>(&micros(array)?, |utc| Ok(to_local(zone, utc)))?;
                Arc::new(moments.with_data_type(self.carrier.clone()))
            }
            (oid::TIMESTAMP, oid::DATE) => Arc::new(map::<_, Date32Type>(&micros(array)?, day_of)?),
            (oid::TIMESTAMPTZ, oid::DATE) => {
                Arc::new(map::<_, Date32Type>(&micros(array)?, |utc| day_of(to_local(zone, utc)))?)
            }
            (from @ (oid::TIMESTAMP | oid::TIMESTAMPTZ), oid::TIME) => {
                // Infinity has no time of day: PostgreSQL gives NULL.
                Arc::new(micros(array)?.unary_opt::<_, Time64MicrosecondType>(|moment| {
                    let local = if from == oid::TIMESTAMPTZ { to_local(zone, moment) } else { moment };
                    (!is_infinite(moment)).then(|| local.rem_euclid(MICROS_PER_DAY))
                }))
            }
            (oid::TIME, oid::INTERVAL) => {
                let times: Time64MicrosecondArray = carried(array, &DataType::Time64(TimeUnit::Microsecond))?;
                Arc::new(map::<_, IntervalMonthDayNanoType>(&times, |time| make_interval(0, 0, time))?)
            }
            (oid::INTERVAL, oid::TIME) => {
                let spans: IntervalMonthDayNanoArray = carried(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
                Arc::new(map::<_, Time64MicrosecondType>(
                    &spans,
                    |span| Ok(micros_of(span).rem_euclid(MICROS_PER_DAY)),
                )?)
            }
            (from, to) => {
                let (from, to) = (format_type(PgType::of(from)), format_type(PgType::of(to)));
                return Err(Error::new(SqlState::CannotCoerce, format!("cannot cast type {from} to {to}")));
            }
        })
    }

    /// Applies the target's modifier.
    fn modifier(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let typmod = self.to.typmod;
        if typmod < 0 {
            return Ok(array.clone());
        }
        if let Some(element) = element_of(self.to.oid) {
            // Elements were fitted one by one, unless only the modifier differs.
            return if self.from.oid == self.to.oid {
                self.elements(array, element, element)
            } else {
                Ok(array.clone())
            };
        }
        let length = self.to.length_max();
        match self.to.oid {
            oid::VARCHAR => self.texts(array, |text, out| {
                out.push_str(fit_varchar(text, length, self.explicit)?);
                Ok(())
            }),
            oid::BPCHAR => self.texts(array, |text, out| {
                out.push_str(&fit_bpchar(text, length, self.explicit)?);
                Ok(())
            }),
            oid::NUMERIC => match self.to.precision_scale() {
                Some((precision, scale)) => {
                    let carrier = DataType::Decimal128(precision, scale);
                    Conversion { carrier: &carrier, ..*self }.to_numeric(array)
                }
                None => Ok(array.clone()),
            },
            oid::TIMESTAMP | oid::TIMESTAMPTZ => {
                let ty = array.data_type().clone();
                let values: TimestampMicrosecondArray = carried(array, &ty)?;
                let rounded = values.unary::<_, TimestampMicrosecondType>(|micros| {
                    if is_infinite(micros) {
                        return micros;
                    }
                    // Rounding counts from 2000, where PostgreSQL's zero is.
                    round_micros(micros - PG_EPOCH_MICROS, typmod) + PG_EPOCH_MICROS
                });
                Ok(Arc::new(rounded.with_data_type(ty)))
            }
            oid::TIME => {
                let values: Time64MicrosecondArray = carried(array, &DataType::Time64(TimeUnit::Microsecond))?;
                Ok(Arc::new(values.unary::<_, Time64MicrosecondType>(|micros| round_micros(micros, typmod))))
            }
            oid::INTERVAL => {
                let values: IntervalMonthDayNanoArray =
                    carried(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
                Ok(Arc::new(map::<_, IntervalMonthDayNanoType>(&values, |value| {
                    fit_interval(IntervalValue::from_arrow(value), typmod).to_arrow()
                })?))
            }
            _ => Ok(array.clone()),
        }
    }
}
