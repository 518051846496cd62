//! Messages of the client, decoded from whole frames.
//!
//! pgwire's decoders of these messages panic on a truncated body, so the frontend half is ours: see [`super`].

use bytes::Bytes;

use super::reader::{Reader, violation};
use crate::error::{Error, Result};

/// The largest body of a message that carries no text or data of the user (PostgreSQL's PQ_SMALL_MESSAGE_LIMIT).
pub const SMALL_BYTES_MAX: usize = 10_000;

/// One message as it came: its type and its body.
#[derive(Debug, Clone)]
pub struct Frame {
    pub tag: u8,
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Statement,
    Portal,
}

/// A message of the client, after authentication.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Query(String),
    Parse {
        name: String,
        text: String,
        parameter_oids: Vec<u32>,
    },
    Bind(Bind),
    Describe {
        target: Target,
        name: String,
    },
    /// `rows_max` of 0 or less means no limit.
    Execute {
        portal: String,
        rows_max: i32,
    },
    Close {
        target: Target,
        name: String,
    },
    FunctionCall,
    Flush,
    Sync,
    Terminate,
    CopyData(Bytes),
    CopyDone,
    /// The client's reason; it need not be UTF-8.
    CopyFail(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Bind {
    pub portal: String,
    pub statement: String,
    pub parameter_formats: Vec<i16>,
    pub parameters: Vec<Option<Bytes>>,
    pub result_formats: Vec<i16>,
}

/// The largest body that a message of this type may have; `None` for a type that no client may send after authentication.
pub fn body_bytes_max(tag: u8, large: usize) -> Option<usize> {
    match tag {
        b'Q' | b'P' | b'B' | b'd' | b'F' => Some(large),
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' => Some(SMALL_BYTES_MAX.min(large)),
        _ => None,
    }
}

/// Whether an error in a message of this type makes the server skip to the next Sync.
pub fn is_extended(tag: u8) -> bool {
    matches!(tag, b'P' | b'B' | b'D' | b'E' | b'C' | b'H')
}

/// FATAL: the stream of messages can no longer be followed.
pub fn invalid_type(tag: u8) -> Error {
    violation(format!("invalid frontend message type {tag}")).fatal()
}

impl Frame {
    /// Decodes the body. 08P01 for a malformed body, 22021 for text that is not UTF-8; the frame after it is unharmed.
    pub fn decode(self) -> Result<Message> {
        let Self { tag, body } = self;
        let mut reader = Reader::new(body);
        let message = match tag {
            b'Q' => Message::Query(reader.string()?),
            b'P' => parse(&mut reader)?,
            b'B' => Message::Bind(bind(&mut reader)?),
            b'D' => {
                let target = target(&mut reader, "DESCRIBE")?;
                Message::Describe { target, name: reader.string()? }
            }
            b'C' => {
                let target = target(&mut reader, "CLOSE")?;
                Message::Close { target, name: reader.string()? }
            }
            b'E' => Message::Execute { portal: reader.string()?, rows_max: reader.i32()? },
            b'd' => Message::CopyData(reader.rest()),
            b'f' => Message::CopyFail(String::from_utf8_lossy(&copy_fail_reason(&mut reader)).into_owned()),
            // Its body is never looked at: the call is refused whole.
            b'F' => {
                reader.rest();
                Message::FunctionCall
            }
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => {
                reader.rest();
                Message::Terminate
            }
            b'c' => Message::CopyDone,
            other => return Err(invalid_type(other)),
        };
        reader.end()?;
        Ok(message)
    }
}

fn copy_fail_reason(reader: &mut Reader) -> Bytes {
    let body = reader.rest();
    let end = memchr::memchr(0, &body).unwrap_or(body.len());
    body.slice(..end)
}

fn parse(reader: &mut Reader) -> Result<Message> {
    let name = reader.string()?;
    let text = reader.string()?;
    let count = reader.count(4)?;
    let parameter_oids = (0..count).map(|_| reader.u32()).collect::<Result<_>>()?;
    Ok(Message::Parse { name, text, parameter_oids })
}

fn bind(reader: &mut Reader) -> Result<Bind> {
    Ok(Bind {
        portal: reader.string()?,
        statement: reader.string()?,
        parameter_formats: formats(reader)?,
        parameters: parameters(reader)?,
        result_formats: formats(reader)?,
    })
}

fn formats(reader: &mut Reader) -> Result<Vec<i16>> {
    let count = reader.count(2)?;
    (0..count).map(|_| reader.i16()).collect()
}

fn parameters(reader: &mut Reader) -> Result<Vec<Option<Bytes>>> {
    let count = reader.count(4)?;
    (0..count).map(|_| reader.value()).collect()
}

fn target(reader: &mut Reader, message: &str) -> Result<Target> {
    match reader.u8()? {
        b'S' => Ok(Target::Statement),
        b'P' => Ok(Target::Portal),
        other => Err(violation(format!("invalid {message} message subtype {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Frame {
        Frame { tag, body: Bytes::copy_from_slice(body) }
    }

    /// Each message with a well-formed body.
    fn samples() -> Vec<(u8, Vec<u8>)> {
        let bind = [
            b"portal\0statement\0".as_slice(),
            &[0, 1, 0, 1],
            &[0, 2, 0, 0, 0, 2, 7, 8, 0xff, 0xff, 0xff, 0xff],
            &[0, 1, 0, 1],
        ]
        .concat();
        vec![
            (b'Q', b"select 1\0".to_vec()),
            (b'P', b"name\0select $1\0\0\x01\0\0\0\x17".to_vec()),
            (b'B', bind),
            (b'D', b"Sname\0".to_vec()),
            (b'C', b"Pname\0".to_vec()),
            (b'E', b"portal\0\0\0\0\x05".to_vec()),
        ]
    }

    #[test]
    fn every_sample_decodes() {
        let decoded: Vec<_> = samples().into_iter().map(|(tag, body)| frame(tag, &body).decode().unwrap()).collect();
        let expected = vec![
            Message::Query("select 1".into()),
            Message::Parse { name: "name".into(), text: "select $1".into(), parameter_oids: vec![23] },
            Message::Bind(Bind {
                portal: "portal".into(),
                statement: "statement".into(),
                parameter_formats: vec![1],
                parameters: vec![Some(Bytes::from_static(&[7, 8])), None],
                result_formats: vec![1],
            }),
            Message::Describe { target: Target::Statement, name: "name".into() },
            Message::Close { target: Target::Portal, name: "name".into() },
            Message::Execute { portal: "portal".into(), rows_max: 5 },
        ];
        assert_eq!(decoded, expected);
    }

    #[test]
    fn every_truncation_is_a_protocol_violation() {
        for (tag, body) in samples() {
            for length in 0..body.len() {
                let fault = frame(tag, &body[..length]).decode().unwrap_err();
                assert_eq!(
                    fault.sqlstate(),
                    crate::error::SqlState::ProtocolViolation,
                    "{} cut at {length}",
                    tag as char
                );
            }
        }
    }

    #[test]
    fn what_stands_after_the_last_field_is_refused() {
        for (tag, mut body) in samples() {
            body.push(0);
            assert_eq!(frame(tag, &body).decode().unwrap_err().message(), "invalid message format");
        }
        assert!(frame(b'S', b"x").decode().is_err());
    }

    #[test]
    fn subtypes_other_than_statement_and_portal_are_refused() {
        let fault = frame(b'D', b"Xname\0").decode().unwrap_err();
        assert_eq!(fault.message(), "invalid DESCRIBE message subtype 88");
    }

    #[test]
    fn copy_fail_takes_any_bytes() {
        assert_eq!(frame(b'f', b"no\xff").decode().unwrap(), Message::CopyFail("no\u{fffd}".into()));
    }

    proptest! {
        #[test]
        fn random_bodies_never_panic(tag in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = frame(tag, &body).decode();
        }

        #[test]
        fn damaged_bodies_never_panic(sample in 0usize..6, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let (tag, mut body) = samples().swap_remove(sample);
            let at = at.index(body.len());
            body[at] = byte;
            let _ = frame(tag, &body).decode();
        }
    }
}
