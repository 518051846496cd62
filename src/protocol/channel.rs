//! One client's bytes: bounded input, double-buffered output, nothing of their meaning.
//!
//! ```text
//! socket ─→ input ─→ frames                     input:   what came and was not yet looked at, bounded
//! socket ←─ writing ←─(full, due or flushed)─ output     output: being filled while `writing` is on its way
//! ```
//! All I/O is polled, never spawned, so that one task can write, read ahead and run a statement at the same time.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::counters::Counters;
use super::frontend::{Frame, body_bytes_max, invalid_type};
use super::reader::violation;
use crate::error::{Error, Result};

/// Output is sent when this much has gathered.
pub const OUTPUT_BYTES: usize = 128 * 1024;
/// How much may be read ahead while a statement runs.
const READ_AHEAD_BYTES: usize = 256 * 1024;
/// Bytes asked of the socket at once; grows while reads come full.
const READ_BYTES_MIN: usize = 4 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
/// The largest buffer that an idle connection keeps.
const IDLE_BYTES: usize = 8 * 1024;
/// Type and length of a message.
const HEADER_BYTES: usize = 5;

/// A transport that PostgreSQL's protocol can be spoken over.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for S {}

pub struct Channel<S> {
    stream: S,
    input: BytesMut,
    read_bytes: usize,
    /// The client sent its last byte.
    ended: bool,
    pub output: BytesMut,
    writing: BytesMut,
    /// How much of `writing` the stream took.
    written: usize,
    /// Whether the stream (TLS) may still hold written bytes.
    unflushed: bool,
    counters: Arc<Counters>,
}

impl<S: Transport> Channel<S> {
    pub fn new(stream: S, counters: Arc<Counters>) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            ended: false,
            output: BytesMut::new(),
            writing: BytesMut::new(),
            written: 0,
            unflushed: false,
            counters,
        }
    }

    /// Whether the client sent its last byte. What came before it may still wait to be taken.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Reads what has come into the input buffer. Ready once something came or the client ended.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        self.input.reserve(self.read_bytes);
        let mut room = (&mut self.input).limit(self.read_bytes);
        let read = ready!(pin!(self.stream.read_buf(&mut room)).poll(cx))?;
        self.ended = read == 0;
        self.counters.received(read);
        if read >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads ahead as far as the bound allows. Ready only when the client ended or failed.
    pub fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.input.len() < READ_AHEAD_BYTES {
            ready!(self.poll_read(cx))?;
            if self.ended {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }

    /// Takes the next frame if it has come whole. An unknown type or an impossible length is FATAL: nothing is ever
    /// allocated for what a header merely claims.
    pub fn take_frame(&mut self, large_bytes_max: usize) -> Result<Option<Frame>> {
        let Some((tag, length)) = self.header() else { return Ok(None) };
        let limit = body_bytes_max(tag, large_bytes_max).ok_or_else(|| invalid_type(tag))?;
        self.take_body(tag, length, limit)
    }

    /// Takes the next frame if it has come whole and has this type (that of a password message).
    pub fn take_frame_of(&mut self, expected: u8, bytes_max: usize) -> Result<Option<Frame>> {
        let Some((tag, length)) = self.header() else { return Ok(None) };
        if tag != expected {
            let expected = char::from(expected);
            return Err(violation(format!("expected message type \"{expected}\", got message type {tag}")).fatal());
        }
        self.take_body(tag, length, bytes_max)
    }

    fn header(&self) -> Option<(u8, u32)> {
        let mut header = self.input.get(..HEADER_BYTES)?;
        Some((header.get_u8(), header.get_u32()))
    }

    /// The type of the next message, once its first byte is there.
    pub fn next_tag(&self) -> Option<u8> {
        self.header().map(|(tag, _)| tag)
    }

    fn take_body(&mut self, tag: u8, length: u32, limit: usize) -> Result<Option<Frame>> {
        let body = usize::try_from(length).ok().and_then(|length| length.checked_sub(4));
        let body = body.filter(|body| *body <= limit).ok_or_else(invalid_length)?;
        if self.input.len() - HEADER_BYTES < body {
            return Ok(None);
        }
        self.input.advance(HEADER_BYTES);
        let body: Bytes = self.input.split_to(body).freeze();
        self.counters.message();
        Ok(Some(Frame { tag, body }))
    }

    /// Makes the gathered output the next to be written, if the buffer before it is gone.
    pub fn start_writing(&mut self) {
        if self.written == self.writing.len() && !self.output.is_empty() {
            self.writing.clear();
            self.written = 0;
            std::mem::swap(&mut self.writing, &mut self.output);
        }
    }

    /// Whether anything was handed over for writing that the stream has not taken yet.
    pub fn is_writing(&self) -> bool {
        self.written < self.writing.len() || self.unflushed
    }

    /// Writes what was handed over. Ready when all of it left.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.writing.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.unflushed = true;
            self.counters.sent(count);
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all output, of both buffers.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write(cx))?;
            if self.output.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.start_writing();
        }
    }

    /// Gives back what an idle connection does not need. Small buffers stay: short queries use them again.
    pub fn rest(&mut self) {
        self.read_bytes = READ_BYTES_MIN;
        if self.written == self.writing.len() {
            self.writing.clear();
            self.written = 0;
        }
        for buffer in [&mut self.input, &mut self.output, &mut self.writing] {
            if buffer.is_empty() && buffer.capacity() > IDLE_BYTES {
                *buffer = BytesMut::new();
            }
        }
    }

    /// Ends our side, then reads and drops what the client still sends, so that it can read our last message: closing a
    /// socket with unread data resets it. The caller limits the time.
    pub async fn close(&mut self) -> io::Result<()> {
        tokio::io::AsyncWriteExt::shutdown(&mut self.stream).await?;
        for _ in 0..64 {
            self.input.clear();
            std::future::poll_fn(|cx| self.poll_read(cx)).await?;
            if self.ended {
                break;
            }
        }
        Ok(())
    }

    /// Reads exactly this many bytes and not one more: what follows may be for TLS. Only before any frame was read.
    pub async fn read_exactly(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(buffer).await?;
        self.counters.received(buffer.len());
        Ok(())
    }

    /// Whether more was sent than was asked for: bytes behind a request for encryption. They are lost by asking.
    pub async fn has_unread(&mut self) -> io::Result<bool> {
        let mut byte = [0; 1];
        let read = std::future::poll_fn(|cx| Poll::Ready(pin!(self.stream.read(&mut byte)).poll(cx))).await;
        match read {
            Poll::Ready(read) => Ok(read? > 0),
            Poll::Pending => Ok(false),
        }
    }

    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, when nothing is buffered.
    pub fn into_stream(self) -> S {
        self.stream
    }
}

