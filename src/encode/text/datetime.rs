//! Dates and times as text, in every DateStyle.

use super::number::{pair, push_pair};
use super::{push_i64, push_with};
use crate::encode::calendar::{
    DATE_INFINITY, DATE_MINUS_INFINITY, MICROS_PER_DAY, MICROS_PER_SECOND, TIMESTAMP_INFINITY,
    TIMESTAMP_MINUS_INFINITY, civil_from_days, offset_and_name_at, offset_at,
};
use crate::encode::{DateOrder, DateStyle, TextStyle, TextTimeZone};

/// `date`: days since 1970.
#[inline]
pub fn push_date(out: &mut Vec<u8>, day: i32, style: &TextStyle) {
    match (day, style.date_style) {
        (DATE_INFINITY, _) => out.extend_from_slice(b"infinity"),
        (DATE_MINUS_INFINITY, _) => out.extend_from_slice(b"-infinity"),
        (_, DateStyle::Iso) => {
            let bc = push_iso_day(out, i64::from(day));
            push_bc(out, bc);
        }
        (_, DateStyle::Sql | DateStyle::Postgres | DateStyle::German) => push_styled_date(out, i64::from(day), style),
    }
}

/// `YYYY-MM-DD`; tells whether the year is before Christ.
#[inline]
fn push_iso_day(out: &mut Vec<u8>, day: i64) -> bool {
    let (year, month, day) = civil_from_days(day);
    let bc = year <= 0;
    let shown = if bc { 1 - year } else { year };
    if shown > 9999 {
        push_i64(out, shown);
        push_with::<6>(out, |room| {
            *room = month_and_day(month, day);
            6
        });
        return bc;
    }
    push_with::<10>(out, |room| {
        let [a, b] = pair(shown as u32 / 100);
        let [c, d] = pair(shown as u32 % 100);
        let [e, f, g, h, i, j] = month_and_day(month, day);
        *room = [a, b, c, d, e, f, g, h, i, j];
        10
    });
    bc
}

/// `-MM-DD`
#[inline]
fn month_and_day(month: u32, day: u32) -> [u8; 6] {
    let ([a, b], [c, d]) = (pair(month), pair(day));
    [b'-', a, b, b'-', c, d]
}

#[inline]
fn push_bc(out: &mut Vec<u8>, bc: bool) {
    if bc {
        out.extend_from_slice(b" BC");
    }
}

fn push_styled_date(out: &mut Vec<u8>, day: i64, style: &TextStyle) {
    let (year, month, day) = civil_from_days(day);
    let (separator, day_first) = match style.date_style {
        DateStyle::German => (b'.', true),
        DateStyle::Sql => (b'/', style.date_order == DateOrder::Dmy),
        DateStyle::Postgres | DateStyle::Iso => (b'-', style.date_order == DateOrder::Dmy),
    };
    let (first, second) = if day_first { (day, month) } else { (month, day) };
    push_pair(out, first);
    out.push(separator);
    push_pair(out, second);
    out.push(separator);
    push_year(out, year);
    push_bc(out, year <= 0);
}

/// The year with at least four digits; 1 BC is year 0.
fn push_year(out: &mut Vec<u8>, year: i64) {
    let shown = if year <= 0 { 1 - year } else { year };
    if shown > 9999 {
        return push_i64(out, shown);
    }
    push_pair(out, shown as u32 / 100);
    push_pair(out, shown as u32 % 100);
}

/// `time`: microseconds since midnight.
#[inline]
pub fn push_time(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    push_with::<8>(out, |room| {
        let [a, b] = pair((seconds / 3600) as u32);
        let [c, d] = pair((seconds / 60 % 60) as u32);
        let [e, f] = pair((seconds % 60) as u32);
        *room = [a, b, b':', c, d, b':', e, f];
        8
    });
    push_fraction(out, micros.rem_euclid(MICROS_PER_SECOND) as u32);
}

/// Decimals of a second without zeros at the end.
#[inline]
pub(super) fn push_fraction(out: &mut Vec<u8>, micros: u32) {
    if micros == 0 {
        return;
    }
    let ([a, b], [c, d], [e, f]) = (pair(micros / 10_000), pair(micros / 100), pair(micros));
    let digits = [b'.', a, b, c, d, e, f];
    let end = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    super::push_block(out, &digits, end);
}

/// `timestamp`: microseconds since 1970.
#[inline]
pub fn push_timestamp(out: &mut Vec<u8>, micros: i64, style: &TextStyle) {
    if push_infinite(out, micros) {
        return;
    }
    let bc = match style.date_style {
        DateStyle::Iso => push_iso_timestamp(out, micros),
        DateStyle::Sql | DateStyle::Postgres | DateStyle::German => push_styled_timestamp(out, micros, style),
    };
    push_bc(out, bc);
}

