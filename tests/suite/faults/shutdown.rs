//! SIGTERM: running statements get until the deadline, then 57P01; sessions that idle are told at once.

use std::time::Duration;

use super::{ENDLESS, OTHERS_ACTIVE, SOON, eventually};
use crate::protocol::{Connection, Failure, Told, query};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_runs_beyond_the_deadline_ends_with_57p01() {
    let mut server = Server::start(&["--set", "server.shutdown_deadline=1s"]);
    let mut busy = Connection::superuser(server.address()).await.unwrap();
    let mut admin = Connection::superuser(server.address()).await.unwrap();
    busy.send(&query(ENDLESS)).await.unwrap();
    eventually(SOON, &mut admin, OTHERS_ACTIVE, "1").await.unwrap();
    let stopped = tokio::task::spawn_blocking(move || (server.terminate(), server));
    match busy.until_ready().await {
        Err(Failure::Refused(told)) => assert_eq!(told.code(), "57P01", "{told}"),
        other => panic!("{other:?}"),
    }
    let ((status, took), _server) = stopped.await.unwrap();
    assert!(status.success(), "{status}");
    assert!(took < SOON, "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_statement_may_finish() {
    let mut server = Server::start(&["--set", "server.shutdown_deadline=30s"]);
    let mut busy = Connection::superuser(server.address()).await.unwrap();
    let mut admin = Connection::superuser(server.address()).await.unwrap();
    busy.send(&query("SELECT count(*) FROM generate_series(1, 30000000) g")).await.unwrap();
    eventually(SOON, &mut admin, OTHERS_ACTIVE, "1").await.unwrap();
    let stopped = tokio::task::spawn_blocking(move || (server.terminate(), server));
    let answer = busy.until_ready().await.unwrap();
    assert_eq!(answer.rows[0][0].as_deref(), Some(&b"30000000"[..]));
    let ((status, _), _server) = stopped.await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_are_told_and_the_server_ends_at_once() {
    let mut server = Server::start(&[]);
    let mut idle = Connection::superuser(server.address()).await.unwrap();
    let stopped = tokio::task::spawn_blocking(move || (server.terminate(), server));
    let frame = idle.receive().await.unwrap().expect("a word before the end");
    assert_eq!(frame.tag, b'E');
    let told = Told::parse(frame.body);
    assert_eq!((told.code(), told.field('S')), ("57P01", "FATAL"));
    assert_eq!(told.message(), "terminating connection due to administrator command");
    assert!(idle.receive().await.unwrap().is_none());
    let ((status, took), _server) = stopped.await.unwrap();
    assert!(status.success(), "{status}");
    assert!(took < SOON, "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_ends_it_too() {
    let mut server = Server::start(&[]);
    server.signal(libc::SIGINT);
    let deadline = std::time::Instant::now() + SOON;
    while server.runs() {
        assert!(std::time::Instant::now() < deadline, "SIGINT does not end the server");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
