//! Value to binary, as PostgreSQL's send functions write it; without the length that stands before a value.

use super::calendar::{
    DATE_INFINITY, DATE_MINUS_INFINITY, PG_EPOCH_DAYS, PG_EPOCH_MICROS, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY,
};
use super::input::IntervalValue;
use super::text::push_with;

/// `date`: days since 2000.
#[inline]
pub fn date(day: i32) -> [u8; 4] {
    match day {
        DATE_INFINITY | DATE_MINUS_INFINITY => day,
        finite => finite.saturating_sub(PG_EPOCH_DAYS),
    }
    .to_be_bytes()
}

/// `timestamp` and `timestamptz`: microseconds since 2000.
#[inline]
pub fn timestamp(micros: i64) -> [u8; 8] {
    match micros {
        TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY => micros,
        finite => finite.saturating_sub(PG_EPOCH_MICROS),
    }
    .to_be_bytes()
}

/// `interval`: microseconds, days, months.
#[inline]
pub fn interval(value: IntervalValue) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&value.micros.to_be_bytes());
    bytes[8..12].copy_from_slice(&value.days.to_be_bytes());
    bytes[12..].copy_from_slice(&value.months.to_be_bytes());
    bytes
}

const SIGN_NEGATIVE: u16 = 0x4000;

/// Most base-10000 digits of 38 decimal digits with any scale from 0 to 38.
const GROUPS_MAX: usize = 12;

/// `numeric`: count of base-10000 digits, weight of the first, sign, decimal scale, digits.
#[inline]
pub fn push_numeric(out: &mut Vec<u8>, value: i128, scale: i8) {
    let negative = value < 0;
    let padded = match (u64::try_from(value.unsigned_abs()), scale) {
        (Ok(magnitude), 0..) => magnitude.checked_mul(padding(scale)),
        _ => None,
    };
    match padded {
        Some(padded) => push_groups(out, padded, negative, scale),
        None => push_numeric_wide(out, value, scale),
    }
}

/// What makes the count of decimals a multiple of four.
#[inline]
const fn padding(scale: i8) -> u64 {
    match scale as u8 % 4 {
        1 => 1000,
        2 => 100,
        3 => 10,
        _ => 1,
    }
}

/// The 64-bit case; `padded` has decimals in groups of four.
#[inline]
fn push_groups(out: &mut Vec<u8>, padded: u64, negative: bool, scale: i8) {
    push_with::<20>(out, |room| {
        let mut rest = padded;
        let mut groups = [0_u16; 6];
        let mut count = 0;
        let mut stripped = 0;
        while rest > 0 && count < groups.len() {
            let group = (rest % 10_000) as u16;
            rest /= 10_000;
            if count == 0 && group == 0 {
                stripped += 1;
                continue;
            }
            groups[count] = group;
            count += 1;
        }
        let behind = u32::from(scale as u8).div_ceil(4) as i32;
        let weight = if count == 0 { 0 } else { (count + stripped) as i32 - behind - 1 };
        let sign = if negative && count > 0 { SIGN_NEGATIVE } else { 0 };
        let [n0, n1] = (count as u16).to_be_bytes();
        let [w0, w1] = (weight as i16).to_be_bytes();
        let [s0, s1] = sign.to_be_bytes();
        let [d0, d1] = u16::from(scale as u8).to_be_bytes();
        room[..8].copy_from_slice(&[n0, n1, w0, w1, s0, s1, d0, d1]);
        for (at, group) in groups[..count].iter().rev().enumerate() {
            room[8 + 2 * at..10 + 2 * at].copy_from_slice(&group.to_be_bytes());
        }
        8 + 2 * count
    });
}

#[cold]
fn push_numeric_wide(out: &mut Vec<u8>, value: i128, scale: i8) {
    // Groups from the least; the first holds what the padding leaves, so that nothing overflows.
    let decimals = u32::from(scale.max(0) as u8);
    let mut groups = [0_u16; GROUPS_MAX];
    let mut count = 0;
    let mut rest = value.unsigned_abs();
    let mut first_size = decimals % 4;
    let behind = decimals.div_ceil(4) as i32;
    if scale < 0 {
        rest = rest.saturating_mul(10_u128.saturating_pow(u32::from(scale.unsigned_abs())));
    }
    while rest > 0 && count < groups.len() {
        let (base, shift) = match first_size {
            1 => (10, 1000),
            2 => (100, 100),
            3 => (1000, 10),
            _ => (10_000, 1),
        };
        first_size = 0;
        groups[count] = ((rest % base) * shift) as u16;
        rest /= base;
        count += 1;
    }
    let stripped = groups[..count].iter().take_while(|group| **group == 0).count();
    let weight = if count == 0 { 0 } else { count as i32 - behind - 1 };
    let sign = if value < 0 { SIGN_NEGATIVE } else { 0 };
    out.extend_from_slice(&((count - stripped) as u16).to_be_bytes());
    out.extend_from_slice(&(weight as i16).to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(decimals as u16).to_be_bytes());
    for group in groups[stripped..count].iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// `numeric` with the scale that it has without the zeros at its end.
pub fn push_numeric_trimmed(out: &mut Vec<u8>, value: i128, scale: i8) {
    let (mut value, mut scale) = (value, scale);
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    push_numeric(out, value, scale);
}
