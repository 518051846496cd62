//! Where the fields of the records stand: one pass over a chunk's bytes that gives up to a batch of rows of [`Span`]s.
//!
//! In text and csv, blocks of 64 bytes are turned into bit masks of the bytes that matter (delimiter, line ends, quote,
//! escape), so the pass costs per field, not per byte. Rules: PostgreSQL's `CopyReadLineText` and `CopyReadAttributes…`.

use super::options::{Format, Options};
use super::split::{Newline, int2, int4};

/// A field's bytes in its chunk. The top bit of `end` marks a field that must be unescaped, `start == NULL_START` a NULL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

const DIRTY: u32 = 1 << 31;
const NULL_START: u32 = u32::MAX;

impl Span {
    const NULL: Self = Self { start: NULL_START, end: 0 };

    fn new(start: usize, end: usize, dirty: bool) -> Self {
        // A chunk is under 2 GiB: one chunk and one record of at most 1 GiB - 1.
        Self { start: start as u32, end: end as u32 | if dirty { DIRTY } else { 0 } }
    }

    /// Whether quotes or escapes stand in the field.
    #[inline]
    pub(super) fn is_dirty(self) -> bool {
        self.end & DIRTY != 0
    }

    /// The field as it stands; `None` is the binary format's NULL.
    #[inline]
    pub(super) fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        if self.start == NULL_START {
            return None;
        }
        bytes.get(self.start as usize..(self.end & !DIRTY) as usize)
    }
}

/// Why the rows of a chunk end before its bytes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The row has only this many fields.
    Missing {
        fields: usize,
    },
    Extra,
    UnterminatedQuote,
    LiteralNewline,
    LiteralReturn,
    /// Binary: the tuple says another number of fields.
    FieldCount(i16),
    FieldSize,
    UnexpectedEnd,
}

/// Rows of one batch, and what stopped it.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Row by row, `columns` spans each; a last row that is cut off has fewer.
    pub(super) spans: Vec<Span>,
    /// Where each row begins and ends (without its line end); one more than whole rows when there is a fault.
    pub(super) rows: Vec<(u32, u32)>,
    pub(super) fault: Option<Fault>,
}

impl Index {
    fn clear(&mut self) {
        self.spans.clear();
        self.rows.clear();
        self.fault = None;
    }

    /// Rows without a fault.
    pub(super) fn whole_rows(&self) -> usize {
        self.rows.len() - usize::from(self.fault.is_some())
    }
}

/// Walks through one chunk.
pub(super) struct Indexer<'a> {
    bytes: &'a [u8],
    columns: usize,
    kind: Kind<'a>,
    /// Where the next record begins.
    at: usize,
}

