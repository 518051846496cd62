//! Starts, stops and kills the built binary.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a start may take; generous, for a debug build on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long a stopped server may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(45);

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("LAKEGATE_BINARY").map_or_else(built, PathBuf::from)
}

/// The binary that cargo built beside the suite.
pub(crate) fn built() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_lakegate"))
}

/// A folder that servers share: a warehouse, and the logs of those who served it.
#[derive(Clone)]
pub(crate) struct Home(Arc<TempDir>);

impl Home {
    pub(crate) fn new() -> Self {
        Self(Arc::new(tempfile::Builder::new().prefix("lakegate-suite-").tempdir().unwrap()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn warehouse(&self) -> PathBuf {
        self.0.path().join("warehouse")
    }
}

/// A running server. Dropping it kills it, and fails the test when its log tells of a panic or an error.
pub(crate) struct Server {
    child: Child,
    home: Home,
    flags: Vec<String>,
    log: PathBuf,
    address: SocketAddr,
    http: SocketAddr,
    /// What it said on standard output after it was ready.
    said: std::sync::mpsc::Receiver<String>,
}

impl Server {
    /// On a fresh warehouse, with flags of `lakegate serve`.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_in(&Home::new(), flags)
    }

    /// On the warehouse of that folder.
    pub(crate) fn start_in(home: &Home, flags: &[&str]) -> Self {
        Self::launch(home, "serve", flags).unwrap_or_else(|log| panic!("the server did not start\n{log}"))
    }

    /// `serve` or `demo`; the log when it ends before it is ready.
    pub(crate) fn launch(home: &Home, command: &str, flags: &[&str]) -> Result<Self, String> {
        let log = tempfile::Builder::new().prefix("log-").suffix(".txt").tempfile_in(home.path()).unwrap();
        let (output, log) = log.keep().unwrap();
        let http = free_port();
        let mut start = Command::new(binary());
        start.arg(command);
        if !flags.contains(&"--warehouse") {
            start.arg("--warehouse").arg(home.warehouse());
        }
        if !flags.contains(&"--listen") {
            start.args(["--listen", "127.0.0.1:0"]);
        }
        start.args(["--http", &http.to_string()]).args(flags);
        start.env_remove("RUST_LOG").current_dir(home.path());
        start.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(output);
        let mut child = spawn(start);
        let said = lines_of(&mut child);
        let started = Instant::now();
        let address = loop {
            let wait = START_LIMIT.saturating_sub(started.elapsed());
            match said.recv_timeout(wait) {
                Ok(line) => {
                    if let Some(address) = line.strip_prefix("listening on ") {
                        break address.parse().unwrap();
                    }
                }
                Err(_) => {
                    let _ = child.kill();
                    let status = child.wait().unwrap();
                    let told = std::fs::read_to_string(&log).unwrap_or_default();
                    return Err(format!("{status} after {:?}\n{told}", started.elapsed()));
                }
            }
        };
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Ok(Self { child, home: home.clone(), flags, log, address, http, said })
    }

    /// A client's port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of health and metrics.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The next line of its standard output.
    pub(crate) fn said(&self) -> Option<String> {
        self.said.recv_timeout(Duration::from_secs(5)).ok()
    }

    /// Memory that is resident, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// As kill -9.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: kill(2) takes plain numbers; the child has not been waited for, so the pid is still its own.
        unsafe { libc::kill(i32::try_from(self.pid()).unwrap(), signal) };
    }

    /// Whether the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGTERM; its exit status and how long it took.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Duration) {
        self.signal(libc::SIGTERM);
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, started.elapsed());
            }
            assert!(started.elapsed() < STOP_LIMIT, "the server does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Another one on the same warehouse, after this one was stopped or killed.
    pub(crate) fn restart(mut self) -> Self {
        self.kill();
        let flags: Vec<String> = self.flags.clone();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Self::start_in(&self.home, &flags)
    }

    /// Lines of the log that nobody should have to read.
    fn complaints(&self) -> Vec<String> {
        let panicked = |line: &str| line.contains("panicked at") || line.contains("RUST_BACKTRACE");
        let error = |line: &str| line.split_whitespace().take(3).any(|word| word == "ERROR");
        self.log().lines().filter(|line| panicked(line) || error(line)).map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("── the server's log ──\n{}", last_lines(&self.log(), 60));
            return;
        }
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "the server's log tells of defects:\n{}", complaints.join("\n"));
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

/// An address nobody listens on now.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn lines_of(child: &mut Child) -> std::sync::mpsc::Receiver<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let stdout = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Starts a process that ends with this one, whatever ends it.
///
/// The kernel's signal comes when the *thread* ends that started the process, and a test's thread does; so one thread that
/// never ends starts them all.
pub(crate) fn spawn(mut command: Command) -> Child {
    type Request = (Command, std::sync::mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: std::sync::OnceLock<std::sync::mpsc::Sender<Request>> = std::sync::OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in receiver {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    // SAFETY: prctl(2) is safe to call between fork and exec, and touches no memory.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let program = command.get_program().to_owned();
    let (sender, receiver) = std::sync::mpsc::channel();
    spawner.send((command, sender)).unwrap();
    receiver.recv().unwrap().unwrap_or_else(|error| panic!("could not start {}: {error}", program.display()))
}
