//! kill -9 at any moment of a COPY or an INSERT leaves all of the statement's rows or none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::protocol::{Connection, message, query};
use crate::server::{Home, Server};

/// Rows of one statement.
const ROWS: u64 = 20_000;

pub(super) fn rounds() -> u64 {
    std::env::var("LAKEGATE_SUITE_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

/// Pauses that differ from round to round and repeat from run to run, in microseconds.
pub(super) fn pause(round: u64) -> Duration {
    Duration::from_micros(round.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(12_345) % 250_000)
}

/// Waits until so much was acknowledged, however slow the machine is; with a limit, so that a defect ends the test.
pub(super) async fn await_progress(acknowledged: &AtomicU64, wanted: u64) {
    let started = Instant::now();
    while acknowledged.load(Ordering::Relaxed) < wanted && started.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Writes statement after statement until the connection breaks; how many were acknowledged.
async fn write(address: std::net::SocketAddr, round: u64, count: Arc<AtomicU64>) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let Ok(mut connection) = Connection::superuser(address).await else { return acknowledged };
    for statement in 0.. {
        let batch = round * 1000 + statement;
        let done = if statement % 2 == 0 {
            let rows: String = (0..ROWS).map(|row| format!("{batch}\t{row}\tsome text of row {row}\n")).collect();
            connection.copy_in("COPY rows FROM STDIN", rows.as_bytes()).await
        } else {
            let sql = format!(
                "INSERT INTO rows SELECT {batch}, g, 'some text of row ' || g FROM generate_series(0, {}) g",
                ROWS - 1
            );
            connection.query(&sql).await
        };
        match done {
            Ok(answer) => {
                assert!(answer.tag.ends_with(&ROWS.to_string()), "{}", answer.tag);
                acknowledged.push(batch);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => break,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_leaves_all_rows_of_a_statement_or_none() {
    let home = Home::new();
    let mut acknowledged = Vec::new();
    {
        let server = Server::start_in(&home, &[]);
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        connection.command("CREATE TABLE rows (batch bigint NOT NULL, row bigint, words text)").await.unwrap();
    }
    for round in 0..rounds() {
        let mut server = Server::start_in(&home, &[]);
        let count = Arc::new(AtomicU64::new(0));
        let writer = tokio::spawn(write(server.address(), round, Arc::clone(&count)));
        await_progress(&count, round % 4).await;
        tokio::time::sleep(pause(round)).await;
        server.kill();
        acknowledged.extend(writer.await.unwrap());
    }
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let sql = "SELECT batch, count(*), count(DISTINCT row), sum(row) FROM rows GROUP BY batch ORDER BY batch";
    let batches = connection.rows(sql).await.unwrap();
    let sum = (ROWS * (ROWS - 1) / 2).to_string();
    for batch in &batches {
        assert_eq!(batch[1..], [ROWS.to_string(), ROWS.to_string(), sum.clone()], "batch {} is torn", batch[0]);
    }
    let there: std::collections::BTreeSet<u64> = batches.iter().map(|batch| batch[0].parse().unwrap()).collect();
    let lost: Vec<&u64> = acknowledged.iter().filter(|batch| !there.contains(batch)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(!there.is_empty(), "no statement ended in {} rounds: the test proves nothing", rounds());
}

/// A client that goes away inside COPY leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_its_end_commits_nothing() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("CREATE TABLE t (a int)").await.unwrap();
    {
        let mut leaving = Connection::superuser(server.address()).await.unwrap();
        leaving.send(&query("COPY t FROM STDIN")).await.unwrap();
        leaving.send(&message(b'd', b"1\n2\n")).await.unwrap();
        assert_eq!(leaving.receive().await.unwrap().unwrap().tag, b'G');
    }
    let active =
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    super::eventually(super::SOON, &mut connection, active, "0").await.unwrap();
    assert_eq!(connection.value("SELECT count(*) FROM t").await.unwrap(), "0");
}

/// Types, constraints, views, roles and names outlive a restart.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_outlive_a_restart() {
    const COLUMNS: &str = "a smallint, b int NOT NULL, c bigint, d real, e float8, f numeric(12,3), g numeric, h varchar(5), i char(4), j text, \
        k bool, l date, m time, n timestamp, o timestamptz, p interval, q uuid, r json, s jsonb, t bytea, u int[], v text[], w timestamp(3), x numeric(5,1)[]";
    const VALUES: &str = "1, 2, 3, 1.5, 2.5, 12.345, 0.1, 'abc', 'ab', 'text', true, '2020-02-29', '10:11:12.123456', '2020-01-01 01:02:03.123456', \
        '2020-01-01 00:00+02', '1 year 2 mons 3 days 04:05:06.7', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"a\":  1}', '{\"a\":  1}', '\\x0001', \
        '{1,NULL}', '{a,\"b c\"}', '2020-01-01 01:02:03.1234', '{1.25,2}'";
    const ASK: [&str; 5] = [
        "SELECT attname, attnotnull, format_type(atttypid, atttypmod), attrelid FROM pg_attribute WHERE attrelid = 'kinds'::regclass AND attnum > 0 ORDER BY attnum",
        "SELECT * FROM kinds",
        "SELECT * FROM seen",
        "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles WHERE rolname = 'reader'",
        "SELECT oid, relname, relkind FROM pg_class WHERE relname IN ('kinds', 'seen') ORDER BY 2",
    ];
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        format!("CREATE TABLE kinds ({COLUMNS}, CONSTRAINT positive CHECK (b > 0))"),
        format!("INSERT INTO kinds VALUES ({VALUES})"),
        "CREATE VIEW seen AS SELECT b, h FROM kinds".to_owned(),
        "CREATE ROLE reader LOGIN".to_owned(),
    ] {
        connection.command(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let mut before = Vec::new();
    for sql in ASK {
        let answer = connection.query(sql).await.unwrap();
        before.push((answer.columns, answer.rows));
    }
    let server = server.restart();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for (sql, before) in ASK.iter().zip(before) {
        let answer = connection.query(sql).await.unwrap();
        assert_eq!((answer.columns, answer.rows), before, "{sql}");
    }
    let refused = connection.command("INSERT INTO kinds (b) VALUES (-1)").await.unwrap_err();
    assert_eq!(refused.code(), "23514");
    let refused = connection.command("INSERT INTO kinds (a) VALUES (1)").await.unwrap_err();
    assert_eq!(refused.code(), "23502");
}
