//! Stage two of reading: a [`Chunk`] of whole records becomes record batches. Pure, so that every core can do it.
//!
//! A batch is indexed row by row, then decoded column by column: one loop per column, no dispatch per value. Errors are
//! nevertheless those that PostgreSQL meets first, reading row by row: among the faults of a batch the one of the earliest
//! row and, in it, the leftmost column wins.

mod source;

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};

use super::column::ColumnBuilder;
use super::field::{FieldReader, unescape, unquote};
use super::index::{Fault, Index, Indexer};
use super::options::{Format, Header, OnError, Options};
use super::split::{self, Chunk};
use crate::encode::input::{self, InputContext};
use crate::encode::types::{PgType, arrow_type};
use crate::error::{Error, Result, SqlState};
use source::{ColumnSource, Faults, ValueFault};

/// Rows of a batch at most: DataFusion's batch size.
pub const BATCH_ROWS_MAX: usize = 8192;

/// How many refused rows are told one by one.
pub const REJECTS_LISTED_MAX: usize = 10_000;
/// Bytes of a refused value, and of why it was, that are told.
const REJECTED_BYTES_MAX: usize = 1000;

/// What PostgreSQL shows of a value or line in CONTEXT, in bytes.
const SHOWN_BYTES_MAX: usize = 100;

/// A row that ON_ERROR ignore left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// As [`Chunk::source`].
    pub source: Option<Arc<str>>,
    pub line: u64,
    pub column: String,
    /// The text of the value; `None` is NULL.
    pub text: Option<String>,
    pub message: String,
}

/// What a chunk held.
#[derive(Debug, Default)]
pub struct Decoded {
    pub batches: Vec<RecordBatch>,
    /// Refused rows; they are in no batch.
    pub rejected: u64,
    /// The first of them.
    pub rejects: Vec<Reject>,
    /// Of each batch the lines that its rows begin on, where they were asked for.
    pub lines: Vec<Int64Array>,
}

/// Decodes chunks of one relation or file; shared by all threads that do.
#[derive(Debug)]
pub struct ChunkDecoder {
    options: Options,
    /// What CONTEXT begins with: `COPY t`.
    place: String,
    columns: Vec<(String, PgType)>,
    /// Indexes of the columns that are wanted, in the batches' order.
    projection: Vec<usize>,
    schema: SchemaRef,
    context: InputContext,
    tells_lines: bool,
}

impl ChunkDecoder {
    /// A decoder of records with exactly these columns. `place` opens each error's CONTEXT, e.g. `COPY t`.
    pub fn new(
        place: impl Into<String>,
        options: Options,
        columns: Vec<(String, PgType)>,
        context: InputContext,
    ) -> Self {
        let projection = (0..columns.len()).collect();
        let schema = Arc::new(Schema::empty());
        Self { options, place: place.into(), columns, projection, schema, context, tells_lines: false }.with_schema()
    }

    /// Only these columns, in this order; the others are passed over unread. Indexes beyond the columns are dropped.
    pub fn with_projection(mut self, projection: &[usize]) -> Self {
        self.projection = projection.iter().copied().filter(|column| *column < self.columns.len()).collect();
        self.with_schema()
    }

    /// Tells the lines of the rows too.
    pub fn with_lines(mut self, tells_lines: bool) -> Self {
        self.tells_lines = tells_lines;
        self
    }

    fn with_schema(mut self) -> Self {
        let field = |(name, ty): &(String, PgType)| Field::new(name, arrow_type(*ty), true);
        let fields: Vec<Field> = self.projection.iter().filter_map(|at| self.columns.get(*at)).map(field).collect();
        self.schema = Arc::new(Schema::new(fields));
        self
    }

