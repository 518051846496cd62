//! A store that fails under every kind of statement that writes: what succeeded is there once, what failed is not there, and
//! whoever waits can be told to stop.

use std::time::{Duration, Instant};

use super::emulator::Emulator;
use super::unreliable::{Fault, Rule, Unreliable};
use super::{expect, launch};
use crate::faults::{SOON, eventually};
use crate::protocol::{Connection, Failure, query};
use crate::server::Server;

const ROWS: u64 = 50;
/// Longer than whoever is stopped waits for a commit that has begun.
const HANGS: Duration = Duration::from_secs(25);
const LOG: &str = "_delta_log/0";

/// What a request of a commit meets. A store that tells no more than these twice in a row must not be noticed.
const FAULTS: [Fault; 6] = [
    Fault::Delay(Duration::from_millis(100)),
    Fault::Refuse(503),
    Fault::Refuse(409),
    Fault::Refuse(412),
    Fault::Deny(503),
    Fault::Silence,
];

/// What the tables must hold.
#[derive(Debug, Default)]
struct Model {
    /// Rows of `t`, and the sum of what was added to them.
    rows: u64,
    sum: u64,
    /// Rows of `u` and of `loaded`.
    committed: u64,
    loaded: u64,
}

impl Model {
    async fn check(&self, connection: &mut Connection, after: &str) {
        let sql = "SELECT (SELECT count(*) FROM t), (SELECT count(DISTINCT id) FROM t), (SELECT sum(n) FROM t), \
            (SELECT count(*) FROM u), (SELECT count(DISTINCT id) FROM u), (SELECT count(*) FROM loaded), \
            (SELECT count(DISTINCT id) FROM loaded)";
        let there = connection.rows(sql).await.unwrap_or_else(|error| panic!("{after}: {error}")).remove(0);
        let Self { rows, sum, committed, loaded } = self;
        let expected = [rows, rows, sum, committed, committed, loaded, loaded].map(u64::to_string);
        assert_eq!(there, expected, "{after}");
    }
}

/// One kind of statement: which of its requests fail, and what it does.
struct Kind {
    name: &'static str,
    method: &'static str,
    part: &'static str,
}

const fn kind(name: &'static str, method: &'static str, part: &'static str) -> Kind {
    Kind { name, method, part }
}

const KINDS: [Kind; 12] = [
    kind("INSERT", "PUT", LOG),
    kind("UPDATE", "PUT", LOG),
    kind("DELETE", "PUT", LOG),
    kind("MERGE", "PUT", LOG),
    kind("COPY INTO", "PUT", LOG),
    // Each table's reservation and commit, the decision between them, and what is recorded before it.
    kind("COMMIT", "PUT", LOG),
    kind("COMMIT", "PUT", "_lakegate/catalog/"),
    kind("COMMIT", "PUT", "_lakegate/transactions/"),
    kind("OPTIMIZE", "PUT", LOG),
    kind("VACUUM", "POST", "delete"),
    kind("UPDATE", "PUT", ".parquet"),
    kind("COPY INTO", "PUT", ".parquet"),
];

