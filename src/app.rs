//! The composition root: builds each service once, hands it on, and ends everything in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::auth::{HostRules, check_exposure, scram};
use crate::catalog::{Bootstrap, Catalog};
use crate::config::Config;
use crate::console::{self, Phase, Readiness};
use crate::engine::{Engine, EngineOptions, ThreadsRunner, machine_memory_bytes};
use crate::error::{Error, Result, SqlState};
use crate::execute::maintenance::{self, Habits};
use crate::execute::{self, Decisions, FileAccess, Ground, complete};
use crate::lake::stores::counted::{Operation, Outcome};
use crate::lake::{Lake, LakeOptions, Stores};
use crate::observe::{Metrics, Source, Webhook, WebhookSettings};
use crate::query::{Service, refresher};
use crate::server::{self, ClientCertificates, Counters, ServerConfig, TlsFiles, TlsSettings};
use crate::session::Registry;
use crate::session::registry::Limits;
use crate::session::settings::ServerSettings;

/// Memory taken for granted where the system does not tell.
const MEMORY_UNKNOWN_BYTES: u64 = 4 << 30;
const ENGINE_THREADS_PER_CORE: usize = 4;
const ENGINE_THREADS_MIN: usize = 8;
/// Stack of the engine's threads. Pages that were never touched cost nothing.
const ENGINE_STACK_BYTES: usize = 64 * 1024 * 1024;
/// Time that background work has to end.
const UPKEEP_END: Duration = Duration::from_secs(2);
/// Time that the last results of expectations have to get into their log.
const RESULTS_END: Duration = Duration::from_secs(10);
/// Results of expectations wait so long for others that go into the same commit.
const RESULTS_PAUSE: Duration = Duration::from_secs(1);
/// Time after a failure to log them.
const RESULTS_AGAIN: Duration = Duration::from_secs(10);
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Where the catalog is in the warehouse.
const CATALOG_FOLDER: &str = "_lakegate/catalog";

/// A server that is ready to accept.
pub struct App {
    service: Arc<Service>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    http: Option<TcpListener>,
    server: Arc<ServerConfig>,
    readiness: Arc<Readiness>,
    /// What is done for the tables in the background, if anything is.
    habits: Option<Habits>,
}

/// SIGTERM and SIGINT end the server, SIGHUP reads its certificates again.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// A file grew beyond the process's limit: who writes it is told so, and nobody ends.
    _file_size: Signal,
}

impl Signals {
    /// Must be called inside the runtime, before the server says that it is ready.
    pub fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }
}

/// Checks what can be checked without starting: values of settings, host rules, certificates, exposure.
pub fn check(config: &Config) -> Result<()> {
    server_settings(config)?;
    let rules = host_rules(config)?;
    let tls = tls(config)?;
    check_exposure(&config.server.listen, tls.is_some(), &rules, config.server.allow_insecure_listen)
}

fn habits(config: &Config) -> Option<Habits> {
    let maintenance = &config.maintenance;
    maintenance.enabled.then(|| Habits {
        interval: maintenance.interval.max(INTERVAL_MIN),
        compaction_files_min: Some(maintenance.compaction_files_min).filter(|files| *files > 1),
        vacuum_interval: Some(maintenance.vacuum_interval).filter(|interval| !interval.is_zero()),
        dropped_retention: maintenance.dropped_retention,
    })
}

