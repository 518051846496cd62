//! From a field's span to its value's bytes: the NULL marker, quotes and escapes.

use super::index::Span;
use super::options::{Format, Options};
use crate::encode::input;
use crate::error::Result;

/// How the fields of one column are read.
pub(super) struct FieldReader<'a> {
    options: &'a Options,
    null: &'a [u8],
    nulls: &'a [String],
    force_null: bool,
    force_not_null: bool,
}

impl<'a> FieldReader<'a> {
    pub(super) fn new(options: &'a Options, column: usize) -> Self {
        Self {
            options,
            null: options.null.as_bytes(),
            nulls: &options.nulls,
            force_null: options.force_null.contains(&column),
            force_not_null: options.force_not_null.contains(&column),
        }
    }

    #[inline]
    fn is_null(&self, raw: &[u8]) -> bool {
        raw == self.null || (!self.nulls.is_empty() && self.nulls.iter().any(|null| null.as_bytes() == raw))
    }

    /// The value's bytes, in `bytes` or in `scratch`; `None` is NULL. In text and csv they are UTF-8 where `bytes` are.
    ///
    /// Errors: 22021 when an escape spells what is not UTF-8.
    #[inline]
    pub(super) fn value<'b>(&self, bytes: &'b [u8], span: Span, scratch: &'b mut Vec<u8>) -> Result<Option<&'b [u8]>> {
        let Some(raw) = span.of(bytes) else { return Ok(None) };
        match self.options.format {
            Format::Binary => Ok(Some(raw)),
            Format::Csv if !span.is_dirty() => {
                Ok(if self.is_null(raw) && !self.force_not_null { None } else { Some(raw) })
            }
            Format::Csv => {
                unquote(raw, self.options.quote, self.options.escape, scratch);
                Ok(if self.force_null && self.is_null(scratch) { None } else { Some(scratch) })
            }
            Format::Text if raw == self.null => Ok(None),
            Format::Text if !span.is_dirty() => Ok(Some(raw)),
            Format::Text => {
                if unescape(raw, scratch) {
                    input::utf8(scratch)?;
                }
                Ok(Some(scratch))
            }
        }
    }
}

/// Takes csv's quotes away; they may also stand in the middle of a field.
pub(super) fn unquote(raw: &[u8], quote: u8, escape: u8, out: &mut Vec<u8>) {
    out.clear();
    let mut in_quote = false;
    let mut rest = raw.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if in_quote
            && byte == escape
            && let Some(protected) = rest.next_if(|next| *next == quote || *next == escape)
        {
            out.push(protected);
            continue;
        }
        if byte == quote {
            in_quote = !in_quote;
        } else {
            out.push(byte);
        }
    }
}

/// Resolves text's backslashes. Whether a byte was spelled that can break UTF-8: one above ASCII, or NUL.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let mut spelled = false;
    let mut rest = raw.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(byte) = rest.next() else { break };
        let value = match byte {
            b'0'..=b'7' => {
                let mut value = byte & 7;
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(|next| matches!(next, b'0'..=b'7')) else { break };
                    // PostgreSQL masks the result to one byte.
                    value = (value << 3) | (digit & 7);
                }
                spelled |= value == 0 || !value.is_ascii();
                value
            }
            b'x' => match hex(&mut rest) {
                Some(value) => {
                    spelled |= value == 0 || !value.is_ascii();
                    value
                }
                None => b'x',
            },
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            other => other,
        };
        out.push(value);
    }
    spelled
}

fn hex(rest: &mut std::iter::Peekable<impl Iterator<Item = u8>>) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut value = digit(rest.next_if(u8::is_ascii_hexdigit)?)?;
    if let Some(low) = rest.next_if(u8::is_ascii_hexdigit).and_then(digit) {
        value = (value << 4) | low;
    }
    Some(value)
}
