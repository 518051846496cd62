//! The fields of `extract`, `date_part` and `date_trunc`, and their values.

use arrow::array::StringArray;
use arrow::datatypes::IntervalMonthDayNano;

use super::date_arithmetic::micros_of;
use super::kernel::{Call, Column};
use crate::encode::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil};
use crate::encode::input::{TimeUnit, time_unit};
use crate::error::{Error, Result, SqlState};

/// A field's name, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Microseconds,
    Milliseconds,
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
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    Epoch,
    Julian,
    TimeZone,
    TimeZoneHour,
    TimeZoneMinute,
}

/// Millionths of one.
const MILLION: i128 = 1_000_000;

/// Reads a field's name, which intervals share as far as they have it. 22023 for an unknown one.
pub fn part(name: &str, type_name: &str) -> Result<Part> {
    let lower = name.to_ascii_lowercase();
    if let Some(part) = time_unit(&lower).and_then(of_unit) {
        return Ok(part);
    }
    Ok(match lower.as_str() {
        "dow" => Part::DayOfWeek,
        "isodow" => Part::IsoDayOfWeek,
        "doy" => Part::DayOfYear,
        "isoyear" => Part::IsoYear,
        "epoch" => Part::Epoch,
        "julian" => Part::Julian,
        "timezone" => Part::TimeZone,
        "timezone_hour" => Part::TimeZoneHour,
        "timezone_minute" => Part::TimeZoneMinute,
        _ => return Err(unrecognized(name, type_name)),
    })
}

#[cold]
fn unrecognized(name: &str, type_name: &str) -> Error {
    let message = format!("unit \"{name}\" not recognized for type {type_name}");
    Error::new(SqlState::InvalidParameterValue, message)
}

fn of_unit(unit: TimeUnit) -> Option<Part> {
    Some(match unit {
        TimeUnit::Microsecond => Part::Microseconds,
        TimeUnit::Millisecond => Part::Milliseconds,
        TimeUnit::Second => Part::Second,
        TimeUnit::Minute => Part::Minute,
        TimeUnit::Hour => Part::Hour,
        TimeUnit::Day => Part::Day,
        TimeUnit::Week => Part::Week,
        TimeUnit::Month => Part::Month,
        TimeUnit::Quarter => Part::Quarter,
        TimeUnit::Year => Part::Year,
        TimeUnit::Decade => Part::Decade,
        TimeUnit::Century => Part::Century,
        TimeUnit::Millennium => Part::Millennium,
        TimeUnit::Ago => return None,
    })
}

/// The fields that an argument of a call names, for values of one type; a constant one is read once.
pub(super) struct Units {
    names: Column<StringArray>,
    constant: Option<Part>,
    type_name: &'static str,
}

impl Units {
    /// Of argument 0.
    pub(super) fn of(call: &Call, type_name: &'static str) -> Result<Self> {
        let names = call.text(0)?;
        // A batch without rows or with NULLs alone asks for no field.
        let constant = names.constant().map(|name| part(name, type_name)).transpose()?;
        Ok(Self { names, constant, type_name })
    }

    /// The field of a row; `None` is NULL.
    #[inline]
    pub(super) fn get(&self, row: usize) -> Result<Option<Part>> {
        match self.constant {
            Some(part) => Ok(Some(part)),
            None => self.names.get(row).map(|name| part(name, self.type_name)).transpose(),
        }
    }
}

impl Part {
    /// Whether the part of an ever later moment grows for ever.
    pub fn grows(self) -> bool {
        matches!(
            self,
            Self::Year | Self::Decade | Self::Century | Self::Millennium | Self::IsoYear | Self::Epoch | Self::Julian
        )
    }

    /// 0A000: the field makes no sense for the type.
    pub fn unsupported(self, type_name: &str) -> Error {
        let message = format!("unit \"{}\" not supported for type {type_name}", self.name());
        Error::new(SqlState::FeatureNotSupported, message)
    }

    /// What `date_trunc` says of a field that it cannot cut to.
    pub fn untruncatable(self, type_name: &str) -> Error {
        match self {
            Self::DayOfWeek | Self::IsoDayOfWeek | Self::DayOfYear | Self::IsoYear | Self::Epoch | Self::Julian => {
                unrecognized(self.name(), type_name)
            }
            _ => self.unsupported(type_name),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Microseconds => "microseconds",
            Self::Milliseconds => "milliseconds",
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
            Self::Decade => "decade",
            Self::Century => "century",
            Self::Millennium => "millennium",
            Self::DayOfWeek => "dow",
            Self::IsoDayOfWeek => "isodow",
            Self::DayOfYear => "doy",
            Self::IsoYear => "isoyear",
            Self::Epoch => "epoch",
            Self::Julian => "julian",
            Self::TimeZone => "timezone",
            Self::TimeZoneHour => "timezone_hour",
            Self::TimeZoneMinute => "timezone_minute",
        }
    }