/// The services below the road, on the configured warehouse.
pub async fn ground(config: &Config, metrics: Arc<Metrics>) -> Result<Ground> {
    let stores = Arc::new(Stores::with_fsync(
        &config.warehouse.url,
        config.warehouse.storage.clone().into_iter().collect(),
        config.lake.fsync,
    )?);
    // A store that ignores put-if-absent would lose commits: it is found out before anything is written.
    stores.trust(&stores.warehouse()?).await?;
    let options = engine_options(config);
    // More spare threads than cores: an operator that computes for long without giving way holds one, and others must run.
    let runner = ThreadsRunner::start(
        options.target_partitions,
        (ENGINE_THREADS_PER_CORE * options.target_partitions).max(ENGINE_THREADS_MIN),
        ENGINE_STACK_BYTES,
    )?;
    let engine = Arc::new(Engine::new(&options, Arc::new(runner))?);
    stores.register(engine.runtime());
    let bootstrap = Bootstrap {
        superuser: config.server.superuser.clone(),
        database: config.server.database.clone(),
        verifier: match &config.server.superuser_password {
            Some(password) => Some(scram::verifier_to_store(&password.0, scram::ITERATIONS)?),
            None => None,
        },
    };
    let folder = stores.in_warehouse(CATALOG_FOLDER)?;
    let catalog = Catalog::open(folder.store, folder.path, bootstrap).await?;
    let options = LakeOptions {
        cached_tables_max: config.lake.table_cache_entries,
        zstd_level: config.lake.compression_level,
        retention: config.maintenance.file_retention,
        target_bytes: config.maintenance.target_file_bytes.0.max(1),
        ..LakeOptions::default()
    };
    stores.confine(config.files.roots.clone());
    let lake = Lake::new(stores, options);
    lake.decide_by(Decisions::new(&catalog));
    lake.count_models_in(engine.memory_pool());
    let files = FileAccess {
        roots: config.files.roots.clone(),
        warehouse: Some(lake.stores().warehouse()?),
        model_bytes_max: config.files.model_bytes_max.0,
    };
    let webhook = webhook(config, &metrics)?;
    Ok(Ground { catalog, lake, engine, files, metrics, webhook })
}

