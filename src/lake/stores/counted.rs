//! An object store that counts what it is asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// What a store can be asked, for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Put,
    PutMultipart,
    Get,
    Head,
    Delete,
    List,
    Copy,
}

impl Operation {
    pub const ALL: [Self; 7] =
        [Self::Put, Self::PutMultipart, Self::Get, Self::Head, Self::Delete, Self::List, Self::Copy];

    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::PutMultipart => "put_multipart",
            Self::Get => "get",
            Self::Head => "head",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Copy => "copy",
        }
    }
}

/// How a request ended. `Conflict` is a refused condition (already exists, precondition), `Missing` an absent object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Missing,
    Conflict,
    Error,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Ok, Self::Missing, Self::Conflict, Self::Error];

    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::Error => "error",
        }
    }

    fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(object_store::Error::NotFound { .. }) => Self::Missing,
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Self::Conflict,
            Err(_) => Self::Error,
        }
    }
}

/// Requests by operation and outcome.
#[derive(Debug, Default)]
pub struct Counters([[AtomicU64; Outcome::ALL.len()]; Operation::ALL.len()]);

impl Counters {
    /// How many requests of that kind ended so.
    pub fn get(&self, operation: Operation, outcome: Outcome) -> u64 {
        self.cell(operation, outcome).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// All requests of that kind.
    pub fn total(&self, operation: Operation) -> u64 {
        Outcome::ALL.iter().map(|outcome| self.get(operation, *outcome)).sum()
    }

    fn count<T>(&self, operation: Operation, result: Result<T>) -> Result<T> {
        if let Some(cell) = self.cell(operation, Outcome::of(&result)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn cell(&self, operation: Operation, outcome: Outcome) -> Option<&AtomicU64> {
        self.0.get(operation as usize)?.get(outcome as usize)
    }
}

/// Passes every request on and counts it.
pub struct Counted {
    inner: Arc<dyn ObjectStore>,
    counters: Arc<Counters>,
}

impl Counted {
    pub fn new(inner: Arc<dyn ObjectStore>, counters: Arc<Counters>) -> Self {
        Self { inner, counters }
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.counters.count(Operation::Put, self.inner.put_opts(location, payload, opts).await)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.counters.count(Operation::PutMultipart, self.inner.put_multipart_opts(location, opts).await)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { Operation::Head } else { Operation::Get };
        self.counters.count(operation, self.inner.get_opts(location, options).await)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.counters.count(Operation::Get, self.inner.get_ranges(location, ranges).await)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let counters = Arc::clone(&self.counters);
        self.inner.delete_stream(locations).map(move |result| counters.count(Operation::Delete, result)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counters.count(Operation::List, Ok(())).ok();
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counters.count(Operation::List, Ok(())).ok();
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.counters.count(Operation::List, self.inner.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.counters.count(Operation::Copy, self.inner.copy_opts(from, to, options).await)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.counters.count(Operation::Copy, self.inner.rename_opts(from, to, options).await)
    }
}
