//! Values of settings: read as PostgreSQL reads them, shown as SHOW prints them.

use super::definition::{Definition, Kind, TextRule, Unit};
use super::{date_style, search_path, time_zone};
use crate::error::{Error, Result, SqlState};

/// A value in its canonical form.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    /// In the setting's own unit.
    Int(i64),
    Text(String),
}

impl Value {
    /// The default of a definition.
    pub(super) fn default_of(definition: &Definition) -> Self {
        match definition.kind {
            Kind::Bool { default } => Self::Bool(default),
            Kind::Int { default, .. } => Self::Int(default),
            Kind::Enum { default, .. } | Kind::Text { default, .. } => Self::Text(default.to_owned()),
        }
    }

    /// As SHOW prints it: `30s`, `4MB`, `on`.
    pub fn shown(&self, definition: Option<&Definition>) -> String {
        match (self, definition.map(|definition| &definition.kind)) {
            (Self::Int(value), Some(Kind::Int { unit: Some(unit), .. })) if *value > 0 => with_unit(*value, *unit),
            _ => self.plain(),
        }
    }

    /// As `pg_settings.setting` has it: numbers in the setting's unit.
    pub fn plain(&self) -> String {
        match self {
            Self::Bool(true) => "on".to_owned(),
            Self::Bool(false) => "off".to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// The number in the largest unit that divides it.
fn with_unit(value: i64, unit: Unit) -> String {
    for (name, size) in unit.accepted() {
        let size = *size as i64;
        if size >= 1 && value % size == 0 {
            return format!("{}{name}", value / size);
        }
    }
    format!("{value}{}", unit.name())
}

/// 22023 with PostgreSQL's text.
pub(super) fn invalid(name: &str, text: &str) -> Error {
    Error::new(SqlState::InvalidParameterValue, format!("invalid value for parameter \"{name}\": \"{text}\""))
}

/// Reads a value that somebody gave for this setting.
pub(super) fn parse(definition: &Definition, text: &str) -> Result<Value> {
    let name = definition.name;
    let value = match &definition.kind {
        Kind::Bool { .. } => Value::Bool(parse_bool(text).ok_or_else(|| {
            Error::new(SqlState::InvalidParameterValue, format!("parameter \"{name}\" requires a Boolean value"))
        })?),
        Kind::Int { min, max, unit, .. } => Value::Int(parse_int(name, text, (*min, *max), *unit)?),
        Kind::Enum { values, .. } => Value::Text(parse_enum(name, text, values)?.to_owned()),
        Kind::Text { rule, .. } => Value::Text(parse_text(name, text, *rule)?),
    };
    check_honoured(definition, &value)?;
    Ok(value)
}

fn check_honoured(definition: &Definition, value: &Value) -> Result<()> {
    let Some(honoured) = definition.honoured else { return Ok(()) };
    let shown = value.shown(Some(definition));
    if honoured.contains(&shown.as_str()) {
        return Ok(());
    }
    let name = definition.name;
    let values: Vec<String> = honoured.iter().map(|value| format!("\"{value}\"")).collect();
    Err(Error::unsupported(format!("parameter \"{name}\" with the value \"{shown}\""))
        .with_hint(format!("Supported values: {}.", values.join(", "))))
}

/// PostgreSQL's `parse_bool`: any unambiguous beginning of true, false, yes, no, on, off; 1 and 0.
fn parse_bool(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if text == "1" || begins("true", 1) || begins("yes", 1) || begins("on", 2) {
        Some(true)
    } else if text == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2) {
        Some(false)
    } else {
        None
    }
}

/// PostgreSQL's `parse_int`: a number, perhaps with a fraction and a unit, rounded to the setting's unit.
fn parse_int(name: &str, text: &str, (min, max): (i64, i64), unit: Option<Unit>) -> Result<i64> {
    let trimmed = text.trim();
    let number_end = trimmed
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && matches!(c, '+' | '-'))))
        .map_or(trimmed.len(), |(at, _)| at);
    let (number, suffix) = trimmed.split_at(number_end);
    let number: f64 = number.parse().map_err(|_| invalid(name, text))?;
    let scale = match (suffix.trim(), unit) {
        ("", _) => 1.0,
        (_, None) => return Err(invalid(name, text)),
        (suffix, Some(unit)) => {
            let known = unit.accepted().iter().find(|(unit_name, _)| *unit_name == suffix);
            known.ok_or_else(|| invalid(name, text).with_hint(unit.hint()))?.1
        }
    };
    let value = (number * scale).round_ties_even();
    if !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value) {
        return Err(invalid(name, text).with_hint("Value exceeds integer range."));
    }
    let value = value as i64;
    if value < min || value > max {
        let unit = unit.map(|unit| format!(" {}", unit.name())).unwrap_or_default();
        return Err(Error::new(
            SqlState::InvalidParameterValue,
            format!("{value}{unit} is outside the valid range for parameter \"{name}\" ({min} .. {max})"),
        ));
    }
    Ok(value)
}

