//! Writing: record batches to COPY's text, csv and binary formats.
//!
//! A slice of a batch is written column by column into buffers of the encoder, escaped and quoted there, and then woven
//! into rows: the loops over values dispatch on nothing. The rules are `CopyAttributeOutText` and `CopyAttributeOutCSV`.
//!
//! For a client each row stands in a CopyData message of its own, as PostgreSQL sends it and as drivers that read row by
//! row rely on; the frames are written here, so that a buffer of many messages goes out as it is.

use arrow::array::RecordBatch;

use super::binary_value as binary;
use super::cell::{Fields, Sink, Writers};
use super::options::{Encoding, Format, Header, Options};
use super::split::SIGNATURE;
use crate::encode::TextStyle;
use crate::encode::types::{OutputColumn, PgType, oid};
use crate::error::{Error, Result, SqlState};

/// Rows that are woven at a time.
const SLICE_ROWS: usize = 512;

/// Encodes a result, batch after batch. Reuses its buffers.
#[derive(Debug)]
pub struct Encoder {
    options: Options,
    writers: Writers,
    cells: Vec<Cells>,
    /// Whether rows stand in CopyData messages.
    framed: bool,
    /// The binary header, until the first message takes it in.
    lead: &'static [u8],
}

/// What the binary format begins with: signature, no flags, no extension.
const BINARY_HEADER: [u8; 19] = {
    let mut header = [0; 19];
    let mut at = 0;
    while at < SIGNATURE.len() {
        header[at] = SIGNATURE[at];
        at += 1;
    }
    header
};

impl Encoder {
    /// An encoder of batches with these columns, in this order.
    pub fn new(options: Options, columns: Vec<OutputColumn>, style: TextStyle) -> Self {
        let single = columns.len() == 1;
        let cells =
            columns.iter().enumerate().map(|(at, column)| Cells::new(&options, at, column.ty, single)).collect();
        let writers = Writers::new(columns, style, options.format == Format::Binary);
        Self { options, writers, cells, framed: false, lead: &[] }
    }

    /// The same, but what it appends are CopyData messages: one for a header line, one for each row, one for the binary
    /// trailer. The binary header stands in the first of them.
    pub fn framed(self) -> Self {
        Self { framed: true, ..self }
    }

    /// Appends what stands before the rows: the header line or the binary signature.
    pub fn header(&mut self, out: &mut Vec<u8>) -> Result<()> {
        match (self.options.format, self.options.header) {
            (Format::Binary, _) if self.framed => {
                self.lead = &BINARY_HEADER;
                Ok(())
            }
            (Format::Binary, _) => {
                out.extend_from_slice(&BINARY_HEADER);
                Ok(())
            }
            (Format::Text | Format::Csv, Header::Absent) => Ok(()),
            (Format::Text | Format::Csv, Header::Present | Header::Match) => self.header_line(out),
        }
    }

    fn header_line(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let start = self.begin(out);
        let single = self.writers.columns().len() == 1;
        for (at, column) in self.writers.columns().iter().enumerate() {
            if at > 0 {
                out.push(self.options.delimiter);
            }
            // Forced quotes are for values only.
            let mut cell = Cells::new(&self.options, usize::MAX, PgType::TEXT, single);
            cell.force = false;
            cell.value(|out| {
                out.extend_from_slice(column.name.as_bytes());
                Ok(())
            })?;
            out.extend_from_slice(&cell.fields.bytes);
        }
        out.push(b'\n');
        self.end(out, start)
    }

    /// Begins a message, if rows stand in messages; says where its content starts.
    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) -> usize {
        if self.framed {
            out.extend_from_slice(&[b'd', 0, 0, 0, 0]);
        }
        let start = out.len();
        out.extend_from_slice(std::mem::take(&mut self.lead));
        start
    }

    /// Ends the row or message whose content starts there.
    #[inline]
    fn end(&self, out: &mut Vec<u8>, start: usize) -> Result<()> {
        if self.options.encoding != Encoding::Utf8 {
            self.recode(out, start)?;
        }
        if self.framed {
            // The length counts itself.
            let length = i32::try_from(out.len() - start + 4).map_err(|_| too_large())?;
            if let Some(place) = start.checked_sub(4).and_then(|from| out.get_mut(from..start)) {
                place.copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }

    /// Appends rows of `batch` from `from_row` on until `out` holds `bytes_max`, and says how many: at least one if there is
    /// one. Only whole rows are appended, so `out` may be cut off after each call.
    ///
    /// Errors: 0A000 for a column whose type cannot be written, 22P05 for a character that LATIN1 lacks.
    pub fn encode(
        &mut self,
        batch: &RecordBatch,
        from_row: usize,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize> {
        let mut row = from_row;
        while row < batch.num_rows() && (row == from_row || out.len() < bytes_max) {
            // A row's size is not known before it is written: begin small, so that huge rows do not overshoot by much.
            let room = if row == from_row { 16 } else { SLICE_ROWS };
            let end = batch.num_rows().min(row + room);
            self.writers.visit(batch, row..end, &mut self.cells)?;
            row += self.weave(end - row, bytes_max, out)?;
        }
        Ok(row - from_row)
    }

    /// Appends what stands behind the rows: the binary trailer.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.options.format != Format::Binary {
            return Ok(());
        }
        let start = self.begin(out);
        out.extend((-1_i16).to_be_bytes());
        self.end(out, start)
    }

    fn weave(&mut self, rows: usize, bytes_max: usize, out: &mut Vec<u8>) -> Result<usize> {
        let binary = self.options.format == Format::Binary;
        for row in 0..rows {
            if row > 0 && out.len() >= bytes_max {
                return Ok(row);
            }
            let start = self.begin(out);
            if binary {
                out.extend((self.cells.len() as i16).to_be_bytes());
            }
            for (at, cells) in self.cells.iter().enumerate() {
                if at > 0 && !binary {
                    out.push(self.options.delimiter);
                }
                out.extend_from_slice(cells.fields.get(row));
            }
            if !binary {
                out.push(b'\n');
            }
            self.end(out, start)?;
        }
        Ok(rows)
    }

    /// UTF-8 to the client's encoding.
    fn recode(&self, out: &mut Vec<u8>, start: usize) -> Result<()> {
        let written = out.get(start..).unwrap_or_default();
        if self.options.format == Format::Binary || written.is_ascii() {
            return Ok(());
        }
        let text =
            String::from_utf8(out.split_off(start)).map_err(|_| Error::internal("COPY wrote what is not UTF-8"))?;
        for char in text.chars() {
            out.push(u8::try_from(char).map_err(|_| untranslatable(char))?);
        }
        Ok(())
    }
}

