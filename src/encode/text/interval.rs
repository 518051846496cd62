//! Intervals as text, in every IntervalStyle.

use super::datetime::push_fraction;
use super::number::push_pair;
use super::push_i64;
use crate::encode::IntervalStyle;
use crate::encode::calendar::MICROS_PER_SECOND;
use crate::encode::input::IntervalValue;

/// An interval's fields, each with its own sign.
struct Parts {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    seconds: i64,
    micros: i64,
}

impl Parts {
    fn new(value: IntervalValue) -> Self {
        let seconds = value.micros / MICROS_PER_SECOND;
        Self {
            years: i64::from(value.months / 12),
            months: i64::from(value.months % 12),
            days: i64::from(value.days),
            hours: seconds / 3600,
            minutes: seconds / 60 % 60,
            seconds: seconds % 60,
            micros: value.micros % MICROS_PER_SECOND,
        }
    }

    fn has_time(&self) -> bool {
        self.hours != 0 || self.minutes != 0 || self.seconds != 0 || self.micros != 0
    }

    fn time_is_negative(&self) -> bool {
        self.hours < 0 || self.minutes < 0 || self.seconds < 0 || self.micros < 0
    }

    /// Seconds with decimals, without a sign.
    fn push_seconds(&self, out: &mut Vec<u8>, two_digits: bool) {
        let seconds = self.seconds.unsigned_abs();
        if two_digits {
            push_pair(out, seconds as u32)
        } else {
            push_i64(out, seconds as i64)
        }
        push_fraction(out, self.micros.unsigned_abs() as u32);
    }

    /// `:mm:ss` after the hours.
    fn push_minutes(&self, out: &mut Vec<u8>) {
        out.push(b':');
        push_pair(out, self.minutes.unsigned_abs() as u32);
        out.push(b':');
        self.push_seconds(out, true);
    }
}

/// `interval` in a style.
pub fn push_interval(out: &mut Vec<u8>, value: IntervalValue, style: IntervalStyle) {
    let parts = Parts::new(value);
    match style {
        IntervalStyle::Postgres => push_postgres(out, &parts),
        IntervalStyle::PostgresVerbose => push_verbose(out, &parts),
        IntervalStyle::SqlStandard => push_sql_standard(out, &parts),
        IntervalStyle::Iso8601 => push_iso(out, &parts),
    }
}

/// `1 year 2 mons -3 days +04:05:06`: a plus marks what follows something negative.
fn push_postgres(out: &mut Vec<u8>, parts: &Parts) {
    let start = out.len();
    let mut after_negative = false;
    for (value, unit) in [(parts.years, "year"), (parts.months, "mon"), (parts.days, "day")] {
        if value == 0 {
            continue;
        }
        if out.len() > start {
            out.push(b' ');
        }
        if after_negative && value > 0 {
            out.push(b'+');
        }
        push_i64(out, value);
        out.push(b' ');
        push_unit(out, unit, value != 1);
        after_negative = value < 0;
    }
    let is_empty = out.len() == start;
    if !is_empty && !parts.has_time() {
        return;
    }
    if !is_empty {
        out.push(b' ');
    }
    if parts.time_is_negative() {
        out.push(b'-');
    } else if after_negative {
        out.push(b'+');
    }
    push_hours_padded(out, parts.hours);
    parts.push_minutes(out);
}

fn push_unit(out: &mut Vec<u8>, unit: &str, plural: bool) {
    out.extend_from_slice(unit.as_bytes());
    if plural {
        out.push(b's');
    }
}

fn push_hours_padded(out: &mut Vec<u8>, hours: i64) {
    let hours = hours.unsigned_abs();
    if hours < 100 { push_pair(out, hours as u32) } else { super::push_u64(out, hours) }
}

