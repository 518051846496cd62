//! Time zones: what a name stands for, and `AT TIME ZONE`.

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, TimestampMicrosecondType};

use super::Function;
use super::build::scalar;
use super::date_arithmetic::{from_local, is_infinite, micros_of, to_local};
use super::kernel::{Call, Column, some};
use crate::encode::TextTimeZone;
use crate::encode::input::zone_abbreviation;
use crate::error::{Error, Result, SqlState};

/// Farthest from Greenwich that a zone may be, in hours.
const HOURS_MAX: i32 = 167;

/// The zone that a name, an abbreviation or an offset stands for. 22023.
fn zone(name: &str) -> Result<TextTimeZone> {
    let unknown = || Error::new(SqlState::InvalidParameterValue, format!("time zone \"{name}\" not recognized"));
    // Abbreviations come first: EST is five hours, whatever the history of a zone of that name says.
    if let Some(seconds) = zone_abbreviation(&name.to_ascii_lowercase()) {
        return Ok(TextTimeZone::Fixed(seconds));
    }
    if let Ok(zone) = name.parse::<chrono_tz::Tz>() {
        return Ok(TextTimeZone::Named(zone));
    }
    if let Some(found) = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name)) {
        return Ok(TextTimeZone::Named(*found));
    }
    // POSIX: a sign counts west of Greenwich.
    let (sign, digits) = match (name.strip_prefix('+'), name.strip_prefix('-')) {
        (Some(rest), _) => (-1, rest),
        (_, Some(rest)) => (1, rest),
        _ => return Err(unknown()),
    };
    let mut seconds = 0;
    for (part, unit, most) in digits
        .splitn(3, ':')
        .zip([3_600, 60, 1])
        .zip([HOURS_MAX, 59, 59])
        .map(|((part, unit), most)| (part, unit, most))
    {
        let value = part.parse::<i32>().ok().filter(|value| (0..=most).contains(value)).ok_or_else(unknown)?;
        seconds += value * unit;
    }
    Ok(TextTimeZone::Fixed(sign * seconds))
}

/// The zones that a column of names gives; neighbours mostly share one, which is looked up once.
pub(super) struct Zones {
    names: Column<StringArray>,
    last: Option<(String, TextTimeZone)>,
}

impl Zones {
    pub(super) fn of(call: &Call, index: usize) -> Result<Self> {
        Ok(Self { names: call.text(index)?, last: None })
    }

    /// The zone of a row; `None` is NULL.
    pub(super) fn get(&mut self, row: usize) -> Result<Option<TextTimeZone>> {
        let name = some!(self.names.get(row));
        if let Some((_, zone)) = self.last.as_ref().filter(|(known, _)| known == name) {
            return Ok(Some(*zone));
        }
        let found = zone(name)?;
        self.last = Some((name.to_owned(), found));
        Ok(Some(found))
    }
}

fn at_zone(call: &Call) -> Result<ArrayRef> {
    let (mut zones, moments) = (Zones::of(call, 0)?, call.timestamp(1)?);
    let to_moment = matches!(call.returns, DataType::Timestamp(_, Some(_)));
    call.values::<TimestampMicrosecondType>(|row| {
        let (zone, moment) = (some!(zones.get(row)?), some!(moments.get(row)));
        Ok(Some(if to_moment { from_local(zone, moment) } else { to_local(zone, moment) }))
    })
}

fn at_offset(call: &Call) -> Result<ArrayRef> {
    let (offsets, moments) = (call.interval(0)?, call.timestamp(1)?);
    let to_moment = matches!(call.returns, DataType::Timestamp(_, Some(_)));
    call.values::<TimestampMicrosecondType>(|row| {
        let (offset, moment) = (some!(offsets.get(row)), some!(moments.get(row)));
        if offset.months != 0 || offset.days != 0 {
            let message = "interval time zone must not include months or days";
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        let offset = micros_of(offset);
        Ok(Some(if is_infinite(moment) {
            moment
        } else if to_moment {
            moment - offset
        } else {
            moment + offset
        }))
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(2069, "timezone(text, timestamp) timestamptz", at_zone),
        scalar(1159, "timezone(text, timestamptz) timestamp", at_zone),
        scalar(2070, "timezone(interval, timestamp) timestamptz", at_offset),
        scalar(1026, "timezone(interval, timestamptz) timestamp", at_offset),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_abbreviations_names_or_posix_offsets() {
        assert_eq!(zone("PST").unwrap(), TextTimeZone::Fixed(-8 * 3600));
        assert_eq!(zone("est").unwrap(), TextTimeZone::Fixed(-5 * 3600));
        assert_eq!(zone("asia/kolkata").unwrap(), TextTimeZone::Named(chrono_tz::Asia::Kolkata));
        assert_eq!(zone("+05:30:15").unwrap(), TextTimeZone::Fixed(-(5 * 3600 + 30 * 60 + 15)));
        assert_eq!(zone("-03").unwrap(), TextTimeZone::Fixed(3 * 3600));
        for unknown in ["nope", "+170", "+999999999", "+5:61", "+", "+1:2:3:4"] {
            assert_eq!(zone(unknown).unwrap_err().sqlstate(), SqlState::InvalidParameterValue, "{unknown}");
        }
    }
}
