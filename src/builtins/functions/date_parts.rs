//! `extract` and `date_part`.

use arrow::array::ArrayRef;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Float64Type};
use datafusion::logical_expr::ReturnFieldArgs;

use super::build::{contextual, in_context, scalar, typed};
use super::date_arithmetic::{Moments, is_infinite, to_local};
use super::kernel::{Call, Kernel, Returns, some};
use super::numeric::{quotient, rescale, scale_of};
use super::time_field::{Part, Units, part};
use super::{Function, Volatility};
use crate::encode::TextTimeZone;
use crate::encode::calendar::{MICROS_PER_DAY, offset_at};
use crate::error::Result;

/// The Julian day of 1970-01-01.
const UNIX_EPOCH_JULIAN_DAY: i64 = 2_440_588;

/// A part of a moment: in millionths, or of an infinite moment.
#[derive(Clone, Copy)]
enum PartValue {
    Finite(i128),
    /// A Julian day, and microseconds of it.
    Julian(i64, i64),
    /// A part that grows for ever is infinite itself; whether the moment is the later infinity.
    Infinite(bool),
}

/// What a part of an infinite moment is: NULL when it comes again and again.
fn infinite_part(part: Part, moment: i64, type_name: &str) -> Result<Option<PartValue>> {
    // Refuses the parts that no moment has.
    match type_name {
        _ if part == Part::Julian => 0,
        "timestamp with time zone" => part.of_timestamptz(0, 0, 0)?,
        _ => part.of_timestamp(0, type_name)?,
    };
    Ok(part.grows().then_some(PartValue::Infinite(moment > 0)))
}

/// The name of the type of argument 1.
fn type_name(call: &Call) -> Result<&'static str> {
    Ok(match call.raw(1)?.data_type() {
        DataType::Interval(_) => "interval",
        DataType::Time64(_) => "time without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Date32 => "date",
        _ => "timestamp without time zone",
    })
}

/// Hands the part of each row of argument 1, a value of the type `name`, to `finish`.
fn part_values<T: ArrowPrimitiveType>(
    call: &Call,
    name: &'static str,
    finish: impl Fn(PartValue) -> Result<T::Native>,
) -> Result<ArrayRef> {
    let zone = call.context_if_any().map_or(TextTimeZone::Fixed(0), |context| context.time_zone);
    let units = Units::of(call, name)?;
    let finite = |value: i128| finish(PartValue::Finite(value)).map(Some);
    let local_part = |unit: Part, local: i64, value: &dyn Fn() -> Result<i128>| {
        if unit == Part::Julian {
            let day = local.div_euclid(MICROS_PER_DAY) + UNIX_EPOCH_JULIAN_DAY;
            return finish(PartValue::Julian(day, local.rem_euclid(MICROS_PER_DAY))).map(Some);
        }
        finish(PartValue::Finite(value()?)).map(Some)
    };
    match name {
        "interval" => {
            let values = call.interval(1)?;
            call.values::<T>(|row| {
                let (unit, value) = (some!(units.get(row)?), some!(values.get(row)));
                finite(unit.of_interval(value)?)
            })
        }
        "time without time zone" => {
            let values = call.time(1)?;
            call.values::<T>(|row| {
                let (unit, value) = (some!(units.get(row)?), some!(values.get(row)));
                finite(unit.of_time(value)?)
            })
        }
        "timestamp with time zone" => {
            let values = call.timestamp(1)?;
            call.values::<T>(|row| {
                let (unit, value) = (some!(units.get(row)?), some!(values.get(row)));
                if is_infinite(value) {
                    return infinite_part(unit, value, name)?.map(&finish).transpose();
                }
                let local = to_local(zone, value);
                local_part(unit, local, &|| unit.of_timestamptz(value, local, offset_at(zone, value)))
            })
        }
        _ => {
            let values = Moments::of(call, 1)?;
            call.values::<T>(|row| {
                let (unit, value) = (some!(units.get(row)?), some!(values.get(row)?));
                if is_infinite(value) {
                    return infinite_part(unit, value, name)?.map(&finish).transpose();
                }
                local_part(unit, value, &|| unit.of_timestamp(value, name))
            })
        }
    }
}

/// A numeric has no room for infinity: 22003, as for a cast of such a float.
fn extract(call: &Call) -> Result<ArrayRef> {
    let scale = scale_of(call.returns);
    part_values::<Decimal128Type>(call, type_name(call)?, |value| match value {
        PartValue::Finite(value) => rescale(value, 6, scale),
        PartValue::Julian(day, micros) => {
            let fraction = quotient((micros.into(), 0), (MICROS_PER_DAY.into(), 0), scale)?;
            Ok(rescale(day.into(), 0, scale)? + fraction)
        }
        PartValue::Infinite(_) => super::numeric::from_float(f64::INFINITY, scale),
    })
}

fn date_part(call: &Call) -> Result<ArrayRef> {
    // A date is a timestamp here, which has hours.
    let name = match type_name(call)? {
        "date" => "timestamp without time zone",
        other => other,
    };
    part_values::<Float64Type>(call, name, |value| {
        Ok(match value {
            PartValue::Finite(value) => value as f64 / 1e6,
            PartValue::Julian(day, micros) => day as f64 + micros as f64 / MICROS_PER_DAY as f64,
            PartValue::Infinite(true) => f64::INFINITY,
            PartValue::Infinite(false) => f64::NEG_INFINITY,
        })
    })
}

/// Whole numbers without a point, seconds with six digits.
fn extract_type(args: &ReturnFieldArgs) -> Result<DataType> {
    let is_date = args.arg_fields.get(1).is_some_and(|field| matches!(field.data_type(), DataType::Date32));
    let scale = match args.scalar_arguments.first().copied().flatten().and_then(|unit| unit.try_as_str().flatten()) {
        Some(unit) => part(unit, "timestamp").map_or(6, |part| part.scale(is_date)),
        None => 6,
    };
    Ok(DataType::Decimal128(38, scale))
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        typed(6199, "extract(text, date) numeric", extract_type, extract),
        typed(6200, "extract(text, time) numeric", extract_type, extract),
        typed(6202, "extract(text, timestamp) numeric", extract_type, extract),
        typed(6204, "extract(text, interval) numeric", extract_type, extract),
        contextual(6203, "extract(text, timestamptz) numeric", |context, arguments| {
            Kernel::new("extract", 6203, Volatility::Stable, Returns::Of(extract_type), extract)
                .with_context(context)
                .call(arguments)
        }),
        scalar(1384, "date_part(text, date) float8", date_part),
        scalar(1385, "date_part(text, time) float8", date_part),
        scalar(2021, "date_part(text, timestamp) float8", date_part),
        scalar(1172, "date_part(text, interval) float8", date_part),
        in_context(1171, "date_part(text, timestamptz) float8", date_part),
    ]
}