/// `@ 1 year 2 mons ago`: the first field's sign is the whole one's.
fn push_verbose(out: &mut Vec<u8>, parts: &Parts) {
    out.push(b'@');
    let mut ago: Option<bool> = None;
    let fields = [
        (parts.years, "year"),
        (parts.months, "mon"),
        (parts.days, "day"),
        (parts.hours, "hour"),
        (parts.minutes, "min"),
    ];
    for (value, unit) in fields {
        if value == 0 {
            continue;
        }
        let negative = *ago.get_or_insert(value < 0);
        let shown = if negative { -value } else { value };
        out.push(b' ');
        push_i64(out, shown);
        out.push(b' ');
        push_unit(out, unit, shown != 1);
    }
    if parts.seconds != 0 || parts.micros != 0 {
        let below_zero = parts.seconds < 0 || parts.micros < 0;
        let negative = *ago.get_or_insert(below_zero);
        out.push(b' ');
        if negative != below_zero {
            out.push(b'-');
        }
        parts.push_seconds(out, false);
        out.push(b' ');
        push_unit(out, "sec", parts.seconds.abs() != 1 || parts.micros != 0);
    }
    match ago {
        None => out.extend_from_slice(b" 0"),
        Some(true) => out.extend_from_slice(b" ago"),
        Some(false) => {}
    }
}

/// `1-2`, `3 4:05:06`, and `+1-2 +3 +4:05:06` for what the standard cannot say.
fn push_sql_standard(out: &mut Vec<u8>, parts: &Parts) {
    let negative = parts.years < 0 || parts.months < 0 || parts.days < 0 || parts.time_is_negative();
    let positive =
        parts.years > 0 || parts.months > 0 || parts.days > 0 || (parts.has_time() && !parts.time_is_negative());
    let has_months = parts.years != 0 || parts.months != 0;
    let has_days = parts.days != 0 || parts.has_time();
    if !negative && !positive {
        return out.push(b'0');
    }
    if (negative && positive) || (has_months && has_days) {
        return push_signed_sql(out, parts);
    }
    if negative {
        out.push(b'-');
    }
    if has_months {
        return push_year_month(out, parts);
    }
    if parts.days != 0 {
        push_i64(out, parts.days.abs());
        out.push(b' ');
    }
    push_i64(out, parts.hours.abs());
    parts.push_minutes(out);
}

fn push_year_month(out: &mut Vec<u8>, parts: &Parts) {
    push_i64(out, parts.years.abs());
    out.push(b'-');
    push_i64(out, parts.months.abs());
}

fn push_signed_sql(out: &mut Vec<u8>, parts: &Parts) {
    let sign = |negative: bool| if negative { b'-' } else { b'+' };
    out.push(sign(parts.years < 0 || parts.months < 0));
    push_year_month(out, parts);
    out.extend_from_slice(&[b' ', sign(parts.days < 0)]);
    push_i64(out, parts.days.abs());
    out.extend_from_slice(&[b' ', sign(parts.time_is_negative())]);
    push_i64(out, parts.hours.abs());
    parts.push_minutes(out);
}

/// `P1Y2M3DT4H5M6S`
fn push_iso(out: &mut Vec<u8>, parts: &Parts) {
    let start = out.len();
    out.push(b'P');
    push_designated(out, &[(parts.years, b'Y'), (parts.months, b'M'), (parts.days, b'D')]);
    if parts.has_time() {
        out.push(b'T');
        push_designated(out, &[(parts.hours, b'H'), (parts.minutes, b'M')]);
        if parts.seconds != 0 || parts.micros != 0 {
            if parts.seconds < 0 || parts.micros < 0 {
                out.push(b'-');
            }
            parts.push_seconds(out, false);
            out.push(b'S');
        }
    }
    if out.len() == start + 1 {
        out.extend_from_slice(b"T0S");
    }
}

fn push_designated(out: &mut Vec<u8>, fields: &[(i64, u8)]) {
    for (value, designator) in fields.iter().filter(|(value, _)| *value != 0) {
        push_i64(out, *value);
        out.push(*designator);
    }
}
