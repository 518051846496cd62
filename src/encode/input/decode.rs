//! What the fields of a date or time mean together, by PostgreSQL's rules (its manual, appendix B.1).

use super::tokens::{Field, Kind, fields};
use super::words::{Word, word};
use crate::encode::calendar::{MICROS_PER_SECOND, civil_from_days, days_from_civil, days_in_month};
use crate::encode::{DateOrder, TextTimeZone};

/// Why a text is no date or time; the caller makes the error, for it knows the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Format,
    /// A field is out of range; the flag says that another DateStyle may help.
    Field {
        order: bool,
    },
    Displacement,
    UnknownZone(String),
}

type Decoded<T> = Result<T, Fault>;

/// The special values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Infinity,
    MinusInfinity,
    Epoch,
    Now,
    Today,
    Tomorrow,
    Yesterday,
}

/// A date and time as they were written.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Decoding {
    pub special: Option<Special>,
    /// Days since 1970, when a whole date was given.
    pub day: Option<i64>,
    /// Microseconds since midnight (24:00:00 and a second of 60 included), when a time was given.
    pub time: Option<i64>,
    pub zone: Option<TextTimeZone>,
}

/// Reads a text as a date, a time, or both. `time_first` takes digits that run together for a time.
pub(super) fn decode(text: &[u8], order: DateOrder, time_first: bool) -> Decoded<Decoding> {
    let fields = fields(text).ok_or(Fault::Format)?;
    if fields.is_empty() {
        return Err(Fault::Format);
    }
    let mut state = State::new(order, time_first);
    for (at, field) in fields.iter().enumerate() {
        state.take(field, fields.get(at + 1))?;
    }
    state.finish()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prefix {
    IsoTime,
    Julian,
}

struct State {
    order: DateOrder,
    time_first: bool,
    year: Option<i64>,
    /// The year was written with one or two digits.
    short_year: bool,
    month: Option<u32>,
    month_is_word: bool,
    day: Option<u32>,
    day_of_year: Option<u32>,
    julian: Option<i64>,
    bc: bool,
    afternoon: Option<bool>,
    time: Option<i64>,
    zone: Option<TextTimeZone>,
    dst: bool,
    prefix: Option<Prefix>,
    special: Option<Special>,
}

impl State {
    fn new(order: DateOrder, time_first: bool) -> Self {
        Self {
            order,
            time_first,
            year: None,
            short_year: false,
            month: None,
            month_is_word: false,
            day: None,
            day_of_year: None,
            julian: None,
            bc: false,
            afternoon: None,
            time: None,
            zone: None,
            dst: false,
            prefix: None,
            special: None,
        }
    }

    fn date_is_whole(&self) -> bool {
        self.julian.is_some()
            || (self.year.is_some() && (self.day_of_year.is_some() || (self.month.is_some() && self.day.is_some())))
    }

    fn take(&mut self, field: &Field, next: Option<&Field>) -> Decoded<()> {
        let text = field.text.as_str();
        match field.kind {
            Kind::Word => self.take_word(text, next),
            Kind::Time => self.take_time(text),
            Kind::Signed => self.take_offset(text),
            Kind::Number => self.take_number(text),
            Kind::Date => self.take_date(text),
        }
    }

    fn take_word(&mut self, text: &str, next: Option<&Field>) -> Decoded<()> {
        let Some(meaning) = word(text) else { return self.set_zone(zone_by_name(text)?) };
        match meaning {
            Word::Month(month) => self.set_month_word(month),
            Word::Ignored => Ok(()),
            Word::Am => self.set_half(false),
            Word::Pm => self.set_half(true),
            Word::Bc => {
                self.bc = true;
                Ok(())
            }
            Word::Ad => Ok(()),
            Word::Infinity => self.set_special(Special::Infinity),
            Word::MinusInfinity => self.set_special(Special::MinusInfinity),
            Word::Epoch => self.set_special(Special::Epoch),
            Word::Now => self.set_special(Special::Now),
            Word::Today => self.set_special(Special::Today),
            Word::Tomorrow => self.set_special(Special::Tomorrow),
            Word::Yesterday => self.set_special(Special::Yesterday),
            Word::AllBalls => {
                self.zone = Some(TextTimeZone::Fixed(0));
                self.set_time(0)
            }
            Word::IsoTime => {
                let joined = matches!(next, Some(next) if matches!(next.kind, Kind::Number | Kind::Time));
                self.prefix = Some(Prefix::IsoTime);
                if joined { Ok(()) } else { Err(Fault::Format) }
            }
            Word::Julian => {
                self.prefix = Some(Prefix::Julian);
                if matches!(next, Some(next) if next.kind == Kind::Number) { Ok(()) } else { Err(Fault::Format) }
            }
            Word::Dst => {
                self.dst = true;
                Ok(())
            }
            Word::Zone(offset) => self.set_zone(TextTimeZone::Fixed(offset)),
        }
    }

    fn set_special(&mut self, special: Special) -> Decoded<()> {
        if self.special.is_some() || self.year.is_some() || self.month.is_some() || self.day.is_some() {
            return Err(Fault::Format);
        }
        self.special = Some(special);
        Ok(())
    }

    fn set_half(&mut self, afternoon: bool) -> Decoded<()> {
        self.afternoon = Some(afternoon);
        Ok(())
    }

    fn set_month_word(&mut self, month: u32) -> Decoded<()> {
        // `08 January 1999`: the number that was taken for a month is the day.
        if let Some(earlier) = self.month {
            if self.month_is_word || self.day.is_some() || !(1..=31).contains(&earlier) {
                return Err(Fault::Format);
            }
            self.day = Some(earlier);
        }
        self.month = Some(month);
        self.month_is_word = true;
        Ok(())
    }

    fn set_time(&mut self, micros: i64) -> Decoded<()> {
        if self.time.is_some() {
            return Err(Fault::Format);
        }
        self.time = Some(micros);
        Ok(())
    }

    fn set_zone(&mut self, zone: TextTimeZone) -> Decoded<()> {
        match (self.zone, zone) {
            // POSIX: a name followed by an offset, `UTC+3`, is 3 hours WEST.
            (Some(TextTimeZone::Fixed(0)), TextTimeZone::Fixed(offset)) => {
                self.zone = Some(TextTimeZone::Fixed(-offset));
                Ok(())
            }
            (Some(_), _) => Err(Fault::Format),
            (None, zone) => {
                self.zone = Some(zone);
                Ok(())
            }
        }
    }

    fn take_time(&mut self, text: &str) -> Decoded<()> {
        self.prefix = None;
        self.set_time(clock(text)?)
    }

    fn take_offset(&mut self, text: &str) -> Decoded<()> {
        let offset = offset(text)?;
        self.set_zone(TextTimeZone::Fixed(offset))
    }

    fn take_number(&mut self, text: &str) -> Decoded<()> {
        match self.prefix.take() {
            Some(Prefix::IsoTime) => return self.take_joined(text),
            Some(Prefix::Julian) => return self.take_julian(text),
            None => {}
        }
        let whole = text.split('.').next().unwrap_or_default();
        let has_date_part = self.year.is_some() || self.month.is_some() || self.day.is_some();
        if text.contains('.') && !has_date_part {
            // `1999.008`: a year and its day.
            return if whole.len() > 4 { self.take_joined(text) } else { self.take_year_day(text) };
        }
        if text.contains('.') && whole.len() > 2 {
            return self.take_joined(text);
        }
        if whole.len() >= 6 && (!has_date_part || self.time.is_none()) {
            return self.take_joined(text);
        }
        if self.date_is_whole() && self.time.is_none() && whole.len() == 4 {
            return self.take_joined(text);
        }
        self.take_date_number(text)
    }

    fn take_julian(&mut self, text: &str) -> Decoded<()> {
        let (days, fraction) = text.split_once('.').unwrap_or((text, ""));
        let days = days.parse::<i64>().map_err(|_| Fault::Field { order: false })?;
        self.julian = Some(days + crate::encode::calendar::DAY_MIN);
        if !fraction.is_empty() {
            let part = format!("0.{fraction}").parse::<f64>().map_err(|_| Fault::Format)?;
            self.set_time((part * crate::encode::calendar::MICROS_PER_DAY as f64).round() as i64)?;
        }
        Ok(())
    }

    fn take_year_day(&mut self, text: &str) -> Decoded<()> {
        let (year, day) = text.split_once('.').ok_or(Fault::Format)?;
        if day.len() != 3 {
            return Err(Fault::Format);
        }
        self.set_year(year)?;
        self.day_of_year = Some(number(day)?);
        Ok(())
    }

    /// Digits run together: YYYYMMDD, YYMMDD, HHMMSS or HHMM, with decimals of a second.
    fn take_joined(&mut self, text: &str) -> Decoded<()> {
        let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
        let part = |from: usize, to: usize| digits.get(from..to).ok_or(Fault::Format);
        let length = digits.len();
        let as_time = self.time_first && self.time.is_none() && length == 6;
        if !as_time && !self.date_is_whole() && fraction.is_empty() && length >= 6 {
            if self.year.is_some() || self.month.is_some() || self.day.is_some() {
                return Err(Fault::Format);
            }
            self.set_year(part(0, length - 4)?)?;
            self.month = Some(number(part(length - 4, length - 2)?)?);
            self.day = Some(number(part(length - 2, length)?)?);
            return Ok(());
        }
        let seconds = match length {
            6 => part(4, 6)?,
            4 if fraction.is_empty() => "0",
            _ => return Err(Fault::Format),
        };
        let micros = time_of(part(0, 2)?, part(2, 4)?, seconds, fraction)?;
        self.set_time(micros)
    }

    fn take_date(&mut self, text: &str) -> Decoded<()> {
        let first_is_digit = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
        if !first_is_digit && !is_month_date(text) {
            return self.set_zone(zone_by_name(text)?);
        }
        let joined_time =
            self.time_first && text.bytes().filter(|byte| *byte == b'-').count() == 1 && text.find('-') == Some(6);
        if joined_time || (self.month.is_some() && self.day.is_some()) {
            // `040506-08`: a time run together with its offset.
            let (time, rest) = text.split_once('-').ok_or(Fault::Format)?;
            self.take_joined(time)?;
            return self.set_zone(TextTimeZone::Fixed(offset(&format!("-{rest}"))?));
        }
        let parts: Vec<&str> = text.split(['-', '/', '.']).filter(|part| !part.is_empty()).collect();
        if parts.len() > 3 {
            return Err(Fault::Format);
        }
        for part in &parts {
            if let Some(Word::Month(month)) = word(part) {
                if self.month.is_some() {
                    return Err(Fault::Format);
                }
                self.month = Some(month);
                self.month_is_word = true;
            } else if !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Fault::Format);
            }
        }
        for part in parts.iter().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit())) {
            self.take_date_number(part)?;
        }
        if self.date_is_whole() { Ok(()) } else { Err(Fault::Format) }
    }

    /// A number whose place decides whether it is the year, month or day.
    fn take_date_number(&mut self, text: &str) -> Decoded<()> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Fault::Format);
        }
        let year_first = self.order == DateOrder::Ymd;
        match (self.year, self.month, self.day) {
            (Some(_), None, None) if text.len() == 3 && self.day_of_year.is_none() => {
                self.day_of_year = Some(number(text)?);
                Ok(())
            }
            (None, None, None) if text.len() >= 3 || year_first => self.set_year(text),
            (None, None, None) if self.order == DateOrder::Dmy => self.set_day(text),
            (None, None, None) | (Some(_), None, None) | (None, None, Some(_)) | (Some(_), None, Some(_)) => {
                self.month = Some(number(text)?);
                Ok(())
            }
            (None, Some(_), None) if self.month_is_word && (text.len() >= 3 || year_first) => self.set_year(text),
            (None, Some(_), None) => self.set_day(text),
            (Some(year), Some(_), None) if self.month_is_word && self.short_year && text.len() >= 3 => {
                // What looked like a two-digit year was the day.
                self.day = Some(year as u32);
                self.set_year(text)
            }
            (Some(_), Some(_), None) => self.set_day(text),
            (None, Some(_), Some(_)) => self.set_year(text),
            (Some(_), Some(_), Some(_)) => self.take_joined(text),
        }
    }

    fn set_year(&mut self, text: &str) -> Decoded<()> {
        self.year = Some(i64::from(number(text)?));
        self.short_year = text.len() <= 2;
        Ok(())
    }

    fn set_day(&mut self, text: &str) -> Decoded<()> {
        self.day = Some(number(text)?);
        Ok(())
    }

    fn finish(self) -> Decoded<Decoding> {
        if self.prefix.is_some() {
            return Err(Fault::Format);
        }
        let nothing = self.year.is_none() && self.month.is_none() && self.day.is_none() && self.julian.is_none();
        let day = if nothing { None } else { Some(self.whole_day()?) };
        let time = match (self.time, self.afternoon) {
            (Some(time), Some(afternoon)) => Some(half_day(time, afternoon)?),
            (time, _) => time,
        };
        let zone = match self.zone {
            Some(TextTimeZone::Fixed(offset)) if self.dst => Some(TextTimeZone::Fixed(offset + 3600)),
            zone => zone,
        };
        Ok(Decoding { special: self.special, day, time, zone })
    }

    fn whole_day(&self) -> Decoded<i64> {
        if let Some(day) = self.julian {
            return Ok(day);
        }
        let Some(year) = self.year.filter(|_| self.date_is_whole()) else { return Err(Fault::Format) };
        let year = self.full_year(year)?;
        if let Some(day_of_year) = self.day_of_year {
            return day_in_year(year, day_of_year);
        }
        let (Some(month), Some(day)) = (self.month, self.day) else { return Err(Fault::Format) };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(Fault::Field { order: true });
        }
        if day > days_in_month(year, month) {
            return Err(Fault::Field { order: false });
        }
        Ok(days_from_civil(year, month, day))
    }

    /// The astronomical year: two digits mean 1970 to 2069, 1 BC is 0.
    fn full_year(&self, year: i64) -> Decoded<i64> {
        if self.bc {
            return if year > 0 { Ok(1 - year) } else { Err(Fault::Field { order: false }) };
        }
        if self.short_year {
            return Ok(if year < 70 { year + 2000 } else { year + 1900 });
        }
        if year <= 0 { Err(Fault::Field { order: false }) } else { Ok(year) }
    }
}

