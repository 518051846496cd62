//! Where a table may lie: not in another table's folder or around it, nor among the warehouse's own records. What is removed
//! with one table would be another's.

use crate::catalog::{Document, RelationKind};
use crate::error::{Error, Result, SqlState};
use crate::lake::Stores;

/// Folder of the warehouse's own records.
const OWN: &str = "_lakegate";

/// Refuses a place for the table of that OID, if it has one, that overlaps with what is there.
pub(super) fn check_place(document: &Document, stores: &Stores, location: &str, oid: Option<u32>) -> Result<()> {
    let place = folder(stores, location)?;
    let warehouse = folder(stores, stores.warehouse()?.location.as_str())?;
    if warehouse.starts_with(&place) || place.starts_with(&format!("{warehouse}{OWN}/")) {
        return Err(refused(location, "the warehouse's own folders"));
    }
    for (schema, definition) in &document.schemas {
        for (name, relation) in &definition.relations {
            let RelationKind::Table(table) = &relation.kind else { continue };
            // A table that is not ours may have several names.
            let other = folder(stores, &table.location)?;
            if Some(relation.oid) == oid || (other == place && !table.managed) {
                continue;
            }
            if other.starts_with(&place) || place.starts_with(&other) {
                return Err(refused(location, &format!("table \"{schema}.{name}\"")));
            }
        }
    }
    Ok(())
}

fn folder(stores: &Stores, location: &str) -> Result<String> {
    let resolved = stores.resolve(location)?;
    let text = resolved.location.as_str().trim_end_matches('/');
    // One store under two schemes.
    Ok(match text.strip_prefix("s3a://") {
        Some(key) => format!("s3://{key}/"),
        None => format!("{text}/"),
    })
}

fn refused(location: &str, what: &str) -> Error {
    Error::new(SqlState::InvalidTableDefinition, format!("location \"{location}\" overlaps with {what}"))
        .with_hint("A table needs a folder of its own.")
}
