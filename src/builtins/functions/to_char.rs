//! `to_char` of dates, timestamps and times with PostgreSQL's patterns.

use std::fmt::Write;

use arrow::array::ArrayRef;
use datafusion::logical_expr::Expr;

use super::build::{contextual, scalar};
use super::date_arithmetic::{Moments, is_infinite, to_local};
use super::kernel::{Call, Kernel, Returns, some};
use super::time_field::iso_week;
use super::{Function, Volatility};
use crate::encode::calendar::{
    MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil, offset_and_name_at,
};
use crate::error::Result;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// 1970-01-01 was a Thursday.
pub(super) const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
pub(super) const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// The patterns, each before any that begins it. Lower-case spellings of numbers mean the same.
pub(super) const PATTERNS: &[&str] = &[
    "SSSSS", "SSSS", "Y,YYY", "YYYY", "YYY", "YY", "IYYY", "IYY", "IY", "IDDD", "ID", "HH24", "HH12", "HH", "MONTH",
    "Month", "month", "MON", "Mon", "mon", "MM", "MI", "MS", "US", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "SS",
    "DDD", "DD", "DAY", "Day", "day", "DY", "Dy", "dy", "IW", "WW", "W", "D", "J", "Q", "CC", "RM", "rm", "TZH", "TZM",
    "TZ", "tz", "OF", "A.M.", "P.M.", "a.m.", "p.m.", "AM", "PM", "am", "pm", "B.C.", "A.D.", "b.c.", "a.d.", "BC",
    "AD", "bc", "ad", "I", "Y",
];

/// A moment taken apart.
struct Moment {
    days: i64,
    year: i64,
    /// From 1; an interval's may be 0 or negative.
    month: i64,
    day: i64,
    micros: i64,
    offset: i32,
    zone: Option<String>,
    /// The fields are an interval's: nothing is a day of a calendar.
    interval: bool,
}

impl Moment {
    fn new(local: i64, offset: i32, zone: Option<String>) -> Self {
        let days = local.div_euclid(MICROS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        let micros = local.rem_euclid(MICROS_PER_DAY);
        Self { days, year, month: month.into(), day: day.into(), micros, offset, zone, interval: false }
    }

    /// There is no year 0.
    fn shown(&self, year: i64) -> i64 {
        if year > 0 || self.interval { year } else { 1 - year }
    }

    fn shown_year(&self) -> i64 {
        self.shown(self.year)
    }

    fn century(&self) -> i64 {
        match self.year {
            year if self.interval => year / 100,
            year if year > 0 => (year - 1) / 100 + 1,
            year => year / 100 - 1,
        }
    }

    /// The entry of a table of months; an interval without months has none.
    fn of_month<'t>(&self, table: &[&'t str; 12]) -> &'t str {
        let index = usize::try_from(self.month - 1).ok();
        index.and_then(|index| table.get(index)).copied().unwrap_or_default()
    }
}

/// Writes the moment by the format.
fn write_moment(format: &str, moment: &Moment, out: &mut String) {
    let mut rest = format;
    let mut fill = true;
    while let Some(c) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = write_quoted(quoted, out);
            continue;
        }
        if let Some(after) = rest.strip_prefix("\\\"") {
            out.push('"');
            rest = after;
            continue;
        }
        // TM asks for the locale's words, which are these, without blanks behind them.
        if let Some(after) = ["FM", "fm", "TM", "tm"].iter().find_map(|modifier| rest.strip_prefix(modifier)) {
            fill = false;
            rest = after;
            continue;
        }
        let found = PATTERNS.iter().find(|pattern| rest.starts_with(**pattern)).copied().or_else(|| {
            let numeric = |pattern: &&&str| pattern.bytes().all(|b| !b.is_ascii_lowercase()) && !is_word(pattern);
            PATTERNS
                .iter()
                .filter(numeric)
                .find(|pattern| rest.get(..pattern.len()).is_some_and(|start| start.eq_ignore_ascii_case(pattern)))
                .copied()
        });
        let Some(pattern) = found else {
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            continue;
        };
        let start = out.len();
        write_pattern(pattern, moment, fill, out);
        rest = rest.get(pattern.len()..).unwrap_or_default();
        if let Some(after) = rest.strip_prefix("TH").or_else(|| rest.strip_prefix("th")) {
            let upper = rest.starts_with('T');
            let suffix = ordinal(out.get(start..).unwrap_or_default());
            if upper {
                out.push_str(&suffix.to_uppercase())
            } else {
                out.push_str(suffix)
            }
            rest = after;
        }
        fill = true;
    }
}

