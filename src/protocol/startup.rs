//! The packets before authentication: requests for encryption, cancel requests and the startup message. Pure.

use bytes::Bytes;

use super::options;
use super::reader::{Reader, violation};
use crate::error::{Error, Result, SqlState};

/// The largest startup packet, its length included (PostgreSQL's MAX_STARTUP_PACKET_LENGTH).
pub const PACKET_BYTES_MAX: usize = 10_000;
/// The largest cancel key of protocol 3.2.
const SECRET_BYTES_MAX: usize = 256;

const SSL_REQUEST: u32 = (1234 << 16) | 5679;
const GSS_REQUEST: u32 = (1234 << 16) | 5680;
const CANCEL_REQUEST: u32 = (1234 << 16) | 5678;

/// A version of the protocol, 3.0 to 3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32);

impl Version {
    pub const V3_0: Self = Self(3 << 16);
    pub const V3_2: Self = Self((3 << 16) | 2);

    /// As it goes over the wire.
    pub fn code(self) -> u32 {
        self.0
    }

    /// How much of the cancel key a client of this version gets.
    pub fn secret_bytes(self) -> usize {
        if self < Self::V3_2 { 4 } else { SECRET_BYTES_MAX }
    }
}

/// A packet without a type.
#[derive(Debug, PartialEq)]
pub enum Packet {
    SslRequest,
    GssRequest,
    Cancel { pid: i32, secret: Bytes },
    Startup(Startup),
}

/// What a client says first.
#[derive(Debug, Clone, PartialEq)]
pub struct Startup {
    /// The version to speak: what the client asks for, or the newest one that we know.
    pub version: Version,
    /// Whether the client asked for something newer: it is told by NegotiateProtocolVersion.
    pub newer: bool,
    /// Names of `_pq_.` options, none of which we know.
    pub unknown_options: Vec<String>,
    pub user: String,
    pub database: Option<String>,
    /// All other parameters, with `options` already split.
    pub settings: Vec<(String, String)>,
}

/// The length of a packet's rest from its first four bytes. 08P01 when it is impossible.
pub fn body_bytes(length: [u8; 4]) -> Result<usize> {
    usize::try_from(u32::from_be_bytes(length))
        .ok()
        .filter(|length| (8..=PACKET_BYTES_MAX).contains(length))
        .map(|length| length - 4)
        .ok_or_else(|| violation("invalid length of startup packet").fatal())
}

/// Decodes a packet. Every error is FATAL.
pub fn decode(body: Bytes) -> Result<Packet> {
    packet(body).map_err(Error::fatal)
}

fn packet(body: Bytes) -> Result<Packet> {
    let mut reader = Reader::new(body);
    match reader.u32()? {
        SSL_REQUEST => reader.end().map(|()| Packet::SslRequest),
        GSS_REQUEST => reader.end().map(|()| Packet::GssRequest),
        CANCEL_REQUEST => cancel(&mut reader),
        version => startup(version, &mut reader).map(Packet::Startup),
    }
}

fn cancel(reader: &mut Reader) -> Result<Packet> {
    let pid = reader.i32()?;
    let secret = reader.rest();
    if secret.is_empty() || secret.len() > SECRET_BYTES_MAX {
        return Err(violation("invalid length of cancel request packet"));
    }
    Ok(Packet::Cancel { pid, secret })
}

fn startup(code: u32, reader: &mut Reader) -> Result<Startup> {
    let (major, minor) = (code >> 16, code & 0xffff);
    if major != 3 {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2"),
        ));
    }
    let version = Version(code).min(Version::V3_2);
    let newer = Version(code) > version;
    let mut startup =
        Startup { version, newer, unknown_options: vec![], user: String::new(), database: None, settings: vec![] };
    parameters(reader, &mut startup)?;
    if startup.user.is_empty() {
        return Err(Error::new(
            SqlState::InvalidAuthorizationSpecification,
            "no PostgreSQL user name specified in startup packet",
        ));
    }
    Ok(startup)
}

fn parameters(reader: &mut Reader, startup: &mut Startup) -> Result<()> {
    let mut from_options = Vec::new();
    loop {
        let name = reader.string().map_err(layout)?;
        if name.is_empty() {
            break;
        }
        let value = reader.string().map_err(layout)?;
        match name.as_str() {
            "user" => startup.user = value,
            "database" => startup.database = Some(value).filter(|name| !name.is_empty()),
            "options" => from_options = options::parse(&value)?,
            "replication" => refuse_replication(&value)?,
            _ if name.starts_with("_pq_.") => startup.unknown_options.push(name),
            _ => startup.settings.push((name, value)),
        }
    }
    reader.end().map_err(layout)?;
    // Parameters of their own win over `options`, as in PostgreSQL.
    from_options.append(&mut startup.settings);
    startup.settings = from_options;
    Ok(())
}

