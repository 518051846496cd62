//! Stage one of reading: pieces of any size become [`Chunk`]s that end exactly where a record ends.
//!
//! ```text
//! feed(piece) … feed(piece) finish() ─→ Chunk, Chunk, …
//! ```
//!
//! It looks only for what decides where records end — quotes, escapes, newlines, the end-of-data marker `\.`, the counts of
//! the binary format — mostly with SIMD counts over whole blocks; what stands in the fields is the decoder's business.
//! What it holds is bounded: one chunk and one record.

mod binary;
mod csv;
mod text;

use bytes::{Bytes, BytesMut};

use super::options::{Encoding, Format, Options};
pub(super) use binary::{SIGNATURE, int2, int4, unexpected_end};
pub(super) use text::lines as text_lines;

use crate::error::{Error, Result, SqlState};

/// The size a chunk is cut at; it is larger only by one record.
pub const CHUNK_BYTES: usize = 1 << 20;

/// The longest record that PostgreSQL takes: a `StringInfo` of 1 GiB - 1.
pub const RECORD_BYTES_MAX: usize = (1 << 30) - 1;

/// How the lines of the data end: the first line decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Newline {
    #[default]
    Unknown,
    Lf,
    Cr,
    CrLf,
}

impl Newline {
    /// The last byte of a line.
    fn last_byte(self) -> u8 {
        match self {
            Self::Unknown | Self::Lf | Self::CrLf => b'\n',
            Self::Cr => b'\r',
        }
    }

    /// The byte that counts lines, also inside quotes (PostgreSQL's rule: `\n` for LF files, `\r` for the others).
    pub(super) fn counted_byte(self) -> u8 {
        match self {
            Self::Unknown | Self::Lf => b'\n',
            Self::Cr | Self::CrLf => b'\r',
        }
    }
}

/// Whole records, to be decoded on their own.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// UTF-8 in text and csv, unless the client sent something else: the decoder checks.
    pub bytes: Bytes,
    /// Line of the first record, from 1; in binary the number of the tuple.
    pub first_line: u64,
    pub newline: Newline,
    /// The first record is the header.
    pub has_header: bool,
    /// The file that it comes from, for errors; `None` lets the decoder's own name stand.
    pub source: Option<std::sync::Arc<str>>,
}

/// The bytes that wait, and how far they have been looked at. No record ends in `bytes[..scanned]`.
#[derive(Debug, Default)]
struct Pending {
    bytes: BytesMut,
    scanned: usize,
}

#[derive(Debug)]
enum Scanner {
    Text(text::Scanner),
    Csv(csv::Scanner),
    Binary(binary::Scanner),
}

/// Where a scan stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// No record ends in what is there.
    None,
    /// The last record ends here.
    At(usize),
    /// The data ends here (by `\.` or the trailer); what follows, up to `skip`, is the marker.
    End(usize),
}

/// Cuts a stream of bytes into chunks of whole records.
#[derive(Debug)]
pub struct Splitter {
    pending: Pending,
    scanner: Scanner,
    encoding: Encoding,
    chunk_bytes: usize,
    record_bytes_max: usize,
    line: u64,
    header: bool,
    ended: bool,
    place: String,
}

impl Splitter {
    /// A splitter of data in this format, with the default sizes.
    pub fn new(options: &Options) -> Self {
        Self::with_sizes(options, CHUNK_BYTES, RECORD_BYTES_MAX)
    }

    /// A splitter that cuts at `chunk_bytes` and refuses records over `record_bytes_max` with 54000.
    pub fn with_sizes(options: &Options, chunk_bytes: usize, record_bytes_max: usize) -> Self {
        let scanner = match options.format {
            Format::Text => Scanner::Text(text::Scanner::default()),
            Format::Csv => Scanner::Csv(csv::Scanner::new(options.quote, options.escape)),
            Format::Binary => Scanner::Binary(binary::Scanner::default()),
        };
        let encoding = if options.format == Format::Binary { Encoding::Utf8 } else { options.encoding };
        Self {
            pending: Pending::default(),
            scanner,
            encoding,
            chunk_bytes: chunk_bytes.max(1),
            record_bytes_max: record_bytes_max.min(RECORD_BYTES_MAX),
            line: 1,
            header: options.header != super::options::Header::Absent,
            ended: false,
            place: "COPY".to_owned(),
        }
    }

    /// What opens its errors' CONTEXT, e.g. `COPY t`.
    pub fn named(mut self, place: impl Into<String>) -> Self {
        self.place = place.into();
        self
    }