/// Brings the statement to where its requests are to fail.
async fn prepare(connection: &mut Connection, name: &str, number: u64, model: &mut Model) {
    let before: &[String] = match name {
        "COPY INTO" => &[format!("COPY (SELECT {number} AS id) TO 's3://lake/files/{number}.csv' WITH (FORMAT csv)")],
        "COMMIT" => {
            &["BEGIN".to_owned(), format!("INSERT INTO u VALUES ({number})"), "UPDATE t SET n = n + 1".to_owned()]
        }
        // Something to put together, and something to remove.
        "OPTIMIZE" => &[1, 2].map(|row| format!("INSERT INTO t VALUES ({}, 0)", 3_000 + 2 * number + row)),
        "VACUUM" => &["INSERT INTO t VALUES (-1, 0)".to_owned(), "DELETE FROM t WHERE id = -1".to_owned()],
        _ => &[],
    };
    model.rows += if name == "OPTIMIZE" { 2 } else { 0 };
    for sql in before {
        connection.command(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Runs the statement, and notes in the model what it did.
async fn run(connection: &mut Connection, name: &str, number: u64, model: &mut Model) -> Result<(), Failure> {
    let insert = format!("INSERT INTO t VALUES ({}, 0)", 1_000 + number);
    let merge = format!(
        "MERGE INTO t USING (SELECT {} AS id) s ON t.id = s.id \
         WHEN MATCHED THEN UPDATE SET n = n + 1 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0)",
        2_000 + number
    );
    let (sql, tag) = match name {
        "INSERT" => (insert.as_str(), "INSERT 0 1".to_owned()),
        "UPDATE" => ("UPDATE t SET n = n + 1", format!("UPDATE {}", model.rows)),
        "DELETE" => ("DELETE FROM t WHERE id = (SELECT min(id) FROM t)", "DELETE 1".to_owned()),
        "MERGE" => (merge.as_str(), "MERGE 1".to_owned()),
        "COMMIT" => ("COMMIT", "COMMIT".to_owned()),
        "OPTIMIZE" => ("OPTIMIZE t", "OPTIMIZE".to_owned()),
        "VACUUM" => ("VACUUM t RETAIN 0 HOURS", "VACUUM".to_owned()),
        _ => ("COPY INTO loaded FROM 's3://lake/files/' FILEFORMAT = CSV", "COPY 1".to_owned()),
    };
    let gone = match name {
        "DELETE" => {
            let sum = "SELECT n FROM t WHERE id = (SELECT min(id) FROM t)";
            connection.value(sum).await?.parse().unwrap()
        }
        _ => 0,
    };
    let answer = connection.query(sql).await?;
    assert!(name == "COPY INTO" || answer.tag == tag, "{sql}: {}", answer.tag);
    match name {
        "INSERT" | "MERGE" => model.rows += 1,
        "UPDATE" => model.sum += model.rows,
        "DELETE" => {
            model.rows -= 1;
            model.sum -= gone;
        }
        "COMMIT" => {
            model.committed += 1;
            model.sum += model.rows;
        }
        "COPY INTO" => model.loaded += 1,
        _ => {}
    }
    Ok(())
}

async fn begin(proxy: &Unreliable) -> (Server, Connection) {
    let store = Emulator::at(proxy.address);
    let server = launch(&store, "s3://lake/warehouse").unwrap_or_else(|log| panic!("the server did not start\n{log}"));
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        &format!("CREATE TABLE t AS SELECT g AS id, 1::bigint AS n FROM generate_series(1, {ROWS}) g"),
        "CREATE TABLE u (id int)",
        "CREATE TABLE loaded (id int)",
        "SET lakegate.retention_check = off",
    ] {
        connection.command(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    (server, connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn short_faults_of_a_store_are_not_noticed() {
    let s3 = Emulator::s3(&[]).await;
    s3.make_bucket("lake").await;
    let proxy = Unreliable::before(s3.address()).await;
    let (server, mut connection) = begin(&proxy).await;
    let mut model = Model { rows: ROWS, sum: ROWS, ..Model::default() };
    let (mut statements, mut injected) = (0, 0);
    for fault in FAULTS {
        for kind in &KINDS {
            // A condition is refused only where there is one, and nothing races with a slow data file.
            let conditional = kind.part == LOG || kind.part == "_lakegate/catalog/";
            if matches!(fault, Fault::Refuse(409 | 412) | Fault::Delay(_)) && !conditional {
                continue;
            }
            statements += 1;
            let what = format!("{} with {fault:?} of {} …{}…", kind.name, kind.method, kind.part);
            prepare(&mut connection, kind.name, statements, &mut model).await;
            proxy.order(Rule { method: kind.method, part: kind.part, fault, times: 2 });
            let done = run(&mut connection, kind.name, statements, &mut model).await;
            let met = proxy.relent();
            assert!(met > 0, "{what}: no request met the fault");
            done.unwrap_or_else(|error| panic!("{what}: {error}"));
            model.check(&mut connection, &what).await;
            injected += met;
        }
    }
    eprintln!("{injected} faults in {statements} statements, none noticed");
    // Another server sees the same.
    drop(server);
    let server = launch(&s3, "s3://lake/warehouse").unwrap();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    model.check(&mut connection, "after all").await;
}

/// The store does not answer commits of a table: who waits for its turn, and who waits for the store, can be stopped.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_store_that_hangs_can_be_stopped() {
    let s3 = Emulator::s3(&[]).await;
    s3.make_bucket("lake").await;
    let proxy = Unreliable::before(s3.address()).await;
    let (server, mut admin) = begin(&proxy).await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(Connection::superuser(server.address()).await.unwrap());
    }
    let [stuck, inserting, updating, committing] = &mut connections[..] else { unreachable!() };
    for sql in ["BEGIN", "INSERT INTO u VALUES (1)", "INSERT INTO t VALUES (4, 0)"] {
        committing.command(sql).await.unwrap();
    }
    proxy.order(Rule { method: "PUT", part: "public/t/_delta_log/0", fault: Fault::Delay(HANGS), times: u64::MAX });
    stuck.send(&query("INSERT INTO t VALUES (1001, 0)")).await.unwrap();
    let started = Instant::now();
    while proxy.injected() == 0 {
        assert!(started.elapsed() < SOON, "no commit reached the store");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    inserting.send(&query("INSERT INTO t VALUES (1002, 0)")).await.unwrap();
    updating.command("SET statement_timeout = '1s'").await.unwrap();
    let started = Instant::now();
    let timed_out = updating.query("UPDATE t SET n = n + 1").await.unwrap_err();
    assert_eq!(timed_out.code(), "57014", "{timed_out}");
    assert!(started.elapsed() < SOON, "the timeout came after {:?}", started.elapsed());
    committing.send(&query("COMMIT")).await.unwrap();
    let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()";
    eventually(SOON, &mut admin, active, "3").await.unwrap();
    for waiting in [inserting, committing, stuck] {
        let started = Instant::now();
        waiting.cancel().await.unwrap();
        let told = waiting.until_ready().await.unwrap_err();
        assert_eq!(told.code(), "57014", "{told}");
        assert!(started.elapsed() < SOON, "it was stopped after {:?}", started.elapsed());
    }
    let held_up = proxy.relent();
    // Of what was stopped while it waited nothing comes; what the store was already asked for may come once, and whole.
    let rows = "SELECT count(*) FROM t WHERE id IN (4, 1002) AND n = 0 OR n > 1";
    admin.command("INSERT INTO t VALUES (1003, 0)").await.unwrap();
    expect(&mut admin, rows, "0").await;
    expect(&mut admin, "SELECT count(*) FROM u", "0").await;
    let asked = admin.value("SELECT count(*) FROM t WHERE id = 1001").await.unwrap();
    assert!(asked == "0" || asked == "1", "{asked}");
    expect(&mut admin, "SELECT count(*) FROM t WHERE id = 1003", "1").await;
    eprintln!("{held_up} commits held up, {asked} of the one that the store was asked for");
}
