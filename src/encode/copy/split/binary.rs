//! Where binary tuples end: the header is taken off, each tuple is walked by its counts, the trailer ends the data.

use bytes::Buf;

use super::{Cut, Pending, bad_format};
use crate::error::{Error, Result, SqlState};

pub(in crate::encode::copy) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and length of the extension.
const HEADER_BYTES: usize = SIGNATURE.len() + 8;

#[derive(Debug, Default)]
pub(super) struct Scanner {
    header_seen: bool,
    /// Tuples passed since somebody asked.
    pub(super) records: u64,
}

impl Scanner {
    /// The end of the last whole tuple. `Pending::scanned` is always the beginning of a tuple.
    pub(super) fn cut(&mut self, pending: &mut Pending, at_end: bool) -> Result<Cut> {
        if !self.header_seen {
            let Some(length) = header_length(&pending.bytes, at_end)? else { return Ok(Cut::None) };
            pending.bytes.advance(length);
            pending.scanned = 0;
            self.header_seen = true;
        }
        let bytes: &[u8] = &pending.bytes;
        let mut at = pending.scanned;
        loop {
            match tuple(bytes, at) {
                Tuple::Whole(end) => {
                    at = end;
                    self.records += 1;
                }
                Tuple::Trailer => {
                    // PostgreSQL reads on after the trailer only to refuse what it finds.
                    if bytes.len() > at + 2 {
                        return Err(bad_format("received copy data after EOF marker"));
                    }
                    pending.bytes.truncate(at);
                    return Ok(Cut::End(at));
                }
                Tuple::Unfinished => break,
                Tuple::BadSize => return Err(bad_format("invalid field size")),
            }
        }
        pending.scanned = at;
        // A tuple that is cut off at the end of the data goes to the decoder, which names line and column.
        let end = if at_end { bytes.len() } else { at };
        Ok(if end == 0 { Cut::None } else { Cut::At(end) })
    }
}

/// Bytes of the header, `None` when it has not arrived whole.
fn header_length(bytes: &[u8], at_end: bool) -> Result<Option<usize>> {
    let signature = bytes.get(..SIGNATURE.len().min(bytes.len())).unwrap_or_default();
    if !SIGNATURE.starts_with(signature) || (at_end && signature.len() < SIGNATURE.len()) {
        return Err(bad_format("COPY file signature not recognized"));
    }
    let Some(flags) = int4(bytes, SIGNATURE.len()) else {
        return unless_ended(at_end, "invalid COPY file header (missing flags)");
    };
    if flags & (1 << 16) != 0 {
        return Err(bad_format("invalid COPY file header (WITH OIDS)"));
    }
    // The upper half of the flags is critical: who does not know a bit must refuse.
    if (flags as u32) >> 16 != 0 {
        return Err(bad_format("unrecognized critical flags in COPY file header"));
    }
    let Some(extension) = int4(bytes, SIGNATURE.len() + 4) else {
        return unless_ended(at_end, "invalid COPY file header (missing length)");
    };
    let Ok(extension) = usize::try_from(extension) else {
        return Err(bad_format("invalid COPY file header (missing length)"));
    };
    let length = HEADER_BYTES + extension;
    if bytes.len() < length {
        return unless_ended(at_end, "invalid COPY file header (wrong length)");
    }
    Ok(Some(length))
}

fn unless_ended(at_end: bool, message: &str) -> Result<Option<usize>> {
    if at_end { Err(bad_format(message)) } else { Ok(None) }
}

enum Tuple {
    Whole(usize),
    Trailer,
    Unfinished,
    BadSize,
}

fn tuple(bytes: &[u8], start: usize) -> Tuple {
    let Some(count) = int2(bytes, start) else { return Tuple::Unfinished };
    if count == -1 {
        return Tuple::Trailer;
    }
    let mut at = start + 2;
    for _ in 0..count.max(0) {
        match int4(bytes, at) {
            None => return Tuple::Unfinished,
            Some(-1) => at += 4,
            Some(length) => match usize::try_from(length) {
                Ok(length) => at += 4 + length,
                Err(_) => return Tuple::BadSize,
            },
        }
    }
    if at <= bytes.len() { Tuple::Whole(at) } else { Tuple::Unfinished }
}

pub(in crate::encode::copy) fn int2(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(in crate::encode::copy) fn int4(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What a tuple that does not end is answered with.
pub(in crate::encode::copy) fn unexpected_end() -> Error {
    Error::new(SqlState::BadCopyFileFormat, "unexpected EOF in COPY data")
}
