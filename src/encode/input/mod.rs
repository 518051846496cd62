//! PostgreSQL's input functions: text to value, with PostgreSQL's rules and its very errors.
//!
//! One function a type. Those that COPY calls for every field (`…_bytes`) take bytes, allocate nothing and have a fast path
//! for the usual spelling; what the fast path does not know falls through to the full rules. [`parse_scalar`] is the generic
//! door: it gives the Arrow carrier that `types` promises for the type.

mod abbreviations;
mod array;
mod binary_text;
mod datetime;
mod decode;
mod interval;
mod json;
mod number;
mod numeric;
mod scalar;
mod string;
mod tokens;
mod words;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};

use super::{DateOrder, IntervalStyle, TextStyle, TextTimeZone};
use crate::error::{Error, Result, SqlState};

pub use abbreviations::abbreviation as zone_abbreviation;
pub use array::{ArrayItem, array, array_items};
pub use binary_text::{bytea, uuid, uuid_bytes};
pub(crate) use datetime::at_timestamp_precision;
pub use datetime::{date, date_bytes, time, time_bytes, timestamp, timestamp_bytes, timestamptz, timestamptz_bytes};
pub use interval::{IntervalValue, fit_interval, interval};
pub(crate) use json::write_string as write_json_string;
pub use json::{json, jsonb};
pub use number::{
    boolean, boolean_bytes, float4, float4_bytes, float4_of, float8, float8_bytes, float8_of, int2, int2_bytes, int4,
    int4_bytes, int8, int8_bytes, oid, oid_bytes,
};
pub use numeric::{fit_numeric, numeric, numeric_bytes, numeric_overflow, numeric_unbound};
pub(crate) use scalar::list_of;
pub use scalar::{null_scalar, null_value, parse_scalar};
pub use string::{bpchar, char_type, fit_bpchar, fit_varchar, name, varchar};
pub use words::{TimeUnit, time_unit};

/// What an input function may know beside the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputContext {
    /// The zone of a `timestamptz` that names none.
    pub time_zone: TextTimeZone,
    /// Which of day, month and year comes first in `1/2/03`.
    pub date_order: DateOrder,
    pub interval_style: IntervalStyle,
    /// What `now`, `today` and their kin mean: the start of the transaction.
    pub now: DateTime<Utc>,
}

impl InputContext {
    /// PostgreSQL's defaults in UTC.
    pub fn utc(now: DateTime<Utc>) -> Self {
        Self {
            time_zone: TextTimeZone::Named(chrono_tz::UTC),
            date_order: DateOrder::Mdy,
            interval_style: IntervalStyle::Postgres,
            now,
        }
    }

    /// The context that reads what `style` writes.
    pub fn of_style(style: &TextStyle, now: DateTime<Utc>) -> Self {
        Self { time_zone: style.time_zone, date_order: style.date_order, interval_style: style.interval_style, now }
    }
}

/// 22P02 `invalid input syntax for type integer: "x"`.
#[cold]
pub(crate) fn invalid_syntax(type_name: &str, text: &[u8]) -> Error {
    Error::new(
        SqlState::InvalidTextRepresentation,
        format!("invalid input syntax for type {type_name}: \"{}\"", String::from_utf8_lossy(text)),
    )
}

/// 22003 `value "x" is out of range for type integer`.
#[cold]
pub(crate) fn value_out_of_range(type_name: &str, text: &[u8]) -> Error {
    Error::new(
        SqlState::NumericValueOutOfRange,
        format!("value \"{}\" is out of range for type {type_name}", String::from_utf8_lossy(text)),
    )
}

/// The text without the white space (C's `isspace`) at both ends.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// C's `isspace` in the C locale: also the vertical tab.
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Valid UTF-8 without NUL, or 22021.
pub fn utf8(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).map_err(|error| invalid_encoding(bytes, error.valid_up_to()))?;
    match memchr::memchr(0, bytes) {
        Some(at) => Err(invalid_encoding(bytes, at)),
        None => Ok(text),
    }
}

/// PostgreSQL shows the whole character that the first byte announces, at most what there is.
#[cold]
fn invalid_encoding(bytes: &[u8], at: usize) -> Error {
    let rest = bytes.get(at..).unwrap_or_default();
    let announced = match rest.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let shown: Vec<String> = rest.iter().take(announced).map(|byte| format!("0x{byte:02x}")).collect();
    Error::new(
        SqlState::CharacterNotInRepertoire,
        format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
    )
}