    /// The batches' schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batches of a chunk, in order, each of at most [`BATCH_ROWS_MAX`] rows.
    ///
    /// Errors are PostgreSQL's with its CONTEXT (`COPY t, line 3, column a: "x"`): 22P04 for the record's form, 22021 for
    /// what is not UTF-8, the type's own for a value, unless ON_ERROR ignore leaves that row out.
    pub fn decode(&self, chunk: &Chunk) -> Result<Decoded> {
        let valid = self.valid_bytes(&chunk.bytes);
        let bytes = chunk.bytes.get(..valid).unwrap_or_default();
        let broken = valid < chunk.bytes.len();
        let mut indexer = Indexer::new(bytes, chunk.newline, self.columns.len(), &self.options);
        let mut index = Index::default();
        let mut decoded = Decoded::default();
        let mut walk = Walk { chunk, bytes, rows_before: 0 };
        let mut broken_column = None;
        if chunk.has_header && self.options.format != Format::Binary && !indexer.is_done() {
            indexer.next_header(&mut index);
            if !(broken && ends_at(&index, valid)) {
                self.check_header(&walk, &index)?;
            }
        }
        while !indexer.is_done() {
            indexer.next_rows(BATCH_ROWS_MAX, &mut index);
            if broken && ends_at(&index, valid) {
                // The row that holds the bad bytes: the rows before it come first.
                index.fault = Some(Fault::UnexpectedEnd);
                self.decode_batch(&walk, &index, &mut decoded)?;
                broken_column = self.last_column(&index);
                break;
            }
            let misshapen = self.without_misshapen(&walk, &mut index);
            self.decode_batch(&walk, &index, &mut decoded)?;
            if let Some(fault) = index.fault {
                return Err(self.structural(&walk, &index, fault));
            }
            walk.rows_before += index.rows.len() as u64;
            if let Some(reject) = misshapen {
                walk.rows_before += 1;
                decoded.rejected += 1;
                if decoded.rejects.len() < REJECTS_LISTED_MAX {
                    decoded.rejects.push(reject);
                }
            }
        }
        if broken {
            return Err(self.encoding_error(chunk, valid, broken_column));
        }
        Ok(decoded)
    }

    /// Takes the last row out of the index if it has too few or too many fields and is only to be left out.
    fn without_misshapen(&self, walk: &Walk<'_>, index: &mut Index) -> Option<Reject> {
        let fault = index.fault.filter(|_| self.options.rejects_misshapen)?;
        if !matches!(fault, Fault::Missing { .. } | Fault::Extra) {
            return None;
        }
        let row = index.rows.len().saturating_sub(1);
        let text = String::from_utf8_lossy(row_bytes(walk, index, row)).into_owned();
        let reject = Reject {
            source: walk.chunk.source.clone(),
            line: self.line(walk, index, row),
            column: String::new(),
            text: Some(cut_rejected(text)),
            message: self.structural(walk, index, fault).message().to_owned(),
        };
        index.rows.pop();
        index.spans.truncate(row * self.columns.len());
        index.fault = None;
        Some(reject)
    }

    /// CONTEXT of a row that [`decode`](Self::decode) gave for the chunk, by its number among them: `COPY t, line 3: "1,x"`.
    /// The chunk is looked through once more: this is for errors.
    pub fn context_of(&self, chunk: &Chunk, row: usize) -> Option<String> {
        let bytes = chunk.bytes.get(..self.valid_bytes(&chunk.bytes))?;
        let mut indexer = Indexer::new(bytes, chunk.newline, self.columns.len(), &self.options);
        let mut index = Index::default();
        let mut walk = Walk { chunk, bytes, rows_before: 0 };
        if chunk.has_header && self.options.format != Format::Binary && !indexer.is_done() {
            indexer.next_header(&mut index);
        }
        let mut left = row;
        while !indexer.is_done() {
            indexer.next_rows(BATCH_ROWS_MAX, &mut index);
            let bad = match self.options.on_error {
                OnError::Stop => Vec::new(),
                OnError::Ignore => self.decode_batch(&walk, &index, &mut Decoded::default()).ok()?,
            };
            let mut kept = (0..index.whole_rows()).filter(|row| !bad.get(*row).copied().unwrap_or(false));
            if let Some(found) = kept.nth(left) {
                return Some(self.row_context(&walk, &index, found));
            }
            left -= index.whole_rows() - bad.iter().filter(|bad| **bad).count();
            walk.rows_before += index.rows.len() as u64;
        }
        None
    }

    fn row_context(&self, walk: &Walk<'_>, index: &Index, row: usize) -> String {
        let line = self.at_line(walk, self.line(walk, index, row));
        match self.options.format {
            Format::Binary => line,
            Format::Text | Format::Csv => format!("{line}: \"{}\"", shown(row_bytes(walk, index, row))),
        }
    }

