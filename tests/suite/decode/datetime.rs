//! Dates, times and intervals: counts from 2000-01-01 to DateStyle ISO and IntervalStyle postgres.

use chrono::{DateTime, Offset, TimeZone};

const DAY: i64 = 86_400_000_000;
const SECOND: i64 = 1_000_000;

/// The session's time zone.
#[derive(Debug, Clone)]
pub(crate) enum Zone {
    Named(chrono_tz::Tz),
    /// A form that only the server knows how to read.
    Unknown,
}

impl Zone {
    pub(crate) fn new(name: &str) -> Self {
        name.parse().map_or(Self::Unknown, Self::Named)
    }

    pub(crate) fn is_known(&self) -> bool {
        matches!(self, Self::Named(_))
    }

    /// Seconds east of UTC at that moment.
    fn offset_seconds(&self, micros: i64) -> i64 {
        match self {
            Self::Unknown => 0,
            Self::Named(zone) => {
                // Far from today the zone's rules are those of the nearest time that the library knows.
                let seconds = (micros / SECOND + 946_684_800).clamp(-60_000_000_000, 60_000_000_000);
                let moment = DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
                i64::from(zone.offset_from_utc_datetime(&moment).fix().local_minus_utc())
            }
        }
    }
}

/// A date without its era, and whether it is before Christ: the civil calendar from days, by Howard Hinnant's algorithm, since
/// PostgreSQL's dates reach further than a library's.
fn date_text(days: i64) -> (String, bool) {
    let days = days + 10_957 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let shown = if year > 0 { year } else { 1 - year };
    (format!("{shown:04}-{month:02}-{day:02}"), year <= 0)
}

fn with_era((text, before): (String, bool), rest: &str) -> String {
    format!("{text}{rest}{}", if before { " BC" } else { "" })
}

pub(super) fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        _ => with_era(date_text(i64::from(days)), ""),
    }
}

pub(super) fn time(micros: i64) -> String {
    let (hours, minutes, seconds) = (micros / 3_600_000_000, micros / 60_000_000 % 60, micros / SECOND % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{}", fraction(micros % SECOND))
}

fn fraction(micros: i64) -> String {
    if micros == 0 { String::new() } else { format!(".{micros:06}").trim_end_matches('0').to_owned() }
}

pub(super) fn timetz(micros: i64, west_seconds: i32) -> String {
    format!("{}{}", time(micros), offset_text(-i64::from(west_seconds)))
}

fn offset_text(seconds: i64) -> String {
    let (sign, seconds) = if seconds < 0 { ('-', -seconds) } else { ('+', seconds) };
    let mut text = format!("{sign}{:02}", seconds / 3600);
    if seconds % 3600 != 0 {
        text.push_str(&format!(":{:02}", seconds / 60 % 60));
    }
    if seconds % 60 != 0 {
        text.push_str(&format!(":{:02}", seconds % 60));
    }
    text
}

pub(super) fn timestamp(micros: i64) -> String {
    moment(micros, "")
}

pub(super) fn timestamptz(micros: i64, zone: &Zone) -> String {
    if matches!(micros, i64::MAX | i64::MIN) {
        return moment(micros, "");
    }
    let offset = zone.offset_seconds(micros);
    moment(micros + offset * SECOND, &offset_text(offset))
}

fn moment(micros: i64, suffix: &str) -> String {
    match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        _ => {
            let time = time(micros.rem_euclid(DAY));
            with_era(date_text(micros.div_euclid(DAY)), &format!(" {time}{suffix}"))
        }
    }
}

/// IntervalStyle postgres: a part's sign is shown when the part before it was negative.
pub(super) fn interval(micros: i64, days: i32, months: i32) -> String {
    let mut parts = Vec::new();
    let mut before_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let plus = if before_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        parts.push(format!("{plus}{value} {unit}{plural}"));
        before_negative = value < 0;
    }
    if micros != 0 || parts.is_empty() {
        let sign = if micros < 0 {
            "-"
        } else if before_negative {
            "+"
        } else {
            ""
        };
        let micros = micros.unsigned_abs();
        let (hours, minutes, seconds) = (micros / 3_600_000_000, micros / 60_000_000 % 60, micros / 1_000_000 % 60);
        let rest = fraction(i64::try_from(micros % 1_000_000).unwrap());
        parts.push(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{rest}"));
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_show_the_signs_that_postgresql_shows() {
        assert_eq!(interval(0, 0, 0), "00:00:00");
        assert_eq!(interval(-SECOND, 3, -14), "-1 years -2 mons +3 days -00:00:01");
        assert_eq!(interval(1_500_000, 0, 1), "1 mon 00:00:01.5");
    }
}
