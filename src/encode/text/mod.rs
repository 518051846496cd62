//! Value to text, in PostgreSQL's output formats.
//!
//! The functions append to a `Vec<u8>` and allocate nothing else on the usual paths: COPY and the row encoder call them for
//! every value. What a type's text depends on (zone, styles) is in [`crate::encode::TextStyle`].

mod datetime;
mod float;
mod interval;
mod nested;
mod number;

pub use datetime::{ZoneCache, push_date, push_time, push_timestamp, push_timestamptz};
pub use float::{push_float4, push_float8};
pub use interval::push_interval;
pub(crate) use nested::{push_array_item, push_record_item};
pub use number::{push_decimal, push_decimal_trimmed, push_i64, push_u64};

/// `t` or `f`.
#[inline]
pub fn push_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { b't' } else { b'f' });
}

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

/// The canonical text of a uuid.
pub fn push_uuid(out: &mut Vec<u8>, bytes: &[u8; 16]) {
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        push_hexadecimal(out, *byte);
    }
}

#[inline]
fn push_hexadecimal(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(&[HEXADECIMAL[usize::from(byte >> 4)], HEXADECIMAL[usize::from(byte & 15)]]);
}

/// `bytea` in the hex or the escape format.
pub fn push_bytea(out: &mut Vec<u8>, bytes: &[u8], hex: bool) {
    if hex {
        out.reserve(2 + 2 * bytes.len());
        out.extend_from_slice(b"\\x");
        bytes.iter().for_each(|byte| push_hexadecimal(out, *byte));
        return;
    }
    for byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x20..=0x7e => out.push(*byte),
            other => {
                out.extend_from_slice(&[b'\\', b'0' + (other >> 6), b'0' + ((other >> 3) & 7), b'0' + (other & 7)]);
            }
        }
    }
}

/// Appends a short value by copying a whole block and cutting it: no call of memcpy.
#[inline]
pub(crate) fn push_block<const N: usize>(out: &mut Vec<u8>, block: &[u8; N], length: usize) {
    let end = out.len() + length.min(N);
    out.extend_from_slice(block);
    out.truncate(end);
}

/// Appends `N` zero bytes, lets `write` fill them from the start, and keeps as many as it says.
#[inline]
pub(crate) fn push_with<const N: usize>(out: &mut Vec<u8>, write: impl FnOnce(&mut [u8; N]) -> usize) {
    let start = out.len();
    out.extend_from_slice(&[0; N]);
    let Some(room) = out.last_chunk_mut::<N>() else { return };
    let length = write(room).min(N);
    out.truncate(start + length);
}
