//! Arithmetic of dates, times, timestamps and intervals.

use arrow::array::{ArrayRef, Date32Array, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

use super::kernel::{Call, Column, some};
use crate::encode::TextTimeZone;
use crate::encode::calendar::{
    DATE_INFINITY, DATE_MINUS_INFINITY, MICROS_PER_DAY, MICROS_PER_SECOND, TIMESTAMP_INFINITY,
    TIMESTAMP_MINUS_INFINITY, civil_from_days, days_from_civil, days_in_month, offset_at, offset_at_local,
};
use crate::error::{Error, Result, SqlState};

pub fn date_out_of_range() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "date out of range")
}
pub fn timestamp_out_of_range() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range")
}
pub fn interval_out_of_range() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "interval out of range")
}

/// Whether a timestamp is one of the infinities.
pub fn is_infinite(micros: i64) -> bool {
    micros == TIMESTAMP_INFINITY || micros == TIMESTAMP_MINUS_INFINITY
}

/// A date's midnight in microseconds.
pub fn midnight(days: i32) -> Result<i64> {
    match days {
        DATE_INFINITY => Ok(TIMESTAMP_INFINITY),
        DATE_MINUS_INFINITY => Ok(TIMESTAMP_MINUS_INFINITY),
        days => i64::from(days)
            .checked_mul(MICROS_PER_DAY)
            .ok_or_else(|| Error::new(SqlState::DatetimeFieldOverflow, "date out of range for timestamp")),
    }
}

/// The local time of a moment.
pub fn to_local(zone: TextTimeZone, micros: i64) -> i64 {
    if is_infinite(micros) { micros } else { micros + i64::from(offset_at(zone, micros)) * MICROS_PER_SECOND }
}

/// The moment of a local time.
pub fn from_local(zone: TextTimeZone, local: i64) -> i64 {
    if is_infinite(local) { local } else { local - i64::from(offset_at_local(zone, local)) * MICROS_PER_SECOND }
}

/// An interval's time part in microseconds.
pub fn micros_of(interval: IntervalMonthDayNano) -> i64 {
    interval.nanoseconds / 1_000
}

/// Builds an interval; 22008 when the time part does not fit.
pub fn interval(months: i64, days: i64, micros: i64) -> Result<IntervalMonthDayNano> {
    let months = i32::try_from(months).map_err(|_| interval_out_of_range())?;
    let days = i32::try_from(days).map_err(|_| interval_out_of_range())?;
    let nanos = micros.checked_mul(1_000).ok_or_else(interval_out_of_range)?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}

/// The interval with the opposite sign.
pub fn opposite(value: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let negated = value.months.checked_neg().zip(value.days.checked_neg()).zip(value.nanoseconds.checked_neg());
    let ((months, days), nanos) = negated.ok_or_else(interval_out_of_range)?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}

/// Adds months to a local time; the day is cut to the month's length.
pub fn add_months(local: i64, months: i64) -> Result<i64> {
    if months == 0 {
        return Ok(local);
    }
    let (days, time) = (local.div_euclid(MICROS_PER_DAY), local.rem_euclid(MICROS_PER_DAY));
    let (year, month, day) = civil_from_days(days);
    let total = year * 12 + i64::from(month) - 1 + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) as u32 + 1);
    let days = days_from_civil(year, month, day.min(days_in_month(year, month)));
    days.checked_mul(MICROS_PER_DAY).and_then(|micros| micros.checked_add(time)).ok_or_else(timestamp_out_of_range)
}

/// `timestamp + interval`.
pub fn add_interval(local: i64, value: IntervalMonthDayNano) -> Result<i64> {
    if is_infinite(local) {
        return Ok(local);
    }
    let moved = add_months(local, value.months.into())?;
    moved
        .checked_add(i64::from(value.days) * MICROS_PER_DAY)
        .and_then(|moved| moved.checked_add(micros_of(value)))
        .ok_or_else(timestamp_out_of_range)
}

/// `timestamptz + interval`: months and days by the zone's calendar, the time part by the clock.
pub fn add_interval_in(zone: TextTimeZone, micros: i64, value: IntervalMonthDayNano) -> Result<i64> {
    if is_infinite(micros) {
        return Ok(micros);
    }
    let mut moved = micros;
    if value.months != 0 || value.days != 0 {
        let local = add_months(to_local(zone, moved), value.months.into())?;
        let local = local.checked_add(i64::from(value.days) * MICROS_PER_DAY).ok_or_else(timestamp_out_of_range)?;
        moved = from_local(zone, local);
    }
    moved.checked_add(micros_of(value)).ok_or_else(timestamp_out_of_range)
}

/// A date or timestamp argument as timestamps.
pub(super) enum Moments {
    Dates(Column<Date32Array>),
    Timestamps(Column<TimestampMicrosecondArray>),
}

impl Moments {
    pub(super) fn of(call: &Call, index: usize) -> Result<Self> {
        Ok(match call.raw(index)?.data_type() {
            DataType::Date32 => Self::Dates(call.date(index)?),
            _ => Self::Timestamps(call.timestamp(index)?),
        })
    }

