//! What the protocol needs of TLS: the configuration now in force, and a stream that may be encrypted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::channel::Transport;

/// The protocol's name in ALPN.
pub const ALPN: &[u8] = b"postgresql";

/// A server certificate with its key, ready for handshakes.
#[derive(Debug)]
pub struct TlsContext {
    pub config: Arc<rustls::ServerConfig>,
    /// Hash of the server's certificate for `tls-server-end-point` (RFC 5929); `None` offers no channel binding.
    pub end_point: Option<Vec<u8>>,
}

/// Where the configuration comes from, so that it can be reloaded under the protocol's feet.
pub trait TlsSource: Send + Sync {
    fn current(&self) -> Arc<TlsContext>;
}

/// A client's stream: in clear, or encrypted after the negotiation.
pub enum Stream<S> {
    Plain(Replayed<S>),
    Tls {
        stream: Box<TlsStream<Replayed<S>>>,
        /// As in the [`TlsContext`] that the handshake used.
        end_point: Option<Vec<u8>>,
    },
}

impl<S> Stream<S> {
    pub fn plain(stream: S) -> Self {
        Self::Plain(Replayed { bytes: Bytes::new(), stream })
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }

    /// The server certificate's hash for SCRAM-SHA-256-PLUS.
    pub fn end_point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls { end_point, .. } => end_point.clone(),
        }
    }

    /// The certificate that the client showed and that our CA vouches for.
    pub fn client_certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls { stream, .. } => stream.get_ref().1.peer_certificates()?.first(),
        }
    }
}

/// A stream whose first bytes were read already and are read once more: those by which TLS without a request is recognised.
pub struct Replayed<S> {
    pub bytes: Bytes,
    pub stream: S,
}

impl<S: Transport> AsyncRead for Replayed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.bytes.len().min(buffer.remaining());
        buffer.put_slice(&self.bytes.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: Transport> AsyncWrite for Replayed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: Transport> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl<S: Transport> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
