//! Histories of concurrent transactions over several tables, between two servers: nothing is lost, nothing is seen twice or
//! in half.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::protocol::{Connection, Failure};
use crate::server::{Home, Server};

const ACCOUNTS: u64 = 4;
const BALANCE: u64 = 1_000;

/// Whether a transaction may be tried again; anything else than a conflict is a defect.
pub(super) fn is_conflict(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(told) if told.code() == "40001" => true,
        Failure::Refused(told) => panic!("{told}"),
        _ => false,
    }
}

/// Moves money from one table to the other and writes it down in a third.
pub(super) async fn transfer(connection: &mut Connection, id: u64, amount: u64) -> Result<(), Failure> {
    let account = id % ACCOUNTS;
    connection.command("BEGIN").await?;
    for sql in [
        format!("UPDATE savings SET balance = balance - {amount} WHERE id = {account}"),
        format!("UPDATE checking SET balance = balance + {amount} WHERE id = {}", (account + 1) % ACCOUNTS),
        format!("INSERT INTO ledger VALUES ({id}, {amount})"),
    ] {
        if let Err(failure) = connection.command(&sql).await {
            if is_conflict(&failure) {
                connection.command("ROLLBACK").await?;
            }
            return Err(failure);
        }
    }
    connection.command("COMMIT").await.map(drop)
}

async fn transfers(address: SocketAddr, client: u64, count: u64) -> (Vec<u64>, u64) {
    let mut connection = Connection::superuser(address).await.unwrap();
    let (mut acknowledged, mut conflicts) = (Vec::new(), 0);
    for number in 0..count {
        let id = client * 1_000 + number;
        loop {
            match transfer(&mut connection, id, 1 + id % 7).await {
                Ok(()) => break acknowledged.push(id),
                Err(failure) if is_conflict(&failure) => conflicts += 1,
                Err(failure) => panic!("{failure}"),
            }
            assert!(conflicts < 2_000, "client {client} does not get on");
        }
    }
    (acknowledged, conflicts)
}

/// Reads the sum over both tables until told to stop, in one statement and in two of one transaction.
async fn read_sums(address: SocketAddr, stop: Arc<AtomicBool>) -> u64 {
    const BOTH: &str = "SELECT (SELECT sum(balance) FROM savings) + (SELECT sum(balance) FROM checking)";
    let total = (2 * ACCOUNTS * BALANCE).to_string();
    let mut connection = Connection::superuser(address).await.unwrap();
    let mut reads = 0;
    loop {
        assert_eq!(connection.value(BOTH).await.unwrap(), total, "a statement saw a transaction in half");
        connection.command("BEGIN").await.unwrap();
        let (first, second) = if reads % 2 == 0 { ("savings", "checking") } else { ("checking", "savings") };
        let mut sum = 0;
        for table in [first, second] {
            let value = connection.value(&format!("SELECT sum(balance) FROM {table}")).await.unwrap();
            sum += value.parse::<u64>().unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        connection.command("COMMIT").await.unwrap();
        assert_eq!(sum.to_string(), total, "a transaction saw another one in half");
        reads += 1;
        if stop.load(Ordering::Relaxed) {
            return reads;
        }
    }
}

/// The transactions with ids below `end`; `possible` tells whether some may be there that nobody acknowledged.
pub(super) async fn check_accounts(
    connection: &mut Connection,
    acknowledged: &BTreeSet<u64>,
    end: u64,
    possible: bool,
) {
    let ledger = format!("SELECT id, amount FROM ledger WHERE id < {end} ORDER BY id");
    let rows = connection.rows(&ledger).await.unwrap();
    let ids: Vec<u64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    let there: BTreeSet<u64> = ids.iter().copied().collect();
    assert_eq!(there.len(), ids.len(), "a transaction is there twice");
    let lost: Vec<&u64> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(possible || there.len() == acknowledged.len(), "transactions that nobody committed are there");
    let moved: u64 = rows.iter().map(|row| row[1].parse::<u64>().unwrap()).sum();
    let sums = connection
        .rows("SELECT (SELECT sum(balance) FROM savings), (SELECT sum(balance) FROM checking)")
        .await
        .unwrap();
    let all = ACCOUNTS * BALANCE;
    assert_eq!(sums[0], [(all - moved).to_string(), (all + moved).to_string()], "money was lost or made");
}

pub(super) async fn open_accounts(connection: &mut Connection) {
    for sql in [
        format!(
            "CREATE TABLE savings AS SELECT g AS id, {BALANCE}::bigint AS balance FROM generate_series(0, {}) g",
            ACCOUNTS - 1
        ),
        "CREATE TABLE checking AS SELECT * FROM savings".to_owned(),
        "CREATE TABLE ledger (id bigint NOT NULL, amount bigint)".to_owned(),
    ] {
        connection.command(&sql).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_between_tables_on_two_servers_keep_the_sum() {
    let home = Home::new();
    let servers = [Server::start_in(&home, &[]), Server::start_in(&home, &[])];
    let mut connection = Connection::superuser(servers[0].address()).await.unwrap();
    open_accounts(&mut connection).await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> =
        servers.iter().map(|server| tokio::spawn(read_sums(server.address(), Arc::clone(&stop)))).collect();
    let writers: Vec<_> = (0..4_u64)
        .map(|client| tokio::spawn(transfers(servers[usize::try_from(client % 2).unwrap()].address(), client, 6)))
        .collect();
    let mut acknowledged = BTreeSet::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap().0);
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0, "nothing was read");
    }
    assert_eq!(acknowledged.len(), 24);
    check_accounts(&mut connection, &acknowledged, u64::MAX / 4, false).await;
}

