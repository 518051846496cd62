//! Hashes of rows by their values alone: the same on every machine, in every version.

/// Odd constants from the digits of the golden ratio and of π.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const PI: u64 = 0x243F_6A88_85A3_08D3;

/// The two halves of the product, folded.
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The hash that a row starts with.
pub(super) fn start(seed: u64) -> u64 {
    folded(seed ^ PI, GOLDEN)
}

/// The hash with another value.
pub(super) fn with(hash: u64, value: u64) -> u64 {
    folded(hash ^ value ^ PI, GOLDEN ^ hash.rotate_left(29))
}

/// A number's value: zeros are one, and so are NaNs.
pub(super) fn of_number(number: f64) -> u64 {
    if number == 0.0 {
        0
    } else if number.is_nan() {
        u64::MAX
    } else {
        number.to_bits()
    }
}

/// A text's value.
pub(super) fn of_text(text: &str) -> u64 {
    let mut hash = start(text.len() as u64);
    for chunk in text.as_bytes().chunks(8) {
        let mut word = [0_u8; 8];
        for (place, byte) in word.iter_mut().zip(chunk) {
            *place = *byte;
        }
        hash = with(hash, u64::from_le_bytes(word));
    }
    hash
}

/// A number from 0 to below 1 that is as good as independent of the order of hashes.
pub(super) fn share(hash: u64) -> f64 {
    (with(hash, GOLDEN) >> 11) as f64 / (1_u64 << 53) as f64
}
