//! Which files a statement may open: decided by the place that is opened, however it is written.

use crate::protocol::Connection;
use crate::server::{Home, Server};

/// Statements that read or write a location.
fn statements(location: &str) -> Vec<String> {
    vec![
        format!("SELECT * FROM read_csv('{location}')"),
        format!("SELECT * FROM read_parquet('{location}')"),
        format!("COPY t FROM '{location}'"),
        format!("COPY INTO t FROM '{location}' FILEFORMAT = CSV"),
        format!("IMPORT MODEL taken FROM '{location}'"),
        format!("COPY (SELECT 1) TO '{location}'"),
        format!("EXPORT MODEL m TO '{location}'"),
        format!("CREATE TABLE placed (i int) LOCATION '{location}'"),
        format!("CONVERT TO DELTA parquet.'{location}'"),
    ]
}

/// Ways to write one path.
fn spellings(folder: &str, file: &str) -> Vec<String> {
    vec![
        format!("{folder}/{file}"),
        format!("file:{folder}/{file}"),
        format!("file://{folder}/{file}"),
        format!("FILE://{folder}/{file}"),
        format!("File://{folder}/%61{}", &file[1..]),
        format!(" file://{folder}/{file}"),
        format!("file:{folder}/{file}#://"),
        format!("file:{folder}/{file}?://"),
        format!("file://localhost{folder}/{file}"),
        format!("file://{folder}/x/../{file}"),
        format!("file://{folder}/x/%2e%2E/{file}"),
    ]
}

