//! Object stores from URLs: one store object per bucket, counted, with time limits and retries.
//!
//! ```text
//! path, file://, s3://, gs://, az:// abfss://, memory://name  ──resolve──→ Resolved { store, path, url }
//! ```
//! Whoever asks first for a bucket makes its store; everybody else gets the same one. DataFusion has a registry of its own,
//! where a scan puts the store of its files under [`Resolved::url`].

pub(in crate::lake) mod bounds;
pub(super) mod confined;
pub mod counted;
#[cfg(test)]
pub mod faulty;
pub(super) mod local;
pub mod overlay;
pub mod probe;
pub(super) mod renamed;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::stream::BoxStream;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectMeta, ObjectStore, RetryConfig};
use parking_lot::Mutex;
use url::Url;

use super::live::Live;
use crate::error::{Error, Result, SqlState};
use bounds::{Bounds, Folder};
use counted::{Counted, Counters};
use local::LocalDisk;
pub use probe::probe_put_if_absent;

/// The longest that one request of a cloud store may take, its body included, and the making of a connection.
const LIMITS: &[(&str, &str)] = &[("timeout", "60 seconds"), ("connect_timeout", "5 seconds")];
const RETRY_TIMEOUT_SECONDS: u64 = 90;
const RETRIES_MAX: usize = 6;

/// What a place in the warehouse is kept with, instead of the warehouse's own URL.
const IN_WAREHOUSE: &str = "warehouse:";

/// What stands between container and account in the names of stores, as an `@` would in a URL.
const OF_ACCOUNT: &str = "%40";

/// Where a URL or path points to.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub store: Arc<dyn ObjectStore>,
    /// The key inside the store.
    pub path: Path,
    /// The store's own name for DataFusion, which tells stores apart by scheme, host and port: of Azure's long form the container
    /// is part of the host. People read `store_url`.
    pub url: ObjectStoreUrl,
    /// The whole location in its one normal form, without a slash at the end: the same text for the same place.
    pub location: Url,
    /// The files of the process's tables that are in use.
    pub(in crate::lake) live: Arc<Live>,
    /// What its log may name elsewhere.
    pub(in crate::lake) bounds: Arc<Bounds>,
    /// A transaction's own view of the table's log.
    pub log: Option<Arc<overlay::Overlay>>,
}

impl Resolved {
    /// The store as the table's log is read and written through it.
    pub fn log_store(&self) -> Arc<dyn ObjectStore> {
        match &self.log {
            Some(overlay) => Arc::clone(overlay) as Arc<dyn ObjectStore>,
            None => Arc::clone(&self.store),
        }
    }

    /// Whether it lies on a local disk.
    pub fn is_local(&self) -> bool {
        self.location.scheme() == "file"
    }

    /// The same text for all spellings that the schemes of its store allow: no URL to open.
    pub fn identity(&self) -> String {
        if self.is_local() {
            return self.location.to_string();
        }
        let (kind, bucket) = bounds::bucket(&self.location);
        format!("{kind}://{bucket}/{}", self.path)
    }

    /// Whether a bucket of that name, of whichever account and under whichever of its store's schemes, may be the place's.
    pub fn may_share_bucket(&self, other: &Self) -> bool {
        bounds::bucket(&self.location) == bounds::bucket(&other.location)
    }
}

/// Whether any kind of store knows an option of that name.
fn is_store_option(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.parse::<object_store::ClientConfigKey>().is_ok()
        || key.parse::<object_store::aws::AmazonS3ConfigKey>().is_ok()
        || key.parse::<object_store::azure::AzureConfigKey>().is_ok()
        || key.parse::<object_store::gcp::GoogleConfigKey>().is_ok()
}

/// The object stores of the process.
#[derive(Debug)]
pub struct Stores {
    warehouse: Url,
    options: HashMap<String, String>,
    by_bucket: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    /// Buckets whose put-if-absent was put to the test.
    trusted: Mutex<HashSet<String>>,
    counters: Arc<Counters>,
    live: Arc<Live>,
    bounds: Arc<Bounds>,
    /// Whether what is committed on a local disk is flushed to it.
    fsync: bool,
}

impl Stores {
    /// Stores with the warehouse at a path or URL. Options are object_store's configuration keys (`aws_endpoint`,
    /// `aws_region`, `allow_http`, …); what they leave open comes from the environment. A local folder is made.
    ///
    /// # Errors
    /// 22023 for a URL that cannot be read or a scheme that is not known; 58030 when the folder cannot be made.
    pub fn new(warehouse: &str, options: HashMap<String, String>) -> Result<Self> {
        Self::with_fsync(warehouse, options, true)
    }

