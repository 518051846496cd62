//! The end of a transaction that wrote: what it staged becomes one commit of each table, or is gone.

use std::sync::Arc;

use super::ground::Ground;
use crate::error::{Error, Result};
use crate::lake;
use crate::session::Pins;

/// Commits what the transaction's tables have staged.
///
/// # Errors
/// 40001 when another transaction's commit forbids it; nothing is visible then.
pub(crate) async fn commit(ground: &Arc<Ground>, pins: &Pins) -> Result<()> {
    match changed(pins).as_slice() {
        [] => Ok(()),
        [table] => {
            let (lake, table) = (Arc::clone(&ground.lake), Arc::clone(table));
            ground.engine.compute(async move { lake.commit_private(&table).await }).await
        }
        _ => Err(Error::internal("a transaction wrote several tables")),
    }
}

/// Refuses a write to another table than the one that the transaction wrote already: their commits could come apart.
pub(crate) fn check_only(pins: &Pins, place: &str) -> Result<()> {
    match changed(pins).iter().find(|table| table.location() != place) {
        None => Ok(()),
        Some(_) => Err(Error::unsupported("writing to several tables in one transaction")),
    }
}

/// Takes back what was written after a savepoint, whose pins these are.
pub(crate) fn cut(pins: &Pins) {
    for table in tables(pins) {
        table.cut();
    }
}

fn changed(pins: &Pins) -> Vec<Arc<lake::Table>> {
    tables(pins).filter(|table| table.is_changed_privately()).collect()
}

fn tables(pins: &Pins) -> impl Iterator<Item = Arc<lake::Table>> {
    pins.tables.keys().filter_map(|place| pins.table::<lake::Table>(place))
}
