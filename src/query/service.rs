//! The one service of a process that clients talk to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::conversation::Conversation;
use crate::catalog::{Role, Snapshot};
use crate::error::{Error, Result, SqlState};
use crate::execute::Ground;
use crate::observe::Metrics;
use crate::session::registry::Newcomer;
use crate::session::settings::ServerSettings;
use crate::session::{Registry, Session, Settings};

/// Catalog, lake, engine and the registry of sessions.
#[derive(Debug)]
pub struct Service {
    pub(super) ground: Arc<Ground>,
    pub(super) registry: Arc<Registry>,
    pub(super) settings: Arc<ServerSettings>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) started: DateTime<Utc>,
}

/// What a client says when it connects, after authentication.
#[derive(Debug, Clone, Default)]
pub struct ConnectRequest {
    pub user: String,
    /// `None`: the same name as the user, as in PostgreSQL.
    pub database: Option<String>,
    /// Startup parameters other than user, database, replication; `options` already split into its `-c name=value`.
    pub settings: Vec<(String, String)>,
    pub client_address: Option<SocketAddr>,
    pub server_address: Option<SocketAddr>,
}

impl Service {
    pub fn new(
        ground: Arc<Ground>,
        registry: Arc<Registry>,
        settings: Arc<ServerSettings>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self { ground, registry, settings, metrics, started: Utc::now() })
    }

    /// The role of that name on a fresh catalog, for authentication.
    pub async fn role(&self, name: &str) -> Result<Option<Role>> {
        let snapshot = self.ground.catalog.fresh(Duration::ZERO).await?;
        Ok(snapshot.roles.get(name).cloned())
    }

    /// Opens a session. 3D000 for another database, 28000 for a role that is gone, 42704 or 22023 for a bad setting,
    /// 53300 over a limit of connections. All of them FATAL.
    pub async fn connect(self: &Arc<Self>, request: ConnectRequest) -> Result<Conversation> {
        self.open(request).await.map_err(Error::fatal)
    }

    async fn open(self: &Arc<Self>, request: ConnectRequest) -> Result<Conversation> {
        let snapshot = self.ground.catalog.snapshot();
        let database = request.database.as_deref().unwrap_or(&request.user);
        if database != snapshot.database.name {
            let message = format!("database \"{database}\" does not exist");
            return Err(Error::new(SqlState::InvalidCatalogName, message));
        }
        let Some(role) = snapshot.roles.get(&request.user) else {
            let message = format!("role \"{}\" does not exist", request.user);
            return Err(Error::new(SqlState::InvalidAuthorizationSpecification, message));
        };
        let newcomer = Newcomer {
            user: request.user.clone(),
            superuser: role.superuser,
            connection_limit: role.connection_limit,
            database: database.to_owned(),
            client_address: request.client_address,
        };
        let registration = self.registry.register(newcomer)?;
        let mut settings = Settings::new(Arc::clone(&self.settings));
        settings.initialize("session_authorization", &request.user, role.superuser, true)?;
        settings.initialize("is_superuser", if role.superuser { "on" } else { "off" }, role.superuser, true)?;
        for (name, value) in &request.settings {
            settings.initialize(name, value, role.superuser, false)?;
        }
        let session = Session::new(registration, settings, request.server_address);
        Ok(Conversation::new(Arc::clone(self), session))
    }

    /// CancelRequest: cancels the running statement of that session if the secret is right; silent otherwise.
    pub fn cancel(&self, pid: i32, secret: &[u8]) {
        self.registry.cancel(pid, secret);
    }

    /// The newest catalog that this server knows.
    pub fn catalog_snapshot(&self) -> Snapshot {
        self.ground.catalog.snapshot()
    }

    /// Asks the warehouse for something small: whether it answers.
    pub async fn probe(&self) -> Result<()> {
        self.ground.catalog.fresh(Duration::ZERO).await.map(drop)
    }

    /// The services below the road.
    pub fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }

    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}
