//! ALTER TABLE between the Delta log and the catalog, and beside readers and writers.

use std::path::PathBuf;

use crate::protocol::Connection;
use crate::server::{Home, Server};

const COLUMNS: &str = "SELECT string_agg(attname || coalesce('=' || pg_get_expr(adbin, adrelid), ''), ' ' ORDER BY attnum) \
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum \
    WHERE attrelid = 't'::regclass AND attnum > 0";

/// The newest version of the catalog.
fn newest_catalog(home: &Home) -> PathBuf {
    let versions = std::fs::read_dir(home.warehouse().join("_lakegate/catalog")).unwrap();
    versions
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .max()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_catches_up_with_the_log_after_a_crash() {
    let home = Home::new();
    let mut server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        "CREATE TABLE t (a int, b text DEFAULT 'x')",
        "INSERT INTO t VALUES (1, 'kept')",
        "ALTER TABLE t RENAME COLUMN b TO c",
    ] {
        connection.command(sql).await.unwrap();
    }
    server.kill();
    drop(server);
    // As if the crash had come between the two commits.
    std::fs::remove_file(newest_catalog(&home)).unwrap();
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    assert_eq!(connection.value(COLUMNS).await.unwrap(), "a b='x'");
    assert_eq!(connection.value("SELECT c FROM t").await.unwrap(), "kept");
    assert_eq!(connection.value(COLUMNS).await.unwrap(), "a c='x'");
    connection.command("INSERT INTO t (a) VALUES (2)").await.unwrap();
    assert_eq!(connection.value("SELECT c FROM t WHERE a = 2").await.unwrap(), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_began_before_goes_on() {
    let server = Server::start(&[]);
    let mut reader = Connection::superuser(server.address()).await.unwrap();
    let mut other = Connection::superuser(server.address()).await.unwrap();
    other.command("CREATE TABLE t AS SELECT 1 AS a, 'old' AS b").await.unwrap();
    reader.command("BEGIN").await.unwrap();
    assert_eq!(reader.value("SELECT b FROM t").await.unwrap(), "old");
    other.command("ALTER TABLE t DROP COLUMN b").await.unwrap();
    assert_eq!(reader.value("SELECT b FROM t").await.unwrap(), "old");
    reader.command("COMMIT").await.unwrap();
    assert!(reader.command("SELECT b FROM t").await.is_err());
}

/// Again as long as the writers are faster.
async fn alter(connection: &mut Connection, sql: &str) {
    while let Err(error) = connection.command(sql).await {
        assert_eq!(error.code(), "40001", "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_between_writers_and_alterations() {
    const ROWS: usize = 40;
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("CREATE TABLE t (a int)").await.unwrap();
    let address = server.address();
    let writer = tokio::spawn(async move {
        let mut connection = Connection::superuser(address).await.unwrap();
        let mut written = 0;
        for _ in 0..ROWS {
            // A statement that met an alteration may be told to try again.
            written += usize::from(connection.command("INSERT INTO t (a) VALUES (1)").await.is_ok());
        }
        written
    });
    for round in 0..6 {
        alter(&mut connection, &format!("ALTER TABLE t ADD COLUMN c{round} int DEFAULT {round}")).await;
        alter(&mut connection, &format!("ALTER TABLE t DROP COLUMN c{round}")).await;
    }
    let written = writer.await.unwrap();
    assert_eq!(connection.value("SELECT count(*) FROM t").await.unwrap(), written.to_string());
}
