//! A program that does not know the server's transactions comes between the decision of one and its commits.

use std::time::{Duration, Instant};

use super::emulator::Emulator;
use super::unreliable::{Fault, Rule, Unreliable};
use super::{expect, launch};
use crate::faults::SOON;
use crate::protocol::{Connection, query};

/// Long enough for the other program.
const DECIDES: Duration = Duration::from_secs(2);
const MARK: &str = "lakegate.pendingTransaction";

/// Takes the reservation of a table away: its newest commit again, without the mark.
async fn take(s3: &Emulator, table: &str) {
    let path = |version: u64| format!("/lake/warehouse/public/{table}/_delta_log/{version:020}.json");
    let mut version = 0;
    while s3.object(&path(version + 1)).await.is_some() {
        version += 1;
    }
    let reserved = s3.object(&path(version)).await.unwrap();
    let line = reserved.lines().find(|line| line.starts_with("{\"metaData\"")).expect("no reservation");
    let mut metadata: serde_json::Value = serde_json::from_str(line).unwrap();
    let mark = metadata["metaData"]["configuration"].as_object_mut().unwrap().remove(MARK);
    assert!(mark.is_some(), "{line}");
    s3.put_object(&path(version + 1), &format!("{metadata}\n")).await;
}

/// The rows of a statement that is a transaction of its own, with a quarantine: those that another program has not hindered are there
/// once, although the server runs what is in conflict again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_in_part_is_told_and_not_run_again() {
    let s3 = Emulator::s3(&[]).await;
    s3.make_bucket("lake").await;
    let proxy = Unreliable::before(s3.address()).await;
    let server = launch(&Emulator::at(proxy.address), "s3://lake/warehouse").unwrap();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        "CREATE TABLE t (id int, CONSTRAINT small EXPECT (id < 100) ON VIOLATION QUARANTINE ROW)",
        "INSERT INTO t VALUES (1), (100)",
    ] {
        connection.command(sql).await.unwrap();
    }
    proxy.order(Rule { method: "PUT", part: "_lakegate/catalog/", fault: Fault::Delay(DECIDES), times: 1 });
    connection.send(&query("INSERT INTO t VALUES (2), (200)")).await.unwrap();
    let started = Instant::now();
    while proxy.injected() == 0 {
        assert!(started.elapsed() < SOON, "nothing was decided");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    take(&s3, "t").await;
    let told = connection.until_ready().await.unwrap_err();
    assert_eq!(told.code(), "XX001", "{told}");
    assert!(told.to_string().contains("without its changes of: s3://lake/warehouse/public/t."), "{told}");
    expect(&mut connection, "SELECT count(*) FROM t", "1").await;
    expect(&mut connection, "SELECT count(*) FROM t_quarantine", "2").await;
    // The table is free.
    connection.command("INSERT INTO t VALUES (3), (300)").await.unwrap();
    expect(&mut connection, "SELECT count(*) FROM t", "2").await;
    expect(&mut connection, "SELECT count(*) FROM t_quarantine", "3").await;
}
