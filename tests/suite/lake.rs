//! `tests/sql/lake/`: what only Lakegate speaks.

use crate::files::{below, check_all};
use crate::protocol::Connection;
use crate::server::Server;
use crate::slt::{Target, run_file};
use crate::sql_driver::Mode;

async fn run(mode: Mode) {
    let server = Server::start(&[]);
    let target = Target::new(server.address(), "lakegate", "lakegate", mode);
    check_all(below("tests/sql/lake", "slt"), |file| run_file(file, target.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simple() {
    run(Mode::Simple).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extended() {
    if !crate::files::updating() {
        run(Mode::Extended).await;
    }
}

/// DESCRIBE HISTORY tells times and cannot stand in a file.
#[tokio::test(flavor = "multi_thread")]
async fn the_history_tells_who_and_which_rows() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    connection.command(&format!("COPY (SELECT 9 AS a, 'x' AS b, 1 AS p) TO '{place}/1.parquet'")).await.unwrap();
    for statement in [
        "CREATE TABLE t (a int, p int) PARTITIONED BY (p)",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
        "INSERT OVERWRITE t PARTITION (p = 1) SELECT 3",
        "INSERT INTO t REPLACE WHERE a = 2 AND p = 2 SELECT 2, 2",
        "INSERT OVERWRITE t SELECT * FROM t",
        &format!("COPY INTO t FROM '{place}' FILEFORMAT = PARQUET COPY_OPTIONS ('mergeSchema' = 'true')"),
    ] {
        connection.rows(statement).await.unwrap();
    }
    let history = connection.rows("DESCRIBE HISTORY t").await.unwrap();
    let told: Vec<String> = history
        .iter()
        .rev()
        .map(|version| {
            let parameters: serde_json::Value = serde_json::from_str(&version[4]).unwrap();
            let predicate = parameters["predicate"].as_str().unwrap_or("-");
            format!("{} {} {predicate}", version[2], version[3])
        })
        .collect();
    let expected = [
        "lakegate CREATE TABLE -",
        "lakegate WRITE -",
        "lakegate WRITE p IS NOT DISTINCT FROM 1",
        "lakegate WRITE a = 2 AND p = 2",
        "lakegate WRITE -",
        "lakegate COPY INTO -",
    ];
    assert_eq!(told, expected);
    assert!(history[0].iter().any(|value| value.contains("numOutputRows")), "{:?}", history[0]);
}