    pub(super) fn get(&self, row: usize) -> Result<Option<i64>> {
        match self {
            Self::Dates(dates) => dates.get(row).map(midnight).transpose(),
            Self::Timestamps(timestamps) => Ok(timestamps.get(row)),
        }
    }
}

fn moved(call: &Call, moment: usize, by: usize, negative: bool, zone: Option<TextTimeZone>) -> Result<ArrayRef> {
    let (moments, intervals) = (Moments::of(call, moment)?, call.interval(by)?);
    call.values::<TimestampMicrosecondType>(|row| {
        let (at, by) = (some!(moments.get(row)?), some!(intervals.get(row)));
        let by = if negative { opposite(by)? } else { by };
        match zone {
            Some(zone) => add_interval_in(zone, at, by),
            None => add_interval(at, by),
        }
        .map(Some)
    })
}

pub fn timestamp_plus_interval(call: &Call) -> Result<ArrayRef> {
    moved(call, 0, 1, false, None)
}
pub fn interval_plus_timestamp(call: &Call) -> Result<ArrayRef> {
    moved(call, 1, 0, false, None)
}
pub fn timestamp_minus_interval(call: &Call) -> Result<ArrayRef> {
    moved(call, 0, 1, true, None)
}
pub fn timestamptz_plus_interval(call: &Call) -> Result<ArrayRef> {
    moved(call, 0, 1, false, Some(call.context()?.time_zone))
}
pub fn interval_plus_timestamptz(call: &Call) -> Result<ArrayRef> {
    moved(call, 1, 0, false, Some(call.context()?.time_zone))
}
pub fn timestamptz_minus_interval(call: &Call) -> Result<ArrayRef> {
    moved(call, 0, 1, true, Some(call.context()?.time_zone))
}

fn shifted_date(call: &Call, date: usize, days: usize, sign: i64) -> Result<ArrayRef> {
    let (dates, days) = (call.date(date)?, call.int(days)?);
    call.values::<Date32Type>(|row| {
        let (date, days) = (some!(dates.get(row)), some!(days.get(row)));
        if matches!(date, DATE_INFINITY | DATE_MINUS_INFINITY) {
            return Ok(Some(date));
        }
        i32::try_from(i64::from(date) + sign * days).map(Some).map_err(|_| date_out_of_range())
    })
}

pub fn date_plus_days(call: &Call) -> Result<ArrayRef> {
    shifted_date(call, 0, 1, 1)
}
pub fn days_plus_date(call: &Call) -> Result<ArrayRef> {
    shifted_date(call, 1, 0, 1)
}
pub fn date_minus_days(call: &Call) -> Result<ArrayRef> {
    shifted_date(call, 0, 1, -1)
}

pub fn date_minus_date(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.date(0)?, call.date(1)?);
    call.values::<Int32Type>(|row| {
        let (left, right) = (some!(left.get(row)), some!(right.get(row)));
        if [left, right].iter().any(|date| matches!(*date, DATE_INFINITY | DATE_MINUS_INFINITY)) {
            return Err(Error::new(SqlState::DatetimeFieldOverflow, "cannot subtract infinite dates"));
        }
        Ok(Some(left.wrapping_sub(right)))
    })
}

fn date_and_time(call: &Call, date: usize, time: usize) -> Result<ArrayRef> {
    let (dates, times) = (call.date(date)?, call.time(time)?);
    call.values::<TimestampMicrosecondType>(|row| {
        let (date, time) = (midnight(some!(dates.get(row)))?, some!(times.get(row)));
        if is_infinite(date) { Ok(Some(date)) } else { Ok(Some(date + time)) }
    })
}

pub fn date_plus_time(call: &Call) -> Result<ArrayRef> {
    date_and_time(call, 0, 1)
}
pub fn time_plus_date(call: &Call) -> Result<ArrayRef> {
    date_and_time(call, 1, 0)
}

/// `timestamp - timestamp`: days and time, never months.
pub fn difference(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.timestamp(0)?, call.timestamp(1)?);
    call.values::<IntervalMonthDayNanoType>(|row| {
        let (left, right) = (some!(left.get(row)), some!(right.get(row)));
        if is_infinite(left) || is_infinite(right) {
            return Err(Error::new(SqlState::DatetimeFieldOverflow, "cannot subtract infinite timestamps"));
        }
        let micros = left.checked_sub(right).ok_or_else(interval_out_of_range)?;
        interval(0, micros / MICROS_PER_DAY, micros % MICROS_PER_DAY).map(Some)
    })
}

fn moved_time(call: &Call, time: usize, by: usize, sign: i64) -> Result<ArrayRef> {
    let (times, intervals) = (call.time(time)?, call.interval(by)?);
    call.values::<Time64MicrosecondType>(|row| {
        let (time, by) = (some!(times.get(row)), some!(intervals.get(row)));
        Ok(Some((time + sign * (micros_of(by) % MICROS_PER_DAY)).rem_euclid(MICROS_PER_DAY)))
    })
}

