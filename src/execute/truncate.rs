//! TRUNCATE: one commit that removes every file of the table.

use super::output::Output;
use super::road::Road;
use crate::error::{Error, Result};
use crate::lake::{Input, WriteMode};
use crate::sql::Truncate;

pub(crate) async fn run(road: &mut Road<'_>, statement: &Truncate) -> Result<Output> {
    // Two tables would be two commits: half of it could be done when the other half fails.
    if let [_, second, ..] = statement.tables.as_slice() {
        return Err(Error::unsupported("TRUNCATE of several tables").at(second.position));
    }
    for name in &statement.tables {
        let target = road.target(name, "truncate").await?;
        let gate = road.gate(&target)?.unwatched();
        road.write(WriteMode::Overwrite(target.table), Input::Streams(Vec::new()), gate, "TRUNCATE").await?;
    }
    Ok(Output::Done("TRUNCATE TABLE".into()))
}
