//! Timeouts, cancelled and abandoned statements, too many connections.

use std::time::{Duration, Instant};

use super::{ENDLESS, eventually};
use crate::protocol::{Connection, Failure, Told, query};
use crate::server::Server;

const OTHERS_ACTIVE: &str = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()";

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
    assert!(started.elapsed() < Duration::from_secs(5), "after {:?}", started.elapsed());
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
        assert!(started.elapsed() < Duration::from_secs(8), "{sql}: after {:?}", started.elapsed());
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
async fn a_cancel_request_stops_a_statement_at_once() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.send(&query(ENDLESS)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    connection.cancel().await.unwrap();
    match connection.until_ready().await {
        Err(Failure::Refused(told)) => {
            assert_eq!((told.code(), told.message()), ("57014", "canceling statement due to user request"));
        }
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() < Duration::from_secs(2), "after {:?}", started.elapsed());
    assert_eq!(connection.value("SELECT 1").await.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sessions_can_cancel_and_end_one() {
    let server = Server::start(&[]);
    let mut admin = Connection::superuser(server.address()).await.unwrap();
    let mut victim = Connection::superuser(server.address()).await.unwrap();
    let pid = victim.value("SELECT pg_backend_pid()").await.unwrap();
    victim.send(&query(ENDLESS)).await.unwrap();
    eventually(Duration::from_secs(10), &mut admin, OTHERS_ACTIVE, "1").await.unwrap();
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
            eventually(Duration::from_secs(10), &mut admin, OTHERS_ACTIVE, "1").await.unwrap();
        }
        eventually(Duration::from_secs(10), &mut admin, OTHERS_ACTIVE, "0").await.unwrap();
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
        assert!(started.elapsed() < Duration::from_secs(10), "places do not become free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_authenticates_is_sent_away() {
    let server = Server::start(&["--set", "server.authentication_timeout=1s"]);
    let mut silent = Connection::open(server.address()).await.unwrap();
    let started = Instant::now();
    while let Ok(Some(_)) = silent.receive().await {}
    assert!(started.elapsed() < Duration::from_secs(10), "after {:?}", started.elapsed());
}
