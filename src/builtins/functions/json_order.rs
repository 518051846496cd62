//! The order of jsonb: a key of bytes for each document whose order is that of the documents.
//!
//! null < string < number < boolean < array < object; the longer array or object is the greater one, and equally long ones
//! compare part by part. An array without items comes before every scalar, which counts as an array of one.
//!
//! ```text
//! document  = array mark, number of items, 1          (array)    items …
//!           | array mark, 1, 0, value                 (scalar)
//!           | object                                  (object)
//! value     = kind, then: text and a zero byte | number | 0 or 1 | number of parts and the parts
//! ```

use arrow::array::ArrayRef;

use super::json_text::{self, Kind, items, members, unescape};
use super::kernel::{Call, some};
use crate::error::Result;

const NULL: u8 = 0;
const STRING: u8 = 1;
const NUMBER: u8 = 2;
const BOOLEAN: u8 = 3;
const ARRAY: u8 = 4;
const OBJECT: u8 = 5;

/// Of a number's key: less than zero, zero, more.
const NEGATIVE: u8 = 0;
const ZERO: u8 = 1;
const POSITIVE: u8 = 2;

/// The keys of jsonb documents.
pub fn sort_key(call: &Call) -> Result<ArrayRef> {
    let documents = call.text(0)?;
    call.byte_strings(|row, out| {
        write_document(some!(documents.get(row)).trim(), out);
        Ok(Some(()))
    })
}

fn write_document(document: &str, out: &mut Vec<u8>) {
    match json_text::kind(document) {
        Kind::Object => write_value(document, out),
        Kind::Array => {
            out.push(ARRAY);
            write_count(items(document).count(), out);
            out.push(1);
            items(document).for_each(|item| write_value(item, out));
        }
        Kind::Null | Kind::Boolean | Kind::Number | Kind::String => {
            out.push(ARRAY);
            write_count(1, out);
            out.push(0);
            write_value(document, out);
        }
    }
}

fn write_count(count: usize, out: &mut Vec<u8>) {
    // A document is a value of at most 1 GB.
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn write_value(value: &str, out: &mut Vec<u8>) {
    match json_text::kind(value) {
        Kind::Null => out.push(NULL),
        Kind::Boolean => out.extend_from_slice(&[BOOLEAN, u8::from(value == "true")]),
        Kind::Number => {
            out.push(NUMBER);
            write_number(value, out);
        }
        Kind::String => write_text(value.get(1..value.len().saturating_sub(1)).unwrap_or_default(), out),
        Kind::Array => {
            out.push(ARRAY);
            write_count(items(value).count(), out);
            items(value).for_each(|item| write_value(item, out));
        }
        Kind::Object => {
            out.push(OBJECT);
            write_count(members(value).count(), out);
            for (key, value) in members(value) {
                write_text(key, out);
                write_value(value, out);
            }
        }
    }
}

/// jsonb has no NUL in its strings, so that a zero byte ends one and a prefix comes first.
fn write_text(raw: &str, out: &mut Vec<u8>) {
    out.push(STRING);
    out.extend_from_slice(unescape(raw).as_bytes());
    out.push(0);
}

/// Sign, the exponent of the first digit, the digits without the zeros around them; all inverted below zero.
fn write_number(text: &str, out: &mut Vec<u8>) {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let Some(first) = digits().position(|digit| digit != b'0') else {
        out.push(ZERO);
        return;
    };
    let last = digits().enumerate().filter(|(_, digit)| *digit != b'0').last().map_or(first, |(at, _)| at);
    let exponent = exponent.parse::<i64>().unwrap_or(0) + whole.len() as i64 - first as i64;
    out.push(if negative { NEGATIVE } else { POSITIVE });
    let from = out.len();
    // The top bit turned, signed numbers are in the order of their bytes.
    out.extend_from_slice(&(exponent ^ i64::MIN).to_be_bytes());
    out.extend(digits().skip(first).take(last + 1 - first));
    out.push(0);
    if negative {
        out.iter_mut().skip(from).for_each(|byte| *byte = !*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(document: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_document(document, &mut out);
        out
    }

    /// As PostgreSQL sorts them.
    #[test]
    fn keys_sort_as_jsonb_does() {
        let ascending = [
            "[]",
            "null",
            r#""""#,
            r#""a""#,
            r#""a b""#,
            r#""b""#,
            "-1e10",
            "-2.5",
            "-2",
            "-0.25",
            "0",
            "0.001",
            "0.01",
            "1",
            "1.05",
            "1.5",
            "2",
            "10",
            "1e300",
            "false",
            "true",
            "[null]",
            "[1]",
            "[1, 2]",
            "[1, 3]",
            "{}",
            r#"{"a": 1}"#,
            r#"{"a": 2}"#,
            r#"{"b": 1}"#,
            r#"{"a": 1, "b": 1}"#,
            r#"{"a": 1, "b": [1]}"#,
        ];
        for pair in ascending.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn equal_documents_have_one_key() {
        for (left, right) in [("1.0", "1"), ("0.0", "-0"), ("100", "1e2"), (r#"{"a": 1.50}"#, r#"{"a": 1.5}"#)] {
            assert_eq!(key(left), key(right), "{left} = {right}");
        }
    }
}
