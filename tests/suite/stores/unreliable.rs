//! A proxy before an emulator that does what stores do on bad days: it delays, refuses, forgets to answer, and answers with
//! an error what it has done all the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is passed on after this time.
    Delay(Duration),
    /// It is answered with this status and has no effect.
    Refuse(u16),
    /// It has its effect, and is answered with this status.
    Deny(u16),
    /// It has its effect, and the connection ends without an answer.
    Silence,
}

/// Which requests a fault meets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) method: &'static str,
    /// A part of the path and query.
    pub(crate) part: &'static str,
    pub(crate) fault: Fault,
    /// So many requests; then all goes well.
    pub(crate) times: u64,
}

#[derive(Debug, Default)]
struct Orders {
    rule: Option<Rule>,
    injected: u64,
}

/// The proxy. It ends with the test.
pub(crate) struct Unreliable {
    pub(crate) address: SocketAddr,
    orders: Arc<Mutex<Orders>>,
}

impl Unreliable {
    pub(crate) async fn before(store: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let orders = Arc::new(Mutex::new(Orders::default()));
        let of_connections = Arc::clone(&orders);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let orders = Arc::clone(&of_connections);
                tokio::spawn(async move {
                    // A client that goes away is no defect of the store.
                    let _ = serve(client, store, &orders).await;
                });
            }
        });
        Self { address, orders }
    }

    /// From now on requests meet that fault.
    pub(crate) fn order(&self, rule: Rule) {
        *self.orders.lock() = Orders { rule: Some(rule), injected: 0 };
    }

    /// All goes well again; how many requests met the fault.
    pub(crate) fn relent(&self) -> u64 {
        std::mem::take(&mut *self.orders.lock()).injected
    }

    /// How many requests have met the fault so far.
    pub(crate) fn injected(&self) -> u64 {
        self.orders.lock().injected
    }
}

fn fault_of(orders: &Mutex<Orders>, method: &str, target: &str) -> Option<Fault> {
    let mut orders = orders.lock();
    // Checkpoints are written beside the statements, and again when they fail.
    let concerned = |rule: &Rule| rule.method == method && target.contains(rule.part) && !target.contains("checkpoint");
    let rule = orders.rule.filter(concerned)?;
    if orders.injected >= rule.times {
        return None;
    }
    orders.injected += 1;
    Some(rule.fault)
}

/// One request, then the connection ends.
async fn serve(mut client: TcpStream, store: SocketAddr, orders: &Mutex<Orders>) -> std::io::Result<()> {
    let Some(request) = read_request(&mut client).await? else { return Ok(()) };
    let head = String::from_utf8_lossy(&request.head).into_owned();
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let fault = fault_of(orders, method, target);
    if let Some(Fault::Delay(time)) = fault {
        tokio::time::sleep(time).await;
    }
    let answer = match fault {
        Some(Fault::Refuse(status)) => refusal(status),
        None | Some(Fault::Delay(_) | Fault::Deny(_) | Fault::Silence) => {
            let answer = ask(store, &head, &request.body).await?;
            match fault {
                Some(Fault::Silence) => return Ok(()),
                Some(Fault::Deny(status)) => refusal(status),
                _ => answer,
            }
        }
    };
    client.write_all(&answer).await?;
    client.shutdown().await
}

struct Request {
    head: Vec<u8>,
    body: Vec<u8>,
}

async fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    };
    let mut body = read.split_off(end);
    let head = String::from_utf8_lossy(&read).to_ascii_lowercase();
    assert!(!head.contains("transfer-encoding"), "the proxy reads bodies of known length only");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Request { head: read, body }))
}

/// What the store answers.
async fn ask(store: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(store).await?;
    let lines = head.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: String = lines.map(|line| format!("{line}\r\n")).collect();
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn refusal(status: u16) -> Vec<u8> {
    let code = match status {
        409 => "ConditionalRequestConflict",
        412 => "PreconditionFailed",
        503 => "SlowDown",
        _ => "InternalError",
    };
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>not today</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}
