//! JSON files: one value a line, values one after the other, or one array of them.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};
use bytes::BytesMut;
use serde_json::{Map, Value};

use super::headers::repeated;
use super::json_text::Record;
use crate::encode::copy::{
    BATCH_ROWS_MAX, CHUNK_BYTES, Chunk, ColumnBuilder, Decoded, OnError, RECORD_BYTES_MAX, REJECTS_LISTED_MAX, Reject,
    cut_rejected as cut,
};
use crate::encode::input::InputContext;
use crate::encode::types::{PgType, arrow_type, element_of, oid};
use crate::error::{Error, Result, SqlState};

/// Cuts JSON between values. An outer array is taken off: its brackets and commas become blanks.
#[derive(Debug, Default)]
pub(super) struct JsonSplitter {
    pending: BytesMut,
    scanned: usize,
    /// The byte after the last value that ended in what was scanned.
    boundary: usize,
    shape: Shape,
    depth: u32,
    in_string: bool,
    after_backslash: bool,
    lines: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Shape {
    /// Only white space so far.
    #[default]
    Unknown,
    Values,
    Array,
    /// The outer array was closed.
    Closed,
}

impl JsonSplitter {
    /// As [`crate::encode::copy::Splitter::feed`].
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Option<Chunk>> {
        self.pending.extend_from_slice(piece);
        if self.pending.len() < CHUNK_BYTES {
            return Ok(None);
        }
        self.scan();
        if self.boundary == 0 && self.pending.len() > RECORD_BYTES_MAX {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "JSON value is too long"));
        }
        Ok(self.take(self.boundary))
    }

    /// As [`crate::encode::copy::Splitter::finish`].
    pub(super) fn finish(&mut self) -> Result<Option<Chunk>> {
        self.scan();
        if self.shape == Shape::Array {
            return Err(Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json")
                .with_detail("The input string ended unexpectedly."));
        }
        let end = self.pending.len();
        self.shape = Shape::Closed;
        Ok(self.take(end))
    }

    /// Whether the data has ended by [`JsonSplitter::finish`].
    pub(super) fn is_ended(&self) -> bool {
        self.shape == Shape::Closed && self.pending.is_empty()
    }

    fn scan(&mut self) {
        let unseen = self.pending.get_mut(self.scanned..).unwrap_or_default();
        for (at, byte) in unseen.iter_mut().enumerate() {
            if self.in_string {
                match *byte {
                    _ if self.after_backslash => self.after_backslash = false,
                    b'\\' => self.after_backslash = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            let mut ends_value = false;
            match *byte {
                b' ' | b'\t' | b'\r' => continue,
                b'\n' => ends_value = self.depth == 0,
                b'[' if self.shape == Shape::Unknown => {
                    self.shape = Shape::Array;
                    *byte = b' ';
                    continue;
                }
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b']' if self.depth == 0 && self.shape == Shape::Array => {
                    self.shape = Shape::Closed;
                    *byte = b' ';
                    ends_value = true;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    ends_value = self.depth == 0;
                }
                b',' if self.depth == 0 && self.shape == Shape::Array => {
                    *byte = b' ';
                    ends_value = true;
                }
                _ => {}
            }
            if self.shape == Shape::Unknown && *byte != b'\n' {
                self.shape = Shape::Values;
            }
            if ends_value {
                self.boundary = self.scanned + at + 1;
            }
        }
        self.scanned = self.pending.len();
    }

    fn take(&mut self, end: usize) -> Option<Chunk> {
        if end == 0 {
            return None;
        }
        let bytes = self.pending.split_to(end).freeze();
        self.scanned = self.scanned.saturating_sub(end);
        self.boundary = 0;
        let first_line = self.lines + 1;
        self.lines += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        Some(Chunk { bytes, first_line, ..Chunk::default() })
    }
}

/// Objects to rows: a column is the member of its name; a missing one is NULL.
#[derive(Debug)]
pub(super) struct JsonDecoder {
    columns: Vec<(String, PgType)>,
    schema: SchemaRef,
    context: InputContext,
    on_error: OnError,
    any_case: bool,
}

impl JsonDecoder {
    /// A decoder of just these members, whose names are the same in `any_case` if they are told to be.
    pub(super) fn new(
        columns: Vec<(String, PgType)>,
        context: InputContext,
        on_error: OnError,
        any_case: bool,
    ) -> Self {
        let fields: Vec<_> = columns.iter().map(|(name, ty)| Field::new(name, arrow_type(*ty), true)).collect();
        Self { columns, schema: Arc::new(Schema::new(fields)), context, on_error, any_case }
    }

    /// The member of that name, with its own name.
    fn member<'m>(&self, members: &'m Map<String, Value>, name: &str) -> Result<Option<(&'m String, &'m Value)>> {
        if !self.any_case {
            return Ok(members.get_key_value(name));
        }
        let mut found = members.iter().filter(|(member, _)| member.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (found, None) => Ok(found),
            (_, Some((again, _))) => Err(repeated(again)),
        }
    }

    /// As [`crate::encode::copy::ChunkDecoder::decode`]. Errors: 22P02 for what is no JSON object, and each type's own.
    pub(super) fn decode(&self, chunk: &Chunk) -> Result<Decoded> {
        check_encoding(chunk)?;
        let mut decoded = Decoded::default();
        let mut rows = Rows::new(self);
        let (mut seen, mut last_line) = (0, chunk.first_line);
        let mut values = values(&chunk.bytes);
        loop {
            let start = values.byte_offset();
            let Some(value) = values.next() else { break };
            let value = value.map_err(|error| invalid(chunk, start, &error.to_string()))?;
            let Value::Object(members) = value else {
                return Err(invalid(chunk, start, "Each record must be an object."));
            };
            let begin = start + blanks(chunk, start);
            let between = chunk.bytes.get(seen..begin).unwrap_or_default();
            last_line += memchr::memchr_iter(b'\n', between).count() as u64;
            seen = begin;
            rows.lines.push(i64::try_from(last_line).unwrap_or(i64::MAX));
            rows.push(chunk, start..values.byte_offset(), &members, &mut decoded)?;
            if rows.count >= BATCH_ROWS_MAX {
                std::mem::replace(&mut rows, Rows::new(self)).finish(&mut decoded)?;
            }
        }
        rows.finish(&mut decoded)?;
        Ok(decoded)
    }
}

