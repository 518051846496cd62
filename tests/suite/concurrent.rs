//! Two sessions that define, drop and write the same things at the same time.

use crate::protocol::Connection;
use crate::server::{Home, Server};

async fn run(connection: &mut Connection, statements: &[&str]) {
    for sql in statements {
        if let Err(error) = connection.command(sql).await {
            panic!("{sql}: {error}");
        }
    }
}

async fn refused(connection: &mut Connection, sql: &str, code: &str) {
    match connection.command(sql).await {
        Ok(done) => panic!("{sql}: {done:?}, not {code}"),
        Err(error) => assert_eq!(error.code(), code, "{sql}: {error}"),
    }
}

/// A server and two sessions.
async fn two() -> (Server, Connection, Connection) {
    let server = Server::start(&[]);
    let one = Connection::superuser(server.address()).await.unwrap();
    let other = Connection::superuser(server.address()).await.unwrap();
    (server, one, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_that_waits_does_not_take_what_was_made_meanwhile() {
    let (_server, mut one, mut other) = two().await;
    run(&mut one, &["CREATE TABLE a (i int)", "BEGIN", "DROP TABLE a"]).await;
    run(&mut other, &["DROP TABLE a", "CREATE TABLE a (z int)", "INSERT INTO a VALUES (42)"]).await;
    refused(&mut one, "COMMIT", "40001").await;
    assert_eq!(other.value("SELECT z FROM a").await.unwrap(), "42");
    run(&mut one, &["CREATE SCHEMA s", "CREATE TABLE s.a (i int)", "BEGIN", "DROP SCHEMA s CASCADE"]).await;
    run(&mut other, &["CREATE TABLE s.b (i int)"]).await;
    refused(&mut one, "COMMIT", "40001").await;
    assert_eq!(other.value("SELECT count(*) FROM s.b").await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_to_what_is_gone() {
    let (_server, mut one, mut other) = two().await;
    for change in ["INSERT INTO a VALUES (1)", "UPDATE a SET i = 2", "ALTER TABLE a ADD COLUMN j int"] {
        run(&mut one, &["CREATE TABLE a (i int)", "INSERT INTO a VALUES (0)", "BEGIN", change]).await;
        run(&mut other, &["DROP TABLE a"]).await;
        refused(&mut one, "COMMIT", "40001").await;
    }
    run(&mut one, &["CREATE TABLE a (i int)", "CREATE TABLE b (i int)", "BEGIN", "INSERT INTO a VALUES (1)"]).await;
    run(&mut one, &["INSERT INTO b VALUES (1)"]).await;
    run(&mut other, &["DROP TABLE b", "CREATE TABLE b (i int)"]).await;
    refused(&mut one, "COMMIT", "40001").await;
    assert_eq!(one.value("SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b)").await.unwrap(), "0");
    run(&mut one, &["BEGIN", "CREATE VIEW v AS SELECT * FROM b"]).await;
    run(&mut other, &["DROP TABLE b"]).await;
    refused(&mut one, "COMMIT", "40001").await;
    run(&mut one, &["CREATE ROLE heir", "BEGIN", "ALTER TABLE a OWNER TO heir"]).await;
    run(&mut other, &["DROP ROLE heir"]).await;
    refused(&mut one, "COMMIT", "40001").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_sees_all_of_another_transaction_or_nothing() {
    let (_server, mut one, mut other) = two().await;
    for table in ["a", "b"] {
        run(&mut one, &[&format!("CREATE TABLE {table} AS SELECT 0 AS v")]).await;
    }
    for change in ["UPDATE b SET v = v + 10", "INSERT INTO b SELECT v + 10 FROM b"] {
        run(&mut one, &["BEGIN"]).await;
        let before = one.value("SELECT v FROM a").await.unwrap();
        run(&mut other, &["BEGIN", "UPDATE a SET v = v + 1", "UPDATE b SET v = v + 1", "COMMIT"]).await;
        match one.command(change).await {
            Ok(_) => {
                let both = one.rows("SELECT (SELECT min(v) FROM a), (SELECT min(v) % 10 FROM b)").await.unwrap();
                assert_eq!(both[0], [before.clone(), before], "half of a transaction is seen");
                let _ = one.command("ROLLBACK").await;
            }
            Err(error) => {
                assert_eq!(error.code(), "40001", "{error}");
                run(&mut one, &["ROLLBACK"]).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_reservation_is_no_reservation() {
    let (_server, mut one, mut other) = two().await;
    run(&mut one, &["CREATE TABLE a (i int)", "CREATE TABLE b (i int)", "BEGIN", "INSERT INTO a VALUES (1)"]).await;
    run(&mut one, &["INSERT INTO b VALUES (1)", "COMMIT"]).await;
    for version in [1, 2, 0] {
        run(&mut one, &[&format!("RESTORE TABLE a TO VERSION AS OF {version}")]).await;
        let rows = if version == 2 { "1" } else { "0" };
        assert_eq!(other.value("SELECT count(*) FROM a").await.unwrap(), rows, "version {version}");
    }
    run(&mut other, &["INSERT INTO a VALUES (2)", "CREATE OR REPLACE TABLE b (j int)", "INSERT INTO b VALUES (3)"])
        .await;
    assert_eq!(one.value("SELECT (SELECT sum(i) FROM a) + (SELECT sum(j) FROM b)").await.unwrap(), "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_reads_what_it_meant_with_its_owners_rights() {
    let (server, mut one, _) = two().await;
    run(&mut one, &["CREATE TABLE public.secret (x text)", "INSERT INTO public.secret VALUES ('top secret')"]).await;
    run(&mut one, &["CREATE ROLE u LOGIN", "CREATE SCHEMA us AUTHORIZATION u"]).await;
    run(&mut one, &["CREATE TABLE public.open AS SELECT 'seen' AS x", "ALTER TABLE public.open OWNER TO u"]).await;
    let mut user = Connection::start(server.address(), &[("user", "u"), ("database", "lakegate")]).await.unwrap();
    run(&mut user, &["SET search_path = us, public"]).await;
    refused(&mut user, "SELECT * FROM public.secret", "42501").await;
    run(&mut user, &["CREATE TABLE us.secret (x text)", "INSERT INTO us.secret VALUES ('own')"]).await;
    run(&mut user, &["CREATE VIEW us.then AS SELECT * FROM secret VERSION AS OF 1"]).await;
    run(
        &mut user,
        &["CREATE VIEW us.at AS SELECT * FROM table_at('secret', 1)", "CREATE VIEW us.o AS SELECT * FROM public.open"],
    )
    .await;
    run(&mut user, &["ALTER TABLE us.secret RENAME TO mine"]).await;
    for view in ["then", "at"] {
        assert_eq!(user.value(&format!("SELECT x FROM us.{view}")).await.unwrap(), "own");
    }
    assert_eq!(one.value("SELECT x FROM us.o").await.unwrap(), "seen");
    // What the owner of the view may not read any more, nobody reads through it.
    run(&mut one, &["ALTER TABLE public.open OWNER TO lakegate"]).await;
    refused(&mut user, "SELECT x FROM us.o", "42501").await;
    refused(&mut one, "SELECT x FROM us.o", "42501").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_has_a_folder_of_its_own() {
    let home = Home::new();
    let server = Server::start_in(&home, &[]);
    let mut one = Connection::superuser(server.address()).await.unwrap();
    let root = home.warehouse();
    run(&mut one, &["CREATE TABLE t (i int)", "INSERT INTO t VALUES (1)"]).await;
    let outer = tempfile::tempdir().unwrap();
    let outer = outer.path();
    run(&mut one, &[&format!("CREATE TABLE o (i int) LOCATION '{}'", outer.join("o").display())]).await;
    for place in [
        root.clone(),
        root.parent().unwrap().to_owned(),
        root.join("_lakegate/x"),
        root.join("public"),
        root.join("public/t"),
        root.join("public/t/inner"),
        outer.join("o/inner"),
        outer.to_owned(),
    ] {
        refused(&mut one, &format!("CREATE TABLE n (i int) LOCATION '{}'", place.display()), "42P16").await;
    }
    // A table that others put below one of ours stays when ours is cleaned up or dropped.
    let copied = root.join("public/t/copied");
    std::fs::create_dir_all(copied.join("_delta_log")).unwrap();
    std::fs::write(copied.join("_delta_log/00000000000000000000.json"), "{}").unwrap();
    std::fs::write(copied.join("part.parquet"), "x").unwrap();
    run(&mut one, &["SET lakegate.retention_check = off", "VACUUM t RETAIN 0 HOURS"]).await;
    assert!(copied.join("part.parquet").exists());
    assert_eq!(one.value("SELECT count(*) FROM t").await.unwrap(), "1");
}

const MODEL: &str = "OPTIONS (model_type = 'linear_regression', label = 'y') AS SELECT g AS x, 2.0 * g AS y FROM generate_series(1, 50) g";

#[tokio::test(flavor = "multi_thread")]
async fn a_model_does_not_go_with_a_schema_that_is_gone() {
    let (_server, mut one, mut other) = two().await;
    run(&mut one, &["CREATE SCHEMA s2", &format!("CREATE MODEL m {MODEL}")]).await;
    run(&mut one, &["BEGIN", "ALTER MODEL m SET SCHEMA s2"]).await;
    run(&mut other, &["DROP SCHEMA s2"]).await;
    refused(&mut one, "COMMIT", "3F000").await;
    assert_eq!(other.value("SELECT round(predict('m', x => 3))").await.unwrap(), "6");
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_schemas_have_roles_that_are_there() {
    let (server, mut one, mut other) = two().await;
    run(&mut one, &["CREATE SCHEMA s1", &format!("CREATE MODEL m {MODEL}")]).await;
    for change in ["ALTER MODEL m OWNER TO heir", "GRANT EXECUTE ON MODEL m TO heir", "ALTER SCHEMA s1 OWNER TO heir"] {
        run(&mut one, &["CREATE ROLE heir", "BEGIN", change]).await;
        run(&mut other, &["DROP ROLE heir"]).await;
        refused(&mut one, "COMMIT", "40001").await;
    }
    run(&mut one, &["EXPORT MODEL m TO 'memory://files/m.lgmodel'"]).await;
    for change in ["IMPORT MODEL made FROM 'memory://files/m.lgmodel'", &format!("CREATE MODEL made {MODEL}")] {
        run(&mut one, &["CREATE ROLE maker SUPERUSER LOGIN"]).await;
        let parameters = [("user", "maker"), ("database", "lakegate")];
        let mut maker = Connection::start(server.address(), &parameters).await.unwrap();
        run(&mut maker, &["BEGIN", change]).await;
        run(&mut other, &["DROP ROLE maker"]).await;
        refused(&mut maker, "COMMIT", "40001").await;
    }
    // A role that had a right is no new one.
    run(&mut one, &["CREATE ROLE heir", "GRANT EXECUTE ON MODEL m TO heir", "ALTER MODEL m RENAME TO n"]).await;
    assert_eq!(other.value("SELECT string_agg(model_owner, ',') FROM lakegate.models").await.unwrap(), "lakegate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_has_the_version_of_a_model_that_it_was_made_with() {
    let (_server, mut one, mut other) = two().await;
    let again = format!("CREATE OR REPLACE MODEL m {MODEL}");
    run(&mut one, &[&again, &again, &again]).await;
    // A version goes.
    run(&mut one, &["BEGIN", "CREATE VIEW v AS SELECT predict('m@1', x => 3) AS p"]).await;
    run(&mut other, &["DROP MODEL m VERSION 1"]).await;
    refused(&mut one, "COMMIT", "40001").await;
    run(&mut one, &["BEGIN", "DROP MODEL m VERSION 2"]).await;
    run(&mut other, &["CREATE VIEW v AS SELECT predict('m@2', x => 3) AS p"]).await;
    refused(&mut one, "COMMIT", "2BP01").await;
    run(&mut other, &["DROP VIEW v"]).await;
    // Another becomes the default.
    let wider = MODEL.replace("SELECT g AS x,", "SELECT g AS x, g % 3 AS z,");
    let wider = format!("CREATE OR REPLACE MODEL m {wider}");
    for change in ["ALTER MODEL m SET DEFAULT VERSION 2", &wider] {
        run(&mut one, &["BEGIN", "CREATE VIEW v AS SELECT predict('m', x => 3) AS p"]).await;
        run(&mut other, &[change]).await;
        refused(&mut one, "COMMIT", "40001").await;
    }
    assert_eq!(other.value("SELECT default_version FROM lakegate.models").await.unwrap(), "4");
    run(&mut other, &["ALTER MODEL m SET DEFAULT VERSION 3"]).await;
    for change in ["ALTER MODEL m SET DEFAULT VERSION 4", &wider] {
        run(&mut one, &["BEGIN", change]).await;
        run(&mut other, &["CREATE VIEW v AS SELECT predict('m', x => 3) AS p"]).await;
        refused(&mut one, "COMMIT", "40001").await;
        assert_eq!(other.value("SELECT round(p) FROM v").await.unwrap(), "6");
        run(&mut other, &["DROP VIEW v"]).await;
    }
    // What one transaction does by itself fits.
    run(&mut one, &["BEGIN", "CREATE VIEW v AS SELECT predict('m', x => 3) AS p", &again, "COMMIT"]).await;
    run(&mut one, &["BEGIN", &again, "CREATE OR REPLACE VIEW v AS SELECT predict('m', x => 4) AS p", "COMMIT"]).await;
    assert_eq!(other.value("SELECT round(p) FROM v").await.unwrap(), "8");
    // A view that takes another's place.
    run(&mut one, &["BEGIN", "CREATE OR REPLACE VIEW v AS SELECT predict('m', x => 5) AS p"]).await;
    run(&mut other, &["ALTER MODEL m SET DEFAULT VERSION 3"]).await;
    refused(&mut one, "COMMIT", "40001").await;
    run(&mut one, &["BEGIN", "ALTER MODEL m SET DEFAULT VERSION 2"]).await;
    run(&mut other, &["CREATE OR REPLACE VIEW v AS SELECT predict('m', x => 5) AS p"]).await;
    refused(&mut one, "COMMIT", "40001").await;
    run(&mut one, &["ALTER MODEL m SET DEFAULT VERSION 2"]).await;
    assert_eq!(other.value("SELECT round(p) FROM v").await.unwrap(), "10");
}
