//! `to_date` and `to_timestamp(text, text)`: dates read by PostgreSQL's patterns.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Date32Type, TimestampMicrosecondType};
use datafusion::logical_expr::Expr;

use super::build::{contextual, scalar};
use super::date_arithmetic::from_local;
use super::kernel::{Call, Kernel, Returns, some};
use super::to_char::{MONTHS, PATTERNS, ROMAN, WEEKDAYS};
use super::{Function, Volatility};
use crate::encode::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, days_from_civil, days_in_month};
use crate::encode::types::{PgType, arrow_type};
use crate::error::{Error, Result, SqlState};

/// What a text says, field by field.
#[derive(Default)]
struct Fields {
    year: Option<i64>,
    century: Option<i64>,
    before_christ: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    week: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_weekday: Option<i64>,
    hour: i64,
    afternoon: Option<bool>,
    twelve_hours: bool,
    minute: i64,
    second: i64,
    micros: i64,
    seconds_of_day: Option<i64>,
    offset_sign: i64,
    offset: Option<i64>,
}

/// One element of a format.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Pattern(&'static str),
    Text(char),
    Separator(char),
}

fn parse_format(text: &str) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let prefix = |word: &str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if prefix("FM") || prefix("FX") || prefix("TM") {
            rest = rest.get(2..).unwrap_or_default();
            continue;
        }
        if let Some(after) = rest.strip_prefix('"') {
            let end = after.find('"').unwrap_or(after.len());
            nodes.extend(after.get(..end).unwrap_or_default().chars().map(Node::Text));
            rest = after.get(end + 1..).unwrap_or_default();
            continue;
        }
        if let Some(pattern) = PATTERNS.iter().find(|pattern| prefix(pattern)) {
            nodes.push(Node::Pattern(pattern));
            rest = rest.get(pattern.len()..).unwrap_or_default();
            if rest.get(..2).is_some_and(|suffix| suffix.eq_ignore_ascii_case("TH")) {
                nodes.extend([Node::Text('t'), Node::Text('h')]);
                rest = rest.get(2..).unwrap_or_default();
            }
            continue;
        }
        nodes.push(if c.is_alphanumeric() { Node::Text(c) } else { Node::Separator(c) });
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    nodes
}

/// Most digits of a number pattern.
fn width(pattern: &str) -> usize {
    match pattern.to_ascii_uppercase().as_str() {
        "YYYY" | "IYYY" => 4,
        "YYY" | "IYY" | "DDD" | "IDDD" | "MS" | "FF3" => 3,
        "SSSSS" | "SSSS" => 5,
        "US" | "FF6" => 6,
        "FF4" => 4,
        "FF5" => 5,
        "J" => 7,
        "Y" | "I" | "D" | "ID" | "Q" | "W" | "FF1" => 1,
        _ => 2,
    }
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Digits: `width` of them when more digits may follow, else all that are there.
    fn number(&mut self, pattern: &str, greedy: bool, signed: bool) -> Result<(i64, usize)> {
        self.skip_spaces();
        let sign = usize::from(signed && self.rest.starts_with(['-', '+']));
        let found = self.rest.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
        let digits = if greedy { found } else { found.min(width(pattern)) };
        if digits == 0 {
            let shown: String = self.rest.chars().take(width(pattern)).collect();
            let message = format!("invalid value \"{shown}\" for \"{pattern}\"");
            return Err(Error::new(SqlState::InvalidDatetimeFormat, message).with_detail("Value must be an integer."));
        }
        let text = self.take(sign + digits);
        let value = text.parse().map_err(|_| {
            Error::new(
                SqlState::DatetimeFieldOverflow,
                format!("value for \"{pattern}\" in source string is out of range"),
            )
        })?;
        Ok((value, digits))
    }

    /// The index of the word that the text starts with, in any case.
    fn word(&mut self, words: &[&str], pattern: &str, short: bool) -> Result<usize> {
        self.skip_spaces();
        for (at, word) in words.iter().enumerate() {
            let word = if short { word.get(..3).unwrap_or(word) } else { word };
            if self.rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)) {
                self.take(word.len());
                return Ok(at);
            }
        }
        let shown: String = self.rest.chars().take_while(|c| !c.is_whitespace()).collect();
        let message = format!("invalid value \"{shown}\" for \"{pattern}\"");
        Err(Error::new(SqlState::InvalidDatetimeFormat, message)
            .with_detail("The given value did not match any of the allowed values for this field."))
    }
}

/// Years of two and fewer digits lie around 2020; of three, in this millennium.
fn full_year(value: i64, digits: usize) -> i64 {
    match digits {
        _ if value >= 1000 => value,
        0..=2 if value < 70 => value + 2000,
        0..=2 if value < 100 => value + 1900,
        3 if value < 520 => value + 2000,
        3 => value + 1000,
        _ => value,
    }
}

