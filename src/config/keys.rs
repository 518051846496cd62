//! Every key: its section, name, type, default and description.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::layers::Entry;
use super::value::{Bytes, ConfigValue, LogFormat, Raw, Secret, TlsVersion};
use crate::error::{Error, Result, SqlState};

/// One key, for the documentation.
#[derive(Debug, Clone)]
pub struct KeyDescription {
    pub name: String,
    pub kind: &'static str,
    /// As it would be written; empty for none.
    pub default: String,
    pub description: &'static str,
}

macro_rules! sections {
    ($($(#[$about:meta])* $name:ident($section:literal) {
        $($key:ident: $ty:ty = $default:expr, $description:literal;)*
    })*) => {
        $(
            $(#[$about])*
            #[derive(Debug, Clone)]
            pub struct $name { $(#[doc = $description] pub $key: $ty,)* }

            impl Default for $name {
                fn default() -> Self { Self { $($key: $default,)* } }
            }

            impl $name {
                fn describe(list: &mut Vec<KeyDescription>) {
                    let defaults = Self::default();
                    $(list.push(KeyDescription {
                        name: format!("{}.{}", $section, stringify!($key)),
                        kind: <$ty as ConfigValue>::TYPE,
                        default: defaults.$key.shown(),
                        description: $description,
                    });)*
                }

                /// Whether the key is this section's; its value is then set, or why it is none is told.
                fn assign(&mut self, key: &str, raw: &Raw) -> Option<Result<(), String>> {
                    match key {
                        $(stringify!($key) => Some(ConfigValue::read(raw).map(|value| self.$key = value)),)*
                        _ => None,
                    }
                }
            }
        )*
    };
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

sections! {
    /// Who may connect, where, and how.
    ServerConfig("server") {
        listen: Vec<SocketAddr> = vec![loopback(5432)], "Addresses and ports to listen on.";
        superuser: String = "lakegate".to_owned(), "The superuser that the first start of a warehouse makes.";
        database: String = "lakegate".to_owned(), "The database that the first start of a warehouse makes.";
        superuser_password: Option<Secret> = None, "The superuser's password at the first start; without one it connects from loopback only.";
        connections_max: usize = 200, "How many clients may be connected.";
        superuser_reserved: usize = 3, "How many of these connections are kept for superusers.";
        authentication_timeout: Duration = Duration::from_secs(60), "How long a client may take to authenticate.";
        message_bytes_max: Bytes = Bytes::megabytes(256), "The largest message of a client.";
        shutdown_deadline: Duration = Duration::from_secs(30), "How long running statements may go on after SIGTERM.";
        allow_insecure_listen: bool = false, "Listen beyond loopback without TLS or with trust.";
        host_rules: Vec<String> = Vec::new(), "Lines as in pg_hba.conf, first match wins; empty trusts loopback and asks all others for a password.";
        tls_certificate: Option<PathBuf> = None, "Certificate chain of the server, PEM.";
        tls_key: Option<PathBuf> = None, "Private key of the server, PEM.";
        tls_client_ca: Option<PathBuf> = None, "Certificates that sign clients' certificates, PEM.";
        tls_version_min: TlsVersion = TlsVersion::Tls12, "The oldest version of TLS that is spoken: 1.2 or 1.3.";
        tcp_keepalive: Duration = Duration::from_secs(60), "Idle time before a client is probed; 0 turns it off.";
        tcp_user_timeout: Duration = Duration::ZERO, "How long a client may leave sent bytes unacknowledged; 0 leaves it to the system.";
    }

    /// Where the lake is.
    WarehouseConfig("warehouse") {
        url: String = "./lakegate-data".to_owned(), "Path or URL of the warehouse: file, s3, gs, az or memory.";
        storage: BTreeMap<String, String> = BTreeMap::new(), "Options of the object store, by their names in the object_store crate, e.g. storage.aws_endpoint.";
    }

    /// What statements may hold in memory and on disk.
    MemoryConfig("memory") {
        pool_bytes: Option<Bytes> = None, "Memory of all statements together; without it pool_fraction of the machine's or the cgroup's.";
        pool_fraction: f64 = 0.6, "The part of the memory that the pool takes when pool_bytes is not given.";
        spill_directory: Option<PathBuf> = None, "Folder for what does not fit in memory; the system's temporary folder without it.";
        spill_bytes_max: Bytes = Bytes(100 << 30), "How much may be spilled to disk at the same time.";
    }

    /// How statements run.
    QueryConfig("query") {
        target_partitions: Option<usize> = None, "Partitions of a query that run at the same time; the number of cores without it.";
        batch_rows: usize = 8192, "How many rows the engine works on at a time.";
        statement_timeout: Duration = Duration::ZERO, "The longest that a statement may run unless its session says otherwise; 0 is no limit.";
    }

    /// How tables are read, kept and written.
    LakeConfig("lake") {
        table_staleness_ms: u64 = 0, "How old the version of a table may be that a statement reads, in milliseconds; 0 reads the newest.";
        catalog_staleness_ms: u64 = 0, "How old the catalog may be that a statement reads, in milliseconds; 0 reads the newest.";
        table_cache_entries: usize = 1000, "How many loaded tables are kept.";
        metadata_cache_bytes: Bytes = Bytes::megabytes(256), "How much of Parquet footers is kept.";
        compression_level: i32 = 3, "Level of zstd in Parquet files, 1 to 22.";
        fsync: bool = true, "Whether a commit on a local disk is flushed to the disk before it is answered; without it a loss of power can damage tables.";
    }

    /// What is done for the tables in the background.
    MaintenanceConfig("maintenance") {
        enabled: bool = true, "Whether this server looks after the tables in the background.";
        interval: Duration = Duration::from_secs(60), "Time between two looks.";
        compaction_files_min: usize = 32, "So many small files in one partition of a managed table that this server writes are put together; 0 leaves them.";
        target_file_bytes: Bytes = Bytes::megabytes(256), "The size that files are put together to, here and by OPTIMIZE.";
        vacuum_interval: Duration = Duration::from_secs(24 * 3600), "Time between two removals of old files from all managed tables; 0 leaves them to VACUUM.";
        file_retention: Duration = Duration::from_secs(7 * 24 * 3600), "How long files stay that the newest version of their table does not have, unless its property delta.deletedFileRetentionDuration says otherwise, and artifacts that no model has, these for an hour at least.";
        dropped_retention: Duration = Duration::from_secs(24 * 3600), "How long the files of a dropped table stay.";
    }

    /// Files that statements read and write.
    FilesConfig("files") {
        roots: Vec<PathBuf> = Vec::new(), "Folders of the server's disk that COPY, read_csv and its kin, LOCATION and exports must stay in, also through symbolic links; empty for anywhere. No other user of the machine may write in them.";
        model_bytes_max: Bytes = Bytes(1 << 30), "The largest model that IMPORT MODEL reads.";
    }

    /// What is told of expectations.
    QualityConfig("quality") {
        webhook_url: Option<String> = None, "Where failed expectations are told, as a POST of JSON; nowhere without it.";
        webhook_secret: Option<Secret> = None, "Signs what the webhook gets: X-Lakegate-Signature is sha256= and the HMAC of the timestamp's header, a dot and the body.";
    }

    /// Health and metrics.
    HttpConfig("http") {
        listen: Option<SocketAddr> = None, "Address and port of /healthz, /readyz and /metrics; none without it.";
    }

    /// What the server says about itself.
    LogConfig("log") {
        format: LogFormat = LogFormat::Text, "text or json.";
        filter: String = "warn,lakegate=info".to_owned(), "Levels, as in RUST_LOG: warn,lakegate=info, or info,lakegate=debug.";
    }
}

/// A map: its keys go on after the map's own.
impl ConfigValue for BTreeMap<String, String> {
    const TYPE: &'static str = "map";
    fn read(_raw: &Raw) -> Result<Self, String> {
        Err("a name is expected after the key, e.g. warehouse.storage.aws_region".to_owned())
    }
    fn shown(&self) -> String {
        String::new()
    }
}

/// All keys, section by section.
pub fn describe() -> Vec<KeyDescription> {
    let mut list = Vec::new();
    ServerConfig::describe(&mut list);
    WarehouseConfig::describe(&mut list);
    MemoryConfig::describe(&mut list);
    QueryConfig::describe(&mut list);
    LakeConfig::describe(&mut list);
    MaintenanceConfig::describe(&mut list);
    FilesConfig::describe(&mut list);
    QualityConfig::describe(&mut list);
    HttpConfig::describe(&mut list);
    LogConfig::describe(&mut list);
    list.push(KeyDescription {
        name: "settings".to_owned(),
        kind: "map",
        default: String::new(),
        description: "The server's values of session settings, e.g. settings.TimeZone.",
    });
    list
}

impl Config {
    /// Sets one key. F0000 for an unknown key or a value of another type.
    pub(super) fn assign(&mut self, entry: &Entry) -> Result<()> {
        let Some((section, key)) = entry.key.split_once('.') else { return Err(unknown(entry)) };
        let done = match section {
            "server" => self.server.assign(key, &entry.value),
            "warehouse" => match key.strip_prefix("storage.") {
                Some(option) => Some(put(&mut self.warehouse.storage, option, &entry.value)),
                None => self.warehouse.assign(key, &entry.value),
            },
            "memory" => self.memory.assign(key, &entry.value),
            "query" => self.query.assign(key, &entry.value),
            "lake" => self.lake.assign(key, &entry.value),
            "maintenance" => self.maintenance.assign(key, &entry.value),
            "files" => self.files.assign(key, &entry.value),
            "quality" => self.quality.assign(key, &entry.value),
            "http" => self.http.assign(key, &entry.value),
            "log" => self.log.assign(key, &entry.value),
            "settings" => Some(put(&mut self.settings, key, &entry.value)),
            _ => None,
        };
        done.ok_or_else(|| unknown(entry))?.map_err(|expected| {
            let message = format!("invalid value for configuration key \"{}\": {expected}", entry.key);
            Error::new(SqlState::ConfigFileError, message).with_detail(format!("It is set {}.", entry.origin))
        })
    }
}

fn put(map: &mut BTreeMap<String, String>, key: &str, raw: &Raw) -> Result<(), String> {
    let text = match raw {
        Raw::One(text) => text.clone(),
        Raw::Many(items) => items.join(", "),
    };
    map.insert(key.to_owned(), text);
    Ok(())
}

fn unknown(entry: &Entry) -> Error {
    let names: Vec<String> = describe().into_iter().map(|key| key.name).collect();
    let nearest = names.iter().min_by_key(|name| distance(name, &entry.key)).cloned().unwrap_or_default();
    let section = entry.key.split('.').next().unwrap_or_default();
    let own: Vec<&String> = names.iter().filter(|name| name.split('.').next() == Some(section)).collect();
    let valid = if own.is_empty() { names.iter().collect() } else { own };
    let valid = valid.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    Error::new(SqlState::ConfigFileError, format!("unrecognized configuration key \"{}\"", entry.key))
        .with_detail(format!("It is set {}. Valid keys: {valid}.", entry.origin))
        .with_hint(format!("Did you mean \"{nearest}\"?"))
}

/// Levenshtein's distance, in bytes.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, a) in left.bytes().enumerate() {
        let mut diagonal = at;
        let mut before = at + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(right.bytes()) {
            let least = (diagonal + usize::from(a != b)).min(*cell + 1).min(before + 1);
            diagonal = std::mem::replace(cell, least);
            before = least;
        }
    }
    row.last().copied().unwrap_or(0)
}