enum Kind<'a> {
    Text(Specials<'a>, Newline, u8),
    Csv(Specials<'a>, Newline, Marks),
    Binary,
}

#[derive(Clone, Copy)]
struct Marks {
    delimiter: u8,
    quote: u8,
    escape: u8,
}

impl<'a> Indexer<'a> {
    pub(super) fn new(bytes: &'a [u8], newline: Newline, columns: usize, options: &Options) -> Self {
        let kind = match options.format {
            Format::Text => {
                let needles = [options.delimiter, b'\n', b'\r', b'\\', b'\\'];
                Kind::Text(Specials::new(bytes, needles), newline, options.delimiter)
            }
            Format::Csv => {
                let marks = Marks { delimiter: options.delimiter, quote: options.quote, escape: options.escape };
                let needles = [marks.delimiter, b'\n', b'\r', marks.quote, marks.escape];
                Kind::Csv(Specials::new(bytes, needles), newline, marks)
            }
            Format::Binary => Kind::Binary,
        };
        Self { bytes, columns, kind, at: 0 }
    }

    /// Whether all bytes have been indexed.
    pub(super) fn is_done(&self) -> bool {
        match self.kind {
            Kind::Text(..) | Kind::Csv(..) => self.at >= self.bytes.len(),
            // Fewer than two bytes cannot begin a tuple: PostgreSQL takes them for the end.
            Kind::Binary => self.at + 2 > self.bytes.len(),
        }
    }

    /// The next rows, at most `rows_max`; with a fault the walk is over.
    pub(super) fn next_rows(&mut self, rows_max: usize, index: &mut Index) {
        index.clear();
        while index.rows.len() < rows_max && index.fault.is_none() && !self.is_done() {
            let start = self.at;
            let mut row = Row { spans: &mut index.spans, columns: self.columns, fields: 0, field_start: start };
            let (end, fault) = match &mut self.kind {
                Kind::Text(specials, newline, delimiter) => {
                    text_row(self.bytes, specials, *newline, *delimiter, &mut row, &mut self.at)
                }
                Kind::Csv(specials, newline, marks) => {
                    csv_row(self.bytes, specials, *newline, *marks, &mut row, &mut self.at)
                }
                Kind::Binary => binary_row(self.bytes, &mut row, &mut self.at),
            };
            let fields = row.fields;
            index.fault = fault.or_else(|| wrong_count(fields, self.columns));
            index.rows.push((start as u32, end as u32));
        }
    }

    /// The next row with however many fields it has: the header.
    pub(super) fn next_header(&mut self, index: &mut Index) {
        let columns = std::mem::replace(&mut self.columns, usize::MAX);
        self.next_rows(1, index);
        self.columns = columns;
        if matches!(index.fault, Some(Fault::Missing { .. } | Fault::Extra)) {
            index.fault = None;
        }
    }
}

fn wrong_count(fields: usize, columns: usize) -> Option<Fault> {
    match fields.cmp(&columns) {
        std::cmp::Ordering::Less => Some(Fault::Missing { fields }),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(Fault::Extra),
    }
}

/// The row that is being read.
struct Row<'a> {
    spans: &'a mut Vec<Span>,
    columns: usize,
    fields: usize,
    field_start: usize,
}

impl Row<'_> {
    #[inline]
    fn push(&mut self, end: usize, dirty: bool) {
        if self.fields < self.columns {
            self.spans.push(Span::new(self.field_start, end, dirty));
        }
        self.fields += 1;
        self.field_start = end + 1;
    }
}

/// Whether `byte` at `at` ends the line: how many bytes the line end has, or what is wrong with it.
#[inline]
fn line_end(bytes: &[u8], at: usize, byte: u8, newline: Newline) -> Result<usize, Fault> {
    match (byte, newline) {
        (b'\n', Newline::Lf | Newline::Unknown) | (b'\r', Newline::Cr) => Ok(1),
        (b'\r', Newline::CrLf) if bytes.get(at + 1) == Some(&b'\n') => Ok(2),
        (b'\n', Newline::Cr | Newline::CrLf) => Err(Fault::LiteralNewline),
        _ => Err(Fault::LiteralReturn),
    }
}

fn text_row(
    bytes: &[u8],
    specials: &mut Specials<'_>,
    newline: Newline,
    delimiter: u8,
    row: &mut Row<'_>,
    next: &mut usize,
) -> (usize, Option<Fault>) {
    let mut dirty = false;
    // The byte after a backslash means nothing to us.
    let mut skipped = usize::MAX;
    while let Some((at, byte)) = specials.next() {
        if at < row.field_start || at == skipped {
            continue;
        }
        if byte == delimiter {
            row.push(at, dirty);
            dirty = false;
        } else if byte == b'\\' {
            dirty = true;
            skipped = at + 1;
        } else {
            return match line_end(bytes, at, byte, newline) {
                Ok(length) => {
                    row.push(at, dirty);
                    *next = at + length;
                    (at, None)
                }
                Err(fault) => (at, Some(fault)),
            };
        }
    }
    row.push(bytes.len(), dirty);
    *next = bytes.len();
    (bytes.len(), None)
}

