//! Numbers: numeric's base 10,000 digits, and floats in the shortest text that gives them back.

use bytes::{Buf, Bytes};

pub(super) fn numeric(body: &mut Bytes) -> Result<String, String> {
    if body.remaining() < 8 {
        return Err("a numeric of less than 8 bytes".to_owned());
    }
    let (count, weight, sign, scale) = (body.get_u16(), body.get_i16(), body.get_u16(), body.get_u16());
    match sign {
        0xC000 => return Ok("NaN".to_owned()),
        0xD000 => return Ok("Infinity".to_owned()),
        0xF000 => return Ok("-Infinity".to_owned()),
        0 | 0x4000 => {}
        _ => return Err(format!("sign {sign:x} of a numeric")),
    }
    if body.remaining() < 2 * usize::from(count) {
        return Err("a numeric with fewer digits than it says".to_owned());
    }
    let digits: Vec<i16> = (0..count).map(|_| body.get_i16()).collect();
    if digits.iter().any(|digit| !(0..10_000).contains(digit)) {
        return Err(format!("digits {digits:?} of a numeric"));
    }
    let digit = |place: i32| usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
    let weight = i32::from(weight);
    let mut text = if sign == 0x4000 { "-".to_owned() } else { String::new() };
    if weight < 0 {
        text.push('0');
    } else {
        text.push_str(&digit(0).to_string());
        (1..=weight).for_each(|place| text.push_str(&format!("{:04}", digit(place))));
    }
    let mut fraction = String::new();
    let mut place = weight + 1;
    while fraction.len() < usize::from(scale) {
        fraction.push_str(&format!("{:04}", digit(place)));
        place += 1;
    }
    fraction.truncate(usize::from(scale));
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(&fraction);
    }
    Ok(text)
}

pub(super) fn float8(value: f64) -> String {
    if value.is_finite() { shortest(&format!("{value:e}"), 15) } else { special(value) }
}

pub(super) fn float4(value: f32) -> String {
    if value.is_finite() { shortest(&format!("{value:e}"), 6) } else { special(f64::from(value)) }
}

fn special(value: f64) -> String {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
    .to_owned()
}

/// From Rust's shortest digits in scientific form to PostgreSQL's choice between plain and scientific.
fn shortest(scientific: &str, plain_digits: i32) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap();
    let exponent: i32 = exponent.parse().unwrap();
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    if exponent < -4 || exponent >= plain_digits {
        let side = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{side}{:02}", exponent.abs());
    }
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap());
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = usize::try_from(exponent).unwrap() + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits}{}", "0".repeat(whole - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_postgresql_does() {
        for (value, text) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.5e300, "1.5e+300"),
        ] {
            assert_eq!(float8(value), text);
        }
        assert_eq!(float4(1e6), "1e+06");
        assert_eq!(float4(0.1), "0.1");
    }
}