/// Writes what stands between quotation marks, the first of which is read already; a backslash quotes a character. Gives
/// what follows.
fn write_quoted<'f>(quoted: &'f str, out: &mut String) -> &'f str {
    let mut letters = quoted.chars();
    while let Some(c) = letters.next() {
        match c {
            '"' => break,
            '\\' => out.extend(letters.next()),
            other => out.push(other),
        }
    }
    letters.as_str()
}

/// Patterns whose letters' case says how the result is written.
fn is_word(pattern: &str) -> bool {
    matches!(
        pattern,
        "MONTH" | "MON" | "DAY" | "DY" | "RM" | "TZ" | "AM" | "PM" | "A.M." | "P.M." | "BC" | "AD" | "B.C." | "A.D."
    )
}

pub(super) fn ordinal(number: &str) -> &'static str {
    let bytes = number.as_bytes();
    let teen = bytes.len() > 1 && bytes.get(bytes.len() - 2) == Some(&b'1');
    match bytes.last() {
        Some(b'1') if !teen => "st",
        Some(b'2') if !teen => "nd",
        Some(b'3') if !teen => "rd",
        _ => "th",
    }
}

fn word(out: &mut String, text: &str, pattern: &str, width: usize) {
    let upper = pattern.chars().all(|c| !c.is_lowercase());
    let lower = pattern.chars().all(|c| !c.is_uppercase());
    let text = if upper {
        text.to_uppercase()
    } else if lower {
        text.to_lowercase()
    } else {
        text.to_owned()
    };
    let _ = write!(out, "{text:<width$}");
}

fn write_pattern(pattern: &str, moment: &Moment, fill: bool, out: &mut String) {
    let seconds = moment.micros / MICROS_PER_SECOND;
    let fraction = moment.micros % MICROS_PER_SECOND;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let month = moment.of_month(&MONTHS);
    let weekday = WEEKDAYS.get(moment.days.rem_euclid(7) as usize).copied().unwrap_or_default();
    let day_of_year = if moment.interval {
        moment.year * 360 + moment.month * 30 + moment.day
    } else {
        moment.days - days_from_civil(moment.year, 1, 1) + 1
    };
    let (iso_year, week) = iso_week(moment.days);
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let width = |width: usize| if fill { width } else { 0 };
    let mut number = |value: i64, digits: usize| {
        // A sign comes on top of the digits.
        let digits = if value < 0 { width(digits + 1) } else { width(digits) };
        let _ = write!(out, "{value:0digits$}");
    };
    match pattern {
        "SSSSS" | "SSSS" => return number(seconds, 0),
        "YYYY" => return number(moment.shown_year(), 4),
        "YYY" => return number(moment.shown_year() % 1000, 3),
        "YY" => return number(moment.shown_year() % 100, 2),
        "Y" => return number(moment.shown_year() % 10, 1),
        "IYYY" => return number(moment.shown(iso_year), 4),
        "IYY" => return number(moment.shown(iso_year) % 1000, 3),
        "IY" => return number(moment.shown(iso_year) % 100, 2),
        "I" => return number(moment.shown(iso_year) % 10, 1),
        "IDDD" => return number((week - 1) * 7 + (moment.days + 3).rem_euclid(7) + 1, 3),
        "ID" => return number((moment.days + 3).rem_euclid(7) + 1, 1),
        "HH24" => return number(hour, 2),
        "HH12" | "HH" => return number(hour12, 2),
        "MM" => return number(moment.month, 2),
        "MI" => return number(minute, 2),
        "SS" => return number(second, 2),
        "MS" | "FF3" => return number(fraction / 1_000, 3),
        "US" | "FF6" => return number(fraction, 6),
        "FF1" => return number(fraction / 100_000, 1),
        "FF2" => return number(fraction / 10_000, 2),
        "FF4" => return number(fraction / 100, 4),
        "FF5" => return number(fraction / 10, 5),
        "DDD" => return number(day_of_year, 3),
        "DD" => return number(moment.day, 2),
        "D" => return number((moment.days + 4).rem_euclid(7) + 1, 1),
        "IW" => return number(week, 2),
        "WW" => return number((day_of_year - 1) / 7 + 1, 2),
        "W" => return number((moment.day - 1) / 7 + 1, 1),
        "J" => return number(moment.days + 2_440_588, 0),
        "Q" if moment.month == 0 => {}
        "Q" => return number((moment.month - 1) / 3 + 1, 1),
        "CC" => return number(moment.century(), 2),
        "TZM" => return number(i64::from(moment.offset.abs() / 60 % 60), 2),
        _ => {}
    }
    match pattern {
        "Y,YYY" => {
            let _ = write!(out, "{},{:03}", moment.shown_year() / 1000, moment.shown_year() % 1000);
        }
        "MONTH" | "Month" | "month" => word(out, month, pattern, width(9)),
        "MON" | "Mon" | "mon" => word(out, month.get(..3).unwrap_or(month), pattern, 0),
        "DAY" | "Day" | "day" => word(out, weekday, pattern, width(9)),
        "DY" | "Dy" | "dy" => word(out, weekday.get(..3).unwrap_or(weekday), pattern, 0),
        "RM" | "rm" => word(out, moment.of_month(&ROMAN), pattern, width(4)),
        "AM" | "PM" | "am" | "pm" => word(out, if hour % 24 < 12 { "AM" } else { "PM" }, pattern, 0),
        "A.M." | "P.M." | "a.m." | "p.m." => word(out, if hour % 24 < 12 { "A.M." } else { "P.M." }, pattern, 0),
        "BC" | "AD" | "bc" | "ad" => word(out, if moment.year > 0 { "AD" } else { "BC" }, pattern, 0),
        "B.C." | "A.D." | "b.c." | "a.d." => word(out, if moment.year > 0 { "A.D." } else { "B.C." }, pattern, 0),
        "TZ" | "tz" => word(out, moment.zone.as_deref().unwrap_or_default(), pattern, 0),
        "TZH" | "OF" => {
            let sign = if moment.offset < 0 { '-' } else { '+' };
            let offset = moment.offset.abs();
            let _ = write!(out, "{sign}{:02}", offset / 3600);
            if pattern == "OF" && offset % 3600 != 0 {
                let _ = write!(out, ":{:02}", offset / 60 % 60);
            }
        }
        _ => {}
    }
}

