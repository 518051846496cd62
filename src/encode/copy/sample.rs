//! Records of a chunk as plain texts, whatever their number of fields: for whoever has to guess the columns.

use super::field::FieldReader;
use super::index::{Index, Indexer};
use super::options::Options;
use super::split::Chunk;
use crate::encode::input;
use crate::error::{Error, SqlState};

/// The first rows of a chunk, and what ended them early.
pub struct Sample {
    /// A value per field.
    pub rows: Vec<Vec<Option<String>>>,
    /// The number of a field that is no UTF-8, and 22021 with the file and the line.
    pub broken: Option<(usize, Error)>,
}

/// The first rows of a chunk of text or csv. Stops without a word at a record that is malformed: the decoder will say it.
pub fn sample_rows(chunk: &Chunk, options: &Options, rows_max: usize) -> Sample {
    let mut indexer = Indexer::new(&chunk.bytes, chunk.newline, 0, options);
    let reader = FieldReader::new(options, usize::MAX);
    let mut index = Index::default();
    let mut scratch = Vec::new();
    let mut rows = Vec::new();
    while rows.len() < rows_max && !indexer.is_done() {
        indexer.next_header(&mut index);
        if index.fault.is_some() {
            break;
        }
        let mut row = Vec::with_capacity(index.spans.len());
        for (field, span) in index.spans.iter().enumerate() {
            let value = reader.value(&chunk.bytes, *span, &mut scratch);
            match value.and_then(|value| value.map(|bytes| input::utf8(bytes).map(str::to_owned)).transpose()) {
                Ok(text) => row.push(text),
                Err(error) => {
                    let error = at_line(error, chunk, index.rows.first().map_or(0, |(start, _)| *start as usize));
                    return Sample { rows, broken: Some((field, error)) };
                }
            }
        }
        rows.push(row);
    }
    Sample { rows, broken: None }
}

fn at_line(error: Error, chunk: &Chunk, start: usize) -> Error {
    let before = chunk.bytes.get(..start).unwrap_or_default();
    let line = chunk.first_line + memchr::memchr_iter(chunk.newline.counted_byte(), before).count() as u64;
    match &chunk.source {
        Some(file) if error.sqlstate() == SqlState::CharacterNotInRepertoire => {
            error.with_context(format!("file \"{file}\", line {line}"))
        }
        Some(_) | None => error,
    }
}