fn read(text: &str, format: &[Node]) -> Result<Fields> {
    let mut fields = Fields { offset_sign: 1, ..Fields::default() };
    let mut reader = Reader { rest: text };
    reader.skip_spaces();
    for (at, node) in format.iter().enumerate() {
        if reader.rest.is_empty() {
            break;
        }
        match node {
            Node::Pattern(pattern) => {
                let greedy = !matches!(format.get(at + 1), Some(Node::Pattern(_)));
                read_field(&mut reader, pattern, greedy, &mut fields)?;
            }
            Node::Text(_) => {
                reader.take(reader.rest.chars().next().map_or(0, char::len_utf8));
            }
            Node::Separator(_) => {
                // Any separator stands for any other, and for none.
                reader.skip_spaces();
                let next = reader.rest.chars().next().filter(|c| !c.is_alphanumeric());
                let sign_follows = next.is_some_and(|c| matches!(c, '-' | '+'))
                    && matches!(format.get(at + 1), Some(Node::Pattern("TZH")));
                if let (Some(c), false) = (next, sign_follows) {
                    reader.take(c.len_utf8());
                }
            }
        }
    }
    Ok(fields)
}

fn read_field(reader: &mut Reader, pattern: &'static str, greedy: bool, fields: &mut Fields) -> Result<()> {
    let number = |reader: &mut Reader| reader.number(pattern, greedy, false);
    match pattern {
        "YYYY" | "IYYY" => {
            let (value, _) = reader.number(pattern, greedy, true)?;
            *(if pattern == "YYYY" { &mut fields.year } else { &mut fields.iso_year }) = Some(value);
        }
        "YYY" | "YY" | "Y" => {
            let (value, digits) = number(reader)?;
            fields.year = Some(full_year(value, digits));
        }
        "IYY" | "IY" | "I" => {
            let (value, digits) = number(reader)?;
            fields.iso_year = Some(full_year(value, digits));
        }
        "Y,YYY" => {
            let (thousands, _) = reader.number("Y", true, false)?;
            reader.take(1);
            fields.year = Some(thousands * 1000 + reader.number("YYY", greedy, false)?.0);
        }
        "CC" => fields.century = Some(number(reader)?.0),
        "MONTH" | "Month" | "month" => {
            // PostgreSQL takes the short names here too.
            let full = reader.word(&MONTHS, pattern, false);
            let month = match full {
                Ok(month) => month,
                Err(error) => reader.word(&MONTHS, pattern, true).map_err(|_| error)?,
            };
            fields.month = Some(month as i64 + 1);
        }
        "MON" | "Mon" | "mon" => fields.month = Some(reader.word(&MONTHS, pattern, true)? as i64 + 1),
        "RM" | "rm" => {
            let mut order: Vec<usize> = (0..ROMAN.len()).collect();
            order.sort_by_key(|at| std::cmp::Reverse(ROMAN.get(*at).map_or(0, |roman| roman.len())));
            let words: Vec<&str> = order.iter().filter_map(|at| ROMAN.get(*at).copied()).collect();
            let found = reader.word(&words, pattern, false)?;
            fields.month = order.get(found).map(|at| *at as i64 + 1);
        }
        "DAY" | "Day" | "day" => {
            let _ = reader.word(&WEEKDAYS, pattern, false)?;
        }
        "DY" | "Dy" | "dy" => {
            let _ = reader.word(&WEEKDAYS, pattern, true)?;
        }
        "MM" => fields.month = Some(number(reader)?.0),
        "DD" => fields.day = Some(number(reader)?.0),
        "DDD" => fields.day_of_year = Some(number(reader)?.0),
        "J" => fields.julian = Some(number(reader)?.0),
        "WW" => fields.week = Some(number(reader)?.0),
        "IW" => fields.iso_week = Some(number(reader)?.0),
        "ID" => fields.iso_weekday = Some(number(reader)?.0),
        "HH24" => fields.hour = number(reader)?.0,
        "HH12" | "HH" => {
            fields.hour = number(reader)?.0;
            fields.twelve_hours = true;
            if !(1..=12).contains(&fields.hour) {
                let message = format!("hour \"{}\" is invalid for the 12-hour clock", fields.hour);
                return Err(Error::new(SqlState::InvalidDatetimeFormat, message)
                    .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
        }
        "MI" => fields.minute = number(reader)?.0,
        "SS" => fields.second = number(reader)?.0,
        "SSSSS" | "SSSS" => fields.seconds_of_day = Some(number(reader)?.0),
        "MS" | "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
            let (value, digits) = number(reader)?;
            // The digits are those behind a point.
            let digits = digits.min(6) as u32;
            fields.micros += value * 10_i64.pow(6 - digits);
        }
        "AM" | "PM" | "am" | "pm" => {
            fields.afternoon = Some(reader.word(&["AM", "PM"], pattern, false)? == 1);
        }
        "A.M." | "P.M." | "a.m." | "p.m." => {
            fields.afternoon = Some(reader.word(&["A.M.", "P.M."], pattern, false)? == 1);
        }
        "BC" | "AD" | "bc" | "ad" => fields.before_christ = reader.word(&["AD", "BC"], pattern, false)? == 1,
        "B.C." | "A.D." | "b.c." | "a.d." => {
            fields.before_christ = reader.word(&["A.D.", "B.C."], pattern, false)? == 1
        }
        "TZH" => {
            reader.skip_spaces();
            fields.offset_sign = if reader.rest.starts_with('-') { -1 } else { 1 };
            if reader.rest.starts_with(['-', '+']) {
                reader.take(1);
            }
            fields.offset = Some(number(reader)?.0 * 3600);
        }
        "TZM" => fields.offset = Some(fields.offset.unwrap_or(0) + number(reader)?.0 * 60),
        "TZ" | "tz" | "OF" => {
            return Err(Error::new(
                SqlState::FeatureNotSupported,
                format!("formatting field \"{pattern}\" is only supported in to_char"),
            ));
        }
        // A quarter says nothing that a date needs.
        _ => {
            let _ = number(reader)?;
        }
    }
    Ok(())
}

fn out_of_range(text: &str) -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, format!("date/time field value out of range: \"{text}\""))
}