    /// How many bytes are valid UTF-8 without NUL.
    fn valid_bytes(&self, bytes: &[u8]) -> usize {
        if self.options.format == Format::Binary {
            return bytes.len();
        }
        let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        let valid_bytes = bytes.get(..valid).unwrap_or_default();
        memchr::memchr(0, valid_bytes).unwrap_or(valid)
    }

    /// Which rows of the batch were left out; empty when none was.
    fn decode_batch(&self, walk: &Walk<'_>, index: &Index, decoded: &mut Decoded) -> Result<Vec<bool>> {
        let rows = index.whole_rows();
        let binary = self.options.format == Format::Binary;
        let mut faults = Faults { policy: self.options.on_error, first: None, bad: Vec::new(), found: Vec::new() };
        let mut arrays = Vec::with_capacity(self.projection.len());
        for column in self.projection.iter().copied() {
            let Some((_, ty)) = self.columns.get(column) else { continue };
            let mut builder = ColumnBuilder::new(*ty, rows);
            let mut source = ColumnSource {
                bytes: walk.bytes,
                index,
                columns: self.columns.len(),
                column,
                rows: rows_of(index, column),
                reader: FieldReader::new(&self.options, column),
                respelled: (!binary && !self.options.spelling.is_plain(*ty)).then_some((&self.options.spelling, *ty)),
                faults: &mut faults,
            };
            if binary {
                builder.fill_from_binary(&mut source);
            } else {
                builder.fill_from_text(&mut source, &self.context);
            }
            arrays.push(builder);
        }
        if let Some(first) = faults.first {
            return Err(self.value_error(walk, index, first));
        }
        if index.fault.is_some() || rows == 0 {
            return Ok(Vec::new());
        }
        let arrays = arrays.into_iter().map(ColumnBuilder::finish).collect::<Result<Vec<_>>>()?;
        let row_count = RecordBatchOptions::new().with_row_count(Some(rows));
        let mut batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &row_count)?;
        let mut lines =
            if self.tells_lines { self.lines_of(walk, index, rows) } else { Int64Array::from(Vec::<i64>::new()) };
        if !faults.bad.is_empty() {
            faults.bad.resize(rows, false);
            let kept: BooleanArray = faults.bad.iter().map(|bad| Some(!bad)).collect();
            batch = filter_record_batch(&batch, &kept)?;
            if self.tells_lines {
                lines = filter(&lines, &kept)?.as_primitive::<Int64Type>().clone();
            }
            self.list_rejects(walk, index, std::mem::take(&mut faults.found), decoded);
            decoded.rejected += faults.bad.iter().filter(|bad| **bad).count() as u64;
        }
        if batch.num_rows() > 0 {
            decoded.batches.push(batch);
            if self.tells_lines {
                decoded.lines.push(lines);
            }
        }
        Ok(faults.bad)
    }

    fn list_rejects(&self, walk: &Walk<'_>, index: &Index, mut found: Vec<ValueFault>, decoded: &mut Decoded) {
        found.sort_by_key(|fault| fault.row);
        // In order, so that the chunk's lines are counted once.
        let (mut line, mut counted) = (None, 0);
        for fault in found {
            if decoded.rejects.len() >= REJECTS_LISTED_MAX {
                return;
            }
            let end = index.rows.get(fault.row).map_or(walk.bytes.len(), |(_, end)| *end as usize);
            let known = match line {
                None => self.line(walk, index, fault.row),
                Some(line) => line + self.lines_between(walk.chunk, counted, end),
            };
            (line, counted) = (Some(known), end);
            decoded.rejects.push(Reject {
                source: walk.chunk.source.clone(),
                line: known,
                column: self.columns.get(fault.column).map(|(name, _)| name.clone()).unwrap_or_default(),
                text: fault.text.map(cut_rejected),
                message: cut_rejected(fault.error.message().to_owned()),
            });
        }
    }

    fn check_header(&self, walk: &Walk<'_>, index: &Index) -> Result<()> {
        if let Some(fault) = index.fault {
            return Err(self.structural(walk, index, fault));
        }
        if self.options.header != Header::Match {
            return Ok(());
        }
        let fail = |message: String| {
            let error = Error::new(SqlState::BadCopyFileFormat, message);
            error.with_context(format!("{}: \"{}\"", self.at_line(walk, 1), shown(row_bytes(walk, index, 0))))
        };
        if index.spans.len() != self.columns.len() {
            let (got, expected) = (index.spans.len(), self.columns.len());
            return Err(fail(format!("wrong number of fields in header line: got {got}, expected {expected}")));
        }
        let mut scratch = Vec::new();
        for (at, (span, (expected, _))) in index.spans.iter().zip(&self.columns).enumerate() {
            let raw = span.of(walk.bytes).unwrap_or_default();
            let number = at + 1;
            if raw == self.options.null.as_bytes() {
                let null = &self.options.null;
                return Err(fail(format!(
                    "column name mismatch in header line field {number}: got null value (\"{null}\"), expected \"{expected}\""
                )));
            }
            match self.options.format {
                Format::Csv => unquote(raw, self.options.quote, self.options.escape, &mut scratch),
                Format::Text | Format::Binary => {
                    unescape(raw, &mut scratch);
                }
            }
            if scratch != expected.as_bytes() {
                let got = String::from_utf8_lossy(&scratch);
                return Err(fail(format!(
                    "column name mismatch in header line field {number}: got \"{got}\", expected \"{expected}\""
                )));
            }
        }
        Ok(())
    }

    /// The line that PostgreSQL names for a row: the last one that the row stands on; in binary, the tuple's number.
    fn line(&self, walk: &Walk<'_>, index: &Index, row: usize) -> u64 {
        let end = index.rows.get(row).map_or(walk.bytes.len(), |(_, end)| *end as usize);
        match self.options.format {
            Format::Binary => walk.chunk.first_line + walk.rows_before + row as u64,
            Format::Text | Format::Csv => walk.chunk.first_line + self.lines_until(walk.chunk, end),
        }
    }

    /// The lines that the batch's rows begin on.
    fn lines_of(&self, walk: &Walk<'_>, index: &Index, rows: usize) -> Int64Array {
        let (mut seen, mut line) = (0, walk.chunk.first_line);
        let lines = index.rows.iter().take(rows).map(|(start, _)| {
            let start = *start as usize;
            let between = walk.bytes.get(seen..start).unwrap_or_default();
            line += memchr::memchr_iter(walk.chunk.newline.counted_byte(), between).count() as u64;
            seen = start;
            i64::try_from(line).unwrap_or(i64::MAX)
        });
        lines.collect::<Vec<i64>>().into()
    }

    fn lines_until(&self, chunk: &Chunk, end: usize) -> u64 {
        self.lines_between(chunk, 0, end)
    }

    fn lines_between(&self, chunk: &Chunk, start: usize, end: usize) -> u64 {
        let before = chunk.bytes.get(start..end).unwrap_or_default();
        match self.options.format {
            Format::Text => split::text_lines(before, chunk.newline),
            Format::Csv => memchr::memchr_iter(chunk.newline.counted_byte(), before).count() as u64,
            Format::Binary => 0,
        }
    }

    fn at_line(&self, walk: &Walk<'_>, line: u64) -> String {
        match &walk.chunk.source {
            Some(file) => format!("file \"{file}\", line {line}"),
            None => format!("{}, line {line}", self.place),
        }
    }

    fn value_error(&self, walk: &Walk<'_>, index: &Index, fault: ValueFault) -> Error {
        let line = self.at_line(walk, self.line(walk, index, fault.row));
        let column = self.columns.get(fault.column).map(|(name, _)| name.as_str()).unwrap_or_default();
        fault.error.with_context(match (self.options.format, &fault.text) {
            (Format::Binary, _) => format!("{line}, column {column}"),
            _ if !fault.is_text => format!("{line}: \"{}\"", shown(row_bytes(walk, index, fault.row))),
            (_, Some(text)) => format!("{line}, column {column}: \"{}\"", shown(text.as_bytes())),
            (_, None) => format!("{line}, column {column}: null input"),
        })
    }

    /// The error of the row that broke off, which is the last of the index.
    fn structural(&self, walk: &Walk<'_>, index: &Index, fault: Fault) -> Error {
        let csv = self.options.format == Format::Csv;
        let bad = |message: String| Error::new(SqlState::BadCopyFileFormat, message);
        let error = match fault {
            Fault::Missing { fields } => {
                let name = self.columns.get(fields).map(|(name, _)| name.as_str()).unwrap_or_default();
                bad(format!("missing data for column \"{name}\""))
            }
            Fault::Extra => bad("extra data after last expected column".to_owned()),
            Fault::UnterminatedQuote => bad("unterminated CSV quoted field".to_owned()),
            Fault::LiteralNewline if csv => {
                bad("unquoted newline found in data".to_owned()).with_hint("Use quoted CSV field to represent newline.")
            }
            Fault::LiteralNewline => {
                bad("literal newline found in data".to_owned()).with_hint("Use \"\\n\" to represent newline.")
            }
            Fault::LiteralReturn if csv => bad("unquoted carriage return found in data".to_owned())
                .with_hint("Use quoted CSV field to represent carriage return."),
            Fault::LiteralReturn => bad("literal carriage return found in data".to_owned())
                .with_hint("Use \"\\r\" to represent carriage return."),
            Fault::FieldCount(count) => bad(format!("row field count is {count}, expected {}", self.columns.len())),
            Fault::FieldSize => bad("invalid field size".to_owned()),
            Fault::UnexpectedEnd => split::unexpected_end(),
        };
        let row = index.rows.len().saturating_sub(1);
        let place = self.at_line(walk, self.line(walk, index, row));
        let whole_line = matches!(fault, Fault::Missing { .. } | Fault::Extra | Fault::UnterminatedQuote);
        error.with_context(match self.options.format {
            Format::Text | Format::Csv if whole_line => format!("{place}: \"{}\"", shown(row_bytes(walk, index, row))),
            _ => place,
        })
    }

    /// The column that a record which broke off was in.
    fn last_column(&self, index: &Index) -> Option<&str> {
        let whole = index.rows.len().saturating_sub(1) * self.columns.len();
        let fields = index.spans.len().checked_sub(whole)?;
        self.columns.get(fields.saturating_sub(1)).map(|(name, _)| name.as_str())
    }

    fn encoding_error(&self, chunk: &Chunk, at: usize, column: Option<&str>) -> Error {
        let walk = Walk { chunk, bytes: &chunk.bytes, rows_before: 0 };
        let line = chunk.first_line + self.lines_until(chunk, at);
        let bad = chunk.bytes.get(at..).unwrap_or_default();
        let error = input::utf8(bad.get(..bad.len().min(8)).unwrap_or_default()).err().unwrap_or_else(|| {
            Error::new(SqlState::CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\"")
        });
        let place = self.at_line(&walk, line);
        // PostgreSQL checks a line before it knows its columns; a file's user looks for the value.
        error.with_context(match (column, &chunk.source) {
            (Some(column), Some(_)) => format!("{place}, column {column}"),
            _ => place,
        })
    }
}

