//! What a run finds in files is kept for the next one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, BooleanArray};
use sha2::{Digest, Sha256};

use super::by_file::VALUES_MAX;
use super::check::{Checker, Files};
use super::found::{Found, Whence};
use crate::encode::types::PgType;
use crate::error::Result;
use crate::execute::ground::Ground;
use crate::lake::parts::FileValues;
use crate::lake::{Freshness, Table, Written};
use crate::plan::expectation::parts::{Part, Parts};
use crate::plan::expectation::rows_passed;
use crate::plan::incremental::SETTINGS;
use crate::quality::Watch;
use crate::quality::result::{Passed, RowTotals};

/// Another one when parts of the same text mean something else.
const FORM: &str = "1";
/// Rows of a statement that are worth a read and a write of what is kept.
const ROWS_MIN: u64 = 100_000;
/// For how long a statement waits for what it leaves to be kept.
const PATIENCE: Duration = Duration::from_secs(2);

impl Checker<'_, '_, '_> {
    /// What an earlier run has found.
    pub(super) async fn kept(&self, files: &Files) -> Result<HashMap<String, FileValues>> {
        let table = Arc::clone(&files.table);
        if table.num_files() == 0 {
            return Ok(HashMap::new());
        }
        self.road.ground.engine.compute(async move { Ok(table.kept_parts().await) }).await
    }

    /// Keeps what was found, if some of it is new.
    pub(super) async fn keep(
        &self,
        files: &Files,
        found: Vec<Found>,
        others: HashMap<String, FileValues>,
    ) -> Result<()> {
        if !files.keeps || !found.iter().any(|found| !found.failed && found.count(Whence::Scan) > 0) {
            return Ok(());
        }
        let mut parts = Vec::new();
        for found in found.into_iter().filter(|found| !found.failed) {
            let Some(ty) = found.ty else { continue };
            let values = found.values()?;
            let known = BooleanArray::from(vec![true; values.len()]);
            parts.push((found.name, FileValues { ty, values, known }));
        }
        if !files.all {
            parts.extend(others);
        }
        let table = Arc::clone(&files.table);
        self.road
            .ground
            .engine
            .compute(async move {
                table.keep_parts(parts).await;
                Ok(())
            })
            .await
    }

    /// A part with what is kept of it.
    pub(super) fn known(
        &self,
        part: &Part,
        columns: &[(String, PgType)],
        kept: &mut HashMap<String, FileValues>,
        files: usize,
    ) -> Found {
        let name = self.fingerprint(part, columns);
        let mut found =
            Found { name, ty: None, sources: Vec::new(), at: vec![None; files], failed: false, breaks: false };
        if let Some(FileValues { ty, values, known }) = kept.remove(&found.name) {
            found.ty = Some(ty);
            let source = found.add(Whence::Kept, values);
            for (row, at) in found.at.iter_mut().enumerate() {
                *at = (row < known.len() && known.value(row)).then_some((source, row));
            }
        }
        found
    }

    fn fingerprint(&self, part: &Part, columns: &[(String, PgType)]) -> String {
        fingerprint(part, columns, |name| self.road.session.settings().get(name).unwrap_or_default())
    }
}

/// The same text for what gives the same for the same rows.
fn fingerprint(part: &Part, columns: &[(String, PgType)], setting: impl Fn(&str) -> String) -> String {
    let mut hash = Sha256::new_with_prefix(format!("{FORM} {}\0{}", env!("CARGO_PKG_VERSION"), part.expr));
    for column in &part.columns {
        let ty = columns.iter().find(|(name, _)| name == column).map(|(_, ty)| (ty.oid, ty.typmod));
        hash.update(format!("\0{column} {ty:?}"));
    }
    if part.of_settings {
        // Rules are always in UTC.
        for name in SETTINGS.iter().filter(|name| **name != "TimeZone") {
            hash.update(format!("\0{}", setting(name)));
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a statement has proved of its rows, where that spares the next VALIDATE more than it takes.
pub(crate) fn passed(watch: &Watch, Written { added, .. }: &Written) -> Option<Passed> {
    let RowTotals { checked, dropped, quarantined, .. } = watch.totals();
    // Every row of these files was asked, and once.
    let is_all = checked.checked_sub(dropped + quarantined) == Some(added.rows);
    if added.files.is_empty() || added.rows < ROWS_MIN || !is_all {
        return None;
    }
    let conditions: Vec<String> = watch.unbroken().map(|rule| rule.condition.clone()).collect();
    (!conditions.is_empty()).then(|| Passed { conditions, files: added.files.clone() })
}

/// Keeps it for the table at a version that has the files. Statements wait for it, but not for a store that does not answer.
pub(crate) async fn keep_passed(ground: &Ground, passed: Passed, table: Arc<Table>) {
    if table.is_private() {
        return;
    }
    let keep = async move {
        let columns: Vec<(String, PgType)> =
            table.columns().iter().map(|column| (column.name.clone(), column.ty)).collect();
        let mut parts = Parts::new(&columns);
        let names = passed.conditions.iter().filter_map(|condition| {
            let counted = rows_passed(condition).ok()?;
            // Sessions may differ in what these say.
            let part = parts.one(&counted).filter(|part| !part.of_settings)?;
            Some(fingerprint(part, &columns, |_| String::new()))
        });
        let names: Vec<String> = names.collect();
        table.keep_counted(&passed.files, &names, VALUES_MAX).await;
        Ok(())
    };
    let kept = tokio::time::timeout(PATIENCE, ground.engine.compute(keep)).await;
    if let Ok(Err(error)) = kept {
        tracing::debug!(%error, "what rules found in files is not kept");
    }
}

/// The same for a transaction that has committed.
pub(crate) async fn keep_committed(ground: &Ground, passed: Passed, place: &str) {
    let lake = Arc::clone(&ground.lake);
    let location = place.to_owned();
    let table = ground.engine.compute(async move { lake.table(&location, Freshness::Latest).await });
    if let Ok(Ok(table)) = tokio::time::timeout(PATIENCE, table).await {
        keep_passed(ground, passed, table).await;
    }
}
