//! The parts of a connection that need no service, over in-memory streams. Whole conversations are tested over the wire.

mod copying;
mod linking;
mod negotiating;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Everything that the server sends until it closes.
async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// Type and body of each message.
fn messages(mut bytes: &[u8]) -> Vec<(char, Vec<u8>)> {
    let mut messages = Vec::new();
    while let [tag, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        messages.push((char::from(*tag), rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    messages
}

/// A frame with this type and body.
fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], &length[..], body].concat()
}