fn invalid_length() -> Error {
    violation("invalid message length").fatal()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn channel_of(bytes: &[u8]) -> Channel<tokio::io::DuplexStream> {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(bytes).await.unwrap();
        drop(client);
        let mut channel = Channel::new(server, Arc::default());
        while !channel.ended() {
            std::future::poll_fn(|cx| channel.poll_read(cx)).await.unwrap();
        }
        channel
    }

    #[tokio::test]
    async fn a_frame_is_taken_only_when_whole() {
        let mut channel = channel_of(b"S\0\0\0\x04Q\0\0\0\x06a").await;
        assert_eq!(channel.take_frame(100).unwrap().unwrap().tag, b'S');
        assert!(channel.take_frame(100).unwrap().is_none());
    }

    #[tokio::test]
    async fn impossible_lengths_and_types_are_fatal() {
        for (bytes, message) in [
            (b"Q\0\0\0\x03".as_slice(), "invalid message length"),
            (b"Q\0\0\0\x69", "invalid message length"),
            (b"Q\xff\xff\xff\xff", "invalid message length"),
            (b"\x01\0\0\0\x04", "invalid frontend message type 1"),
        ] {
            let fault = channel_of(bytes).await.take_frame(100).unwrap_err();
            assert_eq!((fault.message(), fault.level()), (message, crate::error::Severity::Fatal));
        }
    }

    #[tokio::test]
    async fn reading_ahead_stops_at_its_bound() {
        let (mut client, server) = tokio::io::duplex(4 << 20);
        client.write_all(&vec![b'd'; 2 << 20]).await.unwrap();
        let mut channel = Channel::new(server, Arc::default());
        std::future::poll_fn(|cx| {
            assert!(channel.poll_read_ahead(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(channel.input.len() < READ_AHEAD_BYTES + 2 * READ_BYTES_MAX);
    }

    #[tokio::test]
    async fn an_idle_channel_keeps_no_large_buffer() {
        let (_client, server) = tokio::io::duplex(64);
        let mut channel = Channel::new(server, Arc::default());
        channel.output.reserve(OUTPUT_BYTES);
        channel.input.reserve(READ_BYTES_MAX);
        channel.rest();
        assert_eq!(channel.output.capacity() + channel.input.capacity() + channel.writing.capacity(), 0);
    }
}
