//! RESTORE TABLE: the newest version becomes what an earlier one was, in one commit.

use sqlparser::ast;

use crate::encode::types::PgType;
use crate::error::Result;
use crate::execute::output::{Output, RowsTag};
use crate::execute::road::Road;
use crate::execute::{expectation, watched};
use crate::plan::recorded::Recorded;
use crate::sql::QualifiedName;

pub(super) const COLUMNS: &[(&str, PgType)] = &[
    ("table_size_after_restore", PgType::INT8),
    ("num_of_files_after_restore", PgType::INT8),
    ("num_removed_files", PgType::INT8),
    ("num_restored_files", PgType::INT8),
    ("removed_files_size", PgType::INT8),
    ("restored_files_size", PgType::INT8),
];

pub(super) async fn run(road: &mut Road<'_>, name: &QualifiedName, version: &ast::TableVersion) -> Result<Output> {
    let target = road.target(name, "restore").await?;
    let _turn = road.ground.lake.turn(&target.table).await;
    let target = road.target(name, "restore").await?;
    let past = road.version(&target.table, version).await?;
    let run = Box::pin(expectation::on_version(road, &target, &past)).await?;
    let mut operation = road.operation("RESTORE");
    operation.parameters = vec![("version".to_owned(), past.version().to_string())];
    let restored = road.ground.lake.restore(&target.table, &past, operation).await?;
    if let Some(mut run) = run {
        run.table_version = (!restored.table.is_private()).then(|| restored.table.version());
        watched::keep(road.ground, road.session.handle(), &run).await;
        expectation::tell(road.session.handle(), &run);
    }
    // The catalog tells the columns of the newest version.
    if let Some(oid) = road.snapshot.relation(&target.schema, &target.name).map(|relation| relation.oid) {
        let recorded = Recorded::of(&restored.table);
        road.define(move |document| {
            recorded.apply(document, oid);
            Ok(())
        })
        .await?;
    }
    let values = [
        restored.table.size_bytes(),
        restored.table.num_files() as u64,
        restored.removed_files,
        restored.restored_files,
        restored.removed_bytes,
        restored.restored_bytes,
    ];
    super::answer(COLUMNS, values.map(super::bigint).to_vec(), RowsTag::Fixed("RESTORE"))
}
