//! Functions of dates, times, timestamps and intervals.

use arrow::array::ArrayRef;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, ReturnFieldArgs};

use super::build::{contextual, scalar, typed, with_context};
use super::date_arithmetic::{
    Moments, from_local, interval, interval_out_of_range, is_infinite, micros_of, span, timestamp_out_of_range,
    to_local,
};
use super::kernel::{Call, some};
use super::numeric::{rescale, scale_of};
use super::time_field::{Part, part};
use super::{Function, Volatility};
use crate::builtins::Context;
use crate::encode::TextTimeZone;
use crate::encode::calendar::{
    DATE_INFINITY, DATE_MINUS_INFINITY, MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil,
    days_in_month, offset_at,
};
use crate::encode::types::{PgType, arrow_type};
use crate::error::{Error, Result, SqlState};

fn moment_literal(micros: i64) -> Expr {
    Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())), None)
}

fn local_now(context: &Context) -> i64 {
    to_local(context.time_zone, context.transaction_start.timestamp_micros())
}

fn clock(call: &Call) -> Result<ArrayRef> {
    call.values::<TimestampMicrosecondType>(|_| Ok(Some(chrono::Utc::now().timestamp_micros())))
}

/// The zone that a name, an abbreviation or an offset stands for. 22023.
pub fn zone(name: &str) -> Result<TextTimeZone> {
    let unknown = || Error::new(SqlState::InvalidParameterValue, format!("time zone \"{name}\" not recognized"));
    if let Ok(zone) = name.parse::<chrono_tz::Tz>() {
        return Ok(TextTimeZone::Named(zone));
    }
    if let Some(found) = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name)) {
        return Ok(TextTimeZone::Named(*found));
    }
    if name.eq_ignore_ascii_case("z") {
        return Ok(TextTimeZone::Fixed(0));
    }
    // POSIX: a sign counts west of Greenwich.
    let (sign, digits) = match (name.strip_prefix('+'), name.strip_prefix('-')) {
        (Some(rest), _) => (-1, rest),
        (_, Some(rest)) => (1, rest),
        _ => return Err(unknown()),
    };
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    let hours: i32 = hours.parse().map_err(|_| unknown())?;
    let minutes: i32 = minutes.parse().map_err(|_| unknown())?;
    Ok(TextTimeZone::Fixed(sign * (hours * 3600 + minutes * 60)))
}

/// Cuts a local time to a unit.
pub fn truncate(local: i64, part: Part, type_name: &str) -> Result<i64> {
    let unit = match part {
        Part::Microseconds => 1,
        Part::Milliseconds => 1_000,
        Part::Second => MICROS_PER_SECOND,
        Part::Minute => 60 * MICROS_PER_SECOND,
        Part::Hour => 3_600 * MICROS_PER_SECOND,
        Part::Day => MICROS_PER_DAY,
        _ => 0,
    };
    if unit > 0 {
        return Ok(local - local.rem_euclid(unit));
    }
    let days = local.div_euclid(MICROS_PER_DAY);
    let (year, month, _) = civil_from_days(days);
    let first = match part {
        // 1970-01-01 was a Thursday.
        Part::Week => days - (days + 3).rem_euclid(7),
        Part::Month => days_from_civil(year, month, 1),
        Part::Quarter => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1),
        Part::Year => days_from_civil(year, 1, 1),
        Part::Decade => days_from_civil(year.div_euclid(10) * 10, 1, 1),
        Part::Century => days_from_civil((year - 1).div_euclid(100) * 100 + 1, 1, 1),
        Part::Millennium => days_from_civil((year - 1).div_euclid(1000) * 1000 + 1, 1, 1),
        other => return Err(other.unsupported(type_name)),
    };
    first.checked_mul(MICROS_PER_DAY).ok_or_else(timestamp_out_of_range)
}

fn trunc_timestamp(call: &Call) -> Result<ArrayRef> {
    let (units, moments) = (call.text(0)?, Moments::of(call, 1)?);
    call.values::<TimestampMicrosecondType>(|row| {
        let (unit, moment) = (some!(units.get(row)), some!(moments.get(row)?));
        let unit = part(unit, "timestamp without time zone")?;
        if is_infinite(moment) {
            Ok(Some(moment))
        } else {
            truncate(moment, unit, "timestamp without time zone").map(Some)
        }
    })
}