    /// The same; without `fsync` a loss of power can damage what was written to a local disk.
    ///
    /// # Errors
    /// As [`Stores::new`].
    pub fn with_fsync(warehouse: &str, options: HashMap<String, String>, fsync: bool) -> Result<Self> {
        let url = location_url(warehouse)?;
        if let Ok(folder) = url.to_file_path() {
            std::fs::create_dir_all(&folder).map_err(|error| {
                let message = format!("could not create directory \"{}\": {error}", folder.display());
                Error::new(Error::from(error).sqlstate(), message)
            })?;
        }
        if let Some(unknown) = options.keys().find(|key| !is_store_option(key)) {
            let message = format!("unrecognized option \"{unknown}\" of the object store");
            return Err(Error::new(SqlState::ConfigFileError, message)
                .with_hint("Options have the names of the object_store crate, e.g. aws_region or allow_http."));
        }
        let path = Path::from_url_path(url.path()).map_err(|error| invalid(url.as_str(), &error.to_string()))?;
        // What lies in it is known by this text at the beginning of its own.
        let warehouse = normal(url, &path)?;
        let stores = Self {
            bounds: Arc::new(Bounds::new(Folder::new(warehouse.clone(), path))),
            warehouse,
            options,
            by_bucket: Mutex::default(),
            trusted: Mutex::default(),
            counters: Arc::new(Counters::default()),
            live: Arc::default(),
            fsync,
        };
        stores.warehouse()?;
        Ok(stores)
    }

    /// The folders of the server's disk that files must lie in; none means anywhere. Told once.
    pub fn confine(&self, roots: Vec<PathBuf>) {
        self.bounds.confine(roots);
    }

    /// The root of the warehouse.
    pub fn warehouse(&self) -> Result<Resolved> {
        self.resolve_url(self.warehouse.clone())
    }

    /// A place inside the warehouse, e.g. `tables/16384-…`; its path is a URL's.
    ///
    /// # Errors
    /// 22023 for a path that would lead out of it.
    pub fn in_warehouse(&self, relative: &str) -> Result<Resolved> {
        // A URL takes `%2e` for a dot, and of a disk a backslash for a slash.
        let is_step = |part: &str| matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        if relative.contains(|char: char| char == '\\' || char.is_ascii_control()) || relative.split('/').any(is_step) {
            return Err(invalid(&format!("{IN_WAREHOUSE}{relative}"), "its path leads out of the warehouse"));
        }
        let mut url = self.warehouse.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{relative}"));
        self.resolve_url(url)
    }

    /// The location as it is kept: what lies in the warehouse is named from its root, so that a warehouse that was moved or
    /// is mounted elsewhere still names its own tables.
    pub fn portable(&self, location: &str) -> String {
        let root = format!("{}/", self.warehouse.as_str().trim_end_matches('/'));
        match location.strip_prefix(&root) {
            // Only of a disk's URL backslashes are encoded already, and as they are they lead out of the warehouse.
            Some(relative) => format!("{IN_WAREHOUSE}{}", relative.trim_end_matches('/').replace('\\', "%5C")),
            None => location.to_owned(),
        }
    }

    /// The store and key of a URL or local path, or of a place in the warehouse (see [`Stores::portable`]); relative paths start at the process's directory.
    ///
    /// # Errors
    /// 22023 for what cannot be read, and what the store's builder refuses.
    pub fn resolve(&self, url_or_path: &str) -> Result<Resolved> {
        if let Some(relative) = url_or_path.strip_prefix(IN_WAREHOUSE) {
            return self.in_warehouse(relative);
        }
        self.resolve_url(location_url(url_or_path)?)
    }

    /// Tests once whether the place's store honours conditions; whoever commits there calls it first. Local disks and memory
    /// do. It writes and removes one object below the place.
    ///
    /// # Errors
    /// 55000 with a hint when the store cannot be trusted, and the store's errors.
    pub async fn trust(&self, place: &Resolved) -> Result<()> {
        let bucket = place.url.as_str();
        if matches!(place.location.scheme(), "file" | "memory") || self.trusted.lock().contains(bucket) {
            return Ok(());
        }
        let probed = probe_put_if_absent(place.store.as_ref(), &place.path.clone().join("_lakegate_probe")).await;
        probed.map_err(|error| unusable(place, &error))?;
        self.trusted.lock().insert(bucket.to_owned());
        Ok(())
    }

    /// Whether a commit there must flush the files that it names.
    pub(super) fn flushes(&self, place: &Resolved) -> bool {
        self.fsync && place.is_local()
    }

    /// Requests of all stores.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Registers every store known so far with a runtime.
    pub fn register(&self, runtime: &RuntimeEnv) {
        let known: Vec<_> = self.by_bucket.lock().iter().map(|(url, store)| (url.clone(), Arc::clone(store))).collect();
        for (url, store) in known {
            if let Ok(url) = Url::parse(&url) {
                runtime.register_object_store(&url, store);
            }
        }
    }

