//! A store that fails where a test wants it to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Fails puts to order. Clones share the orders.
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    orders: Arc<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    fail: AtomicUsize,
    fail_after_effect: AtomicUsize,
    delay_ms: AtomicUsize,
    delay_gets_ms: AtomicUsize,
    /// Puts of keys without this text pass untouched.
    only: parking_lot::Mutex<String>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, orders: Arc::default() }
    }

    /// The next `puts` fail without an effect.
    pub fn fail_puts(&self, puts: usize) {
        self.orders.fail.store(puts, Ordering::SeqCst);
    }

    /// The next `puts` take effect and answer an error all the same.
    pub fn fail_puts_after_effect(&self, puts: usize) {
        self.orders.fail_after_effect.store(puts, Ordering::SeqCst);
    }

    /// Every put waits so long first.
    pub fn delay_puts(&self, delay: Duration) {
        self.orders.delay_ms.store(delay.as_millis() as usize, Ordering::SeqCst);
    }

    /// Every get waits so long first.
    pub fn delay_gets(&self, delay: Duration) {
        self.orders.delay_gets_ms.store(delay.as_millis() as usize, Ordering::SeqCst);
    }

    /// Orders hold for keys with this text only.
    pub fn only_keys_with(&self, text: &str) {
        text.clone_into(&mut self.orders.only.lock());
    }

    fn take(counter: &AtomicUsize) -> bool {
        counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn concerns(&self, location: &Path) -> bool {
        location.as_ref().contains(self.orders.only.lock().as_str())
    }
}

fn broken() -> Error {
    Error::Generic { store: "faulty", source: "the connection broke".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if !self.concerns(location) {
            return self.inner.put_opts(location, payload, opts).await;
        }
        let delay = self.orders.delay_ms.load(Ordering::SeqCst) as u64;
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if Self::take(&self.orders.fail) {
            return Err(broken());
        }
        let result = self.inner.put_opts(location, payload, opts).await;
        if result.is_ok() && Self::take(&self.orders.fail_after_effect) {
            return Err(broken());
        }
        result
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if self.concerns(location) && Self::take(&self.orders.fail) {
            return Err(broken());
        }
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let delay = self.orders.delay_gets_ms.load(Ordering::SeqCst) as u64;
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