fn trunc_timestamptz(call: &Call) -> Result<ArrayRef> {
    const NAME: &str = "timestamp with time zone";
    let (units, moments) = (call.text(0)?, call.timestamp(1)?);
    let zones = if call.len() > 2 { Some(call.text(2)?) } else { None };
    let session_zone = call.context()?.time_zone;
    call.values::<TimestampMicrosecondType>(|row| {
        let (unit, moment) = (some!(units.get(row)), some!(moments.get(row)));
        let zone = match &zones {
            Some(zones) => zone(some!(zones.get(row)))?,
            None => session_zone,
        };
        let unit = part(unit, NAME)?;
        if is_infinite(moment) {
            return Ok(Some(moment));
        }
        let cut = truncate(to_local(zone, moment), unit, NAME)?;
        // Below a day the offset stays what it was, so that an hour that happens twice keeps its place.
        if matches!(unit, Part::Microseconds | Part::Milliseconds | Part::Second | Part::Minute | Part::Hour) {
            return Ok(Some(cut - i64::from(offset_at(zone, moment)) * MICROS_PER_SECOND));
        }
        Ok(Some(from_local(zone, cut)))
    })
}

fn trunc_interval(call: &Call) -> Result<ArrayRef> {
    let (units, values) = (call.text(0)?, call.interval(1)?);
    call.values::<IntervalMonthDayNanoType>(|row| {
        let (unit, value) = (some!(units.get(row)), some!(values.get(row)));
        let (months, days, micros) = (i64::from(value.months), i64::from(value.days), micros_of(value));
        let of_months = |unit: i64| interval(months / unit * unit, 0, 0);
        let of_time = |unit: i64| interval(months, days, micros / unit * unit);
        match part(unit, "interval")? {
            Part::Millennium => of_months(12_000),
            Part::Century => of_months(1_200),
            Part::Decade => of_months(120),
            Part::Year => of_months(12),
            Part::Quarter => of_months(3),
            Part::Month => of_months(1),
            Part::Day => interval(months, days, 0),
            Part::Hour => of_time(3_600 * MICROS_PER_SECOND),
            Part::Minute => of_time(60 * MICROS_PER_SECOND),
            Part::Second => of_time(MICROS_PER_SECOND),
            Part::Milliseconds => of_time(1_000),
            Part::Microseconds => of_time(1),
            other => Err(other.unsupported("interval")),
        }
        .map(Some)
    })
}

/// A part of a moment: in millionths, or of an infinite moment.
#[derive(Clone, Copy)]
enum PartValue {
    Finite(i128),
    /// A part that grows for ever is infinite itself; whether the moment is the later infinity.
    Infinite(bool),
}

/// What a part of an infinite moment is: NULL when it comes again and again.
fn infinite_part(part: Part, moment: i64, type_name: &str) -> Result<Option<PartValue>> {
    // Refuses the parts that no moment has.
    match type_name {
        "timestamp with time zone" => part.of_timestamptz(0, 0, 0)?,
        _ => part.of_timestamp(0, type_name)?,
    };
    Ok(part.grows().then_some(PartValue::Infinite(moment > 0)))
}

/// Hands the part of each row of argument 1 to `finish`. The unit is read once when it is a constant.
fn part_values<T: ArrowPrimitiveType>(
    call: &Call,
    finish: impl Fn(PartValue) -> Result<T::Native>,
) -> Result<ArrayRef> {
    let units = call.text(0)?;
    let zone = call.context_if_any().map_or(TextTimeZone::Fixed(0), |context| context.time_zone);
    let name = match call.raw(1)?.data_type() {
        DataType::Interval(_) => "interval",
        DataType::Time64(_) => "time without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Date32 => "date",
        _ => "timestamp without time zone",
    };
    let constant = units.constant().map(|unit| part(unit, name)).transpose()?;
    let unit_at = |row: usize| match constant {
        Some(unit) => Ok(Some(unit)),
        None => units.get(row).map(|unit| part(unit, name)).transpose(),
    };
    let finite = |value: i128| finish(PartValue::Finite(value)).map(Some);
    match name {
        "interval" => {
            let values = call.interval(1)?;
            call.values::<T>(|row| {
                let (unit, value) = (some!(unit_at(row)?), some!(values.get(row)));
                finite(unit.of_interval(value)?)
            })
        }
        "time without time zone" => {
            let values = call.time(1)?;
            call.values::<T>(|row| {
                let (unit, value) = (some!(unit_at(row)?), some!(values.get(row)));
                finite(unit.of_time(value)?)
            })
        }
        "timestamp with time zone" => {
            let values = call.timestamp(1)?;
            call.values::<T>(|row| {
                let (unit, value) = (some!(unit_at(row)?), some!(values.get(row)));
                if is_infinite(value) {
                    return infinite_part(unit, value, name)?.map(&finish).transpose();
                }
                finite(unit.of_timestamptz(value, to_local(zone, value), offset_at(zone, value))?)
            })
        }
        _ => {
            let values = Moments::of(call, 1)?;
            call.values::<T>(|row| {
                let (unit, value) = (some!(unit_at(row)?), some!(values.get(row)?));
                if is_infinite(value) {
                    return infinite_part(unit, value, name)?.map(&finish).transpose();
                }
                finite(unit.of_timestamp(value, name)?)
            })
        }
    }
}

