//! The three answers, over a socket.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::error::Error;

async fn get_page(address: SocketAddr, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn readiness_follows_the_phase_and_the_warehouse_while_health_stays() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let probed = Arc::clone(&broken);
    let readiness = Arc::new(Readiness::new(move || {
        let failed = probed.load(Ordering::Relaxed);
        async move { if failed { Err(Error::internal("gone")) } else { Ok(()) } }
    }));
    let shutdown = CancellationToken::new();
    let metrics = Metrics::new().unwrap();
    let console = tokio::spawn(run(listener, metrics, Arc::clone(&readiness), shutdown.clone()));

    assert_eq!(get_page(address, "/readyz").await, (503, "starting\n".to_owned()));
    assert_eq!(get_page(address, "/healthz").await.0, 200);
    readiness.set(Phase::Serving);
    assert_eq!(get_page(address, "/readyz").await.0, 200);
    broken.store(true, Ordering::Relaxed);
    assert_eq!(get_page(address, "/readyz").await, (503, "the warehouse does not answer\n".to_owned()));
    readiness.set(Phase::ShuttingDown);
    assert_eq!(get_page(address, "/readyz").await, (503, "shutting down\n".to_owned()));
    assert!(get_page(address, "/metrics").await.1.contains("lakegate_uptime_seconds"));
    assert_eq!(get_page(address, "/nothing").await.0, 404);

    shutdown.cancel();
    console.await.unwrap().unwrap();
}
