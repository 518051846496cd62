//! Input of `interval`: verbose, SQL standard and ISO 8601 forms.

use arrow::datatypes::IntervalMonthDayNano;

use super::InputContext;
use super::datetime::datetime_syntax;
use super::decode::fraction_micros;
use super::tokens::{Field, Kind, fields};
use super::words::{TimeUnit, time_unit};
use crate::encode::IntervalStyle;
use crate::encode::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, round_micros};
use crate::error::{Error, Result, SqlState};

const MICROS_PER_HOUR: i64 = 3600 * MICROS_PER_SECOND;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;

/// An interval as PostgreSQL keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IntervalValue {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

impl IntervalValue {
    /// The Arrow carrier; 22008 when the time does not fit into 64 bits of nanoseconds (292 years).
    pub fn to_arrow(self) -> Result<IntervalMonthDayNano> {
        let nanos = self
            .micros
            .checked_mul(1000)
            .ok_or_else(|| Error::new(SqlState::DatetimeFieldOverflow, "interval out of range"))?;
        Ok(IntervalMonthDayNano::new(self.months, self.days, nanos))
    }

    /// From the Arrow carrier; nanoseconds are rounded to microseconds, halves away from zero.
    pub fn from_arrow(value: IntervalMonthDayNano) -> Self {
        let micros = value.nanoseconds / 1000;
        let rest = value.nanoseconds % 1000;
        let micros = if rest.abs() >= 500 { micros + rest.signum() } else { micros };
        Self { months: value.months, days: value.days, micros }
    }
}

enum Fault {
    Format,
    Range,
}

/// Bits of an interval's typmod that say which fields it has (PostgreSQL's INTERVAL_MASK).
mod range {
    pub(super) const MONTH: i32 = 1 << 1;
    pub(super) const YEAR: i32 = 1 << 2;
    pub(super) const DAY: i32 = 1 << 3;
    pub(super) const HOUR: i32 = 1 << 10;
    pub(super) const MINUTE: i32 = 1 << 11;
    pub(super) const SECOND: i32 = 1 << 12;
    pub(super) const FULL: i32 = 0x7fff;
}

/// `interval` with PostgreSQL's typmod (fields and precision), or -1.
pub fn interval(text: &str, typmod: i32, context: &InputContext) -> Result<IntervalValue> {
    let fields_mask = if typmod < 0 { range::FULL } else { (typmod >> 16) & range::FULL };
    let read = match fields(text.as_bytes()) {
        Some(fields) if !fields.is_empty() => decode(&fields, fields_mask, context.interval_style),
        _ => Err(Fault::Format),
    };
    let value = match read {
        Err(Fault::Format) => decode_iso(text.trim()),
        read => read,
    };
    match value {
        Ok(value) => Ok(fit_interval(value, typmod)),
        Err(Fault::Format) => Err(datetime_syntax("interval", text.as_bytes())),
        Err(Fault::Range) => {
            Err(Error::new(SqlState::IntervalFieldOverflow, format!("interval field value out of range: \"{text}\"")))
        }
    }
}

/// Cuts an interval to the fields and the precision of its typmod.
pub fn fit_interval(value: IntervalValue, typmod: i32) -> IntervalValue {
    if typmod < 0 {
        return value;
    }
    let mask = (typmod >> 16) & range::FULL;
    let mut value = value;
    if mask != range::FULL && mask != 0 {
        let has = |bit| mask & bit != 0;
        if !has(range::SECOND) {
            value = cut_time(value, has(range::MINUTE), has(range::HOUR));
        }
        if mask & (range::DAY | range::HOUR | range::MINUTE | range::SECOND) == 0 {
            value.days = 0;
        }
        if mask == range::YEAR {
            value.months = value.months / 12 * 12;
        }
    }
    match typmod & 0xffff {
        precision @ 0..=5 => IntervalValue { micros: round_micros(value.micros, precision), ..value },
        _ => value,
    }
}

