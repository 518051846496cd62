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

/// The definition that a commit makes, without the reservation that it is.
fn without_mark(commit: &str) -> Option<serde_json::Value> {
    let line = commit.lines().find(|line| line.starts_with("{\"metaData\""))?;
    let mut metadata: serde_json::Value = serde_json::from_str(line).unwrap();
    metadata["metaData"]["configuration"].as_object_mut()?.remove(MARK)?;
    Some(metadata)
}

fn commit_of_t(version: u64) -> String {
    format!("/lake/warehouse/public/t/_delta_log/{version:020}.json")
}

async fn newest_version(s3: &Emulator) -> u64 {
    let mut version = 0;
    while s3.object(&commit_of_t(version + 1)).await.is_some() {
        version += 1;
    }
    version
}

/// Takes the first reservation of `t` after that version away: its commit again, without the mark.
async fn take(s3: &Emulator, mut version: u64) {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < SOON, "nothing was reserved");
        tokio::time::sleep(Duration::from_millis(5)).await;
        let Some(commit) = s3.object(&commit_of_t(version + 1)).await else { continue };
        version += 1;
        if let Some(metadata) = without_mark(&commit) {
            return s3.put_object(&commit_of_t(version + 1), &format!("{metadata}\n")).await;
        }
    }
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
    let version = newest_version(&s3).await;
    proxy.order(Rule { method: "PUT", part: "_lakegate/catalog/", fault: Fault::Delay(DECIDES), times: u64::MAX });
    connection.send(&query("INSERT INTO t VALUES (2), (200)")).await.unwrap();
    take(&s3, version).await;
    let told = connection.until_ready().await.unwrap_err();
    assert_eq!(told.code(), "XX001", "{told}");
    assert!(told.to_string().contains("without its changes of: s3://lake/warehouse/public/t."), "{told}");
    assert!(proxy.relent() > 0, "nothing was decided");
    expect(&mut connection, "SELECT count(*) FROM t", "1").await;
    expect(&mut connection, "SELECT count(*) FROM t_quarantine", "2").await;
    // The table is free.
    connection.command("INSERT INTO t VALUES (3), (300)").await.unwrap();
    expect(&mut connection, "SELECT count(*) FROM t", "2").await;
    expect(&mut connection, "SELECT count(*) FROM t_quarantine", "3").await;
}
