//! COPY over the wire: the client's CopyData into a sink, a stream of CopyData out.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::backend;
use super::channel::{Channel, OUTPUT_BYTES, Transport};
use super::frontend::{Frame, Message};
use super::link::{Fault, Link, Stop, Turn};
use super::reader::violation;
use crate::error::{Error, SqlState};
use crate::query::{CopyIn, CopyOut};

/// Small CopyData messages are put together up to this size: some clients send one per row.
const GATHERED_BYTES: usize = 64 * 1024;

/// Feeds the client's data to the sink until CopyDone; answers the command tag. `interruption` resolves when the statement is
/// to stop. On every other way out the sink is dropped, which commits nothing.
pub async fn receive<S: Transport>(
    link: &mut Link<S>,
    copy: CopyIn,
    interruption: impl Future<Output = Error>,
    message_bytes_max: usize,
) -> Result<String, Fault> {
    backend::copy_in_response(&mut link.channel.output, copy.format, copy.columns);
    link.flush().await?;
    let mut interruption = pin!(interruption);
    let mut sink = copy.sink;
    loop {
        match next_message(link, interruption.as_mut(), message_bytes_max).await? {
            Message::CopyData(data) => link.during(sink.write(data)).await??,
            Message::CopyDone => return Ok(link.during(sink.finish()).await??),
            Message::CopyFail(reason) => {
                link.during(sink.abort(&reason)).await?;
                let message = format!("COPY from stdin failed: {reason}");
                return Err(Error::new(SqlState::QueryCanceled, message).into());
            }
            // PostgreSQL ignores these two, so that clients may send them blindly.
            Message::Flush | Message::Sync => {}
            Message::Query(_)
            | Message::Parse { .. }
            | Message::Bind(_)
            | Message::Describe { .. }
            | Message::Execute { .. }
            | Message::Close { .. }
            | Message::FunctionCall
            | Message::Terminate => return Err(Error::internal("a message that COPY does not take").into()),
        }
    }
}

async fn next_message<S: Transport>(
    link: &mut Link<S>,
    mut interruption: std::pin::Pin<&mut impl Future<Output = Error>>,
    bytes_max: usize,
) -> Result<Message, Fault> {
    loop {
        if let Some(message) = take_message(&mut link.channel, bytes_max)? {
            return Ok(message);
        }
        let mut read = pin!(link.read_busy());
        let interrupted = poll_fn(|cx| {
            if let Poll::Ready(error) = interruption.as_mut().poll(cx) {
                return Poll::Ready(Err(Fault::Statement(error)));
            }
            read.as_mut().poll(cx).map_err(Fault::Stop)
        });
        interrupted.await?;
    }
}

/// The next message of a COPY, with as much data as has come already.
fn take_message<S: Transport>(channel: &mut Channel<S>, bytes_max: usize) -> Result<Option<Message>, Fault> {
    let Some(tag) = channel.next_tag() else { return Ok(None) };
    if !matches!(tag, b'd' | b'c' | b'f' | b'H' | b'S') {
        return Err(lost_synchronization(channel, tag));
    }
    let Some(frame) = take_frame(channel, bytes_max)? else { return Ok(None) };
    if frame.tag != b'd' {
        return Ok(Some(frame.decode()?));
    }
    Ok(Some(Message::CopyData(gather(channel, frame.body, bytes_max)?)))
}

fn take_frame<S: Transport>(channel: &mut Channel<S>, bytes_max: usize) -> Result<Option<Frame>, Stop> {
    channel.take_frame(bytes_max).map_err(Stop::Fatal)
}

/// Appends the CopyData messages that have come after this one.
fn gather<S: Transport>(channel: &mut Channel<S>, first: Bytes, bytes_max: usize) -> Result<Bytes, Stop> {
    let mut gathered = BytesMut::new();
    while gathered.len().max(first.len()) < GATHERED_BYTES && channel.next_tag() == Some(b'd') {
        let Some(frame) = take_frame(channel, bytes_max)? else { break };
        if gathered.is_empty() {
            gathered.reserve(GATHERED_BYTES);
            gathered.extend_from_slice(&first);
        }
        gathered.extend_from_slice(&frame.body);
    }
    Ok(if gathered.is_empty() { first } else { gathered.freeze() })
}

/// PostgreSQL has read only the type of the message when it raises the error, and ends the connection for that reason.
fn lost_synchronization<S: Transport>(channel: &mut Channel<S>, tag: u8) -> Fault {
    let error = violation(format!("unexpected message type 0x{tag:02X} during COPY from stdin"));
    backend::error_response(&mut channel.output, &error);
    let end = violation("terminating connection because protocol synchronization was lost");
    Fault::Stop(Stop::Fatal(end.fatal()))
}

/// Sends the stream's pieces, which are CopyData messages already; answers the command tag.
pub async fn send<S: Transport>(
    link: &mut Link<S>,
    copy: CopyOut,
    interruption: impl Future<Output = Error>,
) -> Result<String, Fault> {
    backend::copy_out_response(&mut link.channel.output, copy.format, copy.columns);
    let mut interruption = pin!(interruption);
    let mut stream = copy.stream;
    let mut turn = Turn::default();
    loop {
        let piece = poll_fn(|cx| match interruption.as_mut().poll(cx) {
            Poll::Ready(error) => Poll::Ready(Some(Err(error))),
            Poll::Pending => stream.poll_next_unpin(cx),
        });
        let Some(piece) = link.during(piece).await? else { break };
        link.channel.output.extend_from_slice(&piece?);
        if link.channel.output.len() >= OUTPUT_BYTES {
            link.pass_on().await?;
        }
        link.give_way(&mut turn).await?;
    }
    backend::copy_done(&mut link.channel.output);
    Ok(format!("COPY {}", copy.rows.load(Ordering::Acquire)))
}