/// The values of a chunk, with their byte offsets.
pub(super) fn values(bytes: &[u8]) -> serde_json::StreamDeserializer<'_, serde_json::de::SliceRead<'_>, Value> {
    serde_json::Deserializer::from_slice(bytes).into_iter()
}

/// 22P02 with the place of the value that begins at or after `at`.
pub(super) fn invalid(chunk: &Chunk, at: usize, detail: &str) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json")
        .with_detail(detail)
        .with_context(place(chunk, at))
}

/// 22021 with the line for what is no UTF-8.
pub(super) fn check_encoding(chunk: &Chunk) -> Result<()> {
    let Err(error) = std::str::from_utf8(&chunk.bytes) else { return Ok(()) };
    let bad = chunk.bytes.get(error.valid_up_to()..).unwrap_or_default();
    match crate::encode::input::utf8(bad.get(..bad.len().min(8)).unwrap_or_default()) {
        Err(error_of_bytes) => Err(error_of_bytes.with_context(place(chunk, error.valid_up_to()))),
        Ok(_) => Ok(()),
    }
}

fn blanks(chunk: &Chunk, at: usize) -> usize {
    let rest = chunk.bytes.get(at..).unwrap_or_default();
    rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

fn line(chunk: &Chunk, at: usize) -> u64 {
    let before = chunk.bytes.get(..at + blanks(chunk, at)).unwrap_or_default();
    chunk.first_line + memchr::memchr_iter(b'\n', before).count() as u64
}

fn place(chunk: &Chunk, at: usize) -> String {
    let file = chunk.source.as_deref().unwrap_or_default();
    format!("file \"{file}\", line {}", line(chunk, at))
}

struct Rows<'a> {
    decoder: &'a JsonDecoder,
    builders: Vec<ColumnBuilder>,
    count: usize,
    kept: Vec<bool>,
    lines: Vec<i64>,
}

