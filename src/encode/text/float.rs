//! Floats as text: the shortest that reads back the same, or a number of digits (`extra_float_digits`).

use super::push_i64;

/// Significant digits that a float of each width always keeps (C's DBL_DIG and FLT_DIG).
const FLOAT8_DIGITS: i32 = 15;
const FLOAT4_DIGITS: i32 = 6;

/// `double precision`.
#[inline]
pub fn push_float8(out: &mut Vec<u8>, value: f64, extra_float_digits: i8) {
    let whole = value as i64;
    if whole as f64 == value
        && whole.unsigned_abs() < 1_000_000_000_000_000
        && extra_float_digits > 0
        && (whole != 0 || value.is_sign_positive())
    {
        return push_i64(out, whole);
    }
    if push_special(out, value) {
        return;
    }
    if extra_float_digits > 0 {
        let mut buffer = ryu::Buffer::new();
        push_shortest(out, buffer.format_finite(value), FLOAT8_DIGITS);
    } else {
        push_digits(out, value, FLOAT8_DIGITS, extra_float_digits);
    }
}

/// `real`.
pub fn push_float4(out: &mut Vec<u8>, value: f32, extra_float_digits: i8) {
    if push_special(out, f64::from(value)) {
        return;
    }
    if extra_float_digits > 0 {
        let mut buffer = ryu::Buffer::new();
        push_shortest(out, buffer.format_finite(value), FLOAT4_DIGITS);
    } else {
        push_digits(out, f64::from(value), FLOAT4_DIGITS, extra_float_digits);
    }
}

/// Whether the value was one of those that have a name; negative zero keeps its sign.
fn push_special(out: &mut Vec<u8>, value: f64) -> bool {
    let name = if value.is_nan() {
        "NaN"
    } else if value == f64::INFINITY {
        "Infinity"
    } else if value == f64::NEG_INFINITY {
        "-Infinity"
    } else if value == 0.0 {
        if value.is_sign_negative() { "-0" } else { "0" }
    } else {
        return false;
    };
    out.extend_from_slice(name.as_bytes());
    true
}

/// Rewrites the shortest digits, however the library lays them out, as C's `%g` does.
fn push_shortest(out: &mut Vec<u8>, text: &str, digits_fixed: i32) {
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => (true, mantissa),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = [0_u8; 40];
    let mut count = 0;
    let mut leading = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if count == 0 && byte == b'0' {
            leading += 1;
        } else if let Some(digit) = digits.get_mut(count) {
            *digit = byte;
            count += 1;
        }
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
    }
    let point = whole.len() as i32 - leading + exponent;
    lay_out(out, negative, digits.get(..count).unwrap_or_default(), point - 1, digits_fixed);
}

/// C's `%.*g`: `digits` significant digits without zeros at the end.
#[cold]
fn push_digits(out: &mut Vec<u8>, value: f64, digits_base: i32, extra: i8) {
    let wanted = (digits_base + i32::from(extra)).max(1);
    let text = format!("{:.*e}", (wanted - 1) as usize, value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let end = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    lay_out(out, value < 0.0, digits.get(..end).unwrap_or_default(), exponent.parse().unwrap_or(0), wanted);
}

/// `d.ddde+xx` when the exponent is below -4 or at least `digits_fixed`, else plain.
fn lay_out(out: &mut Vec<u8>, negative: bool, digits: &[u8], exponent: i32, digits_fixed: i32) {
    if negative {
        out.push(b'-');
    }
    if !(-4..digits_fixed).contains(&exponent) {
        let (first, rest) = digits.split_at(digits.len().min(1));
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.abs() < 10 {
            out.push(b'0');
        }
        return push_i64(out, i64::from(exponent.abs()));
    }
    let Ok(point) = usize::try_from(exponent + 1) else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        return out.extend_from_slice(digits);
    };
    if point == 0 {
        out.extend_from_slice(b"0.");
        return out.extend_from_slice(digits);
    }
    let (whole, fraction) = digits.split_at(point.min(digits.len()));
    out.extend_from_slice(whole);
    out.extend(std::iter::repeat_n(b'0', point - whole.len()));
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}