#[inline]
fn push_infinite(out: &mut Vec<u8>, micros: i64) -> bool {
    match micros {
        TIMESTAMP_INFINITY => out.extend_from_slice(b"infinity"),
        TIMESTAMP_MINUS_INFINITY => out.extend_from_slice(b"-infinity"),
        _ => return false,
    }
    true
}

#[inline]
fn push_iso_timestamp(out: &mut Vec<u8>, micros: i64) -> bool {
    let bc = push_iso_day(out, micros.div_euclid(MICROS_PER_DAY));
    out.push(b' ');
    push_time(out, micros.rem_euclid(MICROS_PER_DAY));
    bc
}

/// The offset of a zone, remembered for the quarter of an hour that was asked last: no zone changes within one.
#[derive(Debug, Clone)]
pub struct ZoneCache {
    zone: TextTimeZone,
    quarter: std::cell::Cell<i64>,
    offset: std::cell::Cell<i32>,
}

const MICROS_PER_QUARTER: i64 = 900 * MICROS_PER_SECOND;

impl ZoneCache {
    pub fn new(zone: TextTimeZone) -> Self {
        Self { zone, quarter: std::cell::Cell::new(0), offset: std::cell::Cell::new(offset_at(zone, 0)) }
    }

    /// Seconds east of Greenwich at a moment.
    #[inline]
    fn offset(&self, micros: i64) -> i32 {
        let quarter = micros.div_euclid(MICROS_PER_QUARTER);
        if quarter != self.quarter.get() {
            // Before standard time, changes of zones come at any second.
            if micros < 0 {
                return offset_at(self.zone, micros);
            }
            self.quarter.set(quarter);
            self.offset.set(offset_at(self.zone, micros));
        }
        self.offset.get()
    }
}

/// `timestamptz`: microseconds since 1970 in UTC, shown in the cache's zone, which is the style's.
#[inline]
pub fn push_timestamptz(out: &mut Vec<u8>, micros: i64, style: &TextStyle, zone: &ZoneCache) {
    if push_infinite(out, micros) {
        return;
    }
    match style.date_style {
        DateStyle::Iso => {
            let offset = zone.offset(micros);
            let bc = push_iso_timestamp(out, micros.saturating_add(i64::from(offset) * MICROS_PER_SECOND));
            push_offset(out, offset);
            push_bc(out, bc);
        }
        DateStyle::Sql | DateStyle::Postgres | DateStyle::German => push_styled_timestamptz(out, micros, style),
    }
}

fn push_styled_timestamptz(out: &mut Vec<u8>, micros: i64, style: &TextStyle) {
    let (offset, name) = offset_and_name_at(style.time_zone, micros);
    let bc = push_styled_timestamp(out, micros.saturating_add(i64::from(offset) * MICROS_PER_SECOND), style);
    match name {
        Some(name) => {
            out.push(b' ');
            out.extend_from_slice(name.as_bytes());
        }
        None => {
            // The space keeps a year and an offset apart.
            if style.date_style == DateStyle::Postgres {
                out.push(b' ');
            }
            push_offset(out, offset);
        }
    }
    push_bc(out, bc);
}

/// `+hh[:mm[:ss]]`
#[inline]
fn push_offset(out: &mut Vec<u8>, seconds: i32) {
    let magnitude = seconds.unsigned_abs();
    out.push(if seconds < 0 { b'-' } else { b'+' });
    push_pair(out, magnitude / 3600);
    if !magnitude.is_multiple_of(3600) {
        out.push(b':');
        push_pair(out, magnitude / 60 % 60);
        if !magnitude.is_multiple_of(60) {
            out.push(b':');
            push_pair(out, magnitude % 60);
        }
    }
}

const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

fn push_styled_timestamp(out: &mut Vec<u8>, micros: i64, style: &TextStyle) -> bool {
    let days = micros.div_euclid(MICROS_PER_DAY);
    let time = micros.rem_euclid(MICROS_PER_DAY);
    let (year, month, day) = civil_from_days(days);
    if style.date_style != DateStyle::Postgres {
        let start = out.len();
        push_styled_date(out, days, style);
        // BC stands after everything else.
        if year <= 0 {
            out.truncate(out.len().saturating_sub(3).max(start));
        }
        out.push(b' ');
        push_time(out, time);
        return year <= 0;
    }
    // 1970-01-01 was a Thursday.
    out.extend_from_slice(WEEKDAYS[days.rem_euclid(7) as usize]);
    out.push(b' ');
    let month = MONTHS[(month as usize + 11) % 12];
    if style.date_order == DateOrder::Dmy {
        push_pair(out, day);
        out.push(b' ');
        out.extend_from_slice(month);
    } else {
        out.extend_from_slice(month);
        out.push(b' ');
        push_pair(out, day);
    }
    out.push(b' ');
    push_time(out, time);
    out.push(b' ');
    push_year(out, year);
    year <= 0
}