pub fn time_plus_interval(call: &Call) -> Result<ArrayRef> {
    moved_time(call, 0, 1, 1)
}
pub fn interval_plus_time(call: &Call) -> Result<ArrayRef> {
    moved_time(call, 1, 0, 1)
}
pub fn time_minus_interval(call: &Call) -> Result<ArrayRef> {
    moved_time(call, 0, 1, -1)
}
pub fn time_minus_time(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.time(0)?, call.time(1)?);
    call.values::<IntervalMonthDayNanoType>(|row| {
        interval(0, 0, some!(left.get(row)) - some!(right.get(row))).map(Some)
    })
}

pub fn negate(call: &Call) -> Result<ArrayRef> {
    let values = call.interval(0)?;
    call.values::<IntervalMonthDayNanoType>(|row| opposite(some!(values.get(row))).map(Some))
}

fn sum(left: IntervalMonthDayNano, right: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let months = left.months.checked_add(right.months);
    let days = left.days.checked_add(right.days);
    let nanos = left.nanoseconds.checked_add(right.nanoseconds);
    let ((months, days), nanos) = months.zip(days).zip(nanos).ok_or_else(interval_out_of_range)?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}

pub fn interval_plus_interval(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.interval(0)?, call.interval(1)?);
    call.values::<IntervalMonthDayNanoType>(|row| sum(some!(left.get(row)), some!(right.get(row))).map(Some))
}
pub fn interval_minus_interval(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (call.interval(0)?, call.interval(1)?);
    call.values::<IntervalMonthDayNanoType>(|row| sum(some!(left.get(row)), opposite(some!(right.get(row)))?).map(Some))
}

pub fn interval_times(call: &Call) -> Result<ArrayRef> {
    scaled_intervals(call, 0, 1, |value, factor| value * factor)
}
pub fn times_interval(call: &Call) -> Result<ArrayRef> {
    scaled_intervals(call, 1, 0, |value, factor| value * factor)
}
pub fn interval_divided(call: &Call) -> Result<ArrayRef> {
    let (intervals, factors) = (call.interval(0)?, call.float(1)?);
    scaled(
        call,
        intervals,
        |row| {
            let factor = factors.get(row);
            if factor == Some(0.0) { Err(super::arithmetic::division_by_zero()) } else { Ok(factor) }
        },
        |value, factor| value / factor,
    )
}

fn scaled_intervals(call: &Call, interval: usize, factor: usize, op: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (intervals, factors) = (call.interval(interval)?, call.float(factor)?);
    scaled(call, intervals, |row| Ok(factors.get(row)), op)
}

fn scaled(
    call: &Call,
    intervals: Column<IntervalMonthDayNanoArray>,
    factor: impl Fn(usize) -> Result<Option<f64>>,
    op: fn(f64, f64) -> f64,
) -> Result<ArrayRef> {
    call.values::<IntervalMonthDayNanoType>(|row| {
        let (value, factor) = (some!(intervals.get(row)), some!(factor(row)?));
        scale_interval(value, |part| op(part, factor)).map(Some)
    })
}

/// Scales each part; what is left of a month becomes days of 30, what is left of a day becomes time (`interval_mul`).
pub fn scale_interval(value: IntervalMonthDayNano, op: impl Fn(f64) -> f64) -> Result<IntervalMonthDayNano> {
    let to_micros = |value: f64| (value * 1e6).round_ties_even() / 1e6;
    let (months, days) = (op(value.months.into()), op(value.days.into()));
    if months.is_nan() || months.abs() > f64::from(i32::MAX) || days.abs() > f64::from(i32::MAX) {
        return Err(interval_out_of_range());
    }
    let days_of_months = to_micros((months - months.trunc()) * 30.0);
    let mut seconds = to_micros((days - days.trunc() + days_of_months - days_of_months.trunc()) * 86_400.0);
    let mut whole_days = days.trunc() as i64;
    if seconds.abs() >= 86_400.0 {
        whole_days += (seconds / 86_400.0) as i64;
        seconds -= (seconds / 86_400.0).trunc() * 86_400.0;
    }
    whole_days += days_of_months.trunc() as i64;
    let micros = (op(micros_of(value) as f64) + seconds * 1e6).round_ties_even();
    if micros.abs() >= 9.2e18 {
        return Err(interval_out_of_range());
    }
    interval(months.trunc() as i64, whole_days, micros as i64)
}

/// An interval's length in microseconds, months of 30 days: what PostgreSQL compares.
pub fn span(value: IntervalMonthDayNano) -> i128 {
    let days = i128::from(value.months) * 30 + i128::from(value.days);
    days * i128::from(MICROS_PER_DAY) + i128::from(micros_of(value))
}

pub fn interval_span(call: &Call) -> Result<ArrayRef> {
    let values = call.interval(0)?;
    call.values::<Decimal128Type>(|row| Ok(values.get(row).map(span)))
}

/// The Arrow type of `timestamp`.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}
