//! Rules ON COMMIT while several sessions of two servers write.

use std::time::Duration;

use crate::http::until_metrics;
use crate::protocol::{Connection, message, query};
use crate::server::{Home, Server};

const SESSIONS: usize = 4;
const IDS: usize = 5;

/// Tries to add each id, by INSERT or by COPY; how often that was done.
async fn add_all(mut connection: Connection, copies: bool) -> usize {
    let mut done = 0;
    for id in 0..IDS {
        let outcome = match copies {
            true => connection.copy_in("COPY t FROM STDIN", format!("{id}\n").as_bytes()).await.map(drop),
            false => connection.command(&format!("INSERT INTO t VALUES ({id})")).await.map(drop),
        };
        match outcome {
            Ok(()) => done += 1,
            Err(error) => {
                assert!(matches!(error.code(), "23514" | "40001"), "{id}: {error}");
            }
        }
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_of_two_servers_breaks_a_rule_on_commit() {
    let home = Home::new();
    let one = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(one.address()).await.unwrap();
    for sql in
        ["CREATE TABLE t (id int)", "CREATE EXPECTATION once ON t EXPECT (UNIQUE (id)) ON VIOLATION FAIL ON COMMIT"]
    {
        connection.command(sql).await.unwrap();
    }
    let other = Server::start_in(&home, &[]);
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        let server = if number % 2 == 0 { &one } else { &other };
        let session = Connection::superuser(server.address()).await.unwrap();
        sessions.push(tokio::spawn(add_all(session, number >= SESSIONS / 2)));
    }
    let mut done = 0;
    for session in sessions {
        done += session.await.unwrap();
    }
    let counted = connection.rows("SELECT count(*), count(DISTINCT id) FROM t").await.unwrap();
    assert_eq!(counted, [[done.to_string(), done.to_string()]]);
    assert_eq!(done, IDS);
    a_rule_binds_who_began_before_it((&one, &other)).await;
    told_once((&one, &other), connection).await;
    what_is_kept_of_files_is_never_wrong(&home, &one, &other).await;
}

/// Rows that a rule forbids do not come once it is said to be there, whoever has begun to bring them.
async fn a_rule_binds_who_began_before_it((one, other): (&Server, &Server)) {
    let mut defining = Connection::superuser(one.address()).await.unwrap();
    let mut writing = Connection::superuser(other.address()).await.unwrap();
    for (number, rule) in [
        "ALTER TABLE {t} ADD CONSTRAINT k EXPECT (id > 0) ON VIOLATION FAIL",
        "CREATE EXPECTATION k ON {t} EXPECT (min(id) > 0) ON VIOLATION FAIL ON COMMIT",
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("late_{number}");
        defining.command(&format!("CREATE TABLE {table} (id int)")).await.unwrap();
        for sql in ["BEGIN".to_owned(), format!("INSERT INTO {table} VALUES (-1)")] {
            writing.command(&sql).await.unwrap();
        }
        let mut copying = Connection::superuser(one.address()).await.unwrap();
        copying.send(&query(&format!("COPY {table} FROM STDIN"))).await.unwrap();
        while copying.receive().await.unwrap().unwrap().tag != b'G' {}
        defining.command(&rule.replace("{t}", &table)).await.unwrap();
        assert_eq!(writing.command("COMMIT").await.unwrap_err().code(), "40001");
        copying.send(&message(b'd', b"-2\n")).await.unwrap();
        copying.send(&message(b'c', &[])).await.unwrap();
        assert_eq!(copying.until_ready().await.unwrap_err().code(), "40001");
        assert_eq!(defining.value(&format!("SELECT count(*) FROM {table}")).await.unwrap(), "0");
    }
}

/// A statement that is tried again tells and records once what its last try found.
async fn told_once((one, other): (&Server, &Server), mut watching: Connection) {
    for sql in [
        "CREATE TABLE again (id int, CONSTRAINT even EXPECT (id % 2 = 0))",
        "CREATE EXPECTATION once ON again EXPECT (UNIQUE (id)) ON VIOLATION FAIL ON COMMIT",
        "INSERT INTO again VALUES (2), (4)",
    ] {
        watching.command(sql).await.unwrap();
    }
    let mut first = Connection::superuser(one.address()).await.unwrap();
    let update = "UPDATE again SET id = id + 5 WHERE pg_sleep(0.2) IS NOT NULL";
    let updating = tokio::spawn(async move { first.query(update).await.map(|answer| answer.notices.len()) });
    let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'UPDATE again%'";
    while watching.value(active).await.unwrap() == "0" {}
    let mut second = Connection::superuser(other.address()).await.unwrap();
    second.command("UPDATE again SET id = id + 20 WHERE id = 4").await.unwrap();
    assert_eq!(updating.await.unwrap().unwrap(), 1);
    let rows = "SELECT string_agg(id::text, ',' ORDER BY id) FROM again";
    assert_eq!(watching.value(rows).await.unwrap(), "7,29");
    let recorded = "SELECT source, checked, failed FROM lakegate.expectation_results \
         WHERE \"table\" = 'public.again' AND rule = 'even' ORDER BY run_id";
    let expected = [["INSERT", "2", "0"], ["UPDATE", "1", "0"], ["UPDATE", "2", "2"]];
    // The other server writes its results behind the statement.
    let started = std::time::Instant::now();
    let mut found = watching.rows(recorded).await.unwrap();
    while found.len() < expected.len() && started.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = watching.rows(recorded).await.unwrap();
    }
    assert_eq!(found, expected);
    until_metrics(one, "lakegate_expectation_rows_failed_total{rule=\"even\",table=\"public.again\"} 2").await;
}

