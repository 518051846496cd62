//! Temporary tables: a session's own, gone with it, and after a crash with the next start.

use std::time::{Duration, Instant};

use crate::protocol::Connection;
use crate::server::{Home, Server};

/// Waits until no temporary relation is left.
async fn wait_until_none_is_left(connection: &mut Connection) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left = connection.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pg\\_temp%'").await.unwrap();
        if left == "0" {
            return;
        }
        assert!(Instant::now() < deadline, "{left} schemas of temporary relations are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_session_does_not_see_them() {
    let server = Server::start(&[]);
    let mut one = Connection::superuser(server.address()).await.unwrap();
    let mut other = Connection::superuser(server.address()).await.unwrap();
    one.command("CREATE TEMP TABLE mine (a int)").await.unwrap();
    assert!(other.command("SELECT * FROM mine").await.is_err());
    other.command("CREATE TEMP TABLE mine (b text)").await.unwrap();
    one.command("INSERT INTO mine VALUES (1)").await.unwrap();
    assert_eq!(other.value("SELECT count(*) FROM mine").await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn they_go_with_their_session() {
    let server = Server::start(&[]);
    let mut one = Connection::superuser(server.address()).await.unwrap();
    one.command("CREATE TEMP TABLE mine AS SELECT 1 AS a").await.unwrap();
    one.command("CREATE TEMP VIEW over AS SELECT a FROM mine").await.unwrap();
    drop(one);
    let mut other = Connection::superuser(server.address()).await.unwrap();
    wait_until_none_is_left(&mut other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_goes_with_the_next_start() {
    let home = Home::new();
    let mut server = Server::start_in(&home, &[]);
    let mut one = Connection::superuser(server.address()).await.unwrap();
    one.command("CREATE TEMP TABLE mine AS SELECT 1 AS a").await.unwrap();
    server.kill();
    drop(server);
    let server = Server::start_in(&home, &[]);
    let mut other = Connection::superuser(server.address()).await.unwrap();
    wait_until_none_is_left(&mut other).await;
}
