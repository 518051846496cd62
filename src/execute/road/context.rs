//! What a statement's functions and system tables read.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::is_system_schema;
use crate::builtins::Context;
use crate::catalog::Snapshot;
use crate::plan::resolve::schema_exists;
use crate::session::Session;

/// The context that one statement's functions and system tables read.
pub(crate) fn statement_context(session: &Session, snapshot: &Snapshot, server_start: DateTime<Utc>) -> Context {
    let now = Utc::now();
    let settings = session.settings();
    let mut search_path = Vec::new();
    for schema in settings.search_path() {
        // A role may be called as a system schema is: its name does not make that schema its own.
        let schema = match schema.as_str() {
            "$user" if is_system_schema(&session.user) => continue,
            "$user" => session.user.clone(),
            "pg_temp" => match &session.temporary {
                Some(temporary) => temporary.clone(),
                None => continue,
            },
            _ => schema,
        };
        if schema_exists(snapshot, &schema) && !search_path.contains(&schema) {
            search_path.push(schema);
        }
    }
    let temporary = session.temporary.clone().filter(|schema| snapshot.schemas.contains_key(schema));
    let catalog_implicit = !search_path.iter().any(|schema| schema == "pg_catalog");
    if catalog_implicit {
        search_path.insert(0, "pg_catalog".to_owned());
    }
    if let Some(schema) = temporary.as_ref().filter(|schema| !search_path.contains(schema)) {
        search_path.insert(0, schema.clone());
    }
    Context {
        catalog: Arc::clone(snapshot),
        pid: session.pid(),
        user: session.user.clone(),
        session_user: session.session_user.clone(),
        database: session.database().to_owned(),
        search_path,
        catalog_implicit,
        temporary,
        time_zone: settings.time_zone(),
        transaction_start: session.transaction.started().unwrap_or(now),
        statement_start: now,
        server_start,
        server_address: session.server_address,
        client_address: session.client_address(),
        session: {
            drop(settings);
            Arc::clone(session.handle()) as Arc<dyn crate::builtins::SessionView>
        },
    }
}
