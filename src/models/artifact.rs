//! The bytes of a model, as they are stored in the lake and exported. `docs/model-format.md` describes them.
//!
//! ```text
//! "LGMODEL\0" · format u32 · sections u32 · each section: name (u16 length, UTF-8) · type u8 · count u64 · values
//! · SHA-256 of all that stands before (32 bytes)
//! ```
//! Numbers are little-endian. The section `header` is JSON: what the model is, and how it was made.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result, SqlState};

const MAGIC: &[u8; 8] = b"LGMODEL\0";
/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
const DIGEST_BYTES: usize = 32;

/// Named arrays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sections {
    sections: BTreeMap<String, Section>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Section {
    Text(String),
    Bytes(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Section {
    fn code(&self) -> u8 {
        match self {
            Self::Text(_) => 0,
            Self::Bytes(_) => 1,
            Self::U16(_) => 2,
            Self::U32(_) => 3,
            Self::I32(_) => 4,
            Self::U64(_) => 5,
            Self::F32(_) => 6,
            Self::F64(_) => 7,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::U64(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Self::Bytes(values) => bytes.extend_from_slice(values),
            Self::U16(values) => values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes())),
            Self::U32(values) => values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes())),
            Self::I32(values) => values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes())),
            Self::U64(values) => values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes())),
            Self::F32(values) => values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes())),
            Self::F64(values) => values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes())),
        }
    }

    fn read(code: u8, count: usize, from: &mut Reader<'_>) -> Result<Self> {
        Ok(match code {
            0 => Self::Text(String::from_utf8(from.take(count)?.to_vec()).map_err(|_| damaged("a text is not UTF-8"))?),
            1 => Self::Bytes(from.take(count)?.to_vec()),
            2 => Self::U16(from.values(count, u16::from_le_bytes)?),
            3 => Self::U32(from.values(count, u32::from_le_bytes)?),
            4 => Self::I32(from.values(count, i32::from_le_bytes)?),
            5 => Self::U64(from.values(count, u64::from_le_bytes)?),
            6 => Self::F32(from.values(count, f32::from_le_bytes)?),
            7 => Self::F64(from.values(count, f64::from_le_bytes)?),
            other => return Err(damaged(&format!("section type {other} is unknown"))),
        })
    }
}

/// XX001: what is stored is not what was written.
pub fn damaged(what: &str) -> Error {
    Error::new(SqlState::DataCorrupted, "the model's artifact is damaged").with_detail(format!("Found: {what}."))
}

macro_rules! accessors {
    ($($get:ident $put:ident $variant:ident $of:ty;)*) => {$(
        /// The section of that name and type.
        ///
        /// # Errors
        /// XX001 when it is missing.
        pub fn $get(&self, name: &str) -> Result<&[$of]> {
            match self.sections.get(name) {
                Some(Section::$variant(values)) => Ok(values),
                _ => Err(damaged(&format!("section {name} is missing"))),
            }
        }

        pub fn $put(&mut self, name: &str, values: Vec<$of>) {
            self.sections.insert(name.to_owned(), Section::$variant(values));
        }
    )*};
}

impl Sections {
    accessors! {
        bytes put_bytes Bytes u8;
        u16s put_u16s U16 u16;
        u32s put_u32s U32 u32;
        i32s put_i32s I32 i32;
        u64s put_u64s U64 u64;
        f32s put_f32s F32 f32;
        f64s put_f64s F64 f64;
    }

    /// The text of that name.
    ///
    /// # Errors
    /// XX001 when it is missing.
    pub fn text(&self, name: &str) -> Result<&str> {
        match self.sections.get(name) {
            Some(Section::Text(text)) => Ok(text),
            _ => Err(damaged(&format!("section {name} is missing"))),
        }
    }

    pub fn put_text(&mut self, name: &str, text: String) {
        self.sections.insert(name.to_owned(), Section::Text(text));
    }

    /// All of it with its checksum.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&(self.sections.len() as u32).to_le_bytes());
        for (name, section) in &self.sections {
            bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(section.code());
            bytes.extend_from_slice(&(section.len() as u64).to_le_bytes());
            section.write(&mut bytes);
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// What [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// XX001 for anything else, 0A000 for a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(damaged("it is no model of Lakegate"));
        }
        let body = bytes.len().checked_sub(DIGEST_BYTES).and_then(|end| bytes.split_at_checked(end));
        let Some((body, digest)) = body else { return Err(damaged("it is too short")) };
        let mut from = Reader { rest: body.get(MAGIC.len()..).unwrap_or_default() };
        let format = from.u32()?;
        if format > FORMAT {
            let message = format!("a newer version of Lakegate wrote the model (format {format})");
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        if Sha256::digest(body).as_slice() != digest {
            return Err(damaged("the checksum does not fit"));
        }
        let mut sections = BTreeMap::new();
        for _ in 0..from.u32()? {
            let [low, high] = from.array()?;
            let name = from.take(usize::from(u16::from_le_bytes([low, high])))?;
            let name = String::from_utf8(name.to_vec()).map_err(|_| damaged("a name is not UTF-8"))?;
            let [code] = from.array()?;
            let count = usize::try_from(u64::from_le_bytes(from.array()?)).map_err(|_| damaged("it is too long"))?;
            sections.insert(name, Section::read(code, count, &mut from)?);
        }
        if !from.rest.is_empty() {
            return Err(damaged("something follows the last section"));
        }
        Ok(Self { sections })
    }
}

/// The SHA-256 of an artifact, as its catalog entry has it.
pub fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| damaged("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| damaged("it ends too early"))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn values<T, const N: usize>(&mut self, count: usize, of: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let bytes = count.checked_mul(N).ok_or_else(|| damaged("it is too long"))?;
        let chunks = self.take(bytes)?.chunks_exact(N);
        chunks.map(|chunk| chunk.try_into().map(of).map_err(|_| damaged("it ends too early"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Sections {
        let mut sections = Sections::default();
        sections.put_text("header", "{\"é\": 1}".to_owned());
        sections.put_f64s("values", vec![0.1, f64::NAN, f64::NEG_INFINITY, -0.0]);
        sections.put_u16s("feature", vec![1, 65535]);
        sections.put_bytes("empty", Vec::new());
        sections
    }

    #[test]
    fn what_is_written_is_read() {
        let read = Sections::decode(&some().encode()).unwrap();
        assert_eq!(read.text("header").unwrap(), "{\"é\": 1}");
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(read.f64s("values").unwrap()), bits(some().f64s("values").unwrap()));
        assert_eq!(read.u16s("feature").unwrap(), [1, 65535]);
        assert!(read.bytes("empty").unwrap().is_empty());
        assert_eq!(read.f64s("feature").unwrap_err().sqlstate(), SqlState::DataCorrupted);
    }

    #[test]
    fn every_changed_or_missing_byte_is_found() {
        let bytes = some().encode();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Sections::decode(&changed).is_err(), "byte {at}");
            assert!(Sections::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_lying_length_is_found_though_the_checksum_fits() {
        for length in [1_u64 << 40, u64::MAX] {
            let bytes = some().encode();
            let mut body = bytes[..bytes.len() - DIGEST_BYTES].to_vec();
            // The first section is `empty`: magic, format, count, its name's length and name, its type.
            let place = 8 + 4 + 4 + 2 + 5 + 1;
            body[place..place + 8].copy_from_slice(&length.to_le_bytes());
            let digest = Sha256::digest(&body);
            body.extend_from_slice(&digest);
            assert_eq!(Sections::decode(&body).unwrap_err().sqlstate(), SqlState::DataCorrupted);
        }
    }
}