fn parse_enum(name: &str, text: &str, values: &'static [&'static str]) -> Result<&'static str> {
    if let Some(value) = values.iter().find(|value| value.eq_ignore_ascii_case(text)) {
        return Ok(value);
    }
    // Enumerations with `on` and `off` take every Boolean word.
    let word = parse_bool(text).map(|on| if on { "on" } else { "off" });
    if let Some(value) = word.and_then(|word| values.iter().find(|value| **value == word)) {
        return Ok(value);
    }
    Err(invalid(name, text).with_hint(format!("Available values: {}.", values.join(", "))))
}

fn parse_text(name: &str, text: &str, rule: TextRule) -> Result<String> {
    match rule {
        TextRule::Any => Ok(text.to_owned()),
        TextRule::Printable => Ok(printable(text)),
        TextRule::DateStyle => date_style::canonical(text),
        TextRule::TimeZone => time_zone::parse(text).map(|zone| zone.name),
        TextRule::ClientEncoding => client_encoding(name, text),
        TextRule::SearchPath => search_path::check(name, text).map(|()| text.to_owned()),
    }
}

fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    // NAMEDATALEN - 1 bytes, as PostgreSQL cuts it.
    for byte in text.bytes().take(63) {
        match byte {
            32..=126 => clean.push(char::from(byte)),
            _ => clean.push_str(&format!("\\x{byte:02x}")),
        }
    }
    clean
}

/// Names of other encodings of PostgreSQL: known, but there is no conversion.
const OTHER_ENCODINGS: &[&str] = &[
    "sqlascii",
    "latin1",
    "latin2",
    "latin3",
    "latin4",
    "latin5",
    "latin6",
    "latin7",
    "latin8",
    "latin9",
    "latin10",
    "iso88591",
    "iso88595",
    "iso88596",
    "iso88597",
    "iso88598",
    "win1250",
    "win1251",
    "win1252",
    "win1253",
    "win1254",
    "win1255",
    "win1256",
    "win1257",
    "win1258",
    "win866",
    "win874",
    "koi8r",
    "koi8u",
    "eucjp",
    "euccn",
    "euckr",
    "euctw",
    "sjis",
    "big5",
    "gbk",
    "uhc",
    "gb18030",
    "johab",
    "muleinternal",
    "eucjis2004",
    "shiftjis2004",
];

fn client_encoding(name: &str, text: &str) -> Result<String> {
    let folded: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match folded.as_str() {
        "utf8" | "unicode" => Ok("UTF8".to_owned()),
        other if OTHER_ENCODINGS.contains(&other) => Err(Error::new(
            SqlState::FeatureNotSupported,
            format!("conversion between {} and UTF8 is not supported", text.to_ascii_uppercase()),
        )),
        _ => Err(invalid(name, text)),
    }
}