fn cut_time(value: IntervalValue, minutes: bool, hours: bool) -> IntervalValue {
    let unit = if minutes {
        MICROS_PER_MINUTE
    } else if hours {
        MICROS_PER_HOUR
    } else {
        return IntervalValue { micros: 0, ..value };
    };
    IntervalValue { micros: value.micros / unit * unit, ..value }
}

/// The sums of an interval while its fields are read.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
}

type Decoded<T> = Result<T, Fault>;

fn add(sum: &mut i64, value: i64) -> Decoded<()> {
    *sum = sum.checked_add(value).ok_or(Fault::Range)?;
    Ok(())
}

fn add_times(sum: &mut i64, value: i64, factor: i64) -> Decoded<()> {
    add(sum, value.checked_mul(factor).ok_or(Fault::Range)?)
}

impl Sum {
    /// Adds `whole` and a `fraction` of the same sign in a unit. A fraction of a month becomes days, of a day a time.
    fn add(&mut self, unit: TimeUnit, whole: i64, fraction: f64) -> Decoded<()> {
        match unit {
            TimeUnit::Microsecond => add(&mut self.micros, whole.saturating_add(fraction.round_ties_even() as i64)),
            TimeUnit::Millisecond => self.add_time(whole, fraction, 1000),
            TimeUnit::Second => self.add_time(whole, fraction, MICROS_PER_SECOND),
            TimeUnit::Minute => self.add_time(whole, fraction, MICROS_PER_MINUTE),
            TimeUnit::Hour => self.add_time(whole, fraction, MICROS_PER_HOUR),
            TimeUnit::Day => {
                add(&mut self.days, whole)?;
                self.add_time(0, fraction, MICROS_PER_DAY)
            }
            TimeUnit::Week => {
                add_times(&mut self.days, whole, 7)?;
                self.add_days(fraction * 7.0)
            }
            TimeUnit::Month => {
                add(&mut self.months, whole)?;
                self.add_days(fraction * 30.0)
            }
            TimeUnit::Quarter => self.add_months(whole, fraction, 3),
            TimeUnit::Year => self.add_months(whole, fraction, 12),
            TimeUnit::Decade => self.add_months(whole, fraction, 120),
            TimeUnit::Century => self.add_months(whole, fraction, 1200),
            TimeUnit::Millennium => self.add_months(whole, fraction, 12_000),
            TimeUnit::Ago => Err(Fault::Format),
        }
    }

    fn add_time(&mut self, whole: i64, fraction: f64, micros: i64) -> Decoded<()> {
        add_times(&mut self.micros, whole, micros)?;
        add(&mut self.micros, (fraction * micros as f64).round_ties_even() as i64)
    }

    fn add_days(&mut self, days: f64) -> Decoded<()> {
        add(&mut self.days, days.trunc() as i64)?;
        self.add_time(0, days - days.trunc(), MICROS_PER_DAY)
    }

    fn add_months(&mut self, whole: i64, fraction: f64, months: i64) -> Decoded<()> {
        add_times(&mut self.months, whole, months)?;
        add(&mut self.months, (fraction * months as f64).round_ties_even() as i64)
    }

    fn finish(self, negate: bool) -> Decoded<IntervalValue> {
        let sign = if negate { -1 } else { 1 };
        Ok(IntervalValue {
            months: i32::try_from(self.months * sign).map_err(|_| Fault::Range)?,
            days: i32::try_from(self.days * sign).map_err(|_| Fault::Range)?,
            micros: self.micros.checked_mul(sign).ok_or(Fault::Range)?,
        })
    }
}

/// `1-2` gives years and months.
const MONTH_BITS: u32 = 1 << TimeUnit::Year as u32 | 1 << TimeUnit::Month as u32;

/// A clock gives hours, minutes and seconds; each unit may come once.
const CLOCK_BITS: u32 = 1 << TimeUnit::Hour as u32 | 1 << TimeUnit::Minute as u32 | 1 << TimeUnit::Second as u32;

