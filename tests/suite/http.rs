//! Health and metrics on the second port.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protocol::Connection;
use crate::server::Server;

/// Status and body of a GET.
pub(crate) async fn get(server: &Server, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.http()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Waits until the metrics have a line.
pub(crate) async fn until_metrics(server: &Server, line: &str) {
    let started = std::time::Instant::now();
    loop {
        let (_, metrics) = get(server, "/metrics").await;
        if metrics.lines().any(|told| told == line) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "no {line} in {metrics}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The value of a metric whose line starts so, summed over its labels.
fn metric(text: &str, name: &str) -> Option<f64> {
    let lines = text
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{')));
    let values: Vec<f64> = lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// The metrics that the documentation names.
fn documented() -> Vec<String> {
    let page = std::fs::read_to_string(crate::files::root().join("docs/operation.md")).unwrap();
    let names = regex::Regex::new("`(lakegate_[a-z_]+)").unwrap();
    let mut found: Vec<String> = names.captures_iter(&page).map(|found| found[1].to_owned()).collect();
    found.sort();
    found.dedup();
    assert!(found.len() > 15, "the documentation names only {found:?}");
    found
}

/// A histogram is told by its parts.
fn is_told(text: &str, name: &str) -> bool {
    metric(text, name).is_some() || metric(text, &format!("{name}_count")).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_are_told() {
    let server = Server::start(&[]);
    assert_eq!(get(&server, "/healthz").await, (200, "ok\n".to_owned()));
    // It says where it listens a moment before it serves.
    let mut ready = get(&server, "/readyz").await;
    while ready == (503, "starting\n".to_owned()) {
        ready = get(&server, "/readyz").await;
    }
    assert_eq!(ready, (200, "ready\n".to_owned()));
    assert_eq!(get(&server, "/nope").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happens() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("CREATE TABLE t (a int)").await.unwrap();
    connection.copy_in("COPY t FROM STDIN", b"1\n2\n3\n").await.unwrap();
    connection.query("SELECT * FROM t").await.unwrap();
    connection.query("SELECT * FROM t").await.unwrap();
    connection.query("SELECT nope").await.unwrap_err();
    let (status, text) = get(&server, "/metrics").await;
    assert_eq!(status, 200);
    let documented = documented();
    let missing: Vec<&String> = documented.iter().filter(|name| !is_told(&text, name)).collect();
    assert!(missing.is_empty(), "not told: {missing:?}\n{text}");
    let value = |name: &str| metric(&text, name).unwrap();
    assert!((value("lakegate_connections_open") - 1.0).abs() < f64::EPSILON);
    assert!(value("lakegate_rows_sent_total") >= 6.0);
    assert!(value("lakegate_copy_rows_total") >= 3.0);
    assert!(value("lakegate_statements_total") >= 5.0);
    assert!(value("lakegate_store_requests_total") > 0.0);
    assert!(value("lakegate_memory_pool_limit_bytes") > 0.0);
    assert!(value("lakegate_bytes_sent_total") > 0.0);
    assert!(value("lakegate_messages_received_total") > 0.0);
    let failed = text.lines().find(|line| line.starts_with("lakegate_statements_total") && line.contains("42703"));
    assert!(failed.is_some_and(|line| line.ends_with(" 1")), "{failed:?}");
}