/// Where in a chunk the decoder is.
struct Walk<'a> {
    chunk: &'a Chunk,
    /// The chunk's bytes up to the first that is not UTF-8.
    bytes: &'a [u8],
    rows_before: u64,
}

fn ends_at(index: &Index, end: usize) -> bool {
    index.rows.last().is_some_and(|(_, last)| *last as usize >= end)
}

fn row_bytes<'a>(walk: &Walk<'a>, index: &Index, row: usize) -> &'a [u8] {
    let (start, end) = index.rows.get(row).copied().unwrap_or_default();
    walk.bytes.get(start as usize..end as usize).unwrap_or_default()
}

/// Rows of which the column can be read: PostgreSQL reads the fields that a short row has before it misses the next.
fn rows_of(index: &Index, column: usize) -> usize {
    match index.fault {
        Some(Fault::Missing { fields }) if column < fields => index.rows.len(),
        _ => index.whole_rows(),
    }
}

/// As much of a refused value as is told.
pub fn cut_rejected(mut text: String) -> String {
    if text.len() > REJECTED_BYTES_MAX {
        text.truncate(text.floor_char_boundary(REJECTED_BYTES_MAX));
    }
    text
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= SHOWN_BYTES_MAX {
        return text.into_owned();
    }
    format!("{}...", text.get(..text.floor_char_boundary(SHOWN_BYTES_MAX)).unwrap_or_default())
}
