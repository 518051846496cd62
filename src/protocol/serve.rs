//! One client's connection, from its first byte to its last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use super::admission::{Admission, Place};
use super::authenticate::authenticate;
use super::backend;
use super::channel::{Channel, Transport};
use super::client::{Client, send_parameter_changes};
use super::counters::Counters;
use super::link::{Link, Shutdown, Stop};
use super::negotiate::{Terms, Wish, negotiate};
use super::report;
use super::startup::Startup;
use super::tls::{Stream, TlsSource};
use crate::auth::HostRules;
use crate::auth::scram::Decoy;
use crate::catalog::Role;
use crate::error::{Error, SqlState};
use crate::query::{ConnectRequest, Conversation, Service};

/// What all connections of a server share.
pub struct Context {
    pub service: Arc<Service>,
    pub host_rules: HostRules,
    /// `None`: TLS is not offered.
    pub tls: Option<Arc<dyn TlsSource>>,
    /// From the first byte to ReadyForQuery.
    pub authentication_timeout: Duration,
    /// The largest message of a client, in bytes.
    pub message_bytes_max: usize,
    pub admission: Arc<Admission>,
    pub counters: Arc<Counters>,
    pub shutdown: Shutdown,
    pub decoy: Decoy,
}

/// Both ends of a connection; `None` where there is no network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peer {
    pub client: Option<SocketAddr>,
    pub server: Option<SocketAddr>,
}

/// Serves one client until it leaves, is refused or the server ends. Dropping the future ends the connection at once.
pub async fn serve<S: Transport + 'static>(stream: S, peer: Peer, context: Arc<Context>) {
    let deadline = tokio::time::Instant::now() + context.authentication_timeout;
    let terms = Terms { tls: context.tls.as_deref(), counters: &context.counters };
    let greeting = tokio::time::timeout_at(deadline, Box::pin(negotiate(stream, &terms)));
    // As PostgreSQL does, a client that never says what it wants is left without a word.
    let Ok((channel, wish)) = greeting.await else {
        debug!("no startup packet came in time");
        return;
    };
    let startup = match wish {
        Ok(Wish::Start(startup)) => startup,
        Ok(Wish::Cancel { pid, secret }) => {
            Counters::count(&context.counters.cancel_requests);
            context.service.cancel(pid, &secret);
            return;
        }
        Err(stop) => return refuse(channel, stop, &context).await,
    };
    let Some(channel) = channel else { return };
    let mut link = Link::new(channel, &context.shutdown);
    let place = match context.admission.enter() {
        Ok(place) => place,
        Err(error) => return say_goodbye(&mut link, Stop::Fatal(error)).await,
    };
    let opened = Box::pin(open(&mut link, &startup, peer, &context, &place));
    let opened = tokio::time::timeout_at(deadline, opened).await.unwrap_or_else(|_| Err(Stop::Fatal(too_slow())));
    let stop = match opened {
        Ok(conversation) => converse(&mut link, conversation, context.message_bytes_max).await,
        Err(stop) => stop,
    };
    say_goodbye(&mut link, stop).await;
}

async fn converse<S: Transport>(link: &mut Link<Stream<S>>, conversation: Conversation, bytes_max: usize) -> Stop {
    let mut client = Client::new(link, conversation, bytes_max);
    let stop = client.run().await;
    // What still runs, also beside this task, is told before the session goes.
    client.conversation.cancel_token().cancel();
    stop
}

async fn refuse<S: Transport>(channel: Option<Channel<Stream<S>>>, stop: Stop, context: &Context) {
    match channel {
        Some(channel) => say_goodbye(&mut Link::new(channel, &context.shutdown), stop).await,
        None => debug!(?stop, "connection ended before its startup message"),
    }
}

async fn say_goodbye<S: Transport>(link: &mut Link<Stream<S>>, stop: Stop) {
    match stop {
        Stop::Fatal(error) => {
            report::log(&error);
            backend::error_response(&mut link.channel.output, &error.fatal());
            link.close().await;
        }
        Stop::Gone(None) => link.close().await,
        Stop::Gone(Some(error)) => info!(%error, "connection lost"),
    }
}

/// 57014, PostgreSQL's code for it.
fn too_slow() -> Error {
    Error::new(SqlState::QueryCanceled, "canceling authentication due to timeout").fatal()
}

/// Authenticates, opens the session and writes what comes before the first ReadyForQuery.
async fn open<S: Transport>(
    link: &mut Link<Stream<S>>,
    startup: &Startup,
    peer: Peer,
    context: &Context,
    place: &Place,
) -> Result<Conversation, Stop> {
    if startup.newer || !startup.unknown_options.is_empty() {
        let version = startup.version.code();
        backend::negotiate_protocol_version(&mut link.channel.output, version, &startup.unknown_options);
    }
    let role: Role = authenticate(link, startup, peer, context).await?;
    place.check_reserve(role.superuser).map_err(Stop::Fatal)?;
    backend::authentication_ok(&mut link.channel.output);
    let request = ConnectRequest {
        user: startup.user.clone(),
        database: startup.database.clone(),
        settings: startup.settings.clone(),
        client_address: peer.client,
        server_address: peer.server,
    };
    let connected = link.during(context.service.connect(request)).await?;
    let mut conversation = connected.map_err(|error| Stop::Fatal(error.fatal()))?;
    link.terminate_on(conversation.termination());
    send_parameter_changes(&mut link.channel.output, &mut conversation);
    let secret = conversation.secret();
    let secret = secret.get(..startup.version.secret_bytes()).unwrap_or(secret);
    backend::backend_key_data(&mut link.channel.output, conversation.pid(), secret);
    info!(user = %startup.user, pid = conversation.pid(), "connection authorized");
    Ok(conversation)
}
