//! Reads fields out of one message's body. Every read is checked: a short body is 08P01, never a panic.

use bytes::{Buf, Bytes};

use crate::error::{Error, Result, SqlState};

/// The rest of one frame's body. Byte strings are slices of the frame: nothing is copied.
pub struct Reader {
    body: Bytes,
}

impl Reader {
    pub fn new(body: Bytes) -> Self {
        Self { body }
    }

    pub fn remaining(&self) -> usize {
        self.body.len()
    }

    pub fn u8(&mut self) -> Result<u8> {
        self.body.try_get_u8().map_err(|_| insufficient())
    }

    pub fn i16(&mut self) -> Result<i16> {
        self.body.try_get_i16().map_err(|_| insufficient())
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.body.try_get_i32().map_err(|_| insufficient())
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.body.try_get_u32().map_err(|_| insufficient())
    }

    /// A 16-bit count of items that take at least `item_bytes_min` each. A count that the body cannot hold is refused
    /// here, so that nobody allocates what the client merely claims.
    pub fn count(&mut self, item_bytes_min: usize) -> Result<usize> {
        let count = usize::from(self.body.try_get_u16().map_err(|_| insufficient())?);
        if count.saturating_mul(item_bytes_min) > self.body.len() { Err(insufficient()) } else { Ok(count) }
    }

    pub fn bytes(&mut self, length: usize) -> Result<Bytes> {
        if length > self.body.len() { Err(insufficient()) } else { Ok(self.body.split_to(length)) }
    }

    /// Length and bytes of a value; a length of -1 is NULL.
    pub fn value(&mut self) -> Result<Option<Bytes>> {
        match self.i32()? {
            -1 => Ok(None),
            length => self.bytes(usize::try_from(length).map_err(|_| insufficient())?).map(Some),
        }
    }

    /// A string that ends with a zero byte. 22021 when it is not UTF-8.
    pub fn string(&mut self) -> Result<String> {
        let Some(end) = memchr::memchr(0, &self.body) else {
            return Err(violation("invalid string in message"));
        };
        let text = self.body.split_to(end);
        self.body.advance(1);
        utf8(&text)
    }

    /// All that is left.
    pub fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }

    /// Refuses what stands after the last field.
    pub fn end(&self) -> Result<()> {
        if self.body.is_empty() { Ok(()) } else { Err(violation("invalid message format")) }
    }
}

/// 08P01.
pub fn violation(message: impl Into<String>) -> Error {
    Error::new(SqlState::ProtocolViolation, message)
}

fn insufficient() -> Error {
    violation("insufficient data left in message")
}

/// The text, or 22021 with the bytes of the faulty character, as PostgreSQL prints them.
pub fn utf8(text: &[u8]) -> Result<String> {
    match std::str::from_utf8(text) {
        Ok(text) => Ok(text.to_owned()),
        Err(fault) => Err(invalid_utf8(text.get(fault.valid_up_to()..).unwrap_or_default())),
    }
}

fn invalid_utf8(rest: &[u8]) -> Error {
    let length = match rest.first() {
        Some(0xC0..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF7) => 4,
        _ => 1,
    };
    let bytes: String = rest.iter().take(length).map(|byte| format!(" 0x{byte:02x}")).collect();
    Error::new(SqlState::CharacterNotInRepertoire, format!("invalid byte sequence for encoding \"UTF8\":{bytes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_without_its_end_is_refused() {
        let fault = Reader::new(Bytes::from_static(b"abc")).string().unwrap_err();
        assert_eq!(fault.message(), "invalid string in message");
        assert_eq!(fault.sqlstate(), SqlState::ProtocolViolation);
    }

    #[test]
    fn bad_utf8_names_its_bytes() {
        let fault = Reader::new(Bytes::from_static(b"a\xe4 \0")).string().unwrap_err();
        assert_eq!(fault.message(), "invalid byte sequence for encoding \"UTF8\": 0xe4 0x20");
        assert_eq!(fault.sqlstate(), SqlState::CharacterNotInRepertoire);
    }

    #[test]
    fn a_count_beyond_the_body_is_refused() {
        let mut reader = Reader::new(Bytes::from_static(b"\xff\xff\0\0\0\0"));
        assert_eq!(reader.count(4).unwrap_err().message(), "insufficient data left in message");
    }

    #[test]
    fn a_value_of_minus_one_is_null_and_of_minus_two_an_error() {
        assert_eq!(Reader::new(Bytes::from_static(b"\xff\xff\xff\xff")).value().unwrap(), None);
        assert!(Reader::new(Bytes::from_static(b"\xff\xff\xff\xfe")).value().is_err());
    }
}
