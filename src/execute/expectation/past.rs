//! Rules of today asked of a version from before a column got another name: they know it by the name of today.

use super::in_place_of;
use crate::error::Result;
use crate::execute::alter_table::{RENAMED_FROM, RENAMED_TO};
use crate::execute::road::{Road, Target};
use crate::lake::{HistoryEntry, Table};
use crate::plan::expectation::{quoted, relation_text};
use crate::plan::relations::{Relation, Relations};
use crate::plan::{self, Parameters};
use crate::sql::{self, QualifiedName};

/// The columns of an earlier version, each with the name that it has now; its own where the log does not tell.
pub(super) async fn names_now(
    road: &mut Road<'_>,
    name: &QualifiedName,
    then: &Table,
) -> Result<Vec<(String, String)>> {
    let now = road.opened(name).await?;
    let own = |table: &Table| table.columns().iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    let (old, new) = (own(then), own(&now));
    let mut names: Vec<(String, String)> = old.iter().map(|name| (name.clone(), name.clone())).collect();
    if old.iter().all(|name| new.contains(name)) && new.iter().all(|name| old.contains(name)) {
        return Ok(names);
    }
    let history = road.ground.lake.history(&now).await?;
    let later = |version: &&(u64, _)| version.0 > then.version() && version.0 <= now.version();
    let versions: Vec<_> = history.versions().iter().rev().filter(later).copied().collect();
    for version in versions {
        let entry = history.entry(version).await?;
        if let Some((from, to)) = renaming(&entry) {
            names.iter_mut().filter(|(_, name)| *name == from).for_each(|(_, name)| name.clone_from(&to));
        }
    }
    // A name that another change took away again.
    for (then, now) in &mut names {
        if !new.contains(now) {
            now.clone_from(then);
        }
    }
    Ok(names)
}

fn renaming(entry: &HistoryEntry) -> Option<(String, String)> {
    let text = |key: &str| entry.parameters.as_ref()?.get(key)?.as_str().map(str::to_owned);
    // Other programs write parameters as JSON texts.
    let name = |key: &str| text(key).map(|text| serde_json::from_str::<String>(&text).unwrap_or(text));
    Some((name(RENAMED_FROM)?, name(RENAMED_TO)?))
}

/// The rows with the names of today.
pub(super) fn renamed(
    road: &Road<'_>,
    target: &Target,
    relation: Relation,
    names: &[(String, String)],
) -> Result<Relation> {
    let items: Vec<String> = names.iter().map(|(then, now)| format!("{} AS {}", quoted(then), quoted(now))).collect();
    let text = format!("SELECT {} FROM {}", items.join(", "), relation_text(&target.schema, &target.name));
    let mut columns = match &relation {
        Relation::Table(table) => table.columns.clone(),
        Relation::View(view) => view.columns.clone(),
    };
    for (column, (_, now)) in columns.iter_mut().zip(names) {
        column.name.clone_from(now);
    }
    let mut relations = Relations::default();
    relations.by_name.insert((Some(target.schema.clone()), target.name.clone()), relation);
    let bound = plan::bind_query(&sql::parse_query(&text)?, &road.context, &relations, "", &mut Parameters::none())?;
    Ok(in_place_of(target, columns, bound.plan))
}
