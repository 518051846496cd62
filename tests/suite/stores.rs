//! Warehouses in object stores: S3 and Azure, as their emulators speak them (moto and azurite, which `tests/install.sh`
//! installs), and GCS as `gcs.py` does, because no emulator of it knows the conditional writes that a warehouse needs.

mod emulator;
mod faults;
mod taken;
mod unreliable;

use crate::protocol::{Connection, Failure};
use crate::server::{Home, Server};
use emulator::Emulator;
pub(crate) use emulator::installed;

const WRITERS: usize = 4;
const INSERTS: usize = 5;

fn start(emulator: &Emulator, warehouse: &str) -> Server {
    launch(emulator, warehouse).unwrap_or_else(|log| panic!("the server did not start\n{log}"))
}

fn launch(emulator: &Emulator, warehouse: &str) -> Result<Server, String> {
    let mut flags = vec!["--warehouse".to_owned(), warehouse.to_owned()];
    for option in &emulator.options {
        flags.extend(["--set".to_owned(), format!("warehouse.storage.{option}")]);
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Server::launch(&Home::new(), "serve", &flags)
}

async fn expect(connection: &mut Connection, sql: &str, value: &str) {
    assert_eq!(connection.value(sql).await.unwrap(), value, "{sql}");
}

async fn refused(connection: &mut Connection, sql: &str) -> (String, String) {
    match connection.query(sql).await {
        Err(Failure::Refused(told)) => (told.code().to_owned(), told.message().to_owned()),
        Err(error) => panic!("{sql}: {error}"),
        Ok(_) => panic!("{sql}: must fail"),
    }
}

/// Tables, files and tables elsewhere, all below `bucket`, e.g. `s3://lake`.
async fn fill(connection: &mut Connection, bucket: &str) {
    for sql in [
        "CREATE TABLE t (id int NOT NULL, name text)",
        "INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 20000) i",
        &format!("COPY t TO '{bucket}/files/t.parquet'"),
        &format!("COPY t TO '{bucket}/files/t.csv' WITH (FORMAT csv, HEADER true)"),
        "CREATE TABLE copied (id int, name text)",
        &format!("COPY copied FROM '{bucket}/files/t.csv' WITH (FORMAT csv, HEADER true)"),
        &format!("COPY copied FROM '{bucket}/files/*.parquet'"),
        &format!("CREATE TABLE elsewhere (id int) LOCATION '{bucket}/tables/elsewhere'"),
        "INSERT INTO elsewhere VALUES (1)",
    ] {
        connection.command(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    load_once(connection, bucket).await;
    expect(connection, &format!("SELECT count(*) FROM '{bucket}/files/*.parquet' WHERE id > 10000"), "10000").await;
    expect(connection, "SELECT count(*) || ' ' || sum(id) FROM copied", "40000 400020000").await;
}

/// Folders by column, and COPY INTO from them.
async fn load_once(connection: &mut Connection, bucket: &str) {
    let folder = format!("{bucket}/by-name/");
    let halves = "SELECT id, name, id % 2 AS half FROM t WHERE id <= 100";
    let export = format!("COPY ({halves}) TO '{folder}' WITH (FORMAT csv, HEADER, PARTITION BY (half), OVERWRITE)");
    let load = format!("COPY INTO loaded FROM '{folder}' FILEFORMAT = CSV FORMAT_OPTIONS (header = true)");
    connection.command("CREATE TABLE loaded (id int, half int, name text)").await.unwrap();
    connection.command(&export).await.unwrap();
    assert_eq!(connection.rows(&load).await.unwrap(), [["2", "0", "100", "0"]]);
    assert_eq!(connection.rows(&load).await.unwrap(), [["0", "2", "0", "0"]]);
    // Other files of the same rows.
    connection.command(&export).await.unwrap();
    assert_eq!(connection.rows(&load).await.unwrap(), [["2", "0", "100", "0"]]);
    expect(connection, "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || sum(half) FROM loaded", "200 100 100")
        .await;
}

/// A role that is no superuser exports and imports models beside the warehouse.
async fn exchange(server: &Server, connection: &mut Connection, bucket: &str) {
    for sql in [
        "CREATE MODEL small OPTIONS (model_type = 'linear_regression', label = 'id') AS SELECT id, id * 2 AS twice FROM t",
        "CREATE ROLE plain LOGIN",
        "CREATE SCHEMA of_plain AUTHORIZATION plain",
        "GRANT EXECUTE ON MODEL small TO plain",
    ] {
        connection.command(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let parameters = [("user", "plain"), ("database", "lakegate")];
    let mut plain = Connection::start(server.address(), &parameters).await.unwrap();
    for sql in [
        format!("EXPORT MODEL small TO '{bucket}/models/small.lgmodel'"),
        format!("IMPORT MODEL of_plain.mine FROM '{bucket}/models/small.lgmodel'"),
    ] {
        plain.command(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    assert_eq!(plain.value("SELECT round(predict('of_plain.mine', twice => 6))").await.unwrap(), "3");
}

/// Writers of two servers append to one table at once: a lost race of put-if-absent must lose no row.
async fn race(servers: &[Server; 2], table: &str) {
    let writers = (0..WRITERS).map(|writer| {
        let (address, table) = (servers[writer % 2].address(), table.to_owned());
        tokio::spawn(async move {
            let mut connection = Connection::superuser(address).await.unwrap();
            for insert in 0..INSERTS {
                let sql = format!("INSERT INTO {table} VALUES ({})", 100 + writer * INSERTS + insert);
                connection.command(&sql).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

/// Rows are changed, and transactions over two tables race on two servers: both tables have the same ones.
async fn change(servers: &[Server; 2]) {
    let mut connection = Connection::superuser(servers[0].address()).await.unwrap();
    for sql in [
        "UPDATE t SET name = 'changed' WHERE id % 100 = 0",
        "DELETE FROM t WHERE id > 19990",
        "MERGE INTO t USING (SELECT 19991 AS id, 'back' AS name) s ON t.id = s.id WHEN NOT MATCHED THEN INSERT *",
        "CREATE TABLE mirror (id int)",
    ] {
        connection.command(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let writers = [0, 1].map(|writer| {
        let address = servers[writer].address();
        tokio::spawn(async move {
            let mut connection = Connection::superuser(address).await.unwrap();
            for number in 0..INSERTS {
                let id = 1000 + writer * INSERTS + number;
                for sql in ["BEGIN", "INSERT INTO elsewhere VALUES (", "INSERT INTO mirror VALUES (", "COMMIT"] {
                    let sql = if sql.ends_with('(') { format!("{sql}{id})") } else { sql.to_owned() };
                    connection.command(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
                }
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    let both = format!("{0} {0}", 2 * INSERTS);
    for server in servers {
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        let matched = "SELECT count(*) || ' ' || (SELECT count(*) FROM mirror) FROM elsewhere JOIN mirror USING (id)";
        expect(&mut connection, matched, &both).await;
        expect(&mut connection, "SELECT count(*) || ' ' || max(id) FROM t WHERE name = 'changed'", "199 19900").await;
        expect(&mut connection, "SELECT count(*) FROM t", "19991").await;
    }
}

/// Everything that a warehouse must do, on `bucket`.
async fn a_warehouse_lives_in(emulator: &Emulator, bucket: &str) {
    let warehouse = format!("{bucket}/some/warehouse");
    let mut one = start(emulator, &warehouse);
    let mut connection = Connection::superuser(one.address()).await.unwrap();
    fill(&mut connection, bucket).await;
    exchange(&one, &mut connection, bucket).await;
    connection.command("DROP TABLE copied").await.unwrap();
    one.kill();

    let servers = [start(emulator, &warehouse), start(emulator, &warehouse)];
    race(&servers, "elsewhere").await;
    for server in &servers {
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        expect(&mut connection, "SELECT count(*) || ' ' || max(name) FROM t", "20000 row 9999").await;
        let rows = format!("{0} {0}", 1 + WRITERS * INSERTS);
        expect(&mut connection, "SELECT count(*) || ' ' || count(DISTINCT id) FROM elsewhere", &rows).await;
        assert_eq!(refused(&mut connection, "SELECT * FROM copied").await.0, "42P01");
    }
    change(&servers).await;
}

/// What is said of a bucket and a file that are not there.
async fn what_is_missing_is_named(emulator: &Emulator, bucket: &str, no_bucket: &str) {
    let server = start(emulator, &format!("{bucket}/w"));
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("CREATE TABLE t (id int)").await.unwrap();
    let (code, message) = refused(&mut connection, &format!("SELECT * FROM '{bucket}/none.parquet'")).await;
    assert!(code == "58P01" && message.contains("none.parquet"), "{code} {message}");
    for sql in [
        format!("SELECT * FROM '{no_bucket}/x.parquet'"),
        format!("COPY t FROM '{no_bucket}/x.csv' WITH (FORMAT csv)"),
        format!("COPY t TO '{no_bucket}/x.parquet'"),
        format!("CREATE TABLE u (id int) LOCATION '{no_bucket}/u'"),
    ] {
        let (code, message) = refused(&mut connection, &sql).await;
        assert!(code == "58P01" && message.contains("the bucket or container does not exist"), "{sql}: {message}");
    }
    let log = launch(emulator, &format!("{no_bucket}/w")).err().unwrap();
    assert!(log.contains(&format!("could not use \"{no_bucket}/w\": the bucket or container does not exist")), "{log}");
}

fn credentials_are_refused(emulator: &Emulator, warehouse: &str) {
    let log = launch(emulator, warehouse).err().unwrap();
    assert!(log.contains("permission denied by the object store") && log.contains("Check the credentials"), "{log}");
    assert!(!log.contains("<?xml") && !log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_lives_in_s3() {
    let s3 = Emulator::s3(&[]).await;
    s3.make_bucket("lake").await;
    a_warehouse_lives_in(&s3, "s3://lake").await;
    what_is_missing_is_named(&s3, "s3://lake", "s3://nobody-made-it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_lives_in_azure() {
    let azure = Emulator::azure().await;
    azure.make_container("lake").await;
    a_warehouse_lives_in(&azure, "az://lake").await;
    what_is_missing_is_named(&azure, "az://lake", "az://nobody-made-it").await;
}

/// Azure's long form, in which one host has several containers.
#[tokio::test(flavor = "multi_thread")]
async fn containers_of_one_account_are_apart() {
    let azure = Emulator::azure().await;
    let [lake, public] = ["lake", "public"].map(|name| format!("abfss://{name}@devstoreaccount1.dfs.core.windows.net"));
    for container in ["lake", "public"] {
        azure.make_container(container).await;
    }
    let server = start(&azure, &format!("{lake}/wh"));
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        format!("COPY (SELECT 1 AS a) TO '{lake}/x/a.parquet'"),
        format!("COPY (SELECT 2 AS a) TO '{public}/x/a.parquet'"),
        format!("CREATE TABLE one (a int) LOCATION '{lake}/in/t'"),
        format!("CREATE TABLE two (a int) LOCATION '{public}/in/t'"),
        "INSERT INTO one VALUES (1)".to_owned(),
        "INSERT INTO two VALUES (2)".to_owned(),
    ] {
        connection.command(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let rows = "count(*) || ' ' || min(a) || ' ' || max(a)";
    let both = [&lake, &public].map(|container| format!("SELECT a FROM read_parquet('{container}/x/a.parquet')"));
    let both = both.join(" UNION ALL ");
    expect(&mut connection, &format!("SELECT {rows} FROM ({both}) AS both_of_them"), "2 1 2").await;
    let tables = "SELECT a FROM one UNION ALL SELECT a FROM two";
    expect(&mut connection, &format!("SELECT {rows} FROM ({tables}) AS both_of_them"), "2 1 2").await;
    let name = format!("{public}/x/a.parquet");
    expect(&mut connection, &format!("SELECT _file FROM read_parquet('{name}')"), &name).await;
    // A log that names another container's file, and one of the warehouse.
    for (number, (container, code)) in [("public", "0A000"), ("lake", "42501")].into_iter().enumerate() {
        let table = format!("{lake}/in/astray{number}");
        let file = format!("abfss://{container}@devstoreaccount1.dfs.core.windows.net/wh/x.parquet");
        let add = format!(
            r#"{{"add":{{"path":"{file}","partitionValues":{{}},"size":100,"modificationTime":1,"dataChange":true}}}}"#
        );
        let log = format!("{table}/_delta_log/00000000000000000001.json");
        for sql in [
            format!("CREATE TABLE astray{number} (a int) LOCATION '{table}'"),
            format!("COPY (SELECT '{add}') TO '{log}' WITH (FORMAT text)"),
        ] {
            connection.command(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        assert_eq!(refused(&mut connection, &format!("SELECT * FROM astray{number}")).await.0, code, "{container}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_lives_in_gcs() {
    let gcs = Emulator::gcs("lake").await;
    a_warehouse_lives_in(&gcs, "gs://lake").await;
    what_is_missing_is_named(&gcs, "gs://lake", "gs://nobody-made-it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_at_the_start() {
    // The first request needs no key: it makes the bucket.
    let s3 = Emulator::s3(&[("INITIAL_NO_AUTH_ACTION_COUNT", "1")]).await;
    s3.make_bucket("lake").await;
    credentials_are_refused(&s3, "s3://lake/w");
    let mut azure = Emulator::azure().await;
    azure.make_container("lake").await;
    azure.options.push("azure_storage_account_key=aGVsbG8=".to_owned());
    credentials_are_refused(&azure, "az://lake/w");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_told_at_the_start() {
    let log = launch(&Emulator::nobody(), "s3://lake/w").err().unwrap();
    assert!(log.contains("could not use \"s3://lake/w\": could not reach the object store"), "{log}");
}
