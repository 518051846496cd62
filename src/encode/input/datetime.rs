//! Input of `date`, `time`, `timestamp` and `timestamptz`.

use super::InputContext;
use super::decode::{Decoding, Fault, Special, decode};
use super::invalid_syntax;
use crate::encode::TextTimeZone;
use crate::encode::calendar::{
    DATE_DAY_MAX, DATE_INFINITY, DATE_MINUS_INFINITY, DAY_MIN, MICROS_PER_DAY, MICROS_PER_SECOND, PG_EPOCH_MICROS,
    TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, days_from_civil, days_in_month, offset_at, offset_at_local,
    round_micros,
};
use crate::error::{Error, Result, SqlState};

/// `date`: days since 1970-01-01; i32::MAX and MIN are ±infinity.
pub fn date(text: &str, context: &InputContext) -> Result<i32> {
    date_bytes(text.as_bytes(), context)
}

/// [`date`] of bytes.
#[inline]
pub fn date_bytes(text: &[u8], context: &InputContext) -> Result<i32> {
    match iso_day(text) {
        Some((day, [])) => Ok(day as i32),
        _ => date_slowly(text, context),
    }
}

#[cold]
fn date_slowly(text: &[u8], context: &InputContext) -> Result<i32> {
    let decoding = read("date", text, context)?;
    let day = match decoding.special {
        Some(Special::Infinity) => return Ok(DATE_INFINITY),
        Some(Special::MinusInfinity) => return Ok(DATE_MINUS_INFINITY),
        Some(special) => special_micros(special, context).div_euclid(MICROS_PER_DAY),
        None => decoding.day.ok_or_else(|| datetime_syntax("date", text))?,
    };
    if !(DAY_MIN..=DATE_DAY_MAX).contains(&day) {
        return Err(out_of_range("date", text));
    }
    Ok(day as i32)
}

/// `time(precision)`: microseconds since midnight, 24:00:00 included. `typmod` is the precision, or -1.
pub fn time(text: &str, typmod: i32, context: &InputContext) -> Result<i64> {
    time_bytes(text.as_bytes(), typmod, context)
}

/// [`time`] of bytes.
pub fn time_bytes(text: &[u8], typmod: i32, context: &InputContext) -> Result<i64> {
    if let Some((micros, [])) = iso_time(text) {
        return Ok(at_precision(micros, typmod));
    }
    let decoding = read("time", text, context)?;
    let micros = match (decoding.special, decoding.time) {
        (Some(Special::Now), _) => special_micros(Special::Now, context).rem_euclid(MICROS_PER_DAY),
        (_, Some(time)) => time,
        _ => return Err(datetime_syntax("time", text)),
    };
    // A named zone has no offset without a day.
    if matches!(decoding.zone, Some(TextTimeZone::Named(_))) && decoding.day.is_none() {
        return Err(datetime_syntax("time", text));
    }
    Ok(at_precision(micros, typmod))
}

/// `timestamp(precision)`: microseconds since 1970; a zone in the text is read and ignored, as PostgreSQL does.
pub fn timestamp(text: &str, typmod: i32, context: &InputContext) -> Result<i64> {
    timestamp_bytes(text.as_bytes(), typmod, context)
}

/// [`timestamp`] of bytes.
#[inline]
pub fn timestamp_bytes(text: &[u8], typmod: i32, context: &InputContext) -> Result<i64> {
    match iso_timestamp(text) {
        Some((micros, [])) => Ok(at_timestamp_precision(micros, typmod)),
        _ => timestamp_slowly(text, typmod, context),
    }
}

#[cold]
fn timestamp_slowly(text: &[u8], typmod: i32, context: &InputContext) -> Result<i64> {
    let decoding = read("timestamp", text, context)?;
    if let Some(special) = decoding.special {
        return Ok(at_timestamp_precision(special_timestamp(special, &decoding, context), typmod));
    }
    let day = decoding.day.ok_or_else(|| datetime_syntax("timestamp", text))?;
    let micros = micros_of(day, decoding.time.unwrap_or(0)).ok_or_else(|| out_of_range("timestamp", text))?;
    Ok(at_timestamp_precision(micros, typmod))
}

/// `timestamptz(precision)`: microseconds since 1970 in UTC.
pub fn timestamptz(text: &str, typmod: i32, context: &InputContext) -> Result<i64> {
    timestamptz_bytes(text.as_bytes(), typmod, context)
}

