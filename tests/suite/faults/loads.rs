//! COPY INTO loads each file once, whoever else loads and whatever crashes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::crash::{await_progress, pause};
use crate::protocol::{Connection, Failure};
use crate::server::{Home, Server};

const ROWS: usize = 200;

/// A file appears whole, as an uploaded one does.
pub(super) fn put(folder: &Path, number: usize) {
    let rows: String = (0..ROWS).map(|row| format!("{number},{row}\n")).collect();
    let hidden = folder.join(format!(".{number}"));
    std::fs::write(&hidden, rows).unwrap();
    std::fs::rename(hidden, folder.join(format!("{number}.csv"))).unwrap();
}

pub(super) fn load(folder: &Path) -> String {
    format!("COPY INTO t FROM '{}/' FILEFORMAT = CSV", folder.display())
}

pub(super) async fn check(connection: &mut Connection, files: usize) {
    let counts =
        "SELECT count(*), (SELECT count(*) FROM (SELECT DISTINCT file, row FROM t) d), count(DISTINCT file) FROM t";
    let rows = (files * ROWS).to_string();
    assert_eq!(connection.rows(counts).await.unwrap(), [[rows.clone(), rows, files.to_string()]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_loads_of_two_servers_load_each_file_once() {
    const FILES: usize = 30;
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let servers = [Server::start_in(&home, &[]), Server::start_in(&home, &[])];
    let mut connection = Connection::superuser(servers[0].address()).await.unwrap();
    connection.command("CREATE TABLE t (file int, row int)").await.unwrap();
    let loaders: Vec<_> = (0..4)
        .map(|loader: usize| {
            let (address, statement) = (servers[loader % 2].address(), load(folder.path()));
            tokio::spawn(async move {
                let mut connection = Connection::superuser(address).await.unwrap();
                let mut loaded = 0;
                for _ in 0..12 {
                    match connection.rows(&statement).await {
                        Ok(rows) => loaded += rows[0][0].parse::<usize>().unwrap(),
                        Err(Failure::Refused(told)) => assert_eq!(told.code(), "40001", "{told}"),
                        Err(error) => panic!("{error}"),
                    }
                }
                loaded
            })
        })
        .collect();
    for number in 0..FILES {
        put(folder.path(), number);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut loaded = 0;
    for loader in loaders {
        loaded += loader.await.unwrap();
    }
    let rest = connection.rows(&load(folder.path())).await.unwrap();
    assert_eq!(loaded + rest[0][0].parse::<usize>().unwrap(), FILES);
    check(&mut connection, FILES).await;
    assert!(loaded > 0, "the racing loads loaded nothing: the test proves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_killed_is_finished_by_the_next() {
    const ROUNDS: usize = 8;
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    {
        let server = Server::start_in(&home, &[]);
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        connection
            .command("CREATE TABLE t (file int, row int) TBLPROPERTIES ('delta.checkpointInterval' = '3')")
            .await
            .unwrap();
    }
    for round in 0..ROUNDS {
        (0..5).for_each(|file| put(folder.path(), round * 5 + file));
        let mut server = Server::start_in(&home, &[]);
        let (address, statement) = (server.address(), load(folder.path()));
        let loads = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&loads);
        let loader = tokio::spawn(async move {
            let Ok(mut connection) = Connection::superuser(address).await else { return };
            while connection.rows(&statement).await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Half of the blows fall while the new files are loaded, the others after that.
        await_progress(&loads, round as u64 % 2).await;
        tokio::time::sleep(pause(round as u64)).await;
        server.kill();
        loader.await.unwrap();
    }
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.rows(&load(folder.path())).await.unwrap();
    check(&mut connection, ROUNDS * 5).await;
    let again = connection.rows(&load(folder.path())).await.unwrap();
    assert_eq!(again, [["0", &(ROUNDS * 5).to_string(), "0", "0"]]);
}
