//! What a server does for its tables in the background, and what it must not do meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use super::SOON;
use crate::protocol::Connection;
use crate::server::{Home, Server};

const BUSY: &[&str] = &["--set", "maintenance.interval=100ms"];

fn files_below(folder: &Path, ending: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path(), ending),
            _ => usize::from(entry.path().to_string_lossy().ends_with(ending)),
        })
        .sum()
}

async fn gone(folder: &Path) -> bool {
    let started = Instant::now();
    while files_below(folder, "") > 0 {
        if started.elapsed() > SOON {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_dropped_table_go_after_their_time_whichever_server_is_there() {
    let home = Home::new();
    let folder = home.warehouse().join("public").join("t");
    {
        let server = Server::start_in(&home, &[]);
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        connection.command("CREATE TABLE t AS SELECT 1 AS a").await.unwrap();
        connection.command("DROP TABLE t").await.unwrap();
        assert_eq!(files_below(&folder, ".parquet"), 1, "the files went at once");
        // The name is free: another table of it does not touch the files of the first.
        connection.command("CREATE TABLE t AS SELECT 2 AS a").await.unwrap();
        assert_eq!(connection.value("SELECT a FROM t").await.unwrap(), "2");
    }
    let flags = [BUSY, &["--set", "maintenance.dropped_retention=100ms"]].concat();
    let server = Server::start_in(&home, &flags);
    assert!(gone(&folder).await, "the files stay");
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    assert_eq!(connection.value("SELECT a FROM t").await.unwrap(), "2");
    assert!(gone(&home.warehouse().join("_lakegate").join("dropped")).await, "the note stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_goes_on_over_a_dropped_table() {
    let home = Home::new();
    let flags = [BUSY, &["--set", "maintenance.dropped_retention=0"]].concat();
    let server = Server::start_in(&home, &flags);
    let mut reader = Connection::superuser(server.address()).await.unwrap();
    let mut writer = Connection::superuser(server.address()).await.unwrap();
    reader.command("CREATE TABLE t AS SELECT g FROM generate_series(1, 200000) g").await.unwrap();
    for sql in ["BEGIN", "DECLARE c CURSOR FOR SELECT g FROM t", "FETCH 1 FROM c"] {
        reader.query(sql).await.unwrap();
    }
    writer.command("DROP TABLE t").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(reader.rows("FETCH ALL FROM c").await.unwrap().len(), 199_999);
    reader.query("ROLLBACK").await.unwrap();
    assert!(gone(&home.warehouse().join("public").join("t")).await, "the files stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_are_put_together_while_others_write() {
    let home = Home::new();
    let flags = [BUSY, &["--set", "maintenance.compaction_files_min=8"]].concat();
    let server = Server::start_in(&home, &flags);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("CREATE TABLE t (a int, b text)").await.unwrap();
    for number in 0..40 {
        connection.command(&format!("INSERT INTO t VALUES ({number}, 'x')")).await.unwrap();
        if number % 5 == 0 {
            connection.command(&format!("UPDATE t SET b = 'y' WHERE a = {number}")).await.unwrap();
        }
    }
    let told = "SELECT count(*) || ' ' || count(DISTINCT a) || ' ' || count(*) FILTER (WHERE b = 'y') FROM t";
    assert_eq!(connection.value(told).await.unwrap(), "40 40 8");
    let started = Instant::now();
    loop {
        let history = connection.rows("DESCRIBE HISTORY t").await.unwrap();
        if history.iter().any(|version| version[3] == "OPTIMIZE") {
            break;
        }
        assert!(started.elapsed() < SOON, "no file was put with another");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(connection.value(told).await.unwrap(), "40 40 8");
}
