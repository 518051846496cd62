//! Functions of bytea: encodings, single bytes and bits, parts.

use arrow::array::ArrayRef;
use arrow::datatypes::Int32Type;
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Function;
use super::build::scalar;
use super::kernel::{Call, some};
use crate::encode::input;
use crate::encode::text::push_bytea;
use crate::error::{Error, Result, SqlState};

/// Takes base 64 with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn unknown_encoding(name: &str) -> Error {
    Error::new(SqlState::InvalidParameterValue, format!("unrecognized encoding: \"{name}\""))
}

/// `encode(bytea, format)`.
fn encode(call: &Call) -> Result<ArrayRef> {
    let (values, formats) = (call.bytes(0)?, call.text(1)?);
    let mut written = Vec::new();
    call.texts(|row, out| {
        let (bytes, format) = (some!(values.get(row)), some!(formats.get(row)));
        written.clear();
        match format.to_ascii_lowercase().as_str() {
            "hex" => {
                push_bytea(&mut written, bytes, true);
                out.push_str(input::utf8(written.get(2..).unwrap_or_default())?);
            }
            "base64" => {
                let text = BASE64.encode(bytes);
                // Lines of 76 characters, as MIME has them.
                for (at, c) in text.chars().enumerate() {
                    if at > 0 && at % 76 == 0 {
                        out.push('\n');
                    }
                    out.push(c);
                }
            }
            "escape" => {
                for byte in bytes {
                    match byte {
                        b'\\' => out.push_str("\\\\"),
                        0 | 0x80.. => out.push_str(&format!("\\{byte:03o}")),
                        plain => out.push(char::from(*plain)),
                    }
                }
            }
            _ => return Err(unknown_encoding(format)),
        }
        Ok(Some(()))
    })
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidParameterValue, message)
}

fn decode_hex(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut high: Option<u8> = None;
    for c in text.chars().filter(|c| !c.is_ascii_whitespace()) {
        let digit = c.to_digit(16).ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")))? as u8;
        match high.take() {
            Some(high) => out.push(high << 4 | digit),
            None => high = Some(digit),
        }
    }
    if high.is_some() { Err(invalid("invalid hexadecimal data: odd number of digits")) } else { Ok(()) }
}

/// `decode(text, format)`.
fn decode(call: &Call) -> Result<ArrayRef> {
    let (texts, formats) = (call.text(0)?, call.text(1)?);
    call.byte_strings(|row, out| {
        let (text, format) = (some!(texts.get(row)), some!(formats.get(row)));
        match format.to_ascii_lowercase().as_str() {
            "hex" => decode_hex(text, out)?,
            "base64" => {
                let plain: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
                let bytes = BASE64.decode(plain.as_bytes()).map_err(|error| match error {
                    base64::DecodeError::InvalidByte(at, _) => {
                        let shown = plain.get(at..).and_then(|rest| rest.chars().next()).unwrap_or('?');
                        invalid(format!("invalid symbol \"{shown}\" found while decoding base64 sequence"))
                    }
                    _ => invalid("invalid base64 end sequence")
                        .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted."),
                })?;
                out.extend_from_slice(&bytes);
            }
            "escape" => decode_escape(text, out)?,
            _ => return Err(unknown_encoding(format)),
        }
        Ok(Some(()))
    })
}

fn decode_escape(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'\\', [b'\\', tail @ ..]) => {
                out.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => {
                return Err(Error::new(
                    SqlState::InvalidTextRepresentation,
                    "invalid input syntax for type bytea",
                ));
            }
            (plain, tail) => {
                out.push(*plain);
                tail
            }
        };
    }
    Ok(())
}

fn check_utf8(name: &str, verb: &str) -> Result<()> {
    if matches!(name.to_ascii_uppercase().as_str(), "UTF8" | "UTF-8" | "UNICODE") {
        return Ok(());
    }
    Err(Error::unsupported(format!("{verb} the encoding \"{name}\"")))
}

fn convert_from(call: &Call) -> Result<ArrayRef> {
    let (values, names) = (call.bytes(0)?, call.text(1)?);
    call.slices(|row| {
        let (bytes, name) = (some!(values.get(row)), some!(names.get(row)));
        check_utf8(name, "converting from")?;
        input::utf8(bytes).map(Some)
    })
}

fn convert_to(call: &Call) -> Result<ArrayRef> {
    let (values, names) = (call.text(0)?, call.text(1)?);
    call.byte_strings(|row, out| {
        let (text, name) = (some!(values.get(row)), some!(names.get(row)));
        check_utf8(name, "converting to")?;
        out.extend_from_slice(text.as_bytes());
        Ok(Some(()))
    })
}

/// The place of an index, or 2202E.
fn place(index: i64, length: usize) -> Result<usize> {
    usize::try_from(index).ok().filter(|at| *at < length).ok_or_else(|| {
        let message = format!("index {index} out of valid range, 0..{}", length as i64 - 1);
        Error::new(SqlState::ArraySubscriptError, message)
    })
}

fn get_byte(call: &Call) -> Result<ArrayRef> {
    let (values, indexes) = (call.bytes(0)?, call.int(1)?);
    call.values::<Int32Type>(|row| {
        let (bytes, index) = (some!(values.get(row)), some!(indexes.get(row)));
        Ok(bytes.get(place(index, bytes.len())?).map(|byte| i32::from(*byte)))
    })
}

