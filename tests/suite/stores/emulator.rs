//! Starts emulators of object stores on free ports and makes their buckets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use hmac::Mac;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::files::root;
use crate::server::{free_port, spawn};

/// How long an emulator may take to start.
const START_LIMIT: Duration = Duration::from_secs(90);

/// The account that every azurite has, and its well-known key.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// moto keeps private objects from those who tell no name, and believes every name.
const UNCHECKED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n";

/// A running emulator, and the options of `warehouse.storage` that lead to it. Dropping it ends it.
pub(crate) struct Emulator {
    pub(crate) options: Vec<String>,
    address: SocketAddr,
    process: Option<Child>,
    /// Where it runs and keeps what it must.
    folder: TempDir,
}

impl Emulator {
    /// moto, one request at a time, with variables of its environment.
    pub(crate) async fn s3(environment: &[(&str, &str)]) -> Self {
        let address = free_port();
        let mut command = Command::new(installed("LAKEGATE_TEST_VENV", "test-venv", "bin/python"));
        command.arg(root().join("tests/suite/stores/s3.py"));
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]).envs(environment.iter().copied());
        Self::run(command, address, s3_options(address)).await
    }

    /// azurite, keeping everything in memory.
    pub(crate) async fn azure() -> Self {
        let address = free_port();
        let mut command = Command::new("node");
        command.arg(installed("LAKEGATE_TEST_NODE", "test-node", "node_modules/.bin/azurite-blob"));
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &address.port().to_string()]);
        command.args(["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]);
        let options = vec![
            format!("azure_storage_endpoint=http://{address}/{ACCOUNT}"),
            "allow_http=true".to_owned(),
            format!("azure_storage_account_name={ACCOUNT}"),
            format!("azure_storage_account_key={ACCOUNT_KEY}"),
        ];
        Self::run(command, address, options).await
    }

    /// What stands in `gcs.py`, with one bucket.
    pub(crate) async fn gcs(bucket: &str) -> Self {
        let address = free_port();
        let mut command = Command::new("python3");
        command.arg(root().join("tests/suite/stores/gcs.py")).args([&address.port().to_string(), bucket]);
        let mut emulator = Self::run(command, address, vec!["allow_http=true".to_owned()]).await;
        let account = emulator.folder.path().join("account.json");
        let content = serde_json::json!({
            "gcs_base_url": format!("http://{address}"),
            "disable_oauth": true,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        });
        std::fs::write(&account, content.to_string()).unwrap();
        emulator.options.push(format!("google_service_account={}", account.display()));
        emulator
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Options that lead to S3 at that address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { options: s3_options(address), address, process: None, folder: tempfile::tempdir().unwrap() }
    }

    /// Options that lead to a port nobody listens on.
    pub(crate) fn nobody() -> Self {
        Self::at(free_port())
    }

    async fn run(mut command: Command, address: SocketAddr, options: Vec<String>) -> Self {
        let folder = tempfile::Builder::new().prefix("lakegate-emulator-").tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = spawn(command);
        let started = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            if started.elapsed() > START_LIMIT || process.try_wait().unwrap().is_some() {
                let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                panic!("the emulator did not start\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self { options, address, process: Some(process), folder }
    }

    /// A bucket of S3; moto asks for no signature.
    pub(crate) async fn make_bucket(&self, name: &str) {
        let answer = self.put(&format!("/{name}"), "", "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// A container of Azure, with a signed request.
    pub(crate) async fn make_container(&self, name: &str) {
        let date = chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT");
        let headers = format!("x-ms-date:{date}\nx-ms-version:2021-08-06\n");
        let resource = format!("/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container");
        // The method, eleven headers that are not sent, ours, and what is asked for.
        let signed = format!("PUT{}{headers}{resource}", "\n".repeat(12));
        let base64 = base64::engine::general_purpose::STANDARD;
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&base64.decode(ACCOUNT_KEY).unwrap()).unwrap();
        mac.update(signed.as_bytes());
        let signature = base64.encode(mac.finalize().into_bytes());
        let sent = headers.replace('\n', "\r\n");
        let authorized = format!("{sent}Authorization: SharedKey {ACCOUNT}:{signature}\r\n");
        let answer = self.put(&format!("/{ACCOUNT}/{name}?restype=container"), &authorized, "").await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// What an object of S3 holds; `None` when there is none.
    pub(crate) async fn object(&self, path: &str) -> Option<String> {
        let answer = self.ask("GET", path, UNCHECKED, "").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// Writes an object of S3.
    pub(crate) async fn put_object(&self, path: &str, content: &str) {
        let answer = self.put(path, "", content).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    async fn put(&self, path: &str, headers: &str, body: &str) -> String {
        self.ask("PUT", path, headers, body).await
    }

    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn s3_options(address: SocketAddr) -> Vec<String> {
    let endpoint = format!("aws_endpoint=http://{address}");
    let rest = ["aws_allow_http=true", "aws_region=us-east-1", "aws_access_key_id=test", "aws_secret_access_key=test"];
    std::iter::once(endpoint).chain(rest.map(str::to_owned)).collect()
}

/// A program that `tests/install.sh` installs: below the folder that the variable names, or beside the target folder.
pub(crate) fn installed(variable: &str, folder: &str, program: &str) -> PathBuf {
    let beside_target = || Some(crate::server::built().ancestors().nth(3)?.join(folder));
    let root = std::env::var_os(variable).map(PathBuf::from).or_else(beside_target).unwrap();
    let program = root.join(program);
    assert!(program.exists(), "{} is not there: run tests/install.sh", program.display());
    program
}
