//! The tables that a training query reads, at their versions.

use crate::error::Result;
use crate::execute::road::Road;
use crate::models::header::Source;
use crate::plan::relations::{Relation, Relations};

/// Also those under views. Files and earlier versions are told by the query's text.
pub(super) fn sources(road: &Road<'_>, relations: &Relations) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    gather(road, relations, &mut found)?;
    found.sort_by(|one: &Source, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
    found.dedup();
    Ok(found)
}

fn gather(road: &Road<'_>, relations: &Relations, found: &mut Vec<Source>) -> Result<()> {
    for relation in relations.by_name.values() {
        match relation {
            Relation::Table(table) => {
                let Some(pinned) = road.pinned(table.oid)? else { continue };
                found.push(Source {
                    schema: table.schema.clone(),
                    name: table.name.clone(),
                    oid: table.oid,
                    version: pinned.version(),
                });
            }
            Relation::View(view) => gather(road, &view.relations, found)?,
        }
    }
    Ok(())
}
