//! TimeZone in PostgreSQL's forms: IANA names in any case, `UTC+3` (POSIX: west is positive), hours, INTERVAL.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono_tz::{TZ_VARIANTS, Tz};

use super::value::invalid;
use crate::encode::TextTimeZone;
use crate::error::Result;

const NAME: &str = "TimeZone";
const OFFSET_SECONDS_MAX: f64 = 86_399.0;

static ZONES: LazyLock<HashMap<String, Tz>> =
    LazyLock::new(|| TZ_VARIANTS.iter().map(|zone| (zone.name().to_ascii_lowercase(), *zone)).collect());

/// A zone and how SHOW prints it.
#[derive(Debug, PartialEq)]
pub(super) struct NamedZone {
    pub name: String,
    pub zone: TextTimeZone,
}

/// The zone that a value of TimeZone names. 22023 for another text.
pub fn zone_named(text: &str) -> Result<TextTimeZone> {
    parse(text).map(|named| named.zone)
}

/// Reads a zone. 22023 for what PostgreSQL does not know either.
pub(super) fn parse(text: &str) -> Result<NamedZone> {
    if let Some(seconds) = interval_seconds(text) {
        return fixed(seconds, text);
    }
    if let Ok(hours) = text.trim().parse::<f64>() {
        // `+03` and `1e1` read as numbers too; infinity and NaN are letters and fall through to the names.
        if hours.is_finite() {
            return fixed(hours * 3600.0, text);
        }
    }
    if let Some(zone) = ZONES.get(&text.to_ascii_lowercase()) {
        return Ok(NamedZone { name: zone.name().to_owned(), zone: TextTimeZone::Named(*zone) });
    }
    posix(text).ok_or_else(|| invalid(NAME, text))
}

/// A zone of so many seconds east, shown as PostgreSQL does: `<-07:30>+07:30`.
fn fixed(seconds_east: f64, text: &str) -> Result<NamedZone> {
    if seconds_east.abs() > OFFSET_SECONDS_MAX {
        return Err(invalid(NAME, text).with_detail("UTC timezone offset is out of range."));
    }
    let east = seconds_east.round_ties_even() as i32;
    let offset = clock(east.unsigned_abs());
    let name = if east < 0 { format!("<-{offset}>+{offset}") } else { format!("<+{offset}>-{offset}") };
    Ok(NamedZone { name, zone: TextTimeZone::Fixed(east) })
}

fn clock(seconds: u32) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (minutes, seconds) {
        (0, 0) => format!("{hours:02}"),
        (_, 0) => format!("{hours:02}:{minutes:02}"),
        _ => format!("{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// `INTERVAL '-03:00' HOUR TO MINUTE`: seconds east.
fn interval_seconds(text: &str) -> Option<f64> {
    let trimmed = text.trim();
    let keyword = trimmed.get(..8)?;
    if !keyword.eq_ignore_ascii_case("interval") {
        return None;
    }
    let quoted = trimmed.get(8..)?.trim_start().strip_prefix('\'')?;
    let (value, fields) = quoted.split_once('\'')?;
    // A number without a colon counts the last of the fields.
    let unit_seconds = match fields.trim().to_ascii_lowercase().as_str() {
        "" => 1,
        "hour" => 3600,
        "hour to minute" => 60,
        _ => return None,
    };
    let seconds = match value.trim().parse::<i32>() {
        Ok(number) => number.checked_mul(unit_seconds)?,
        Err(_) => signed_clock(value.trim())?,
    };
    Some(f64::from(seconds))
}

/// `[+-]hh[:mm[:ss]]` in seconds.
fn signed_clock(text: &str) -> Option<i32> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0;
    let mut size = 3600;
    for part in digits.split(':') {
        let digits_only = !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits_only || size == 0 {
            return None;
        }
        seconds += part.parse::<i32>().ok()? * size;
        size /= 60;
    }
    Some(sign * seconds)
}

/// `UTC+3`, `<x>-4`, `+03:30`: an abbreviation and seconds **west**. Rules of summer time are not understood.
fn posix(text: &str) -> Option<NamedZone> {
    let offset_start = match text.strip_prefix('<') {
        Some(quoted) => quoted.find('>')? + 2,
        None => text.find(|c: char| !c.is_ascii_alphabetic())?,
    };
    // An abbreviation without brackets has three letters at least, or is left out.
    if !text.starts_with('<') && (1..3).contains(&offset_start) {
        return None;
    }
    let west = signed_clock(text.get(offset_start..)?)?;
    (f64::from(west).abs() <= OFFSET_SECONDS_MAX)
        .then(|| NamedZone { name: text.to_ascii_uppercase(), zone: TextTimeZone::Fixed(-west) })
}
