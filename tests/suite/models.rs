//! Models while they are trained: stopped, watched, short of memory, killed; and artifacts that are damaged or gone.

mod files;
mod onnx;
mod unnamed;

use std::time::{Duration, Instant};

use crate::protocol::{Connection, Failure};
use crate::server::{Home, Server};

const ROWS: &str = "CREATE TABLE rows AS SELECT i AS id, (i * 37 % 1009)::float8 AS x, (i * 53 % 997)::float8 AS y, \
     (ARRAY['red', 'green', 'blue'])[1 + i % 3] AS colour, (i * 37 % 1009) + (i * 53 % 997) > 1000 AS high \
     FROM generate_series(1, 20000) AS s(i)";
/// Takes far longer than anybody waits.
const ENDLESS: &str = "CREATE MODEL endless OPTIONS (model_type = 'random_forest_classifier', label = 'high', num_trees = 10000, \
     max_depth = 30) AS SELECT x, y, colour, high FROM rows";
const SMALL: &str = "OPTIONS (model_type = 'random_forest_classifier', label = 'high', num_trees = 5) AS SELECT x, y, colour, high FROM rows";

fn artifacts(home: &Home) -> Vec<std::path::PathBuf> {
    let folder = std::fs::read_dir(home.warehouse().join("_lakegate/models"));
    folder.map(|folder| folder.map(|entry| entry.unwrap().path()).collect()).unwrap_or_default()
}