/// An interval's parts; months beyond a year and hours beyond a day as they are.
fn intervals(call: &Call) -> Result<ArrayRef> {
    let (values, formats) = (call.interval(0)?, call.text(1)?);
    call.texts(|row, out| {
        let (value, format) = (some!(values.get(row)), some!(formats.get(row)));
        if format.is_empty() {
            return Ok(None);
        }
        let micros = super::date_arithmetic::micros_of(value);
        let moment = Moment {
            days: i64::from(value.days),
            year: i64::from(value.months / 12),
            month: i64::from(value.months % 12),
            day: i64::from(value.days),
            micros,
            offset: 0,
            zone: None,
            interval: true,
        };
        write_moment(format, &moment, out);
        Ok(Some(()))
    })
}

fn timestamps(call: &Call) -> Result<ArrayRef> {
    let (moments, formats) = (Moments::of(call, 0)?, call.text(1)?);
    let zone = call.context_if_any().map(|context| context.time_zone);
    call.texts(|row, out| {
        let (at, format) = (some!(moments.get(row)?), some!(formats.get(row)));
        if is_infinite(at) || format.is_empty() {
            return Ok(None);
        }
        let moment = match zone {
            Some(zone) => {
                let (offset, name) = offset_and_name_at(zone, at);
                Moment::new(to_local(zone, at), offset, name)
            }
            None => Moment::new(at, 0, None),
        };
        write_moment(format, &moment, out);
        Ok(Some(()))
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(1768, "to_char(interval, text) text", intervals),
        scalar(2049, "to_char(timestamp, text) text", timestamps),
        contextual(1770, "to_char(timestamptz, text) text", |context, arguments: Vec<Expr>| {
            Kernel::new(
                "to_char",
                1770,
                Volatility::Stable,
                Returns::Fixed(arrow::datatypes::DataType::Utf8),
                timestamps,
            )
            .with_context(context)
            .call(arguments)
        }),
    ]
}
