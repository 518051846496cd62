use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt, duplex};

use super::super::channel::Channel;
use super::super::copy;
use super::super::link::{Fault, Link, Shutdown, Stop};
use super::{framed, messages, read_to_end};
use crate::encode::types::Format;
use crate::error::{Error, Result, SqlState};
use crate::query::{CopyIn, CopyOut, CopySink};

/// What a sink was given: data, then `finished` or `aborted: …`.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

struct Sink {
    seen: Seen,
    refuses: bool,
}

#[async_trait]
impl CopySink for Sink {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        if self.refuses {
            return Err(Error::new(SqlState::BadCopyFileFormat, "bad line"));
        }
        self.seen.0.lock().push(String::from_utf8(data.to_vec()).unwrap());
        Ok(())
    }
    async fn finish(self: Box<Self>) -> Result<String> {
        self.seen.0.lock().push("finished".to_owned());
        Ok("COPY 1".to_owned())
    }
    async fn abort(self: Box<Self>, reason: &str) {
        self.seen.0.lock().push(format!("aborted: {reason}"));
    }
}

struct Received {
    outcome: Result<String, Fault>,
    seen: Vec<String>,
    answered: Vec<(char, Vec<u8>)>,
}

async fn receive(sent: &[u8], refuses: bool, interruption: impl Future<Output = Error>) -> Received {
    let (mut client, server) = duplex(1 << 20);
    client.write_all(sent).await.unwrap();
    let mut link = Link::new(Channel::new(server, Arc::default()), &Shutdown::default());
    let seen = Seen::default();
    let copy = CopyIn { format: Format::Text, columns: 1, sink: Box::new(Sink { seen: seen.clone(), refuses }) };
    let outcome = copy::receive(&mut link, copy, interruption, 1 << 20).await;
    client.shutdown().await.unwrap();
    link.close().await;
    let answered = messages(&read_to_end(&mut client).await);
    let seen = seen.0.lock().clone();
    Received { outcome, seen, answered }
}

fn told(outcome: Result<String, Fault>) -> String {
    match outcome {
        Ok(tag) => tag,
        Err(Fault::Statement(error)) => format!("{} {}", error.sqlstate().code(), error.message()),
        Err(Fault::Stop(Stop::Fatal(error))) => format!("FATAL {}", error.message()),
        Err(Fault::Stop(Stop::Gone(_))) => "gone".to_owned(),
    }
}

#[tokio::test]
async fn data_reaches_the_sink_with_flush_and_sync_ignored() {
    let sent = [framed(b'd', b"a\n"), framed(b'H', b""), framed(b'd', b"b\n"), framed(b'S', b""), framed(b'c', b"")];
    let received = receive(&sent.concat(), false, pending()).await;
    assert_eq!(told(received.outcome), "COPY 1");
    assert_eq!(received.seen.concat(), "a\nb\nfinished");
    assert_eq!(received.answered, [('G', vec![0, 0, 1, 0, 0])]);
}

#[tokio::test]
async fn small_pieces_are_put_together() {
    let sent = [framed(b'd', b"a\n").repeat(1000), framed(b'c', b"")].concat();
    let received = receive(&sent, false, pending()).await;
    assert!(received.seen.len() < 10, "a write for each read, not for each message");
    assert_eq!(received.seen.concat(), "a\n".repeat(1000) + "finished");
}

#[tokio::test]
async fn copy_fail_commits_nothing() {
    let sent = [framed(b'd', b"a\n"), framed(b'f', b"changed my mind\0")].concat();
    let received = receive(&sent, false, pending()).await;
    assert_eq!(told(received.outcome), "57014 COPY from stdin failed: changed my mind");
    assert_eq!(received.seen, ["a\n", "aborted: changed my mind"]);
}

#[tokio::test]
async fn a_refused_line_is_an_error_at_once() {
    let received = receive(&framed(b'd', b"a\n"), true, pending()).await;
    assert_eq!(told(received.outcome), "22P04 bad line");
    assert!(received.seen.is_empty());
}

#[tokio::test]
async fn another_message_loses_synchronization() {
    let received = receive(&framed(b'Q', b"select 1\0"), false, pending()).await;
    assert_eq!(told(received.outcome), "FATAL terminating connection because protocol synchronization was lost");
    let (tag, fields) = &received.answered[1];
    assert_eq!(*tag, 'E');
    assert!(String::from_utf8_lossy(fields).contains("unexpected message type 0x51 during COPY from stdin"));
    assert!(received.seen.is_empty());
}

#[tokio::test]
async fn a_copy_that_waits_for_its_client_can_be_cancelled() {
    let cancelled = ready(Error::new(SqlState::QueryCanceled, "canceling statement due to user request"));
    let received = receive(b"", false, cancelled).await;
    assert_eq!(told(received.outcome), "57014 canceling statement due to user request");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_commits_nothing() {
    let (mut client, server) = duplex(1024);
    client.write_all(&framed(b'd', b"a\n")).await.unwrap();
    client.shutdown().await.unwrap();
    let mut link = Link::new(Channel::new(server, Arc::default()), &Shutdown::default());
    let seen = Seen::default();
    let copy = CopyIn { format: Format::Text, columns: 1, sink: Box::new(Sink { seen: seen.clone(), refuses: false }) };
    assert_eq!(told(copy::receive(&mut link, copy, pending(), 1024).await), "gone");
    assert!(!seen.0.lock().contains(&"finished".to_owned()));
}

async fn send(pieces: Vec<Result<Bytes>>) -> (String, Vec<(char, Vec<u8>)>) {
    let (mut client, server) = duplex(1 << 20);
    let mut link = Link::new(Channel::new(server, Arc::default()), &Shutdown::default());
    let stream = futures::stream::iter(pieces).boxed();
    let copy = CopyOut { format: Format::Binary, columns: 2, stream, rows: Arc::new(AtomicU64::new(3)) };
    let outcome = told(copy::send(&mut link, copy, pending()).await);
    client.shutdown().await.unwrap();
    link.close().await;
    (outcome, messages(&read_to_end(&mut client).await))
}

#[tokio::test]
async fn pieces_go_out_as_they_are() {
    let two = [framed(b'd', b"ab"), framed(b'd', b"c")].concat();
    let (outcome, sent) = send(vec![Ok(two.into()), Ok(framed(b'd', b"").into())]).await;
    assert_eq!(outcome, "COPY 3");
    let response = ('H', vec![1, 0, 2, 0, 1, 0, 1]);
    assert_eq!(sent, [response, ('d', b"ab".to_vec()), ('d', b"c".to_vec()), ('d', vec![]), ('c', vec![])]);
}

#[tokio::test]
async fn an_error_in_copy_out_sends_no_copy_done() {
    let fault = Error::new(SqlState::DivisionByZero, "division by zero");
    let (outcome, sent) = send(vec![Ok(framed(b'd', b"ab").into()), Err(fault)]).await;
    assert_eq!(outcome, "22012 division by zero");
    assert_eq!(sent.last().unwrap().0, 'd');
}
