//! The files of the catalog: `<prefix>/<version, 20 digits>.json`.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::FORMAT;
use crate::catalog::document::Document;
use crate::error::{Error, Result, SqlState};

/// So many of the newest versions stay, however old.
const KEEP_VERSIONS: u64 = 100;
/// And those that are younger than this stay, however many: a slow reader may still be at one.
const KEEP_AGE: Duration = Duration::from_secs(600);
/// Attempts of a put whose outcome is not known.
const PUT_ATTEMPTS_MAX: u32 = 4;

/// How a put-if-absent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    Done,
    /// Another document stands at that version.
    Taken,
}

/// The folder of versions.
#[derive(Debug, Clone)]
pub(super) struct Versions {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Versions {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { store, prefix }
    }

    /// The newest document, by listing the folder; `None` when there is no version at all.
    pub(super) async fn newest(&self) -> Result<Option<Document>> {
        // A version can be pruned between the listing and the read; then newer ones are there to be listed.
        for _ in 0..3 {
            let versions: Vec<(u64, ObjectMeta)> = self.list().await?;
            let Some(newest) = versions.iter().map(|(version, _)| *version).max() else { return Ok(None) };
            if let Some(document) = self.read(newest).await? {
                return Ok(Some(self.after(newest).await?.unwrap_or(document)));
            }
        }
        Err(Error::new(SqlState::IoError, "the newest version of the catalog vanished while it was read"))
    }

    /// The newest document after `version`, by asking for one version after the other; `None` when there is none.
    pub(super) async fn after(&self, version: u64) -> Result<Option<Document>> {
        let mut newest = None;
        let mut next = version + 1;
        while let Some(document) = self.read(next).await? {
            newest = Some(document);
            next += 1;
        }
        Ok(newest)
    }

    /// Puts the document at its version unless there is one. An unclear outcome is cleared up by reading back.
    pub(super) async fn put(&self, document: &Document) -> Result<Put> {
        let bytes = serde_json::to_vec(document)
            .map_err(|error| Error::internal(format!("the catalog cannot be written as JSON: {error}")))?;
        let mut attempt = 0;
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let result = self.store.put_opts(&self.path(document.version), bytes.clone().into(), options).await;
            let error = match result {
                Ok(_) => return Ok(Put::Done),
                Err(error) => error,
            };
            if let Some(standing) = self.read(document.version).await? {
                // Also after "already exists": an earlier attempt, or the client's own retry, may have been ours.
                return Ok(if standing.commit_id == document.commit_id { Put::Done } else { Put::Taken });
            }
            attempt += 1;
            if attempt >= PUT_ATTEMPTS_MAX {
                return Err(error.into());
            }
            tokio::time::sleep(super::pause(attempt)).await;
        }
    }

    /// Removes versions that are neither among the newest nor young.
    pub(super) async fn prune(&self, newest: u64) -> Result<()> {
        let now = chrono::Utc::now();
        let old = self.list().await?.into_iter().filter(|(version, meta)| {
            let age = (now - meta.last_modified).to_std().unwrap_or_default();
            version + KEEP_VERSIONS <= newest && age > KEEP_AGE
        });
        let paths: Vec<_> = old.map(|(_, meta)| Ok(meta.location)).collect();
        self.store.delete_stream(futures::stream::iter(paths).boxed()).try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(u64, ObjectMeta)>> {
        let listed: Vec<ObjectMeta> = match self.store.list(Some(&self.prefix)).try_collect().await {
            Ok(listed) => listed,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(listed.into_iter().filter_map(|meta| Some((version_of(&meta.location)?, meta))).collect())
    }

    async fn read(&self, version: u64) -> Result<Option<Document>> {
        let bytes = match self.store.get(&self.path(version)).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        decode(version, &bytes).map(Some)
    }

    fn path(&self, version: u64) -> Path {
        self.prefix.clone().join(format!("{version:020}.json"))
    }
}

fn version_of(path: &Path) -> Option<u64> {
    let digits = path.filename()?.strip_suffix(".json")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// Reads a document. The format comes first: a newer one may not fit our fields.
fn decode(version: u64, bytes: &[u8]) -> Result<Document> {
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| corrupt(version, &error))?;
    let format = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if format > u64::from(FORMAT) {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            format!("the catalog has format {format}, which is newer than this server's {FORMAT}"),
        )
        .with_hint("Upgrade this server."));
    }
    let document: Document = serde_json::from_value(value).map_err(|error| corrupt(version, &error))?;
    if document.version == version {
        return Ok(document);
    }
    Err(corrupt(version, &format!("it says that it is version {}", document.version)))
}

fn corrupt(version: u64, why: &dyn std::fmt::Display) -> Error {
    Error::new(SqlState::IoError, format!("version {version} of the catalog cannot be read"))
        .with_detail(why.to_string())
}