/// A numeric has no room for infinity: 22003, as for a cast of such a float.
fn extract(call: &Call) -> Result<ArrayRef> {
    let scale = scale_of(call.returns);
    part_values::<Decimal128Type>(call, |value| match value {
        PartValue::Finite(value) => rescale(value, 6, scale),
        PartValue::Infinite(_) => super::numeric::from_float(f64::INFINITY, scale),
    })
}

fn date_part(call: &Call) -> Result<ArrayRef> {
    part_values::<Float64Type>(call, |value| {
        Ok(match value {
            PartValue::Finite(value) => value as f64 / 1e6,
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

/// Years, months, days between two local times, as a person counts (`timestamp_age`).
fn age_between(later: i64, earlier: i64) -> Result<IntervalMonthDayNano> {
    let negative = later < earlier;
    let (late, early) = if negative { (earlier, later) } else { (later, earlier) };
    let split = |local: i64| {
        let (year, month, day) = civil_from_days(local.div_euclid(MICROS_PER_DAY));
        (year * 12 + i64::from(month) - 1, i64::from(day), local.rem_euclid(MICROS_PER_DAY), year, month)
    };
    let (late_months, late_day, late_time, ..) = split(late);
    let (early_months, early_day, early_time, year, month) = split(early);
    let (mut months, mut days, mut time) = (late_months - early_months, late_day - early_day, late_time - early_time);
    if time < 0 {
        time += MICROS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        // Borrowed from the month of the earlier date, whichever argument that is.
        days += i64::from(days_in_month(year, month));
        months -= 1;
    }
    if negative { interval(-months, -days, -time) } else { interval(months, days, time) }
}

fn age(call: &Call) -> Result<ArrayRef> {
    let (later, earlier) = (Moments::of(call, 0)?, Moments::of(call, 1)?);
    let zone = call.context_if_any().map(|context| context.time_zone);
    let local = |moment: i64| zone.map_or(moment, |zone| to_local(zone, moment));
    call.values::<IntervalMonthDayNanoType>(|row| {
        let (later, earlier) = (some!(later.get(row)?), some!(earlier.get(row)?));
        if is_infinite(later) || is_infinite(earlier) {
            return Err(interval_out_of_range());
        }
        age_between(local(later), local(earlier)).map(Some)
    })
}

fn at_zone(call: &Call) -> Result<ArrayRef> {
    let (zones, moments) = (call.text(0)?, call.timestamp(1)?);
    let to_moment = matches!(call.returns, DataType::Timestamp(_, Some(_)));
    let mut last: Option<(String, TextTimeZone)> = None;
    call.values::<TimestampMicrosecondType>(|row| {
        let (name, moment) = (some!(zones.get(row)), some!(moments.get(row)));
        let zone = match &last {
            Some((known, zone)) if known == name => *zone,
            _ => {
                let found = zone(name)?;
                last = Some((name.to_owned(), found));
                found
            }
        };
        Ok(Some(if to_moment { from_local(zone, moment) } else { to_local(zone, moment) }))
    })
}

fn at_offset(call: &Call) -> Result<ArrayRef> {
    let (offsets, moments) = (call.interval(0)?, call.timestamp(1)?);
    let to_moment = matches!(call.returns, DataType::Timestamp(_, Some(_)));
    call.values::<TimestampMicrosecondType>(|row| {
        let (offset, moment) = (some!(offsets.get(row)), some!(moments.get(row)));
        if offset.months != 0 || offset.days != 0 {
            let message = "interval time zone must not include months or days";
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        let offset = micros_of(offset);
        Ok(Some(if is_infinite(moment) {
            moment
        } else if to_moment {
            moment - offset
        } else {
            moment + offset
        }))
    })
}

fn field_out_of_range(what: &str) -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, what)
}

fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let year = if year < 0 {
        year + 1
    } else if year == 0 {
        return None;
    } else {
        year
    };
    let month = u32::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
    let day = u32::try_from(day).ok().filter(|day| *day >= 1 && *day <= days_in_month(year, month))?;
    Some(days_from_civil(year, month, day))
}

fn make_date(call: &Call) -> Result<ArrayRef> {
    let (years, months, days) = (call.int(0)?, call.int(1)?, call.int(2)?);
    call.values::<Date32Type>(|row| {
        let (year, month, day) = (some!(years.get(row)), some!(months.get(row)), some!(days.get(row)));
        let refuse = || field_out_of_range(&format!("date field value out of range: {year}-{month:02}-{day:02}"));
        let days = day_of(year, month, day).ok_or_else(refuse)?;
        i32::try_from(days).map(Some).map_err(|_| refuse())
    })
}

fn time_of(hour: i64, minute: i64, second: f64) -> Option<i64> {
    let fits = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second);
    let micros = (hour * 60 + minute) * 60 * MICROS_PER_SECOND + (second * 1e6).round_ties_even() as i64;
    (fits && micros <= MICROS_PER_DAY).then_some(micros)
}

fn make_time(call: &Call) -> Result<ArrayRef> {
    let (hours, minutes, seconds) = (call.int(0)?, call.int(1)?, call.float(2)?);
    call.values::<Time64MicrosecondType>(|row| {
        let (hour, minute, second) = (some!(hours.get(row)), some!(minutes.get(row)), some!(seconds.get(row)));
        let refuse = || field_out_of_range(&format!("time field value out of range: {hour}:{minute:02}:{second:02}"));
        time_of(hour, minute, second).ok_or_else(refuse).map(Some)
    })
}

fn make_timestamp(call: &Call) -> Result<ArrayRef> {
    let ints = (0..5).map(|index| call.int(index)).collect::<Result<Vec<_>>>()?;
    let seconds = call.float(5)?;
    let zone = call.context_if_any().map(|context| context.time_zone);
    call.values::<TimestampMicrosecondType>(|row| {
        let mut fields = [0; 5];
        for (field, column) in fields.iter_mut().zip(&ints) {
            *field = some!(column.get(row));
        }
        let [year, month, day, hour, minute] = fields;
        let second = some!(seconds.get(row));
        let days = day_of(year, month, day)
            .ok_or_else(|| field_out_of_range(&format!("date field value out of range: {year}-{month:02}-{day:02}")))?;
        let time = time_of(hour, minute, second).ok_or_else(|| {
            field_out_of_range(&format!("time field value out of range: {hour}:{minute:02}:{second:02}"))
        })?;
        let local = days * MICROS_PER_DAY + time;
        Ok(Some(zone.map_or(local, |zone| from_local(zone, local))))
    })
}

fn make_interval(call: &Call) -> Result<ArrayRef> {
    let ints = (0..call.len().min(6)).map(|index| call.int(index)).collect::<Result<Vec<_>>>()?;
    let seconds = if call.len() > 6 { Some(call.float(6)?) } else { None };
    call.values::<IntervalMonthDayNanoType>(|row| {
        let mut fields = [0_i64; 6];
        for (field, column) in fields.iter_mut().zip(&ints) {
            *field = some!(column.get(row));
        }
        let [years, months, weeks, days, hours, minutes] = fields;
        let seconds = match &seconds {
            Some(seconds) => some!(seconds.get(row)),
            None => 0.0,
        };
        let micros = (hours * 60 + minutes) * 60 * MICROS_PER_SECOND + (seconds * 1e6).round_ties_even() as i64;
        interval(years * 12 + months, weeks * 7 + days, micros).map(Some)
    })
}

fn from_epoch(call: &Call) -> Result<ArrayRef> {
    let seconds = call.float(0)?;
    call.values::<TimestampMicrosecondType>(|row| {
        let seconds = some!(seconds.get(row));
        if seconds.is_nan() {
            return Err(field_out_of_range("timestamp cannot be NaN"));
        }
        if seconds.is_infinite() {
            return Ok(Some(if seconds > 0.0 { i64::MAX } else { i64::MIN }));
        }
        let micros = (seconds * 1e6).round_ties_even();
        if micros.abs() >= 9.2e18 {
            return Err(field_out_of_range(&format!("timestamp out of range: \"{seconds}\"")));
        }
        Ok(Some(micros as i64))
    })
}

fn is_finite(call: &Call) -> Result<ArrayRef> {
    match call.raw(0)?.data_type() {
        DataType::Date32 => {
            let dates = call.date(0)?;
            call.booleans(|row| Ok(dates.get(row).map(|date| !matches!(date, DATE_INFINITY | DATE_MINUS_INFINITY))))
        }
        DataType::Interval(_) => {
            let values = call.interval(0)?;
            call.booleans(|row| Ok(values.get(row).map(|_| true)))
        }
        _ => {
            let moments = call.timestamp(0)?;
            call.booleans(|row| Ok(moments.get(row).map(|moment| !is_infinite(moment))))
        }
    }
}

/// Which parts of an interval `justify_…` carries over.
fn justified(call: &Call, hours: bool, days: bool) -> Result<ArrayRef> {
    let values = call.interval(0)?;
    call.values::<IntervalMonthDayNanoType>(|row| {
        let value = some!(values.get(row));
        let (mut months, mut day, mut micros) = (i64::from(value.months), i64::from(value.days), micros_of(value));
        if hours {
            day += micros / MICROS_PER_DAY;
            micros %= MICROS_PER_DAY;
        }
        if days {
            months += day / 30;
            day %= 30;
        }
        if hours && days {
            if months > 0 && (day < 0 || (day == 0 && micros < 0)) {
                day += 30;
                months -= 1;
            } else if months < 0 && (day > 0 || (day == 0 && micros > 0)) {
                day -= 30;
                months += 1;
            }
        } else if days {
            if months > 0 && day < 0 {
                day += 30;
                months -= 1;
            } else if months < 0 && day > 0 {
                day -= 30;
                months += 1;
            }
        }
        if hours {
            if day > 0 && micros < 0 {
                micros += MICROS_PER_DAY;
                day -= 1;
            } else if day < 0 && micros > 0 {
                micros -= MICROS_PER_DAY;
                day += 1;
            }
        }
        interval(months, day, micros).map(Some)
    })
}
fn justify_hours(call: &Call) -> Result<ArrayRef> {
    justified(call, true, false)
}
fn justify_days(call: &Call) -> Result<ArrayRef> {
    justified(call, false, true)
}
fn justify_interval(call: &Call) -> Result<ArrayRef> {
    justified(call, true, true)
}

fn date_bin(call: &Call) -> Result<ArrayRef> {
    let (strides, moments, origins) = (call.interval(0)?, call.timestamp(1)?, call.timestamp(2)?);
    call.values::<TimestampMicrosecondType>(|row| {
        let (stride, moment, origin) = (some!(strides.get(row)), some!(moments.get(row)), some!(origins.get(row)));
        if is_infinite(moment) {
            return Ok(Some(moment));
        }
        if stride.months != 0 {
            return Err(Error::unsupported(
                "timestamps cannot be binned into intervals containing months or years: this",
            ));
        }
        let stride = i64::try_from(span(stride)).map_err(|_| interval_out_of_range())?;
        if stride <= 0 {
            return Err(field_out_of_range("stride must be greater than zero"));
        }
        Ok(Some(origin + (moment - origin).div_euclid(stride) * stride))
    })
}

pub(super) fn functions() -> Vec<Function> {
    let now: fn(&std::sync::Arc<Context>, Vec<Expr>) -> Result<Expr> =
        |context, _| Ok(moment_literal(context.transaction_start.timestamp_micros()));
    let mut functions = vec![
        contextual(1299, "now() timestamptz", now),
        contextual(2647, "transaction_timestamp() timestamptz", now),
        contextual(9002, "current_timestamp() timestamptz", now),
        contextual(2648, "statement_timestamp() timestamptz", |context, _| {
            Ok(moment_literal(context.statement_start.timestamp_micros()))
        }),
        super::build::volatile(2649, "clock_timestamp() timestamptz", clock),
        contextual(9003, "current_date() date", |context, _| {
            let days = local_now(context).div_euclid(MICROS_PER_DAY) as i32;
            Ok(Expr::Literal(ScalarValue::Date32(Some(days)), None))
        }),
        contextual(9004, "localtimestamp() timestamp", |context, _| {
            Ok(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(local_now(context)), None), None))
        }),
        contextual(9005, "localtime() time", |context, _| {
            let micros = local_now(context).rem_euclid(MICROS_PER_DAY);
            Ok(Expr::Literal(ScalarValue::Time64Microsecond(Some(micros)), None))
        }),
        scalar(3846, "make_date(int4, int4, int4) date", make_date),
        scalar(3847, "make_time(int4, int4, float8) time", make_time),
        scalar(3461, "make_timestamp(int4, int4, int4, int4, int4, float8) timestamp", make_timestamp),
        contextual(
            3462,
            "make_timestamptz(int4, int4, int4, int4, int4, float8) timestamptz",
            with_context!("make_timestamptz", PgType::TIMESTAMPTZ, Stable, make_timestamp),
        ),
        scalar(1158, "to_timestamp(float8) timestamptz", from_epoch),
        scalar(1373, "isfinite(date) bool", is_finite),
        scalar(2048, "isfinite(timestamp) bool", is_finite),
        scalar(1389, "isfinite(timestamptz) bool", is_finite),
        scalar(1390, "isfinite(interval) bool", is_finite),
        scalar(1175, "justify_hours(interval) interval", justify_hours),
        scalar(1295, "justify_days(interval) interval", justify_days),
        scalar(2711, "justify_interval(interval) interval", justify_interval),
        scalar(6177, "date_bin(interval, timestamp, timestamp) timestamp", date_bin),
        scalar(6178, "date_bin(interval, timestamptz, timestamptz) timestamptz", date_bin),
        scalar(2069, "timezone(text, timestamp) timestamptz", at_zone),
        scalar(1159, "timezone(text, timestamptz) timestamp", at_zone),
        scalar(2070, "timezone(interval, timestamp) timestamptz", at_offset),
        scalar(1026, "timezone(interval, timestamptz) timestamp", at_offset),
    ];
    let mut make_interval =
        scalar(3464, "make_interval(int4, int4, int4, int4, int4, int4, float8) interval", make_interval);
    make_interval.defaults = 7;
    functions.push(make_interval);
    functions.extend(parts_and_ages());
    functions
}

