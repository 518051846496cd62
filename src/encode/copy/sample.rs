//! Records of a chunk as plain texts, whatever their number of fields: for whoever has to guess the columns.

use super::field::FieldReader;
use super::index::{Index, Indexer};
use super::options::Options;
use super::split::Chunk;
use crate::error::{Error, Result, SqlState};

/// The first rows of a chunk of text or csv, a value per field. Stops without a word at a record that is malformed: the
/// decoder will say it. Errors: 22021.
pub fn sample_rows(chunk: &Chunk, options: &Options, rows_max: usize) -> Result<Vec<Vec<Option<String>>>> {
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
        for span in &index.spans {
            let value = reader.value(&chunk.bytes, *span, &mut scratch)?;
            let text = value.map(|bytes| String::from_utf8(bytes.to_vec())).transpose();
            row.push(text.map_err(|_| {
                Error::new(SqlState::CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\"")
            })?);
        }
        rows.push(row);
    }
    Ok(rows)
}
