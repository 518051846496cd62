//! What a run finds in files is kept for the next one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use sha2::{Digest, Sha256};

use super::check::{Checker, Files};
use super::found::{Found, Whence};
use crate::encode::types::PgType;
use crate::error::Result;
use crate::lake::parts::FileValues;
use crate::plan::expectation::parts::Part;
use crate::plan::incremental::SETTINGS;

/// Another one when parts of the same text mean something else.
const FORM: &str = "1";

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

    /// The same text for what gives the same for the same rows.
    fn fingerprint(&self, part: &Part, columns: &[(String, PgType)]) -> String {
        let mut hash = Sha256::new_with_prefix(format!("{FORM} {}\0{}", env!("CARGO_PKG_VERSION"), part.expr));
        for column in &part.columns {
            let ty = columns.iter().find(|(name, _)| name == column).map(|(_, ty)| (ty.oid, ty.typmod));
            hash.update(format!("\0{column} {ty:?}"));
        }
        if part.of_settings {
            let settings = self.road.session.settings();
            // Rules are always in UTC.
            for name in SETTINGS.iter().filter(|name| **name != "TimeZone") {
                hash.update(format!("\0{}", settings.get(name).unwrap_or_default()));
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