async fn all_refused(connection: &mut Connection, location: &str) {
    for sql in statements(location) {
        match connection.command(&sql).await {
            Ok(done) => panic!("{sql}: {done}"),
            Err(error) => assert_eq!(error.code(), "42501", "{sql}: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_is_another_place() {
    let home = Home::new();
    let (inside, outside) = (home.path().join("inside"), home.path().join("outside"));
    for folder in [&inside, &outside] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("a.csv"), "i\n1\n").unwrap();
    }
    std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
    let roots = format!("files.roots={}", inside.display());
    let server = Server::start_in(&home, &["--set", &roots]);
    let mut superuser = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        "CREATE ROLE plain LOGIN",
        "CREATE SCHEMA plain AUTHORIZATION plain",
        "CREATE TABLE t (i int)",
        "CREATE MODEL m OPTIONS (model_type = 'linear_regression', label = 'y') AS SELECT g AS x, 2.0 * g AS y FROM generate_series(1, 50) g",
    ] {
        superuser.command(sql).await.unwrap();
    }
    let parameters = [("user", "plain"), ("database", "lakegate")];
    let mut plain = Connection::start(server.address(), &parameters).await.unwrap();
    for sql in [
        "CREATE TABLE t (i int)",
        "CREATE MODEL m OPTIONS (model_type = 'linear_regression', label = 'y') AS SELECT g AS x, 2.0 * g AS y FROM generate_series(1, 50) g",
    ] {
        plain.command(sql).await.unwrap();
    }
    let (inside, outside) = (inside.display().to_string(), outside.display().to_string());
    for location in spellings(&inside, "a.csv").into_iter().chain(spellings(&outside, "a.csv")) {
        all_refused(&mut plain, &location).await;
    }
    let linked = [format!("{inside}/link/a.csv"), format!("file://{inside}/l%69nk/a.csv")];
    let climbing = [format!("file://{inside}/../outside/a.csv"), format!("{inside}/../outside/a.csv")];
    for location in spellings(&outside, "a.csv").into_iter().chain(linked).chain(climbing) {
        all_refused(&mut superuser, &location).await;
    }
    for location in spellings(&inside, "a.csv") {
        let read = format!("SELECT i FROM read_csv('{location}')");
        assert_eq!(superuser.value(&read).await.unwrap(), "1", "{location}");
    }
    // A pattern finds links that lead out.
    for sql in [
        format!("SELECT * FROM read_csv('{inside}/**/*.csv')"),
        format!("COPY t FROM '{inside}/*/a.csv'"),
        format!("COPY INTO t FROM '{inside}/' FILEFORMAT = CSV FILES = ('link/a.csv')"),
        format!("COPY INTO t FROM '{inside}/' FILEFORMAT = CSV PATTERN = '*/a.csv'"),
    ] {
        let error = superuser.command(&sql).await.expect_err(&sql);
        assert_eq!(error.code(), "42501", "{sql}: {error}");
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1, "something was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_or_written_behind_links_that_lead_out() {
    let home = Home::new();
    let (inside, outside) = (home.path().join("inside"), home.path().join("outside"));
    for folder in [inside.join("out"), inside.join("by"), inside.join("files"), outside.clone()] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let theirs = outside.join("a.csv");
    std::fs::write(&theirs, "i\n1\n").unwrap();
    let link = |target: &std::path::Path, name: &str| std::os::unix::fs::symlink(target, inside.join(name)).unwrap();
    let roots = format!("files.roots={}", inside.display());
    let server = Server::start_in(&home, &["--set", &roots]);
    let mut superuser = Connection::superuser(server.address()).await.unwrap();
    let folder = inside.display().to_string();

    link(&outside, "out/link");
    link(&theirs, "out/b.csv");
    std::fs::write(inside.join("out/old.csv"), "i\n0\n").unwrap();
    std::fs::create_dir(inside.join("out/sub")).unwrap();
    std::fs::write(inside.join("out/sub/old.csv"), "i\n0\n").unwrap();
    link(&inside.join("out/sub"), "out/also");
    let sql = format!("COPY (SELECT 2 AS i) TO '{folder}/out/' WITH (FORMAT csv, HEADER");
    let error = superuser.command(&format!("{sql})")).await.expect_err("there are files");
    assert_eq!(error.code(), "58P02", "{error}");
    superuser.command(&format!("{sql}, OVERWRITE)")).await.unwrap();
    let stays = ["out/old.csv", "out/sub/old.csv"].into_iter().find(|old| inside.join(old).exists());
    assert!(theirs.exists() && stays.is_none(), "OVERWRITE removes what is in the folder");

    link(&outside, "by/d=1");
    for existing in ["OVERWRITE", "APPEND"] {
        let sql = format!(
            "COPY (SELECT g AS d, 2 AS i FROM generate_series(0, 1) g) TO '{folder}/by/' WITH (FORMAT csv, PARTITION BY (d), {existing})"
        );
        let error = superuser.command(&sql).await.expect_err(&sql);
        assert_eq!(error.code(), "42501", "{sql}: {error}");
        assert!(error.to_string().contains(&format!("{folder}/by/d=1/part-")), "{error}");
    }

    for sql in [
        format!("CREATE TABLE placed (i int) LOCATION '{folder}/placed'"),
        "INSERT INTO placed VALUES (1)".to_owned(),
        "SET lakegate.retention_check = off".to_owned(),
    ] {
        superuser.command(&sql).await.unwrap();
    }
    link(&outside, "placed/link");
    std::fs::write(inside.join("placed/litter.parquet"), "").unwrap();
    superuser.command("VACUUM placed RETAIN 0 HOURS").await.unwrap();
    assert!(theirs.exists() && !inside.join("placed/litter.parquet").exists(), "VACUUM removes what is in the folder");
    assert_eq!(superuser.value("SELECT i FROM placed").await.unwrap(), "1");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1, "something was written");

    superuser.command(&format!("COPY (SELECT 1 AS i) TO '{folder}/files/a.parquet'")).await.unwrap();
    std::fs::copy(inside.join("files/a.parquet"), outside.join("b.parquet")).unwrap();
    link(&outside, "files/link");
    let convert = format!("CONVERT TO DELTA parquet.'{folder}/files'");
    let error = superuser.command(&convert).await.expect_err("a file is elsewhere");
    assert_eq!(error.code(), "42501", "{error}");
    std::fs::remove_file(inside.join("files/link")).unwrap();
    superuser.command(&convert).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_warehouse_is_not_written_by_other_names_of_it() {
    let home = Home::new();
    let server = Server::start_in(&home, &[]);
    let mut superuser = Connection::superuser(server.address()).await.unwrap();
    superuser.command("CREATE ROLE plain LOGIN").await.unwrap();
    superuser.command("CREATE SCHEMA plain AUTHORIZATION plain").await.unwrap();
    let parameters = [("user", "plain"), ("database", "lakegate")];
    let mut plain = Connection::start(server.address(), &parameters).await.unwrap();
    let root = home.path().display().to_string();
    for location in [
        format!("{root}/warehouse/zz.csv"),
        format!("FILE://{root}/%77arehouse/zz.csv"),
        format!("file://{root}/x/../warehouse/zz.csv"),
        "warehouse:zz.csv".to_owned(),
    ] {
        let sql = format!("COPY (SELECT 1) TO '{location}'");
        let error = plain.command(&sql).await.expect_err(&sql);
        assert_eq!(error.code(), "42501", "{sql}: {error}");
    }
    // Nor does a table come to lie on another one's files, or among the warehouse's own.
    superuser.command("CREATE TABLE t (i int)").await.unwrap();
    for location in [
        format!("file://{root}/%77arehouse/public/t/below"),
        format!("file://{root}/warehouse/public/%74"),
        format!("file://{root}/warehouse/%5flakegate/x"),
    ] {
        let sql = format!("CREATE TABLE placed (i int) LOCATION '{location}'");
        let error = superuser.command(&sql).await.expect_err(&sql);
        assert_eq!(error.code(), "42P16", "{sql}: {error}");
    }
    // Names that are steps or hold them are folders as others are.
    for sql in ["CREATE SCHEMA \"..\"", "CREATE TABLE \"..\".climber (i int)", "CREATE TABLE \"..\".\".\" (i int)"] {
        superuser.command(sql).await.unwrap();
    }
    assert!(!home.path().join("climber").exists());
    superuser.command("INSERT INTO \"..\".\".\" VALUES (1)").await.unwrap();
    assert_eq!(superuser.value("SELECT i FROM \"..\".\".\"").await.unwrap(), "1");
}
