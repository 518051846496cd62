//! Listens, limits, encrypts and ends: one task per client, each of which `protocol` serves.
//!
//! ```text
//! bind ─→ run ─┬ accept ─→ task: protocol::serve      (limits: sockets here, clients in protocol::Admission)
//!              ├ TLS files, reloaded when they change
//!              └ shutdown: idle clients at once, busy ones after their statement, the rest at a deadline
//! ```
//! `app` calls it. It knows no messages.

mod listen;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

use crate::auth::HostRules;
use crate::auth::scram::Decoy;
use crate::error::Result;
pub use crate::protocol::Counters;
use crate::protocol::{Admission, Context, Peer, Shutdown, TlsSource, serve};
use crate::query::Service;
pub use listen::{bind, prepare_client};
pub use tls::{ClientCertificates, TlsFiles, TlsSettings, TlsVersion};

/// How often the TLS files are looked at.
const TLS_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How long connections get to say goodbye once the deadline of the shutdown has passed.
const GOODBYE_LIMIT: Duration = Duration::from_secs(3);
/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server is told.
pub struct ServerConfig {
    pub connections_max: usize,
    /// The last of these places are for superusers.
    pub superuser_reserved: usize,
    pub authentication_timeout: Duration,
    /// The largest message of a client; never more than PostgreSQL's 1 GiB - 1.
    pub message_bytes_max: usize,
    /// How long busy connections may go on after the shutdown began.
    pub shutdown_deadline: Duration,
    /// `None`: no TLS. [`TlsFiles::reload`] may be called at any time.
    pub tls: Option<Arc<TlsFiles>>,
    pub host_rules: HostRules,
    /// A client that acknowledges nothing of what was sent for this long is gone; zero leaves it to the system.
    pub tcp_user_timeout: Duration,
    /// Idle time before keepalive probes; zero turns them off.
    pub tcp_keepalive: Duration,
    pub counters: Arc<Counters>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connections_max: 200,
            superuser_reserved: 3,
            authentication_timeout: Duration::from_secs(60),
            message_bytes_max: 256 * 1024 * 1024,
            shutdown_deadline: Duration::from_secs(30),
            tls: None,
            host_rules: HostRules::default(),
            tcp_user_timeout: Duration::ZERO,
            tcp_keepalive: Duration::from_secs(60),
            counters: Arc::default(),
        }
    }
}

/// PostgreSQL's own limit on a message.
const MESSAGE_BYTES_HARD_MAX: usize = (1 << 30) - 1;

impl ServerConfig {
    fn context(&self, service: Arc<Service>) -> Context {
        let admission = Admission::new(self.connections_max, self.superuser_reserved, self.counters.clone());
        Context {
            service,
            host_rules: self.host_rules.clone(),
            tls: self.tls.clone().map(|tls| tls as Arc<dyn TlsSource>),
            authentication_timeout: self.authentication_timeout,
            message_bytes_max: self.message_bytes_max.min(MESSAGE_BYTES_HARD_MAX),
            admission: Arc::new(admission),
            counters: self.counters.clone(),
            shutdown: Shutdown::default(),
            decoy: Decoy::default(),
        }
    }

    /// Sockets in all, with those of clients that have not said yet who they are, as PostgreSQL counts its children.
    fn sockets_max(&self) -> usize {
        self.connections_max.saturating_mul(2).saturating_add(16)
    }
}

/// Serves clients until `shutdown`, then ends all connections within the deadline. Dropping it aborts them.
pub async fn run(
    listeners: Vec<TcpListener>,
    config: Arc<ServerConfig>,
    service: Arc<Service>,
    shutdown: CancellationToken,
) -> Result<()> {
    let context = Arc::new(config.context(service));
    let mut connections = JoinSet::new();
    let mut tls_check = tokio::time::interval(TLS_CHECK_INTERVAL);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => log_ended(ended),
            _ = tls_check.tick() => reload_tls(&config).await,
            accepted = listen::accept(&listeners) => match accepted {
                Ok((stream, address)) => admit(&mut connections, stream, address, &config, &context),
                Err(error) => pause_after(&error, &shutdown).await,
            },
        }
    }
    drop(listeners);
    drain(connections, &config, &context.shutdown).await;
    Ok(())
}

fn admit(
    connections: &mut JoinSet<()>,
    stream: TcpStream,
    address: SocketAddr,
    config: &ServerConfig,
    context: &Arc<Context>,
) {
    Counters::count(&config.counters.connections_total);
    if connections.len() >= config.sockets_max() {
        Counters::count(&config.counters.connections_refused);
        warn!(client = %address, "too many sockets: connection dropped");
        return;
    }
    if let Err(error) = listen::prepare_client(&stream, config.tcp_keepalive, config.tcp_user_timeout) {
        // The client left already.
        debug!(client = %address, %error, "socket options were refused");
        return;
    }
    let peer = Peer { client: Some(address), server: stream.local_addr().ok() };
    let span = info_span!("connection", client = %address);
    connections.spawn(serve(stream, peer, context.clone()).instrument(span));
}

fn log_ended(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection's task failed");
    }
}

async fn pause_after(error: &std::io::Error, shutdown: &CancellationToken) {
    if error.kind() == std::io::ErrorKind::ConnectionAborted {
        return;
    }
    warn!(%error, "could not accept a connection");
    // Out of file descriptors or memory: trying again at once would spin.
    let _ = timeout(ACCEPT_PAUSE, shutdown.cancelled()).await;
}

async fn reload_tls(config: &ServerConfig) {
    let Some(tls) = config.tls.clone() else { return };
    match tokio::task::spawn_blocking(move || tls.reload_if_changed()).await {
        Ok(Ok(false)) => {}
        Ok(Ok(true)) => info!("TLS certificate reloaded"),
        Ok(Err(error)) => error!(%error, "TLS certificate could not be reloaded: the old one stays"),
        Err(error) => error!(%error, "the task that reloads the TLS certificate failed"),
    }
}

/// Idle connections end at once, busy ones when their statement does or at the deadline.
async fn drain(mut connections: JoinSet<()>, config: &ServerConfig, shutdown: &Shutdown) {
    info!(connections = connections.len(), "shutting down");
    shutdown.draining.cancel();
    if timeout(config.shutdown_deadline, all_ended(&mut connections)).await.is_err() {
        warn!(connections = connections.len(), "ending the statements that still run");
        shutdown.ending.cancel();
        if timeout(GOODBYE_LIMIT, all_ended(&mut connections)).await.is_err() {
            // A task that never yields cannot be ended: the process goes without it.
            connections.abort_all();
            let _ = timeout(GOODBYE_LIMIT, all_ended(&mut connections)).await;
        }
    }
}

async fn all_ended(connections: &mut JoinSet<()>) {
    while let Some(ended) = connections.join_next().await {
        log_ended(ended);
    }
}
