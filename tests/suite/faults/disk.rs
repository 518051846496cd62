//! A disk that is full: statements end with 53100 and leave nothing of themselves, and go on when there is room again.
//!
//! The disk is a small one of its own where the test may mount one; elsewhere the server's files may not grow (`RLIMIT_FSIZE`).

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::SOON;
use super::histories::read_by_another;
use crate::protocol::{Connection, Failure};
use crate::server::{Home, Server};

const ROWS: u64 = 80_000;
/// The least that a file takes of such a disk.
const PAGE: u64 = 4096;

/// Where a warehouse can run out of room.
enum Disk {
    Mounted(PathBuf),
    /// Another's disk: files of the process may not become larger.
    Limited,
}

impl Disk {
    fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(folder).output();
        if mounted.as_ref().is_ok_and(|mounted| mounted.status.success()) {
            return Self::Mounted(folder.to_owned());
        }
        eprintln!("NOT ON A DISK OF ITS OWN: no file system may be mounted here, so files are limited in size instead");
        Self::Limited
    }

    /// Leaves so much room and no more.
    fn leave(&self, server: &Server, bytes: u64) {
        match self {
            Self::Mounted(folder) => {
                let mut filler = std::fs::File::create(folder.join("filler")).unwrap();
                let piece = vec![0; 1 << 16];
                let full = |error: std::io::Error| error.kind() == std::io::ErrorKind::StorageFull;
                while filler.write_all(&piece).map_err(full) != Err(true) {}
                let length = filler.metadata().unwrap().len();
                filler.set_len(length.saturating_sub(bytes)).unwrap();
            }
            Self::Limited => limit(server, bytes),
        }
    }

    fn make_room(&self, server: &Server) {
        match self {
            Self::Mounted(folder) => std::fs::remove_file(folder.join("filler")).unwrap(),
            Self::Limited => limit(server, u64::MAX),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Mounted(folder) = self {
            let _ = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}

fn limit(server: &Server, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: u64::MAX };
    // SAFETY: prlimit(2) reads one struct and touches no other memory of this process.
    let done = unsafe {
        libc::prlimit(i32::try_from(server.pid()).unwrap(), libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut())
    };
    assert_eq!(done, 0, "the size of files cannot be limited either");
}

/// The data files below a folder, and what was being written.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path));
        } else if name.ends_with(".parquet") || name.contains('#') {
            found.insert(path);
        }
    }
    found
}

/// Staged files are removed in the background.
async fn only(folder: &Path, before: &BTreeSet<PathBuf>, after: &str) {
    let started = Instant::now();
    loop {
        let now = files(folder);
        let more: Vec<&PathBuf> = now.difference(before).collect();
        if more.is_empty() {
            return;
        }
        assert!(started.elapsed() < SOON, "{after} left {more:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const STATE: &str = "SELECT (SELECT count(*) || ' ' || sum(n) FROM t) || ' ' || (SELECT count(*) || ' ' || sum(n) FROM u) || ' ' || \
    (SELECT count(*) FROM loaded)";

/// Whether the statement did its work; 53100 is the only way to fail.
fn is_done(done: Result<impl Sized, Failure>, what: &str) -> bool {
    match done {
        Ok(_) => true,
        Err(Failure::Refused(told)) => {
            assert_eq!(told.code(), "53100", "{what}: {told}");
            false
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

async fn copy(connection: &mut Connection) -> Result<(), Failure> {
    let rows: String = (0..ROWS).map(|row| format!("{row}\t1\tcopied row {}\n", row * 7919)).collect();
    connection.copy_in("COPY t FROM STDIN", rows.as_bytes()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_every_statement_whole_or_not_at_all() {
    let home = Home::new();
    let warehouse = home.warehouse();
    let disk = Disk::new(&warehouse);
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..ROWS).map(|row| format!("{row},loaded row {}\n", row * 7919)).collect();
    std::fs::write(folder.path().join("rows.csv"), rows).unwrap();
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let of_rows =
        format!("SELECT g AS id, 1::bigint AS n, 'row ' || g * 7919 AS words FROM generate_series(1, {ROWS}) g");
    for sql in [
        format!("CREATE TABLE t AS {of_rows}"),
        format!("INSERT INTO t {of_rows}"),
        "CREATE TABLE u AS SELECT g AS id, 1::bigint AS n FROM generate_series(1, 10) g".to_owned(),
        "CREATE TABLE loaded (id int, words text)".to_owned(),
    ] {
        connection.command(&sql).await.unwrap();
    }
    let statements = [
        format!("INSERT INTO t {of_rows}"),
        "COPY".to_owned(),
        "UPDATE t SET n = n + 1, words = words || '!'".to_owned(),
        format!(
            "MERGE INTO t USING ({of_rows}) s ON t.id = s.id + 40000 WHEN MATCHED THEN UPDATE SET n = t.n + 1 WHEN NOT MATCHED THEN INSERT *"
        ),
        format!("COPY INTO loaded FROM '{}/' FILEFORMAT = CSV", folder.path().display()),
        "OPTIMIZE t".to_owned(),
    ];
    let (mut failed, mut finished) = (0, 0);
    for room in [0, PAGE, 32 * PAGE, 256 * PAGE] {
        for sql in &statements {
            let before = (connection.value(STATE).await.unwrap(), files(&warehouse));
            disk.leave(&server, room);
            let what = format!("{sql} with {room} bytes of room");
            let done = match sql.as_str() {
                "COPY" => copy(&mut connection).await,
                sql => connection.query(sql).await.map(drop),
            };
            let done = is_done(done, &what);
            assert!(!(done && room == 0), "{what}: it was not full");
            disk.make_room(&server);
            if done {
                finished += 1;
            } else {
                failed += 1;
                only(&warehouse, &before.1, &what).await;
                assert_eq!(connection.value(STATE).await.unwrap(), before.0, "{what}");
            }
        }
    }
    // Each of the files that COMMIT of two tables writes is the first for which there is no room.
    for pages in [0, 1, 2, 3, 4, 5, 7, 8, 9, 12] {
        let before = connection.value(STATE).await.unwrap();
        for sql in
            ["BEGIN", "UPDATE u SET n = n + 1", "INSERT INTO loaded VALUES (-1, 'x')", "DELETE FROM t WHERE id = 1"]
        {
            connection.command(sql).await.unwrap();
        }
        let wanted = connection.value(STATE).await.unwrap();
        disk.leave(&server, pages * PAGE);
        let what = format!("COMMIT with {pages} pages of room");
        let done = is_done(connection.command("COMMIT").await, &what);
        assert!(!(done && pages == 0), "{what}: it was not full");
        disk.make_room(&server);
        *(if done { &mut finished } else { &mut failed }) += 1;
        let now = connection.value(STATE).await.unwrap();
        assert_eq!(now, if done { wanted } else { before }, "{what}");
        // The next one finds the tables free.
        connection.command("INSERT INTO t VALUES (1, 0, 'y')").await.unwrap();
        connection.command("INSERT INTO u VALUES (11, 0)").await.unwrap();
    }
    eprintln!("{failed} statements found the disk full, {finished} had room enough");
    // With room all of them go on, on the same connection.
    for sql in &statements {
        match sql.as_str() {
            "COPY" => copy(&mut connection).await.unwrap(),
            sql => drop(connection.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))),
        }
    }
    let state = connection.value(STATE).await.unwrap();
    let server = server.restart();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    assert_eq!(connection.value(STATE).await.unwrap(), state);
    read_by_another(&home, &mut connection, &["t", "u", "loaded"]).await;
}
