//! Two servers on one warehouse.

use crate::protocol::{Connection, Failure};
use crate::server::{Home, Server};

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_see_each_others_tables_and_rows() {
    let home = Home::new();
    let (one, two) = (Server::start_in(&home, &[]), Server::start_in(&home, &[]));
    let mut one = Connection::superuser(one.address()).await.map(|connection| (connection, one)).unwrap();
    let mut two = Connection::superuser(two.address()).await.map(|connection| (connection, two)).unwrap();
    one.0.command("CREATE TABLE t (a int)").await.unwrap();
    two.0.command("INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(one.0.value("SELECT count(*) FROM t").await.unwrap(), "1");
    one.0.command("CREATE VIEW v AS SELECT a + 1 AS b FROM t").await.unwrap();
    assert_eq!(two.0.value("SELECT b FROM v").await.unwrap(), "2");
    two.0.command("DROP VIEW v").await.unwrap();
    assert_eq!(one.0.query("SELECT * FROM v").await.unwrap_err().code(), "42P01");
    one.0.command("TRUNCATE t").await.unwrap();
    assert_eq!(two.0.value("SELECT count(*) FROM t").await.unwrap(), "0");
    two.0.command("DROP TABLE t").await.unwrap();
    one.0.command("CREATE TABLE t (b text)").await.unwrap();
    two.0.command("INSERT INTO t VALUES ('new')").await.unwrap();
    assert_eq!(one.0.value("SELECT b FROM t").await.unwrap(), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_appends_keep_every_acknowledged_row_once() {
    const WRITERS: u64 = 4;
    const STATEMENTS: u64 = 12;
    let home = Home::new();
    let servers = [Server::start_in(&home, &[]), Server::start_in(&home, &[])];
    let mut connection = Connection::superuser(servers[0].address()).await.unwrap();
    connection.command("CREATE TABLE t (id bigint NOT NULL)").await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let address = servers[usize::try_from(writer % 2).unwrap()].address();
            tokio::spawn(async move {
                let mut connection = Connection::superuser(address).await.unwrap();
                let mut acknowledged = Vec::new();
                for statement in 0..STATEMENTS {
                    let id = writer * 1000 + statement;
                    match connection.command(&format!("INSERT INTO t VALUES ({id})")).await {
                        Ok(tag) => {
                            assert_eq!(tag, "INSERT 0 1");
                            acknowledged.push(id);
                        }
                        Err(Failure::Refused(told)) => assert_eq!(told.code(), "40001", "{told}"),
                        Err(error) => panic!("{error}"),
                    }
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    acknowledged.sort_unstable();
    let rows = connection.rows("SELECT id FROM t ORDER BY id").await.unwrap();
    let there: Vec<u64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(there, acknowledged);
    assert!(acknowledged.len() as u64 * 2 > WRITERS * STATEMENTS, "most statements end with 40001");
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_definitions_make_one_table() {
    let home = Home::new();
    let servers = [Server::start_in(&home, &[]), Server::start_in(&home, &[])];
    for round in 0..5 {
        let made: Vec<_> = servers
            .iter()
            .map(|server| {
                let address = server.address();
                tokio::spawn(async move {
                    let mut connection = Connection::superuser(address).await.unwrap();
                    connection.command(&format!("CREATE TABLE t{round} (a int)")).await
                })
            })
            .collect();
        let mut codes = Vec::new();
        for made in made {
            codes.push(made.await.unwrap().map_or_else(|error| error.code().to_owned(), |_| "made".to_owned()));
        }
        codes.sort();
        assert_eq!(codes, ["42P07", "made"], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_was_moved_still_names_its_own_tables() {
    let (home, elsewhere) = (Home::new(), Home::new());
    {
        let server = Server::start_in(&home, &[]);
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        connection.command("CREATE TABLE t AS SELECT 7 AS a").await.unwrap();
        connection.command("DROP TABLE IF EXISTS u").await.unwrap();
        connection.command("CREATE SCHEMA s").await.unwrap();
        connection.command("CREATE TABLE s.\"odd name\" (a int)").await.unwrap();
    }
    std::fs::rename(home.warehouse(), elsewhere.warehouse()).unwrap();
    let server = Server::start_in(&elsewhere, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    assert_eq!(connection.value("SELECT a FROM t").await.unwrap(), "7");
    connection.command("INSERT INTO s.\"odd name\" VALUES (1)").await.unwrap();
    assert_eq!(connection.value("SELECT a FROM s.\"odd name\"").await.unwrap(), "1");
    connection.command("DROP TABLE t").await.unwrap();
}

/// The files' own rows are not asked for what the log knows: here they cannot even be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_of_whole_partitions_reads_no_data_file() {
    let home = Home::new();
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("CREATE TABLE t (day date, a int) PARTITIONED BY (day)").await.unwrap();
    let rows = "SELECT date '2024-01-01' + g % 5, g FROM generate_series(1, 100) g";
    connection.command(&format!("INSERT INTO t {rows}")).await.unwrap();
    connection.command("INSERT INTO t VALUES (NULL, 0)").await.unwrap();
    let mut spoilt = 0;
    for entry in std::fs::read_dir(home.warehouse().join("public/t")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.ends_with("_delta_log") && !folder.ends_with("day=2024-01-05") {
            for file in std::fs::read_dir(folder).unwrap() {
                std::fs::write(file.unwrap().path(), b"no Parquet").unwrap();
                spoilt += 1;
            }
        }
    }
    assert!(spoilt >= 5, "only {spoilt} files");
    for (sql, tag) in [
        ("DELETE FROM t WHERE day = '2024-01-01'", "DELETE 20"),
        ("DELETE FROM t WHERE extract(day FROM day) IN (2, 3) AND day IS NOT NULL", "DELETE 40"),
        ("DELETE FROM t WHERE day < '2024-01-05' OR day IS NULL", "DELETE 21"),
    ] {
        assert_eq!(connection.command(sql).await.unwrap(), tag, "{sql}");
    }
    assert_eq!(connection.value("SELECT sum(a) FROM t").await.unwrap(), "1030");
    assert_eq!(connection.command("DELETE FROM t").await.unwrap(), "DELETE 20");
    assert_eq!(connection.value("SELECT count(*) FROM t").await.unwrap(), "0");
}