/// Each transaction appends to the list that it read: a lost update loses an element, a fork shows in the order.
#[tokio::test(flavor = "multi_thread")]
async fn lists_that_two_servers_append_to_have_one_order() {
    let home = Home::new();
    let servers = [Server::start_in(&home, &[]), Server::start_in(&home, &[])];
    let mut connection = Connection::superuser(servers[0].address()).await.unwrap();
    connection.command("CREATE TABLE list (id int NOT NULL, elements text NOT NULL)").await.unwrap();
    connection.command("INSERT INTO list VALUES (1, ''), (2, '')").await.unwrap();
    let writers: Vec<_> = (0..4_u64)
        .map(|client| {
            let address = servers[usize::try_from(client % 2).unwrap()].address();
            tokio::spawn(async move {
                let mut connection = Connection::superuser(address).await.unwrap();
                let mut seen = Vec::new();
                for number in 0..6 {
                    let (element, list) = (client * 100 + number, 1 + number % 2);
                    loop {
                        connection.command("BEGIN").await.unwrap();
                        let read =
                            connection.value(&format!("SELECT elements FROM list WHERE id = {list}")).await.unwrap();
                        let sql = format!("UPDATE list SET elements = '{read}{element},' WHERE id = {list}");
                        let done = match connection.command(&sql).await {
                            Ok(_) => connection.command("COMMIT").await.map(drop),
                            Err(failure) => {
                                let told = connection.command("ROLLBACK").await;
                                told.map(drop).and(Err(failure))
                            }
                        };
                        match done {
                            Ok(()) => break seen.push((list, format!("{read}{element},"))),
                            Err(failure) => assert!(is_conflict(&failure), "{failure}"),
                        }
                    }
                }
                seen
            })
        })
        .collect();
    let mut seen = Vec::new();
    for writer in writers {
        seen.extend(writer.await.unwrap());
    }
    for list in [1, 2] {
        let last = connection.value(&format!("SELECT elements FROM list WHERE id = {list}")).await.unwrap();
        let elements: BTreeSet<&str> = last.split_terminator(',').collect();
        assert_eq!((elements.len(), last.split_terminator(',').count()), (12, 12), "{last}");
        for (_, state) in seen.iter().filter(|(of, _)| *of == list) {
            assert!(last.starts_with(state.as_str()), "{state} was overwritten: {last}");
        }
    }
}

/// Another program counts the same rows in the tables' files.
pub(super) async fn read_by_another(home: &Home, connection: &mut Connection, tables: &[&str]) {
    const COUNT: &str = "import sys; from deltalake import DeltaTable, QueryBuilder\n\
        for place in sys.argv[1:]:\n    \
            t = QueryBuilder().register('t', DeltaTable(place)).execute('SELECT count(*) AS n FROM t').read_all()\n    \
            print(t.column('n')[0].as_py())";
    let Ok(venv) = std::env::var("LAKEGATE_TEST_VENV") else { return };
    let mut counts = Vec::new();
    for table in tables {
        counts.push(connection.value(&format!("SELECT count(*) FROM {table}")).await.unwrap());
    }
    let mut python = std::process::Command::new(format!("{venv}/bin/python"));
    python.args(["-c", COUNT]).args(tables.iter().map(|table| home.warehouse().join("public").join(table)));
    let said = python.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let read: Vec<String> = String::from_utf8(said.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(read, counts, "another program reads other rows");
}
