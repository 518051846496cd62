//! `e^x` that becomes vector instructions, and is the same on every machine.

/// Within 3e-7 of `e^x` for `x` in ±87, clamped beyond. Cephes' polynomial after a reduction to ±ln 2 / 2.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it leaves the nearest whole number in the low bits
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let mut polynomial = 1.987_569_1e-4;
    for factor in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        polynomial = polynomial * rest + factor;
    }
    let power = f32::from_bits((shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23);
    (polynomial * rest * rest + rest + 1.0) * power
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_is_close_to_the_library_s() {
        for step in -8800..8800 {
            let x = step as f32 / 100.0;
            let (fast, exact) = (f64::from(super::exp(x)), f64::from(x.clamp(-87.0, 87.0)).exp());
            assert!((fast / exact - 1.0).abs() < 3e-7, "{x} {fast} {exact}");
        }
    }
}