impl<'a> Rows<'a> {
    fn new(decoder: &'a JsonDecoder) -> Self {
        let builders = decoder.columns.iter().map(|(_, ty)| ColumnBuilder::new(*ty, 0)).collect();
        Self { decoder, builders, count: 0, kept: Vec::new(), lines: Vec::new() }
    }

    fn push(
        &mut self,
        chunk: &Chunk,
        bytes: Range<usize>,
        members: &Map<String, Value>,
        decoded: &mut Decoded,
    ) -> Result<()> {
        let at = bytes.start;
        let record = Record::new(chunk.bytes.get(bytes).unwrap_or_default());
        let mut kept = true;
        for (builder, (name, ty)) in self.builders.iter_mut().zip(&self.decoder.columns) {
            let member = self.decoder.member(members, name).map_err(|error| error.with_context(place(chunk, at)))?;
            let text = member.and_then(|(name, value)| text_of(value, *ty, || record.member(name)));
            let Err(error) = builder.append_text(text.as_deref(), &self.decoder.context) else { continue };
            if self.decoder.on_error == OnError::Stop {
                let shown = text.unwrap_or_default();
                return Err(error.with_context(format!("{}, column {name}: \"{shown}\"", place(chunk, at))));
            }
            builder.append_text(None, &self.decoder.context)?;
            if std::mem::take(&mut kept) && decoded.rejects.len() < REJECTS_LISTED_MAX {
                decoded.rejects.push(Reject {
                    source: chunk.source.clone(),
                    line: self.lines.last().and_then(|line| u64::try_from(*line).ok()).unwrap_or_default(),
                    column: name.clone(),
                    text: text.map(|text| cut(text.into_owned())),
                    message: cut(error.message().to_owned()),
                });
            }
        }
        decoded.rejected += u64::from(!kept);
        self.kept.push(kept);
        self.count += 1;
        Ok(())
    }

    fn finish(self, decoded: &mut Decoded) -> Result<()> {
        let arrays = self.builders.into_iter().map(ColumnBuilder::finish).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        let mut batch = RecordBatch::try_new_with_options(self.decoder.schema.clone(), arrays, &options)?;
        let mut lines = Int64Array::from(self.lines);
        if self.kept.contains(&false) {
            let kept = BooleanArray::from(self.kept);
            batch = filter_record_batch(&batch, &kept)?;
            lines = filter(&lines, &kept)?.as_primitive::<Int64Type>().clone();
        }
        if batch.num_rows() > 0 {
            decoded.batches.push(batch);
            decoded.lines.push(lines);
        }
        Ok(())
    }
}

/// The text that a type's input function reads; nested values stay JSON. `written` is the value as it stands in the file: the
/// parser's doubles have fewer digits.
fn text_of<'v>(value: &'v Value, ty: PgType, written: impl Fn() -> Option<&'v str>) -> Option<Cow<'v, str>> {
    let is_json = matches!(ty, PgType::JSON | PgType::JSONB);
    match value {
        Value::Null => None,
        Value::Array(items) if let Some(element) = element_of(ty.oid) => {
            let mut text = String::new();
            push_array(&mut text, items, matches!(element, oid::JSON | oid::JSONB));
            Some(text.into())
        }
        Value::String(text) if !is_json => Some(text.as_str().into()),
        Value::Number(number) if number.is_f64() && !matches!(ty, PgType::FLOAT4 | PgType::FLOAT8) => {
            Some(written().map_or_else(|| value.to_string().into(), Cow::from))
        }
        Value::Array(_) | Value::Object(_) if is_json && has_double(value) => {
            Some(written().map_or_else(|| value.to_string().into(), Cow::from))
        }
        other => Some(other.to_string().into()),
    }
}

/// An array as its type's input function reads it. Elements that are json keep arrays of their own.
fn push_array(out: &mut String, items: &[Value], of_json: bool) {
    out.push('{');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        match item {
            Value::Null => out.push_str("NULL"),
            Value::Array(items) if !of_json => push_array(out, items, of_json),
            Value::String(text) if !of_json => push_quoted(out, text),
            other => push_quoted(out, &other.to_string()),
        }
    }
    out.push('}');
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
}

fn has_double(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_double),
        Value::Object(members) => members.values().any(has_double),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}
