//! Materialized views that are refreshed by themselves: a client of the road like others, in the name of each view's owner.
//!
//! ```text
//! due ─→ claimed in the catalog, so that one server of several does it ─→ REFRESH ─→ its outcome in the catalog
//! ```
//! A view that was due many times while no server ran is refreshed once.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::{Answer, ConnectRequest, Service};
use crate::catalog::{Document, Refreshing, RelationKind};
use crate::error::{Error, Result};
use crate::execute::refresh::materialized_mut;

/// Time between two looks at what this server knows of the catalog.
const TICK: Duration = Duration::from_millis(250);
/// A server that has claimed a refresh and said no more has ended.
const CLAIM_MS: i64 = 10 * 60 * 1000;

/// A view to refresh.
struct Due {
    oid: u32,
    schema: String,
    name: String,
    owner: String,
    /// When it was claimed.
    at_ms: i64,
}

/// Refreshes what is due until the token is cancelled; what other servers have defined is seen after the interval.
pub async fn run(service: Arc<Service>, interval: Duration, shutdown: CancellationToken) {
    loop {
        let round = async {
            tokio::time::sleep(TICK).await;
            if let Err(error) = service.ground.catalog.fresh(interval).await {
                tracing::warn!(%error, "could not look for materialized views to refresh");
                return;
            }
            for oid in due(&service.ground.catalog.snapshot()) {
                Box::pin(refresh(&service, oid)).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = round => {}
        }
    }
}

fn due(document: &Document) -> Vec<u32> {
    let now = Utc::now().timestamp_millis();
    let relations = document.schemas.values().flat_map(|schema| schema.relations.values());
    let due = relations.filter(|relation| match &relation.kind {
        RelationKind::Table(table) => {
            let refreshing = table.materialized.as_ref().and_then(|materialized| materialized.refreshing.as_ref());
            refreshing.is_some_and(|refreshing| refreshing.is_due(now))
        }
        RelationKind::View(_) => false,
    });
    due.map(|relation| relation.oid).collect()
}

async fn refresh(service: &Arc<Service>, oid: u32) {
    let due = match claim(service, oid).await {
        Ok(Some(due)) => due,
        Ok(None) => return,
        Err(error) => return tracing::warn!(%error, "could not claim the refresh of a materialized view"),
    };
    let (schema, name) = (due.schema.as_str(), due.name.as_str());
    let done = Box::pin(statement(service, &due)).await;
    match &done {
        Ok(()) => tracing::debug!(schema, name, "a materialized view was refreshed"),
        Err(error) => tracing::warn!(schema, name, %error, "could not refresh a materialized view"),
    }
    let failure = done.err().map(|error| format!("{}: {}", error.sqlstate().code(), error.message()));
    if let Err(error) = note(service, &due, failure).await {
        tracing::warn!(schema, name, %error, "could not note the refresh of a materialized view");
    }
}

/// Takes the refresh for this server, unless another one has it or the view is not due any more.
async fn claim(service: &Service, oid: u32) -> Result<Option<Due>> {
    let mut due = None;
    let claimed = service.ground.catalog.update(|document| {
        due = None;
        let at_ms = Utc::now().timestamp_millis();
        let claim = |refreshing: &mut Refreshing| {
            let is_due = refreshing.is_due(at_ms);
            if is_due {
                refreshing.last_ms = at_ms;
                refreshing.claimed_until_ms = at_ms + CLAIM_MS;
            }
            is_due
        };
        let refreshing = materialized_mut(document, oid).and_then(|materialized| materialized.refreshing.as_mut());
        if refreshing.is_some_and(claim)
            && let Some((schema, name, relation)) = document.relation_by_oid(oid)
            && let Some(owner) = document.role_name(relation.owner)
        {
            due = Some(Due { oid, schema: schema.to_owned(), name: name.to_owned(), owner: owner.to_owned(), at_ms });
            return Ok(());
        }
        // Nothing to write.
        Err(Error::internal("not due"))
    });
    match claimed.await {
        Err(error) if due.is_some() => Err(error),
        Ok(()) | Err(_) => Ok(due),
    }
}

async fn note(service: &Service, due: &Due, failure: Option<String>) -> Result<()> {
    let noted = service.ground.catalog.update(|document| {
        let refreshing = materialized_mut(document, due.oid).and_then(|materialized| materialized.refreshing.as_mut());
        if let Some(refreshing) = refreshing.filter(|refreshing| refreshing.last_ms == due.at_ms) {
            refreshing.claimed_until_ms = 0;
            refreshing.failure.clone_from(&failure);
        }
        Ok(())
    });
    noted.await
}

async fn statement(service: &Arc<Service>, due: &Due) -> Result<()> {
    let request = ConnectRequest {
        user: due.owner.clone(),
        database: Some(service.catalog_snapshot().database.name.clone()),
        settings: vec![("application_name".into(), "lakegate refresh".into())],
        ..ConnectRequest::default()
    };
    let mut conversation = service.connect(request).await?;
    let quoted = |name: &str| name.replace('"', "\"\"");
    let text = format!("REFRESH MATERIALIZED VIEW \"{}\".\"{}\"", quoted(&due.schema), quoted(&due.name));
    for parsed in conversation.split(&text)? {
        conversation.begin_simple(1);
        match conversation.run_simple(parsed).await?.answer()? {
            Answer::Done(_) => {}
            _ => return Err(Error::internal("REFRESH gave rows")),
        }
        conversation.complete().await?;
        conversation.end_simple().await?;
    }
    Ok(())
}
