//! A real PostgreSQL in a temporary folder: the oracle.

use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::protocol::Connection;
use crate::server::{free_port, spawn};

/// A running cluster with the superuser and the database `lakegate`, without passwords.
pub(crate) struct Postgres {
    address: SocketAddr,
    /// The next run removes it: a static is never dropped. The process ends with ours.
    _folder: TempDir,
}

impl Postgres {
    /// The one that all tests of this run share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a fresh database.
    pub(crate) async fn create_database(&self, name: &str) {
        let mut admin =
            Connection::start(self.address, &[("user", "lakegate"), ("database", "lakegate")]).await.unwrap();
        admin.command(&format!("DROP DATABASE IF EXISTS {name}")).await.unwrap();
        admin.command(&format!("CREATE DATABASE {name} TEMPLATE template0")).await.unwrap();
    }

    fn start() -> Self {
        let programs = programs();
        remove_abandoned();
        let folder = tempfile::Builder::new().prefix("lakegate-postgres-").tempdir().unwrap();
        let owner = owner();
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let data = folder.path().join("data");
        let as_owner = |program: &str| {
            let mut command = Command::new(programs.join(program));
            if let Some((user, group)) = owner {
                command.uid(user).gid(group);
            }
            command.current_dir(folder.path()).stdin(Stdio::null());
            command
        };
        let initialised = as_owner("initdb")
            .arg("-D")
            .arg(&data)
            .args(["-U", "lakegate", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"])
            .output()
            .unwrap();
        assert!(initialised.status.success(), "initdb: {}", String::from_utf8_lossy(&initialised.stderr));
        let address = free_port();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut server = as_owner("postgres");
        server.arg("-D").arg(&data).args(["-k", "", "-h", "127.0.0.1", "-p", &address.port().to_string()]);
        for setting in ["fsync=off", "timezone=UTC", "max_connections=200", "shared_buffers=64MB", "ssl=off", "jit=off"]
        {
            server.arg("-c").arg(setting);
        }
        server.stdout(Stdio::null()).stderr(log);
        let child = spawn(server);
        await_port(address, child.id());
        create_first_database(&as_owner, address);
        std::mem::forget(child);
        Self { address, _folder: folder }
    }
}

/// Removes the folders of earlier runs: their clusters ended with them, by a signal that leaves the files.
fn remove_abandoned() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with("lakegate-postgres-") {
            continue;
        }
        let Ok(lock) = std::fs::read_to_string(path.join("data/postmaster.pid")) else { continue };
        let runs = lock.lines().next().is_some_and(|pid| PathBuf::from(format!("/proc/{pid}")).exists());
        if !runs {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

/// The cluster answers before it is ready to serve; asked again, it soon does.
fn create_first_database(as_owner: &dyn Fn(&str) -> Command, address: SocketAddr) {
    let port = address.port().to_string();
    let started = Instant::now();
    loop {
        let made = as_owner("createdb")
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "lakegate", "--maintenance-db=postgres", "lakegate"])
            .output()
            .unwrap();
        if made.status.success() {
            return;
        }
        let told = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(told.contains("starting up") && started.elapsed() < Duration::from_secs(60), "createdb: {told}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until the cluster answers an SSLRequest.
fn await_port(address: SocketAddr, pid: u32) {
    use std::io::{Read, Write};
    let started = Instant::now();
    loop {
        if let Ok(mut stream) = std::net::TcpStream::connect(address) {
            let mut answer = [0];
            let asked = stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]);
            if asked.is_ok() && stream.read_exact(&mut answer).is_ok() {
                return;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(60), "PostgreSQL (process {pid}) does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The version whose texts the files hold.
const WANTED_VERSION: u32 = 15;

/// The programs of that PostgreSQL, or of the newest one of this machine.
fn programs() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            path.join("bin/initdb").exists().then(|| (version, path.join("bin")))
        })
        .collect();
    versions.sort_by_key(|(version, _)| (*version == WANTED_VERSION, *version));
    if let Some((_, programs)) = versions.pop() {
        return programs;
    }
    let found =
        std::env::var_os("PATH").and_then(|path| std::env::split_paths(&path).find(|at| at.join("initdb").exists()));
    found.expect("there is no PostgreSQL on this machine to compare with: run tests/install.sh")
}

/// Who may run it: PostgreSQL refuses to be root.
fn owner() -> Option<(u32, u32)> {
    // SAFETY: geteuid(2) takes and touches nothing.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = accounts
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .expect("no account \"postgres\": run tests/install.sh");
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
