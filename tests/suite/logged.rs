//! What the log of a table tells, and what is left of what was rolled back.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::faults::SOON;
use crate::protocol::{Connection, Failure};
use crate::server::{Home, Server};

/// Version, user, operation, parameters and metrics, newest first.
async fn history(connection: &mut Connection, table: &str) -> Vec<[String; 5]> {
    let rows = connection.rows(&format!("DESCRIBE HISTORY {table}")).await.unwrap();
    rows.into_iter().map(|row| [0, 2, 3, 4, 8].map(|column| row[column].clone())).collect()
}

async fn run(connection: &mut Connection, statements: &[&str]) {
    for sql in statements {
        connection.command(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

fn metric(row: &[String; 5], name: &str) -> Option<String> {
    let metrics: serde_json::Value = serde_json::from_str(&row[4]).unwrap();
    metrics.get(name).and_then(serde_json::Value::as_str).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_tells_who_did_what() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    run(
        &mut connection,
        &[
            "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 10) g",
            "CREATE TABLE u (a int)",
            "BEGIN",
            "INSERT INTO t VALUES (11), (12)",
            "SAVEPOINT s",
            "DELETE FROM t",
            "ROLLBACK TO s",
            "UPDATE t SET a = a + 100 WHERE a > 9",
            "COMMIT",
        ],
    )
    .await;
    let one = history(&mut connection, "t").await.remove(0);
    assert_eq!([&one[1], &one[2]], ["lakegate", "TRANSACTION"], "{one:?}");
    assert!(one[3].contains("WRITE, UPDATE"), "{one:?}");
    assert_eq!(metric(&one, "numUpdatedRows").as_deref(), Some("3"), "{one:?}");
    assert_eq!(metric(&one, "numDeletedRows").as_deref(), Some("0"), "{one:?}");
    run(&mut connection, &["BEGIN", "INSERT INTO u VALUES (1)", "DELETE FROM t WHERE a < 3", "COMMIT"]).await;
    let [one, other] = [history(&mut connection, "t").await.remove(0), history(&mut connection, "u").await.remove(0)];
    assert_eq!([&one[1], &one[2], &other[1], &other[2]], ["lakegate", "TRANSACTION", "lakegate", "TRANSACTION"]);
    assert_eq!(metric(&one, "numDeletedRows").as_deref(), Some("2"), "{one:?}");
    assert_eq!(metric(&other, "numOutputRows").as_deref(), Some("1"), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_is_told_and_spares_what_is_read() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let mut reader = Connection::superuser(server.address()).await.unwrap();
    run(
        &mut connection,
        &[
            "SET lakegate.retention_check = off",
            "CREATE TABLE t AS SELECT g FROM generate_series(1, 100000) g",
            "VACUUM t",
        ],
    )
    .await;
    let told = history(&mut connection, "t").await;
    let operations: Vec<&str> = told.iter().map(|row| row[2].as_str()).collect();
    assert_eq!(operations, ["VACUUM END", "VACUUM START", "CREATE TABLE AS SELECT"]);
    assert!(told[0][1] == "lakegate" && told[0][3].contains("COMPLETED"), "{told:?}");
    run(&mut reader, &["BEGIN", "DECLARE c CURSOR FOR SELECT g FROM t", "FETCH 1 FROM c"]).await;
    run(&mut connection, &["UPDATE t SET g = g + 1"]).await;
    let dry = "VACUUM t RETAIN 0 HOURS DRY RUN";
    assert_eq!(connection.rows(dry).await.unwrap().len(), 0, "a cursor reads them");
    assert_eq!(history(&mut connection, "t").await.len(), 4, "a dry run is no version");
    run(&mut reader, &["COMMIT"]).await;
    let files = connection.rows(dry).await.unwrap().len();
    assert!(files > 0, "nobody reads them any more");
    run(&mut connection, &["VACUUM t RETAIN 0 HOURS"]).await;
    let told = history(&mut connection, "t").await;
    assert_eq!(metric(&told[0], "numDeletedFiles"), Some(files.to_string()), "{told:?}");
    assert_eq!(metric(&told[1], "numFilesToDelete"), Some(files.to_string()), "{told:?}");
    assert!(told[1][3].contains("specifiedRetentionMillis"), "{told:?}");
    assert_eq!(connection.value("SELECT count(*) || ' ' || min(g) FROM t").await.unwrap(), "100000 2");
}

async fn gone(path: &Path) {
    let started = Instant::now();
    while path.exists() {
        assert!(started.elapsed() < SOON, "{} stays", path.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_rolled_back_leaves_its_place_as_it_was() {
    let server = Server::start(&[]);
    let elsewhere = tempfile::tempdir().unwrap();
    let place = elsewhere.path().join("place");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("theirs.txt"), "not ours").unwrap();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let location = place.display();
    for create in [
        format!("CREATE TABLE t (a int) LOCATION '{location}'"),
        format!("CREATE TABLE t LOCATION '{location}' AS SELECT g AS a FROM generate_series(1, 10) g"),
    ] {
        run(&mut connection, &["BEGIN", &create, "INSERT INTO t VALUES (1)", "ROLLBACK"]).await;
        gone(&place.join("_delta_log")).await;
        let started = Instant::now();
        while std::fs::read_dir(&place).unwrap().count() > 1 {
            assert!(started.elapsed() < SOON, "{create}: files stay");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(std::fs::read_to_string(place.join("theirs.txt")).unwrap(), "not ours");
        run(&mut connection, &["BEGIN", &create, "INSERT INTO t VALUES (1)", "COMMIT"]).await;
        assert_eq!(connection.value("SELECT count(*) > 0 FROM t").await.unwrap(), "t");
        // The files of a LOCATION stay after DROP; one that is adopted stays after ROLLBACK too.
        run(&mut connection, &["DROP TABLE t"]).await;
        let adopt = format!("CREATE TABLE t LOCATION '{location}'");
        run(&mut connection, &["BEGIN", &adopt, "ROLLBACK", &adopt, "SELECT a FROM t", "DROP TABLE t"]).await;
        std::fs::remove_dir_all(place.join("_delta_log")).unwrap();
        for file in std::fs::read_dir(&place).unwrap().flatten() {
            if file.file_name() != "theirs.txt" {
                std::fs::remove_file(file.path()).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_a_table_in_a_transaction_goes_on_with_its_history() {
    let home = Home::new();
    let server = Server::start_in(&home, &[]);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let mut other = Connection::superuser(server.address()).await.unwrap();
    for location in ["", &format!(" LOCATION '{}'", elsewhere.path().join("t").display())] {
        run(&mut connection, &["DROP TABLE IF EXISTS t", &format!("CREATE TABLE t (a int){location}")]).await;
        run(&mut connection, &["INSERT INTO t VALUES (1), (2)"]).await;
        let oid = connection.value("SELECT 't'::regclass::oid").await.unwrap();
        run(&mut connection, &["BEGIN", "INSERT INTO t VALUES (3)"]).await;
        run(
            &mut connection,
            &[&format!("CREATE OR REPLACE TABLE t{location} AS SELECT 'x' AS b, count(*) AS n FROM t")],
        )
        .await;
        run(&mut connection, &["INSERT INTO t VALUES ('y', 7)"]).await;
        let seen = "SELECT string_agg(b || n, ' ' ORDER BY b) FROM t";
        assert_eq!(connection.value(seen).await.unwrap(), "x3 y7");
        assert_eq!(other.value("SELECT count(*) || ' ' || sum(a) FROM t").await.unwrap(), "2 3");
        run(&mut connection, &["ROLLBACK"]).await;
        assert_eq!(connection.value("SELECT count(*) || ' ' || sum(a) FROM t").await.unwrap(), "2 3");
        run(&mut connection, &["BEGIN", &format!("CREATE OR REPLACE TABLE t (b text, n int){location}")]).await;
        run(&mut connection, &["INSERT INTO t VALUES ('z', 9)", "COMMIT"]).await;
        for connection in [&mut connection, &mut other] {
            assert_eq!(connection.value("SELECT string_agg(b || n, ' ') FROM t").await.unwrap(), "z9");
            assert_eq!(connection.value("SELECT sum(a) FROM t VERSION AS OF 1").await.unwrap(), "3");
        }
        let told: Vec<String> = history(&mut connection, "t").await.into_iter().map(|row| row[2].clone()).collect();
        assert_eq!(told, ["TRANSACTION", "RESERVE", "WRITE", "CREATE TABLE"], "the history goes on");
        assert_eq!(connection.value("SELECT 't'::regclass::oid").await.unwrap(), oid);
        // Rows that came meanwhile would be lost.
        run(&mut connection, &["BEGIN", &format!("CREATE OR REPLACE TABLE t (c int){location}")]).await;
        run(&mut other, &["INSERT INTO t VALUES ('late', 1)"]).await;
        assert_eq!(connection.command("COMMIT").await.unwrap_err().code(), "40001");
        assert_eq!(connection.value("SELECT count(*) FROM t").await.unwrap(), "2");
    }
    let place = home.warehouse().join("public");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1, "a replaced table stays in its place");
}

/// Inserts one row after the other until told to stop; how many were acknowledged, and how many statements were refused.
async fn insert(address: std::net::SocketAddr, stop: Arc<AtomicBool>) -> (u64, u64) {
    let mut connection = Connection::superuser(address).await.unwrap();
    let (mut written, mut refused) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        match connection.command("INSERT INTO t (a) VALUES (1)").await {
            Ok(_) => written += 1,
            Err(Failure::Refused(told)) if told.code() == "40001" => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    (written, refused)
}

/// Runs statements beside a stream of INSERTs: how many of these were refused.
async fn beside_inserts(statements: &[String]) -> u64 {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    run(&mut connection, &["CREATE TABLE t (a int, b int)"]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3).map(|_| tokio::spawn(insert(server.address(), Arc::clone(&stop)))).collect();
    for sql in statements {
        connection.command(sql).await.unwrap_or_else(|error| panic!("{sql} did not get its turn: {error}"));
    }
    stop.store(true, Ordering::Relaxed);
    let (mut written, mut refused) = (0, 0);
    for writer in writers {
        let done = writer.await.unwrap();
        written += done.0;
        refused += done.1;
    }
    assert_eq!(connection.value("SELECT count(*) FROM t").await.unwrap(), written.to_string());
    assert!(written > 0, "nothing was inserted: the test proves nothing");
    eprintln!("{} statements beside {written} INSERTs, {refused} refused", statements.len());
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stream_of_inserts_keeps_an_alteration_off() {
    let alterations = (0..8).flat_map(|round| {
        let ty = if round % 2 == 0 { "text" } else { "int" };
        [
            format!("ALTER TABLE t ALTER COLUMN b TYPE {ty} USING NULL"),
            format!("ALTER TABLE t ADD CONSTRAINT c{round} CHECK (a > {})", -round),
            "MERGE INTO t USING (SELECT -1 AS a) s ON t.a = s.a WHEN MATCHED THEN DELETE".to_owned(),
        ]
    });
    beside_inserts(&alterations.collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_about_a_table_refuse_no_insert() {
    let words = (0..15).flat_map(|round| {
        [
            format!("COMMENT ON TABLE t IS 'round {round}'"),
            format!("COMMENT ON COLUMN t.a IS 'round {round}'"),
            format!("ALTER TABLE t ALTER COLUMN b SET DEFAULT {round}"),
        ]
    });
    assert_eq!(beside_inserts(&words.collect::<Vec<_>>()).await, 0, "INSERTs were refused");
}