/// PostgreSQL's and SQL's forms. Fields are read from the last to the first, for a unit stands behind its number.
fn decode(fields: &[Field], mask: i32, style: IntervalStyle) -> Decoded<IntervalValue> {
    let mut sum = Sum::default();
    let mut next_unit: Option<TimeUnit> = None;
    let mut ago = false;
    let mut unused_unit = false;
    let mut seen = 0_u32;
    let mut once = |bits: u32| {
        let again = seen & bits != 0;
        seen |= bits;
        if again { Err(Fault::Format) } else { Ok(()) }
    };
    // In the SQL standard a leading minus is the whole interval's, if no other field has a sign.
    let sql_negative = style == IntervalStyle::SqlStandard
        && fields.first().is_some_and(|field| field.text.starts_with('-'))
        && !fields.iter().skip(1).any(|field| field.text.starts_with(['-', '+']));
    let force_negative = |text: &str| sql_negative && !text.starts_with('-');
    for field in fields.iter().rev() {
        let text = field.text.as_str();
        match field.kind {
            Kind::Word => {
                let named = time_unit(text).ok_or(Fault::Format)?;
                if unused_unit {
                    return Err(Fault::Format);
                }
                if named == TimeUnit::Ago {
                    ago = true;
                } else {
                    next_unit = Some(named);
                    unused_unit = true;
                }
            }
            Kind::Time => {
                once(CLOCK_BITS)?;
                let time = clock(text, mask)?;
                add(&mut sum.micros, if sql_negative { -time } else { time })?;
                (next_unit, unused_unit) = (Some(TimeUnit::Day), false);
            }
            Kind::Signed if text.contains(':') => {
                once(CLOCK_BITS)?;
                let time = clock(text.get(1..).unwrap_or_default(), mask)?;
                add(&mut sum.micros, if text.starts_with('-') { -time } else { time })?;
                (next_unit, unused_unit) = (Some(TimeUnit::Day), false);
            }
            Kind::Number | Kind::Date | Kind::Signed => {
                // A number without a unit of its own has that of the number behind it, and so comes twice.
                let unit = *next_unit.get_or_insert_with(|| default_unit(mask));
                unused_unit = false;
                let dashed = text.get(1..).is_some_and(|tail| tail.contains('-'));
                once(if dashed { MONTH_BITS } else { 1 << unit as u32 })?;
                add_number(&mut sum, text, unit, force_negative(text))?;
            }
        }
    }
    if unused_unit {
        return Err(Fault::Format);
    }
    sum.finish(ago)
}

/// The unit of a number that names none: the last field that the type has.
fn default_unit(mask: i32) -> TimeUnit {
    match mask {
        range::YEAR => TimeUnit::Year,
        m if m == range::MONTH || m == range::YEAR | range::MONTH => TimeUnit::Month,
        range::DAY => TimeUnit::Day,
        m if m == range::HOUR || m == range::DAY | range::HOUR => TimeUnit::Hour,
        m if m & range::SECOND == 0 && m & range::MINUTE != 0 => TimeUnit::Minute,
        _ => TimeUnit::Second,
    }
}

fn add_number(sum: &mut Sum, text: &str, unit: TimeUnit, force_negative: bool) -> Decoded<()> {
    let negative = force_negative || text.starts_with('-');
    let digits = text.trim_start_matches(['+', '-']);
    let sign = if negative { -1 } else { 1 };
    if let Some((years, months)) = digits.split_once('-') {
        let (years, months) = (whole(years)?, whole(months)?);
        if months >= 12 {
            return Err(Fault::Range);
        }
        return sum.add(TimeUnit::Month, sign * (years.checked_mul(12).ok_or(Fault::Range)? + months), 0.0);
    }
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::Format);
    }
    let integer = if integer.is_empty() && !fraction.is_empty() { 0 } else { whole(integer)? };
    sum.add(unit, sign * integer, sign as f64 * decimals(fraction))
}

fn whole(text: &str) -> Decoded<i64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::Format);
    }
    text.parse().map_err(|_| Fault::Range)
}

fn decimals(fraction: &str) -> f64 {
    if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().unwrap_or(0.0) }
}

