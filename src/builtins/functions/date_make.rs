//! `make_date` and its kin: dates, times and intervals of numbers.

use arrow::array::ArrayRef;
use arrow::datatypes::{Date32Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType};

use super::Function;
use super::build::{in_context, scalar};
use super::date_arithmetic::{from_local, interval, timestamp_out_of_range};
use super::kernel::{Call, some};
use super::zones::Zones;
use crate::encode::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, days_from_civil, days_in_month};
use crate::error::{Error, Result, SqlState};

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
        let refuse = || date_out_of_range(year, month, day);
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
        time_of(hour, minute, second).ok_or_else(|| time_out_of_range(hour, minute, second)).map(Some)
    })
}

fn date_out_of_range(year: i64, month: i64, day: i64) -> Error {
    field_out_of_range(&format!("date field value out of range: {year}-{month:02}-{day:02}"))
}

fn time_out_of_range(hour: i64, minute: i64, second: f64) -> Error {
    field_out_of_range(&format!("time field value out of range: {hour}:{minute:02}:{second:02}"))
}

fn make_timestamp(call: &Call) -> Result<ArrayRef> {
    let ints = (0..5).map(|index| call.int(index)).collect::<Result<Vec<_>>>()?;
    let seconds = call.float(5)?;
    let mut zones = if call.len() > 6 { Some(Zones::of(call, 6)?) } else { None };
    let session_zone = call.context_if_any().map(|context| context.time_zone);
    call.values::<TimestampMicrosecondType>(|row| {
        let mut fields = [0; 5];
        for (field, column) in fields.iter_mut().zip(&ints) {
            *field = some!(column.get(row));
        }
        let [year, month, day, hour, minute] = fields;
        let second = some!(seconds.get(row));
        let days = day_of(year, month, day).ok_or_else(|| date_out_of_range(year, month, day))?;
        let time = time_of(hour, minute, second).ok_or_else(|| time_out_of_range(hour, minute, second))?;
        let local = days
            .checked_mul(MICROS_PER_DAY)
            .and_then(|micros| micros.checked_add(time))
            .ok_or_else(timestamp_out_of_range)?;
        let zone = match &mut zones {
            Some(zones) => Some(some!(zones.get(row)?)),
            None => session_zone,
        };
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

pub(super) fn functions() -> Vec<Function> {
    let mut make_interval =
        scalar(3464, "make_interval(int4, int4, int4, int4, int4, int4, float8) interval", make_interval);
    make_interval.defaults = 7;
    vec![
        scalar(3846, "make_date(int4, int4, int4) date", make_date),
        scalar(3847, "make_time(int4, int4, float8) time", make_time),
        scalar(3461, "make_timestamp(int4, int4, int4, int4, int4, float8) timestamp", make_timestamp),
        in_context(3462, "make_timestamptz(int4, int4, int4, int4, int4, float8) timestamptz", make_timestamp),
        scalar(3463, "make_timestamptz(int4, int4, int4, int4, int4, float8, text) timestamptz", make_timestamp),
        make_interval,
        scalar(1158, "to_timestamp(float8) timestamptz", from_epoch),
    ]
}
