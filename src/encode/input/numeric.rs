//! Input of `numeric` into the 128-bit decimals that carry it.

use super::{invalid_syntax, trim};
use crate::error::{Error, Result, SqlState};

/// The most digits that a Decimal128 holds.
const DIGITS_MAX: i64 = 38;

/// 10^n for n from 0 to 38.
pub(crate) const POWERS_OF_TEN: [i128; 39] = {
    let mut powers = [1_i128; 39];
    let mut at = 1;
    while at < 39 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

pub(crate) fn power_of_ten(exponent: i64) -> Option<i128> {
    usize::try_from(exponent).ok().and_then(|at| POWERS_OF_TEN.get(at)).copied()
}

/// `numeric(precision, scale)`: the unscaled value, rounded half away from zero; 22003 when it has too many digits.
pub fn numeric(text: &str, precision: u8, scale: i8) -> Result<i128> {
    numeric_bytes(text.as_bytes(), precision, scale)
}

/// [`numeric`] of bytes.
#[inline]
pub fn numeric_bytes(text: &[u8], precision: u8, scale: i8) -> Result<i128> {
    match short_numeric(text, scale) {
        Some(value)
            if power_of_ten(i64::from(precision)).is_some_and(|limit| i128::from(value.unsigned_abs()) < limit) =>
        {
            Ok(i128::from(value))
        }
        _ => numeric_slowly(text, precision, scale),
    }
}

/// `[-]digits[.digits]` of at most 18 digits, not more of them behind the point than the scale.
#[inline]
fn short_numeric(text: &[u8], scale: i8) -> Option<i64> {
    let (negative, body) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if body.is_empty() || body.len() > 18 {
        return None;
    }
    let mut value: i64 = 0;
    let mut behind: Option<i8> = None;
    for byte in body {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + i64::from(digit);
            behind = behind.map(|count| count + 1);
        } else if *byte == b'.' && behind.is_none() && body.len() > 1 {
            behind = Some(0);
        } else {
            return None;
        }
    }
    let missing = i64::from(scale) - i64::from(behind.unwrap_or(0));
    if !(0..=18).contains(&missing) {
        return None;
    }
    let value = i64::try_from(power_of_ten(missing)?).ok()?.checked_mul(value)?;
    Some(if negative { -value } else { value })
}

#[cold]
fn numeric_slowly(text: &[u8], precision: u8, scale: i8) -> Result<i128> {
    let parsed = Parsed::new(text)?;
    let value = parsed.at_scale(i64::from(scale)).ok_or_else(|| numeric_overflow(precision, scale))?;
    within(value, precision, scale)
}

/// `numeric` without a modifier: unscaled value, precision and scale as they were written. Digits behind the point that
/// do not fit into 38 are rounded away; 22003 when the digits before it do not fit.
pub fn numeric_unbound(text: &str) -> Result<(i128, u8, i8)> {
    let parsed = Parsed::new(text.as_bytes())?;
    let mut scale = parsed.scale().clamp(0, DIGITS_MAX);
    loop {
        let fits = |value: &i128| value.unsigned_abs() < POWERS_OF_TEN[38].unsigned_abs();
        match parsed.at_scale(scale).filter(fits) {
            Some(value) => {
                let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1) as i64;
                return Ok((value, digits.max(scale).max(1) as u8, scale as i8));
            }
            None if scale > 0 => scale -= 1,
            None => return Err(Error::new(SqlState::NumericValueOutOfRange, "value overflows numeric format")),
        }
    }
}

/// Moves an unscaled value from one scale to `numeric(precision, scale)`, rounding half away from zero.
pub fn fit_numeric(value: i128, from_scale: i8, precision: u8, scale: i8) -> Result<i128> {
    let shift = i64::from(scale) - i64::from(from_scale);
    let moved = if shift >= 0 {
        power_of_ten(shift).and_then(|power| value.checked_mul(power))
    } else {
        Some(round_away(value, shift.unsigned_abs()))
    };
    moved.ok_or_else(|| numeric_overflow(precision, scale)).and_then(|moved| within(moved, precision, scale))
}

fn within(value: i128, precision: u8, scale: i8) -> Result<i128> {
    match power_of_ten(i64::from(precision)) {
        Some(limit) if value.unsigned_abs() >= limit.unsigned_abs() => Err(numeric_overflow(precision, scale)),
        _ => Ok(value),
    }
}

/// Drops decimal digits, rounding half away from zero.
fn round_away(value: i128, digits: u64) -> i128 {
    let Some(power) = i64::try_from(digits).ok().and_then(power_of_ten) else { return 0 };
    let quotient = value / power;
    let rest = (value % power).unsigned_abs();
    if rest >= power.unsigned_abs().div_ceil(2) && digits > 0 { quotient + value.signum() } else { quotient }
}

/// 22003 `numeric field overflow` with PostgreSQL's detail.
#[cold]
pub fn numeric_overflow(precision: u8, scale: i8) -> Error {
    let whole = i32::from(precision) - i32::from(scale);
    let limit = if whole == 0 { "1".to_owned() } else { format!("10^{whole}") };
    Error::new(SqlState::NumericValueOutOfRange, "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
    ))
}

/// What was written: significant digits and where the point stands.
struct Parsed<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Parsed<'a> {
    fn new(text: &'a [u8]) -> Result<Self> {
        let number = trim(text);
        Self::read(number).ok_or_else(|| match number.to_ascii_lowercase().as_slice() {
            b"nan" | b"infinity" | b"+infinity" | b"-infinity" | b"inf" | b"+inf" | b"-inf" => Error::new(
                SqlState::NumericValueOutOfRange,
                format!("numeric \"{}\" is not supported", String::from_utf8_lossy(number)),
            )
            .with_hint("Use double precision for values that are not finite."),
            _ => invalid_syntax("numeric", text),
        })
    }

    fn read(number: &'a [u8]) -> Option<Self> {
        let (negative, rest) = match number {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, number),
        };
        let (whole, rest) = digits(rest);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => digits(rest),
            _ => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', exponent @ ..] => std::str::from_utf8(exponent).ok()?.parse::<i32>().ok()?,
            _ => return None,
        };
        Some(Self { negative, whole, fraction, exponent: i64::from(exponent) })
    }

    /// Digits behind the point once the exponent has moved it.
    fn scale(&self) -> i64 {
        (self.fraction.len() as i64 - self.exponent).max(0)
    }

    /// The unscaled value at a scale, rounded half away from zero, or none when 128 bits do not hold it.
    fn at_scale(&self, scale: i64) -> Option<i128> {
        // Digits that stay: those before the point, as the exponent and the scale move it.
        let keep = self.whole.len() as i64 + self.exponent + scale;
        let mut value: i128 = 0;
        let mut seen: i64 = 0;
        for byte in self.whole.iter().chain(self.fraction) {
            let digit = i128::from(byte - b'0');
            if seen >= keep {
                if seen == keep && digit >= 5 {
                    value = value.checked_add(1)?;
                }
                seen = i64::MAX;
                break;
            }
            value = value.checked_mul(10)?.checked_add(digit)?;
            seen += 1;
        }
        if seen < keep && value != 0 {
            value = value.checked_mul(power_of_ten(keep - seen)?)?;
        }
        Some(if self.negative { -value } else { value })
    }
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}
