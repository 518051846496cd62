//! The end of a transaction that wrote: what it staged becomes visible at once, or is gone.
//!
//! ```text
//! definitions only            one version of the catalog
//! one table                   one commit of its log
//! more, or both               the logs are reserved ─→ one version of the catalog decides ─→ the logs follow
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;

use super::ground::Ground;
use super::standing::Asked;
use crate::catalog::{Catalog, Document, RelationKind, Transaction};
use crate::error::{Error, Result, SqlState};
use crate::lake::{self, Decision, Freshness, Operation, several::Outcomes};
use crate::session::Pins;

/// Commits what the transaction has staged; the versions that it made of the tables' places, where that is known.
///
/// # Errors
/// 40001 when another transaction's commit forbids it, and what a definition finds in the way; nothing is visible then. XX001 when it
/// is committed and another program took its changes of a table away: nobody may run it again.
pub(crate) async fn commit(
    ground: &Arc<Ground>,
    pins: &Pins,
    user: &str,
    decision: &Decision,
) -> Result<HashMap<String, u64>> {
    let tables = changed(pins);
    if tables.is_empty() && pins.definitions.is_empty() {
        return Ok(HashMap::new());
    }
    let (ground_of_task, pins) = (Arc::clone(ground), pins.clone());
    let asked = Asked::by(&pins);
    let operation =
        Operation { user: Some(user.to_owned()), decision: decision.clone(), ..Operation::new("TRANSACTION") };
    // From here on the work runs to its end, whoever waits for it; it ends early where it has decided nothing.
    let task = async move { tokio::spawn(commit_all(ground_of_task, tables, (pins, asked), operation)).await };
    let ended = ground.engine.compute(async move { Ok::<_, Error>(task.await) }).await?;
    ended.map_err(|error| Error::internal(format!("a commit ended early: {error}")))?
}

async fn commit_all(
    ground: Arc<Ground>,
    tables: Vec<Arc<lake::Table>>,
    (pins, asked): (Pins, Option<Asked>),
    operation: Operation,
) -> Result<HashMap<String, u64>> {
    let lake = &ground.lake;
    let places: Result<Vec<String>> = pins.made.iter().map(|made| lake.place(made.location())).collect();
    let places = places?;
    let (made, known): (Vec<_>, Vec<_>) =
        tables.into_iter().partition(|table| places.iter().any(|place| place == table.location()));
    // Whatever happens then, their files are not forgotten.
    for location in &pins.left {
        lake.note_drop(location).await?;
    }
    let mut versions = HashMap::new();
    // Nobody sees these before the catalog names them.
    for table in &made {
        let version = lake.commit_private(table, &operation).await?;
        versions.extend(version.map(|version| (table.location().to_owned(), version)));
    }
    match known.as_slice() {
        [] => {
            operation.decision.enter()?;
            let replayed = ground
                .catalog
                .update(|document| pins.definitions.iter().try_for_each(|definition| definition.apply(document)))
                .await;
            // Only a refusal leaves surely nothing.
            if replayed.as_ref().err().is_none_or(is_of_store) {
                pins.made.iter().for_each(|made| made.keep());
            }
            replayed?;
        }
        [table] if pins.definitions.is_empty() => {
            let now = ground.catalog.fresh(std::time::Duration::ZERO).await?;
            check_named(&ground, &now, &[table.location()])?;
            let standing = asked.map(|asked| asked.standing(&ground, table.location()));
            let version = lake.commit_private(table, &Operation { standing, ..operation }).await?;
            versions.extend(version.map(|version| (table.location().to_owned(), version)));
        }
        _ => versions.extend(commit_several(&ground, known, (&pins, asked.as_ref()), &operation).await?),
    }
    for location in pins.left {
        lake.dropped(&location)?;
    }
    Ok(versions)
}

async fn commit_several(
    ground: &Arc<Ground>,
    tables: Vec<Arc<lake::Table>>,
    (pins, asked): (&Pins, Option<&Asked>),
    operation: &Operation,
) -> Result<HashMap<String, u64>> {
    let id = uuid::Uuid::now_v7().to_string();
    let written: Vec<String> = tables.iter().map(|table| table.location().to_owned()).collect();
    let reserved = ground.lake.reserve(&id, tables, operation).await?;
    if let Err(ended) = operation.decision.enter() {
        ground.lake.release(reserved).await;
        return Err(ended);
    }
    let stores = ground.lake.stores();
    let tables: BTreeMap<String, u64> =
        reserved.places().map(|(place, version)| (stores.portable(place), version)).collect();
    let decided = ground
        .catalog
        .update(|document| {
            check_named(ground, document, &written)?;
            pins.definitions.iter().try_for_each(|definition| definition.apply(document))?;
            if let Some(asked) = asked {
                asked.check(document, &ground.lake, &written)?;
            }
            let at_ms = Utc::now().timestamp_millis();
            let (id, tables) = (id.clone(), tables.clone());
            document.commit_transaction(Transaction { id, version: 0, at_ms, tables, applied: false })
        })
        .await;
    if let Err(error) = decided {
        // The put may have taken effect although it failed.
        match settle(&ground.catalog, &id).await {
            Ok(true) => {}
            Ok(false) => {
                ground.lake.release(reserved).await;
                return Err(error);
            }
            Err(_) => {
                reserved.keep_files();
                pins.made.iter().for_each(|made| made.keep());
                return Err(error.with_hint("It is not known whether the transaction was committed."));
            }
        }
    }
    pins.made.iter().for_each(|made| made.keep());
    let written = match ground.lake.apply(reserved).await {
        Ok(written) => written,
        Err(error) => {
            // It is committed: whoever meets the tables next writes what is missing.
            tracing::warn!(transaction = id, %error, "could not write all of a committed transaction");
            return Ok(HashMap::new());
        }
    };
    let catalog = Arc::clone(&ground.catalog);
    tokio::spawn(async move { note_applied(&catalog, &id).await });
    if written.lost.is_empty() {
        return Ok(written.versions);
    }
    let message = "the transaction was committed, but another program took its changes of a table away";
    Err(Error::new(SqlState::DataCorrupted, message)
        .with_detail(format!("It was committed without its changes of: {}.", written.lost.join(", ")))
        .with_hint("Do not run it again as a whole: its other changes would be made twice."))
}

