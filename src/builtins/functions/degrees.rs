//! Trigonometry in degrees: exact where a sine, a cosine or a tangent is 0, 1/2 or 1, and digit for digit PostgreSQL's
//! elsewhere. Each function is reduced to the first quadrant and scaled there by the library's own value at 30, 45 or 60
//! degrees, so that the library's rounding cancels.

use arrow::array::ArrayRef;
use arrow::datatypes::Float64Type;

use super::Function;
use super::build::scalar;
use super::kernel::{Call, some};
use super::math::{each, finite, within_one};
use crate::error::Result;

const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

fn sine_to_30(degrees: f64) -> f64 {
    (degrees * RADIANS_PER_DEGREE).sin() / (30.0 * RADIANS_PER_DEGREE).sin() / 2.0
}

fn cosine_to_60(degrees: f64) -> f64 {
    let unit = 1.0 - (60.0 * RADIANS_PER_DEGREE).cos();
    1.0 - (1.0 - (degrees * RADIANS_PER_DEGREE).cos()) / unit / 2.0
}

/// Of 0 to 90 degrees.
fn first_quadrant_sine(degrees: f64) -> f64 {
    if degrees <= 30.0 { sine_to_30(degrees) } else { cosine_to_60(90.0 - degrees) }
}

/// Of 0 to 90 degrees.
fn first_quadrant_cosine(degrees: f64) -> f64 {
    if degrees <= 60.0 { cosine_to_60(degrees) } else { sine_to_30(90.0 - degrees) }
}

/// An angle as one of the first quadrant, with the signs of its sine and its cosine.
fn reduced(degrees: f64) -> (f64, f64, f64) {
    let angle = degrees % 360.0;
    let (angle, sine) = if angle < 0.0 { (-angle, -1.0) } else { (angle, 1.0) };
    let (angle, sine) = if angle > 180.0 { (360.0 - angle, -sine) } else { (angle, sine) };
    if angle > 90.0 { (180.0 - angle, sine, -1.0) } else { (angle, sine, 1.0) }
}

fn sine(degrees: f64) -> f64 {
    let (angle, sign, _) = reduced(degrees);
    sign * first_quadrant_sine(angle)
}

fn cosine(degrees: f64) -> f64 {
    let (angle, _, sign) = reduced(degrees);
    sign * first_quadrant_cosine(angle)
}

/// Minus zero is shown as zero.
fn plain_zero(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value }
}

fn tangent(degrees: f64) -> f64 {
    let (angle, sine, cosine) = reduced(degrees);
    let of = |angle: f64| first_quadrant_sine(angle) / first_quadrant_cosine(angle);
    plain_zero(sine * cosine * (of(angle) / of(45.0)))
}

fn cotangent(degrees: f64) -> f64 {
    let (angle, sine, cosine) = reduced(degrees);
    let of = |angle: f64| first_quadrant_cosine(angle) / first_quadrant_sine(angle);
    plain_zero(sine * cosine * (of(angle) / of(45.0)))
}

/// Of 0 to 1.
fn first_quadrant_arcsine(value: f64) -> f64 {
    if value <= 0.5 { value.asin() / 0.5_f64.asin() * 30.0 } else { 90.0 - value.acos() / 0.5_f64.acos() * 60.0 }
}

/// Of 0 to 1.
fn first_quadrant_arccosine(value: f64) -> f64 {
    if value <= 0.5 { 90.0 - value.asin() / 0.5_f64.asin() * 30.0 } else { value.acos() / 0.5_f64.acos() * 60.0 }
}

fn arcsine(value: f64) -> f64 {
    if value >= 0.0 { first_quadrant_arcsine(value) } else { -first_quadrant_arcsine(-value) }
}

fn arccosine(value: f64) -> f64 {
    if value >= 0.0 { first_quadrant_arccosine(value) } else { 90.0 + first_quadrant_arcsine(-value) }
}

/// Radians of an arctangent in degrees.
fn of_arctangent(radians: f64) -> f64 {
    radians / 1.0_f64.atan() * 45.0
}

fn sind(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(sine(finite(value)?)))
}
fn cosd(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(cosine(finite(value)?)))
}
fn tand(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(tangent(finite(value)?)))
}
fn cotd(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(cotangent(finite(value)?)))
}
fn asind(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(arcsine(within_one(value)?)))
}
fn acosd(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(arccosine(within_one(value)?)))
}
fn atand(call: &Call) -> Result<ArrayRef> {
    each(call, |value| Ok(of_arctangent(value.atan())))
}
fn atan2d(call: &Call) -> Result<ArrayRef> {
    let (y, x) = (call.float(0)?, call.float(1)?);
    call.values::<Float64Type>(|row| Ok(Some(of_arctangent(some!(y.get(row)).atan2(some!(x.get(row)))))))
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(2735, "sind(float8) float8", sind),
        scalar(2736, "cosd(float8) float8", cosd),
        scalar(2737, "tand(float8) float8", tand),
        scalar(2738, "cotd(float8) float8", cotd),
        scalar(2731, "asind(float8) float8", asind),
        scalar(2732, "acosd(float8) float8", acosd),
        scalar(2733, "atand(float8) float8", atand),
        scalar(2734, "atan2d(float8, float8) float8", atan2d),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exact at the angles that every table has, and PostgreSQL's digits between them.
    #[test]
    fn degrees_give_the_digits_of_postgresql() {
        for (degrees, expected) in [(30.0, 0.5), (150.0, 0.5), (-30.0, -0.5), (180.0, 0.0), (1.0, 0.017452406437283515)]
        {
            assert_eq!(sine(degrees), expected, "sind({degrees})");
        }
        for (degrees, expected) in [(60.0, 0.5), (90.0, 0.0), (180.0, -1.0), (1e308, 0.43837114678907746)] {
            assert_eq!(cosine(degrees), expected, "cosd({degrees})");
        }
        for (degrees, expected) in [(45.0, 1.0), (135.0, -1.0), (225.0, 1.0), (1.0, 0.01745506492821759)] {
            assert_eq!(tangent(degrees), expected, "tand({degrees})");
        }
        assert_eq!(cotangent(1.0), 57.28996163075942);
        assert_eq!(cotangent(0.0), f64::INFINITY);
        assert_eq!((arcsine(0.5), arcsine(-1.0), arccosine(0.5), arccosine(-0.5)), (30.0, -90.0, 60.0, 120.0));
        assert_eq!(of_arctangent(0.5_f64.atan()), 26.565051177077986);
    }
}