fn parts_and_ages() -> Vec<Function> {
    vec![
        scalar(2020, "date_trunc(text, timestamp) timestamp", trunc_timestamp),
        scalar(1218, "date_trunc(text, interval) interval", trunc_interval),
        contextual(
            1217,
            "date_trunc(text, timestamptz) timestamptz",
            with_context!("date_trunc", PgType::TIMESTAMPTZ, Stable, trunc_timestamptz),
        ),
        contextual(
            1284,
            "date_trunc(text, timestamptz, text) timestamptz",
            with_context!("date_trunc", PgType::TIMESTAMPTZ, Stable, trunc_timestamptz),
        ),
        typed(6199, "extract(text, date) numeric", extract_type, extract),
        typed(6200, "extract(text, time) numeric", extract_type, extract),
        typed(6202, "extract(text, timestamp) numeric", extract_type, extract),
        typed(6204, "extract(text, interval) numeric", extract_type, extract),
        contextual(6203, "extract(text, timestamptz) numeric", |context, arguments| {
            let returns = super::kernel::Returns::Of(extract_type);
            super::kernel::Kernel::new("extract", 6203, Volatility::Stable, returns, extract)
                .with_context(context)
                .call(arguments)
        }),
        scalar(1384, "date_part(text, date) float8", date_part),
        scalar(1385, "date_part(text, time) float8", date_part),
        scalar(2021, "date_part(text, timestamp) float8", date_part),
        scalar(1172, "date_part(text, interval) float8", date_part),
        contextual(
            1171,
            "date_part(text, timestamptz) float8",
            with_context!("date_part", PgType::FLOAT8, Stable, date_part),
        ),
        scalar(2058, "age(timestamp, timestamp) interval", age),
        contextual(1199, "age(timestamptz, timestamptz) interval", with_context!("age", PgType::INTERVAL, Stable, age)),
        contextual(2059, "age(timestamp) interval", |context, mut arguments| {
            let today = local_now(context).div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY;
            arguments.insert(0, Expr::Literal(ScalarValue::TimestampMicrosecond(Some(today), None), None));
            let returns = super::kernel::Returns::Fixed(arrow_type(PgType::INTERVAL));
            super::kernel::Kernel::new("age", 2059, Volatility::Stable, returns, age).call(arguments)
        }),
        contextual(1386, "age(timestamptz) interval", |context, mut arguments| {
            let today = local_now(context).div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY;
            arguments.insert(0, moment_literal(from_local(context.time_zone, today)));
            let returns = super::kernel::Returns::Fixed(arrow_type(PgType::INTERVAL));
            super::kernel::Kernel::new("age", 1386, Volatility::Stable, returns, age)
                .with_context(context)
                .call(arguments)
        }),
    ]
}