/// Refuses to write tables that somebody else has dropped: the rows would be nowhere.
fn check_named(ground: &Ground, document: &Document, places: &[impl AsRef<str>]) -> Result<()> {
    let mut named = HashSet::new();
    for definition in document.schemas.values() {
        for relation in definition.relations.values() {
            if let RelationKind::Table(table) = &relation.kind {
                named.insert(ground.lake.place(&table.location)?);
            }
        }
    }
    for kept in lake::kept::Kept::ALL {
        named.insert(ground.lake.place(&kept.place())?);
    }
    if places.iter().all(|place| named.contains(place.as_ref())) {
        return Ok(());
    }
    Err(Error::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
        .with_detail("A table that the transaction changed was dropped by another transaction.")
        .with_hint("Try the transaction again."))
}

async fn note_applied(catalog: &Catalog, id: &str) {
    let noted = catalog.update(|document| {
        document.transactions.iter_mut().filter(|one| one.id == id).for_each(|one| one.applied = true);
        Ok(())
    });
    if let Err(error) = noted.await {
        tracing::debug!(transaction = id, %error, "could not note that a transaction is complete");
    }
}

/// Whether the transaction has committed; if not, it never will.
async fn settle(catalog: &Catalog, id: &str) -> Result<bool> {
    if catalog.fresh(std::time::Duration::ZERO).await?.transaction(id).is_some() {
        return Ok(true);
    }
    catalog.update(|document| Ok(document.settle_transaction(id, Utc::now().timestamp_millis()))).await
}

/// Decisions are made in the catalog.
#[derive(Debug)]
pub struct Decisions(Arc<Catalog>);

impl Decisions {
    /// Of this catalog.
    pub fn new(catalog: &Arc<Catalog>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(catalog)))
    }
}

#[async_trait]
impl Outcomes for Decisions {
    async fn is_committed(&self, id: &str) -> Result<bool> {
        Ok(self.0.fresh(std::time::Duration::ZERO).await?.transaction(id).is_some())
    }

    async fn settle(&self, id: &str) -> Result<bool> {
        settle(&self.0, id).await
    }

    async fn places(&self, id: &str) -> Result<Vec<String>> {
        let now = self.0.fresh(std::time::Duration::ZERO).await?;
        Ok(now.transaction(id).map(|one| one.tables.keys().cloned().collect()).unwrap_or_default())
    }
}

/// Completes the transactions that a server has committed and not written to all logs before it ended.
pub async fn complete(ground: &Ground) {
    let listed = ground.catalog.snapshot();
    for transaction in listed.transactions.iter().filter(|transaction| !transaction.applied) {
        let mut complete = true;
        for location in transaction.tables.keys() {
            // Reading a table completes it.
            match ground.lake.table(location, Freshness::Latest).await {
                Ok(table) => complete &= !table.awaits(&transaction.id),
                // A table that is gone may have been moved while it waited: its commit is not forgotten then.
                Err(error)
                    if error.sqlstate() == SqlState::UndefinedFile
                        && matches!(ground.lake.has_records(&transaction.id).await, Ok(false)) => {}
                Err(error) => {
                    tracing::warn!(transaction = transaction.id, %error, "could not complete a transaction");
                    complete = false;
                }
            }
        }
        if complete {
            note_applied(&ground.catalog, &transaction.id).await;
            ground.lake.forget_records(&transaction.id).await;
        }
    }
}

/// Whether a store failed: what it was asked to do may have been done.
fn is_of_store(error: &Error) -> bool {
    ["53", "58", "XX"].iter().any(|class| error.sqlstate().code().starts_with(class))
}

/// Takes back what was written after a savepoint, whose pins these are.
pub(crate) fn cut(pins: &Pins) {
    for table in tables(pins) {
        table.cut();
    }
}

/// The tables that the transaction has changed, as it sees them.
pub(super) fn changed(pins: &Pins) -> Vec<Arc<lake::Table>> {
    tables(pins).filter(|table| table.is_changed_privately()).collect()
}

fn tables(pins: &Pins) -> impl Iterator<Item = Arc<lake::Table>> {
    pins.tables.keys().filter_map(|place| pins.table::<lake::Table>(place))
}
