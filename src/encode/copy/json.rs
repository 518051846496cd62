//! Rows as JSON, one object a line: numbers and booleans bare, json as it is, arrays as arrays, everything else PostgreSQL's
//! text in quotes.

use arrow::array::RecordBatch;

use super::cell::{Fields, Sink, Writers};
use crate::encode::TextStyle;
use crate::encode::types::{OutputColumn, element_of, oid};
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
    /// Of elements of these types.
    Array(Element),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Bool,
    Number,
    Json,
    Text,
}

fn element(type_oid: u32) -> Element {
    match type_oid {
        oid::BOOL => Element::Bool,
        oid::INT2 | oid::INT4 | oid::INT8 | oid::OID | oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC => Element::Number,
        oid::JSON | oid::JSONB => Element::Json,
        _ => Element::Text,
    }
}

#[derive(Debug)]
struct Cells {
    form: Form,
    fields: Fields,
    scratch: Vec<u8>,
}

impl Cells {
    fn new(type_oid: u32) -> Self {
        let form = match element_of(type_oid) {
            Some(of) => Form::Array(element(of)),
            None => match element(type_oid) {
                Element::Bool => Form::Bool,
                Element::Number => Form::Number,
                Element::Json => Form::Json,
                Element::Text => Form::Text,
            },
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
        match self.form {
            Form::Bool => self.fields.bytes.extend_from_slice(if text == b"t" { b"true" } else { b"false" }),
            Form::Number if is_finite(text) => self.fields.bytes.extend_from_slice(text),
            // One value, one line: json keeps the white space it was written with.
            Form::Json => push_json(&mut self.fields.bytes, text),
            Form::Array(of) => push_array(&mut self.fields.bytes, text, of),
            Form::Number | Form::Text => push_string(&mut self.fields.bytes, text),
        }
        self.fields.end();
        Ok(())
    }
}

fn is_finite(number: &[u8]) -> bool {
    matches!(number, [b'-', b'0'..=b'9', ..] | [b'0'..=b'9', ..])
}

fn push_json(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
}

/// An array's text, `{1,NULL,"a b"}`, as JSON.
fn push_array(out: &mut Vec<u8>, text: &[u8], of: Element) {
    // Bounds may stand before it: `[0:1]={1,2}`.
    let begin = if text.first() == Some(&b'[') { memchr::memchr(b'=', text).map_or(0, |at| at + 1) } else { 0 };
    let mut rest = text.get(begin..).unwrap_or_default();
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'{' | b'}' | b',' => {
                out.push(match first {
                    b'{' => b'[',
                    b'}' => b']',
                    _ => b',',
                });
                after
            }
            b'"' => {
                let (mut item, mut at) = (Vec::new(), 0);
                while let Some(byte) = after.get(at).filter(|byte| **byte != b'"') {
                    at += usize::from(*byte == b'\\');
                    item.extend(after.get(at));
                    at += 1;
                }
                push_element(out, &item, of);
                after.get(at + 1..).unwrap_or_default()
            }
            _ => {
                let end = rest.iter().position(|byte| matches!(byte, b',' | b'}')).unwrap_or(rest.len());
                let (item, after) = rest.split_at(end);
                if item == b"NULL" {
                    out.extend_from_slice(b"null")
                } else {
                    push_element(out, item, of)
                }
                after
            }
        };
    }
}

fn push_element(out: &mut Vec<u8>, item: &[u8], of: Element) {
    match of {
        Element::Bool => out.extend_from_slice(if item == b"t" { b"true" } else { b"false" }),
        Element::Number if is_finite(item) => out.extend_from_slice(item),
        Element::Json => push_json(out, item),
        Element::Number | Element::Text => push_string(out, item),
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