/// Waits until the training is under way: phase, done, total.
async fn trains(watching: &mut Connection) -> Vec<String> {
    let asked = "SELECT phase, done, total FROM lakegate.queries WHERE query LIKE 'CREATE MODEL endless%'";
    let started = Instant::now();
    loop {
        let rows = watching.rows(asked).await.unwrap();
        if let Some(row) = rows.into_iter().next()
            && row[0] == "training"
            && row[1].parse::<u64>().is_ok_and(|done| done > 0)
        {
            return row;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "the training does not begin");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn training_stops_when_it_is_asked_to() {
    let home = Home::new();
    let mut server = Server::start_in(&home, &[]);
    let mut watching = Connection::superuser(server.address()).await.unwrap();
    watching.command(ROWS).await.unwrap();
    // Cancelled.
    let mut training = Connection::superuser(server.address()).await.unwrap();
    let key = training.key.clone();
    let run = tokio::spawn(async move { training.command(ENDLESS).await });
    let told = trains(&mut watching).await;
    assert_eq!(told[2], "10000");
    // Others are served meanwhile.
    let begun = Instant::now();
    assert_ne!(watching.value("SELECT count(*) FROM rows WHERE high").await.unwrap(), "0");
    assert!(begun.elapsed() < Duration::from_secs(10));
    crate::protocol::send_cancel(server.address(), &key).await.unwrap();
    assert_eq!(run.await.unwrap().unwrap_err().code(), "57014");
    // Out of time.
    watching.command("SET statement_timeout = '1s'").await.unwrap();
    assert_eq!(watching.command(ENDLESS).await.unwrap_err().code(), "57014");
    watching.command("RESET statement_timeout").await.unwrap();
    // Left by its client.
    let mut training = Connection::superuser(server.address()).await.unwrap();
    training.send(&crate::protocol::query(ENDLESS)).await.unwrap();
    trains(&mut watching).await;
    drop(training);
    let left = "SELECT count(*) FROM lakegate.queries WHERE query LIKE 'CREATE MODEL endless%'";
    let begun = Instant::now();
    while watching.value(left).await.unwrap() != "0" {
        assert!(begun.elapsed() < Duration::from_secs(20), "the training goes on without a client");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Killed with its server.
    let mut training = Connection::superuser(server.address()).await.unwrap();
    training.send(&crate::protocol::query(ENDLESS)).await.unwrap();
    trains(&mut watching).await;
    server.kill();
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    assert_eq!(connection.value("SELECT count(*) FROM lakegate.models").await.unwrap(), "0");
    assert!(artifacts(&home).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_fit_into_memory_are_refused() {
    let server = Server::start(&["--set", "memory.pool_bytes=24MB"]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    // While they are read, while they are put in order, while trees grow.
    for rows in [3_000_000, 300_000, 100_000] {
        let refused = format!(
            "CREATE MODEL m OPTIONS (model_type = 'random_forest_classifier', label = 'high', threads = 2) AS \
             SELECT i AS a, i * 2 AS b, i * 3 AS c, i % 2 = 0 AS high FROM generate_series(1, {rows}) AS s(i)"
        );
        match connection.command(&refused).await {
            Err(Failure::Refused(told)) => {
                assert_eq!(told.code(), "53200", "{rows}: {told}");
                assert!(told.field('H').contains("train on a sample of the rows"), "{rows}: {told}");
            }
            other => panic!("{rows} rows: {other:?}"),
        }
    }
    connection.command(ROWS).await.unwrap();
    connection.command(&format!("CREATE MODEL m {SMALL}")).await.unwrap();
    assert_eq!(connection.value("SELECT count(*) FROM rows WHERE predict('m', rows.*) IS NULL").await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_no_model() {
    let home = Home::new();
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command(ROWS).await.unwrap();
    connection.command(&format!("CREATE MODEL m {SMALL}")).await.unwrap();
    let [artifact] = artifacts(&home).try_into().unwrap();
    // A query that has begun goes on with the model that it has.
    connection.command("BEGIN").await.unwrap();
    connection.command("DECLARE c CURSOR FOR SELECT predict('m', rows.*) FROM rows").await.unwrap();
    assert_eq!(connection.rows("FETCH 1 FROM c").await.unwrap().len(), 1);
    let mut dropping = Connection::superuser(server.address()).await.unwrap();
    dropping.command("DROP MODEL m").await.unwrap();
    assert_eq!(connection.rows("FETCH ALL FROM c").await.unwrap().len(), 19999);
    connection.command("COMMIT").await.unwrap();
    assert_eq!(connection.command("SELECT predict('m', rows.*) FROM rows").await.unwrap_err().code(), "42704");
    // Versions of which one is good.
    dropping.command(&format!("CREATE MODEL n {SMALL}")).await.unwrap();
    let first = artifacts(&home).into_iter().find(|path| *path != artifact).unwrap();
    dropping.command(&format!("CREATE OR REPLACE MODEL n {SMALL}")).await.unwrap();
    let bytes = std::fs::read(&first).unwrap();
    let server = server.restart();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let used = "SELECT count(*) FROM rows WHERE predict('n@1', rows.*) IS NULL";
    for damaged in
        [damaged(&bytes, bytes.len() / 2), damaged(&bytes, bytes.len() - 1), bytes[..100].to_vec(), Vec::new()]
    {
        std::fs::write(&first, damaged).unwrap();
        assert_eq!(connection.command(used).await.unwrap_err().code(), "XX001");
    }
    std::fs::remove_file(&first).unwrap();
    assert_eq!(connection.command(used).await.unwrap_err().code(), "XX001");
    assert_eq!(connection.value(&used.replace("@1", "")).await.unwrap(), "0");
    std::fs::write(&first, &bytes).unwrap();
    assert_eq!(connection.value(used).await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_columns_are_learned_from() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let columns: Vec<String> = (0..2000).map(|n| format!("(i * {} % 97)::float8 AS c{n}", n + 1)).collect();
    let rows = format!("SELECT {} FROM generate_series(1, 200) AS s(i)", columns.join(", "));
    let options = "model_type = 'random_forest_regressor', label = 'c0', num_trees = 3, eval_fraction = 0";
    connection.command(&format!("CREATE MODEL wide OPTIONS ({options}) AS {rows}")).await.unwrap();
    let predicted = format!("SELECT count(*), count(predict('wide', t.*)) FROM ({rows}) AS t");
    assert_eq!(connection.rows(&predicted).await.unwrap(), [["200", "200"]]);
    assert_eq!(connection.value("SELECT count(*) FROM ML.FEATURE_INFO(MODEL wide)").await.unwrap(), "1999");
}

fn damaged(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut other = bytes.to_vec();
    other[at] ^= 0x10;
    other
}
