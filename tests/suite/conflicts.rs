//! Transactions beside each other: which of them are in conflict.

use crate::protocol::Connection;
use crate::server::Server;

async fn two(server: &Server) -> (Connection, Connection) {
    let mut one = Connection::superuser(server.address()).await.unwrap();
    one.command("CREATE TABLE t AS SELECT 1 AS a").await.unwrap();
    (one, Connection::superuser(server.address()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_savepoint_took_back_is_no_conflict() {
    let server = Server::start(&[]);
    let (mut one, mut other) = two(&server).await;
    for sql in ["BEGIN", "INSERT INTO t VALUES (2)", "SAVEPOINT s", "TRUNCATE t", "ROLLBACK TO s"] {
        one.command(sql).await.unwrap();
    }
    other.command("INSERT INTO t VALUES (3)").await.unwrap();
    one.command("COMMIT").await.unwrap();
    assert_eq!(one.value("SELECT string_agg(a::text, ',' ORDER BY a) FROM t").await.unwrap(), "1,2,3");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_before_a_savepoint_stays_a_conflict() {
    let server = Server::start(&[]);
    let (mut one, mut other) = two(&server).await;
    for sql in ["BEGIN", "TRUNCATE t", "SAVEPOINT s", "INSERT INTO t VALUES (2)", "TRUNCATE t", "ROLLBACK TO s"] {
        one.command(sql).await.unwrap();
    }
    other.command("INSERT INTO t VALUES (3)").await.unwrap();
    assert_eq!(one.command("COMMIT").await.unwrap_err().code(), "40001");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_decided_by_its_snapshot_and_a_merge_is_not() {
    let server = Server::start(&[]);
    let (mut one, mut other) = two(&server).await;
    for (sql, conflict) in [
        ("UPDATE t SET a = (SELECT max(a) FROM t) + 1", false),
        ("DELETE FROM t WHERE a = (SELECT max(a) FROM t)", false),
        ("MERGE INTO t USING (VALUES (7)) s (a) ON t.a = s.a WHEN NOT MATCHED THEN INSERT VALUES (s.a)", true),
        ("INSERT INTO t VALUES (8) ON CONFLICT (a) DO NOTHING", true),
    ] {
        one.command("BEGIN").await.unwrap();
        one.command(sql).await.unwrap();
        other.command("INSERT INTO t VALUES (100)").await.unwrap();
        let ended = one.command("COMMIT").await;
        assert_eq!(ended.is_err(), conflict, "{sql}");
    }
}