/// It goes on until the process ends: what waits for a receiver then is lost, and stands in the tables.
fn webhook(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<Webhook>> {
    let Some(url) = config.quality.webhook_url.clone() else { return Ok(None) };
    let secret = config.quality.webhook_secret.as_ref().map(|secret| secret.0.clone());
    Ok(Some(Webhook::start(WebhookSettings { url, secret }, metrics)?))
}

/// The service that clients and scripts talk to.
pub async fn service(config: &Config) -> Result<Arc<Service>> {
    let settings = Arc::new(server_settings(config)?);
    let metrics = Metrics::new()?;
    let ground = Arc::new(ground(config, Arc::clone(&metrics)).await?);
    // What a crash left of temporary tables is no reason not to start.
    if let Err(error) = Box::pin(execute::temporary::sweep(&ground)).await {
        tracing::warn!(%error, "could not remove abandoned temporary tables");
    }
    if let Err(error) = Box::pin(ground.lake.complete_logs()).await {
        tracing::warn!(%error, "could not complete the logs of an earlier version");
    }
    let registry = Registry::new(Limits {
        connections_max: config.server.connections_max,
        superuser_reserved: config.server.superuser_reserved,
    });
    poll_ground(&metrics, &ground)?;
    let unfinished = Arc::clone(&ground);
    tokio::spawn(async move { complete(&unfinished).await });
    tokio::spawn(log_results(Arc::clone(&ground)));
    Ok(Service::new(ground, registry, settings, metrics))
}

fn server_settings(config: &Config) -> Result<ServerSettings> {
    config.settings.keys().try_for_each(|name| ServerSettings::check_configurable(name))?;
    let settings = config.session_settings();
    ServerSettings::new(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

fn host_rules(config: &Config) -> Result<HostRules> {
    if config.server.host_rules.is_empty() {
        return Ok(HostRules::default());
    }
    config.server.host_rules.join("\n").parse()
}

fn tls(config: &Config) -> Result<Option<Arc<TlsFiles>>> {
    let server = &config.server;
    let (Some(certificate), Some(key)) = (&server.tls_certificate, &server.tls_key) else { return Ok(None) };
    let client_certificates = match &server.tls_client_ca {
        Some(ca) => ClientCertificates::Optional { ca: ca.clone() },
        None => ClientCertificates::Ignored,
    };
    let settings = TlsSettings {
        certificate: certificate.clone(),
        key: key.clone(),
        client_certificates,
        version_min: match server.tls_version_min {
            crate::config::TlsVersion::Tls12 => server::TlsVersion::V1_2,
            crate::config::TlsVersion::Tls13 => server::TlsVersion::V1_3,
        },
    };
    Ok(Some(Arc::new(TlsFiles::load(settings)?)))
}

fn engine_options(config: &Config) -> EngineOptions {
    let memory = &config.memory;
    let machine = machine_memory_bytes().unwrap_or(MEMORY_UNKNOWN_BYTES);
    let share = (machine as f64 * memory.pool_fraction) as u64;
    let pool = memory.pool_bytes.map_or(share, |bytes| bytes.0);
    EngineOptions {
        pool_bytes: usize::try_from(pool).unwrap_or(usize::MAX),
        spill_directory: memory.spill_directory.clone(),
        spill_bytes_max: memory.spill_bytes_max.0,
        metadata_cache_bytes: config.lake.metadata_cache_bytes.as_usize(),
        target_partitions: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Puts results of expectations into their log while the process lives; [`finish`] does the last.
async fn log_results(ground: Arc<Ground>) {
    loop {
        ground.lake.expectations_waiting().await;
        tokio::time::sleep(RESULTS_PAUSE).await;
        while let Err(error) = flush_results(&ground).await {
            tracing::warn!(%error, "results of expectations could not be logged");
            tokio::time::sleep(RESULTS_AGAIN).await;
        }
    }
}

async fn flush_results(ground: &Ground) -> Result<()> {
    let lake = Arc::clone(&ground.lake);
    ground.engine.compute(async move { lake.flush_expectations().await }).await
}

/// What is left to do when no statement runs any more.
pub async fn finish(ground: &Ground) {
    match tokio::time::timeout(RESULTS_END, flush_results(ground)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "results of expectations are lost"),
        Err(_) => tracing::error!("results of expectations are lost: the store does not answer"),
    }
}

/// Figures of the ground that a scrape asks for.
fn poll_ground(metrics: &Metrics, ground: &Arc<Ground>) -> Result<()> {
    let engine = Arc::clone(&ground.engine);
    metrics.poll(Source::MemoryPoolReserved, move || engine.memory().0 as u64)?;
    let engine = Arc::clone(&ground.engine);
    metrics.poll(Source::MemoryPoolLimit, move || engine.memory().1 as u64)?;
    let engine = Arc::clone(&ground.engine);
    metrics.poll(Source::SpilledBytes, move || engine.spilled_bytes())?;
    for (source, place) in
        [Source::TableCacheHits, Source::TableCacheMisses, Source::TableCacheEntries].into_iter().zip(0..)
    {
        let lake = Arc::clone(&ground.lake);
        metrics.poll(source, move || lake.cache_figures().get::<usize>(place).copied().unwrap_or(0))?;
    }
    let counters = Arc::clone(ground.lake.stores().counters());
    metrics.poll_store(move || {
        let kinds = Operation::ALL.into_iter().flat_map(|operation| Outcome::ALL.map(|outcome| (operation, outcome)));
        kinds
            .map(|(operation, outcome)| (operation.as_str(), outcome.as_str(), counters.get(operation, outcome)))
            .collect()
    });
    Ok(())
}

/// Figures of the connections.
fn poll_connections(metrics: &Metrics, counters: &Arc<Counters>) -> Result<()> {
    let poll = |source, ask: fn(&Counters) -> u64| {
        let counters = Arc::clone(counters);
        metrics.poll(source, move || ask(&counters))
    };
    poll(Source::ConnectionsOpen, |counters| counters.connections_open.load(Ordering::Relaxed))?;
    poll(Source::ConnectionsTotal, |counters| counters.connections_total.load(Ordering::Relaxed))?;
    poll(Source::ConnectionsRejected, |counters| counters.connections_refused.load(Ordering::Relaxed))?;
    poll(Source::AuthenticationsFailed, |counters| counters.authentications_failed.load(Ordering::Relaxed))?;
    poll(Source::TlsHandshakesFailed, |counters| counters.tls_handshakes_failed.load(Ordering::Relaxed))?;
    poll(Source::CancelRequests, |counters| counters.cancel_requests.load(Ordering::Relaxed))?;
    poll(Source::MessagesReceived, |counters| counters.messages_received.load(Ordering::Relaxed))?;
    poll(Source::BytesReceived, |counters| counters.bytes_received.load(Ordering::Relaxed))?;
    poll(Source::BytesSent, |counters| counters.bytes_sent.load(Ordering::Relaxed))
}

impl App {
    /// Builds everything and binds the ports; clients are accepted by [`App::run`].
    pub async fn start(config: &Config) -> Result<Self> {
        let rules = host_rules(config)?;
        let tls = tls(config)?;
        let allowed = config.server.allow_insecure_listen;
        check_exposure(&config.server.listen, tls.is_some(), &rules, allowed)?;
        let service = service(config).await?;
        let listeners = server::bind(&config.server.listen)?;
        let addresses = listeners.iter().map(|listener| Ok(listener.local_addr()?)).collect::<Result<Vec<_>>>()?;
        let counters = Arc::<Counters>::default();
        poll_connections(service.metrics(), &counters)?;
        let server = ServerConfig {
            connections_max: config.server.connections_max,
            superuser_reserved: config.server.superuser_reserved,
            authentication_timeout: config.server.authentication_timeout,
            message_bytes_max: config.server.message_bytes_max.as_usize(),
            shutdown_deadline: config.server.shutdown_deadline,
            tls,
            host_rules: rules,
            tcp_user_timeout: config.server.tcp_user_timeout,
            tcp_keepalive: config.server.tcp_keepalive,
            counters,
        };
        let http = match config.http.listen {
            Some(address) => Some(TcpListener::bind(address).await.map_err(|error| {
                Error::new(SqlState::IoError, format!("could not listen on {address}: {error}")).with_source(error)
            })?),
            None => None,
        };
        let probed = Arc::clone(&service);
        let readiness = Arc::new(Readiness::new(move || {
            let service = Arc::clone(&probed);
            async move { service.probe().await }
        }));
        let habits = habits(config);
        Ok(Self { service, listeners, addresses, http, server: Arc::new(server), readiness, habits })
    }

    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Where clients connect.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Accepts clients until a signal; then running statements may finish until the deadline.
    pub async fn run(self, mut signals: Signals) -> Result<()> {
        let shutdown = CancellationToken::new();
        let http_shutdown = CancellationToken::new();
        let http = self.http.map(|listener| {
            let metrics = Arc::clone(self.service.metrics());
            tokio::spawn(console::run(listener, metrics, Arc::clone(&self.readiness), http_shutdown.clone()))
        });
        let ground = Arc::clone(self.service.ground());
        let served = Arc::clone(&ground);
        let refresher = self.habits.as_ref().map(|habits| {
            let service = Arc::clone(&self.service);
            tokio::spawn(refresher::run(service, habits.interval, shutdown.clone()))
        });
        let upkeep = self.habits.map(|habits| tokio::spawn(maintenance::run(ground, habits, shutdown.clone())));
        let tls = self.server.tls.clone();
        let serving = server::run(self.listeners, self.server, Arc::clone(&self.service), shutdown.clone());
        tokio::pin!(serving);
        self.readiness.set(Phase::Serving);
        let done = loop {
            tokio::select! {
                done = &mut serving => break done,
                _ = signals.terminate.recv(), if !shutdown.is_cancelled() => {
                    tracing::info!("shutting down");
                    self.readiness.set(Phase::ShuttingDown);
                    shutdown.cancel();
                }
                _ = signals.interrupt.recv(), if !shutdown.is_cancelled() => {
                    tracing::info!("shutting down");
                    self.readiness.set(Phase::ShuttingDown);
                    shutdown.cancel();
                }
                _ = signals.hangup.recv() => {
                    match tls.as_ref().map(|tls| tls.reload()) {
                        Some(Ok(())) => tracing::info!("TLS certificate reloaded"),
                        Some(Err(error)) => tracing::warn!(%error, "could not load the certificates again"),
                        None => {}
                    }
                }
            }
        };
        shutdown.cancel();
        for mut background in [upkeep, refresher].into_iter().flatten() {
            if tokio::time::timeout(UPKEEP_END, &mut background).await.is_err() {
                background.abort();
            }
        }
        finish(&served).await;
        http_shutdown.cancel();
        if let Some(http) = http {
            let _ = tokio::time::timeout(Duration::from_secs(1), http).await;
        }
        done
    }
}
