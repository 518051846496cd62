//! From a fresh socket to the startup message: encryption is asked for, agreed on, or begun without asking.
//!
//! Packets are read to their last byte and not beyond, so that nothing sent in clear can count as sent inside TLS
//! (CVE-2021-23214). A TLS fault is never answered: what it would say in clear could be forged.

use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use tokio_rustls::TlsAcceptor;

use super::channel::{Channel, Transport};
use super::counters::Counters;
use super::link::Stop;
use super::reader::violation;
use super::startup::{self, Packet, Startup};
use super::tls::{ALPN, Replayed, Stream, TlsSource};
use crate::error::{Error, SqlState};

/// The first byte of a TLS record that holds a ClientHello.
const TLS_HANDSHAKE: u8 = 0x16;

/// What the client wants.
pub enum Wish {
    Cancel { pid: i32, secret: Bytes },
    Start(Startup),
}

/// What the server has to offer.
pub struct Terms<'a> {
    pub tls: Option<&'a dyn TlsSource>,
    pub counters: &'a Arc<Counters>,
}

/// The channel to go on with; its wish, or why there is none.
pub type Negotiated<S> = (Option<Channel<Stream<S>>>, Result<Wish, Stop>);

/// Agrees on encryption and reads what the client wants.
pub async fn negotiate<S: Transport>(stream: S, terms: &Terms<'_>) -> Negotiated<S> {
    let mut channel = Channel::new(Stream::plain(stream), terms.counters.clone());
    let mut asked = Asked::default();
    loop {
        match step(&mut channel, terms, &mut asked).await {
            Ok(Step::Again) => {}
            Ok(Step::Encrypt(replayed)) => match encrypt(channel, replayed, terms).await {
                Ok(encrypted) => channel = encrypted,
                Err(stop) => return (None, Err(stop)),
            },
            Ok(Step::Done(wish)) => return (Some(channel), Ok(wish)),
            Err(stop) => return (Some(channel), Err(stop)),
        }
    }
}

/// Each request may come once.
#[derive(Default)]
struct Asked {
    tls: bool,
    gss: bool,
}

enum Step {
    Again,
    /// Start TLS; these bytes of it were read.
    Encrypt(Bytes),
    Done(Wish),
}

async fn step<S: Transport>(
    channel: &mut Channel<Stream<S>>,
    terms: &Terms<'_>,
    asked: &mut Asked,
) -> Result<Step, Stop> {
    let mut length = [0; 4];
    channel.read_exactly(&mut length).await.map_err(quiet_end)?;
    if length[0] == TLS_HANDSHAKE && !asked.tls && !asked.gss {
        asked.tls = true;
        return Ok(Step::Encrypt(Bytes::copy_from_slice(&length)));
    }
    let mut body = vec![0; startup::body_bytes(length).map_err(Stop::Fatal)?];
    channel.read_exactly(&mut body).await?;
    match startup::decode(Bytes::from(body)).map_err(Stop::Fatal)? {
        Packet::SslRequest if !asked.tls => {
            asked.tls = true;
            answer_tls_request(channel, terms.tls.is_some()).await
        }
        Packet::GssRequest if !asked.gss => {
            asked.gss = true;
            refuse_encryption(channel, "GSSAPI encryption request").await
        }
        Packet::SslRequest => Err(Stop::Fatal(asked_twice(5679))),
        Packet::GssRequest => Err(Stop::Fatal(asked_twice(5680))),
        Packet::Cancel { pid, secret } => Ok(Step::Done(Wish::Cancel { pid, secret })),
        Packet::Startup(startup) => Ok(Step::Done(Wish::Start(startup))),
    }
}

/// A client that only looked whether the port is open says nothing.
fn quiet_end(error: io::Error) -> Stop {
    Stop::Gone((error.kind() != io::ErrorKind::UnexpectedEof).then_some(error))
}

fn asked_twice(minor: u32) -> Error {
    let message = format!("unsupported frontend protocol 1234.{minor}: server supports 3.0 to 3.2");
    Error::new(SqlState::FeatureNotSupported, message).fatal()
}

async fn answer_tls_request<S: Transport>(channel: &mut Channel<Stream<S>>, offered: bool) -> Result<Step, Stop> {
    if !offered {
        return refuse_encryption(channel, "SSL request").await;
    }
    if channel.has_unread().await? {
        return Err(Stop::Gone(Some(io::Error::other("received unencrypted data after SSL request"))));
    }
    channel.output.put_u8(b'S');
    std::future::poll_fn(|cx| channel.poll_drain(cx)).await?;
    Ok(Step::Encrypt(Bytes::new()))
}

async fn refuse_encryption<S: Transport>(channel: &mut Channel<Stream<S>>, request: &str) -> Result<Step, Stop> {
    let unread = channel.has_unread().await?;
    channel.output.put_u8(b'N');
    std::future::poll_fn(|cx| channel.poll_drain(cx)).await?;
    if unread {
        let fault = violation(format!("received unencrypted data after {request}")).with_detail(
            "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
        );
        return Err(Stop::Fatal(fault.fatal()));
    }
    Ok(Step::Again)
}

async fn encrypt<S: Transport>(
    channel: Channel<Stream<S>>,
    replayed: Bytes,
    terms: &Terms<'_>,
) -> Result<Channel<Stream<S>>, Stop> {
    let (Some(source), Stream::Plain(plain)) = (&terms.tls, channel.into_stream()) else {
        return Err(Stop::Gone(Some(io::Error::other("TLS is not configured"))));
    };
    let direct = !replayed.is_empty();
    let tls = source.current();
    let accepted =
        TlsAcceptor::from(tls.config.clone()).accept(Replayed { bytes: replayed, stream: plain.stream }).await;
    let stream = accepted.inspect_err(|_| Counters::count(&terms.counters.tls_handshakes_failed))?;
    // Without a request only ALPN shows that the client means PostgreSQL (and not, say, HTTPS: the ALPACA attack).
    if direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(Stop::Gone(Some(io::Error::other(
            "received direct SSL connection request without ALPN protocol negotiation extension",
        ))));
    }
    let stream = Stream::Tls { stream: Box::new(stream), end_point: tls.end_point.clone() };
    Ok(Channel::new(stream, terms.counters.clone()))
}