fn layout(fault: Error) -> Error {
    match fault.sqlstate() {
        SqlState::ProtocolViolation => violation("invalid startup packet layout: expected terminator as last byte"),
        _ => fault,
    }
}

fn refuse_replication(value: &str) -> Result<()> {
    match value.to_ascii_lowercase().as_str() {
        "false" | "off" | "no" | "0" | "f" | "n" => Ok(()),
        "true" | "on" | "yes" | "1" | "t" | "y" | "database" => Err(Error::unsupported("replication")),
        _ => Err(Error::new(
            SqlState::InvalidParameterValue,
            format!("invalid value for parameter \"replication\": \"{value}\""),
        )
        .with_hint("Valid values are: \"false\", 0, \"true\", 1, \"database\".")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Severity;

    fn packet(code: u32, rest: &[u8]) -> Result<Packet> {
        decode(Bytes::from([&code.to_be_bytes(), rest].concat()))
    }

    fn startup(code: u32, rest: &[u8]) -> Startup {
        match packet(code, rest).unwrap() {
            Packet::Startup(startup) => startup,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_startup_message_is_read_whole() {
        let read = startup(
            196_608,
            b"user\0u\0database\0d\0application_name\0psql\0options\0-c a=b --c=d\0replication\0off\0\0",
        );
        let settings = [("a", "b"), ("c", "d"), ("application_name", "psql")];
        assert_eq!((read.user.as_str(), read.database.as_deref()), ("u", Some("d")));
        assert_eq!(read.settings, settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(!read.newer);
    }

    #[test]
    fn newer_minors_and_unknown_options_are_negotiated() {
        let read = startup((3 << 16) | 9999, b"user\0u\0_pq_.magic\0x\0\0");
        assert_eq!((read.version, read.newer), (Version::V3_2, true));
        assert_eq!(read.unknown_options, ["_pq_.magic"]);
        assert!(!startup((3 << 16) | 2, b"user\0u\0\0").newer);
    }

    #[test]
    fn faults_are_fatal_with_their_codes() {
        for (code, rest, sqlstate, message) in [
            (2 << 16, b"".as_slice(), "0A000", "unsupported frontend protocol 2.0: server supports 3.0 to 3.2"),
            (4 << 16, b"", "0A000", "unsupported frontend protocol 4.0: server supports 3.0 to 3.2"),
            (196_608, b"\0", "28000", "no PostgreSQL user name specified in startup packet"),
            (196_608, b"user\0u\0", "08P01", "invalid startup packet layout: expected terminator as last byte"),
            (196_608, b"user\0u\0\0x", "08P01", "invalid startup packet layout: expected terminator as last byte"),
            (196_608, b"user\0u\0replication\0true\0\0", "0A000", "replication is not supported"),
            (196_608, b"user\0u\0options\0-x\0\0", "42601", "invalid command-line argument for server process: -x"),
        ] {
            let fault = packet(code, rest).unwrap_err();
            assert_eq!((fault.sqlstate().code(), fault.message()), (sqlstate, message));
            assert_eq!(fault.level(), Severity::Fatal);
        }
    }

    #[test]
    fn requests_are_told_apart() {
        assert_eq!(packet(SSL_REQUEST, b"").unwrap(), Packet::SslRequest);
        assert_eq!(packet(GSS_REQUEST, b"").unwrap(), Packet::GssRequest);
        let cancel = Packet::Cancel { pid: 7, secret: Bytes::from_static(&[1, 2, 3, 4]) };
        assert_eq!(packet(CANCEL_REQUEST, b"\0\0\0\x07\x01\x02\x03\x04").unwrap(), cancel);
        assert!(packet(CANCEL_REQUEST, b"\0\0\0\x07").is_err());
        assert!(packet(CANCEL_REQUEST, &[0; 300]).is_err());
    }

    #[test]
    fn lengths_have_bounds() {
        assert_eq!(body_bytes(8u32.to_be_bytes()).unwrap(), 4);
        for length in [0, 7, 10_001, u32::MAX] {
            assert!(body_bytes(length.to_be_bytes()).is_err());
        }
    }

    proptest! {
        #[test]
        fn random_packets_never_panic(code in prop_oneof![Just(196_608u32), any::<u32>()], rest in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = super::tests::packet(code, &rest);
        }
    }
}
