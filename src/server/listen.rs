//! Listening sockets and the options of the clients' sockets.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::error::{Error, Result, SqlState};

/// Connections that the system may hold until they are accepted.
const BACKLOG: i32 = 1024;

/// Opens a listening socket for each address; port 0 takes a free one. Needs a tokio runtime. 58000 with the address.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    addresses.iter().map(|address| bind_one(*address).map_err(|error| unavailable(*address, error))).collect()
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `0.0.0.0` and `::` can then both be listened to.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn unavailable(address: SocketAddr, error: io::Error) -> Error {
    Error::new(SqlState::SystemError, format!("could not listen on {address}: {error}"))
        .with_hint("Is another server already running on that port?")
        .with_source(error)
}

/// The next client of any of the listeners. Cancel-safe.
pub async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|cx| {
        for listener in listeners {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// Sets a client's socket up: no delay, keepalive, and the time after which unacknowledged data ends it. Zero leaves the
/// system's setting.
pub fn prepare_client(stream: &TcpStream, keepalive: Duration, user_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if !keepalive.is_zero() {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(keepalive))?;
    }
    #[cfg(target_os = "linux")]
    if !user_timeout.is_zero() {
        socket.set_tcp_user_timeout(Some(user_timeout))?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = user_timeout;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_families_can_share_a_port_and_a_taken_one_is_told() {
        let listeners = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let error = bind(&[address]).unwrap_err();
        assert!(error.message().starts_with(&format!("could not listen on {address}")), "{error}");
    }

    #[tokio::test]
    async fn clients_of_every_listener_are_accepted() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listeners = bind(&[any, any]).unwrap();
        for listener in &listeners {
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (accepted, from) = accept(&listeners).await.unwrap();
            assert_eq!(from, client.local_addr().unwrap());
            prepare_client(&accepted, Duration::from_secs(60), Duration::from_secs(30)).unwrap();
            assert!(accepted.nodelay().unwrap());
        }
    }
}
