//! Integers and decimals as text.

use super::{push_block, push_with};

/// The digits of 00 to 99.
const PAIRS: &[u8; 200] =
    b"0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/// Two decimal digits of a number below 100.
#[inline]
pub(crate) fn pair(value: u32) -> [u8; 2] {
    let at = 2 * (value % 100) as usize;
    [PAIRS[at], PAIRS[at + 1]]
}

/// Decimal digits of a number: 1 for 0.
#[inline]
fn digit_count(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Writes `count` digits of `value` that end at `end`.
#[inline]
fn write_digits(room: &mut [u8], end: usize, count: usize, mut value: u64) {
    let mut at = end;
    let start = end - count;
    while at >= start + 2 {
        let digits = pair((value % 100) as u32);
        value /= 100;
        at -= 2;
        room[at] = digits[0];
        room[at + 1] = digits[1];
    }
    if at > start {
        room[at - 1] = b'0' + (value % 10) as u8;
    }
}

/// An unsigned integer.
#[inline]
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    push_with::<20>(out, |room| {
        let count = digit_count(value);
        write_digits(room, count, count, value);
        count
    });
}

/// A signed integer.
#[inline]
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    push_with::<20>(out, |room| {
        let sign = usize::from(value < 0);
        room[0] = b'-';
        let magnitude = value.unsigned_abs();
        let count = digit_count(magnitude);
        write_digits(room, sign + count, count, magnitude);
        sign + count
    });
}

/// A decimal of `scale` digits behind the point, all of them shown; a negative scale shows zeros before the point.
#[inline]
pub fn push_decimal(out: &mut Vec<u8>, value: i128, scale: i8) {
    match (u64::try_from(value.unsigned_abs()), u8::try_from(scale)) {
        (Ok(magnitude), Ok(0)) => push_small(out, value < 0, magnitude, 0),
        (Ok(magnitude), Ok(scale @ 1..=18)) => push_small(out, value < 0, magnitude, usize::from(scale)),
        _ => push_large(out, value, scale),
    }
}

/// Powers of ten that split a 64-bit number at the point.
const POWERS: [u64; 19] = {
    let mut powers = [1_u64; 19];
    let mut at = 1;
    while at < 19 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// A decimal of at most 64 bits with a scale from 0 to 18.
#[inline]
fn push_small(out: &mut Vec<u8>, negative: bool, magnitude: u64, scale: usize) {
    push_with::<48>(out, |room| {
        let sign = usize::from(negative);
        room[0] = b'-';
        // The usual scale gets constants to divide by.
        let (whole, fraction) = if scale == 2 {
            (magnitude / 100, magnitude % 100)
        } else {
            (magnitude / POWERS[scale], magnitude % POWERS[scale])
        };
        let count = digit_count(whole);
        let point = sign + count;
        write_digits(room, point, count, whole);
        if scale == 0 {
            return point;
        }
        room[point] = b'.';
        write_digits(room, point + 1 + scale, scale, fraction);
        point + 1 + scale
    });
}

#[cold]
fn push_large(out: &mut Vec<u8>, value: i128, scale: i8) {
    let mut digits = [b'0'; 40];
    let mut start = digits.len();
    let mut rest = value.unsigned_abs();
    while rest > 0 && start > 0 {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if value < 0 {
        out.push(b'-');
    }
    let Ok(scale) = usize::try_from(scale) else {
        let shown = if start == digits.len() { &digits[..1] } else { &digits[start..] };
        out.extend_from_slice(shown);
        if value != 0 {
            out.extend(std::iter::repeat_n(b'0', usize::from(scale.unsigned_abs())));
        }
        return;
    };
    let point = digits.len().saturating_sub(scale);
    if start < point {
        out.extend_from_slice(&digits[start..point])
    } else {
        out.push(b'0')
    }
    if scale > 0 {
        out.push(b'.');
        out.extend(std::iter::repeat_n(b'0', scale.saturating_sub(digits.len())));
        out.extend_from_slice(&digits[point..]);
    }
}

/// A decimal without the zeros at the end of its fraction.
pub fn push_decimal_trimmed(out: &mut Vec<u8>, value: i128, scale: i8) {
    let start = out.len();
    push_decimal(out, value, scale);
    if scale > 0 {
        let end = out.iter().rposition(|byte| *byte != b'0').map_or(start, |last| last + 1);
        out.truncate(end);
        if out.last() == Some(&b'.') {
            out.pop();
        }
    }
}

/// A number of two digits and what stands before it.
#[inline]
pub(crate) fn push_pair(out: &mut Vec<u8>, value: u32) {
    push_block(out, &pair(value), 2);
}
