//! The catalog over its versions in the warehouse: open, look for newer ones, commit by put-if-absent.

mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::RwLock;
use rand::Rng;

use super::document::{
    BOOTSTRAP_ROLE_OID, Database, Document, FIRST_USER_OID, PUBLIC_SCHEMA_OID, Role, Schema, Snapshot,
};
use crate::error::{Error, Result, SqlState};
use versions::{Put, Versions};

/// The format that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

/// Attempts of one change before it ends with 40001.
const ATTEMPTS_MAX: u32 = 30;
/// OIDs taken at a time for transactions: each time costs a version.
const SPARE_OIDS: u32 = 4096;
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// A probe of the next version alone would miss it if versions were pruned meanwhile; after this time the folder is listed.
const LIST_AFTER: Duration = Duration::from_secs(300);
/// Old versions are looked for once in so many commits.
const PRUNE_EVERY_VERSIONS: u64 = 20;

/// What the first version of a catalog holds.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    pub superuser: String,
    pub database: String,
    /// The superuser's SCRAM verifier, if it has a password.
    pub verifier: Option<String>,
}

/// The newest known catalog, and the way to change it. Shared by all sessions.
#[derive(Debug)]
pub struct Catalog {
    versions: Versions,
    current: RwLock<Current>,
    /// Held while somebody asks the store for a newer version: all others wait for that one answer.
    probe: tokio::sync::Mutex<()>,
    /// Changes of this process queue here instead of racing each other in the store.
    writer: tokio::sync::Mutex<()>,
    /// OIDs that were taken for transactions of this process and not used.
    spare_oids: parking_lot::Mutex<std::ops::Range<u32>>,
}

#[derive(Debug)]
struct Current {
    snapshot: Snapshot,
    /// When the question was asked whose answer `snapshot` is.
    checked: Instant,
    listed: Instant,
}

impl Catalog {
    /// Opens the catalog under `prefix`, and makes its first version if there is none. Two servers may do so at once.
    ///
    /// # Errors
    /// 58030 when the newest version cannot be read, 0A000 when a newer program wrote it, and the store's errors.
    pub async fn open(store: Arc<dyn ObjectStore>, prefix: Path, bootstrap: Bootstrap) -> Result<Arc<Self>> {
        let versions = Versions::new(store, prefix);
        let now = Instant::now();
        let document = match versions.newest().await? {
            Some(document) => document,
            None => make_first(&versions, bootstrap).await?,
        };
        let current = Current { snapshot: Arc::new(document), checked: now, listed: now };
        Ok(Arc::new(Self {
            versions,
            current: RwLock::new(current),
            probe: tokio::sync::Mutex::new(()),
            writer: tokio::sync::Mutex::new(()),
            spare_oids: parking_lot::Mutex::new(0..0),
        }))
    }

    /// The newest version that is known here, without asking the store.
    pub fn snapshot(&self) -> Snapshot {
        Arc::clone(&self.current.read().snapshot)
    }

    /// The newest version, or one that was the newest at most `staleness` ago. Callers at the same time share one request.
    pub async fn fresh(&self, staleness: Duration) -> Result<Snapshot> {
        let asked = Instant::now();
        if let Some(snapshot) = self.checked_since(asked, staleness) {
            return Ok(snapshot);
        }
        let _one_asks = self.probe.lock().await;
        if let Some(snapshot) = self.checked_since(asked, staleness) {
            return Ok(snapshot);
        }
        self.refresh().await
    }

    /// Changes the catalog: the closure gets the newest document, and again a newer one if another server was faster.
    ///
    /// # Errors
    /// The closure's, unchanged; 40001 when every attempt was overtaken; the store's errors.
    ///
    /// Dropping the future before it ends may leave the change done or not done, never half done.
    pub async fn update<T>(&self, mut change: impl FnMut(&mut Document) -> Result<T> + Send) -> Result<T> {
        let _one_writes = self.writer.lock().await;
        for attempt in 0..ATTEMPTS_MAX {
            let base = self.refresh().await?;
            let mut document = Document::clone(&base);
            let answer = change(&mut document)?;
            document.check_references(&base)?;
            document.version = base.version + 1;
            document.format = FORMAT;
            document.commit_id = uuid::Uuid::new_v4().to_string();
            match self.versions.put(&document).await? {
                Put::Done => {
                    self.committed(document);
                    return Ok(answer);
                }
                Put::Taken => tokio::time::sleep(pause(attempt)).await,
            }
        }
        Err(Error::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
            .with_detail("The catalog was changed by others each time it was about to be committed.")
            .with_hint("Try the statement again."))
    }

