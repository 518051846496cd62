//! The proleptic Gregorian calendar as PostgreSQL counts it, and the offsets of time zones.
//!
//! Days are counted from 1970-01-01, timestamps in microseconds from that midnight. Year 0 is 1 BC.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone};

use super::TextTimeZone;

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL's binary formats start.
pub const PG_EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub const PG_EPOCH_MICROS: i64 = 946_684_800_000_000;
pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// The first day that PostgreSQL knows: 4713-11-24 BC, Julian day 0.
pub const DAY_MIN: i64 = -2_440_588;
/// The last day of a `date`: 5874897-12-31.
pub const DATE_DAY_MAX: i64 = 2_145_042_905;
/// How `date` says infinity and -infinity.
pub const DATE_INFINITY: i32 = i32::MAX;
pub const DATE_MINUS_INFINITY: i32 = i32::MIN;
/// How `timestamp` and `timestamptz` say infinity and -infinity.
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
pub const TIMESTAMP_MINUS_INFINITY: i64 = i64::MIN;

/// Days since 1970-01-01 of a valid date. Algorithm: Howard Hinnant, "chrono-compatible low-level date algorithms".
#[inline]
pub const fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let month_from_march = (month as i64 + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day as i64 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year (0 is 1 BC), month and day of a count of days since 1970-01-01.
#[inline]
pub const fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097) as u32;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era as i64 + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// Whether the year (0 is 1 BC) has a 29 February.
pub const fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// Days of a month from 1 to 12.
pub const fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The zone's offset in seconds east of Greenwich at a moment (microseconds since 1970 in UTC).
pub fn offset_at(zone: TextTimeZone, micros: i64) -> i32 {
    match zone {
        TextTimeZone::Fixed(seconds) => seconds,
        TextTimeZone::Named(chrono_tz::UTC) => 0,
        TextTimeZone::Named(tz) => tz.offset_from_utc_datetime(&naive(micros)).fix().local_minus_utc(),
    }
}

/// The zone's offset and its abbreviation at a moment.
pub fn offset_and_name_at(zone: TextTimeZone, micros: i64) -> (i32, Option<String>) {
    match zone {
        TextTimeZone::Fixed(seconds) => (seconds, None),
        TextTimeZone::Named(tz) => {
            let offset = tz.offset_from_utc_datetime(&naive(micros));
            (offset.fix().local_minus_utc(), Some(offset.to_string()))
        }
    }
}

/// The zone's offset in seconds east of Greenwich at a local time. PostgreSQL's rule: a time that happens twice is the
/// second one, a time that never happens is taken with the offset before the jump.
pub fn offset_at_local(zone: TextTimeZone, local_micros: i64) -> i32 {
    let tz = match zone {
        TextTimeZone::Fixed(seconds) => return seconds,
        TextTimeZone::Named(chrono_tz::UTC) => return 0,
        TextTimeZone::Named(tz) => tz,
    };
    let local = naive(local_micros);
    if let Some(offset) = tz.offset_from_local_datetime(&local).latest() {
        return offset.fix().local_minus_utc();
    }
    let before = local.checked_sub_signed(TimeDelta::hours(24)).unwrap_or(local);
    tz.offset_from_local_datetime(&before).latest().map_or(0, |offset| offset.fix().local_minus_utc())
}

/// Where the tables of zones end to be complete: 2090-01-01.
const TABLE_END_MICROS: i64 = days_from_civil(2090, 1, 1) * MICROS_PER_DAY;

/// A year within the tables that has the same calendar.
fn twin_year(year: i64) -> i32 {
    let first = |year| days_from_civil(year, 1, 1).rem_euclid(7);
    let same = |twin: &i64| is_leap(*twin) == is_leap(year) && first(*twin) == first(year);
    (2060..2088).find(same).map_or(2060, |twin| twin as i32)
}

/// Chrono's time for a count of microseconds; beyond the tables the same day of a year with the same calendar, for the
/// last rules hold for ever.
fn naive(micros: i64) -> NaiveDateTime {
    let in_table = micros < TABLE_END_MICROS;
    if let Some(moment) = DateTime::from_timestamp_micros(micros).filter(|_| in_table) {
        return moment.naive_utc();
    }
    let (own_year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
    let seconds = (micros.rem_euclid(MICROS_PER_DAY) / MICROS_PER_SECOND) as u32;
    let year = if micros < 0 { NaiveDate::MIN.year() + 400 } else { twin_year(own_year) };
    let date = NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
    date.and_time(NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0).unwrap_or_default())
}

/// Rounds microseconds of a day or of a timestamp counted from 2000 to `precision` digits of a second (0 to 6), halves
/// away from zero, as PostgreSQL does.
pub fn round_micros(micros: i64, precision: i32) -> i64 {
    let unit = match precision {
        0 => 1_000_000,
        1 => 100_000,
        2 => 10_000,
        3 => 1_000,
        4 => 100,
        5 => 10,
        _ => return micros,
    };
    let half = unit / 2;
    if micros >= 0 {
        micros.saturating_add(half) / unit * unit
    } else {
        -(micros.saturating_neg().saturating_add(half) / unit * unit)
    }
}