/// Two servers that VALIDATE at once, and what becomes of a damaged file.
async fn what_is_kept_of_files_is_never_wrong(home: &Home, one: &Server, other: &Server) {
    let mut first = Connection::superuser(one.address()).await.unwrap();
    let mut second = Connection::superuser(other.address()).await.unwrap();
    first.command("CREATE TABLE kept (a int, CONSTRAINT odd EXPECT (a % 2 = 1))").await.unwrap();
    first.command("CREATE EXPECTATION total ON kept EXPECT (sum(a) > 0)").await.unwrap();
    let run = "SELECT rule, checked, failed, value, files_read, files_kept FROM lakegate.expectation_results \
               WHERE run_id = (SELECT max(run_id) FROM lakegate.expectation_results WHERE source = 'VALIDATE') ORDER BY 1";
    for number in 1..4 {
        first.command(&format!("INSERT INTO kept VALUES ({number}), (NULL)")).await.unwrap();
        let (one, other) = tokio::join!(first.rows("VALIDATE kept"), second.rows("VALIDATE kept"));
        let sum = (number * (number + 1) / 2).to_string();
        for rows in [one.unwrap(), other.unwrap()] {
            assert_eq!(
                rows[0][3..6],
                [2 * number, (number + 1) / 2, 2 * number - (number + 1) / 2].map(|n| n.to_string())
            );
            assert_eq!(rows[1][6], sum);
        }
    }
    second.rows("VALIDATE kept").await.unwrap();
    let wanted = [["odd", "6", "4", "NULL", "0", "3"], ["total", "0", "0", "6", "0", "3"]];
    assert_eq!(second.rows(run).await.unwrap(), wanted);
    let location = first.value("SELECT location FROM lakegate.tables WHERE table_name = 'kept'").await.unwrap();
    let place = location.strip_prefix("warehouse:").unwrap();
    let place = home.warehouse().join(place).join("_lakegate/parts");
    let whole = std::fs::read(&place).unwrap();
    let mut turned = whole.clone();
    let last = turned.len() - 9;
    turned[last] ^= 0xff;
    for damaged in [turned, whole[..whole.len() / 2].to_vec(), Vec::new(), b"lakegate parts 1\n".to_vec()] {
        std::fs::write(&place, damaged).unwrap();
        second.rows("VALIDATE kept").await.unwrap();
        assert_eq!(second.rows(run).await.unwrap()[1], ["total", "0", "0", "6", "3", "0"]);
        assert_eq!(std::fs::read(&place).unwrap().len(), whole.len());
    }
    first.command("DROP TABLE kept").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_add_meanwhile_is_asked_too() {
    let server = Server::start(&[]);
    let mut one = Connection::superuser(server.address()).await.unwrap();
    let mut other = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        "CREATE TABLE t (id int)",
        "CREATE EXPECTATION few ON t EXPECT (ROW COUNT <= 2) ON VIOLATION FAIL ON COMMIT",
        "BEGIN",
        "INSERT INTO t VALUES (1)",
    ] {
        one.command(sql).await.unwrap();
    }
    other.command("INSERT INTO t VALUES (2)").await.unwrap();
    one.command("COMMIT").await.unwrap();
    assert_eq!(other.value("SELECT count(*) FROM t").await.unwrap(), "2");
    other.command("TRUNCATE t").await.unwrap();
    for sql in ["BEGIN", "INSERT INTO t VALUES (1)"] {
        one.command(sql).await.unwrap();
    }
    other.command("INSERT INTO t VALUES (2), (3)").await.unwrap();
    assert_eq!(one.command("COMMIT").await.unwrap_err().code(), "23514");
    // Who changes what is there begins again.
    for sql in ["BEGIN", "UPDATE t SET id = 4 WHERE id = 2"] {
        one.command(sql).await.unwrap();
    }
    other.command("DELETE FROM t WHERE id = 3").await.unwrap();
    assert_eq!(one.command("COMMIT").await.unwrap_err().code(), "40001");
    assert_eq!(other.value("SELECT string_agg(id::text, ',') FROM t").await.unwrap(), "2");
    all_who_only_add_come_through(&server, other).await;
}

/// Sessions that add rows at the same time, by COPY, INSERT and blocks: none has to begin again.
async fn all_who_only_add_come_through(server: &Server, mut watching: Connection) {
    const ADDING: usize = 9;
    const ROUNDS: usize = 3;
    for sql in [
        "CREATE TABLE a (id int, CONSTRAINT k EXPECT (id % 2 = 0) ON VIOLATION QUARANTINE ROW)",
        "CREATE EXPECTATION few ON a EXPECT (ROW COUNT < 1000) ON VIOLATION FAIL ON COMMIT",
        "DROP TABLE a_quarantine",
    ] {
        watching.command(sql).await.unwrap();
    }
    let mut sessions = Vec::new();
    for number in 0..ADDING {
        let mut session = Connection::superuser(server.address()).await.unwrap();
        sessions.push(tokio::spawn(async move {
            for _ in 0..ROUNDS {
                match number % 3 {
                    0 => drop(session.copy_in("COPY a FROM STDIN", b"1\n2\n").await.unwrap()),
                    1 => drop(session.command("INSERT INTO a VALUES (1), (2)").await.unwrap()),
                    _ => {
                        for sql in ["BEGIN", "INSERT INTO a VALUES (1), (2)", "COMMIT"] {
                            session.command(sql).await.unwrap();
                        }
                    }
                }
            }
        }));
    }
    for session in sessions {
        session.await.unwrap();
    }
    let counted = watching.rows("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM a_quarantine)").await.unwrap();
    assert_eq!(counted, [[(ADDING * ROUNDS).to_string(), (ADDING * ROUNDS).to_string()]]);
}
