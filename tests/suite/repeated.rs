//! Answers do not depend on which partition runs first: the same queries again and again over a table of many small files.

use crate::protocol::Connection;
use crate::server::Server;

const ROUNDS: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_query_has_the_same_answer_every_time() {
    let server = Server::start(&["--set", "settings.lakegate.target_partitions=4"]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("CREATE TABLE t (id int, v varchar(8), p timestamp)").await.unwrap();
    for row in [
        "-7, '', '0001-01-01'",
        "5, 'x', '1970-01-01'",
        "1, 'Ab', '2026-02-28'",
        "9, '12345678', 'infinity'",
        "NULL, NULL, NULL",
    ] {
        connection.command(&format!("INSERT INTO t VALUES ({row})")).await.unwrap();
    }
    for (sql, expected) in [
        ("SELECT min(id), max(id) FROM t", "-7|9"),
        ("SELECT min(v), max(v), count(*) FROM t", "|x|5"),
        ("SELECT min(p), max(p) FROM t", "0001-01-01 00:00:00|infinity"),
        ("SELECT min(id) FROM t WHERE v > ''", "1"),
        ("SELECT max(id), min(v) FROM t WHERE id < 9", "5|"),
        ("SELECT string_agg(id::text, ',' ORDER BY id) FROM t", "-7,1,5,9"),
        ("SELECT sum(id), avg(id), count(DISTINCT v) FROM t", "8|2.0000000000000000|4"),
        ("SELECT id FROM t ORDER BY id DESC NULLS LAST LIMIT 1", "9"),
        ("SELECT id FROM t ORDER BY id LIMIT 1", "-7"),
        ("SELECT count(*) FROM t a JOIN t b ON a.id = b.id AND b.v <> ''", "3"),
        ("SELECT count(*) FROM t WHERE id IN (SELECT max(id) FROM t)", "1"),
        ("SELECT first_value(id) OVER (ORDER BY v) FROM t ORDER BY id LIMIT 1", "-7"),
    ] {
        let mut others = std::collections::BTreeMap::new();
        for _ in 0..ROUNDS {
            let rows = connection.rows(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let answer: Vec<String> = rows.iter().map(|row| row.join("|")).collect();
            if answer.join("\n") != expected {
                *others.entry(answer.join("\n")).or_insert(0) += 1;
            }
        }
        assert!(others.is_empty(), "{sql}: expected {expected}, got in {ROUNDS} rounds {others:?}");
    }
}
