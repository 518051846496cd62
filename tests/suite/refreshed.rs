//! Materialized views that are refreshed by themselves.

use std::time::Duration;

use crate::faults::{SOON, eventually};
use crate::protocol::Connection;
use crate::server::{Home, Server};

const FAILURE: &str = "SELECT coalesce(failure, 'none') FROM lakegate.refreshes";

#[tokio::test(flavor = "multi_thread")]
async fn a_view_follows_its_table_by_itself() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        "CREATE TABLE t AS SELECT 1 AS a",
        "CREATE MATERIALIZED VIEW m REFRESH EVERY '1 second' AS SELECT sum(10 / a) AS n FROM t",
        "INSERT INTO t VALUES (2)",
    ] {
        connection.command(sql).await.unwrap();
    }
    eventually(SOON, &mut connection, "SELECT n FROM m", "15").await.unwrap();
    // A failure is told, leaves the view as it was, and ends nothing.
    connection.command("INSERT INTO t VALUES (0)").await.unwrap();
    eventually(SOON, &mut connection, FAILURE, "22012: division by zero").await.unwrap();
    assert_eq!(connection.value("SELECT n FROM m").await.unwrap(), "15");
    assert!(server.log().contains("could not refresh a materialized view"));
    connection.command("UPDATE t SET a = 5 WHERE a = 0").await.unwrap();
    eventually(SOON, &mut connection, "SELECT n FROM m", "17").await.unwrap();
    eventually(SOON, &mut connection, FAILURE, "none").await.unwrap();
    // Until it is told to stop.
    connection.command("ALTER MATERIALIZED VIEW m DROP REFRESH").await.unwrap();
    connection.command("REFRESH MATERIALIZED VIEW m").await.unwrap();
    connection.command("INSERT INTO t VALUES (10)").await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(connection.value("SELECT n FROM m").await.unwrap(), "17");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_refresh_one_at_a_time_as_the_owner_and_catch_up_once() {
    let home = Home::new();
    {
        let server = Server::start_in(&home, &[]);
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        connection.command("CREATE ROLE keeper LOGIN").await.unwrap();
        connection.command("CREATE SCHEMA kept AUTHORIZATION keeper").await.unwrap();
        let mut keeper =
            Connection::start(server.address(), &[("user", "keeper"), ("database", "lakegate")]).await.unwrap();
        for sql in [
            "CREATE TABLE kept.t AS SELECT 1 AS a",
            "CREATE MATERIALIZED VIEW kept.m REFRESH EVERY '2 seconds' AS SELECT count(*) AS n, current_user AS me FROM kept.t",
        ] {
            keeper.command(sql).await.unwrap();
        }
    }
    let servers = [Server::start_in(&home, &[]), Server::start_in(&home, &[])];
    let mut connection = Connection::superuser(servers[0].address()).await.unwrap();
    let refreshes = |rows: Vec<Vec<String>>| -> Vec<(String, String)> {
        let rows = rows.into_iter().filter(|row| row[3] == "REFRESH MATERIALIZED VIEW");
        rows.map(|row| (row[1].clone(), row[2].clone())).collect()
    };
    let started = std::time::Instant::now();
    let told = loop {
        let told = refreshes(connection.rows("DESCRIBE HISTORY kept.m").await.unwrap());
        if told.len() >= 3 {
            break told;
        }
        assert!(started.elapsed() < SOON, "only {} refreshes", told.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(told.iter().all(|(_, user)| user == "keeper"), "{told:?}");
    assert_eq!(connection.value("SELECT me FROM kept.m").await.unwrap(), "keeper");
    // Two servers make no more refreshes than one would: each begins two seconds after the one before.
    let at_most = started.elapsed().as_secs() / 2 + 2;
    assert!(told.len() as u64 <= at_most, "{told:?} in {:?}", started.elapsed());
}