/// [`timestamptz`] of bytes.
#[inline]
pub fn timestamptz_bytes(text: &[u8], typmod: i32, context: &InputContext) -> Result<i64> {
    match iso_timestamptz(text, context.time_zone) {
        Some(micros) => Ok(at_timestamp_precision(micros, typmod)),
        None => timestamptz_slowly(text, typmod, context),
    }
}

#[cold]
fn timestamptz_slowly(text: &[u8], typmod: i32, context: &InputContext) -> Result<i64> {
    let decoding = read("timestamp with time zone", text, context)?;
    let zone = decoding.zone.unwrap_or(context.time_zone);
    let local = match decoding.special {
        Some(special @ (Special::Infinity | Special::MinusInfinity | Special::Epoch | Special::Now)) => {
            return Ok(at_timestamp_precision(utc_special(special, context), typmod));
        }
        Some(special) => special_timestamp(special, &decoding, context),
        None => {
            let day = decoding.day.ok_or_else(|| datetime_syntax("timestamp with time zone", text))?;
            micros_of(day, decoding.time.unwrap_or(0)).ok_or_else(|| out_of_range("timestamp", text))?
        }
    };
    let offset = i64::from(offset_at_local(zone, local)) * MICROS_PER_SECOND;
    let micros = local.checked_sub(offset).filter(|micros| in_range(*micros));
    Ok(at_timestamp_precision(micros.ok_or_else(|| out_of_range("timestamp", text))?, typmod))
}

fn utc_special(special: Special, context: &InputContext) -> i64 {
    match special {
        Special::Infinity => TIMESTAMP_INFINITY,
        Special::MinusInfinity => TIMESTAMP_MINUS_INFINITY,
        Special::Epoch => 0,
        Special::Now | Special::Today | Special::Tomorrow | Special::Yesterday => context.now.timestamp_micros(),
    }
}

/// A special value as a local time; `today 04:05` has a time of its own.
fn special_timestamp(special: Special, decoding: &Decoding, context: &InputContext) -> i64 {
    match special {
        Special::Infinity => TIMESTAMP_INFINITY,
        Special::MinusInfinity => TIMESTAMP_MINUS_INFINITY,
        Special::Epoch => 0,
        Special::Now => special_micros(special, context),
        Special::Today | Special::Tomorrow | Special::Yesterday => {
            special_micros(special, context) + decoding.time.unwrap_or(0)
        }
    }
}

/// The local time in the session's zone of `now`, or the midnight of the other words.
fn special_micros(special: Special, context: &InputContext) -> i64 {
    let utc = context.now.timestamp_micros();
    let local = utc + i64::from(offset_at(context.time_zone, utc)) * MICROS_PER_SECOND;
    let midnight = local.div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY;
    match special {
        Special::Now => local,
        Special::Today => midnight,
        Special::Tomorrow => midnight + MICROS_PER_DAY,
        Special::Yesterday => midnight - MICROS_PER_DAY,
        Special::Epoch | Special::Infinity | Special::MinusInfinity => 0,
    }
}

fn micros_of(day: i64, time: i64) -> Option<i64> {
    day.checked_mul(MICROS_PER_DAY)?.checked_add(time).filter(|micros| in_range(*micros))
}

/// From 4713-11-24 BC on; the end of 64 bits is our limit at the other side (294247 AD).
fn in_range(micros: i64) -> bool {
    (DAY_MIN * MICROS_PER_DAY..TIMESTAMP_INFINITY).contains(&micros)
}

fn at_precision(micros: i64, typmod: i32) -> i64 {
    if typmod < 0 { micros } else { round_micros(micros, typmod) }
}

/// Rounds as PostgreSQL does, from 2000-01-01 on both ways.
pub(crate) fn at_timestamp_precision(micros: i64, typmod: i32) -> i64 {
    if !(0..6).contains(&typmod) || micros == TIMESTAMP_INFINITY || micros == TIMESTAMP_MINUS_INFINITY {
        return micros;
    }
    round_micros(micros.saturating_sub(PG_EPOCH_MICROS), typmod).saturating_add(PG_EPOCH_MICROS)
}

fn read(type_name: &str, text: &[u8], context: &InputContext) -> Result<Decoding> {
    decode(text, context.date_order, type_name == "time").map_err(|fault| fault_error(fault, type_name, text))
}

