//! Temporary relations: a schema `pg_temp_…` for each session that has any, first in its search path, gone with the session.
//! What a crash leaves behind is removed when a server starts.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::Utc;

use super::ground::Ground;
use super::road::Road;
use crate::catalog::{Document, OnCommit, RelationKind, Schema, TemporaryOf, ViewRead};
use crate::error::Result;
use crate::lake::{Input, WriteMode};
use crate::session::Session;
use crate::sql::{Drop, DropKind, QualifiedName};

/// Of another host one cannot tell whether the process is there: its schemas are removed after this time.
const FOREIGN_DAYS_MAX: i64 = 7;

/// The schema of the session's temporary relations. The first of them makes it.
pub(super) fn schema_of(session: &mut Session) -> String {
    let pid = session.pid();
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let name = || format!("pg_temp_{pid}_{}", unique.get(..8).unwrap_or_default());
    session.temporary.get_or_insert_with(name).clone()
}

/// Whether a query reads temporary relations.
pub(super) fn reads_any(road: &Road<'_>, reads: &[ViewRead]) -> bool {
    let temporary = road.context.temporary.as_ref().and_then(|schema| road.snapshot.schemas.get(schema));
    temporary.is_some_and(|schema| {
        reads.iter().any(|read| schema.relations.values().any(|relation| relation.oid == read.oid))
    })
}

/// Does what the session's temporary tables want at the end of a transaction that commits.
///
/// # Errors
/// The store's: then the transaction has not committed.
pub(crate) async fn on_commit(road: &mut Road<'_>) -> Result<()> {
    let Some(schema) = road.session.temporary.clone() else { return Ok(()) };
    let relations = road.snapshot.schemas.get(&schema).map(|schema| schema.relations.iter());
    let wanting = relations.into_iter().flatten().filter_map(|(name, relation)| match &relation.kind {
        RelationKind::Table(table) => Some((name.clone(), table.on_commit?)),
        RelationKind::View(_) => None,
    });
    for (name, wanted) in wanting.collect::<Vec<_>>() {
        let name = QualifiedName { database: None, schema: Some(schema.clone()), name, position: 0 };
        match wanted {
            OnCommit::DeleteRows => {
                let target = road.target(&name, "truncate").await?;
                if target.table.num_files() > 0 {
                    let gate = road.gate(&target)?;
                    let nothing = Input::Streams(Vec::new());
                    road.write(WriteMode::Overwrite(target.table), nothing, gate, "TRUNCATE").await?;
                }
            }
            OnCommit::Drop => {
                let drop = Drop { kind: DropKind::Table, if_exists: true, names: vec![name], cascade: true };
                super::drop::run(road, &drop).await?;
            }
        }
    }
    Ok(())
}

/// A temporary relation that is being made: its schema comes into being with it.
pub(super) struct Making {
    owner: u32,
}

impl Making {
    /// `None` for a schema that is not the session's temporary one.
    pub(super) fn of(road: &Road<'_>, schema: &str) -> Option<Self> {
        (road.session.temporary.as_deref() == Some(schema)).then(|| Self { owner: road.role_oid() })
    }

    pub(super) fn ensure(&self, document: &mut Document, name: &str) {
        if document.schemas.contains_key(name) {
            return;
        }
        let oid = document.take_oid();
        let temporary = Some(TemporaryOf { made: Utc::now().to_rfc3339(), ..PROCESS.clone() });
        let schema = Schema {
            oid,
            owner: self.owner,
            comment: None,
            relations: BTreeMap::new(),
            models: BTreeMap::new(),
            temporary,
        };
        document.schemas.insert(name.to_owned(), schema);
    }
}

/// This process.
static PROCESS: LazyLock<TemporaryOf> = LazyLock::new(|| {
    let process = std::process::id();
    TemporaryOf { host: host(), process, began: began(process).unwrap_or_default(), made: String::new() }
});

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    name.or_else(|| std::env::var("HOSTNAME").ok()).map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// When the process of that number began, in ticks since the system did; `None` when there is none.
fn began(process: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold blanks; the start is the 22nd field, the 20th behind the name.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19).map(str::to_owned)
}

/// Whether nobody uses the schema any more.
fn is_abandoned(of: &TemporaryOf) -> bool {
    let of_here = of.host == PROCESS.host && !of.began.is_empty() && !PROCESS.began.is_empty();
    if of_here {
        return began(of.process).as_ref() != Some(&of.began);
    }
    let made = chrono::DateTime::parse_from_rfc3339(&of.made).ok();
    made.is_some_and(|made| Utc::now().signed_duration_since(made).num_days() > FOREIGN_DAYS_MAX)
}

/// Removes a session's temporary relations: at its end, and for DISCARD.
///
/// # Errors
/// The store's. Then they go when a server starts.
pub(crate) async fn discard(ground: &Arc<Ground>, schema: &str) -> Result<()> {
    remove(ground, |name, _| name == schema).await
}

/// Removes the temporary relations of sessions that ended without a word. Called once, when the server starts.
///
/// # Errors
/// The store's.
pub(crate) async fn sweep(ground: &Arc<Ground>) -> Result<()> {
    let snapshot = ground.catalog.fresh(Duration::ZERO).await?;
    let abandoned = |schema: &Schema| schema.temporary.as_ref().is_some_and(is_abandoned);
    if !snapshot.schemas.values().any(abandoned) {
        return Ok(());
    }
    remove(ground, |_, schema| abandoned(schema)).await
}

async fn remove(ground: &Arc<Ground>, goes: impl Fn(&str, &Schema) -> bool + Send + Sync) -> Result<()> {
    let locations = ground
        .catalog
        .update(|document| {
            let mut locations = Vec::new();
            document.schemas.retain(|name, schema| {
                let gone = schema.temporary.is_some() && goes(name, schema);
                if gone {
                    locations.extend(schema.relations.values().filter_map(|relation| match &relation.kind {
                        RelationKind::Table(table) if table.managed => Some(table.location.clone()),
                        RelationKind::Table(_) | RelationKind::View(_) => None,
                    }));
                }
                !gone
            });
            Ok(locations)
        })
        .await?;
    locations.iter().try_for_each(|location| ground.lake.drop_files(location))
}
