//! The characters of text files: byte order marks are taken off, UTF-16 becomes UTF-8. What each format makes of bytes that are
//! no UTF-8 is its own matter.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};

use crate::error::{Error, Result, SqlState};

/// How a text file's characters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FileEncoding {
    /// What its byte order mark says, UTF-8 without one.
    #[default]
    Marked,
    /// As the mark says, the smaller byte first without one.
    Utf16,
    Utf16Le,
    Utf16Be,
    /// Bytes are left as they are.
    Raw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Units {
    Utf8,
    Little,
    Big,
}

/// Turns pieces of a file into UTF-8.
#[derive(Debug)]
struct Reader {
    told: FileEncoding,
    /// Known once the first bytes are there.
    units: Option<Units>,
    /// Bytes that wait for more: the first ones, or half a character.
    pending: Vec<u8>,
    line: u64,
}

impl Reader {
    fn new(told: FileEncoding) -> Self {
        Self { told, units: None, pending: Vec::new(), line: 1 }
    }

    fn feed(&mut self, piece: Bytes, at_end: bool) -> Result<Bytes> {
        if let (Some(Units::Utf8), true) = (self.units, self.pending.is_empty()) {
            return Ok(piece);
        }
        self.pending.extend_from_slice(&piece);
        let units = match self.units {
            Some(units) => units,
            None if self.pending.len() < 3 && !at_end => return Ok(Bytes::new()),
            None => {
                let (units, mark) = self.begin();
                self.pending.drain(..mark);
                *self.units.insert(units)
            }
        };
        match units {
            Units::Utf8 => Ok(std::mem::take(&mut self.pending).into()),
            Units::Little => self.characters(u16::from_le_bytes, at_end),
            Units::Big => self.characters(u16::from_be_bytes, at_end),
        }
    }

    /// The units, and the length of the mark.
    fn begin(&self) -> (Units, usize) {
        let little = self.pending.starts_with(&[0xff, 0xfe]);
        let big = self.pending.starts_with(&[0xfe, 0xff]);
        match self.told {
            FileEncoding::Raw => (Units::Utf8, 0),
            FileEncoding::Utf16Le => (Units::Little, if little { 2 } else { 0 }),
            FileEncoding::Utf16Be => (Units::Big, if big { 2 } else { 0 }),
            FileEncoding::Utf16 if big => (Units::Big, 2),
            FileEncoding::Utf16 => (Units::Little, if little { 2 } else { 0 }),
            FileEncoding::Marked if little => (Units::Little, 2),
            FileEncoding::Marked if big => (Units::Big, 2),
            FileEncoding::Marked if self.pending.starts_with(&[0xef, 0xbb, 0xbf]) => (Units::Utf8, 3),
            FileEncoding::Marked => (Units::Utf8, 0),
        }
    }

    /// The whole characters that are there.
    fn characters(&mut self, unit: fn([u8; 2]) -> u16, at_end: bool) -> Result<Bytes> {
        let mut units: Vec<u16> =
            self.pending.chunks_exact(2).filter_map(|pair| Some(unit(pair.try_into().ok()?))).collect();
        // The second half of the last character may be in the next piece.
        if !at_end && units.last().is_some_and(|last| (0xd800..0xdc00).contains(last)) {
            units.pop();
        }
        let mut text = String::with_capacity(units.len() * 2);
        for character in char::decode_utf16(units.iter().copied()) {
            match character {
                Ok(character) => text.push(character),
                Err(error) => return Err(self.invalid(&text, &error.unpaired_surrogate().to_be_bytes())),
            }
        }
        self.pending.drain(..units.len() * 2);
        if at_end && !self.pending.is_empty() {
            let rest = std::mem::take(&mut self.pending);
            return Err(self.invalid(&text, &rest));
        }
        self.line += memchr::memchr_iter(b'\n', text.as_bytes()).count() as u64;
        Ok(text.into_bytes().into())
    }

    fn invalid(&self, before: &str, bytes: &[u8]) -> Error {
        let line = self.line + memchr::memchr_iter(b'\n', before.as_bytes()).count() as u64;
        let shown: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
        let message = format!("invalid byte sequence for encoding \"UTF16\": {}", shown.join(" "));
        Error::new(SqlState::CharacterNotInRepertoire, message).with_context(format!("line {line}"))
    }
}

/// The file's bytes as UTF-8. Errors: 22021 with the file and line for what is no UTF-16.
pub(super) fn utf8(
    pieces: BoxStream<'static, Result<Bytes>>,
    told: FileEncoding,
    name: &str,
) -> BoxStream<'static, Result<Bytes>> {
    let name = name.to_owned();
    let pieces = pieces.map(Some).chain(stream::iter([None]));
    let mut reader = Reader::new(told);
    pieces
        .map(move |piece| {
            let (piece, at_end) = match piece {
                Some(piece) => (piece?, false),
                None => (Bytes::new(), true),
            };
            reader.feed(piece, at_end).map_err(|error| {
                let line = error.context().unwrap_or_default().to_owned();
                error.with_context(format!("file \"{name}\", {line}"))
            })
        })
        .filter(|piece| futures::future::ready(!matches!(piece, Ok(piece) if piece.is_empty())))
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(told: FileEncoding, pieces: &[&[u8]]) -> Result<String> {
        let mut reader = Reader::new(told);
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&reader.feed(Bytes::copy_from_slice(piece), false)?);
        }
        out.extend_from_slice(&reader.feed(Bytes::new(), true)?);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn marks_are_taken_off_and_believed() {
        assert_eq!(read(FileEncoding::Marked, &[b"\xef", b"\xbb\xbfa,b"]).unwrap(), "a,b");
        assert_eq!(read(FileEncoding::Marked, &[b"a"]).unwrap(), "a");
        assert_eq!(read(FileEncoding::Marked, &[b"\xff\xfea\0", b"\n\0"]).unwrap(), "a\n");
        assert_eq!(read(FileEncoding::Marked, &[b"\xfe\xff\0a"]).unwrap(), "a");
    }

    #[test]
    fn characters_may_be_cut_anywhere() {
        let text = "ä\n😀z";
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for cut in 0..bytes.len() {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(read(FileEncoding::Utf16Le, &[left, right]).unwrap(), text, "cut at {cut}");
        }
    }

    #[test]
    fn half_a_character_is_told_with_its_line() {
        for bytes in [b"a\0\n\0\0\xd8b\0".as_slice(), b"a\0\n\0b"] {
            let error = read(FileEncoding::Utf16Le, &[bytes]).unwrap_err();
            assert_eq!((error.sqlstate().code(), error.context()), ("22021", Some("line 2")));
        }
    }
}
