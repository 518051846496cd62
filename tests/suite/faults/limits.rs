//! Timeouts, cancelled and abandoned statements, too many connections.

use std::time::{Duration, Instant};

use super::{ENDLESS, OTHERS_ACTIVE, SOON, eventually};
use crate::protocol::{Connection, Failure, Told, message, query};
use crate::server::Server;

async fn refused(connection: &mut Connection, sql: &str) -> Told {
    match connection.query(sql).await {
        Err(Failure::Refused(told)) => told,
        other => panic!("{sql}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statement_timeout_ends_a_statement_and_nothing_else() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("SET statement_timeout = '200ms'").await.unwrap();
    let started = Instant::now();
    let told = refused(&mut connection, ENDLESS).await;
    assert_eq!((told.code(), told.message()), ("57014", "canceling statement due to statement timeout"));
    assert!(started.elapsed() < SOON, "after {:?}", started.elapsed());
    assert_eq!(connection.value("SELECT 1").await.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn statement_timeout_stops_sorts_joins_and_aggregates() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("SET statement_timeout = '300ms'").await.unwrap();
    for sql in [
        "SELECT g % 1000, count(*) FROM generate_series(1, 100000000000) g GROUP BY 1",
        "SELECT count(*) FROM generate_series(1, 3000) a JOIN generate_series(1, 100000000) b ON a < b",
        "SELECT g FROM generate_series(1, 100000000000) g WHERE g < 0",
        "SELECT sum(a * b) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b",
    ] {
        let started = Instant::now();
        let told = refused(&mut connection, sql).await;
        assert_eq!(told.code(), "57014", "{sql}: {told}");
        assert!(started.elapsed() < SOON, "{sql}: after {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_idles_too_long_is_ended() {
    let server = Server::start(&[]);
    for (setting, begin, code, message) in [
        ("idle_session_timeout", "SELECT 1", "57P05", "terminating connection due to idle-session timeout"),
        (
            "idle_in_transaction_session_timeout",
            "BEGIN",
            "25P03",
            "terminating connection due to idle-in-transaction timeout",
        ),
    ] {
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        connection.command(&format!("SET {setting} = '200ms'")).await.unwrap();
        connection.command(begin).await.unwrap();
        let frame = connection.receive().await.unwrap().expect("a word before the end");
        let told = Told::parse(frame.body);
        assert_eq!((told.field('S'), told.code(), told.message()), ("FATAL", code, message));
        assert!(connection.receive().await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_lasts_too_long_ends_its_session() {
    let server = Server::start(&[]);
    let idle = ["BEGIN", "SELECT 1"];
    let busy = ["BEGIN", ENDLESS];
    let by_itself = [ENDLESS];
    let limited_inside = ["SET transaction_timeout = 0", "BEGIN", "SET transaction_timeout = '200ms'", "SELECT 1"];
    for statements in [&idle[..], &busy, &by_itself, &limited_inside] {
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        connection.command("SET transaction_timeout = '200ms'").await.unwrap();
        let (last, before) = statements.split_last().unwrap();
        for sql in before {
            connection.command(sql).await.unwrap();
        }
        connection.send(&query(last)).await.unwrap();
        let mut end = None;
        while let Some(frame) = connection.receive().await.unwrap() {
            end = Some(frame);
        }
        let told = Told::parse(end.expect("a word before the end").body);
        let expected = ("FATAL", "25P04", "terminating connection due to transaction timeout");
        assert_eq!((told.field('S'), told.code(), told.message()), expected, "{statements:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_in_time_and_a_failed_one_go_on() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("SET transaction_timeout = '2s'").await.unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2200) {
        assert_eq!(connection.value("SELECT 1").await.unwrap(), "1");
    }
    connection.command("BEGIN").await.unwrap();
    refused(&mut connection, "SELECT 1 / 0").await;
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(connection.command("ROLLBACK").await.unwrap(), "ROLLBACK");
}

/// Parse and Sync, and an Execute of one row with its Sync: the client has an answer and thinks.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_between_messages_is_seen_to_idle() {
    let server = Server::start(&[]);
    let mut admin = Connection::superuser(server.address()).await.unwrap();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let parse = message(b'P', b"s\0SELECT g FROM generate_series(1, 3) g\0\0\0");
    let bind = message(b'B', b"\0s\0\0\0\0\0\0\0");
    let execute = message(b'E', b"\0\0\0\0\x01");
    let sync = message(b'S', &[]);
    let seen = "SELECT state FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
    connection.send(&[&parse[..], &sync].concat()).await.unwrap();
    connection.until_ready().await.unwrap();
    assert_eq!(admin.value(seen).await.unwrap(), "idle");
    connection.command("BEGIN").await.unwrap();
    connection.send(&[&bind[..], &execute, &sync].concat()).await.unwrap();
    assert_eq!(connection.until_ready().await.unwrap().rows.len(), 1);
    assert_eq!(admin.value(seen).await.unwrap(), "idle in transaction");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_copy_out() {
    let server = Server::start(&[]);
    let mut admin = Connection::superuser(server.address()).await.unwrap();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.send(&query("COPY (SELECT g FROM generate_series(1, 1000000000000) g) TO STDOUT")).await.unwrap();
    for _ in 0..10 {
        connection.receive().await.unwrap().expect("rows");
    }
    eventually(SOON, &mut admin, OTHERS_ACTIVE, "1").await.unwrap();
    drop(connection);
    let others = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
    eventually(SOON, &mut admin, others, "0").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_stops_a_statement_at_once() {
    let server = Server::start(&[]);
    let mut admin = Connection::superuser(server.address()).await.unwrap();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.send(&query(ENDLESS)).await.unwrap();
    eventually(SOON, &mut admin, OTHERS_ACTIVE, "1").await.unwrap();
    let started = Instant::now();
    connection.cancel().await.unwrap();
    match connection.until_ready().await {
        Err(Failure::Refused(told)) => {
            assert_eq!((told.code(), told.message()), ("57014", "canceling statement due to user request"));
        }
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() < SOON, "after {:?}", started.elapsed());
    assert_eq!(connection.value("SELECT 1").await.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sessions_can_cancel_and_end_one() {
    let server = Server::start(&[]);
    let mut admin = Connection::superuser(server.address()).await.unwrap();
    let mut victim = Connection::superuser(server.address()).await.unwrap();
    let pid = victim.value("SELECT pg_backend_pid()").await.unwrap();
    victim.send(&query(ENDLESS)).await.unwrap();
    eventually(SOON, &mut admin, OTHERS_ACTIVE, "1").await.unwrap();
    let shown = admin.value(&format!("SELECT query FROM pg_stat_activity WHERE pid = {pid}")).await.unwrap();
    assert_eq!(shown, ENDLESS);
    assert_eq!(admin.value(&format!("SELECT pg_cancel_backend({pid})")).await.unwrap(), "t");
    assert_eq!(victim.until_ready().await.unwrap_err().code(), "57014");
    assert_eq!(admin.value(&format!("SELECT pg_terminate_backend({pid})")).await.unwrap(), "t");
    let frame = victim.receive().await.unwrap().expect("a word before the end");
    assert_eq!(Told::parse(frame.body).code(), "57P01");
    assert!(victim.receive().await.unwrap().is_none());
    assert_eq!(admin.value(&format!("SELECT pg_cancel_backend({pid})")).await.unwrap(), "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_stops_its_statement() {
    let server = Server::start(&[]);
    let mut admin = Connection::superuser(server.address()).await.unwrap();
    for sql in [ENDLESS, "SELECT g FROM generate_series(1, 1000000000000) g"] {
        {
            let mut leaving = Connection::superuser(server.address()).await.unwrap();
            leaving.send(&query(sql)).await.unwrap();
            eventually(SOON, &mut admin, OTHERS_ACTIVE, "1").await.unwrap();
        }
        eventually(SOON, &mut admin, OTHERS_ACTIVE, "0").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_are_refused_and_superusers_have_a_reserve() {
    let server = Server::start(&["--set", "server.connections_max=4", "--set", "server.superuser_reserved=2"]);
    let mut admin = Connection::superuser(server.address()).await.unwrap();
    admin.command("CREATE ROLE guest LOGIN").await.unwrap();
    let guest = [("user", "guest"), ("database", "lakegate")];
    let one = Connection::start(server.address(), &guest).await.unwrap();
    let refused = Connection::start(server.address(), &guest).await.err().expect("a third connection of four");
    assert_eq!(refused.code(), "53300", "{refused}");
    let two = Connection::superuser(server.address()).await.unwrap();
    let three = Connection::superuser(server.address()).await.unwrap();
    let refused = Connection::superuser(server.address()).await.err().expect("a fifth connection of four");
    assert_eq!(refused.code(), "53300", "{refused}");
    drop((one, two, three));
    let started = Instant::now();
    while Connection::start(server.address(), &guest).await.is_err() {
        assert!(started.elapsed() < SOON, "places do not become free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_authenticates_is_sent_away() {
    let server = Server::start(&["--set", "server.authentication_timeout=1s"]);
    let mut silent = Connection::open(server.address()).await.unwrap();
    let started = Instant::now();
    while let Ok(Some(_)) = silent.receive().await {}
    assert!(started.elapsed() < SOON, "after {:?}", started.elapsed());
}