/// `h:mm[:ss[.fraction]]`; `m:ss.fraction`, and `m:ss` for MINUTE TO SECOND. Hours have no limit.
fn clock(text: &str, mask: i32) -> Decoded<i64> {
    let (whole_part, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = whole_part.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [minutes, seconds] if text.contains('.') || mask == range::MINUTE | range::SECOND => (0, *minutes, *seconds),
        [hours, minutes] => (whole(hours)?, *minutes, "0"),
        [hours, minutes, seconds] => (whole(hours)?, *minutes, *seconds),
        _ => return Err(Fault::Format),
    };
    let (minutes, seconds) = (whole(minutes)?, whole(seconds)?);
    let micros = fraction_micros(fraction).map_err(|_| Fault::Format)?;
    if minutes > 59 || seconds > 60 {
        return Err(Fault::Range);
    }
    let hours = hours.checked_mul(MICROS_PER_HOUR).ok_or(Fault::Range)?;
    hours.checked_add(minutes * MICROS_PER_MINUTE + seconds * MICROS_PER_SECOND + micros).ok_or(Fault::Range)
}

/// ISO 8601: `P1Y2M3DT4H5M6.7S`, `P2W`, and the alternative `P0001-02-03T04:05:06`.
fn decode_iso(text: &str) -> Decoded<IntervalValue> {
    let body = text.strip_prefix('P').ok_or(Fault::Format)?;
    let (date, time) = match body.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (body, None),
    };
    let mut sum = Sum::default();
    let is_dashed = |part: &str| {
        part.get(1..).is_some_and(|tail| tail.contains('-')) && !part.ends_with(|last: char| last.is_ascii_alphabetic())
    };
    if is_dashed(date) {
        add_dashed_date(&mut sum, date)?;
    } else {
        add_designated(&mut sum, date, false)?;
    }
    match time {
        Some(time) if time.contains(':') => add_colon_time(&mut sum, time)?,
        Some(time) => add_designated(&mut sum, time, true)?,
        None if date.is_empty() => return Err(Fault::Format),
        None => {}
    }
    sum.finish(false)
}

fn add_designated(sum: &mut Sum, text: &str, is_time: bool) -> Decoded<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|character: char| character.is_ascii_alphabetic()).ok_or(Fault::Format)?;
        let (number, tail) = rest.split_at(end);
        let unit = match (tail.as_bytes().first(), is_time) {
            (Some(b'Y'), false) => TimeUnit::Year,
            (Some(b'M'), false) => TimeUnit::Month,
            (Some(b'W'), false) => TimeUnit::Week,
            (Some(b'D'), false) => TimeUnit::Day,
            (Some(b'H'), true) => TimeUnit::Hour,
            (Some(b'M'), true) => TimeUnit::Minute,
            (Some(b'S'), true) => TimeUnit::Second,
            _ => return Err(Fault::Format),
        };
        add_iso_number(sum, number, unit)?;
        rest = tail.get(1..).unwrap_or_default();
    }
    Ok(())
}

fn add_iso_number(sum: &mut Sum, text: &str, unit: TimeUnit) -> Decoded<()> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || digits == "." || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(Fault::Format);
    }
    add_number(sum, text, unit, false)
}

/// `yyyy-mm-dd`, each with a sign of its own.
fn add_dashed_date(sum: &mut Sum, date: &str) -> Decoded<()> {
    let mut rest = date;
    for unit in [TimeUnit::Year, TimeUnit::Month, TimeUnit::Day] {
        let end = rest.get(1..).and_then(|tail| tail.find('-')).map_or(rest.len(), |at| at + 1);
        let (number, tail) = rest.split_at(end);
        add_iso_number(sum, number, unit)?;
        rest = tail.strip_prefix('-').unwrap_or(tail);
        if rest.is_empty() {
            return Ok(());
        }
    }
    Err(Fault::Format)
}

fn add_colon_time(sum: &mut Sum, time: &str) -> Decoded<()> {
    let mut parts = time.split(':');
    for unit in [TimeUnit::Hour, TimeUnit::Minute, TimeUnit::Second] {
        let Some(part) = parts.next() else { return Ok(()) };
        add_iso_number(sum, part, unit)?;
    }
    if parts.next().is_some() { Err(Fault::Format) } else { Ok(()) }
}