    /// Digits behind the point that `extract` shows.
    pub fn scale(self, is_date: bool) -> i8 {
        match self {
            Self::Second => 6,
            Self::Epoch if !is_date => 6,
            Self::Julian if !is_date => 20,
            Self::Milliseconds => 3,
            _ => 0,
        }
    }

    /// In millionths, of a time of day.
    pub fn of_time(self, micros: i64) -> Result<i128> {
        let seconds = micros / MICROS_PER_SECOND;
        Ok(match self {
            Self::Microseconds => i128::from(micros % (60 * MICROS_PER_SECOND)) * MILLION,
            Self::Milliseconds => i128::from(micros % (60 * MICROS_PER_SECOND)) * 1_000,
            Self::Second => i128::from(micros % (60 * MICROS_PER_SECOND)),
            Self::Minute => i128::from(seconds / 60 % 60) * MILLION,
            Self::Hour => i128::from(seconds / 3600) * MILLION,
            Self::Epoch => i128::from(micros),
            other => return Err(other.unsupported("time without time zone")),
        })
    }

    /// In millionths, of a local time; `type_name` is for the error.
    pub fn of_timestamp(self, local: i64, type_name: &str) -> Result<i128> {
        let (days, time) = (local.div_euclid(MICROS_PER_DAY), local.rem_euclid(MICROS_PER_DAY));
        let is_date = type_name == "date";
        match self {
            Self::Microseconds | Self::Milliseconds | Self::Second | Self::Minute | Self::Hour if !is_date => {
                return self.of_time(time);
            }
            Self::Epoch => return Ok(i128::from(local)),
            _ => {}
        }
        self.of_day(days, type_name).map(|value| i128::from(value) * MILLION)
    }

    fn of_day(self, days: i64, type_name: &str) -> Result<i64> {
        let (year, month, day) = civil_from_days(days);
        let month = i64::from(month);
        Ok(match self {
            Self::Day => day.into(),
            Self::Month => month,
            Self::Quarter => (month - 1) / 3 + 1,
            // There is no year 0.
            Self::Year => {
                if year > 0 {
                    year
                } else {
                    year - 1
                }
            }
            Self::Decade => year.div_euclid(10),
            Self::Century => {
                if year > 0 {
                    (year + 99) / 100
                } else {
                    -((99 - (year - 1)) / 100)
                }
            }
            Self::Millennium => {
                if year > 0 {
                    (year + 999) / 1000
                } else {
                    -((999 - (year - 1)) / 1000)
                }
            }
            Self::DayOfWeek => (days + 4).rem_euclid(7),
            Self::IsoDayOfWeek => (days + 3).rem_euclid(7) + 1,
            Self::DayOfYear => days - days_from_civil(year, 1, 1) + 1,
            Self::Week => iso_week(days).1,
            Self::IsoYear => {
                let year = iso_week(days).0;
                if year > 0 { year } else { year - 1 }
            }
            other => return Err(other.unsupported(type_name)),
        })
    }

    /// In millionths, of a moment with its local time and offset.
    pub fn of_timestamptz(self, utc: i64, local: i64, offset: i32) -> Result<i128> {
        let offset = i128::from(offset);
        Ok(match self {
            Self::Epoch => i128::from(utc),
            Self::TimeZone => offset * MILLION,
            Self::TimeZoneHour => offset / 3600 * MILLION,
            Self::TimeZoneMinute => offset / 60 % 60 * MILLION,
            other => other.of_timestamp(local, "timestamp with time zone")?,
        })
    }

    /// In millionths, of an interval.
    pub fn of_interval(self, value: IntervalMonthDayNano) -> Result<i128> {
        let micros = i128::from(micros_of(value));
        let months = i128::from(value.months);
        let minute = 60 * MILLION;
        Ok(match self {
            Self::Microseconds => micros % minute * MILLION,
            Self::Milliseconds => micros % minute * 1_000,
            Self::Second => micros % minute,
            Self::Minute => micros / minute % 60 * MILLION,
            Self::Hour => micros / (60 * minute) * MILLION,
            Self::Day => i128::from(value.days) * MILLION,
            Self::Month => months % 12 * MILLION,
            Self::Quarter => (months % 12 / 3 + 1) * MILLION,
            Self::Year => months / 12 * MILLION,
            Self::Decade => months / 120 * MILLION,
            Self::Century => months / 1_200 * MILLION,
            Self::Millennium => months / 12_000 * MILLION,
            Self::Epoch => {
                // A year counts 365.25 days, what is left of one months of 30.
                let years = months / 12 * 31_557_600;
                (years + months % 12 * 2_592_000 + i128::from(value.days) * 86_400) * MILLION + micros
            }
            other => return Err(other.unsupported("interval")),
        })
    }
}

/// ISO 8601's year and week of a day: weeks start on Monday, the first one holds 4 January.
pub fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, ..) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_weeks_cross_the_year() {
        let cases = [((2021, 1, 3), (2020, 53)), ((2021, 1, 4), (2021, 1)), ((2024, 12, 30), (2025, 1))];
        for ((year, month, day), expected) in cases {
            assert_eq!(iso_week(days_from_civil(year, month, day)), expected);
        }
    }
}