fn day_in_year(year: i64, day_of_year: u32) -> Decoded<i64> {
    let day = days_from_civil(year, 1, 1) + i64::from(day_of_year) - 1;
    if day_of_year == 0 || civil_from_days(day).0 != year {
        return Err(Fault::Field { order: false });
    }
    Ok(day)
}

fn half_day(time: i64, afternoon: bool) -> Decoded<i64> {
    let hour = time / (3600 * MICROS_PER_SECOND);
    match (hour, afternoon) {
        (13.., _) => Err(Fault::Field { order: false }),
        (12, false) => Ok(time - 12 * 3600 * MICROS_PER_SECOND),
        (0..=11, true) => Ok(time + 12 * 3600 * MICROS_PER_SECOND),
        _ => Ok(time),
    }
}

/// Whether a word with delimiters starts with a month: `jan-8-1999`.
fn is_month_date(text: &str) -> bool {
    let first = text.split(['-', '/', '.']).next().unwrap_or_default();
    matches!(word(first), Some(Word::Month(_)))
}

fn number(text: &str) -> Decoded<u32> {
    text.parse::<i32>().map_err(|_| Fault::Field { order: false }).map(|value| value.unsigned_abs())
}

/// `hh:mm[:ss[.fraction]]` in microseconds.
fn clock(text: &str) -> Decoded<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let (hour, minute) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let second = parts.next();
    if minute.is_empty() || parts.next().is_some() || (second.is_none() && text.contains('.')) || second == Some("") {
        return Err(Fault::Format);
    }
    time_of(hour, minute, second.unwrap_or("0"), fraction)
}

