//! Memory: slow readers, statements beyond the pool, idle connections.

use std::time::Duration;

use bytes::BufMut;

use crate::protocol::{Connection, Failure, message, put_string, query};
use crate::server::Server;

const MIB: u64 = 1024 * 1024;
/// How far above its idle size a process may grow for one slow reader.
const GROWTH_MAX: u64 = 400 * MIB;
const MANY_ROWS: &str =
    "SELECT g, g * 2 AS twice, 'some text of row ' || g AS words FROM generate_series(1, 20000000) g";

async fn warm(server: &Server) -> u64 {
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.query("SELECT count(*) FROM generate_series(1, 1000000) g").await.unwrap();
    server.resident_bytes()
}

/// Reads a few rows a time for a while, and tells the largest size that the process had.
async fn read_slowly(server: &Server, connection: &mut Connection) -> u64 {
    let mut largest = 0;
    for _ in 0..40 {
        for _ in 0..25 {
            connection.receive().await.unwrap().expect("rows");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        largest = largest.max(server.resident_bytes());
    }
    largest
}

async fn slow_reader(send: &[u8]) {
    let server = Server::start(&[]);
    let idle = warm(&server).await;
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.send(send).await.unwrap();
    let largest = read_slowly(&server, &mut connection).await;
    let growth = largest.saturating_sub(idle);
    assert!(growth < GROWTH_MAX, "from {} MiB idle it grew by {} MiB", idle / MIB, growth / MIB);
    // Another session is served meanwhile.
    let mut other = Connection::superuser(server.address()).await.unwrap();
    assert_eq!(other.value("SELECT 1").await.unwrap(), "1");
}

fn extended(sql: &str, format: u16) -> Vec<u8> {
    let (mut parse, mut bind) = (bytes::BytesMut::new(), bytes::BytesMut::new());
    put_string(&mut parse, "");
    put_string(&mut parse, sql);
    parse.put_u16(0);
    put_string(&mut bind, "");
    put_string(&mut bind, "");
    [0, 0, 1, format].into_iter().for_each(|number| bind.put_u16(number));
    [message(b'P', &parse), message(b'B', &bind), message(b'E', &[0; 5]), message(b'S', &[])].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_little_memory_in_simple_query() {
    slow_reader(&query(MANY_ROWS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_little_memory_in_extended_query() {
    slow_reader(&extended(MANY_ROWS, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_copy_holds_little_memory() {
    slow_reader(&query(&format!("COPY ({MANY_ROWS}) TO STDOUT"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_beyond_the_pool_spills_or_ends_alone() {
    let server = Server::start(&["--set", "memory.pool_bytes=32MB"]);
    let mut other = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        "SELECT count(*) FROM (SELECT g % 7 AS k, g || 'x' AS s FROM generate_series(1, 3000000) g ORDER BY s OFFSET 10) q",
        "SELECT count(*) FROM (SELECT 'k' || g AS k, count(*) FROM generate_series(1, 2000000) g GROUP BY 1) q",
        "SELECT count(*) FROM generate_series(1, 2000000) a JOIN generate_series(1, 2000000) b ON a::text = b::text",
        "SELECT length(string_agg(g::text || 'some more text', ',')) FROM generate_series(1, 5000000) g",
        "SELECT array_length(array_agg(g || 'some more text'), 1) FROM generate_series(1, 5000000) g",
    ] {
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        match connection.query(sql).await {
            Ok(answer) => assert_eq!(answer.rows.len(), 1, "{sql}"),
            Err(Failure::Refused(told)) => assert_eq!(told.code(), "53200", "{sql}: {told}"),
            Err(error) => panic!("{sql}: {error}"),
        }
        assert_eq!(connection.value("SELECT 1").await.unwrap(), "1", "{sql}");
        assert_eq!(other.value("SELECT 2").await.unwrap(), "2", "{sql}");
        assert!(server.resident_bytes() < 1536 * MIB, "{sql}: {} MiB", server.resident_bytes() / MIB);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_cheap() {
    let server = Server::start(&["--set", "server.connections_max=300"]);
    let idle = warm(&server).await;
    let mut connections = Vec::new();
    for _ in 0..200 {
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        connection.query("SELECT 1").await.unwrap();
        connections.push(connection);
    }
    let growth = server.resident_bytes().saturating_sub(idle);
    assert!(growth < 30 * MIB, "200 connections cost {} MiB", growth / MIB);
    for connection in &mut connections {
        assert_eq!(connection.value("SELECT 1").await.unwrap(), "1");
    }
}