impl Fields {
    fn days(&self, text: &str) -> Result<i64> {
        if let Some(julian) = self.julian {
            return Ok(julian - 2_440_588);
        }
        if let (Some(year), Some(week)) = (self.iso_year.or(self.year), self.iso_week) {
            let fourth = days_from_civil(year, 1, 4);
            let monday = fourth - (fourth + 3).rem_euclid(7);
            return Ok(monday + (week - 1) * 7 + self.iso_weekday.unwrap_or(1) - 1);
        }
        let mut year = self.year.or(self.century.map(|century| (century - 1) * 100 + 1)).unwrap_or(0);
        if self.before_christ && year > 0 {
            year = 1 - year;
        } else if year < 0 {
            year += 1;
        }
        if let Some(day) = self.day_of_year {
            return Ok(days_from_civil(year, 1, 1) + day - 1);
        }
        if let Some(week) = self.week {
            return Ok(days_from_civil(year, 1, 1) + (week - 1) * 7);
        }
        let month = self.month.unwrap_or(1);
        let month = u32::try_from(month).ok().filter(|month| (1..=12).contains(month));
        let month = month.ok_or_else(|| out_of_range(text))?;
        let day = u32::try_from(self.day.unwrap_or(1)).ok();
        let day = day.filter(|day| (1..=days_in_month(year, month)).contains(day));
        Ok(days_from_civil(year, month, day.ok_or_else(|| out_of_range(text))?))
    }

    fn micros_of_day(&self, text: &str) -> Result<i64> {
        if let Some(seconds) = self.seconds_of_day {
            return Ok(seconds * MICROS_PER_SECOND + self.micros);
        }
        let mut hour = self.hour;
        if self.twelve_hours || self.afternoon.is_some() {
            hour = hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 };
        }
        let fits = (0..=24).contains(&hour) && (0..60).contains(&self.minute) && (0..60).contains(&self.second);
        if !fits {
            return Err(out_of_range(text));
        }
        Ok(((hour * 60 + self.minute) * 60 + self.second) * MICROS_PER_SECOND + self.micros)
    }
}

/// The format of a row, read anew only when it changes.
#[derive(Default)]
struct Formats {
    text: Option<String>,
    nodes: Vec<Node>,
}

impl Formats {
    fn get(&mut self, text: &str) -> &[Node] {
        if self.text.as_deref() != Some(text) {
            self.nodes = parse_format(text);
            self.text = Some(text.to_owned());
        }
        &self.nodes
    }
}

fn to_date(call: &Call) -> Result<ArrayRef> {
    let (texts, formats) = (call.text(0)?, call.text(1)?);
    let mut known = Formats::default();
    call.values::<Date32Type>(|row| {
        let (text, format) = (some!(texts.get(row)), some!(formats.get(row)));
        let days = read(text, known.get(format))?.days(text)?;
        i32::try_from(days).map(Some).map_err(|_| super::date_arithmetic::date_out_of_range())
    })
}

fn to_timestamp(call: &Call) -> Result<ArrayRef> {
    let (texts, formats) = (call.text(0)?, call.text(1)?);
    let zone = call.context()?.time_zone;
    let mut known = Formats::default();
    call.values::<TimestampMicrosecondType>(|row| {
        let (text, format) = (some!(texts.get(row)), some!(formats.get(row)));
        let fields = read(text, known.get(format))?;
        let local = fields
            .days(text)?
            .checked_mul(MICROS_PER_DAY)
            .ok_or_else(super::date_arithmetic::timestamp_out_of_range)?
            + fields.micros_of_day(text)?;
        Ok(Some(match fields.offset {
            Some(offset) => local - fields.offset_sign * offset * MICROS_PER_SECOND,
            None => from_local(zone, local),
        }))
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(1780, "to_date(text, text) date", to_date),
        contextual(1778, "to_timestamp(text, text) timestamptz", |context, arguments: Vec<Expr>| {
            let returns: DataType = arrow_type(PgType::TIMESTAMPTZ);
            Kernel::new("to_timestamp", 1778, Volatility::Stable, Returns::Fixed(returns), to_timestamp)
                .with_context(context)
                .call(arguments)
        }),
    ]
}