fn time_of(hour: &str, minute: &str, second: &str, fraction: &str) -> Decoded<i64> {
    let (hour, minute, second) = (number(hour)?, number(minute)?, number(second)?);
    let micros = fraction_micros(fraction)?;
    let beyond_midnight = hour == 24 && (minute > 0 || second > 0 || micros > 0);
    if hour > 24 || beyond_midnight || minute > 59 || second > 60 {
        return Err(Fault::Field { order: false });
    }
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Ok(seconds * MICROS_PER_SECOND + micros)
}

/// Decimals of a second in microseconds, rounded.
pub(super) fn fraction_micros(fraction: &str) -> Decoded<i64> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::Format);
    }
    if fraction.is_empty() {
        return Ok(0);
    }
    let value = format!("0.{fraction}").parse::<f64>().map_err(|_| Fault::Format)?;
    Ok((value * 1e6).round_ties_even() as i64)
}

/// `+hh`, `+hhmm`, `+hh:mm[:ss]`: seconds east of Greenwich, less than 16 hours.
pub(super) fn offset(text: &str) -> Decoded<i32> {
    let (sign, digits) = match text.split_at_checked(1) {
        Some(("-", digits)) => (-1, digits),
        Some(("+", digits)) => (1, digits),
        _ => return Err(Fault::Format),
    };
    let parts: Vec<&str> = if digits.contains(':') {
        digits.split(':').collect()
    } else {
        match (digits.len(), digits.is_ascii()) {
            (1 | 2, true) => vec![digits],
            (3 | 4, true) => vec![&digits[..digits.len() - 2], &digits[digits.len() - 2..]],
            (5 | 6, true) => vec![
                &digits[..digits.len() - 4],
                &digits[digits.len() - 4..digits.len() - 2],
                &digits[digits.len() - 2..],
            ],
            _ => return Err(Fault::Format),
        }
    };
    let mut values = [0_i32; 3];
    if parts.len() > 3 || parts.iter().any(|part| part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(Fault::Format);
    }
    for (value, part) in values.iter_mut().zip(&parts) {
        *value = part.parse().map_err(|_| Fault::Displacement)?;
    }
    let [hours, minutes, seconds] = values;
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(Fault::Displacement);
    }
    Ok(sign * (hours * 3600 + minutes * 60 + seconds))
}

/// A zone of the tz database, whatever the case of its letters.
fn zone_by_name(name: &str) -> Decoded<TextTimeZone> {
    if let Some(zone) = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name)) {
        return Ok(TextTimeZone::Named(*zone));
    }
    // PostgreSQL takes what has a delimiter for a zone's name, and anything else for rubbish.
    if name.contains(['/', '_']) { Err(Fault::UnknownZone(name.to_owned())) } else { Err(Fault::Format) }
}
