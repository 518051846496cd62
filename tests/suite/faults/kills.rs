//! kill -9 while INSERT, UPDATE, MERGE, COPY INTO and COMMIT of several tables run at once: what was acknowledged is there
//! once, what was not is there whole or not at all, and nobody waits for the dead.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::crash::{await_progress, pause, rounds};
use super::histories::{check_accounts, is_conflict, open_accounts, read_by_another, transfer};
use super::loads::{self, put};
use crate::protocol::{Connection, Failure};
use crate::server::{Home, Server};

const KINDS: [&str; 5] = ["COMMIT of several tables", "INSERT", "UPDATE", "MERGE", "COPY INTO"];
const COMMIT: usize = 0;
const INSERT: usize = 1;
const UPDATE: usize = 2;
const MERGE: usize = 3;
/// Rows of the table that UPDATE and MERGE write.
const STATES: u64 = 100;
/// The first id of the ledger's rows that INSERT writes.
const INSERTED: u64 = 1 << 40;

/// How many statements of each kind were acknowledged in a round.
type Acknowledged = [AtomicU64; KINDS.len()];

async fn expect(connection: &mut Connection, sql: &str, tag: &str) -> Result<(), Failure> {
    assert_eq!(connection.command(sql).await?, tag, "{sql}");
    Ok(())
}

/// One statement, or transaction, of that kind.
async fn run(connection: &mut Connection, kind: usize, number: u64, folder: &Path) -> Result<(), Failure> {
    match kind {
        COMMIT => transfer(connection, 2 * number, 1).await,
        INSERT => {
            // Both rows or none.
            let (one, two) = (INSERTED + 2 * number, INSERTED + 2 * number + 1);
            expect(connection, &format!("INSERT INTO ledger VALUES ({one}, 0), ({two}, 0)"), "INSERT 0 2").await
        }
        UPDATE => {
            expect(connection, &format!("UPDATE state SET updated = {number}"), &format!("UPDATE {STATES}")).await
        }
        MERGE => {
            let sql = format!(
                "MERGE INTO state t USING (SELECT g AS id, {number}::bigint AS n FROM generate_series(1, {STATES}) g) s \
                 ON t.id = s.id WHEN MATCHED THEN UPDATE SET merged = s.n WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0, s.n)"
            );
            expect(connection, &sql, &format!("MERGE {STATES}")).await
        }
        _ => {
            put(folder, usize::try_from(number).unwrap());
            connection.rows(&loads::load(folder)).await.map(drop)
        }
    }
}

/// Runs statements of a kind, each with its number in all rounds, until the connection breaks; the numbers of the acknowledged.
async fn work(
    address: SocketAddr,
    kind: usize,
    round: u64,
    folder: PathBuf,
    acknowledged: Arc<Acknowledged>,
) -> Vec<u64> {
    let mut done = Vec::new();
    let Ok(mut connection) = Connection::superuser(address).await else { return done };
    for number in round * 1_000.. {
        match run(&mut connection, kind, number, &folder).await {
            Ok(()) => {
                done.push(number);
                acknowledged[kind].fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) if is_conflict(&failure) => {}
            Err(_) => break,
        }
    }
    done
}

async fn check_state(connection: &mut Connection, column: &str, acknowledged: &BTreeSet<u64>) {
    let sql = format!("SELECT count(*), count({column}), min({column}), max({column}) FROM state");
    let state = connection.rows(&sql).await.unwrap().remove(0);
    assert_eq!((&state[0], &state[1]), (&STATES.to_string(), &STATES.to_string()), "{column}");
    assert_eq!(state[2], state[3], "a statement is there in half: {column}");
    // They run one after the other: a later one may be there unacknowledged, the last acknowledged may not be lost.
    let last = acknowledged.last().copied().unwrap_or_default();
    assert!(state[2].parse::<u64>().unwrap() >= last, "acknowledged and lost: {column} {last}");
}

async fn check_inserted(connection: &mut Connection, acknowledged: &BTreeSet<u64>) {
    let rows = connection.rows(&format!("SELECT id - {INSERTED} FROM ledger WHERE id >= {INSERTED}")).await.unwrap();
    let ids: Vec<u64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    let there: BTreeSet<u64> = ids.iter().copied().collect();
    assert_eq!(there.len(), ids.len(), "an INSERT is there twice");
    assert!(there.iter().all(|id| there.contains(&(id ^ 1))), "an INSERT is there in half");
    let lost: Vec<&u64> = acknowledged.iter().filter(|id| !there.contains(&(2 * **id))).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_leaves_every_statement_whole_or_not_at_all() {
    let rounds = rounds();
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    {
        let server = Server::start_in(&home, &[]);
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        open_accounts(&mut connection).await;
        for sql in [
            &format!(
                "CREATE TABLE state AS SELECT g AS id, 0::bigint AS updated, 0::bigint AS merged FROM generate_series(1, {STATES}) g"
            ),
            "CREATE TABLE t (file int, row int)",
        ] {
            connection.command(sql).await.unwrap();
        }
    }
    let mut acknowledged: [BTreeSet<u64>; KINDS.len()] = Default::default();
    for round in 0..rounds {
        let mut server = Server::start_in(&home, &[]);
        let counts = Arc::new(Acknowledged::default());
        let clients: Vec<_> = (0..KINDS.len())
            .map(|kind| {
                tokio::spawn(work(server.address(), kind, round, folder.path().to_owned(), Arc::clone(&counts)))
            })
            .collect();
        // Each kind in its turn has got so far, whatever the machine; the pause moves the blow through the next statement.
        let awaited = usize::try_from(round / 4).unwrap() % KINDS.len();
        await_progress(&counts[awaited], round % 4).await;
        tokio::time::sleep(pause(round)).await;
        server.kill();
        for (done, client) in acknowledged.iter_mut().zip(clients) {
            done.extend(client.await.unwrap());
        }
    }
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let transfers = acknowledged[COMMIT].iter().map(|number| 2 * number).collect();
    check_accounts(&mut connection, &transfers, INSERTED, true).await;
    check_inserted(&mut connection, &acknowledged[INSERT]).await;
    check_state(&mut connection, "updated", &acknowledged[UPDATE]).await;
    check_state(&mut connection, "merged", &acknowledged[MERGE]).await;
    // What was put and not loaded before the end is loaded now, all the rest is known.
    connection.rows(&loads::load(folder.path())).await.unwrap();
    let files = std::fs::read_dir(folder.path()).unwrap().flatten();
    let files = files.filter(|file| file.file_name().to_string_lossy().ends_with(".csv")).count();
    loads::check(&mut connection, files).await;
    read_by_another(&home, &mut connection, &["savings", "checking", "ledger", "state", "t"]).await;
    // No table waits for a server that is gone.
    transfer(&mut connection, INSERTED / 2, 1).await.unwrap();
    let counts: Vec<String> =
        KINDS.iter().zip(&acknowledged).map(|(kind, done)| format!("{} {kind}", done.len())).collect();
    eprintln!("acknowledged in {rounds} rounds: {}", counts.join(", "));
    let awaited = usize::try_from(rounds / 4).unwrap().min(KINDS.len());
    for (kind, done) in KINDS.iter().zip(&acknowledged).take(awaited) {
        assert!(!done.is_empty(), "no {kind} ended in {rounds} rounds: the test proves nothing");
    }
}
