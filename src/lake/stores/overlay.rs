//! The store as one transaction sees it: the log of one table ends at the version that the transaction read, and the
//! commits that it makes lie in memory above that.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

/// Data files pass through; `<table>/_delta_log/` is overlaid.
pub struct Overlay {
    inner: Arc<dyn ObjectStore>,
    log: Path,
    /// Commits above it are other transactions': hidden.
    base_version: u64,
    staged: Mutex<BTreeMap<Path, Staged>>,
}

#[derive(Clone)]
struct Staged {
    bytes: Bytes,
    meta: ObjectMeta,
}

impl Overlay {
    /// Over the log of the table at `table`, whose newest visible version is `base_version`.
    pub fn new(inner: Arc<dyn ObjectStore>, table: &Path, base_version: u64) -> Self {
        let log = table.clone().join("_delta_log");
        Self { inner, log, base_version, staged: Mutex::default() }
    }

    /// Hides the commits of this transaction above a version again.
    pub fn cut(&self, version: u64) {
        self.staged.lock().retain(|path, _| self.version(path).is_none_or(|of| of <= version));
    }

    /// The version of a commit of this table's log.
    fn version(&self, path: &Path) -> Option<u64> {
        let mut rest = path.prefix_match(&self.log)?;
        let name = rest.next()?;
        let version = name.as_ref().strip_suffix(".json")?;
        if rest.next().is_some() { None } else { version.parse().ok() }
    }

    fn is_log(&self, path: &Path) -> bool {
        path.prefix_matches(&self.log)
    }

    /// What others wrote into the log after the transaction began, and hints of it.
    fn is_hidden(&self, path: &Path) -> bool {
        let Some(mut rest) = path.prefix_match(&self.log) else { return false };
        let Some(name) = rest.next() else { return false };
        let name = name.as_ref();
        if name == "_last_checkpoint" {
            return true;
        }
        let digits = name.split('.').next().unwrap_or(name);
        digits.parse::<u64>().is_ok_and(|version| version > self.base_version)
    }

    fn staged(&self, path: &Path) -> Option<Staged> {
        self.staged.lock().get(path).cloned()
    }

    fn staged_below(&self, prefix: Option<&Path>) -> Vec<ObjectMeta> {
        let staged = self.staged.lock();
        let below = staged.values().filter(|staged| prefix.is_none_or(|p| staged.meta.location.prefix_matches(p)));
        below.map(|staged| staged.meta.clone()).collect()
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Overlay({} from version {})", self.log, self.base_version)
    }
}

fn missing(path: &Path) -> Error {
    Error::NotFound { path: path.to_string(), source: "not part of this transaction".into() }
}

fn refused(what: &str) -> Error {
    Error::NotSupported { source: format!("{what} in the log of a table inside a transaction").into() }
}

#[async_trait]
impl ObjectStore for Overlay {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if !self.is_log(location) {
            return self.inner.put_opts(location, payload, opts).await;
        }
        let bytes = Bytes::from(payload);
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: Utc::now(),
            size: bytes.len() as u64,
            e_tag: None,
            version: None,
        };
        let mut staged = self.staged.lock();
        let there = staged.contains_key(location) || self.version(location).is_some_and(|v| v <= self.base_version);
        if there && matches!(opts.mode, PutMode::Create) {
            return Err(Error::AlreadyExists { path: location.to_string(), source: "a staged commit".into() });
        }
        staged.insert(location.clone(), Staged { bytes, meta });
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if self.is_log(location) {
            return Err(refused("a multipart upload"));
        }
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(Staged { bytes, meta }) = self.staged(location) {
            options.check_preconditions(&meta)?;
            let whole = 0..bytes.len() as u64;
            let range = match &options.range {
                Some(range) => range
                    .as_range(meta.size)
                    .map_err(|error| Error::Generic { store: "Overlay", source: Box::new(error) })?,
                None => whole,
            };
            let part = bytes.slice(range.start as usize..range.end as usize);
            let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(part) }).boxed());
            return Ok(GetResult { payload, meta, range, attributes: Default::default() });
        }
        if self.is_hidden(location) {
            return Err(missing(location));
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let log = self.log.clone();
        let checked = locations.map(move |path| {
            let path = path?;
            if path.prefix_matches(&log) { Err(refused("a deletion")) } else { Ok(path) }
        });
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let staged = self.staged_below(prefix);
        let (log, base_version) = (self.log.clone(), self.base_version);
        let visible = Self { inner: Arc::clone(&self.inner), log, base_version, staged: Mutex::default() };
        let stored = self.inner.list(prefix).try_filter(move |meta| {
            let hidden = visible.is_hidden(&meta.location);
            async move { !hidden }
        });
        stored.chain(futures::stream::iter(staged.into_iter().map(Ok))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut result = self.inner.list_with_delimiter(prefix).await?;
        result.objects.retain(|meta| !self.is_hidden(&meta.location));
        if prefix == Some(&self.log) {
            result.objects.extend(self.staged_below(prefix));
        }
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if self.is_log(to) || self.is_log(from) {
            return Err(refused("a copy"));
        }
        self.inner.copy_opts(from, to, options).await
    }
}