fn csv_row(
    bytes: &[u8],
    specials: &mut Specials<'_>,
    newline: Newline,
    marks: Marks,
    row: &mut Row<'_>,
    next: &mut usize,
) -> (usize, Option<Fault>) {
    let (mut dirty, mut in_quote, mut skipped) = (false, false, usize::MAX);
    while let Some((at, byte)) = specials.next() {
        if at < row.field_start || at == skipped {
            continue;
        }
        if in_quote {
            if byte == marks.quote {
                in_quote = false;
            }
            // An escape other than the quote protects a quote or an escape behind it, and is plain data otherwise.
            if byte == marks.escape && marks.escape != marks.quote {
                in_quote = true;
                if bytes.get(at + 1).is_some_and(|after| *after == marks.quote || *after == marks.escape) {
                    skipped = at + 1;
                }
            }
        } else if byte == marks.delimiter {
            row.push(at, dirty);
            dirty = false;
        } else if byte == marks.quote {
            dirty = true;
            in_quote = true;
        } else if matches!(byte, b'\n' | b'\r') {
            return match line_end(bytes, at, byte, newline) {
                Ok(length) => {
                    row.push(at, dirty);
                    *next = at + length;
                    (at, None)
                }
                Err(fault) => (at, Some(fault)),
            };
        }
    }
    row.push(bytes.len(), dirty);
    *next = bytes.len();
    (bytes.len(), in_quote.then_some(Fault::UnterminatedQuote))
}

fn binary_row(bytes: &[u8], row: &mut Row<'_>, next: &mut usize) -> (usize, Option<Fault>) {
    let start = *next;
    let Some(count) = int2(bytes, start) else { return (bytes.len(), Some(Fault::UnexpectedEnd)) };
    let mut at = start + 2;
    if usize::try_from(count) != Ok(row.columns) {
        return (at, Some(Fault::FieldCount(count)));
    }
    for _ in 0..row.columns {
        let Some(length) = int4(bytes, at) else { return (bytes.len(), Some(Fault::UnexpectedEnd)) };
        at += 4;
        if length == -1 {
            row.spans.push(Span::NULL);
        } else {
            let Ok(length) = usize::try_from(length) else { return (at, Some(Fault::FieldSize)) };
            if length > bytes.len() - at {
                return (bytes.len(), Some(Fault::UnexpectedEnd));
            }
            row.spans.push(Span::new(at, at + length, false));
            at += length;
        }
        row.fields += 1;
    }
    *next = at;
    (at, None)
}

const BLOCK: usize = 64;

/// The positions of up to five bytes in a text, in order.
struct Specials<'a> {
    bytes: &'a [u8],
    needles: [u8; 5],
    base: usize,
    mask: u64,
}

impl<'a> Specials<'a> {
    fn new(bytes: &'a [u8], needles: [u8; 5]) -> Self {
        let mut specials = Self { bytes, needles, base: 0, mask: 0 };
        specials.mask = specials.load();
        specials
    }

    #[inline]
    fn next(&mut self) -> Option<(usize, u8)> {
        while self.mask == 0 {
            self.base += BLOCK;
            if self.base >= self.bytes.len() {
                self.base = self.bytes.len();
                return None;
            }
            self.mask = self.load();
        }
        let at = self.base + self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        self.bytes.get(at).map(|byte| (at, *byte))
    }

    #[inline]
    fn load(&self) -> u64 {
        let rest = self.bytes.get(self.base..).unwrap_or_default();
        match rest.first_chunk::<BLOCK>() {
            Some(block) => matches_of(block, self.needles),
            None => {
                let mut block = [0; BLOCK];
                block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                matches_of(&block, self.needles) & ((1 << rest.len()) - 1)
            }
        }
    }
}

/// A bit for each byte of the block that is one of the needles.
#[cfg(target_arch = "x86_64")]
#[inline]
fn matches_of(block: &[u8; BLOCK], needles: [u8; 5]) -> u64 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8};

    let mut mask = 0;
    let (quarters, _) = block.as_chunks::<16>();
    for (at, quarter) in quarters.iter().enumerate() {
        let word = i128::from_le_bytes(*quarter);
        // SSE2 is part of every x86-64; these intrinsics touch registers only.
        #[allow(unused_unsafe, reason = "which of these intrinsics are safe differs between compilers")]
        let bits = unsafe {
            let lanes = _mm_set_epi64x((word >> 64) as i64, word as i64);
            let [a, b, c, d, e] = needles.map(|needle| _mm_cmpeq_epi8(lanes, _mm_set1_epi8(needle as i8)));
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d)), e))
        };
        mask |= u64::from(bits as u16) << (16 * at);
    }
    mask
}

/// A bit for each byte of the block that is one of the needles.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn matches_of(block: &[u8; BLOCK], needles: [u8; 5]) -> u64 {
    block.iter().enumerate().fold(0, |mask, (at, byte)| mask | (u64::from(needles.contains(byte)) << at))
}
