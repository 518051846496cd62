//! delta-rs' way to the log of one table, kept to the table's folder. Data files and deletion vectors it opens by other ways, which
//! [`crate::lake::stores::bounds`] and [`crate::lake::scan`] keep.
//!
//! Whoever may write somewhere may write a log there, and what a log names is read with the server's rights. Some of it are URLs:
//! a sidecar of a checkpoint could be a file of another table's log, or make the server send a request to any host. So delta-rs
//! gets the kernel's engine behind the fence of [`super::engine`], and a store without anything but the folder.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::datasource::object_store::ObjectStoreUrl;
use delta_kernel::Engine;
use deltalake::DeltaResult;
use deltalake::kernel::Version;
use deltalake::kernel::transaction::TransactionError;
use deltalake::logstore::{CommitOrBytes, LogStore, LogStoreConfig, LogStoreRef, get_latest_version};
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;
use uuid::Uuid;

use super::engine::ConfinedEngine;
use crate::lake::stores::bounds::Folder;

/// Another log store with an engine that finds what lies in the table's folder only.
pub(super) struct ConfinedLog {
    inner: LogStoreRef,
    folder: Arc<Folder>,
}

impl ConfinedLog {
    /// The log store of the table in that folder.
    pub(super) fn new(inner: LogStoreRef, folder: Folder) -> Self {
        Self { inner, folder: Arc::new(folder) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl LogStore for ConfinedLog {
    /// The other one's: delta-rs tells by the name how commits are put.
    fn name(&self) -> String {
        self.inner.name()
    }

    async fn refresh(&self) -> DeltaResult<()> {
        self.inner.refresh().await
    }

    async fn read_commit_entry(&self, version: Version) -> DeltaResult<Option<Bytes>> {
        self.inner.read_commit_entry(version).await
    }

    async fn write_commit_entry(
        &self,
        version: Version,
        commit_or_bytes: CommitOrBytes,
        operation_id: Uuid,
    ) -> Result<(), TransactionError> {
        self.inner.write_commit_entry(version, commit_or_bytes, operation_id).await
    }

    async fn abort_commit_entry(
        &self,
        version: Version,
        commit_or_bytes: CommitOrBytes,
        operation_id: Uuid,
    ) -> Result<(), TransactionError> {
        self.inner.abort_commit_entry(version, commit_or_bytes, operation_id).await
    }

    /// Not the other one's, which would take its own engine.
    async fn get_latest_version(&self, start_version: Version) -> DeltaResult<Version> {
        get_latest_version(self, start_version).await
    }

    fn object_store(&self, operation_id: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.inner.object_store(operation_id)
    }

    fn root_object_store(&self, operation_id: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.inner.root_object_store(operation_id)
    }

    fn engine(&self, operation_id: Option<Uuid>) -> Arc<dyn Engine> {
        Arc::new(ConfinedEngine::new(self.inner.engine(operation_id), Arc::clone(&self.folder)))
    }

    fn to_uri(&self, location: &Path) -> String {
        self.inner.to_uri(location)
    }

    fn root_url(&self) -> &Url {
        self.inner.root_url()
    }

    fn log_path(&self) -> &Path {
        self.inner.log_path()
    }

    fn transaction_url(&self, operation_id: Option<Uuid>) -> DeltaResult<Url> {
        self.inner.transaction_url(operation_id)
    }

    async fn is_delta_table_location(&self) -> DeltaResult<bool> {
        self.inner.is_delta_table_location().await
    }

    fn config(&self) -> &LogStoreConfig {
        self.inner.config()
    }

    fn object_store_url(&self) -> ObjectStoreUrl {
        self.inner.object_store_url()
    }
}
