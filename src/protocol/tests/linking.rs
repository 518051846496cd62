use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::super::channel::{Channel, OUTPUT_BYTES};
use super::super::link::{Link, Shutdown, Stop, Turn};
use super::framed;
use crate::error::{Error, SqlState};

fn link(bytes_max: usize) -> (DuplexStream, Link<DuplexStream>, Shutdown) {
    let (client, server) = duplex(bytes_max);
    let shutdown = Shutdown::default();
    (client, Link::new(Channel::new(server, Arc::default()), &shutdown), shutdown)
}

fn code(stop: Stop) -> &'static str {
    match stop {
        Stop::Fatal(error) => error.sqlstate().code(),
        Stop::Gone(_) => "gone",
    }
}

#[tokio::test]
async fn output_leaves_while_a_statement_takes_its_time() {
    let (mut client, mut link, _shutdown) = link(1024);
    link.channel.output.extend_from_slice(b"row");
    let mut row = [0; 3];
    // The statement ends only when the client has its first row.
    let statement = async { client.read_exact(&mut row).await.map(|_| ()) };
    link.during(statement).await.unwrap().unwrap();
    assert_eq!(&row, b"row");
}

#[tokio::test]
async fn a_client_that_leaves_stops_its_statement() {
    let (client, mut link, _shutdown) = link(1024);
    drop(client);
    assert_eq!(code(link.during(pending::<()>()).await.unwrap_err()), "gone");
}

#[tokio::test]
async fn work_that_never_waits_notices_that_its_client_left() {
    let (client, mut link, _shutdown) = link(1024);
    drop(client);
    let mut turn = Turn::default();
    let stop = loop {
        if let Err(stop) = link.give_way(&mut turn).await {
            break stop;
        }
    };
    assert_eq!(code(stop), "gone");
}

#[tokio::test]
async fn messages_that_come_during_a_statement_are_kept() {
    let (mut client, mut link, _shutdown) = link(1024);
    client.write_all(&framed(b'S', b"")).await.unwrap();
    let mut polls = 0;
    let statement = std::future::poll_fn(|cx| {
        polls += 1;
        cx.waker().wake_by_ref();
        if polls > 2 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    link.during(statement).await.unwrap();
    assert_eq!(link.next_frame(1024, None).await.unwrap().tag, b'S');
}

#[tokio::test]
async fn a_draining_server_ends_idle_connections_only() {
    let (_client, mut link, shutdown) = link(1024);
    shutdown.draining.cancel();
    assert!(link.during(tokio::task::yield_now()).await.is_ok());
    assert_eq!(code(link.next_frame(1024, None).await.unwrap_err()), "57P01");
}

#[tokio::test]
async fn an_ending_server_and_a_termination_stop_statements() {
    let (_client, mut link, shutdown) = link(1024);
    shutdown.ending.cancel();
    assert_eq!(code(link.during(pending::<()>()).await.unwrap_err()), "57P01");

    let (_client, mut link, _shutdown) = self::link(1024);
    link.terminate_on(ready(Error::new(SqlState::AdminShutdown, "terminated")));
    assert_eq!(code(link.during(pending::<()>()).await.unwrap_err()), "57P01");
}

#[tokio::test]
async fn an_idle_client_has_a_limit() {
    let (_client, mut link, _shutdown) = link(1024);
    let idle = Some((Instant::now() + Duration::from_millis(1), Error::new(SqlState::IdleSessionTimeout, "idle")));
    assert_eq!(code(link.next_frame(1024, idle).await.unwrap_err()), "57P05");
}

#[tokio::test]
async fn a_slow_client_holds_up_no_more_than_two_buffers() {
    let (mut client, mut link, _shutdown) = link(64);
    let total = 20 * OUTPUT_BYTES;
    let write = async {
        for _ in 0..20 {
            assert!(link.channel.output.is_empty(), "the buffer before was handed over");
            link.channel.output.resize(OUTPUT_BYTES, 7);
            link.pass_on().await.unwrap();
        }
        link.flush().await.unwrap();
    };
    let read = async {
        let mut piece = vec![0; 5000];
        let mut seen = 0;
        while seen < total {
            seen += client.read(&mut piece).await.unwrap();
        }
        seen
    };
    let ((), seen) = tokio::join!(write, read);
    assert_eq!(seen, total);
}

#[tokio::test]
async fn two_buffers_are_filled_before_anyone_waits() {
    let (_client, mut link, shutdown) = link(64);
    link.channel.output.resize(OUTPUT_BYTES, 1);
    link.pass_on().await.unwrap();
    link.channel.output.resize(OUTPUT_BYTES, 2);
    shutdown.ending.cancel();
    assert_eq!(code(link.pass_on().await.unwrap_err()), "57P01");
}

#[tokio::test]
async fn the_last_words_reach_a_client_that_still_sends() {
    let (mut client, mut link, _shutdown) = link(1 << 16);
    client.write_all(&[0; 10_000]).await.unwrap();
    link.channel.output.extend_from_slice(b"goodbye");
    let (said, ()) = tokio::join!(
        async {
            let said = super::read_to_end(&mut client).await;
            drop(client);
            said
        },
        link.close()
    );
    assert_eq!(said, b"goodbye");
}
