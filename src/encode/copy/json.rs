//! Rows as JSON, one object a line: numbers and booleans bare, json as it is, everything else PostgreSQL's text in quotes.

use arrow::array::RecordBatch;

use super::cell::{Fields, Sink, Writers};
use crate::encode::TextStyle;
use crate::encode::types::{OutputColumn, oid};
use crate::error::Result;

/// Encodes batches as lines of JSON. Reuses its buffers.
#[derive(Debug)]
pub struct JsonEncoder {
    writers: Writers,
    keys: Vec<Vec<u8>>,
    cells: Vec<Cells>,
}

impl JsonEncoder {
    /// An encoder of batches with these columns, in this order.
    pub fn new(columns: Vec<OutputColumn>, style: TextStyle) -> Self {
        let key = |(at, column): (usize, &OutputColumn)| {
            let mut key = vec![if at == 0 { b'{' } else { b',' }];
            push_string(&mut key, column.name.as_bytes());
            key.push(b':');
            key
        };
        let keys = columns.iter().enumerate().map(key).collect();
        let cells = columns.iter().map(|column| Cells::new(column.ty.oid)).collect();
        Self { writers: Writers::new(columns, style, false), keys, cells }
    }

    /// Appends all rows of `batch`. Errors: 0A000 for a column whose type cannot be written.
    pub fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        self.writers.visit(batch, 0..batch.num_rows(), &mut self.cells)?;
        for row in 0..batch.num_rows() {
            for (key, cells) in self.keys.iter().zip(&self.cells) {
                out.extend_from_slice(key);
                out.extend_from_slice(cells.fields.get(row));
            }
            out.extend_from_slice(if self.cells.is_empty() { b"{}\n" } else { b"}\n" });
        }
        Ok(())
    }
}

/// What a type's text becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bool,
    /// Bare, but for NaN and the infinities, which JSON lacks.
    Number,
    Json,
    Text,
}

#[derive(Debug)]
struct Cells {
    form: Form,
    fields: Fields,
    scratch: Vec<u8>,
}

impl Cells {
    fn new(type_oid: u32) -> Self {
        let form = match type_oid {
            oid::BOOL => Form::Bool,
            oid::INT2 | oid::INT4 | oid::INT8 | oid::OID | oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC => Form::Number,
            oid::JSON | oid::JSONB => Form::Json,
            _ => Form::Text,
        };
        Self { form, fields: Fields::default(), scratch: Vec::new() }
    }
}

impl Sink for Cells {
    fn clear(&mut self) {
        self.fields.clear();
    }

    fn null(&mut self) {
        self.fields.bytes.extend_from_slice(b"null");
        self.fields.end();
    }

    fn value(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        self.scratch.clear();
        write(&mut self.scratch)?;
        let text = self.scratch.as_slice();
        let is_finite = matches!(text, [b'-', b'0'..=b'9', ..] | [b'0'..=b'9', ..]);
        match self.form {
            Form::Bool => self.fields.bytes.extend_from_slice(if text == b"t" { b"true" } else { b"false" }),
            Form::Number if is_finite => self.fields.bytes.extend_from_slice(text),
            // One value, one line: json keeps the white space it was written with.
            Form::Json => self
                .fields
                .bytes
                .extend(text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte })),
            Form::Number | Form::Text => push_string(&mut self.fields.bytes, text),
        }
        self.fields.end();
        Ok(())
    }
}

fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}
