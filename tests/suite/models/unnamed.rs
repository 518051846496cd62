//! Artifacts that nothing names: of dropped models, of transactions that were rolled back, of a server that died.

use std::time::{Duration, Instant};

use super::artifacts;
use crate::faults::SOON;
use crate::protocol::Connection;
use crate::server::{Home, Server};

pub(super) const TRAIN: &str = "OPTIONS (model_type = 'random_forest_classifier', label = 'high', num_trees = 3, seed = 1) AS \
                     SELECT g % 7 AS a, g % 11 AS b, g % 7 > 3 AS high FROM generate_series(1, 300) g";
/// Maintenance at once, of all that is not needed.
const BUSY: &[&str] = &[
    "--set",
    "maintenance.interval=100ms",
    "--set",
    "maintenance.vacuum_interval=1ms",
    "--set",
    "maintenance.file_retention=0",
];

async fn until_artifacts(home: &Home, wanted: usize) {
    let started = Instant::now();
    while artifacts(home).len() != wanted {
        assert!(started.elapsed() < SOON, "there are {:?}, not {wanted}", artifacts(home));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes the artifacts old: nothing removes one that another server may be about to enter.
fn age(home: &Home) {
    for artifact in artifacts(home) {
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(2 * 3600);
        std::fs::File::open(artifact).unwrap().set_modified(long_ago).unwrap();
    }
}

/// Long enough for maintenance to have looked several times.
async fn some_rounds() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Leaves an artifact that no catalog names: the server is killed between its writing and the commit.
async fn killed_before_its_commit(home: &Home) {
    let mut server = Server::start_in(home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("BEGIN").await.unwrap();
    connection.command(&format!("CREATE MODEL m {TRAIN}")).await.unwrap();
    server.kill();
    assert_eq!(artifacts(home).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_training_left_goes_after_its_time() {
    let home = Home::new();
    killed_before_its_commit(&home).await;
    let flags = [&BUSY[..4], &["--set", "maintenance.file_retention=1h"]].concat();
    {
        let server = Server::start_in(&home, &flags);
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        assert_eq!(connection.value("SELECT count(*) FROM lakegate.models").await.unwrap(), "0");
        some_rounds().await;
        assert_eq!(artifacts(&home).len(), 1, "it is not an hour old");
    }
    let server = Server::start_in(&home, BUSY);
    some_rounds().await;
    assert_eq!(artifacts(&home).len(), 1, "another server may be about to enter it");
    age(&home);
    until_artifacts(&home, 0).await;
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command(&format!("CREATE MODEL m {TRAIN}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_or_about_to_be_stays() {
    let home = Home::new();
    let server = Server::start_in(&home, BUSY);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let mut other = Connection::superuser(server.address()).await.unwrap();
    connection.command(&format!("CREATE MODEL m {TRAIN}")).await.unwrap();
    connection.command(&format!("CREATE OR REPLACE MODEL m {TRAIN}")).await.unwrap();
    for sql in ["BEGIN", &format!("CREATE MODEL in_block {TRAIN}")] {
        connection.command(sql).await.unwrap();
    }
    age(&home);
    some_rounds().await;
    assert_eq!(artifacts(&home).len(), 3, "a version, or that of an open transaction");
    connection.command("COMMIT").await.unwrap();
    for sql in ["BEGIN", &format!("CREATE MODEL gone {TRAIN}"), "ROLLBACK"] {
        connection.command(sql).await.unwrap();
    }
    age(&home);
    until_artifacts(&home, 3).await;
    // A cursor goes on with the model that it began with.
    for sql in
        ["BEGIN", "DECLARE c CURSOR FOR SELECT predict('m', a => g % 7, b => 0) FROM generate_series(1, 100000) g"]
    {
        other.command(sql).await.unwrap();
    }
    assert_eq!(other.rows("FETCH 1 FROM c").await.unwrap().len(), 1);
    connection.command("DROP MODEL m VERSION 1").await.unwrap();
    until_artifacts(&home, 2).await;
    connection.command("DROP MODEL m").await.unwrap();
    until_artifacts(&home, 1).await;
    assert_eq!(other.rows("FETCH ALL FROM c").await.unwrap().len(), 99_999);
    assert_eq!(connection.value("SELECT predict('in_block', a => 6, b => 0)").await.unwrap(), "t");
    let started = Instant::now();
    while only_notes(&home) != Some(0) {
        assert!(started.elapsed() < SOON, "notes of artifacts that are gone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many artifacts are noted.
fn only_notes(home: &Home) -> Option<usize> {
    let notes = home.warehouse().join("_lakegate").join("maintenance").join("models.json");
    let Ok(text) = std::fs::read_to_string(notes) else { return Some(0) };
    serde_json::from_str::<serde_json::Value>(&text).ok()?.as_object().map(serde_json::Map::len)
}