fn get_bit(call: &Call) -> Result<ArrayRef> {
    let (values, indexes) = (call.bytes(0)?, call.int(1)?);
    call.values::<Int32Type>(|row| {
        let (bytes, index) = (some!(values.get(row)), some!(indexes.get(row)));
        let at = place(index, bytes.len() * 8)?;
        Ok(bytes.get(at / 8).map(|byte| i32::from(byte >> (at % 8) & 1)))
    })
}

fn set_byte(call: &Call) -> Result<ArrayRef> {
    let (values, indexes, new) = (call.bytes(0)?, call.int(1)?, call.int(2)?);
    call.byte_strings(|row, out| {
        let (bytes, index, new) = (some!(values.get(row)), some!(indexes.get(row)), some!(new.get(row)));
        out.extend_from_slice(bytes);
        if let Some(byte) = out.get_mut(place(index, bytes.len())?) {
            *byte = new as u8;
        }
        Ok(Some(()))
    })
}

fn set_bit(call: &Call) -> Result<ArrayRef> {
    let (values, indexes, new) = (call.bytes(0)?, call.int(1)?, call.int(2)?);
    call.byte_strings(|row, out| {
        let (bytes, index, new) = (some!(values.get(row)), some!(indexes.get(row)), some!(new.get(row)));
        if !matches!(new, 0 | 1) {
            return Err(invalid("new bit must be 0 or 1"));
        }
        let at = place(index, bytes.len() * 8)?;
        out.extend_from_slice(bytes);
        if let Some(byte) = out.get_mut(at / 8) {
            *byte = *byte & !(1 << (at % 8)) | (new as u8) << (at % 8);
        }
        Ok(Some(()))
    })
}

fn position(call: &Call) -> Result<ArrayRef> {
    let (values, parts) = (call.bytes(0)?, call.bytes(1)?);
    call.values::<Int32Type>(|row| {
        let (bytes, part) = (some!(values.get(row)), some!(parts.get(row)));
        if part.is_empty() {
            return Ok(Some(1));
        }
        Ok(Some(bytes.windows(part.len()).position(|window| window == part).map_or(0, |at| at as i32 + 1)))
    })
}

fn overlay(call: &Call) -> Result<ArrayRef> {
    let (values, parts, starts) = (call.bytes(0)?, call.bytes(1)?, call.int(2)?);
    let lengths = if call.len() > 3 { Some(call.int(3)?) } else { None };
    call.byte_strings(|row, out| {
        let (bytes, part, start) = (some!(values.get(row)), some!(parts.get(row)), some!(starts.get(row)));
        let length = match &lengths {
            Some(lengths) => some!(lengths.get(row)),
            None => part.len() as i64,
        };
        if start <= 0 {
            return Err(Error::new(SqlState::SubstringError, "negative substring length not allowed"));
        }
        let at = |place: i64| usize::try_from(place.max(0)).unwrap_or(usize::MAX).min(bytes.len());
        out.extend_from_slice(bytes.get(..at(start - 1)).unwrap_or_default());
        out.extend_from_slice(part);
        out.extend_from_slice(bytes.get(at(start - 1 + length)..).unwrap_or_default());
        Ok(Some(()))
    })
}

fn trimmed(call: &Call, left: bool, right: bool) -> Result<ArrayRef> {
    let (values, sets) = (call.bytes(0)?, call.bytes(1)?);
    call.byte_strings(|row, out| {
        let (bytes, set) = (some!(values.get(row)), some!(sets.get(row)));
        let outside = |byte: &u8| !set.contains(byte);
        let from = if left { bytes.iter().position(outside).unwrap_or(bytes.len()) } else { 0 };
        let to = if right { bytes.iter().rposition(outside).map_or(from, |at| at + 1) } else { bytes.len() };
        out.extend_from_slice(bytes.get(from..to).unwrap_or_default());
        Ok(Some(()))
    })
}
fn btrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, true, true)
}
fn ltrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, true, false)
}
fn rtrim(call: &Call) -> Result<ArrayRef> {
    trimmed(call, false, true)
}

fn bits(call: &Call) -> Result<ArrayRef> {
    let values = call.bytes(0)?;
    call.values::<Int32Type>(|row| Ok(values.get(row).map(|bytes| bytes.len() as i32 * 8)))
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        scalar(1946, "encode(bytea, text) text", encode),
        scalar(1947, "decode(text, text) bytea", decode),
        scalar(1714, "convert_from(bytea, name) text", convert_from),
        scalar(1717, "convert_to(text, name) bytea", convert_to),
        scalar(721, "get_byte(bytea, int4) int4", get_byte),
        scalar(722, "set_byte(bytea, int4, int4) bytea", set_byte),
        scalar(723, "get_bit(bytea, int8) int4", get_bit),
        scalar(724, "set_bit(bytea, int8, int4) bytea", set_bit),
        scalar(2014, "position(bytea, bytea) int4", position),
        scalar(749, "overlay(bytea, bytea, int4, int4) bytea", overlay),
        scalar(752, "overlay(bytea, bytea, int4) bytea", overlay),
        scalar(2015, "btrim(bytea, bytea) bytea", btrim),
        scalar(6195, "ltrim(bytea, bytea) bytea", ltrim),
        scalar(6196, "rtrim(bytea, bytea) bytea", rtrim),
        scalar(1810, "bit_length(bytea) int4", bits),
    ]
}