    /// Takes a piece of the data; a chunk comes back whenever enough whole records are there.
    ///
    /// Errors: 22P04 for a broken frame (newline styles, end marker, binary header), 54000 for a record over the limit.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Option<Chunk>> {
        if self.ended {
            return self.after_end(piece).map(|()| None);
        }
        match self.encoding {
            Encoding::Utf8 => self.pending.bytes.extend_from_slice(piece),
            Encoding::Latin1 => extend_from_latin1(&mut self.pending.bytes, piece),
        }
        if self.pending.bytes.len() < self.chunk_bytes {
            return Ok(None);
        }
        self.cut(false)
    }

    /// Ends the data; the last chunk comes back, if any record is left.
    pub fn finish(&mut self) -> Result<Option<Chunk>> {
        if self.ended {
            return Ok(None);
        }
        let chunk = self.cut(true)?;
        self.ended = true;
        Ok(chunk)
    }

    /// Whether the data has ended by its own marker; what is fed from now on is dropped.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    fn after_end(&self, piece: &[u8]) -> Result<()> {
        // PostgreSQL drains what follows `\.`, but refuses it after the binary trailer.
        if matches!(self.scanner, Scanner::Binary(_)) && !piece.is_empty() {
            return Err(bad_format("received copy data after EOF marker"));
        }
        Ok(())
    }

    fn cut(&mut self, at_end: bool) -> Result<Option<Chunk>> {
        let cut = match &mut self.scanner {
            Scanner::Text(scanner) => scanner.cut(&mut self.pending, at_end),
            Scanner::Csv(scanner) => scanner.cut(&mut self.pending, at_end),
            Scanner::Binary(scanner) => scanner.cut(&mut self.pending, at_end),
        };
        let cut = cut.map_err(|error| self.locate(error))?;
        let end = match cut {
            Cut::None => 0,
            Cut::At(end) => end,
            Cut::End(end) => {
                self.ended = true;
                end
            }
        };
        let chunk = self.take(end);
        if self.ended {
            let rest = std::mem::take(&mut self.pending.bytes);
            self.after_end(&rest)?;
        } else if self.pending.bytes.len() > self.record_bytes_max {
            return Err(self.too_long());
        }
        Ok(chunk)
    }

    /// Only the text format's end marker fails here.
    fn locate(&self, error: Error) -> Error {
        let bytes: &[u8] = &self.pending.bytes;
        match &self.scanner {
            Scanner::Binary(_) | Scanner::Csv(_) => error,
            Scanner::Text(scanner) => {
                let before = text::end_marker(bytes).and_then(|at| bytes.get(..at)).unwrap_or_default();
                let line = self.line + text::lines(before, scanner.newline);
                error.with_context(format!("{}, line {line}", self.place))
            }
        }
    }

    fn too_long(&self) -> Error {
        Error::new(SqlState::ProgramLimitExceeded, "record of COPY data is too long")
            .with_detail(format!("A record may have {} bytes.", self.record_bytes_max))
            .with_hint("Look for a quote that is never closed.")
            .with_context(format!("{}, line {}", self.place, self.line))
    }

    fn take(&mut self, end: usize) -> Option<Chunk> {
        if end == 0 {
            return None;
        }
        let tail = BytesMut::from(self.pending.bytes.get(end..).unwrap_or_default());
        self.pending.scanned = self.pending.scanned.saturating_sub(end);
        let mut whole = std::mem::replace(&mut self.pending.bytes, tail);
        // The next chunk will be about as large: one allocation for it, not twenty doublings.
        self.pending.bytes.reserve(self.chunk_bytes.min(whole.len()));
        whole.truncate(end);
        let bytes = whole.freeze();
        let newline = self.newline();
        let chunk =
            Chunk { first_line: self.line, newline, has_header: std::mem::take(&mut self.header), bytes, source: None };
        self.line += self.records_or_lines(&chunk.bytes);
        Some(chunk)
    }

    fn newline(&self) -> Newline {
        match &self.scanner {
            Scanner::Text(scanner) => scanner.newline,
            Scanner::Csv(scanner) => scanner.newline,
            Scanner::Binary(_) => Newline::Unknown,
        }
    }

    fn records_or_lines(&mut self, bytes: &[u8]) -> u64 {
        match &mut self.scanner {
            Scanner::Text(scanner) => text::lines(bytes, scanner.newline),
            Scanner::Csv(scanner) => count(scanner.newline.counted_byte(), bytes) as u64,
            Scanner::Binary(scanner) => std::mem::take(&mut scanner.records),
        }
    }
}

fn extend_from_latin1(to: &mut BytesMut, piece: &[u8]) {
    for byte in piece {
        if byte.is_ascii() {
            to.extend_from_slice(&[*byte]);
        } else {
            to.extend_from_slice(&[0xc0 | (byte >> 6), 0x80 | (byte & 0x3f)]);
        }
    }
}

fn count(needle: u8, bytes: &[u8]) -> usize {
    memchr::memchr_iter(needle, bytes).count()
}

fn bad_format(message: &str) -> Error {
    Error::new(SqlState::BadCopyFileFormat, message)
}

/// What the first unescaped line end in `bytes[at..]` says, where `bytes[at]` is `\r` or `\n`; `None` when the byte after
/// a `\r` has not arrived.
fn newline_at(bytes: &[u8], at: usize, at_end: bool) -> Option<Newline> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Some(Newline::CrLf),
        (Some(b'\r'), Some(_)) => Some(Newline::Cr),
        (Some(b'\r'), None) => at_end.then_some(Newline::Cr),
        _ => Some(Newline::Lf),
    }
}