    /// The first of so many OIDs that nobody else takes.
    ///
    /// # Errors
    /// As [`Catalog::update`].
    pub async fn take_oids(&self, count: u32) -> Result<u32> {
        let take = |range: &mut std::ops::Range<u32>| {
            let first = range.start;
            (range.len() >= count as usize).then(|| {
                range.start += count;
                first
            })
        };
        if let Some(first) = take(&mut self.spare_oids.lock()) {
            return Ok(first);
        }
        let size = count.max(SPARE_OIDS);
        let taken = self
            .update(|document| {
                let first = document.next_oid;
                document.next_oid = first.saturating_add(size);
                Ok(first..document.next_oid)
            })
            .await?;
        let mut spare = self.spare_oids.lock();
        *spare = taken;
        take(&mut spare)
            .ok_or_else(|| Error::new(SqlState::ProgramLimitExceeded, "there are no object identifiers left"))
    }

    fn checked_since(&self, asked: Instant, staleness: Duration) -> Option<Snapshot> {
        let current = self.current.read();
        let good = current.checked >= asked || (!staleness.is_zero() && asked - current.checked <= staleness);
        good.then(|| Arc::clone(&current.snapshot))
    }

    /// Asks the store for newer versions.
    async fn refresh(&self) -> Result<Snapshot> {
        let asked = Instant::now();
        let (known, listed) = {
            let current = self.current.read();
            (Arc::clone(&current.snapshot), current.listed)
        };
        let list = asked.saturating_duration_since(listed) > LIST_AFTER;
        let found = if list { self.versions.newest().await? } else { self.versions.after(known.version).await? };
        let mut current = self.current.write();
        if let Some(document) = found.filter(|document| document.version > current.snapshot.version) {
            current.snapshot = Arc::new(document);
        }
        current.checked = current.checked.max(asked);
        if list {
            current.listed = asked;
        }
        Ok(Arc::clone(&current.snapshot))
    }

    fn committed(&self, document: Document) {
        let version = document.version;
        {
            let mut current = self.current.write();
            if version > current.snapshot.version {
                current.snapshot = Arc::new(document);
            }
        }
        if version.is_multiple_of(PRUNE_EVERY_VERSIONS) {
            let versions = self.versions.clone();
            tokio::spawn(async move {
                if let Err(error) = versions.prune(version).await {
                    tracing::warn!(%error, "could not remove old versions of the catalog");
                }
            });
        }
    }
}

async fn make_first(versions: &Versions, bootstrap: Bootstrap) -> Result<Document> {
    let document = first(bootstrap);
    match versions.put(&document).await? {
        Put::Done => Ok(document),
        Put::Taken => versions.newest().await?.ok_or_else(|| {
            Error::new(SqlState::IoError, "the catalog was created by another server and is not there to be read")
        }),
    }
}

fn first(bootstrap: Bootstrap) -> Document {
    let role = Role {
        oid: BOOTSTRAP_ROLE_OID,
        superuser: true,
        login: true,
        create_role: true,
        create_database: true,
        inherit: true,
        connection_limit: -1,
        verifier: bootstrap.verifier,
        valid_until: None,
    };
    let public = Schema {
        oid: PUBLIC_SCHEMA_OID,
        owner: BOOTSTRAP_ROLE_OID,
        comment: Some("standard public schema".to_owned()),
        relations: BTreeMap::new(),
        models: BTreeMap::new(),
        temporary: None,
    };
    Document {
        format: FORMAT,
        version: 1,
        commit_id: uuid::Uuid::new_v4().to_string(),
        next_oid: FIRST_USER_OID + 1,
        database: Database { oid: FIRST_USER_OID, name: bootstrap.database, owner: BOOTSTRAP_ROLE_OID },
        schemas: BTreeMap::from([("public".to_owned(), public)]),
        roles: BTreeMap::from([(bootstrap.superuser, role)]),
        transactions: Vec::new(),
        given_up: Vec::new(),
        forgotten_through: 0,
    }
}

/// A random pause that grows with the attempts, so that racing servers draw apart.
fn pause(attempt: u32) -> Duration {
    let most = Duration::from_millis(2 << attempt.min(7)).min(PAUSE_MAX);
    rand::rng().random_range(Duration::ZERO..=most)
}
