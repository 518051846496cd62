//! The words of dates, times and intervals.

use super::abbreviations;

/// What a word of a date or time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Month(u32),
    /// A day of the week, `at`, `on`: said and ignored.
    Ignored,
    Am,
    Pm,
    Bc,
    Ad,
    Infinity,
    MinusInfinity,
    Epoch,
    Now,
    Today,
    Tomorrow,
    Yesterday,
    AllBalls,
    /// `T` before a time.
    IsoTime,
    /// `J` before a Julian day.
    Julian,
    /// `DST` after a zone: an hour more.
    Dst,
    /// A zone's abbreviation: seconds east of Greenwich.
    Zone(i32),
}

/// The meaning of a lower-case word.
pub(super) fn word(text: &str) -> Option<Word> {
    Some(match text {
        "jan" | "january" => Word::Month(1),
        "feb" | "february" => Word::Month(2),
        "mar" | "march" => Word::Month(3),
        "apr" | "april" => Word::Month(4),
        "may" => Word::Month(5),
        "jun" | "june" => Word::Month(6),
        "jul" | "july" => Word::Month(7),
        "aug" | "august" => Word::Month(8),
        "sep" | "sept" | "september" => Word::Month(9),
        "oct" | "october" => Word::Month(10),
        "nov" | "november" => Word::Month(11),
        "dec" | "december" => Word::Month(12),
        "sun" | "sunday" | "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "weds" | "wednesday" | "thu"
        | "thur" | "thurs" | "thursday" | "fri" | "friday" | "sat" | "saturday" | "at" | "on" => Word::Ignored,
        "am" => Word::Am,
        "pm" => Word::Pm,
        "bc" => Word::Bc,
        "ad" => Word::Ad,
        "infinity" => Word::Infinity,
        "-infinity" => Word::MinusInfinity,
        "epoch" => Word::Epoch,
        "now" => Word::Now,
        "today" => Word::Today,
        "tomorrow" => Word::Tomorrow,
        "yesterday" => Word::Yesterday,
        "allballs" => Word::AllBalls,
        "t" => Word::IsoTime,
        "j" | "jd" | "julian" => Word::Julian,
        "dst" => Word::Dst,
        "z" | "utc" | "zulu" => Word::Zone(0),
        other => Word::Zone(abbreviations::abbreviation(other)?),
    })
}

/// The units of an interval, most of which are fields of a moment too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Ago,
}

/// As many letters of a unit's name count (`TOKMAXLEN`).
const UNIT_LETTERS: usize = 10;

/// The unit that a lower-case word names.
pub fn time_unit(text: &str) -> Option<TimeUnit> {
    Some(match text.get(..UNIT_LETTERS).unwrap_or(text) {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" => TimeUnit::Microsecond,
        "ms" | "msec" | "msecs" | "mseconds" | "millisecon" => TimeUnit::Millisecond,
        "s" | "sec" | "secs" | "second" | "seconds" => TimeUnit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => TimeUnit::Minute,
        "h" | "hour" | "hours" | "hr" | "hrs" => TimeUnit::Hour,
        "d" | "day" | "days" => TimeUnit::Day,
        "w" | "week" | "weeks" => TimeUnit::Week,
        "mon" | "mons" | "month" | "months" => TimeUnit::Month,
        "qtr" | "quarter" => TimeUnit::Quarter,
        "y" | "yr" | "yrs" | "year" | "years" => TimeUnit::Year,
        "dec" | "decs" | "decade" | "decades" => TimeUnit::Decade,
        "c" | "cent" | "century" | "centuries" => TimeUnit::Century,
        "mil" | "mils" | "millennia" | "millennium" => TimeUnit::Millennium,
        "ago" => TimeUnit::Ago,
        _ => return None,
    })
}
