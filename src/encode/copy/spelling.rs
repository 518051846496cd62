//! Values that a file spells otherwise than PostgreSQL: numbers with other separators, dates and times by a format.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime};

use crate::encode::types::{PgType, format_type, oid};
use crate::error::{Error, Result, SqlState};

/// How values are spelled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spelling {
    /// What stands before the fraction; `None` is the full stop.
    pub decimal: Option<u8>,
    /// What stands between groups of three digits.
    pub thousands: Option<u8>,
    /// Formats that a date may have, as chrono writes them; none: PostgreSQL's own.
    pub dates: Vec<String>,
    /// The same of timestamps, with or without a zone.
    pub timestamps: Vec<String>,
}

/// In what letters a format is written; one with a `%` is strftime's in any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatLetters {
    /// `DD.MM.YYYY HH24:MI:SS`.
    PostgreSql,
    /// `dd.MM.yyyy HH:mm:ss`.
    Java,
}

/// The tokens of each kind of letters, longer ones first, with chrono's.
const POSTGRESQL: &[(&str, &str)] = &[
    ("YYYY", "%Y"),
    ("MONTH", "%B"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("TZH:TZM", "%:z"),
    ("TZH", "%#z"),
    ("MON", "%b"),
    ("DDD", "%j"),
    ("DAY", "%A"),
    ("YY", "%y"),
    ("MM", "%m"),
    ("DY", "%a"),
    ("DD", "%d"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("SS", "%S"),
    ("MS", "%3f"),
    ("US", "%6f"),
    ("AM", "%p"),
    ("PM", "%p"),
];
const JAVA: &[(&str, &str)] = &[
    ("SSSSSS", "%6f"),
    ("yyyy", "%Y"),
    ("MMMM", "%B"),
    ("EEEE", "%A"),
    ("SSS", "%3f"),
    ("XXX", "%:z"),
    ("MMM", "%b"),
    ("DDD", "%j"),
    ("EEE", "%a"),
    ("yy", "%y"),
    ("MM", "%m"),
    ("dd", "%d"),
    ("HH", "%H"),
    ("hh", "%I"),
    ("mm", "%M"),
    ("ss", "%S"),
    ("XX", "%z"),
    ("y", "%Y"),
    ("M", "%m"),
    ("d", "%d"),
    ("H", "%H"),
    ("h", "%I"),
    ("m", "%M"),
    ("s", "%S"),
    ("a", "%p"),
    ("Z", "%z"),
];

/// A format of dates and times as chrono writes it. Errors: 22023 for one that nothing can be read with.
pub fn date_format(text: &str, letters: FormatLetters) -> Result<String> {
    let invalid = || Error::new(SqlState::InvalidParameterValue, format!("invalid date format \"{text}\""));
    let format = if text.contains('%') { text.to_owned() } else { translated(text, letters).ok_or_else(invalid)? };
    let readable = StrftimeItems::new(&format).all(|item| !matches!(item, Item::Error));
    if readable && format.contains('%') { Ok(format) } else { Err(invalid()) }
}

fn translated(text: &str, letters: FormatLetters) -> Option<String> {
    let (tokens, quote) = match letters {
        FormatLetters::PostgreSql => (POSTGRESQL, '"'),
        FormatLetters::Java => (JAVA, '\''),
    };
    let mut format = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == quote {
            let (literal, after) = rest.get(1..)?.split_once(quote)?;
            format.push_str(literal);
            rest = after;
            continue;
        }
        let token = tokens.iter().find(|(token, _)| match letters {
            FormatLetters::PostgreSql => rest.get(..token.len()).is_some_and(|head| head.eq_ignore_ascii_case(token)),
            FormatLetters::Java => rest.starts_with(token),
        });
        match token {
            Some((token, chrono)) => {
                format.push_str(chrono);
                rest = rest.get(token.len()..)?;
            }
            // ISO's T needs no quotes.
            None if first.is_alphanumeric() && first != 'T' => return None,
            None => {
                format.push(first);
                rest = rest.get(first.len_utf8()..)?;
            }
        }
    }
    Some(format)
}

impl Spelling {
    /// Errors: 22023 for separators that cannot be told apart.
    pub fn check(&self) -> Result<()> {
        let decimal = self.decimal.unwrap_or(b'.');
        let separates = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_alphanumeric() || byte == b' ';
        let fine =
            separates(decimal) && self.thousands.is_none_or(|thousands| separates(thousands) && thousands != decimal);
        if fine && !matches!(decimal, b'-' | b'+') && !matches!(self.thousands, Some(b'-' | b'+')) {
            return Ok(());
        }
        let message = "the separators of decimals and thousands must be different signs";
        Err(Error::new(SqlState::InvalidParameterValue, message))
    }

    /// Whether values of the type are spelled as PostgreSQL does.
    pub fn is_plain(&self, ty: PgType) -> bool {
        match ty.oid {
            oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC => !self.respells_numbers(),
            oid::DATE => self.dates.is_empty(),
            oid::TIMESTAMP | oid::TIMESTAMPTZ => self.timestamps.is_empty(),
            _ => true,
        }
    }

    pub fn respells_numbers(&self) -> bool {
        self.decimal.is_some() || self.thousands.is_some()
    }

    /// Writes the value to `out` as PostgreSQL spells it. Errors: as PostgreSQL's for what is no value of the type.
    pub fn respell(&self, ty: PgType, text: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let text = crate::encode::input::utf8(text)?;
        let written = match ty.oid {
            oid::DATE => self.date(text).map(|date| date.to_string()),
            oid::TIMESTAMP | oid::TIMESTAMPTZ => self.timestamp(text).map(|(time, _)| time),
            _ => self.number(text),
        };
        let Some(written) = written else {
            let is_time = matches!(ty.oid, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ);
            let state = if is_time { SqlState::InvalidDatetimeFormat } else { SqlState::InvalidTextRepresentation };
            let message = format!("invalid input syntax for type {}: \"{text}\"", format_type(PgType::of(ty.oid)));
            return Err(Error::new(state, message));
        };
        out.extend_from_slice(written.as_bytes());
        Ok(())
    }

    /// The number with a full stop and without groups; `None` for what does not follow the separators.
    pub fn number(&self, text: &str) -> Option<String> {
        let text = text.trim();
        let decimal = char::from(self.decimal.unwrap_or(b'.'));
        let (whole, fraction) = match text.split_once(decimal) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (text, None),
        };
        let (sign, digits) = match whole.strip_prefix(['-', '+']) {
            Some(digits) => (whole.get(..1).unwrap_or_default(), digits),
            None => ("", whole),
        };
        let digits = match self.thousands.map(char::from) {
            Some(separator) if digits.contains(separator) => {
                let mut groups = digits.split(separator);
                let first = groups.next().unwrap_or_default();
                let is_group = |group: &str| group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit());
                if first.is_empty() || first.len() > 3 || !groups.all(is_group) {
                    return None;
                }
                digits.replace(separator, "")
            }
            _ => digits.to_owned(),
        };
        // A full stop that separates nothing here is no part of a number.
        if decimal != '.' && (digits.contains('.') || fraction.is_some_and(|fraction| fraction.contains('.'))) {
            return None;
        }
        Some(match fraction {
            Some(fraction) => format!("{sign}{digits}.{fraction}"),
            None => format!("{sign}{digits}"),
        })
    }

    /// The date, by the first format that it has.
    pub fn date(&self, text: &str) -> Option<NaiveDate> {
        self.dates.iter().find_map(|format| NaiveDate::parse_from_str(text.trim(), format).ok())
    }

    /// The timestamp as PostgreSQL writes it, by the first format that it has, and whether it names a zone.
    pub fn timestamp(&self, text: &str) -> Option<(String, bool)> {
        let text = text.trim();
        self.timestamps.iter().find_map(|format| {
            if let Ok(time) = DateTime::parse_from_str(text, format) {
                return Some((time.format("%Y-%m-%d %H:%M:%S%.6f%:z").to_string(), true));
            }
            let time = NaiveDateTime::parse_from_str(text, format).ok();
            let time = time.or_else(|| NaiveDate::parse_from_str(text, format).ok()?.and_hms_opt(0, 0, 0));
            time.map(|time| (time.format("%Y-%m-%d %H:%M:%S%.6f").to_string(), false))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_in_three_spellings() {
        for (text, letters) in [
            ("DD.MM.YYYY HH24:MI:SS", FormatLetters::PostgreSql),
            ("dd.MM.yyyy HH:mm:ss", FormatLetters::Java),
            ("%d.%m.%Y %H:%M:%S", FormatLetters::Java),
        ] {
            assert_eq!(date_format(text, letters).unwrap(), "%d.%m.%Y %H:%M:%S");
        }
        assert_eq!(date_format("yyyy-MM-dd'T'HH:mm", FormatLetters::Java).unwrap(), "%Y-%m-%dT%H:%M");
        for text in ["QQQ", "nothing", "%", ""] {
            assert!(date_format(text, FormatLetters::PostgreSql).is_err(), "{text}");
        }
    }

    #[test]
    fn separators_must_stand_where_they_belong() {
        let european = Spelling { decimal: Some(b','), thousands: Some(b'.'), ..Spelling::default() };
        assert_eq!(european.number("-1.234.567,89").as_deref(), Some("-1234567.89"));
        assert_eq!(european.number("12,5").as_deref(), Some("12.5"));
        assert_eq!(european.number("1.5"), None);
        let grouped = Spelling { thousands: Some(b','), ..Spelling::default() };
        assert_eq!(grouped.number("1,234.5").as_deref(), Some("1234.5"));
        assert_eq!(grouped.number("12,34"), None);
        assert_eq!(grouped.number("1234"), Some("1234".to_owned()));
    }

    #[test]
    fn dates_and_times_follow_one_of_the_formats() {
        let formats = |list: &[&str]| -> Vec<String> {
            list.iter().map(|text| date_format(text, FormatLetters::PostgreSql).unwrap()).collect()
        };
        let spelling = Spelling {
            dates: formats(&["DD.MM.YYYY", "Mon DD, YYYY"]),
            timestamps: formats(&["DD/MM/YYYY HH24:MI", "YYYY-MM-DD HH24:MI:SSTZH:TZM"]),
            ..Spelling::default()
        };
        assert_eq!(spelling.date("05.04.2024").unwrap().to_string(), "2024-04-05");
        assert_eq!(spelling.date("Apr 5, 2024").unwrap().to_string(), "2024-04-05");
        assert_eq!(spelling.date("2024-04-05"), None);
        assert_eq!(spelling.timestamp("05/04/2024 07:30").unwrap(), ("2024-04-05 07:30:00.000000".into(), false));
        assert!(spelling.timestamp("2024-04-05 07:30:00+02:00").unwrap().1);
    }
}