    /// Puts a store behind `memory://<name>`, so that a test can look into it or break it.
    #[cfg(test)]
    pub fn insert(&self, bucket: &str, store: Arc<dyn ObjectStore>) {
        self.by_bucket.lock().insert(bucket.to_owned(), Arc::new(Counted::new(store, Arc::clone(&self.counters))));
    }

    fn resolve_url(&self, url: Url) -> Result<Resolved> {
        check_bucket(&url)?;
        let bucket = bucket_of(&url);
        let store = self.store(&bucket, &url)?;
        let path = Path::from_url_path(url.path()).map_err(|error| invalid(url.as_str(), &error.to_string()))?;
        let store_url = ObjectStoreUrl::parse(&bucket).map_err(|error| invalid(&bucket, &error.to_string()))?;
        let location = normal(url, &path)?;
        Ok(Resolved {
            store,
            path,
            url: store_url,
            location,
            live: Arc::clone(&self.live),
            bounds: Arc::clone(&self.bounds),
            log: None,
        })
    }

    fn store(&self, bucket: &str, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let mut by_bucket = self.by_bucket.lock();
        if let Some(store) = by_bucket.get(bucket) {
            return Ok(Arc::clone(store));
        }
        let store: Arc<dyn ObjectStore> = Arc::new(Counted::new(self.build(url)?, Arc::clone(&self.counters)));
        by_bucket.insert(bucket.to_owned(), Arc::clone(&store));
        Ok(store)
    }

    fn build(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        match url.scheme() {
            "file" => Ok(Arc::new(LocalDisk::new(self.fsync))),
            "memory" => Ok(Arc::new(InMemory::new())),
            "s3" | "s3a" => self.s3(url),
            "gs" => self.gcs(url),
            "az" | "azure" | "abfs" | "abfss" | "adl" => self.azure(url),
            other => Err(invalid(url.as_str(), &format!("the scheme \"{other}\" is not known"))
                .with_hint("Use a path, or a URL that starts with file, s3, gs, az, abfss or memory.")),
        }
    }

    fn s3(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let builder = AmazonS3Builder::from_env().with_retry(retries());
        let builder = builder.with_conditional_put(S3ConditionalPut::ETagMatch);
        let builder = self.configured().fold(builder, |builder, (key, value)| builder.with_config(key, value));
        self.check_virtual_host(&builder, url)?;
        Ok(Arc::new(builder.with_url(url.as_str()).build()?))
    }

    /// A virtual-hosted endpoint stands for one bucket, and requests do not name theirs: by any other name it would be the warehouse, past its
    /// rights.
    fn check_virtual_host(&self, builder: &AmazonS3Builder, url: &Url) -> Result<()> {
        let value = |key| builder.get_config_value(&key);
        let is_on = |text: String| matches!(text.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y");
        let alone = value(AmazonS3ConfigKey::VirtualHostedStyleRequest).is_some_and(is_on)
            && value(AmazonS3ConfigKey::Endpoint).is_some();
        let is_s3 = |url: &Url| matches!(url.scheme(), "s3" | "s3a");
        if alone && is_s3(&self.warehouse) && self.warehouse.host_str() != url.host_str() {
            let why = "with a virtual-hosted endpoint no other bucket than the warehouse's is reached";
            return Err(invalid(url.as_str(), why));
        }
        Ok(())
    }

    fn gcs(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let builder = GoogleCloudStorageBuilder::from_env().with_retry(retries());
        let builder = self.configured().fold(builder, |builder, (key, value)| builder.with_config(key, value));
        Ok(Arc::new(builder.with_url(url.as_str()).build()?))
    }

    fn azure(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let builder = MicrosoftAzureBuilder::from_env().with_retry(retries());
        let builder = self.configured().fold(builder, |builder, (key, value)| builder.with_config(key, value));
        Ok(Arc::new(builder.with_url(url.as_str()).build()?))
    }

    /// Our limits and then the options, as far as that kind of store knows them; later ones win.
    fn configured<K: std::str::FromStr>(&self) -> impl Iterator<Item = (K, String)> {
        let limits = LIMITS.iter().map(|(key, value)| (*key, *value));
        let options = self.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        limits
            .chain(options)
            .filter_map(|(key, value)| Some((key.to_ascii_lowercase().parse().ok()?, value.to_owned())))
    }
}

/// Whether a store's own URL is that of the local disk.
pub(in crate::lake) fn is_local_disk(url: &ObjectStoreUrl) -> bool {
    url.as_str() == "file:///"
}

/// A store's URL as people write it, with a slash at the end.
pub(in crate::lake) fn store_url(url: &ObjectStoreUrl) -> String {
    url.as_str().replacen(OF_ACCOUNT, "@", 1)
}

/// All that can be read below a prefix of a store. The local disk's own listings leave out what links lead out to, because much of
/// what they find is removed; who reads would miss rows without a word.
pub(in crate::lake) fn list_linked(
    store: &Arc<dyn ObjectStore>,
    url: &ObjectStoreUrl,
    prefix: Option<&Path>,
) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
    // The disk's own listing reads nothing before it is polled: asking for it counts this one.
    let listed = store.list(prefix);
    if is_local_disk(url) { local::list_linked(prefix) } else { listed }
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES_MAX,
        retry_timeout: Duration::from_secs(RETRY_TIMEOUT_SECONDS),
    }
}