#[cold]
fn too_large() -> Error {
    Error::new(SqlState::ProgramLimitExceeded, "a row is too large for a COPY message")
}

#[cold]
fn untranslatable(char: char) -> Error {
    let mut buffer = [0; 4];
    let bytes: Vec<String> = char.encode_utf8(&mut buffer).bytes().map(|byte| format!("0x{byte:02x}")).collect();
    Error::new(
        SqlState::UntranslatableCharacter,
        format!(
            "character with byte sequence {} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
            bytes.join(" ")
        ),
    )
}

/// One column's fields of a slice, as they will stand in the rows.
#[derive(Debug)]
struct Cells {
    fields: Fields,
    form: Form,
    null: Vec<u8>,
    force: bool,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    /// Nothing in the values can be mistaken.
    Plain,
    Text {
        delimiter: u8,
    },
    Csv {
        delimiter: u8,
        quote: u8,
        escape: u8,
        single: bool,
    },
    Binary,
}

impl Cells {
    fn new(options: &Options, column: usize, ty: PgType, single: bool) -> Self {
        let force = options.format == Format::Csv && options.quotes_always(column);
        let form = match options.format {
            Format::Binary => Form::Binary,
            Format::Text | Format::Csv if !force && is_plain(options, ty) => Form::Plain,
            Format::Text => Form::Text { delimiter: options.delimiter },
            Format::Csv => {
                Form::Csv { delimiter: options.delimiter, quote: options.quote, escape: options.escape, single }
            }
        };
        let null = match options.format {
            Format::Binary => (-1_i32).to_be_bytes().to_vec(),
            Format::Text | Format::Csv => options.null.clone().into_bytes(),
        };
        Self { fields: Fields::default(), form, null, force }
    }
}

/// Numbers, dates and their kin need no escapes unless the options use their characters.
fn is_plain(options: &Options, ty: PgType) -> bool {
    let simple = matches!(
        ty.oid,
        oid::BOOL | oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC | oid::DATE | oid::OID
    );
    let harmless = |byte: u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'-' | b'.' | b'/' | b' ');
    let marks = [options.delimiter, options.quote, options.escape];
    simple && marks.into_iter().all(harmless) && matches!(options.null.as_str(), "" | "\\N")
}

impl Sink for Cells {
    fn clear(&mut self) {
        self.fields.clear();
    }

    #[inline]
    fn null(&mut self) {
        self.fields.bytes.extend_from_slice(&self.null);
        self.fields.end();
    }

    #[inline]
    fn value(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let bytes = &mut self.fields.bytes;
        let start = bytes.len();
        match self.form {
            Form::Plain => write(bytes)?,
            Form::Binary => binary::push_sized(bytes, write)?,
            Form::Text { delimiter } => {
                write(bytes)?;
                escape_text(bytes, start, delimiter);
            }
            Form::Csv { delimiter, quote, escape, single } => {
                write(bytes)?;
                let text = bytes.get(start..).unwrap_or_default();
                let special = |byte: &u8| *byte == delimiter || *byte == quote || matches!(byte, b'\n' | b'\r');
                let quoted = self.force || text == self.null || (single && text == b"\\.") || text.iter().any(special);
                if quoted {
                    quote_csv(bytes, start, quote, escape);
                }
            }
        }
        self.fields.end();
        Ok(())
    }
}

/// Puts backslashes into what stands from `start` on.
fn escape_text(out: &mut Vec<u8>, start: usize, delimiter: u8) {
    let special = |byte: &u8| matches!(byte, b'\\' | 8..=13) || *byte == delimiter;
    let Some(first) = out.get(start..).unwrap_or_default().iter().position(special) else { return };
    for byte in out.split_off(start + first) {
        let letter = match byte {
            8 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            11 => b'v',
            12 => b'f',
            b'\r' => b'r',
            other if other == b'\\' || other == delimiter => other,
            other => {
                out.push(other);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

/// Puts quotes round what stands from `start` on.
fn quote_csv(out: &mut Vec<u8>, start: usize, quote: u8, escape: u8) {
    let text = out.split_off(start);
    out.reserve(text.len() + 2);
    out.push(quote);
    for byte in text {
        if byte == quote || byte == escape {
            out.push(escape);
        }
        out.push(byte);
    }
    out.push(quote);
}
