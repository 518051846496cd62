//! Files of models that are damaged or too large, artifacts that nothing names, and those that a server leaves when it dies.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::faults::SOON;
use crate::protocol::Connection;
use crate::server::{Home, Server};

const TRAIN: &str = "OPTIONS (model_type = 'random_forest_classifier', label = 'high', num_trees = 3, seed = 1) AS \
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

fn artifacts(home: &Home) -> Vec<PathBuf> {
    let folder = home.warehouse().join("_lakegate").join("models");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(".lgmodel")).collect()
}

async fn until_artifacts(home: &Home, wanted: usize) {
    let started = Instant::now();
    while artifacts(home).len() != wanted {
        assert!(started.elapsed() < SOON, "there are {:?}, not {wanted}", artifacts(home));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Long enough for maintenance to have looked several times.
async fn some_rounds() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_changed_byte_is_imported() {
    let home = Home::new();
    let server = Server::start_in(&home, &["--set", "files.model_bytes_max=64kB"]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command(&format!("CREATE MODEL m {TRAIN}")).await.unwrap();
    let path = |name: &str| home.path().join(name);
    let import = |name: &str| format!("IMPORT MODEL other FROM '{}'", path(name).display());
    connection.command(&format!("EXPORT MODEL m TO '{}'", path("m.lgmodel").display())).await.unwrap();
    let whole = std::fs::read(path("m.lgmodel")).unwrap();
    assert_eq!(whole, std::fs::read(&artifacts(&home)[0]).unwrap());
    let write = |bytes: &[u8]| std::fs::write(path("bad.lgmodel"), bytes).unwrap();
    let refused = async |connection: &mut Connection, what: String| {
        let error = connection.command(&import("bad.lgmodel")).await.expect_err(&what);
        error.code().to_owned()
    };
    for at in (0..whole.len()).step_by(whole.len() / 40 + 1) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        write(&changed);
        let code = refused(&mut connection, format!("byte {at} was changed")).await;
        // The number of the format is read before the checksum.
        assert!(code == "XX001" || ((8..12).contains(&at) && code == "0A000"), "byte {at}: {code}");
        write(&whole[..at]);
        assert_eq!(refused(&mut connection, format!("cut at {at}")).await, "XX001", "cut at {at}");
    }
    let mut newer = whole.clone();
    newer[8] = 2;
    write(&newer);
    assert_eq!(refused(&mut connection, "a newer format".to_owned()).await, "0A000");
    write(&vec![0; 65 * 1024]);
    assert_eq!(refused(&mut connection, "a large file".to_owned()).await, "54000");
    assert_eq!(connection.value("SELECT count(*) FROM lakegate.models").await.unwrap(), "1");
    assert_eq!(artifacts(&home).len(), 1, "a refused file left something");
    connection.command(&import("m.lgmodel")).await.unwrap();
    let same = "SELECT count(*) FROM generate_series(1, 50) a WHERE predict_proba('m', a => a, b => 1) <> predict_proba('other', a => a, b => 1)";
    assert_eq!(connection.value(same).await.unwrap(), "0");
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
    some_rounds().await;
    assert_eq!(artifacts(&home).len(), 3, "a version, or that of an open transaction");
    connection.command("COMMIT").await.unwrap();
    for sql in ["BEGIN", &format!("CREATE MODEL gone {TRAIN}"), "ROLLBACK"] {
        connection.command(sql).await.unwrap();
    }
    until_artifacts(&home, 3).await;
    // A cursor goes on with the model that it began with.
    for sql in ["BEGIN", "DECLARE c CURSOR FOR SELECT predict('m', a => g % 7, b => 0) FROM generate_series(1, 100000) g"] {
        other.command(sql).await.unwrap();
    }
    assert_eq!(other.rows("FETCH 1 FROM c").await.unwrap().len(), 1);
    connection.command("DROP MODEL m VERSION 1").await.unwrap();
    until_artifacts(&home, 2).await;
    connection.command("DROP MODEL m").await.unwrap();
    until_artifacts(&home, 1).await;
    assert_eq!(other.rows("FETCH ALL FROM c").await.unwrap().len(), 99_999);
    assert_eq!(connection.value("SELECT predict('in_block', a => 6, b => 0)").await.unwrap(), "t");
    assert_eq!(only_notes(&home), Some(0), "notes of artifacts that are gone");
}

/// How many artifacts are noted.
fn only_notes(home: &Home) -> Option<usize> {
    let notes: &Path = &home.warehouse().join("_lakegate").join("maintenance").join("models.json");
    let Ok(text) = std::fs::read_to_string(notes) else { return Some(0) };
    serde_json::from_str::<serde_json::Value>(&text).ok()?.as_object().map(serde_json::Map::len)
}