/// The URL of a URL or local path, with an absolute and clean path.
fn location_url(url_or_path: &str) -> Result<Url> {
    if url_or_path.is_empty() {
        return Err(invalid(url_or_path, "it is empty"));
    }
    if url_or_path.contains("://") {
        return Url::parse(url_or_path).map_err(|error| invalid(url_or_path, &error.to_string()));
    }
    let path = url_or_path.strip_prefix("file:").unwrap_or(url_or_path);
    let absolute = std::path::absolute(path)?;
    Url::from_file_path(clean(&absolute)).map_err(|()| invalid(url_or_path, "it is not a path"))
}

/// Takes `..` out of an absolute path without looking at the disk.
fn clean(path: &std::path::Path) -> std::path::PathBuf {
    let mut clean = std::path::PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            other @ (std::path::Component::Prefix(_)
            | std::path::Component::RootDir
            | std::path::Component::Normal(_)) => clean.push(other),
        }
    }
    clean
}

/// Refuses what the stores would read as another bucket than its text tells: a request's URL is decoded and cleaned once
/// more on its way, and `s3://./bucket/key` would be the key of that bucket.
fn check_bucket(url: &Url) -> Result<()> {
    let host = url.host_str().unwrap_or_default();
    let is_plain = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric() || matches!(first, '$' | '_'))
            && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | '$'))
    };
    let why = match url.scheme() {
        "file" if !host.is_empty() => "files of another host cannot be read or written",
        "file" | "memory" if !url.cannot_be_a_base() => return Ok(()),
        _ if url.cannot_be_a_base() => "it is not a path in a store",
        _ if !host.is_empty() && !is_plain(host) => "that is no name of a bucket",
        _ if url.password().is_some() => "a store takes no password here",
        // Elsewhere the client library looks at the host alone: what stands before it would hide which bucket is meant.
        "az" | "abfs" | "abfss" if !url.username().is_empty() && !host.contains('.') => {
            "after a container comes an account's host"
        }
        "az" | "abfs" | "abfss" if !url.username().is_empty() && !is_plain(url.username()) => {
            "that is no name of a container"
        }
        "az" | "abfs" | "abfss" => return Ok(()),
        _ if !url.username().is_empty() => "before its bucket stands a name",
        _ => return Ok(()),
    };
    Err(invalid(url.as_str(), why))
}

/// The one URL of a place: its path is written from what is opened, so that other spellings of it (`%77` for `w`, a query or
/// fragment that nobody looks at) cannot pass for another place.
fn normal(mut url: Url, path: &Path) -> Result<Url> {
    // The disk's paths lose tabs and newlines on their way, and `.<tab>.` would become a step upwards.
    if path.as_ref().contains(|char: char| char.is_ascii_control()) {
        return Err(invalid(url.as_str(), "its path has control characters"));
    }
    url.set_query(None);
    url.set_fragment(None);
    if path.as_ref().is_empty() {
        url.set_path("");
        return Ok(url);
    }
    match url.path_segments_mut() {
        Ok(mut segments) => {
            segments.clear().extend(path.parts());
        }
        Err(()) => return Err(invalid(path.as_ref(), "it is not a path in a store")),
    }
    Ok(url)
}

/// Scheme and bucket (with Azure's container), which tell stores apart, as a URL without anything before its host. No bucket has
/// a percent sign in its name, so that none has the name of another.
fn bucket_of(url: &Url) -> String {
    let user = if url.username().is_empty() { String::new() } else { format!("{}{OF_ACCOUNT}", url.username()) };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{user}{}{port}/", url.scheme(), url.host_str().unwrap_or_default())
}

/// The probe's key means nothing to whoever named the place.
fn unusable(place: &Resolved, why: &Error) -> Error {
    let message = format!("could not use \"{}\": {}", place.location, why.message());
    let error = Error::new(why.sqlstate(), message).with_source(why.clone());
    let error = why.detail().into_iter().fold(error, Error::with_detail);
    why.hint().into_iter().fold(error, Error::with_hint)
}

fn invalid(location: &str, why: &str) -> Error {
    Error::new(SqlState::InvalidParameterValue, format!("invalid location \"{location}\": {why}"))
}

#[cfg(test)]
mod tests;