#[cold]
fn fault_error(fault: Fault, type_name: &str, text: &[u8]) -> Error {
    let shown = String::from_utf8_lossy(text);
    match fault {
        Fault::Format => datetime_syntax(type_name, text),
        Fault::Field { order } => {
            let error =
                Error::new(SqlState::DatetimeFieldOverflow, format!("date/time field value out of range: \"{shown}\""));
            if order { error.with_hint("Perhaps you need a different \"datestyle\" setting.") } else { error }
        }
        Fault::Displacement => Error::new(
            SqlState::InvalidTimeZoneDisplacementValue,
            format!("time zone displacement out of range: \"{shown}\""),
        ),
        Fault::UnknownZone(name) => {
            Error::new(SqlState::InvalidParameterValue, format!("time zone \"{name}\" not recognized"))
        }
    }
}

/// 22007 `invalid input syntax for type date: "x"`.
#[cold]
pub(super) fn datetime_syntax(type_name: &str, text: &[u8]) -> Error {
    let message = invalid_syntax(type_name, text).message().to_owned();
    Error::new(SqlState::InvalidDatetimeFormat, message)
}

#[cold]
fn out_of_range(what: &str, text: &[u8]) -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, format!("{what} out of range: \"{}\"", String::from_utf8_lossy(text)))
}

/// Two digits, or none.
#[inline]
fn two(high: u8, low: u8) -> Option<u32> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    (high <= 9 && low <= 9).then(|| u32::from(high) * 10 + u32::from(low))
}

/// `YYYY-MM-DD` at the start: days since 1970, and what follows.
#[inline]
fn iso_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let [a, b, c, d, b'-', e, f, b'-', g, h, rest @ ..] = text else { return None };
    let year = two(*a, *b)? * 100 + two(*c, *d)?;
    let (month, day) = (two(*e, *f)?, two(*g, *h)?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(i64::from(year), month) {
        return None;
    }
    Some((days_from_civil(i64::from(year), month, day), rest))
}

/// `HH:MM:SS[.ffffff]` at the start: microseconds since midnight, and what follows.
#[inline]
fn iso_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let [a, b, b':', c, d, b':', e, f, rest @ ..] = text else { return None };
    let (hour, minute, second) = (two(*a, *b)?, two(*c, *d)?, two(*e, *f)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    let (micros, rest) = match rest {
        [b'.', rest @ ..] => iso_fraction(rest)?,
        _ => (0, rest),
    };
    Some((seconds * MICROS_PER_SECOND + micros, rest))
}

/// One to six decimals; more are left to the slow path, which rounds.
#[inline]
fn iso_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let mut micros = 0_i64;
    let mut unit = 100_000_i64;
    let mut rest = text;
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        if unit == 0 {
            return None;
        }
        micros += i64::from(digit - b'0') * unit;
        unit /= 10;
        rest = tail;
    }
    (rest.len() < text.len()).then_some((micros, rest))
}

/// A whole timestamp of four-digit year; a lone date is its midnight.
#[inline]
fn iso_timestamp(text: &[u8]) -> Option<(i64, &[u8])> {
    let (day, rest) = iso_day(text)?;
    let (time, rest) = match rest {
        [] => (0, rest),
        [b' ' | b'T', rest @ ..] => iso_time(rest)?,
        _ => return None,
    };
    Some((day * MICROS_PER_DAY + time, rest))
}

/// A whole timestamp with an offset, or with none in the given zone.
#[inline]
fn iso_timestamptz(text: &[u8], zone: TextTimeZone) -> Option<i64> {
    let (local, rest) = iso_timestamp(text)?;
    let offset = if rest.is_empty() { offset_at_local(zone, local) } else { iso_offset(rest)? };
    Some(local - i64::from(offset) * MICROS_PER_SECOND)
}

/// `Z`, `+hh` or `+hh:mm`, in seconds.
#[inline]
fn iso_offset(text: &[u8]) -> Option<i32> {
    let (sign, hours, minutes) = match text {
        [b'Z'] => return Some(0),
        [sign @ (b'+' | b'-'), a, b] => (*sign, two(*a, *b)?, 0),
        [sign @ (b'+' | b'-'), a, b, b':', c, d] => (*sign, two(*a, *b)?, two(*c, *d)?),
        _ => return None,
    };
    if hours > 15 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 3600 + minutes * 60) as i32;
    Some(if sign == b'-' { -seconds } else { seconds })
}
