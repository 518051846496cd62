//! Where text records end: at a line end that no backslash precedes. `\.` ends the data wherever it stands.

use memchr::{memchr, memmem, memrchr};

use super::{Cut, Newline, Pending, bad_format, count, newline_at};
use crate::error::Result;

#[derive(Debug, Default)]
pub(super) struct Scanner {
    pub(super) newline: Newline,
}

impl Scanner {
    /// The end of the last whole record; at the end of the data, everything.
    pub(super) fn cut(&mut self, pending: &mut Pending, at_end: bool) -> Result<Cut> {
        let bytes: &[u8] = &pending.bytes;
        if self.newline == Newline::Unknown {
            self.newline = first_newline(bytes, pending.scanned.saturating_sub(1), at_end);
        }
        let end = if at_end { bytes.len() } else { last_line_end(bytes, pending.scanned, self.newline) };
        let records = bytes.get(..end).unwrap_or_default();
        if let Some(marker) = end_marker(records) {
            self.check_marker(records, marker)?;
            return Ok(Cut::End(marker));
        }
        // The style may hang on the byte after a `\r`: until it is known every byte is looked at again from the last one.
        pending.scanned = if self.newline == Newline::Unknown { bytes.len().saturating_sub(1) } else { bytes.len() };
        Ok(if end == 0 { Cut::None } else { Cut::At(end) })
    }

    /// What follows `\.` must be a line end of the style of the lines before it.
    fn check_marker(&self, bytes: &[u8], marker: usize) -> Result<()> {
        let after = bytes.get(marker + 2..).unwrap_or_default();
        match (self.newline, after) {
            (Newline::CrLf, [b'\r', b'\n', ..]) | (Newline::Cr, [b'\r', ..]) => Ok(()),
            (Newline::Lf | Newline::Unknown, [b'\n', ..]) => Ok(()),
            (_, [b'\r' | b'\n', ..]) => Err(bad_format("end-of-copy marker does not match previous newline style")),
            (_, _) => Err(bad_format("end-of-copy marker corrupt")),
        }
    }
}

/// The style of the first line end in `bytes[start..]` that is not data of a field.
fn first_newline(bytes: &[u8], start: usize, at_end: bool) -> Newline {
    let unseen = bytes.get(start..).unwrap_or_default();
    let first = memchr::memchr2_iter(b'\r', b'\n', unseen).map(|at| at + start).find(|at| !is_escaped(bytes, *at));
    first.and_then(|at| newline_at(bytes, at, at_end)).unwrap_or_default()
}

/// The byte after the last line end in `bytes[start..]` that no backslash precedes, or 0.
fn last_line_end(bytes: &[u8], start: usize, newline: Newline) -> usize {
    // While the style is unknown no line has ended.
    if newline == Newline::Unknown {
        return 0;
    }
    let mut rest = bytes.get(start..).unwrap_or_default();
    while let Some(at) = memrchr(newline.last_byte(), rest) {
        if !is_escaped(bytes, start + at) {
            return start + at + 1;
        }
        rest = rest.get(..at).unwrap_or_default();
    }
    0
}

/// Whether the byte follows an odd number of backslashes.
fn is_escaped(bytes: &[u8], at: usize) -> bool {
    bytes.get(..at).unwrap_or_default().iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Where the first `\.` stands whose backslash is not itself escaped.
pub(super) fn end_marker(bytes: &[u8]) -> Option<usize> {
    memchr(b'\\', bytes)?;
    memmem::find_iter(bytes, b"\\.").find(|at| !is_escaped(bytes, *at))
}

/// Records in `bytes`: line ends that no backslash precedes.
pub(in crate::encode::copy) fn lines(bytes: &[u8], newline: Newline) -> u64 {
    let line_end = newline.counted_byte();
    let escaped = memmem::find_iter(bytes, &[b'\\', line_end]).filter(|at| is_escaped(bytes, at + 1)).count();
    (count(line_end, bytes) - escaped) as u64
}
