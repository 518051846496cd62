//! The server's configuration: defaults < file < environment < flags. Every key has a type, a default and a description.
//!
//! ```text
//! config.toml ─┐
//! LAKEGATE_SERVER__LISTEN ─┼─→ layers (key → text) ─→ Config (typed) ─→ check
//! --set server.listen=… ───┘
//! ```
//! An unknown key is an error wherever it stands. It knows no session settings: those of `[settings]` are checked by
//! `session`.

mod check;
mod keys;
mod layers;
#[cfg(test)]
pub(crate) mod page;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Result;
pub use keys::{
    FilesConfig, HttpConfig, KeyDescription, LakeConfig, LogConfig, MaintenanceConfig, MemoryConfig, QualityConfig,
    QueryConfig, ServerConfig,
};
pub use keys::{WarehouseConfig, describe};
pub use value::{Bytes, LogFormat, Secret, TlsVersion};

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// `--warehouse PATH|URL`
    pub warehouse: Option<String>,
    /// `--listen ADDR:PORT`
    pub listen: Option<String>,
    /// `--http ADDR:PORT`
    pub http: Option<String>,
    /// `--set key=value`, in order; they win over the other flags.
    pub set: Vec<String>,
}

/// The whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub server: ServerConfig,
    pub warehouse: WarehouseConfig,
    pub memory: MemoryConfig,
    pub query: QueryConfig,
    pub lake: LakeConfig,
    pub maintenance: MaintenanceConfig,
    pub files: FilesConfig,
    pub quality: QualityConfig,
    pub http: HttpConfig,
    pub log: LogConfig,
    /// `[settings]`: the server's values of session settings.
    pub settings: BTreeMap<String, String>,
}

impl Config {
    /// Reads all layers and checks the result. F0000 with the key's name, and the nearest one for an unknown key.
    pub fn load(flags: &Flags) -> Result<Self> {
        let file = flags.config.as_ref().map(|path| layers::read_file(path)).transpose()?;
        // Variables that are no Unicode cannot be ours; `std::env::vars` would panic on them.
        let variables = std::env::vars_os();
        let variables =
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from_layers(file.as_deref(), variables, flags)
    }

    /// The same from texts, for tests.
    pub fn from_layers(
        file: Option<&str>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Flags,
    ) -> Result<Self> {
        let mut config = Self::default();
        let file = file.map(layers::from_toml).transpose()?.unwrap_or_default();
        for layer in [file, layers::from_environment(environment), layers::from_flags(flags)?] {
            for entry in layer {
                config.assign(&entry)?;
            }
        }
        check::check(&config)?;
        Ok(config)
    }

    /// All keys, for the documentation.
    pub fn describe() -> Vec<KeyDescription> {
        describe()
    }

    /// The server's values of session settings: what the other sections decide, then `[settings]`.
    pub fn session_settings(&self) -> Vec<(String, String)> {
        let mut settings: Vec<(String, String)> = Vec::new();
        let mut put = |name: &str, value: String| settings.push((name.to_owned(), value));
        let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
        let hosts: Vec<String> = self.server.listen.iter().map(|address| address.ip().to_string()).collect();
        put("listen_addresses", hosts.join(","));
        if let Some(first) = self.server.listen.first() {
            put("port", first.port().to_string());
        }
        put("max_connections", self.server.connections_max.to_string());
        put("superuser_reserved_connections", self.server.superuser_reserved.to_string());
        put("authentication_timeout", format!("{}s", self.server.authentication_timeout.as_secs()));
        put("tcp_keepalives_idle", format!("{}s", self.server.tcp_keepalive.as_secs()));
        put("ssl", on_off(self.server.tls_certificate.is_some()));
        put("statement_timeout", format!("{}ms", self.query.statement_timeout.as_millis()));
        put("lakegate.batch_rows", self.query.batch_rows.to_string());
        put("lakegate.target_partitions", self.query.target_partitions.unwrap_or(0).to_string());
        put("lakegate.table_staleness", format!("{}ms", self.lake.table_staleness_ms));
        put("lakegate.catalog_staleness", format!("{}ms", self.lake.catalog_staleness_ms));
        settings.extend(self.settings.clone());
        settings
    }
}
