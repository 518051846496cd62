//! `date_trunc` and `date_bin`.

use arrow::array::ArrayRef;
use arrow::datatypes::{IntervalMonthDayNanoType, TimestampMicrosecondType};

use super::Function;
use super::build::{in_context, scalar};
use super::date_arithmetic::{
    Moments, from_local, interval, interval_out_of_range, is_infinite, micros_of, span, timestamp_out_of_range,
    to_local,
};
use super::kernel::{Call, some};
use super::time_field::{Part, Units};
use super::zones::Zones;
use crate::encode::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil, offset_at};
use crate::error::{Error, Result, SqlState};

/// Cuts a local time to a unit.
fn truncate(local: i64, part: Part, type_name: &str) -> Result<i64> {
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
        other => return Err(other.untruncatable(type_name)),
    };
    first.checked_mul(MICROS_PER_DAY).ok_or_else(timestamp_out_of_range)
}

fn trunc_timestamp(call: &Call) -> Result<ArrayRef> {
    const NAME: &str = "timestamp without time zone";
    let (units, moments) = (Units::of(call, NAME)?, Moments::of(call, 1)?);
    call.values::<TimestampMicrosecondType>(|row| {
        let (unit, moment) = (some!(units.get(row)?), some!(moments.get(row)?));
        if is_infinite(moment) { Ok(Some(moment)) } else { truncate(moment, unit, NAME).map(Some) }
    })
}

fn trunc_timestamptz(call: &Call) -> Result<ArrayRef> {
    const NAME: &str = "timestamp with time zone";
    let (units, moments) = (Units::of(call, NAME)?, call.timestamp(1)?);
    let mut zones = if call.len() > 2 { Some(Zones::of(call, 2)?) } else { None };
    let session_zone = call.context()?.time_zone;
    call.values::<TimestampMicrosecondType>(|row| {
        let (unit, moment) = (some!(units.get(row)?), some!(moments.get(row)));
        let zone = match &mut zones {
            Some(zones) => some!(zones.get(row)?),
            None => session_zone,
        };
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
    let (units, values) = (Units::of(call, "interval")?, call.interval(1)?);
    call.values::<IntervalMonthDayNanoType>(|row| {
        let (unit, value) = (some!(units.get(row)?), some!(values.get(row)));
        let (months, days, micros) = (i64::from(value.months), i64::from(value.days), micros_of(value));
        let of_months = |unit: i64| interval(months / unit * unit, 0, 0);
        let of_time = |unit: i64| interval(months, days, micros / unit * unit);
        match unit {
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
            other => Err(other.untruncatable("interval")),
        }
        .map(Some)
    })
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
            return Err(Error::new(SqlState::DatetimeFieldOverflow, "stride must be greater than zero"));
        }
        Ok(Some(origin + (moment - origin).div_euclid(stride) * stride))
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(2020, "date_trunc(text, timestamp) timestamp", trunc_timestamp),
        scalar(1218, "date_trunc(text, interval) interval", trunc_interval),
        in_context(1217, "date_trunc(text, timestamptz) timestamptz", trunc_timestamptz),
        in_context(1284, "date_trunc(text, timestamptz, text) timestamptz", trunc_timestamptz),
        scalar(6177, "date_bin(interval, timestamp, timestamp) timestamp", date_bin),
        scalar(6178, "date_bin(interval, timestamptz, timestamptz) timestamptz", date_bin),
    ]
}
